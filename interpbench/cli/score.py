"""`score`: a file of any tool against the truth."""

from __future__ import annotations

from pathlib import Path

from interpbench.cli.console import print_json
from interpbench.cli.run import print_results
from interpbench.runs.score import score as score_one


def score(file: Path, case: str, model: str, absolute: bool, as_json: bool) -> None:
    """Judge the file and print what `run` prints."""
    result = score_one(file, case, model, absolute=absolute)
    print_json(result.record) if as_json else print_results(file.name, [result])
