"""The command line as a stranger meets it: what it prints, its status, how fast it answers, what it survives."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import interpbench as ib
from interpbench import processes
from interpbench.certificate import certify as certificate
from interpbench.certificate.certificate import THRESHOLD, VERSION, Headline, demands
from interpbench.certificate.classify import ON_CARD
from interpbench.certificate.differences import differences
from interpbench.cli import console
from interpbench.errors import UsageError
from interpbench.processes import Event
from interpbench.runs import make as making
from interpbench.subjects.card import WHY, card_numbers, certificate_tables, loudness
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import stored_card
from interpbench.table import cell
from interpbench.trainers.settings import Config

HEAVY = (
    "torch",
    "torch._dynamo",
    "sympy",
    "numpy",
    "jax",
    "tracr",
    "transformers",
    "transformer_lens",
    "matplotlib",
    "networkx",
    "pydantic",
)
SLOW_PLUGIN = """
import os, pathlib, time
from dataclasses import dataclass
from interpbench import hookimpl

@dataclass(frozen=True)
class Config: pass

class Slow:
    name, version, Config = "slow", "1", Config
    def discover(self, problem, config):
        from interpbench.graph import EdgeScores
        from interpbench.problem import Discovery
        print("asked", flush=True)
        if problem.clean.shape[1] == int(os.environ.get("HANG_AT", 0)):
            time.sleep(600)
        if problem.clean.shape[1] == int(os.environ.get("FAIL_AT", 0)):
            raise ZeroDivisionError("by nothing")
        values = problem.losses(problem.full.new_ones(1, problem.graph.n_edges), "mse").expand(problem.graph.n_edges)
        return Discovery(EdgeScores(problem.graph, values.double().numpy()))

@hookimpl
def interpbench_techniques(): return [Slow()]
"""


@pytest.fixture
def slow(tmp_path: Path) -> str:
    """A folder for PYTHONPATH with a technique that hangs or fails on inputs of some length."""
    site, module = tmp_path / "site", f"slow_{tmp_path.name}"
    info = site / "slow-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(SLOW_PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[interpbench]\nslow = {module}\n")
    return str(site)


def test_an_option_that_every_command_has_is_told(cli: Callable, monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    (plugin,) = Path(slow).glob("*.py")
    plugin.write_text(plugin.read_text().replace("class Config: pass", "class Config:\n    samples: int = 3"))
    monkeypatch.syspath_prepend(slow)
    ended = cli("run", "slow", "--help")
    said = "technique slow cannot have a command: option 'samples' of slow is one that every command of its kind has"
    assert (ended.status, ended.err) == (1, f"error: {said}\n")


# What it shows


def test_list_as_json(cli: Callable) -> None:
    listed = json.loads(cli("list", "--json").out)
    assert listed.keys() >= {"cases", "techniques", "trainers", "plugins"}
    three = {case["name"]: case for case in listed["cases"]}["3"]
    keys = {"name", "description", "output", "n_ctx", "vocab_size", "suites", "models", "circuit_size"}
    assert three.keys() == keys and (three["n_ctx"], three["vocab_size"], three["suites"][:3]) == (
        5,
        4,
        ["quick", "paper16", "all"],
    )
    assert "siit" in {trainer["name"] for trainer in listed["trainers"]}
    suites = {suite["name"]: suite for suite in listed["suites"]}
    assert suites["quick"]["cases"] == ["3", "4", "7", "18", "44"] and suites["quick"]["version"] == 1
    assert len(suites["all"]["cases"]) == 129 and len(suites["paper16"]["cases"]) == 16
    assert len(listed["cases"]) >= 131


@pytest.mark.parametrize("part", ["cases", "properties", "techniques", "trainers", "models", "suites"])
def test_list_one_kind(cli: Callable, part: str) -> None:
    assert json.loads(cli("list", part, "--json").out).keys() == {part}
    assert cli("list", part).status == 0


def test_models_with_their_certificates(cli: Callable) -> None:
    rows = json.loads(cli("list", "models", "--json").out)["models"]
    by_name = {(row["case"], row["model"]): row for row in rows}
    mine, card = by_name["3", "siit"], ib.load_subject("3").card
    headline = dataclasses.asdict(Headline.of_card(card))
    assert mine.items() >= headline.items() and headline["edges"] == card["certificate"]["edges"]
    assert mine["steps"] == card["trainer"]["steps"]
    assert by_name["3", "tracr"]["certified"] is by_name["3", "tracr"]["version"] is None
    said = cli("list", "models").out
    assert all(column in said for column in ("certified", "version", "positions", "zero", "exclusive"))


def test_plugins_as_json(cli: Callable) -> None:
    rows = json.loads(cli("plugins", "--json").out)["plugins"]
    assert [row["name"] for row in rows][:3] == ["cases", "properties", "trainers"]
    parts = {"cases", "properties", "trainers", "techniques", "progress", "contested"}
    assert rows[0].keys() == {"name", "distribution", "version", "error"} | parts


def test_show_as_json(cli: Callable, subject_folder: Path) -> None:
    shown = json.loads(cli("show", "3", "--model", subject_folder, "--json").out)
    subject = ib.load_subject("3", subject_folder)
    assert set(shown["circuit"]["edges"]) == subject.circuit.edges
    assert set(shown["circuit"]["heads"]) == subject.circuit.heads().edges
    assert set(shown["circuit"]["nodes"]) == subject.circuit.nodes
    assert (shown["name"], shown["shape"]["n_layers"], shown["card"]["schema"]) == ("3", 2, 1)


def test_show_to_people_and_draw(cli: Callable, subject_folder: Path, tmp_path: Path) -> None:
    words = ("show", "3", "--model", subject_folder, "--plot", tmp_path / "a.svg")
    ended = cli(*words)
    assert ended.status == 0 and "Fraction of 'x'" in ended.out and "a1.h0<q>" in ended.out
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    assert cli(*words).status == 2
    assert cli(*words, "--force").status == 0
    assert cli(*words[:-1], tmp_path / "made" / "a.svg").status == 0, "folders on the way are made"


def test_show_tells_what_can_be_seen(cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = cli("show", "3").out
    known = ib.load_subject("3").card["edge_classes"]["resample"]["classes"]
    for edge, kind in known.items():
        (line,) = [line for line in said.splitlines() if re.match(rf"\W*{re.escape(edge)}\s", line)]
        assert kind in line and WHY[kind] in line


def test_classes_of_a_circuit_before_it_was_edited_are_not_shown(cli: Callable, tmp_path: Path) -> None:
    folder = ib.save_subject(ib.load_subject("3"), tmp_path / "three")
    circuit = json.loads((folder / "circuit.json").read_text())
    words = ("show", "3", "--model", folder)
    assert "no minimal circuit is without it" in " ".join(cli(*words).out.split())
    (folder / "circuit.json").write_text(json.dumps(circuit | {"edges": [*circuit["edges"], "pos->m0"]}))
    ended = cli(*words, "--plot", tmp_path / "a.svg")
    said = " ".join(ended.out.split())
    assert ended.status == 0 and "true circuit: 6 edges" in said and "minimal circuit" not in said


def test_show_without_a_subject(cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A case whose reference is no transformer, and which nobody has trained: still its circuit."""
    monkeypatch.setattr("interpbench.subjects.zoo.ZOO", tmp_path)
    shown = json.loads(cli("show", "ioi", "--json").out)
    assert shown["model"] is None and "a4.h1->logits" in shown["circuit"]["edges"]


def test_try(cli: Callable, subject_folder: Path) -> None:
    words = ("try", "3", "x", "a", "x", "b", "--model", subject_folder)
    answers = json.loads(cli(*words, "--json").out)
    expected = ib.load_case("3").expected(["x", "a", "x", "b"])
    for who in ("program", "reference", "subject"):
        assert answers[who] == pytest.approx(expected, abs=1e-5)
    assert "0.667" in cli(*words).out


def test_try_parses_numbers(cli: Callable) -> None:
    answers = json.loads(cli("try", "44", "10", "3", "7", "--model", "tracr", "--json").out)
    assert answers["program"] == answers["subject"] == answers["reference"] == [0, 2, 1]


def test_run_and_verify(cli: Callable, subject_folder: Path, tmp_path: Path) -> None:
    words = ("run", "eap", "--case", "3", "--model", subject_folder, "--samples", "50", "--out", tmp_path)
    record = json.loads(cli(*words, "--json").out)
    (stored,) = tmp_path.rglob("run.json")
    assert record == json.loads(stored.read_text())
    assert stored.parent == tmp_path / "3" / "custom" / "eap" / record["digest"]
    table = cli(*words)
    assert table.status == 0 and record["digest"] in "".join(table.out.split()) and table.err == ""
    several = cli(*words[:3], "3,4", "--model", "tracr", *words[6:], "--json")
    assert [each["case"] for each in json.loads(several.out)] == ["3", "4"]


def test_a_techniques_own_options(cli: Callable, subject_folder: Path, tmp_path: Path) -> None:
    said = cli("run", "eap", "--help")
    assert said.status == 0 and "--ig-steps" in said.out and "Options of eap" in said.out
    words = ("run", "eap", "--case", "3", "--model", subject_folder, "--samples", "50", "--out", tmp_path, "--json")
    assert json.loads(cli(*words, "--ig", "inputs", "--ig-steps", "3").out)["config"]["ig_steps"] == 3


def test_help_and_version(cli: Callable) -> None:
    assert "run" in cli().out and "run" in cli("--help").out
    assert cli("--version").out.strip() == ib.__version__
    assert "eap" in cli("run", "--help").out


def test_verify(cli: Callable, monkeypatch: pytest.MonkeyPatch, subject_folder: Path) -> None:
    """A compiled reference is certified by construction; one in another place than the alignment says is refused."""
    monkeypatch.setattr(certificate, "certify", functools.partial(certificate.certify, rows=100))
    ended = cli("verify", "3,7", "--model", "tracr", "--json")
    for facts in json.loads(ended.out):
        measured = facts["certificate"]
        assert measured["accuracy"] == measured["iia_min"] == measured["edges"] == 1
        assert measured["certified"] is all(each.is_met for each in demands(measured)) is (facts["case"] == "3")
        assert facts["edge_classes"].keys() == set(ON_CARD) and facts["off"] == []
    assert ended.status == 1, "case 7 reads a constant through edges outside its circuit: zeros see it"
    ended = cli("verify", "3", "--model", "tracr")
    assert ended.status == 0 and "case 3, model tracr: certified" in ended.out
    ended = cli("verify", "3", "--model", subject_folder)
    assert ended.status == 1 and ended.err.startswith("error: case 3: the subject does not fit the alignment")


def test_verify_writes_what_it_measured(cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(certificate, "certify", functools.partial(certificate.certify, rows=100))
    subject = ib.load_subject("3")
    card = {key: value for key, value in subject.card.items() if key not in ("certificate", "edge_classes")}
    folder = ib.save_subject(dataclasses.replace(subject, card=card), tmp_path / "three")
    words = ("verify", "3", "--model", folder, "--json")
    measured = json.loads(cli(*words).out)
    assert "certificate" not in json.loads((folder / "card.json").read_text()), "without --write nothing is written"
    written = json.loads(cli(*words, "--write").out)
    assert written == measured
    read = ib.load_subject("3", folder)
    assert read.card["certificate"] == measured["certificate"] and read.card["edge_classes"] == measured["edge_classes"]
    assert {key: read.card[key] for key in card} == card and read.weights_hash == subject.weights_hash
    assert json.loads(cli(*words).out)["off"] == [], "and it is reproduced"
    spoiled = read.card | {"certificate": measured["certificate"] | {"accuracy": 0.5}}
    (folder / "card.json").write_text(json.dumps(spoiled))
    ended = cli(*words)
    assert ended.status == 1 and json.loads(ended.out)["off"] and "accuracy: 0.5000" in ended.err
    ended = cli("verify", "3", "--model", "tracr", "--write")
    assert ended.status == 2 and "no card to write on" in ended.err and ended.err.count("\n") == 1


def test_verify_knows_a_card_that_says_otherwise() -> None:
    measured = {
        "seed": 0,
        "rows": 9,
        "certified": True,
        "accuracy": 0.995,
        "worst": {"edge": "m0->m1", "accuracy": 0.9},
    }
    card = {"seed": 0, "rows": 9, "certified": True, "accuracy": 0.9951, "worst": {"edge": "m0->m2", "accuracy": 0.9}}
    assert differences(card, measured) == []
    card |= {"accuracy": 0.98, "certified": False, "worst": {"edge": "m0->m2", "accuracy": None}}
    assert differences(card, measured) == [
        "certified: False, True",
        "accuracy: 0.9800, 0.9950",
        "worst accuracy: None, 0.9",
    ]
    assert differences(card | {"seed": 1}, measured) == [] == differences(None, measured), "other data, other numbers"


def test_verify_knows_a_changed_program(cli: Callable, subject_folder: Path, tmp_path: Path) -> None:
    subject = ib.load_subject("3", subject_folder)
    other = dataclasses.replace(subject, card=subject.card | {"program_digest": "0" * 16})
    ended = cli("verify", "3", "--model", ib.save_subject(other, tmp_path / "old"))
    assert ended.status == 1 and "has changed since" in ended.err


# What is wrong in what was asked


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("run eap --case 33x", "no case '33x'; did you mean '33'?"),
        ("run eapp --case 3", "no technique 'eapp'; did you mean 'eap'?"),
        ("run eap --case 3 --stepz 3", "No such option: --stepz"),
        ("run eap --case 3 --samples 0", "0 is not in the range"),
        ("run eap --case 3 --samples many", "'many' is not a valid int"),
        ("run eap --case 3 --ablation noise", "'noise' is not one of"),
        ("run eap --case 3 --model nowhere", "no model or folder 'nowhere'"),
        ("run eap --suite quik", "no suite 'quik'; did you mean 'quick'?"),
        ("run eap --suite quick --case 3", "not both"),
        ("run eap", "name cases"),
        ("show 333", "no case '333'"),
        ("show 3 --model nowhere", "no model or folder 'nowhere'"),
        ("try 3 q --model tracr", "case 3 has no token 'q'; its tokens: a b c x"),
        ("try 3 x x x x x --model tracr", "case 3 takes 1 to 4 tokens, not 5"),
        ("try 3", "Missing argument"),
        ("verify 333", "no case '333'"),
        ("verify", "name cases"),
        ("train siitt --case 3", "no trainer 'siitt'; did you mean 'siit'?"),
        ("train siit --case 333", "no case '333'"),
        ("train siit", "name cases (with commas between) or a --suite"),
        ("train siit --case 3 --rows 7", "multiple of group"),
        ("lst", "No such command 'lst'"),
        ("list things", "No such command 'things'"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = cli(*words.split())
    assert ended.status == 2, ended
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1 and why in ended.err
    assert ended.out == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run eap --case 3", "verify 3", "show 3", "try 3 x"])
def test_damage_is_one_line_and_writes_nothing(
    cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, subject_folder: Path, command: str
) -> None:
    folder = shutil.copytree(subject_folder, tmp_path / "subject")
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    ended = cli(*command.split(), "--model", folder)
    assert ended.status == 1 and ended.out == ""
    assert ended.err.startswith(f"error: {weights}: unreadable") and ended.err.count("\n") == 1
    assert list(work.iterdir()) == []


QUICK = "--steps 4 --eval-every 2 --rows 16 --eval-rows 40 --json".split()


def test_train_several(cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "4").write_text("in the way")
    error = {"case": "4", "error": f"{tmp_path / '4'}/siit: cannot be written: Not a directory"}
    ended = cli("train", "siit", "--case", "3,4", "--jobs", 2, "--out", tmp_path, *QUICK)
    good, bad = json.loads(ended.out)
    assert ended.status == 1 and good["case"] == "3" and "certified" in good["certificate"] and bad == error
    assert sorted(path.name for path in (tmp_path / "3").iterdir()) == ["siit"]
    ended = cli("train", "siit", "--case", "3,4", "--out", tmp_path, *QUICK)
    assert ended.status == 1 and json.loads(ended.out) == [error], "3 is there already"


def test_the_table_after_training_is_the_state_of_all_cases(
    cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was there already stands in it with the numbers of the card; a damaged one costs the others nothing."""

    def run_jobs(work: Any, items: Any, jobs: int) -> Any:
        for i, each in enumerate(items):
            blocked = each.case == "4"
            yield Event(i, error="no") if blocked else Event(i, value=cards[each.case])

    monkeypatch.setattr(processes, "run_jobs", run_jobs)
    cards = {case: ib.load_subject(case).card for case in ("3", "18")}
    for case in ("3", "7"):
        ib.save_subject(ib.load_subject(case), tmp_path / case / "siit")
    (tmp_path / "7" / "siit" / "card.json").write_text("[")
    ended = cli("train", "siit", "--case", "4,3,18,7", "--out", tmp_path)
    assert ended.status == 1 and "case 4 failed: no" in ended.err and "case 7 failed" in ended.err
    rows = [line.split() for line in ended.out.splitlines() if re.match(r" \d+ +(trained|skipped|failed)", line)]
    outcomes = {"4": "failed", "3": "skipped", "18": "trained", "7": "failed"}
    assert {row[0]: row[1] for row in rows} == outcomes and [row[0] for row in rows] == list(outcomes)
    seconds, certified = 0.0, 0
    for case, _, *told in rows:
        numbers = card_numbers(cards.get(case, {}))
        expected = (loudness(cards.get(case, {})), numbers["steps"], numbers["seconds"])
        assert tuple(told[-3:]) == tuple(map(cell, expected))
        assert told[0] == cell(numbers["certified"])
        assert told[1] == (cell(numbers["lowest"]) if numbers["met"] else "-")
        seconds, certified = seconds + (numbers["seconds"] or 0), certified + bool(numbers["certified"])
    line = f"{certified} of 4 certified, 2 failed, 1 skipped (they exist); {seconds:.0f} seconds of training in all"
    assert ended.out.splitlines()[-1] == line


def test_nothing_is_trained_for_a_folder_that_is_no_subject(tmp_path: Path) -> None:
    """It is refused before training, not when all is done."""
    (tmp_path / "siit").mkdir()
    with pytest.raises(UsageError, match="exists; --force replaces it"):
        making.make(making.Asked("siit", "3", Config(), tmp_path / "siit", 1, False), lambda facts: None)
    assert not (tmp_path / "siit.checkpoints").exists()


def test_the_longest_case_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the card of the bundled subject; by size where there is none, among the others of its size."""

    def order(*cases: str) -> list[str]:
        return [each.case for each in making.longest_first([asked(case) for case in cases])]

    def asked(case: str) -> Any:
        return making.Asked("siit", case, Config(), tmp_path / case, 1, False)

    assert order("3", "ioi", "4") == order("4", "3", "ioi")
    took = {
        case: making.stored_card(ib.load_case(case), "siit")["trainer"]["seconds"] for case in ("3", "4", "18", "ioi")
    }
    assert order(*took) == sorted(took, key=took.__getitem__, reverse=True)
    monkeypatch.setattr(
        making, "stored_card", lambda case, kind: None if case.name == "ioi" else stored_card(case, kind)
    )
    assert order("3", "ioi", "4")[0] == "ioi", "it is by far the largest"
    monkeypatch.setattr(making, "stored_card", lambda case, kind: None)
    assert order("3", "4", "ioi")[0] == "ioi" and sorted(order("3", "4")) == ["3", "4"]


@pytest.mark.slow
def test_training_of_many_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    """Killed in the middle, and started again: the subjects are those of a run that nobody disturbed."""
    command = [sys.executable, "-m", "interpbench", "train", "siit", "--case", "3,18", "--jobs", "2"]
    command += [*"--steps 120 --eval-every 8 --rows 16 --eval-rows 40 --margin 1 --out".split()]

    def hashes(folder: Path) -> list[str]:
        return [json.loads((folder / case / "siit/card.json").read_text())["weights_hash"] for case in ("3", "18")]

    subprocess.run([*command, tmp_path / "whole"], capture_output=True, check=True)
    running = subprocess.Popen([*command, tmp_path / "killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (left := list((tmp_path / "killed").glob("*/siit.checkpoints/*.safetensors"))):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.02)
    running.kill()
    running.wait()
    assert left and not all((tmp_path / "killed" / case / "siit").exists() for case in ("3", "18"))
    ended = subprocess.run([*command, tmp_path / "killed"], capture_output=True, text=True, check=True)
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    assert not list((tmp_path / "killed").glob("*/*.checkpoints")) and "of 2 certified, 0 failed" in ended.stdout


def test_of_several_seeds_the_best_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first that is certified; else that of the most demands met; of these, that of the best lowest share."""
    lowest = {5: 0.7, 6: 0.8, 7: 0.99, 8: 0.995}

    def all_of(numbers: Any, share: float) -> Any:
        if isinstance(numbers, dict):
            return {name: value if name == "threshold" else all_of(value, share) for name, value in numbers.items()}
        return share if isinstance(numbers, float) else numbers

    def make_subject(trainer: Any, case: Any, config: Any, *_: Any) -> Subject:
        told = all_of(full, lowest[config.seed]) | {"version": VERSION, "certified": lowest[config.seed] >= THRESHOLD}
        return dataclasses.replace(subject, card=subject.card | {"certificate": told, "seed": config.seed})

    subject = ib.load_subject("3")
    full = subject.card["certificate"]
    monkeypatch.setattr(making, "make_subject", make_subject)
    for seeds, best in ((1, 5), (2, 6), (4, 7)):
        asked = making.Asked("siit", "3", Config(seed=5), tmp_path / str(seeds), seeds, False)
        assert making.make(asked, lambda facts: None)["seed"] == best
        assert ib.load_subject("3", tmp_path / str(seeds)).card["seed"] == best


def test_nothing_is_trained_over_a_folder(cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    ended = cli("train", "siit", "--case", "3", "--out", tmp_path / "mine")
    assert ended.status == 2 and "--force" in ended.err


# How it behaves as a process


def imports(tmp_path: Path, *words: str, **environment: str) -> set[str]:
    """The heavy modules that a command imports."""
    code = (
        "import sys\nfrom interpbench.cli import main\ntry:\n main()\nfinally:\n"
        f" print('IMPORTED', *[m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split("IMPORTED")[1].split())


@pytest.mark.parametrize("words", [["--help"], ["list"], ["list", "--json"], ["plugins"], ["run", "--help"]])
def test_quick_commands_import_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    assert imports(tmp_path, *words) == set()


@pytest.mark.parametrize("technique", ["acdc", "eap", "norm", "patching", "random", "sp"])
def test_a_run_imports_pytorch_and_no_more(tmp_path: Path, technique: str) -> None:
    """PyTorch itself imports SymPy and its compiler where a function of it wants them: up to a second a process."""
    assert imports(tmp_path, "run", technique, "--case", "3", "--samples", "50") == {"torch", "numpy"}


@pytest.mark.parametrize("case", ["3", "113"])
def test_a_case_is_shown_without_pytorch(tmp_path: Path, case: str) -> None:
    assert imports(tmp_path, "show", case) == {"numpy"}


def test_the_test_of_imports_can_fail(tmp_path: Path, slow: str) -> None:
    (plugin,) = Path(slow).glob("*.py")
    plugin.write_text("import numpy\n" + plugin.read_text())
    assert imports(tmp_path, "list", PYTHONPATH=slow) == {"numpy"}


def test_a_run_imports_only_what_it_computes_with(tmp_path: Path, subject_folder: Path) -> None:
    words = ("run", "eap", "--case", "3", "--model", str(subject_folder), "--samples", "20")
    assert imports(tmp_path, *words) <= {"torch", "numpy"}


@pytest.mark.parametrize("words", [["--help"], ["list"]])
def test_quick_commands_answer_at_once(tmp_path: Path, words: list[str]) -> None:
    """CPU time of a few starts of Typer and pluggy alone, measured beside it: what a machine makes of 0.3 s."""

    def seconds(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    command, bare = "from interpbench.cli import main; main()", "import typer, pluggy"
    pairs = [(seconds(command), seconds(bare)) for _ in range(4)]
    assert min(ours for ours, _ in pairs) < 6 * min(alone for _, alone in pairs)


def test_a_case_that_fails_is_shown_and_the_rest_goes_on(
    cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slow: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(slow)
    monkeypatch.setenv("FAIL_AT", "5")
    words = ("run", "slow", "--case", "3,4,7", "--model", "tracr", "--samples", "20")
    ended = cli(*words)
    assert ended.status == 1
    told = ended.err.replace("asked\n", "")
    assert "\ncase 3 failed: ZeroDivisionError: by nothing (traceback in runs/3/tracr/slow/" in told
    assert told.startswith("slow, case 3: failed (1 of 3)\nslow, case 4: done (2 of 3)\n")
    assert {path.parts[-5] for path in tmp_path.rglob("run.json")} == {"4", "7"}
    (kept,) = tmp_path.rglob("error.txt")
    assert "Traceback" in kept.read_text()
    ended = cli(*words[:3], "3", *words[4:], "--json")
    assert ended.status == 1 and ended.err.removeprefix("asked\n").count("\n") == 1 and "Traceback" not in ended.err
    listed = json.loads(cli(*words, "--json").out)
    assert listed[0]["error"].startswith("ZeroDivisionError") and listed[1]["case"] == "4"


def test_kill_and_run_again(cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slow: str) -> None:
    """Killed in its second case: the first is kept and not run again, and the numbers are those of an unbroken run."""
    words = ("run", "slow", "--case", "3,4", "--model", "tracr", "--samples", "20", "--json")
    command = [sys.executable, "-c", "from interpbench.cli import main; main()", *words]
    environment = os.environ | {"PYTHONPATH": slow, "HANG_AT": "10"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for said in ("asked\n", "slow, case 3: done (1 of 2)\n", "asked\n"):
            assert running.stderr.readline() == said
        running.send_signal(signal.SIGKILL)
    (kept,) = tmp_path.rglob("run.json")
    before = (kept.read_bytes(), kept.stat().st_mtime_ns)

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(slow)
    ended = cli(*words)
    assert ended.status == 0 and ended.err.count("asked\n") == 1
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before
    resumed = json.loads(ended.out)
    fresh = json.loads(cli(*words, "--out", "fresh").out)
    for one, other in zip(resumed, fresh, strict=True):
        assert (one["digest"], one["metrics"]) == (other["digest"], other["metrics"])


def test_output_may_be_cut_off(tmp_path: Path) -> None:
    """`interpbench list | head -0`: no traceback."""
    command = f"{sys.executable} -c 'from interpbench.cli import main; main()' list --json | true"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_without_the_tracr_extra(tmp_path: Path, process: Callable, subject_folder: Path) -> None:
    """What needs it says so in one line; the rest works."""
    (tmp_path / "tracr").mkdir()
    (tmp_path / "tracr" / "__init__.py").write_text("raise ImportError('not installed')")

    def run(*words: str) -> Any:
        return process(*words, "--model", str(subject_folder), cwd=tmp_path, PYTHONPATH=str(tmp_path))

    ended = run("try", "3", "x", "a")
    assert ended.status == 0 and "0.500" in ended.out and "pip install 'interpbench[tracr]'" in ended.out
    ended = run("verify", "3")
    assert ended.status == 2 and ended.err.count("\n") == 1 and "pip install 'interpbench[tracr]'" in ended.err


def test_certificates_are_short_to_people() -> None:
    """What is demanded, one line each; of what is only reported, the lowest of many numbers."""
    card = ib.load_subject("3").card
    certificate = card["certificate"]
    shown, reported, classes = certificate_tables("case 3", card)
    assert shown.title == f"case 3: {'certified' if certificate['certified'] else 'not certified'}"
    asked = [(each.replaced, each.by, 0.99, each.share) for each in demands(certificate)]
    assert [row[:4] for row in shown.rows] == asked and len(asked) == 18
    assert [row[4] for row in shown.rows] == ["yes" if each.is_met else "no" for each in demands(certificate)]
    rows = dict(reported.rows)
    lowest = min(certificate["necessity"], key=certificate["necessity"].__getitem__)
    assert rows["necessity: lowest of 5"] == f"{certificate['necessity'][lowest]:.3f} ({lowest})"
    assert rows["accuracy"] == certificate["accuracy"] and "iia" not in rows and "positions" not in rows
    assert [row[0] for row in classes.rows] == list(ON_CARD)
    assert sum(classes.rows[0][2:6]) == 5, "every true edge has a class"
    assert certificate_tables("no certificate", {"certificate": None}) == []


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stderr)
    with console.progress("training", ["3"]) as update:
        update("3", {"step": 2, "steps": 8, "loss": 0.25}, "")
    said = stderr.getvalue()
    assert all(part in said for part in ("training, case 3", "2/8", "loss 0.250")) if terminal else not said


def test_a_stored_subject_of_another_program_is_not_taken_for_trained(cli: Callable, tmp_path: Path) -> None:
    for case in ("3", "7"):
        ib.save_subject(ib.load_subject(case), tmp_path / case / "siit")
    path = tmp_path / "3" / "siit" / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "program_digest": "0" * 16}))
    ended = cli("train", "siit", "--case", "3,7", "--out", tmp_path)
    assert (
        ended.status == 1 and re.search(r"^ 7 +skipped", ended.out, re.M) and re.search(r"^ 3 +failed", ended.out, re.M)
    )
    assert "case 3 failed" in ended.err and "another program" in ended.err and "--force" in ended.err
    ended = cli("train", "siit", "--case", "3,7", "--out", tmp_path, "--json")
    assert [each["case"] for each in json.loads(ended.out)] == ["3"]
