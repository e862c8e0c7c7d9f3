"""Judge a file with a circuit or edge scores, written by any tool, in the same way as a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from interpbench.cases.case import Case
from interpbench.errors import InterpbenchError, UsageError
from interpbench.graph.circuit import Circuit, EdgeScores
from interpbench.graph.circuit_file import read_circuit_file
from interpbench.problem.technique import Discovery
from interpbench.runs.record import FileJudgement, judgement
from interpbench.runs.run import Result
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject


def score(
    file: str | Path, case: str | Case | Subject, model: str | Path = "siit", *, absolute: bool = False
) -> Result:
    """Judge a circuit file against the true circuit of a case's subject (or of the subject given).

    `interpbench.graph.circuit_file.read_circuit_file` lists the accepted formats: ours, MIB's and EAP-IG's. `absolute`
    ranks edges by the absolute value of their scores, as EAP-IG does. Raises UsageError if the file, case or model
    does not exist or if the circuit's graph is not the subject's, InterpbenchError for a damaged file.
    """
    subject = case if isinstance(case, Subject) else load_subject(case, model)
    path = Path(file)
    scores, circuit = read_found(path, subject)
    if absolute:
        scores = EdgeScores(scores.graph, np.abs(scores.values))
    found = Discovery(scores, circuit)
    record: FileJudgement = {**judgement(found, subject), "file": str(path), "absolute": absolute}
    return Result(record["metrics"], scores, circuit, record, path)


def read_found(path: Path, subject: Subject) -> tuple[EdgeScores, Circuit | None]:
    """Edge scores and the chosen circuit in a file (`read_circuit_file`). Raises the errors of `score`."""
    if not path.is_file():
        raise UsageError(f"no file {path}")
    try:
        return read_circuit_file(path, subject.model.graph)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise InterpbenchError(f"{path}: {error}") from None
