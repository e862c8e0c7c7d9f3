"""`plugins new`: a package that installs and passes its own tests as it is; names that will not do leave nothing."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from interpbench.errors import InterpbenchError, UsageError
from interpbench.plugins import scaffold
from interpbench.testing import CHECKS

ROOT = Path(__file__).parent.parent
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def install(package: Path, site: Path) -> None:
    subprocess.run([*PIP, "--no-build-isolation", "--target", str(site), str(package)], check=True)


def own_tests(package: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(package)]
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True)


def test_a_technique_from_nothing_to_a_result(here: Path, cli: Callable, process: Callable, tmp_path: Path) -> None:
    ended = cli("plugins", "new", "my_tech", "--json")
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert (told["name"], told["kind"], Path(told["folder"])) == ("my_tech", "technique", here / "interpbench-my_tech")
    package = here / "interpbench-my_tech"
    assert [str(package / file) for file in told["files"]] == sorted(str(x) for x in package.rglob("*") if x.is_file())
    install(package, tmp_path / "site")
    tests = own_tests(package, tmp_path / "site")
    assert tests.returncode == 0, tests.stdout
    words = ("run", "my_tech", "--case", "3,7", "--samples", "50", "--faithful", "0.2", "--json")
    ended = process(*words, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert ended.status == 0, ended.err
    for record in json.loads(ended.out):
        assert record["config"] == {"faithful": 0.2} and record["metrics"]["heads"]["auroc"] > 0.8

    algorithm = tmp_path / "site" / "interpbench_my_tech" / "algorithm.py"
    text = algorithm.read_text()
    algorithm.write_text(text.replace("rises.cpu().numpy()", "-rises.cpu().numpy()"))
    assert algorithm.read_text() != text
    tests = own_tests(package, tmp_path / "site")
    assert tests.returncode == 1 and "check_finds_numerical_truth" in tests.stdout


def test_the_tests_of_a_technique_stand_when_its_options_are_replaced(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = scaffold.write("replaced", "technique", here)
    init, algorithm = (package / "interpbench_replaced" / name for name in ("__init__.py", "algorithm.py"))
    own = '@dataclass(frozen=True)\nclass Config:\n    tries: int = field(default=2, metadata={"help": "Tries."})\n\n\n'
    text = init.read_text()
    start, end = text.index("@dataclass"), text.index("class ReplacedTechnique")
    init.write_text(text[:start] + own + text[end:])
    algorithm.write_text(algorithm.read_text().replace("config.faithful", "0.1 * config.tries"))
    monkeypatch.syspath_prepend(package)
    test = runpy.run_path(str(package / "tests" / "test_replaced.py"))["test_conformance"]
    for check in CHECKS:
        if check.__name__ in (
            "check_config_round_trips",
            "check_circuit_fits_the_graph",
            "check_finds_numerical_truth",
        ):
            test(check)


@pytest.mark.parametrize(("kind", "tried"), [("trainer", "train mine --help"), ("case", "show mine --json")])
def test_a_trainer_and_a_case(
    here: Path, cli: Callable, process: Callable, tmp_path: Path, kind: str, tried: str
) -> None:
    ended = cli("plugins", "new", "mine", f"--{kind}")
    assert ended.status == 0 and f"a {kind}" in ended.out
    package, site = here / "interpbench-mine", tmp_path / "site"
    install(package, site)
    tests = own_tests(package, site)
    assert tests.returncode == 0, tests.stdout
    ended = process("plugins", "--json", cwd=tmp_path, PYTHONPATH=str(site))
    (row,) = [row for row in json.loads(ended.out)["plugins"] if row["name"] == "mine"]
    assert row[f"{kind}s"] == ["mine"] and row["distribution"] == "interpbench-mine"
    ended = process(*tried.split(), cwd=tmp_path, PYTHONPATH=str(site))
    assert ended.status == 0, ended.err


def test_what_it_says_to_do_next(here: Path, cli: Callable) -> None:
    said = cli("plugins", "new", "mine").out
    assert "pip install -e './interpbench-mine[test]'" in said and "interpbench run mine --case 3" in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["My-Tech"], "such as 'my_tech'"),
        (["9lives"], "such as 'lives'"),
        (["../away"], "such as 'away'"),
        (["/away"], "such as 'away'"),
        (["class"], "cannot be the name"),
        ([""], "such as 'my_technique'"),
        (["日本"], "cannot be the name"),
        (["eap"], "there is a technique 'eap' already"),
        (["siit", "--trainer"], "there is a trainer 'siit' already"),
        (["ioi", "--case"], "there is a case 'ioi' already"),
        (["trainers"], "there is a plugin of interpbench 'trainers' already"),
        (["there"], "interpbench-there exists"),
        (["mine", "--case", "--trainer"], "--case and --trainer: one kind at a time"),
    ],
)
def test_what_will_not_do_leaves_nothing(here: Path, cli: Callable, words: list[str], why: str) -> None:
    (here / "interpbench-there").mkdir()
    ended = cli("plugins", "new", *words)
    assert ended.status == 2 and why in ended.err and ended.err.count("\n") == 1 and ended.out == ""
    assert [path.name for path in here.iterdir()] == ["interpbench-there"]
    assert [path.name for path in here.parent.iterdir()] == ["here"]


def test_what_cannot_be_written_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def full(path: Path, *_: object, **__: object) -> None:
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(path))
        path.touch()

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InterpbenchError, match="No space left on device; nothing was written"):
        scaffold.write("mine", "technique", here)
    assert len(written) == 3 and list(here.iterdir()) == []


@pytest.mark.parametrize("kind", scaffold.KINDS)
@pytest.mark.parametrize("name", ["config", "mytech", "x", "mytech_two"])
def test_any_name_makes_a_package_of_that_name(here: Path, kind: str, name: str) -> None:
    """Also such that stand in the templates already."""
    folder = scaffold.write(name, kind, here)
    facts = tomllib.loads((folder / "pyproject.toml").read_text())
    assert facts["project"]["entry-points"]["interpbench"] == {name: f"interpbench_{name}"}
    assert facts["project"]["name"] == folder.name
    sources = [path for path in folder.rglob("*.py") if path.parent.name != "tests"]
    assert len(sources) == 2 and {path.parent.name for path in sources} == {f"interpbench_{name}"}
    for path in sources:
        compile(path.read_text(), path, "exec")
    text = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert name.startswith("mytech") or "mytech" not in text.lower()


def test_the_templates_are_what_is_written(here: Path) -> None:
    """A template is itself the package `mytech`."""
    for kind in scaffold.KINDS:
        template = ROOT / "interpbench" / "scaffold" / kind
        paths = [path for path in template.rglob("*.*") if path.suffix != ".pyc"]
        files = {path.relative_to(template): path.read_text() for path in paths}
        folder = scaffold.write("mytech", kind, here)
        assert {path.relative_to(folder): path.read_text() for path in folder.rglob("*.*")} == files
        folder.rename(here / f"{kind}-written")


def test_plugins_without_a_word_lists_them(cli: Callable) -> None:
    assert "interpbench-eap" in cli("plugins").out
    assert {"plugins"} == json.loads(cli("plugins", "--json").out).keys()
    with pytest.raises(UsageError):
        scaffold.check_name("eap", "technique")
