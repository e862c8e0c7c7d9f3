"""One technique on one case, from top to bottom."""

from __future__ import annotations

import dataclasses
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from interpbench import plugins, store
from interpbench.case import Case, defined
from interpbench.errors import UsageError
from interpbench.evaluate import judge
from interpbench.graph import Circuit, EdgeScores
from interpbench.interventions import scored_positions
from interpbench.options import make_config
from interpbench.problem import Ablation, make_problem
from interpbench.subjects import Subject, load_subject


@dataclass(frozen=True, eq=False)
class Result:
    """What came out: metrics by granularity, a score for every edge, the circuit chosen, and all of run.json.

    `folder` is where it is stored (None: nowhere), `seconds` in the record is the technique's own time.
    """

    metrics: dict[str, dict[str, Any]]
    scores: EdgeScores
    circuit: Circuit | None
    record: store.Record
    folder: Path | None = None


def run(
    technique: str,
    case: str | Case | Subject,
    model: str | Path = "siit",
    *,
    samples: int = 1000,
    seed: int = 0,
    ablation: Ablation = "resample",
    unique: bool = False,
    out: str | Path | None = None,
    force: bool = False,
    config: Any = None,
    **options: Any,
) -> Result:
    """Find a circuit of a case's subject (or of the subject given) and judge it against the true one.

    `samples` pairs of clean and corrupted inputs are drawn from `seed`, no clean one twice if `unique`; `options` are
    the fields of the technique's `Config`, or `config` an instance of it. With `out`, the run is stored below that
    folder, and a complete one that is there already is read instead, unless `force` does it again. Raises UsageError
    for what does not exist or does not fit, InterpbenchError for a damaged subject or run, and whatever the technique
    raises.
    """
    method = plugins.load().technique(technique)
    config = make_config(method.Config, options, technique) if config is None else config
    if samples < 1 or seed < 0:
        raise UsageError(f"samples is {samples} and seed {seed}; expected at least 1 and at least 0")
    subject = case if isinstance(case, Subject) else load_subject(case, model)
    asked: store.Asked = {
        "schema": store.SCHEMA,
        "case": subject.case.name,
        "program_digest": subject.card["program_digest"],
        "model": subject.kind,
        "weights_hash": subject.weights_hash,
        "technique": technique,
        "technique_version": method.version,
        "config": dataclasses.asdict(config),
        "ablation": ablation,
        "samples": samples,
        "seed": seed,
        "unique": unique,
    }
    digest = store.digest(asked)
    folder = None if out is None else store.run_folder(out, asked)
    if folder is not None and not force and (stored := store.read(folder)) is not None:
        record, scores = stored
        circuit = None if record["circuit"] is None else Circuit.from_json(record["circuit"])
        return Result(record["metrics"], scores, circuit, record, folder)

    try:
        clean, corrupted = subject.case.pairs(samples, seed, unique)
    except ValueError as error:
        raise UsageError(str(error)) from None
    scored = scored_positions(subject.case, clean)
    if subject.case.partial:
        reference = subject.case.reference()
        scored &= defined(reference, reference.outputs(torch.from_numpy(clean))).numpy()
    problem = make_problem(
        subject.model, clean, corrupted, output=subject.case.output, scored=scored, ablation=ablation, seed=seed
    )
    began = time.perf_counter()
    try:
        found = method.discover(problem, config)
        seconds = time.perf_counter() - began
        metrics = judge(found, subject.circuit)
    except UsageError:
        raise
    except Exception as error:
        if folder is not None:
            error.add_note(f"(traceback in {store.write_error(folder, error)})")
        raise

    certificate = subject.card.get("certificate") or {}
    record: store.Record = {
        **asked,
        "config": store.plain(asked["config"]),
        "digest": digest,
        "certified": certificate.get("certified"),
        "certified_edges": certificate.get("certified_edges"),
        "metrics": metrics,
        "circuit": None if found.circuit is None else found.circuit.to_json(),
        "notes": store.plain(found.notes),
        "seconds": round(seconds, 4),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("interpbench", "torch", "numpy")},
    }
    if folder is not None:
        store.write(folder, record, found.scores, found.circuit, subject.model.config.d_model)
    return Result(metrics, found.scores, found.circuit, record, folder)
