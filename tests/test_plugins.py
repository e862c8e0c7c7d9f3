"""Plugins: found, kept apart when broken, reported."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from interpbench.catalogue.suites import suite_cases
from interpbench.errors import UsageError
from interpbench.plugins import registry
from interpbench.testing import check_technique

HERE = Path(__file__).parent
NOTHING = {"cases": [], "properties": [], "trainers": [], "techniques": [], "progress": False, "contested": []}
TECHNIQUE = """
from dataclasses import dataclass
from interpbench import hookimpl

@dataclass(frozen=True)
class Config: pass

class Mine:
    name, version, Config = "mine", "1", Config
    def discover(self, problem, config): ...

@hookimpl
def interpbench_techniques(): return [Mine()]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a plugin of one module on the path, with the metadata that an installer would write."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(name: str, code: str) -> None:
        module = f"plugin_{name}_{tmp_path.name}"
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[interpbench]\n{name} = {module}\n")

    return put


def row(name: str) -> registry.Plugin:
    (found,) = [plugin for plugin in registry.load().plugins if plugin.name == name]
    return found


LOUD = """
        from interpbench import Discovery, EdgeScores
        print("running")
        return Discovery(EdgeScores(problem.graph, [0.0] * problem.graph.n_edges))
"""


def test_what_a_plugin_prints_is_no_result(
    install: Callable[[str, str], None], cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    install("loud", TECHNIQUE.replace(" ...\n", LOUD).replace("return [", "print('asked'); return ["))
    assert json.loads(cli("plugins", "--json").out)
    for words in ("run mine --case 3", "eval realism --case 3 --technique mine --models siit --by edges --seed 1"):
        ended = cli(*words.split(), "--samples", "5", "--json")
        assert json.loads(ended.out) and {"asked", "running"} <= set(ended.err.splitlines()), ended


@pytest.mark.parametrize(
    "field",
    [
        *("dict", "dict[str, int]", "list[int]", "complex", "object", "int | str", "int | str | None", "bytes"),
        *("tuple[tuple[int, ...], ...]", "tuple[int, str]", "tuple", "'Missing'", "Literal[1, 2]", "Path", "Any"),
    ],
)
def test_a_field_that_no_option_can_hold_breaks_the_plugin(
    install: Callable[[str, str], None], cli: Callable, field: str
) -> None:
    imports = "from pathlib import Path\nfrom typing import Any, Literal\n"
    install("bad", imports + TECHNIQUE.replace("class Config: pass", f"class Config:\n    it: {field} = None"))
    assert row("bad").techniques == () and (row("bad").error or "").startswith("TypeError: mine: ")
    ended = cli("run", "mine", "--help")
    assert ended.status == 2 and "no technique 'mine'" in ended.err and "broken: bad" in ended.err


def test_core_comes_through_the_hooks() -> None:
    installed = registry.load()
    assert [plugin.name for plugin in installed.plugins[:3]] == ["cases", "properties", "trainers"]
    assert {"2", "3", "4", "7", "18", "44", "ioi", "ioi_next_token"} <= installed.cases.keys()
    assert installed.plugins[0].error is None
    assert {case.name for case in suite_cases("quick", installed)} == {"3", "4", "7", "18", "44"}


@pytest.mark.parametrize("name", ["../mine", "a/b", "", ".hidden", "a b", "a\\nb"])
def test_names_become_folders_and_must_be_names(install: Callable[[str, str], None], name: str) -> None:
    install("bad", TECHNIQUE.replace('"mine"', f'"{name}"'))
    assert "is not a valid name" in (row("bad").error or "") and row("bad").techniques == ()


def test_a_plugin_is_found(install: Callable[[str, str], None]) -> None:
    install("good", TECHNIQUE)
    assert row("good") == registry.Plugin("good", "dist-good", "1.0", techniques=("mine",))
    assert registry.load().technique("mine").name == "mine"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def f(:", "SyntaxError"),
        ("x = 1", "no function marked @interpbench.hookimpl"),
        (TECHNIQUE.replace("interpbench_techniques", "interpbench_technique"), "did you mean 'interpbench_techniques'"),
        (TECHNIQUE.replace("def interpbench_techniques()", "def interpbench_techniques(x)"), "PluginValidationError"),
        (TECHNIQUE.replace("def discover", "def disclose"), "mine: has no method `discover`"),
        (TECHNIQUE.replace("@dataclass(frozen=True)\n", ""), "mine: `Config` is not a dataclass"),
        (TECHNIQUE.replace("[Mine()]", "[Mine(), Mine()]"), "'mine' is provided twice"),
        (TECHNIQUE.replace("techniques(): return [Mine()]", "cases(): return ['3']"), "'3' is not an interpbench.Case"),
        (TECHNIQUE.replace("[Mine()]", "1 / 0"), "ZeroDivisionError"),
    ],
)
def test_a_broken_plugin_is_a_row_and_the_rest_works(install: Callable[[str, str], None], code: str, why: str) -> None:
    install("bad", code)
    install("good", TECHNIQUE)
    bad = row("bad")
    assert bad.error is not None and why in bad.error and "\n" not in bad.error
    assert not bad.techniques
    assert row("good").techniques == ("mine",)


@pytest.mark.parametrize("built_in", ["eap", "sp"])
def test_a_name_of_two_plugins_is_refused_where_it_is_used(
    install: Callable[[str, str], None], cli: Callable, monkeypatch: pytest.MonkeyPatch, built_in: str
) -> None:
    """Whichever comes first in the alphabet; what else they provide is there."""
    mine = TECHNIQUE.replace('"mine"', f'"{built_in}"')
    more = mine.replace("[Mine()]", '[Mine(), type("Other", (Mine,), {"name": "other"})()]')
    install("aaa", more)
    ended = cli("run", built_in, "--case", "3")
    assert (ended.status, ended.out) == (2, "") and ended.err == (
        f"error: technique '{built_in}' is provided by plugin 'aaa' of dist-aaa and by plugin '{built_in}' of "
        f"interpbench-{built_in}; uninstall one, or load only the other (INTERPBENCH_PLUGINS=NAME,...)\n"
    )
    installed = registry.load()
    assert installed.technique("other").name == "other" and "acdc" in installed.techniques
    assert row("aaa").contested == row(built_in).contested == (f"technique {built_in}",)
    assert f"technique {built_in} is provided twice and refused" in cli("plugins").out
    monkeypatch.setenv(registry.RESTRICT, "aaa")
    assert type(registry.load().technique(built_in)).__name__ == "Mine"


CASE = """
import dataclasses
from interpbench import hookimpl
from interpbench.cases.programs.counting import occurrences
@hookimpl
def interpbench_cases(): return [dataclasses.replace(occurrences, name="NAME")]
"""


def test_so_are_contested_cases_and_generated_ones(install: Callable[[str, str], None]) -> None:
    install("one", CASE.replace("NAME", "mine"))
    install("two", CASE.replace("NAME", "mine"))
    install("three", CASE.replace("NAME", "gate-1-0"))
    with pytest.raises(UsageError, match="case 'mine' is provided by plugin 'one' of dist-one and by plugin 'two' of"):
        registry.load_case("mine")
    with pytest.raises(UsageError, match="'gate-1-0' is provided by a plugin, but names a generated case of 'gate'"):
        registry.load_case("gate-1-0")
    assert registry.load_case("gate-1-1").name == "gate-1-1"


def test_a_plugin_cannot_take_a_core_name(install: Callable[[str, str], None]) -> None:
    install("copy", CASE.replace("NAME", "3"))
    error = row("copy").error or ""
    assert "case '3'" in error and "plugin 'cases' of interpbench" in error
    assert registry.load_case("3").output == "numerical"


@pytest.mark.parametrize(("wanted", "there"), [("", set()), ("one", {"one"}), (" one, two ", {"one", "two"})])
def test_loading_can_be_restricted(
    install: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, wanted: str, there: set[str]
) -> None:
    install("one", TECHNIQUE)
    install("two", TECHNIQUE.replace('"mine"', '"other"'))
    monkeypatch.setenv(registry.RESTRICT, wanted)
    assert {plugin.name for plugin in registry.load().plugins} == {"cases", "properties", "trainers"} | there


def test_a_restriction_to_what_is_not_there_is_reported(
    install: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("one", TECHNIQUE)
    monkeypatch.setenv(registry.RESTRICT, "onne")
    assert "did you mean 'one'" in (row("onne").error or "")


def test_an_unknown_name_says_what_is_there(install: Callable[[str, str], None]) -> None:
    install("bad", "import nowhere_to_be_found")
    install("good", TECHNIQUE)
    installed = registry.load()
    with pytest.raises(UsageError, match="no technique 'minne'; did you mean 'mine'?"):
        installed.technique("minne")
    with pytest.raises(UsageError, match="there are: .*mine.*broken: .*bad.*interpbench plugins"):
        installed.technique("zzzz")
    with pytest.raises(UsageError, match="no suite 'quik'; did you mean 'quick'?"):
        suite_cases("quik", installed)


def test_the_package_passes_the_conformance_kit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE / "plugin_package")
    check_technique(importlib.import_module("interpbench_single_edges").SingleEdges())


def test_real_packages_installed_side_by_side(tmp_path: Path, subject_folder: Path, process: Callable) -> None:
    """A good and a broken package, built and installed by pip, used by a process of its own."""
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    packages = [str(HERE / "plugin_package"), str(HERE / "broken_plugin")]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(site), *packages], check=True)

    ended = process("plugins", "--json", cwd=tmp_path, PYTHONPATH=str(site))
    rows = {each["name"]: each for each in json.loads(ended.out)["plugins"]}
    own = {"name": "single-edges", "distribution": "interpbench-single-edges", "version": "1.2.3", "error": None}
    assert rows["single-edges"] == NOTHING | own | {"techniques": ["single-edges"]}
    assert rows["broken"]["error"] == "RuntimeError: this plugin is broken"

    words = ["run", "single-edges", "--case", "3", "--model", str(subject_folder), "--samples", "50", "--keep", "4"]
    ended = process(*words, "--json", cwd=tmp_path, PYTHONPATH=str(site))
    assert ended.status == 0, ended.err
    record = json.loads(ended.out)
    assert record["technique_version"] == "1" and record["config"] == {"keep": 4}
    assert record["metrics"]["edges"]["chosen"]["size"] == 4
    assert record["notes"]["largest"] > 0
