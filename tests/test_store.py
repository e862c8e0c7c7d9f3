"""Run folders and circuit files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph import Circuit, EdgeScores, Graph
from interpbench.graph.circuit_file import from_circuit_file, to_circuit_file
from interpbench.runs import store
from interpbench.runs.record import SCHEMA, Record, RunRequest, digest, plain

GRAPH = Graph(6, 4)
ASKED: Any = {
    "schema": SCHEMA,
    "case": "3",
    "program_digest": "p",
    "model": "siit",
    "weights_hash": "w",
    "truth_hash": "t",
    "certified": None,
    "certificate_version": None,
    "technique": "eap",
    "technique_version": "1",
    "baseline": False,
    "config": {"steps": 3, "at": (1.0, 2.0)},
    "ablation": "resample",
    "samples": 10,
    "seed": 0,
    "unique": False,
    "protocol": "default",
}
RECORD: Any = ASKED | {
    "config": plain(ASKED["config"]),
    "digest": "d",
    "subject": "siit",
    "bare": 1.0,
    "edge_classes": {},
    "metrics": {granularity: {"auroc": 0.5} for granularity in ("edges", "heads", "nodes")},
    "circuit": None,
    "truth": Circuit(GRAPH, frozenset()).to_json(),
    "notes": {},
    "seconds": 0.1,
    "passes": {"forward": 2.0, "backward": 1.0},
    "versions": {},
}


def some_scores(graph: Graph = GRAPH) -> EdgeScores:
    values = np.random.default_rng(0).normal(size=graph.n_edges)
    values[3], values[4] = np.inf, -np.inf
    return EdgeScores(graph, values)


def test_the_digest_sees_everything_asked_and_only_that() -> None:
    assert ASKED.keys() == RunRequest.__required_keys__
    name = digest(ASKED)
    assert name == digest(dict(reversed(ASKED.items())))
    for key, value in ASKED.items():
        other = value | {"steps": 4} if isinstance(value, dict) else f"{value}0"
        assert digest(ASKED | {key: other}) != name
    with pytest.raises(UsageError, match="finite"):
        digest(ASKED | {"config": {"steps": float("nan")}})


def test_a_run_comes_back(tmp_path: Path) -> None:
    folder = store.run_folder(tmp_path, ASKED)
    assert folder == tmp_path / "3" / "siit" / "eap" / digest(ASKED) and not folder.parent.exists()
    assert store.read(folder) is None
    scores = some_scores()
    store.write(folder, RECORD, scores, scores.top(5), 64)
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "scores.json"]
    read = store.read(folder) or pytest.fail("not complete")
    assert read.record == RECORD and RECORD.keys() == Record.__required_keys__
    assert np.array_equal(read.scores.values, scores.values) and read.scores.graph == GRAPH


def test_scores_alone_are_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at any moment before the last rename: the folder does not read as complete."""
    folder, rename = tmp_path / "run", Path.replace
    for stopped in (store.SCORES, store.RUN):

        def replace(self: Path, target: Path, stopped: str = stopped) -> Path:
            if Path(target).name == stopped:
                raise KeyboardInterrupt
            return rename(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            store.write(folder, RECORD, some_scores(), None, 64)
        assert store.read(folder) is None
    monkeypatch.undo()
    store.write(folder, RECORD, some_scores(), None, 64)
    assert store.read(folder) is not None


def test_an_error_is_kept_until_the_run_succeeds(tmp_path: Path) -> None:
    try:
        raise ZeroDivisionError("by nothing")
    except ZeroDivisionError as error:
        path = store.write_error(tmp_path / "run", error)
    assert "ZeroDivisionError: by nothing" in path.read_text() and "test_store.py" in path.read_text()
    assert store.read(path.parent) is None
    store.write(path.parent, RECORD, some_scores(), None, 64)
    assert not path.exists()
    store.write_error(path.parent, ValueError("again"))
    assert store.read(path.parent) is None


@pytest.mark.parametrize("name", ["run.json", "scores.json"])
def test_a_damaged_run_is_told(tmp_path: Path, name: str) -> None:
    store.write(tmp_path, RECORD, some_scores(), None, 64)
    (tmp_path / name).write_text((tmp_path / name).read_text()[:30])
    with pytest.raises(InterpbenchError, match="damaged run.*--force"):
        assert store.read(tmp_path).scores


@pytest.mark.parametrize("key", sorted(RECORD))
def test_a_run_that_lacks_a_field_is_damaged(tmp_path: Path, key: str) -> None:
    store.write(tmp_path, {k: value for k, value in RECORD.items() if k != key}, some_scores(), None, 64)
    with pytest.raises(InterpbenchError, match=f"damaged run.*{key}.*--force"):
        store.read(tmp_path)


def test_a_run_of_an_older_version_is_none_of_this_one(tmp_path: Path) -> None:
    store.write(tmp_path, RECORD | {"schema": SCHEMA - 1}, some_scores(), None, 64)
    with pytest.raises(InterpbenchError, match=f"schema {SCHEMA - 1}, this version reads {SCHEMA}"):
        store.read(tmp_path)
    assert digest(ASKED) != digest(ASKED | {"schema": SCHEMA - 1})


def test_plain_json() -> None:
    value = {"a": np.float32(0.5), 1: (np.arange(2), float("nan")), "x": {"y": {3}}, "z": Path("p"), "t": True}
    assert plain(value) == {"a": 0.5, "1": [[0, 1], None], "x": {"y": [3]}, "z": "p", "t": True}


def test_circuit_files_have_the_form_of_mib() -> None:
    """Counts of the format's own example: 6 layers of 4 heads, 1,108 edges, 32 nodes."""
    scores = some_scores()
    circuit = Circuit(GRAPH, frozenset(["pos->a0.h1<q>", "m0->a4.h1<k>", "a4.h1->logits"]))
    data = json.loads(json.dumps(to_circuit_file(scores, circuit, 64), allow_nan=False))
    assert data["cfg"] == {"n_layers": 6, "n_heads": 4, "parallel_attn_mlp": False, "d_model": 64}
    assert len(data["edges"]) == 1108 and len(data["nodes"]) == 32
    assert {"input", "a0.h1", "m0", "logits", "a4.h1"} == {n for n, v in data["nodes"].items() if v["in_graph"]}
    merged, at = data["edges"]["input->a0.h1<q>"], GRAPH.edge_index
    both = [scores.values[at[f"{writer}->a0.h1<q>"]] for writer in ("embed", "pos")]
    assert merged == {"score": max(both), "in_graph": True}
    inside = {name for name, entry in data["edges"].items() if entry["in_graph"]}
    assert inside == {"input->a0.h1<q>", "m0->a4.h1<k>", "a4.h1->logits"}


def test_without_a_circuit_every_edge_is_in_the_graph() -> None:
    data = to_circuit_file(some_scores(), None, 64)
    assert all(entry["in_graph"] for part in ("nodes", "edges") for entry in data[part].values())


def test_files_of_others_can_be_read() -> None:
    data = to_circuit_file(some_scores(), None, 64)
    theirs = {key: data[key] for key in ("cfg", "nodes", "edges")}
    read = from_circuit_file(theirs).scores
    at = GRAPH.edge_index
    assert read.values[at["pos->m0"]] == read.values[at["embed->m0"]] == data["edges"]["input->m0"]["score"]
    assert read.values[at["m0->m1"]] == data["edges"]["m0->m1"]["score"]


@pytest.mark.parametrize("data", [[], {}, {"cfg": {"n_layers": 1, "n_heads": 1}, "edges": {}}, {"cfg": 1, "edges": 2}])
def test_other_files_are_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="not a circuit file|is missing"):
        from_circuit_file(data)
