"""Runs on disk: `<root>/<case>/<model>/<technique>/<digest>/`, each with

    scores.json   the edge scores, in the circuit-file format of MIB
    run.json      a `Record`, written last and atomically: it exists exactly if the run is complete
    error.txt     only after a failure

The digest is a hash over what determines the result, and over nothing else: not time, device or versions.
"""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

from interpbench.errors import InterpbenchError, shown
from interpbench.files import read_json, write_text
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.circuit_file import from_circuit_file, to_circuit_file
from interpbench.graph.graph import GRANULARITIES
from interpbench.runs.record import Asked, Record, digest

RUN, SCORES, ERROR = "run.json", "scores.json", "error.txt"


def run_folder(root: str | Path, asked: Asked) -> Path:
    """Where the run belongs; nothing is created."""
    return Path(root) / asked["case"] / asked["model"] / asked["technique"] / digest(asked)


def read(folder: Path) -> tuple[Record, EdgeScores] | None:
    """A complete run, or None. Raises InterpbenchError if its files are damaged."""
    record = read_record(folder)
    if record is None:
        return None
    try:
        return record, from_circuit_file(read_json(folder / SCORES))[0]
    except (InterpbenchError, ValueError) as error:
        raise _damaged(folder, error) from None


def read_record(folder: Path) -> Record | None:
    """The run.json of a complete run, or None. Raises InterpbenchError if it is damaged or of another version."""
    if not (folder / RUN).exists():
        return None
    try:
        record = read_json(folder / RUN)
        _check(record)
    except (InterpbenchError, ValueError) as error:
        raise _damaged(folder, error) from None
    return record


def _damaged(folder: Path, reason: object) -> InterpbenchError:
    return InterpbenchError(f"{folder}: damaged run ({reason}); --force does it again")


def _check(record: Any) -> None:
    """Raise ValueError unless this is the content of a run.json."""
    if not isinstance(record, dict):
        raise ValueError(f"{RUN} holds no record")
    for key in sorted(Record.__required_keys__ - record.keys()):
        raise ValueError(f"{RUN} lacks {key!r}")
    for key, kinds in _KINDS.items():
        if not isinstance(record[key], kinds):
            raise ValueError(f"{RUN}: {key} is {shown(record[key])}")
    for granularity in GRANULARITIES:
        metrics = record["metrics"].get(granularity)
        if not isinstance(metrics, dict) or "auroc" not in metrics:
            raise ValueError(f"{RUN}: metrics lack those at {granularity!r}")
    for circuit in (record["circuit"], record["truth"]):
        if circuit is not None:
            Circuit.from_json(circuit)


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("case", "model", "weights_hash", "technique", "digest"), str),
    **dict.fromkeys(("config", "metrics", "notes", "truth", "versions"), dict),
    **dict.fromkeys(("certified", "certified_edges"), bool | None),
    **dict.fromkeys(("samples", "seed"), int),
    "seconds": int | float,
}


def write(folder: Path, record: Record, scores: EdgeScores, circuit: Circuit | None, d_model: int) -> None:
    """Store a run: scores first, run.json last. An older run or error in the folder ends before the new one begins."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RUN, ERROR):
        (folder / name).unlink(missing_ok=True)
    write_text(folder / SCORES, json.dumps(to_circuit_file(scores, circuit, d_model), allow_nan=False) + "\n")
    write_text(folder / RUN, json.dumps(record, indent=1, allow_nan=False) + "\n")


def write_error(folder: Path, error: Exception) -> Path:
    """Keep the traceback of a failed run in its folder; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN).unlink(missing_ok=True)
    write_text(folder / ERROR, "".join(traceback.format_exception(error)))
    return folder / ERROR
