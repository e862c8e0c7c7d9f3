"""Reports from run folders: what is compared, in every form, and the page in a real browser."""

import csv
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
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

import interpbench as ib
from interpbench.graph.ranking import average_precision, precision_recall
from interpbench.report import formats
from interpbench.report.comparison import compare, summary
from interpbench.report.figures import _average, curves
from interpbench.report.runs import METRICS, method_names, read_runs


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
    told = compare(runs)
    assert told.methods == ("acdc", "eap") and told.common == ("3", "4")
    own = [run.number("heads.auroc") for run in runs if run.case == "3" and run.method == "eap"]
    assert told.numbers["3"]["eap"]["mean"] == pytest.approx(np.mean(own))
    means = [told.numbers[case]["eap"]["mean"] for case in ("3", "4")]
    assert told.overall["eap"]["mean"] == pytest.approx(np.mean(means))
    records = [run.record for run in runs if (run.case, run.method) == ("3", "eap")]
    assert told.stability["3"]["eap"] == summary(records)["jaccard"]
    assert set(told.others) == {name for name in METRICS if not name.startswith(("paper", "mib"))} - {"heads.auroc"}


def test_a_case_that_a_method_lacks_is_left_out_of_the_comparison(runs_folder: Path) -> None:
    runs, _, _ = read_runs([runs_folder])
    fewer = [run for run in runs if (run.case, run.method) != ("4", "eap")]
    told = compare(fewer)
    assert told.common == ("3",) and "without 4" in formats.tables(told)[0].title


def test_methods_are_named_by_what_sets_them_apart() -> None:
    base = {"technique": "eap", "config": {"loss": "kl", "n": 1}, "model": "siit", "ablation": "mean", "samples": 5}
    base |= {"unique": False, "protocol": "default", "technique_version": "1"}
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


def test_runs_on_replaced_weights_are_left_out(runs_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(runs_folder, tmp_path / "runs")
    path = next((tmp_path / "runs" / "3" / "siit" / "acdc").glob("*/run.json"))
    record = json.loads(path.read_text())
    old = tmp_path / "runs" / "3" / "siit" / "acdc" / "old"
    shutil.copytree(path.parent, old)
    (old / "run.json").write_text(json.dumps(record | {"weights_hash": "other", "digest": "old"}))
    os.utime(old / "run.json", (1, 1))
    runs, _, left_out = read_runs([tmp_path / "runs"])
    assert left_out == 1 and len(runs) == 8 and all(run.record["digest"] != "old" for run in runs)


@pytest.mark.parametrize("form", ["text", "csv", "markdown", "json"])
def test_every_form_tells_the_same_numbers(cli: Callable, runs_folder: Path, tmp_path: Path, form: str) -> None:
    ended = cli("report", runs_folder, "--format", form)
    assert ended.status == 1, "a failed run is a failure"
    mean = compare(read_runs([runs_folder])[0]).numbers["4"]["acdc"]["mean"]
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(ended.out)))
        (row,) = [row for row in rows if (row["case"], row["method"]) == ("4", "acdc")]
        assert float(row["mean"]) == mean and row["seeds"] == "2"
    elif form == "json":
        assert json.loads(ended.out)["numbers"]["4"]["acdc"]["mean"] == mean
    else:
        assert f"{mean:.3f} [" in ended.out and "ZeroDivisionError" in ended.out
    suffix = {"text": "txt", "markdown": "md"}.get(form, form)
    cli("report", runs_folder, "--out", tmp_path / f"report.{suffix}")
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


def test_a_damaged_run_is_named(cli: Callable, runs_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(runs_folder, tmp_path / "runs")
    path = next((tmp_path / "runs").glob("**/run.json"))
    for text in ("{", "[]", "{}"):
        path.write_text(text)
        ended = cli("report", tmp_path / "runs")
        assert ended.status == 1 and "damaged run" in ended.err and ended.err.count("\n") == 1


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
    assert len(drawn) == 2 + 2 * (1 + 2) and all(root.tag.endswith("svg") for root in drawn)
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
