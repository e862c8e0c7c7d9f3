"""What the documentation says is true: its code runs, its commands and options exist, its paths are there."""

from __future__ import annotations

import functools
import importlib
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import interpbench as ib
from interpbench import certificate, plugins

ROOT = Path(__file__).parent.parent
README, CONTRIBUTING = ((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("plugins/*/README.md"))]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import the code block of CONTRIBUTING that defines a name, installed as a plugin if it holds a hook."""

    def load(name: str) -> Any:
        (code,) = [
            block for block in blocks(CONTRIBUTING, "python") if re.search(rf"^(def|class) {name}\b", block, re.M)
        ]
        module = f"snippet_{name.lower()}_{tmp_path.name}"
        (tmp_path / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        return __import__(module)

    return load


def install(folder: Path, module: str, hook: str = "") -> None:
    with (folder / f"{module}.py").open("a") as file:
        file.write(hook)
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[interpbench]\nmine = {module}\n")


def test_the_case(snippet: Callable[[str], Any]) -> None:
    case = snippet("fraction_of_a").fraction_of_a
    assert isinstance(case, ib.Case) and case.description.startswith("Fraction of 'a'")
    tokens = ["a", "b", "a", "c", "a"]
    assert case.expected(tokens) == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2, 3 / 5])
    assert ib.load_subject(case, "tracr").predict([tokens])[0] == pytest.approx(case.expected(tokens), abs=1e-5)


def test_the_technique(snippet: Callable[[str], Any], cli: Callable, subject_folder: Path, tmp_path: Path) -> None:
    module = snippet("Mine")
    install(tmp_path, module.__name__)
    assert plugins.load().technique("mine").name == "mine"
    words = ("--model", subject_folder, "--samples", "50", "--keep", "3", "--out", tmp_path / "runs", "--json")
    record = json.loads(cli("run", "mine", "--case", "3", *words).out)
    assert record["metrics"]["edges"]["chosen"]["size"] == 3
    (test,) = [block for block in blocks(CONTRIBUTING, "python") if "check_technique" in block]
    namespace = dict(vars(module))
    exec(test, namespace)
    namespace["test_conformance"]()


def test_the_trainer(
    snippet: Callable[[str], Any], cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also what `train` does with any trainer: subject, certificate and command on the card, nothing else left."""
    monkeypatch.setattr(certificate, "certify", functools.partial(certificate.certify, rows=100))
    module = snippet("Untrained").__name__
    hook = "\nfrom interpbench import hookimpl\n@hookimpl\ndef interpbench_trainers(): return [Untrained()]\n"
    install(tmp_path, module, hook)
    importlib.reload(importlib.import_module(module))
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


def test_the_python_of_the_readme() -> None:
    (code,) = blocks(README, "python")
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
    path = words[: 2 if words[0] in ("run", "train", "eval") else 1]
    if path[-1] == "mine":  # the plugin that the guide writes
        path[-1] = "eap"
    said = cli(*path, "--help")
    assert said.status == 0, said.err
    for option in [word for word in words if word.startswith("--") and word != "--help"]:
        assert re.search(rf"{option}\b", said.out)
    for name in re.findall(r"--case (\S+)", command):
        assert name in ("my-fraction", *plugins.load().cases)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_exist(path: Path) -> None:
    names = re.findall(r"`((?:interpbench|plugins|tests)/[\w./]+)`", path.read_text())
    names += re.findall(r"\]\(([\w./]+)\)", path.read_text())
    for name in names:
        assert (ROOT / name).exists() or (path.parent / name).exists(), name
