"""Runs on disk: `<root>/<case>/<model>/<technique>/<digest>/`, each with

    scores.json   the edge scores, in the circuit-file format of MIB
    run.json      a `Record`, written last and atomically: if it exists, the run is complete
    error.txt     only after a failure

The digest is a hash of what determines the result; time, device and package versions do not enter it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from interpbench.certificate.edge_classes import EDGE_CLASSES
from interpbench.errors import InterpbenchError, shown
from interpbench.files import read_json, write_text
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.circuit_file import from_circuit_file, to_circuit_file
from interpbench.graph.graph import GRANULARITIES
from interpbench.runs.record import SCHEMA, Record, RunRequest, digest, plain

RUN, SCORES, ERROR = "run.json", "scores.json", "error.txt"


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A complete run whose run.json was read and checked: its content, with both circuits parsed."""

    folder: Path
    record: Record
    circuit: Circuit | None
    truth: Circuit

    @cached_property
    def scores(self) -> EdgeScores:
        """The edge scores, read on first use. Raises InterpbenchError if their file is damaged or missing."""
        try:
            return from_circuit_file(read_json(self.folder / SCORES), self.truth.graph).scores
        except (InterpbenchError, ValueError) as error:
            raise _damaged(self.folder, error) from None


def run_folder(root: str | Path, request: RunRequest) -> Path:
    """The folder of a run; it is not created."""
    return Path(root) / request["case"] / request["model"] / request["technique"] / digest(request)


def is_complete(folder: Path) -> bool:
    """Whether a run is stored there, damaged or not."""
    return os.path.lexists(folder / RUN)


def read(folder: Path) -> StoredRun | None:
    """A complete run, or None. Raises InterpbenchError if its run.json is damaged or lacks a field."""
    if not is_complete(folder):
        return None
    try:
        record = _checked(read_json(folder / RUN))
        truth = Circuit.from_json(record["truth"])
        circuit = None if record["circuit"] is None else Circuit.from_json(record["circuit"])
        if circuit is not None and circuit.graph != truth.graph:
            raise ValueError(f"{RUN}: a circuit of {circuit.graph}, but a truth of {truth.graph}")
        for edge, kind in (record["edge_classes"] or {}).items():
            if edge not in truth.edges or kind not in EDGE_CLASSES:
                raise ValueError(f"{RUN}: {shown(kind)} is no class of a true edge {shown(edge)}")
        return StoredRun(folder, record, circuit, truth)
    except (InterpbenchError, ValueError) as error:
        raise _damaged(folder, error) from None


def read_of(folder: Path, request: RunRequest) -> StoredRun | None:
    """As `read`, for a folder that `run_folder` named. Raises InterpbenchError also if the run there is another one."""
    stored = read(folder)
    if stored is not None:
        for name, value in plain(request).items():
            if stored.record[name] != value:
                raise _damaged(folder, f"{RUN} is of another run: {name} is {shown(stored.record[name])}")
    return stored


def _damaged(folder: Path, reason: object) -> InterpbenchError:
    return InterpbenchError(f"{folder}: damaged run ({reason}); `interpbench run --force` does it again")


def _checked(record: Any) -> Record:
    """The record, with fields of the expected types. Raises ValueError for any other content of a run.json."""
    if not isinstance(record, dict):
        raise ValueError(f"{RUN} holds no record")
    if record.get("schema") != SCHEMA:
        raise ValueError(f"schema {shown(record.get('schema'))}, this version reads {SCHEMA}")
    if missing := sorted(Record.__required_keys__ - record.keys()):
        raise ValueError(f"{RUN} lacks {missing[0]!r}")
    for key, kinds in _KINDS.items():
        if not isinstance(record[key], kinds):
            raise ValueError(f"{RUN}: {key} is {shown(record[key])}")
    for granularity in GRANULARITIES:
        metrics = record["metrics"].get(granularity)
        if not isinstance(metrics, dict) or "auroc" not in metrics:
            raise ValueError(f"{RUN}: metrics lack those at {granularity!r}")
    if record["seconds"] < 0:
        raise ValueError(f"{RUN}: seconds is {shown(record['seconds'])}")
    for name in ("metrics", "passes"):
        _check_numbers(record[name], name)
    if missing := {"forward", "backward"} - record["passes"].keys():
        raise ValueError(f"{RUN}: passes lack {min(missing)!r}")
    return cast(Record, record)


def _check_numbers(facts: Mapping[str, Any], path: str) -> None:
    """Raise ValueError unless each fact, nested ones too, is None, a number, a truth value, or a curve's list."""
    for name, value in facts.items():
        where = f"{path}.{name}"
        if isinstance(value, dict) and name in _NESTED:
            _check_numbers(value, where)
        elif where.endswith(_CURVES) and isinstance(value, list):
            continue
        elif value is not None and not (isinstance(value, int | float) and abs(value) <= sys.float_info.max):
            raise ValueError(f"{RUN}: {where} is {shown(value)}")
        elif name in _SHARES and value is not None and not 0 <= value <= 1:
            raise ValueError(f"{RUN}: {where} is {shown(value)}, expected a share")


_SHARES = ("auroc", "average_precision")
"""Metrics from 0 to 1."""

_NESTED = (*GRANULARITIES, "chosen", "identifiable", "roc", "paper", "mib")
_CURVES = ("roc.fpr", "roc.tpr", "paper.points", "mib.shares", "mib.kept", "mib.faithfulness")
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("case", "program_digest", "model", "subject", "weights_hash", "truth_hash", "digest"), str),
    **dict.fromkeys(("config", "metrics", "notes", "passes", "truth", "versions"), dict),
    **dict.fromkeys(("technique", "technique_version", "ablation", "protocol"), str),
    "certified": bool | None,
    "certificate_version": int | None,
    "edge_classes": dict | None,
    **dict.fromkeys(("baseline", "unique"), bool),
    **dict.fromkeys(("samples", "seed"), int),
    **dict.fromkeys(("bare", "seconds"), int | float),
}


def write(folder: Path, record: Record, scores: EdgeScores, circuit: Circuit | None, d_model: int) -> None:
    """Store a run: scores first, run.json last. An older run.json and error.txt in the folder are removed before."""
    for name in (RUN, ERROR):
        (folder / name).unlink(missing_ok=True)
    write_text(folder / SCORES, json.dumps(to_circuit_file(scores, circuit, d_model), allow_nan=False) + "\n")
    write_text(folder / RUN, json.dumps(record, indent=1, allow_nan=False) + "\n")


def write_error(folder: Path, error: Exception) -> Path:
    """Write the traceback of a failed run to its folder, remove an older run.json there, and return the file."""
    (folder / RUN).unlink(missing_ok=True)
    write_text(folder / ERROR, "".join(traceback.format_exception(error)))
    return folder / ERROR
