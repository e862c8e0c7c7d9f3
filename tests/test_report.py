"""Reports from run folders: what is compared, in every form, and the page in a real browser."""

import csv
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

import interpbench as ib
from interpbench.graph.ranking import average_precision, precision_recall
from interpbench.report.comparison import compare, summary
from interpbench.report.figures import _average, curves
from interpbench.report.runs import METRICS, method_names, read_runs
from interpbench.report.statements import statements
from tests.comparing import record, write


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on two cases, two data seeds each, and a failure."""
    folder = tmp_path_factory.mktemp("runs")
    for case in ("3", "4"):
        for technique in ("eap", "acdc"):
            for seed in (0, 1):
                ib.run(technique, case, samples=20, seed=seed, out=folder)
    failed = folder / "7" / "siit" / "eap" / "0123"
    failed.mkdir(parents=True)
    (failed / "error.txt").write_text("Traceback\nZeroDivisionError: by nothing\n")
    return folder


def test_what_is_compared(runs_folder: Path) -> None:
    runs, failures, left_out = read_runs([runs_folder])
    assert len(runs) == 8 and left_out == 0
    assert [(each.run, each.error) for each in failures] == [("7/siit/eap/0123", "ZeroDivisionError: by nothing")]
    told = compare(runs, "heads.auroc")
    assert told.methods == ("acdc", "eap") and told.common == ("3", "4")
    own = [run.number("heads.auroc") for run in runs if run.case == "3" and run.method == "eap"]
    assert told.numbers["3"]["eap"]["mean"] == pytest.approx(np.mean(own))
    means = [told.numbers[case]["eap"]["mean"] for case in ("3", "4")]
    assert told.overall["eap"]["mean"] == pytest.approx(np.mean(means))
    records = [run.record for run in runs if (run.case, run.method) == ("3", "eap")]
    assert told.stability["3"]["eap"] == summary(records)["jaccard"]
    assert set(told.others) == {name for name in METRICS if not name.startswith(("paper", "mib"))} - {"heads.auroc"}


def test_methods_are_named_by_what_sets_them_apart() -> None:
    base = record("eap", "3", 0.5, config={"loss": "kl", "n": 1}, ablation="mean", samples=5)
    other = base | {"config": {"loss": "ce", "n": 1}}
    assert method_names([base]) == ["eap"]
    assert method_names([base, other]) == ["eap loss=kl", "eap loss=ce"]
    acdc = base | {"technique": "acdc", "config": {"tau": [1, 2]}, "samples": 10}
    assert method_names([base, acdc]) == ["eap [5]", "acdc [10]"]
    newer = [acdc | {"technique_version": "2"}, base | {"technique_version": "2"}]
    assert method_names([base, newer[0]]) == ["eap [5]", "acdc [10]"], (
        "versions of two techniques have nothing in common"
    )
    assert method_names([base, newer[1]]) == ["eap [1]", "eap [2]"]


@pytest.mark.parametrize("replaced", ["weights_hash", "truth_hash", "program_digest", "certified"])
def test_runs_on_what_has_been_replaced_are_left_out(tmp_path: Path, replaced: str) -> None:
    for model in ("siit", "custom"):
        new = record("eap", "3", 0.9, model=model, subject=model, digest=f"{model}new")
        write(tmp_path / model / "new", new)
        value = None if replaced == "certified" else "0" * 16
        old = write(tmp_path / model / "old", new | {replaced: value, "digest": f"{model}old"})
        os.utime(old / "run.json", (1, 1))
    runs, _, left_out = read_runs([tmp_path])
    is_subject = replaced in ("weights_hash", "truth_hash")
    assert {run.record["digest"] for run in runs} == {"siitnew", "customnew", *(["customold"] if is_subject else [])}
    assert left_out == 4 - len(runs)


def test_a_folder_is_read_once_also_through_links(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "eap" / "x", record("eap", "3", 0.9))
    write(tmp_path / "runs" / "4" / "x", record("eap", "4", 0.8))
    (tmp_path / "runs" / "3").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "runs" / "3again").symlink_to("3")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "runs", target_is_directory=True)
    runs, failures, _ = read_runs([tmp_path / "runs"])
    assert [run.case for run in runs] == ["3", "4"] and failures == []
    again, _, _ = read_runs([tmp_path / "runs" / "4", tmp_path / "runs", tmp_path / "elsewhere"])
    assert [run.case for run in again] == ["3", "4"]


def test_what_cannot_be_read_is_a_failure(cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for case in ("3", "4", "5"):
        write(tmp_path / case / "x", record("eap", case, 0.9))
    (tmp_path / "dead").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "4":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr("os.scandir", refuse)
    runs, failures, _ = read_runs([tmp_path])
    assert [run.case for run in runs] == ["3", "5"]
    assert {each.run: each.error for each in failures} == {
        "4": "unreadable: Permission denied",
        "dead": "unreadable: No such file or directory",
        "loop": "unreadable: Too many levels of symbolic links",
    }
    ended = cli("report", tmp_path)
    assert ended.status == 1 and "unreadable: Permission denied" in ended.out


def test_techniques_can_be_chosen(cli: Callable, tmp_path: Path) -> None:
    for technique, samples in (("eap", 5), ("acdc", 10), ("sp", 10)):
        write(tmp_path / technique, record(technique, "3", 0.9, samples=samples))
    ended = cli("report", tmp_path, "--techniques", "sp,acdc", "--json")
    assert json.loads(ended.out)["methods"] == ["acdc", "sp"], "named as if the others were not there"
    ended = cli("report", tmp_path, "--techniques", "acd")
    assert ended.status == 2 and ended.err.count("\n") == 1
    assert "no run of technique 'acd'; did you mean 'acdc'?; there are: acdc, eap, sp" in ended.err


@pytest.mark.parametrize("form", ["text", "csv", "markdown", "json"])
def test_every_form_tells_the_same_numbers(cli: Callable, runs_folder: Path, tmp_path: Path, form: str) -> None:
    words = ("report", runs_folder, "--metric", "heads.auroc")
    ended = cli(*words, "--format", form)
    assert ended.status == 1, "a failed run is a failure"
    compared = compare(read_runs([runs_folder])[0], "heads.auroc")
    mean = compared.numbers["4"]["acdc"]["mean"]
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(ended.out)))
        (row,) = [row for row in rows if (row["case"], row["method"]) == ("4", "acdc")]
        assert float(row["mean"]) == mean and row["seeds"] == "2"
    elif form == "json":
        told = json.loads(ended.out)
        assert told["numbers"]["4"]["acdc"]["mean"] == mean and told["statements"] == statements(compared)
    else:
        assert f"{mean:.3f} [" in ended.out and "ZeroDivisionError" in ended.out
        assert ended.out.removeprefix("- ").startswith(statements(compared)[0])
    suffix = {"text": "txt", "markdown": "md"}.get(form, form)
    cli(*words, "--out", tmp_path / f"report.{suffix}")
    written = (tmp_path / f"report.{suffix}").read_text()
    assert written == ended.out if form != "text" else "heads.auroc per case" in written


def test_mistakes_are_one_line(cli: Callable, runs_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "empty").mkdir()
    for words, said in (
        ((runs_folder, "--metric", "heads.auro"), "no metric 'heads.auro'; did you mean 'heads.auroc'"),
        ((runs_folder, "--out", tmp_path / "there.html"), "there.html exists; --force replaces it"),
        ((runs_folder, "--out", tmp_path / "a.xyz"), "Its name may end in .txt, .csv"),
        ((runs_folder, "--format", "html"), "a page needs a file"),
        ((tmp_path / "nowhere",), "no folder"),
        ((tmp_path / "empty",), "no run in"),
    ):
        ended = cli("report", *words)
        assert ended.status == 2 and said in ended.err and ended.err.count("\n") == 1, ended
    assert (tmp_path / "there.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        *(("run.json", "{", "unreadable"), ("run.json", "[]", "holds no record"), ("run.json", "{}", "schema None")),
        *(("run.json", '{"schema": 99}', "schema 99, this version reads 2"), ("scores.json", "{", "unreadable")),
        *(("scores.json", "[]", "not a circuit file"), ("scores.json", None, "no such file")),
        ("run.json", {"metrics": {"heads": {"auroc": "x"}}}, "metrics.heads.auroc is 'x'"),
        ("run.json", {"metrics": {"heads": {"identifiable": {"auroc": [1]}}}}, "identifiable.auroc is a list"),
        ("run.json", {"metrics": {"heads": {"auroc": {}}}}, "metrics.heads.auroc is a dict"),
        ("run.json", {"metrics": {"heads": {"auroc": 10**400}}}, "is larger than any float"),
        *(("run.json", {"technique_version": [1]}, "version is a list"), ("run.json", {"ablation": {}}, "is a dict")),
        ("run.json", {"passes": {"forward": "x"}}, "passes.forward is 'x'"),
        ("run.json", {"passes": {"forward": 1.0}}, "passes lack 'backward'"),
        ("run.json", {"seconds": -5}, "seconds is -5"),
    ],
)
def test_a_damaged_run_does_not_stop_a_report(
    cli: Callable, tmp_path: Path, file: str, text: str | dict[str, Any] | None, why: str
) -> None:
    for case in ("3", "4"):
        write(tmp_path / case / "eap" / "x", record("eap", case, 0.875))
    damaged = tmp_path / "4" / "eap" / "x" / file
    if isinstance(text, dict):
        whole = record("eap", "4", 0.875)
        if "metrics" in text:
            text = {"metrics": {**whole["metrics"], "heads": {"auroc": 1.0, **text["metrics"]["heads"]}}}
        text = json.dumps(whole | text)
    damaged.unlink() if text is None else damaged.write_text(text)
    ended = cli("report", tmp_path, "--json")
    told = json.loads(ended.out)
    assert ended.status == 1 and ended.err == "" and told["numbers"]["3"]["eap"]["mean"] == 0.875
    ((name, error),) = [each.values() for each in told["failures"]]
    assert name == "4/eap/x" and error.startswith("damaged run (") and why in error
    assert error.endswith("; `interpbench run --force` does it again")
    assert cli("report", tmp_path, "--out", tmp_path / "page.html").status == 1
    assert (tmp_path / "page.html").exists()


def test_curves_are_those_of_the_metrics(runs_folder: Path) -> None:
    run = read_runs([runs_folder])[0][0]
    both = curves(run)
    assert both is not None
    (fpr, tpr), (recall, precision) = both
    assert np.trapezoid(tpr, fpr) == pytest.approx(run.number("heads.auroc"))
    assert (np.diff(recall) * precision[1:]).sum() == pytest.approx(run.number("heads.average_precision"))
    assert _average([both[0], both[0]], interpolate=True) == pytest.approx(np.interp(np.linspace(0, 1, 201), fpr, tpr))


def test_precision_and_recall_are_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    scores, true = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.3
    recall, precision = precision_recall(scores, true)
    theirs, at, _ = precision_recall_curve(true, scores)
    pairs = set(zip(at.round(9), theirs.round(9), strict=True))
    assert set(zip(recall[1:].round(9), precision[1:].round(9), strict=True)) <= pairs
    assert average_precision(scores, true) == pytest.approx((np.diff(recall) * precision[1:]).sum())


@pytest.fixture(scope="module")
def page(runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    command = [sys.executable, "-m", "interpbench", "report", runs_folder, "--out", path]
    assert subprocess.run(command, capture_output=True).returncode == 1
    return path


def test_the_page_needs_nothing_else(page: Path) -> None:
    text = page.read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text) and "$" not in re.sub(
        r"<script>.*", "", text, flags=re.S
    )
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', text)
    drawn = [ElementTree.fromstring(b64decode(picture)) for picture in pictures]
    assert '<p class="statement">Too few cases to say whether acdc and eap differ' in text
    assert len(drawn) == 3 + 2 * (1 + 2) and all(root.tag.endswith("svg") for root in drawn)
    told = b64decode(pictures[-1]).decode()
    assert "found, and true" in told and "#2e7d32" in told


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_in_a_browser(page: Path, tmp_path: Path) -> None:
    """Opened at a case: its part is open, every picture was drawn, a click sorts, nothing was logged as an error."""
    probe = """<script>addEventListener("load", () => {
      const table = [...document.querySelectorAll("table")].find(t => t.caption.textContent.includes("per case"));
      const column = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent).join(" ");
      const before = column(); table.tHead.rows[0].cells[0].click(); table.tHead.rows[0].cells[0].click();
      const pictures = [...document.images].filter(image => image.complete && image.naturalWidth > 100).length;
      const opened = [...document.querySelectorAll("details[open]")].map(part => part.id).join(" ");
      document.body.innerHTML = `<p id="told">${before}|${column()}|${pictures}|${opened}</p>`;
    });</script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", probe))
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    ended = subprocess.run([*words, f"file://{probed}#case-4"], capture_output=True, text=True, timeout=60)
    (told,) = re.findall(r'<p id="told">(.*?)</p>', ended.stdout)
    assert told == "3 4|4 3|8|case-4"
    assert "CONSOLE" not in ended.stderr


@pytest.mark.parametrize(("false", "drawn"), [(60, 60), (61, 0)])
def test_a_drawing_of_hundreds_of_false_edges_leaves_them_out(false: int, drawn: int) -> None:
    from interpbench.report.page import _drawing

    truth = ib.load_subject("2").circuit
    outside = [edge for edge in truth.graph.edges if edge not in truth.edges]
    assert len(outside) > 61
    found = replace(truth, edges=frozenset([*sorted(truth.edges)[1:], *outside[:false]]))
    svg = _drawing(truth, found, "case 2")
    assert svg.count("arrowfalse)") == drawn and svg.count("arrowmissed)") == 1
    assert ("but for 61 false edges" in svg) == (not drawn)
