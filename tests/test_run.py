"""One run from top to bottom, stored and read again."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import interpbench as ib
from interpbench.cases.case import Case
from interpbench.certificate.certificate import Headline
from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph import EdgeScores, Graph
from interpbench.plugins import registry
from interpbench.problem import Discovery
from interpbench.runs import run as runner
from interpbench.runs.make import make_subject
from interpbench.runs.record import Record
from interpbench.subjects.classes import edge_classes
from interpbench.subjects.subject import weights_hash
from interpbench_eap import Eap


@dataclasses.dataclass(frozen=True)
class Config:
    edges: int = 5
    grid: tuple[float, ...] = (1.0, 2.0)


class Counting:
    """Cuts edges alone; counts how often it is asked, fails on request."""

    name, version, Config, baseline = "counting", "1", Config, False

    def __init__(self) -> None:
        self.problems: list[Any] = []
        self.error: Exception | None = None

    def discover(self, problem: Any, config: Config) -> Discovery:
        import torch

        self.problems.append(problem)
        if self.error is not None:
            raise self.error
        rises = problem.losses(torch.eye(problem.graph.n_edges), problem.faithfulness_loss)
        scores = EdgeScores(problem.graph, rises.double().numpy())
        return Discovery(scores, scores.top(config.edges), {"best": rises.max(), "none": float("nan")})


@pytest.fixture
def technique(monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting, installed = Counting(), registry.load()
    loaded = dataclasses.replace(installed, techniques={**installed.techniques, "counting": counting})
    monkeypatch.setattr(runner, "registry", SimpleNamespace(load=lambda: loaded))
    return counting


def test_the_api(technique: Counting, subject_folder: Path) -> None:
    result = ib.run("counting", "3", model=subject_folder, samples=50, seed=1, edges=4)
    assert result.metrics["heads"]["auroc"] > 0.8
    assert isinstance(result.scores, ib.EdgeScores) and result.circuit is not None and len(result.circuit.edges) == 4
    assert result.folder is None
    problem = technique.problems[0]
    assert problem.clean.shape == (50, 5) and not (problem.clean == problem.corrupted).all()
    assert problem.scored[:, 1:].all() and not problem.scored[:, 0].any()


def test_the_record_names_everything(technique: Counting, subject_folder: Path) -> None:
    subject = ib.load_subject("3", subject_folder)
    record = ib.run("counting", subject, samples=20, ablation="mean").record
    expected = {
        "schema": 2,
        "case": "3",
        "program_digest": subject.case.reference().digest,
        "model": "custom",
        "subject": str(subject_folder),
        "weights_hash": subject.weights_hash,
        "truth_hash": subject.truth_hash,
        "technique": "counting",
        "technique_version": "1",
        "baseline": False,
        "config": {"edges": 5, "grid": [1.0, 2.0]},
        "ablation": "mean",
        "samples": 20,
        "seed": 0,
        "unique": False,
        "certified": None,
        "certificate_version": None,
        "truth": subject.circuit.to_json(),
    }
    assert record.keys() == Record.__required_keys__ and {key: record[key] for key in expected} == expected
    assert record["seconds"] >= 0 and record["versions"].keys() == {"python", "interpbench", "torch", "numpy"}
    assert record["notes"]["none"] is None and record["notes"]["best"] > 0
    assert record["metrics"].keys() == {"edges", "heads", "nodes", "chosen"}
    graph = subject.model.graph
    assert record["passes"]["forward"] >= graph.n_edges and record["passes"]["backward"] == 0, "one cut a pass"
    json.dumps(record, allow_nan=False)


def test_a_technique_may_be_handed_over(subject_folder: Path, tmp_path: Path) -> None:
    """As in a notebook; what no plugin could provide is refused."""
    mine, wanted = Counting(), {"samples": 20, "model": subject_folder, "out": tmp_path / "runs"}
    result = ib.run(mine, "3", edges=4, **wanted)
    assert result.record["technique"] == "counting" and len(result.circuit.edges) == 4 and len(mine.problems) == 1
    assert ib.run(mine, "3", edges=4, **wanted).metrics == result.metrics and len(mine.problems) == 1
    wrong = {"name": "../up", "version": None, "Config": int, "discover": None}
    for part, value in wrong.items():
        other = Counting()
        setattr(other, part, value)
        with pytest.raises(UsageError, match=r"is not a valid name|no `version`|not a dataclass|no method `discover`"):
            ib.run(other, "3", **wanted)
    with pytest.raises(UsageError, match="did you mean 'edges'"):
        ib.run(mine, "3", edgez=4, **wanted)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_certificates_are_named(technique: Counting, subject_folder: Path) -> None:
    """One of version 1, which did not say its version, demanded less: it certifies nothing of today.

    A yes that the numbers beside it do not bear out is none.
    """
    subject = ib.load_subject("3", subject_folder)
    sound = ib.load_subject("3").card["certificate"]
    for stated, known in (
        (sound, (True, 2)),
        (sound | {"certified": False}, (False, 2)),
        (sound | {"accuracy": 0.5}, (False, 2)),
        (sound | {"accuracy": 0.5, "threshold": 0.5}, (False, 2)),
        (sound | {"certified": "yes"}, (False, 2)),
        ({"certified": True, "version": 2}, (False, 2)),
        ({"certified": True, "certified_edges": True}, (False, 1)),
    ):
        card = subject.card | {"certificate": stated}
        record = ib.run("counting", dataclasses.replace(subject, card=card), samples=20).record
        assert (record["certified"], record["certificate_version"]) == known


def test_baselines_are_named(technique: Counting, subject_folder: Path) -> None:
    technique.baseline = True
    assert ib.run("counting", "3", model=subject_folder, samples=20).record["baseline"] is True


def test_a_stored_run_is_of_one_truth_and_one_certificate(technique: Counting, tmp_path: Path) -> None:
    """A folder whose circuit or card was edited is another subject: nothing stored for the old one is handed out."""
    folder = ib.save_subject(ib.load_subject("3"), tmp_path / "three")
    circuit, card = (json.loads((folder / name).read_text()) for name in ("circuit.json", "card.json"))

    known = edge_classes(ib.load_subject("3", folder), "resample")
    assert known.kept is not None
    turned = {edge: 0 if count else known.orders for edge, count in known.kept.items()}
    others = {"resample": dataclasses.replace(known, kept=turned).to_json()}

    def run(circuit: dict[str, Any] = circuit, **changed: Any) -> runner.Result:
        (folder / "circuit.json").write_text(json.dumps(circuit))
        (folder / "card.json").write_text(json.dumps(card | changed))
        return ib.run("counting", "3", model=folder, samples=50, out=tmp_path / "runs")

    first = run()
    assert run().record == first.record and len(technique.problems) == 1
    certificate = card["certificate"]
    other_truth = run(circuit | {"edges": [*circuit["edges"], "pos->m0"]})
    other_classes = run(edge_classes=others)
    other_verdict = run(certificate=certificate | {"certified": not Headline.of_card(card).certified, "version": 2})
    no_certificate = run(certificate=None)
    everyone = (first, other_truth, other_classes, other_verdict, no_certificate)
    assert len({each.folder for each in everyone}) == len(technique.problems) == 5
    assert other_truth.record["truth"] != first.record["truth"] and other_truth.metrics != first.metrics
    for granularity in ("edges", "heads", "nodes"):
        one, other = (each.metrics[granularity]["identifiable"] for each in (first, other_classes))
        assert (one["ignored"], one["true"]) != (other["ignored"], other["true"])
    assert other_verdict.record["certified"] is not first.record["certified"] is not no_certificate.record["certified"]
    assert run().record == first.record and len(technique.problems) == 5, "as it was, it is the first again"


def test_a_complete_run_is_read_not_run(technique: Counting, subject_folder: Path, tmp_path: Path) -> None:
    def run(**more: Any) -> runner.Result:
        return ib.run("counting", "3", model=subject_folder, **{"samples": 20, "out": tmp_path, **more})

    first, again = run(), run()
    assert len(technique.problems) == 1
    assert again.record == first.record and again.circuit == first.circuit and again.folder == first.folder
    assert np.array_equal(again.scores.values, first.scores.values)
    assert json.loads((first.folder / "run.json").read_text()) == first.record
    run(force=True)
    assert len(technique.problems) == 2
    others = [run(seed=1), run(samples=21), run(ablation="zero"), run(edges=6), run(unique=True)]
    assert len(technique.problems) == 7
    assert len({first.folder, *(other.folder for other in others)}) == 6
    drawn = technique.problems[-1].clean
    assert len(drawn.unique(dim=0)) == len(drawn)


def test_a_folder_with_another_run_is_not_read(technique: Counting, subject_folder: Path, tmp_path: Path) -> None:
    def run(**more: Any) -> runner.Result:
        return ib.run("counting", "3", model=subject_folder, samples=20, out=tmp_path, **more)

    first, other = run(), run(seed=1)
    assert first.folder is not None and other.folder is not None
    (first.folder / "run.json").write_bytes((other.folder / "run.json").read_bytes())
    with pytest.raises(InterpbenchError, match="damaged run.*another run: seed is 1.*--force"):
        run()
    assert run(force=True).metrics == run().metrics == first.metrics


def test_same_seed_same_numbers(technique: Counting, subject_folder: Path) -> None:
    one, two, other = (ib.run("counting", "3", model=subject_folder, samples=30, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.scores.values, two.scores.values) and one.metrics == two.metrics
    assert not np.array_equal(one.scores.values, other.scores.values)


def test_a_failure_leaves_its_traceback(technique: Counting, subject_folder: Path, tmp_path: Path) -> None:
    technique.error = ZeroDivisionError("by nothing")
    with pytest.raises(ZeroDivisionError):
        ib.run("counting", "3", model=subject_folder, samples=20, out=tmp_path)
    (error,) = tmp_path.rglob("*.*")
    assert error.name == "error.txt" and "by nothing" in error.read_text()
    technique.error = None
    result = ib.run("counting", "3", model=subject_folder, samples=20, out=tmp_path)
    assert result.folder == error.parent and not error.exists()


@pytest.mark.parametrize("end", [SystemExit(0), SystemExit("done"), asyncio.CancelledError()])
def test_a_technique_that_exits_has_failed(technique: Counting, subject_folder: Path, tmp_path: Path, end: Any) -> None:
    technique.error = end
    with pytest.raises(InterpbenchError, match=f"technique counting ended with {type(end).__name__}"):
        ib.run("counting", "3", model=subject_folder, samples=20, out=tmp_path)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["error.txt"]
    technique.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        ib.run("counting", "3", model=subject_folder, samples=20)


def test_a_trainer_that_exits_has_failed() -> None:
    def leave(*_: Any) -> Any:
        raise SystemExit(0)

    with pytest.raises(InterpbenchError, match="trainer mine ended with SystemExit: 0"):
        make_subject(SimpleNamespace(name="mine", train=leave), ib.load_case("3"), Config())


def test_the_cases_after_an_exit_are_run(cli: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever exits: the technique, or the code of a case."""
    discover, ends = Eap.discover, [SystemExit(0)]

    def leave(*_: Any) -> Any:
        raise SystemExit(0)

    monkeypatch.setattr(Eap, "discover", lambda *given: leave() if ends.pop() else discover(*given))
    words = ("run", "eap", "--samples", "20", "--out", tmp_path)
    alone = cli(*words, "--case", "3")
    assert alone.status == 1 and alone.out == "" and "error: technique eap ended with SystemExit: 0" in alone.err
    ends += [None, SystemExit(0)]
    both = cli(*words, "--case", "3,4", "--json")
    failed, done = json.loads(both.out)
    assert both.status == 1 and "ended with SystemExit" in failed["error"] and done["metrics"]["edges"]["auroc"] > 0.5
    monkeypatch.setattr(Case, "pairs", leave)
    ended = cli(*words, "--case", "3")
    assert ended.status == 1 and ended.err == "error: the code of case 3 ended with SystemExit: 0\n"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (lambda problem: problem.model.weights["embed.W_E"].mul_(2), "embed.W_E"),
        (lambda problem: [weight.zero_() for weight in problem.model.weights.values()], " and .* more"),
        (lambda problem: problem.model.weights.update({"embed.W_E": problem.clean}), "embed.W_E"),
        (lambda problem: problem.model.weights.update(more=problem.clean), "more"),
        (lambda problem: problem.model.weights.pop("embed.W_E"), "embed.W_E"),
        (lambda problem: problem.clean.copy_(problem.corrupted), "clean"),
        (lambda problem: problem.other.zero_(), "other"),
        (lambda problem: problem.scored.fill_(True), "scored"),
    ],
)
def test_what_a_technique_changes_is_refused_and_its_own(subject_folder: Path, changes: Any, what: str) -> None:
    class Changing(Counting):
        def discover(self, problem: Any, config: Config) -> Discovery:
            found = super().discover(problem, config)
            changes(problem)
            return found

    subject = ib.load_subject("3", subject_folder)
    before = ib.run(Counting(), subject, samples=20)
    with pytest.raises(InterpbenchError, match=f"technique counting changed its problem \\(.*{what}"):
        ib.run(Changing(), subject, samples=20)
    assert weights_hash(subject.model) == before.record["weights_hash"]
    assert ib.run(Counting(), subject, samples=20).metrics == before.metrics


def test_scores_stay_when_a_technique_reuses_its_array() -> None:
    graph = Graph(1, 1)
    mine = np.arange(graph.n_edges, dtype=np.float64)
    scores = EdgeScores(graph, mine)
    mine[:] = 0
    assert scores.values.tolist() == list(range(graph.n_edges))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"technique": "countin"}, "did you mean 'counting'"),
        ({"case": "33x"}, "did you mean '33'"),
        ({"model": "nowhere"}, "no model or folder 'nowhere'"),
        ({"edgez": 3}, "did you mean 'edges'"),
        ({"edges": "x"}, "expected int"),
        ({"samples": 0}, "at least 1"),
        ({"seed": -1}, "at least 0"),
        ({"samples": 300, "unique": True}, "256 different inputs; 300 were asked for"),
        ({"grid": (float("inf"),)}, "finite"),
    ],
)
def test_mistakes_write_nothing(
    technique: Counting, subject_folder: Path, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    asked = {"technique": "counting", "case": "3", "model": subject_folder, "out": tmp_path / "runs"} | change
    with pytest.raises(UsageError, match=why):
        ib.run(asked.pop("technique"), asked.pop("case"), **asked)
    assert list(tmp_path.iterdir()) == []


def test_a_usage_error_of_the_technique_writes_nothing(
    technique: Counting, subject_folder: Path, tmp_path: Path
) -> None:
    technique.error = UsageError("this loss has no gradient here")
    with pytest.raises(UsageError):
        ib.run("counting", "3", model=subject_folder, samples=20, out=tmp_path)
    assert list(tmp_path.iterdir()) == []
