"""What the documentation says is true: its code runs, its commands and options exist, its paths are there."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interpbench as ib
from interpbench.certificate import certify as certificate
from interpbench.plugins import hookspecs, registry
from interpbench.plugins.contract import PUBLIC_MODULES
from interpbench.properties.generated import property_of
from interpbench.properties.planted import PROPERTIES

PLANTED = {"largest", *(property.name for property in PROPERTIES)}
ROOT = Path(__file__).parent.parent
SCAFFOLD = ROOT / "interpbench" / "scaffold"
TEMPLATES = sorted(SCAFFOLD.glob("*/interpbench_mytech/__init__.py"))
PAGES = ROOT / "docs" / "plugins"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
DOCUMENTS += [*sorted(ROOT.glob("plugins/*/README.md")), *sorted(SCAFFOLD.glob("*/README.md"))]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The code of a page of docs/plugins as an installed plugin, its tests run; returns its module."""

    def load(name: str) -> Any:
        code = blocks((PAGES / f"{name}.md").read_text(), "python")
        module = f"page_{tmp_path.name}"
        (tmp_path / f"{module}.py").write_text("\n\n".join(each for each in code if "interpbench.testing" not in each))
        info = tmp_path / "mine-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[interpbench]\nmine = {module}\n")
        monkeypatch.syspath_prepend(tmp_path)
        namespace = dict(vars(importlib.import_module(module)))
        for test in [each for each in code if "interpbench.testing" in each]:
            exec(test, namespace)
            for arguments in arguments_of(namespace["test_conformance"]):
                namespace["test_conformance"](*arguments)
        return importlib.import_module(module)

    return load


def arguments_of(test: Any) -> list[tuple[Any, ...]]:
    """What pytest would call a test with."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    return [(value,) for mark in marks for value in mark.args[1]] if marks else [()]


def test_the_case(page: Callable[[str], Any]) -> None:
    case = page("case").fraction_of_a
    assert registry.load().case("my-fraction") is case
    assert isinstance(case, ib.Case) and case.description.startswith("Fraction of 'a'")
    tokens = ["a", "b", "a", "c", "a"]
    assert case.expected(tokens) == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2, 3 / 5])
    assert ib.load_subject(case, "tracr").predict([tokens])[0] == pytest.approx(case.expected(tokens), abs=1e-5)


def test_the_property(page: Callable[[str], Any]) -> None:
    largest = page("property").LARGEST
    assert registry.load().property("largest") is largest
    case, tokens = ib.load_case("largest-2-1"), [0, 0, 0, 0, 0, 0, 0, 7]
    assert case.expected(tokens).count(7) == 3, "the largest of three is 7 where one of the three is"
    assert case.description == "Generated: the largest of several tokens; of three."


def test_the_technique(page: Callable[[str], Any], cli: Callable, subject_folder: Path, tmp_path: Path) -> None:
    page("technique")
    assert registry.load().technique("mine").name == "mine"
    words = ("--model", subject_folder, "--samples", "50", "--keep", "3", "--out", tmp_path / "runs", "--json")
    record = json.loads(cli("run", "mine", "--case", "3", *words).out)
    assert record["metrics"]["edges"]["chosen"]["size"] == 3


def test_the_trainer(
    page: Callable[[str], Any], cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also what `train` does with any trainer: subject, certificate and command on the card, nothing else left."""
    monkeypatch.setattr(certificate, "certify", functools.partial(certificate.certify, rows=100))
    page("trainer")
    words = ("train", "untrained", "--case", "3", "--seed", "7", "--out", tmp_path / "new" / "subject")
    ended = cli(*words, "--json")
    assert ended.status == 0, ended.err
    card = json.loads(ended.out)
    assert card["command"] == "interpbench train untrained --case 3 --seed 7"
    assert card["trainer"] == {"name": "untrained", "config": {"seed": 7}, "steps": 0}
    assert card["certificate"]["certified"] is False
    subject = ib.load_subject("3", tmp_path / "new" / "subject")
    assert subject.card["certificate"] == card["certificate"] and subject.weights_hash == subject.card["weights_hash"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["subject"]
    ended = cli("verify", "3", "--model", tmp_path / "new" / "subject")
    assert ended.status == 1 and "accuracy" in ended.out
    ended = cli(*words)
    assert ended.status == 2 and "--force" in ended.err


def test_the_follower(page: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    page("progress")
    (follow,) = registry.load().listeners.values()
    follow(event=ib.ProgressEvent("train", "3", "siit", 0, numbers={"loss": 1.0}))
    follow(event=ib.ProgressEvent("train", "3", "siit", 7, numbers={"accuracy": 0.5}, ended=True))
    assert capsys.readouterr().out == "siit on case 3, seed 7: {'accuracy': 0.5}\n"


def without_self(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def given_names(definition: str) -> list[str]:
    """Parameters of a `def` line, without self."""
    function = ast.parse(f"{definition}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    return [each.arg for each in function.args.args if each.arg != "self"]


def test_hooks_and_methods_have_the_signatures_that_are_documented() -> None:
    """In signatures and in examples alike; and all hooks are there."""
    code: dict[str, Any] = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("interpbench_")}
    code |= {"discover": ib.Technique.discover, "train": ib.Trainer.train}
    pages = "\n".join(path.read_text() for path in sorted(PAGES.glob("*.md")))
    stated = re.findall(r"^    (\w+)\((.*)\) -> (.*)$", pages, flags=re.MULTILINE)
    assert {name for name, _, _ in stated} == code.keys()
    for name, arguments, returned in stated:
        assert given_names(f"def {name}({arguments})") == without_self(code[name])
        assert returned == inspect.signature(code[name]).return_annotation
    texts = [hookspecs.__doc__ or "", *(path.read_text() for path in (*DOCUMENTS, *TEMPLATES))]
    examples = re.findall(r"^ *(def (interpbench_\w+|discover|train)\([^)]*\))", "\n".join(texts), flags=re.MULTILINE)
    assert {name for _, name in examples} == code.keys()
    for definition, name in examples:
        assert given_names(definition) == without_self(code[name])


def test_the_python_of_the_readme() -> None:
    (code,) = blocks((ROOT / "README.md").read_text(), "python")
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    case, subject = namespace["case"], namespace["subject"]
    tokens = ["x", "a", "x", "b"]
    assert case.expected(tokens) == pytest.approx([1.0, 0.5, 0.667, 0.5], abs=1e-3)
    assert np.allclose(subject.predict([tokens])[0], case.expected(tokens), atol=0.05)
    assert {"embed->m0", "pos->a1.h2<q>"} <= subject.circuit.edges
    assert namespace["result"].metrics["heads"]["auroc"] > 0.5


def commands() -> list[str]:
    """Every command in an indented or fenced block, or in backquotes."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text()
        found += re.findall(r"^(?: {4})?(interpbench .*?)(?: {2,}#.*)?$", text, flags=re.MULTILINE)
        found += re.findall(r"`(interpbench [^`]+)`", text)
    return sorted(set(found))


@pytest.mark.parametrize("command", commands())
def test_commands_and_options_exist(cli: Callable, command: str) -> None:
    _, *words = shlex.split(command)
    path = words[: 2 if words[0] in ("run", "train", "hub", "list", "eval") or words[:2] == ["plugins", "new"] else 1]
    if path[-1] in ("mine", "mytech"):  # plugins that the guide and the templates write
        path[-1] = {"run": "eap", "train": "siit"}[path[0]]
    said = cli(*path, "--help")
    assert said.status == 0, said.err
    for option in [word for word in words if word.startswith("--") and word != "--help"]:
        assert re.search(rf"{option}\b", said.out)
    for name in re.findall(r"--case (\S+)", command):
        assert name in ("my-fraction", "mytech", *registry.load().cases) or property_of(name) in PLANTED


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_python_block_is_run_by_a_test(path: Path) -> None:
    """Those of the README and docs/plugins here, that of docs/other-tools.md in tests/test_lens.py."""
    run_here = path.parent == PAGES or path in (ROOT / "README.md", ROOT / "docs" / "other-tools.md")
    assert run_here or not blocks(path.read_text(), "python")


def test_the_contract_page_lists_the_public_names() -> None:
    sections = re.split(r"^### `([\w.]+)`$", (PAGES / "contract.md").read_text(), flags=re.MULTILINE)[1:]
    listed = {
        module: {name for row in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`(\w+)`", row)}
        for module, text in zip(sections[::2], sections[1::2], strict=True)
    }
    assert listed == {module: set(importlib.import_module(module).__all__) for module in PUBLIC_MODULES}


def test_the_page_of_generated_cases_lists_the_properties() -> None:
    text = (ROOT / "docs" / "generated.md").read_text()
    listed = [tuple(row.split(" | ")) for row in re.findall(r"^\| (`\w+` \| .*) \|$", text, flags=re.MULTILINE)]
    assert listed == [(f"`{p.name}`", p.what, p.aimed_at, "; ".join(p.levels)) for p in PROPERTIES]


def test_every_room_and_loose_module_is_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    core = ROOT / "interpbench"
    rooms = {f"interpbench/{path.parent.name}/" for path in core.glob("*/__init__.py")}
    modules = {f"interpbench/{path.name}" for path in core.glob("*.py") if path.name != "__init__.py"}
    assert rooms | modules <= set(re.findall(r"`(interpbench/[^`]*)`", text))
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    ordered = [name.rpartition(".")[2] for layer in layers for name in layer.split(" | ")]
    assert re.findall(r"^\| `interpbench/(\w+)(?:/|\.py)` \|", text, flags=re.MULTILINE) == ordered


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_exist(path: Path) -> None:
    names = re.findall(r"`((?:interpbench|plugins|tests)/[\w./]+)`", path.read_text())
    names += re.findall(r"\]\(([\w./]+)\)", path.read_text())
    for name in names:
        assert (ROOT / name).exists() or (path.parent / name).exists(), name
