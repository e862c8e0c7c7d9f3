"""For tests of comparisons: records as runs leave them, and runs made of them, without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.circuit_file import to_circuit_file
from interpbench.graph.graph import GRANULARITIES, Graph
from interpbench.report.runs import Run, named
from interpbench.runs.record import SCHEMA
from interpbench.runs.store import RUN, SCORES, StoredRun

GRAPH = Graph(2, 2)
TRUE = Circuit(GRAPH, frozenset({"embed->a0.h0<q>", "pos->a0.h0<k>", "a0.h0->m1", "m1->logits"}))


def record(technique: str, case: str, auroc: float | None, **changes: Any) -> dict[str, Any]:
    """The record of a run with this AUROC in every place; `changes` are other fields."""
    ranked = {"n": 9, "true": 3, "auroc": auroc, "average_precision": auroc}
    identifiable = None if auroc is None else {**ranked, "ignored": 1}
    judged = {each: {**ranked, "roc": None, "chosen": None, "identifiable": identifiable} for each in GRANULARITIES}
    return {
        **{"schema": SCHEMA, "case": case, "program_digest": "p", "model": "siit", "subject": "siit"},
        **{"weights_hash": "3f2a91" + "0" * 10, "truth_hash": "7c01de" + "0" * 10, "technique": technique},
        **{"technique_version": "1", "config": {}, "ablation": "resample", "samples": 10, "seed": 0, "unique": False},
        **{"protocol": "default", "certified": True, "certificate_version": 2, "baseline": False, "bare": 1.0},
        **{"metrics": {**judged, "chosen": None}, "circuit": None},
        **{"truth": TRUE.to_json(), "edge_classes": dict.fromkeys(TRUE.edges, "core"), "notes": {}, "seconds": 1.0},
        **{"passes": {"forward": 2.0, "backward": 1.0}, "versions": {}, "digest": f"{technique}{case}"},
        **changes,
    }


def runs_of(*records: dict[str, Any]) -> list[Run]:
    """Runs with these records, named as in a report."""
    truths = [Circuit.from_json(each["truth"]) for each in records]
    return named([StoredRun(Path(), each, None, truth) for each, truth in zip(records, truths, strict=True)])  # type: ignore[arg-type]


def write(folder: Path, record: dict[str, Any]) -> Path:
    """A run folder with this record; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN).write_text(json.dumps(record))
    scores = EdgeScores(GRAPH, np.zeros(GRAPH.n_edges))
    (folder / SCORES).write_text(json.dumps(to_circuit_file(scores, None, 8)))
    return folder
