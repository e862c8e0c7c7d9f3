"""A circuit or edge scores that any tool has written to a file, judged as a run is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from interpbench.cases.case import Case
from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.circuit_file import read_circuit_file
from interpbench.problem.technique import Discovery
from interpbench.runs.record import Scored, judged
from interpbench.runs.run import Result
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject


def score(
    file: str | Path, case: str | Case | Subject, model: str | Path = "siit", *, absolute: bool = False
) -> Result:
    """Judge a file of MIB, EAP-IG or ours against the true circuit of a case's subject (or of the subject given).

    `absolute` ranks edges by the size of their scores, as EAP-IG itself does. What a file may be is said at
    `interpbench.circuit_file.read_circuit_file`. Raises UsageError for a file, case or model that does not exist and
    for a circuit in another graph than the subject's, InterpbenchError for a damaged file.
    """
    subject = case if isinstance(case, Subject) else load_subject(case, model)
    path = Path(file)
    scores, circuit = read_found(path, subject)
    if absolute:
        scores = EdgeScores(scores.graph, np.abs(scores.values))
    found = Discovery(scores, circuit)
    record: Scored = {**judged(found, subject), "file": str(path), "absolute": absolute}
    return Result(record["metrics"], scores, circuit, record, path)


def read_found(path: Path, subject: Subject) -> tuple[EdgeScores, Circuit | None]:
    """What somebody found in a subject, from a file: `read_circuit_file`, and its errors in one line; see `score`."""
    if not path.is_file():
        raise UsageError(f"no file {path}")
    try:
        return read_circuit_file(path, subject.model.graph)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise InterpbenchError(f"{path}: {error}") from None
