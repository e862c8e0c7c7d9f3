"""What people see: tables in the room there is, text from outside, streams that take nothing, work that takes long."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

import interpbench as ib
from interpbench import processes
from interpbench.catalogue.inventory import PARTS
from interpbench.cli import console
from interpbench.cli.fit import fit
from interpbench.cli.list import COLUMNS
from interpbench.errors import InterpbenchError, UsageError, brief, one_line, unknown, visible
from interpbench.evaluation import node_effects as effects
from interpbench.plugins import registry
from interpbench.processes import Event
from interpbench.runs import run as runner
from interpbench.runs.record import Conditions
from interpbench.runs.run import problem_of
from interpbench.subjects.zoo import is_there
from interpbench.table import Table, as_markdown, cell, csv_text
from tests.comparing import record, write

# Tables


@pytest.fixture
def terminal(cli: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command in a terminal of some columns that knows no colours."""

    def run(columns: int, *words: Any) -> Any:
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        return cli(*words)

    return run


@pytest.mark.parametrize(
    "command",
    ["list techniques", "list properties", "show 3", "show ioi", "run norm", "report"],
)
def test_no_number_is_broken_at_any_width(command: str, cli: Callable, terminal: Callable, tmp_path: Path) -> None:
    """And nothing is wider than the terminal but paths and commands."""
    words: list[Any] = command.split()
    if command == "run norm":
        words += ["--case", "3", "--samples", "20", "--out", tmp_path]
    if command == "report":
        for i, method in enumerate(("eap", "acdc", "sp", "a-technique-of-ones-own")):
            write(tmp_path / method, record(method, "3", i / 7))
        words.append(tmp_path)
    numbers: dict[int, list[str]] = {}
    for columns in (200, 120, 80, 40):
        said = terminal(columns, *words).out
        lines = [line.rstrip() for line in said.splitlines() if "interpbench" not in line and "stored in" not in line]
        numbers[columns] = sorted(re.findall(r"\d+\.\d+", "\n".join(lines)))
        assert max(map(len, lines)) <= columns
    assert numbers[40] == numbers[80] == numbers[120] == numbers[200]


def test_how_a_table_gives_way() -> None:
    columns = ("case", "model", "much accuracy>", "little accuracy>")
    row, other = ("3", "siit", 1.0, 0.5), ("4", "a folder", 0.25, None)
    (wide,) = fit(Table("t", columns, (row, other)), 60)
    assert wide.columns == columns and wide.rows[1] == ("4", "a folder", "0.250", "-")
    (folded,) = fit(Table("t", columns, (row, other)), 40)
    assert folded.columns == ("case", "model", "much\naccuracy>", "little\naccuracy>")
    stacked = "case: 3\n  model: siit\n  much accuracy: 1.000\n  little accuracy: 0.500"
    assert fit(Table("t", columns, (row,)), 30) == [Table("t", ("",), ((stacked,),))]
    many = (*columns, "third accuracy>", "fourth accuracy>")
    parts = fit(Table("t", many, ((*row, 0.1, 0.2), (*other, 0.3, 0.4))), 45)
    assert [part.columns[2:] for part in parts] == [
        ("much\naccuracy>", "little\naccuracy>"),
        ("third\naccuracy>", "fourth\naccuracy>"),
    ]
    assert all(part.columns[:2] == ("case", "model") for part in parts)


def test_what_has_no_heads_is_stacked_as_name_and_value() -> None:
    (stacked,) = fit(Table("t", ("", ""), (("reference equals program", 1.0),)), 24)
    assert stacked.rows == (("reference equals\n  program: 1.000",),)


@pytest.fixture(scope="module")
def models() -> Table:
    """The widest list."""
    rows, names = PARTS["models"](registry.load())[:40], COLUMNS["models"]
    return Table("models", names, tuple(tuple(row[name.rstrip(">")] for name in names) for row in rows))


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_widest_list_loses_nothing(models: Table, width: int) -> None:
    parts = fit(models, width)
    words = sorted(" ".join(text for part in parts for row in part.rows for text in row).split())
    numbers = sorted(cell(value) for row in models.rows for value in row if isinstance(value, float))
    assert [word for word in words if re.fullmatch(r"\d+\.\d{3}", word)] == numbers
    rows = [[text.split("\n") for text in row] for part in parts for row in part.rows]
    lines = [line for row in rows for line in zip_longest(*row, fillvalue="")]
    assert max(sum(map(len, line)) + 3 * len(line) - 1 for line in lines) <= width


def test_without_a_terminal_tables_are_wide(cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, cli("list", "properties").out.splitlines())) > 120


# Text from outside


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain x² 😊", "plain x² 😊"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\nb\r\tc\x7f\x9b", r"a\nb\r\tc\x7f\x9b"),
        ("left\u202eright\u200b\u2066", r"left\u202eright\u200b\u2066"),
        (os.fsdecode(b"\xff"), r"\udcff"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text: str, shown: str) -> None:
    assert visible(text) == cell(text) == shown
    assert str(InterpbenchError(text)) == str(UsageError(text)) == shown
    assert visible(one_line(ValueError(text))).isprintable() and brief(text).isprintable()
    assert as_markdown([Table(text, (text,), ((text,),))]).replace("\n", "").isprintable()


def test_no_escape_of_a_file_reaches_the_terminal(
    cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evil = "\x1b]0;owned\x07"
    folder = ib.save_subject(ib.load_subject("3"), tmp_path / "three")
    circuit = json.loads((folder / "circuit.json").read_text())
    (folder / "circuit.json").write_text(json.dumps(circuit | {"edges": [*circuit["edges"], evil]}))
    scores = {"cfg": {"n_layers": 2, "n_heads": 4}, "nodes": {}, "edges": {evil: {"score": 1}}}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    write(tmp_path / "runs" / "a", record(evil, "3", 0.5, versions={evil: evil}))
    write(tmp_path / "runs" / "b", record("eap", "3", 0.5) | {"schema": evil})
    for words in (
        ("show", "3", "--model", folder),
        ("score", tmp_path / "scores.json", "--case", "3"),
        ("report", tmp_path / "runs"),
        ("report", tmp_path / "runs", "--format", "csv"),
        ("report", tmp_path / "runs", "--format", "markdown"),
        ("run", "eap", "--case", evil),
        ("run", evil),
        ("run", "eap", f"--{evil}"),
    ):
        ended = cli(*words)
        assert ended.status in (1, 2) and r"\x1b]0;owned\x07" in ended.out + ended.err, words
        assert (ended.out + ended.err).replace("\n", "").isprintable(), words


def test_the_python_interface_says_it_harmlessly() -> None:
    with pytest.raises(ValueError, match=r"\\x1b") as raised:
        ib.load_subject("3").circuit.graph.mask(["\x1b[31m"])
    assert str(raised.value).isprintable()


def test_a_spreadsheet_computes_nothing() -> None:
    rows = [("=1+1", "+1", "-1", "@a", "\tx", "a=b", -1, -0.5, None, 'say "x", y')]
    read = list(csv.reader(io.StringIO(csv_text("abcdefghij", rows))))
    assert read == [list("abcdefghij"), ["'=1+1", "'+1", "'-1", "'@a", r"'\tx", "a=b", "-1", "-0.5", "", 'say "x", y']]


# Streams


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        ("list 2>&1 >&-", 1, "error: stdout is closed: give it a file, a pipe or /dev/null\n"),
        ("list 2>&1 >/dev/full", 1, "error: output: No space left on device\n"),
        ("--help 2>&1 >/dev/full", 1, "error: output: No space left on device\n"),
        ("--version 2>&-", 0, f"{ib.__version__}\n"),
        ("show nowhere 2>&-", 2, ""),
        ("show nowhere 2>/dev/full", 2, ""),
        ("show nowhere >&- 2>&-", 1, ""),
    ],
)
def test_streams_that_are_closed_or_full(command: str, status: int, says: str, tmp_path: Path) -> None:
    whole = f"'{sys.executable}' -c 'from interpbench.cli import main; main()' {command}"
    done = subprocess.run(whole, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (status, says, "")


def test_an_ascii_terminal(process: Callable, tmp_path: Path) -> None:
    ended = process("list", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert ended.status == 0 and r"b x\xb2 + c x" in ended.out and ended.out.isascii()


# Work that takes long


def test_elsewhere_than_on_a_terminal_a_line_a_case(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with console.progress("work", ["3", "4"]) as update:
        update("3", {"step": 1, "steps": 9, "loss": 0.5}, "")
        update("3", None, "done")
        monkeypatch.setattr(console, "EVERY", -1.0)
        update("4", {"step": 1, "steps": 9, "doing": "certificate"}, "")
        update("4", {"step": 2, "steps": 9, "loss": 0.5}, "")
        update("4", None, "failed")
    assert capsys.readouterr().err.splitlines() == [
        "work, case 3: done (1 of 2)",
        "work, case 4:  certificate 1 of 9",
        "work, case 4:  step 2 of 9  loss 0.500",
        "work, case 4: failed (2 of 2)",
    ]


def test_bars_are_for_terminals_that_can_write_over(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "dumb")
    with console.progress("work", ["3", "4"]) as update:
        update("3", None, "done")
    assert stderr.getvalue() == "work, case 3: done (1 of 2)\n"
    monkeypatch.setenv("TERM", "xterm")
    with console.progress("work", ["3"]) as update:
        update("3", {"step": 3, "steps": 9, "doing": "\x07certificate", "loss": 0.5}, "")
    assert all(part in stderr.getvalue() for part in ("3 \\x07certificate", "3/9", "loss 0.500"))
    with console.progress("work", ["3", "4"]) as update:
        update("3", None, "done")
    assert "1/2" in stderr.getvalue()


def stopping(results: list[Any]) -> Callable[..., Iterator[Any]]:
    """Stands in for `run_jobs`: these results, then Ctrl-C."""

    def run_jobs(*_: Any) -> Iterator[Event]:
        yield from (Event(i, value=value) for i, value in enumerate(results))
        raise KeyboardInterrupt

    return run_jobs


def test_what_was_verified_before_ctrl_c_is_kept(cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    card = ib.load_subject("3").card
    known = {"case": "3", "model": "siit", "off": [], "certificate": card["certificate"]}
    monkeypatch.setattr(processes, "run_jobs", stopping([known]))
    ended = cli("verify", "3,4", "--json")
    assert ended.status == 130 and json.loads(ended.out) == [known]
    assert ended.err == "verify, case 3: certified (1 of 2)\n"
    monkeypatch.setattr(processes, "run_jobs", stopping([{**known, "off": ["accuracy: 0.5, 1.0"]}]))
    ended = cli("verify", "3,4")
    assert ended.status == 130 and "case 3, model siit: certified" in ended.out
    assert ended.err.startswith("verify, case 3: certified, unlike its card (1 of 2)\n")


def test_what_was_run_before_ctrl_c_is_kept(cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = runner.run

    def stop_at(technique: str, subject: Any, **settings: Any) -> Any:
        if subject.case.name == "4":
            raise KeyboardInterrupt
        return real(technique, subject, **settings)

    monkeypatch.setattr(runner, "run", stop_at)
    words = ("run", "norm", "--samples", "20", "--out", tmp_path, "--case")
    ended = cli(*words, "3,4,7")
    assert ended.status == 130 and re.search(r"^ 3 +siit", ended.out, re.M) and not re.search(r"^ 4 ", ended.out, re.M)
    assert cli(*words, "4").status == 130 and cli(*words, "4", "--json").out == ""


@pytest.mark.parametrize(("error", "status"), [(InterpbenchError("no answer"), 1), (KeyboardInterrupt(), 130)])
def test_of_several_cases_measured_one_that_fails_costs_no_other(
    cli: Callable, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int
) -> None:
    real = effects.node_effects

    def fail_at(subject: Any, **settings: Any) -> Any:
        if subject.case.name == "3":
            raise error
        return real(subject, **settings)

    monkeypatch.setattr(effects, "node_effects", fail_at)
    words = ("eval", "node-effects", "--samples", "20", "--json", "--case")
    ended = cli(*words, "7,3,4")
    measured = [each["case"] for each in json.loads(ended.out)]
    assert ended.status == status and measured == (["7", "4"] if status == 1 else ["7"])
    assert ("case 3 failed: no answer" in ended.err) == (status == 1)
    assert cli(*words, "3").status == status


def test_training_without_a_certificate(cli: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = "train siit --case 3 --steps 4 --eval-every 2 --rows 16 --eval-rows 40 --no-certify --out".split()
    ended = cli(*words, tmp_path / "three")
    assert ended.status == 0 and "not certified: `interpbench verify 3 --model" in ended.out
    card = ib.load_subject("3", tmp_path / "three").card
    assert card["certificate"] is None and "edge_classes" not in card
    assert cli("run", "norm", "--case", "3", "--model", tmp_path / "three", "--samples", "20").status == 0
    ended = cli(*words, tmp_path / "other", "--seeds", "2")
    assert ended.status == 2 and "--seeds keeps the best certificate" in ended.err


# What is asked


@pytest.mark.parametrize("command", ["", "run", "train", "hub", "eval", "-h", "run -h", "run eap -h", "list -h"])
def test_help_is_shown(cli: Callable, command: str) -> None:
    ended = cli(*command.split())
    assert ended.status == 0 and "Usage:" in ended.out and ended.err == ""


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("run eap --case 3-7", "no case '3-7'; name each, with commas between: 3,4,5,..."),
        ("run eap --case 7-3", "no case '7-3'; name each, with commas between"),
        ("run eap --case all", "'all' is a suite: --suite all"),
        ("verify quick", "'quick' is a suite: --suite quick"),
        ("run eap --case IOI", "no case 'IOI'; did you mean 'ioi'?"),
        ("run EAP --case 3", "no technique 'EAP'; did you mean 'eap'?"),
        ("run eap --case 3 --model SIIT", "did you mean 'siit'?"),
        ("run eap --case 3 --device cuda", "No such option: --device; this computes on the CPU"),
        ("train siit --case 3 --epochs 3", "No such option: --epochs; here it is --steps"),
        ("run acdc --case 3 --threshold 1", "No such option: --threshold; here it is --tau or --faithful"),
        ("eval realism --case 3 --threshold 1", "No such option: --threshold; here it is --thresholds"),
        ("run eap --case 3 --seeds 3", "No such option: --seeds; here it is --resamples"),
        ("run eap 3", "cases are named with --case"),
        ("run --case 3 eap", "options stand behind a command"),
        ("--json list", "options stand behind a command"),
    ],
)
def test_what_others_call_it_is_answered(cli: Callable, command: str, answer: str) -> None:
    ended = cli(*command.split())
    assert ended.status == 2 and answer in ended.err and ended.err.count("\n") == 1


def test_names_are_found_whatever_their_case() -> None:
    assert unknown("case", "IOI", ["ioi", "3"]) == "no case 'IOI'; did you mean 'ioi'?"


def test_a_suite_goes_on_with_what_is_there(cli: Callable, tmp_path: Path) -> None:
    model = str(tmp_path / "{case}")
    ib.save_subject(ib.load_subject("3"), tmp_path / "3")
    assert is_there(ib.load_case("3"), model) and not is_there(ib.load_case("4"), model)
    words = ("run", "norm", "--samples", "20", "--out", tmp_path / "runs", "--model")
    ended = cli(*words, model, "--suite", "quick", "--json")
    assert ended.status == 0 and [each["case"] for each in json.loads(ended.out)] == ["3"]
    assert ended.err == f"no {model} model, left out: 4, 7, 18, 44\n"
    assert cli(*words, model, "--case", "3,4").status == 2, "a case that is named must be there"
    ended = cli(*words, "hub", "--suite", "quick")
    assert ended.status == 2 and "`interpbench hub pull` all" in ended.err


# In a notebook


def test_representations_are_short() -> None:
    subject = ib.load_subject("ioi")
    result = ib.run("norm", subject, samples=20)
    problem = problem_of(subject, Conditions(20))
    for thing in (subject, subject.model, result, result.scores, problem):
        assert len(repr(thing)) < 300, type(thing)
    assert repr(subject).startswith("Subject(case ioi, siit, Graph(n_layers=6, n_heads=4): 23 true edges, weights ")
    assert f"AUROC edges {cell(result.metrics['edges']['auroc'])}" in repr(result)
