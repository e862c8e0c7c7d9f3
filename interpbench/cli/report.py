"""`report`: tables, figures and a page from run folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interpbench.cli.console import print_lines, print_table
from interpbench.errors import UsageError, unknown
from interpbench.files import refuse_existing, write_new
from interpbench.report import formats
from interpbench.report.comparison import compare
from interpbench.report.runs import METRICS, read_runs

FORMATS = {".txt": "text", ".csv": "csv", ".md": "markdown", ".json": "json", ".html": "html"}
"""What the ending of a file's name asks for."""


def report(roots: Sequence[Path], form: str, metric: str, out: Path | None, force: bool) -> int:
    """Print a report, or write it to a file; the status is 1 if what was read holds failed runs."""
    if metric not in METRICS:
        raise UsageError(f"{unknown('metric', metric, METRICS)}; there are: {', '.join(METRICS)}")
    form = form or FORMATS.get(out.suffix if out else ".txt", "")
    if not form:
        raise UsageError(f"what form has {out}? Its name may end in {', '.join(FORMATS)}, or give --format")
    if form == "html" and out is None:
        raise UsageError("a page needs a file: --out report.html")
    if out is not None:
        refuse_existing(out, force)
    runs, failures, left_out = read_runs(roots)
    told = compare(runs, metric)
    if left_out:
        print_lines([f"{left_out} runs on weights or programs that have been replaced since are left out"], to="stderr")
    tables = formats.tables(told, failures)
    if form == "text" and out is None:
        for table in tables:
            print_table(table.title, table.columns, table.rows)
    else:
        if form == "html":
            from interpbench.report.page import page

            text = page(runs, told, failures)
        elif form == "csv":
            text = formats.as_csv(told)
        elif form == "json":
            text = formats.as_json(told, failures) + "\n"
        else:
            text = formats.as_markdown(tables)
        if out is None:
            print(text, end="")
        else:
            write_new(out, text, force)
            print_lines([f"written to {out}"])
    return 1 if failures else 0
