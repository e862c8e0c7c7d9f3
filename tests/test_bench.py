"""A matrix of runs: planned, done over processes, resumed, compared."""

import dataclasses
import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import interpbench as ib
from interpbench.errors import UsageError
from interpbench.plugins import registry
from interpbench.runs import bench, store
from interpbench.runs.bench import Job, estimate
from interpbench.runs.record import Conditions

QUICK = ("bench", "--case", "3,4", "--techniques", "eap,acdc", "--samples", "20", "--jobs", "2")


def plan(out: Path, *grid: str, techniques: tuple[str, ...] = ("eap",), resamples: int = 1, models=("siit",)):
    cases = [registry.load_case(name) for name in ("3", "4")]
    return bench.make_plan(bench.Matrix(techniques, models, grid, Conditions(samples=20), resamples, out), cases)


def test_a_plan_is_the_product(tmp_path: Path) -> None:
    made = plan(tmp_path, "eap.ig=masks,inputs", "eap.ig-steps=1,3", techniques=("eap", "acdc"), resamples=2)
    assert len(made.jobs) == 2 * (4 + 1) * 2 and len({job.folder for job in made.jobs}) == len(made.jobs)
    told = {(job.config.ig, job.config.ig_steps) for job in made.jobs if job.technique == "eap"}
    assert told == {("masks", 1), ("masks", 3), ("inputs", 1), ("inputs", 3)}
    assert {job.conditions.seed for job in made.jobs} == {0, 1}
    assert [job.work for job in made.to_do] == sorted((job.work for job in made.to_do), reverse=True)


def test_values_of_a_grid_have_their_option_s_type(tmp_path: Path) -> None:
    made = plan(tmp_path, "sp.lambda=0.5+1,2", "sp.edgewise=false", "sp.steps=3", techniques=("sp",))
    assert {(job.config.lambda_, job.config.edgewise, job.config.steps) for job in made.jobs} == {
        ((0.5, 1.0), False, 3),
        ((2.0,), False, 3),
    }


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("eap.lost=kl", "no option 'lost'; did you mean 'loss'"),
        ("eap.loss=klx", "eap: loss is 'klx', expected one of 'auto', "),
        ("eap.ig_steps=two", "eap: ig_steps is 'two', expected int"),
        ("sp.steps=1", "expected TECHNIQUE.OPTION=VALUE,VALUE with a technique of eap"),
        ("eap", "expected TECHNIQUE.OPTION=VALUE,VALUE"),
        ("eap.ig_steps=0", "ig_steps is 0, expected at least 1"),
    ],
)
def test_a_mistake_in_the_grid_is_told_before_anything_is_run(tmp_path: Path, grid: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(tmp_path, grid)
    assert not list(tmp_path.iterdir())


def test_cases_without_the_model_are_left_out_and_told(tmp_path: Path, cli: Callable) -> None:
    made = plan(tmp_path, models=("siit", "tracr"))
    assert not made.missing and len(made.jobs) == 4
    ended = cli("bench", "--case", "3,ioi", "--models", "tracr", "--techniques", "eap", "--dry-run", "--out", tmp_path)
    assert ended.status == 0 and "no tracr model, left out: ioi" in ended.out
    with pytest.raises(UsageError, match="case ioi"):
        bench.make_plan(bench.Matrix(["eap"], ["tracr"]), [registry.load_case("ioi")])
    with pytest.raises(UsageError, match="did you mean 'tracr'"):
        plan(tmp_path, models=("siit", "tracrr"))


def test_subjects_without_a_certificate_are_left_out_on_request(tmp_path: Path, cli: Callable) -> None:
    words = ("bench", "--case", "11,ioi", "--techniques", "eap", "--dry-run", "--out", tmp_path, "--json")
    told = json.loads(cli(*words, "--certified").out)
    assert told["uncertified"] == {"siit": ["ioi"]} and len(told["runs"]) == 1
    assert len(json.loads(cli(*words).out)["runs"]) == 2


def test_the_matrix_is_run_once_and_compared(cli: Callable, tmp_path: Path) -> None:
    words = (*QUICK, "--out", tmp_path / "runs", "--resamples", "2")
    dry = cli(*words, "--dry-run", "--json")
    assert [run["state"] for run in json.loads(dry.out)["runs"]] == ["to do"] * 8 and not (tmp_path / "runs").exists()
    first = cli(*words)
    assert first.status == 0 and "8 runs: 2 cases" in first.err and "heads.identifiable.auroc over 2 cases" in first.out
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("**/run.json")}
    assert len(times) == 8
    again = cli(*words)
    assert again.out == first.out and "8 completed already" in again.err
    assert times == {path: path.stat().st_mtime_ns for path in times}

    gone = next(iter(times))
    gone.unlink()
    third = cli(*words, "--jobs", "1")
    changed = {path for path, when in times.items() if path.stat().st_mtime_ns != when}
    assert third.out == first.out and changed == {gone} and "7 completed already" in third.err
    told = json.loads(cli(*words, "--json").out)
    assert told["common"] == ["3", "4"] and set(told["methods"]) == {"acdc", "eap"} and "seconds" not in told
    assert told["numbers"]["3"]["eap"]["n"] == 2 and told["pairs"][0]["n"] == 2


def test_a_folder_is_a_model_too(cli: Callable, tmp_path: Path, subject_folder: Path) -> None:
    words = ("bench", "--case", "3", "--techniques", "eap", "--models", subject_folder, "--samples", "20")
    ended = cli(*words, "--out", tmp_path, "--json")
    assert ended.status == 0 and json.loads(ended.out)["common"] == ["3"]
    assert len(list((tmp_path / "3" / "custom" / "eap").glob("*/run.json"))) == 1
    assert "1 completed already" in cli(*words, "--out", tmp_path).err


def _nearly(subject: ib.Subject) -> ib.Subject:
    """The same subject but for the last digits of its weights."""
    weights = {name: weight * 1.0001 for name, weight in subject.model.weights.items()}
    card = {name: value for name, value in subject.card.items() if name != "weights_hash"}
    return dataclasses.replace(subject, model=dataclasses.replace(subject.model, weights=weights), card=card)


def test_a_folder_for_every_case(cli: Callable, tmp_path: Path) -> None:
    for case in ("3", "4"):
        ib.save_subject(ib.load_subject(case), tmp_path / "mine" / case / "siit")
    words = ("bench", "--case", "3,4", "--techniques", "eap", "--models", tmp_path / "mine" / "{case}" / "siit")
    ended = cli(*words, "--samples", "20", "--out", tmp_path / "runs", "--json")
    assert ended.status == 0 and json.loads(ended.out)["common"] == ["3", "4"]
    assert len(list(tmp_path.glob("runs/*/custom/eap/*/run.json"))) == 2
    several = (*words[:-1], f"{words[-1]},{tmp_path}/{{case}}", "--samples", "20", "--out", tmp_path / "runs", "--json")
    for case in ("3", "4"):
        ib.save_subject(_nearly(ib.load_subject(case)), tmp_path / case)
    assert cli("run", "eap", "--case", "3", "--model", tmp_path / "3", *several[-5:-1]).status == 0
    told = json.loads(cli(*several).out)
    assert told["methods"] == [f"eap [{tmp_path}/mine/{{case}}/siit]", f"eap [{tmp_path}/{{case}}]"]
    assert told["common"] == ["3", "4"] and told["pairs"][0]["n"] == 2
    missing = cli("bench", "--case", "3", "--techniques", "eap", "--models", "nowhere/{case}/siit", "--out", tmp_path)
    assert missing.status == 2 and "nowhere/3/siit" in missing.err


def test_two_folders_of_a_case_are_compared_not_averaged(cli: Callable, tmp_path: Path, subject_folder: Path) -> None:
    other = ib.save_subject(ib.load_subject("3"), tmp_path / "other")
    words = ("bench", "--case", "3", "--techniques", "eap", "--models", f"{subject_folder},{other}", "--samples", "20")
    told = json.loads(cli(*words, "--out", tmp_path / "runs", "--json").out)
    hashes = {name: told["subjects"]["3"][name]["weights_hash"] for name in told["methods"]}
    assert len(set(hashes.values())) == 2 and all(row["n"] == 1 for row in told["numbers"]["3"].values())
    assert set(hashes) == {f"eap [{subject_folder}]", f"eap [{other}]"}
    again = json.loads(cli("report", tmp_path / "runs", "--json").out)
    assert again["methods"] == told["methods"] and again["numbers"] == told["numbers"]


def test_a_damaged_run_is_a_failure_of_the_comparison(cli: Callable, tmp_path: Path) -> None:
    assert cli(*QUICK, "--out", tmp_path).status == 0
    damaged = next((tmp_path / "4" / "siit" / "eap").glob("*/run.json"))
    damaged.write_text("{}")
    ended = cli(*QUICK, "--out", tmp_path, "--json")
    told = json.loads(ended.out)
    assert ended.status == 1 and [each["run"] for each in told["failures"]] == [
        str(damaged.parent.relative_to(tmp_path))
    ]
    assert told["overall"]["eap"]["n"] == 1 and told["overall"]["acdc"]["n"] == 2
    next((tmp_path / "3" / "siit" / "acdc").glob("*/run.json")).unlink()
    resumed = cli(*QUICK, "--out", tmp_path, "--json")
    assert resumed.status == 1 and "3 completed already" in resumed.err
    assert {key: value for key, value in json.loads(resumed.out).items() if key != "runs"} == {
        key: value for key, value in told.items() if key != "runs"
    }, "the one that was missing is there again, and the damaged one is told"
    assert cli(*QUICK, "--out", tmp_path, "--force").status == 0


def test_a_run_in_a_folder_that_cannot_be_entered_is_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, stat = plan(tmp_path), os.stat

    def refuse(path: Path, **how: Any) -> os.stat_result:
        if str(path).startswith(str(tmp_path / "3")):
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", refuse)
    assert len(made.to_do) == 2


def test_followers_are_told_of_every_run(cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, installed = [], registry.load()
    listening = dataclasses.replace(installed, listeners={"mine": lambda event: told.append(event)})
    monkeypatch.setattr(registry, "load", lambda: listening)
    assert cli(*QUICK, "--out", tmp_path).status == 0
    assert sorted((event.case, event.name, event.seed) for event in told) == [
        (case, name, 0) for case in ("3", "4") for name in ("acdc", "eap")
    ]
    assert [(event.what, event.step, event.total, event.ended) for event in told] == [
        ("bench", step, 4, True) for step in (1, 2, 3, 4)
    ]
    assert all(0 <= event.numbers["heads/auroc"] <= 1 for event in told)


def test_a_failure_is_told_and_the_rest_goes_on(cli: Callable, tmp_path: Path) -> None:
    words = ("bench", "--case", "3", "--techniques", "eap", "--grid", "eap.loss=kl,logit-diff,shift", "--samples", "20")
    ended = cli(*words, "--out", tmp_path, "--json")
    told = json.loads(ended.out)
    assert ended.status == 1 and [failure["error"] for failure in told["failures"]] == [
        "loss 'kl' is not offered for numerical outputs; offered: shift, mse, mae",
        "loss 'logit-diff' is not offered for numerical outputs; offered: shift, mse, mae",
    ]
    assert told["common"] == ["3"] and told["overall"]["eap"]["mean"] > 0.8


def test_times_are_judged_by_runs_that_are_there(tmp_path: Path) -> None:
    made = plan(tmp_path)
    assert bench.estimate(made.jobs, []) == (None, ["eap"])
    for job in made.jobs[:1]:
        bench.work(job, lambda facts: None)
    stored = store.read(made.jobs[0].folder)
    assert stored is not None
    seconds, unknown = bench.estimate(made.jobs, made.jobs[:1])
    expected = (stored.record["seconds"] + 1e-3) * (1 + made.jobs[1].work / made.jobs[0].work)
    assert seconds == pytest.approx(expected) and unknown == []


def test_time_is_a_power_of_the_work() -> None:
    points = [(math.log(work), math.log(3 * work**0.5)) for work in (1.0, 4.0, 100.0)]
    assert bench._fitted(points, math.log(25.0)) == pytest.approx(15)
    assert bench._fitted([(0.0, 0.0), (1.0, 5.0)], 2.0) == pytest.approx(math.exp(2.5 + 1.5)), "at most in proportion"


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_in_the_same_tables(tmp_path: Path) -> None:
    """Fifty times at moments of a fixed seed; folders that read as complete are."""
    import random

    command = [sys.executable, "-m", "interpbench", "bench", "--suite", "quick", "--techniques", "eap,acdc"]
    command += ["--samples", "100", "--resamples", "5", "--jobs", "2", "--out"]
    whole = subprocess.run([*command, tmp_path / "whole"], capture_output=True, text=True, check=True)
    moments = random.Random(0)
    for _ in range(50):
        running = subprocess.Popen(
            [*command, tmp_path / "killed"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moments.uniform(1, 12))
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        for path in (tmp_path / "killed").glob("**/run.json"):
            assert store.read(path.parent).scores is not None
    last = subprocess.run([*command, tmp_path / "killed"], capture_output=True, text=True, check=True)
    shown = [ended.stdout.replace(str(tmp_path / name), "") for ended, name in ((whole, "whole"), (last, "killed"))]
    assert shown[0] == shown[1]


def test_techniques_with_equal_settings_are_counted_apart(cli: Callable, tmp_path: Path) -> None:
    told = cli("bench", "--case", "3", "--techniques", "norm,random", "--dry-run", "--out", tmp_path)
    assert "2 runs: 1 cases, 1 models, 2 techniques" in told.out


def test_a_damaged_run_does_not_stop_the_estimate(tmp_path: Path) -> None:
    job = Job("eap", None, "3", "siit", Conditions(), tmp_path, tmp_path / "x", 1.0)
    job.folder.mkdir()
    (job.folder / "run.json").write_text("{")
    assert job.is_done and estimate([job], [job]) == (None, ["eap"])
