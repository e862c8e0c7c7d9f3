"""Judge a file with a circuit or edge scores, written by any tool, in the same way as a run."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from interpbench.cases.case import Case
from interpbench.errors import InterpbenchError, UsageError
from interpbench.evaluation.protocols import ProtocolName, protocol_metrics
from interpbench.graph.circuit import EdgeScores
from interpbench.graph.circuit_file import CircuitFile, read_circuit_file
from interpbench.problem.ablation import Ablation
from interpbench.problem.technique import Discovery
from interpbench.runs.record import Conditions, FileJudgement, judgement
from interpbench.runs.run import Result, problem_of
from interpbench.subjects.subject import Subject
from interpbench.subjects.zoo import load_subject
from interpbench.torch_state import clean_state


@clean_state()
def score(
    file: str | Path,
    case: str | Case | Subject,
    model: str | Path = "siit",
    *,
    absolute: bool = False,
    ablation: Ablation = "resample",
    protocol: ProtocolName = "default",
) -> Result:
    """Judge a circuit file against the true circuit of a case's subject (or of the subject given).

    `interpbench.graph.circuit_file.read_circuit_file` lists the accepted formats: ours, MIB's and EAP-IG's. `absolute`
    ranks edges and nodes by the absolute value of their scores, as EAP-IG does. Nodes rank by scores of their own if
    the file has them, else by those of their edges. What the file's circuit keeps of the answers is measured under
    `ablation`, on the data of a run with default settings; `protocol` adds its metrics.

    Raises UsageError if the file, case or model does not exist or if the circuit's graph is not the subject's,
    InterpbenchError for a damaged file.
    """
    subject = case if isinstance(case, Subject) else load_subject(case, model)
    path = Path(file)
    content, conditions = read_found(path, subject), Conditions(ablation=ablation, protocol=protocol)
    scores, nodes = content.scores, content.nodes
    if absolute:
        scores, nodes = EdgeScores(scores.graph, np.abs(scores.values)), None if nodes is None else np.abs(nodes)
    found = Discovery(scores, content.circuit)
    problem = problem_of(subject, conditions)
    verdict = judgement(found, subject, problem, nodes)
    verdict["metrics"] |= protocol_metrics(protocol, problem, found, subject.circuit)
    about = {"ablation": ablation, "samples": conditions.samples, "seed": conditions.seed, "file": str(path)}
    how = {"absolute": absolute, "node_scores": nodes is not None}
    record = cast(FileJudgement, {**verdict, **about, **how})
    return Result(record["metrics"], scores, content.circuit, record, path)


def read_found(path: Path, subject: Subject) -> CircuitFile:
    """The content of a file (`read_circuit_file`). Raises the errors of `score`."""
    if not path.is_file():
        raise UsageError(f"no file {path}")
    try:
        return read_circuit_file(path, subject.model.graph)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except ValueError as error:
        raise InterpbenchError(f"{path}: {error}") from None
