"""Runs on disk: `<root>/<case>/<model>/<technique>/<digest>/`, each with

    scores.json   the edge scores, in the circuit-file format of MIB
    run.json      a `Record`, written last and atomically: it exists exactly if the run is complete
    error.txt     only after a failure

The digest is a hash over what determines the result, and over nothing else: not time, device or versions.
"""

from __future__ import annotations

import hashlib
import json
import math
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from interpbench.circuit_file import from_circuit_file, to_circuit_file
from interpbench.errors import InterpbenchError, UsageError, shown
from interpbench.files import read_json, write_text
from interpbench.graph import GRANULARITIES, Circuit, EdgeScores

SCHEMA = 1
RUN, SCORES, ERROR = "run.json", "scores.json", "error.txt"


class About(TypedDict):
    """The model that a result is about."""

    case: str
    program_digest: str
    model: str
    weights_hash: str


class Asked(About):
    """Everything that determines a result."""

    schema: int
    technique: str
    technique_version: str
    config: dict[str, Any]
    ablation: str
    samples: int
    seed: int
    unique: bool
    protocol: str


class Judged(About):
    """A result against the truth: `metrics` of `evaluate.judge` (and of a run's protocol), the chosen circuit
    (`to_json`) or None, and the true one.
    """

    certified: bool | None
    certified_edges: bool | None
    metrics: dict[str, dict[str, Any]]
    circuit: dict[str, Any] | None
    truth: dict[str, Any]


class Scored(Judged):
    """What `score` says of a file; `absolute`: edges were ranked by the size of their scores."""

    file: str
    absolute: bool


class Record(Asked, Judged):
    """The content of run.json."""

    digest: str
    notes: dict[str, Any]
    seconds: float
    versions: dict[str, str]


def digest(asked: Asked) -> str:
    """Hash of what was asked; 16 hexadecimal digits. Raises UsageError for a number that is not finite."""
    try:
        text = json.dumps(asked, sort_keys=True, allow_nan=False)
    except ValueError:
        raise UsageError(f"options must be finite numbers: {asked['config']}") from None
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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


def plain(value: Any) -> Any:
    """The same as plain JSON: arrays and tuples as lists, numbers that are not finite as None, the rest as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)
