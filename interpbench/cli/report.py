"""`report`: tables, figures and a page from run folders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from interpbench.cli.app import AsJson, Force, app
from interpbench.cli.choose import split
from interpbench.cli.comparison import print_comparison
from interpbench.cli.console import print_lines
from interpbench.errors import UsageError, unknown

if TYPE_CHECKING:
    from interpbench.report.comparison import Comparison
    from interpbench.report.folders import Failure
    from interpbench.report.runs import Run

FORMATS = {".txt": "text", ".csv": "csv", ".md": "markdown", ".json": "json", ".html": "html"}
"""The format of a file by the ending of its name."""


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Folders of runs.")],
    form: Annotated[
        Literal["text", "csv", "markdown", "json", "html"] | None,
        typer.Option("--format", help="Default: by the ending of --out, or text."),
    ] = None,
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="The metric to compare: heads.auroc, chosen.exact, ...")
    ] = ("heads.identifiable.auroc"),
    techniques: Annotated[
        str, typer.Option(metavar="NAME,...", help="Compare these techniques only, with commas between.")
    ] = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file instead of stdout.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs: tables, statistics, figures; as text, CSV, Markdown, JSON or one page of HTML."""
    from interpbench.files import check_new, write_new
    from interpbench.report.comparison import compare
    from interpbench.report.runs import METRICS, read_runs

    if metric not in METRICS:
        raise UsageError(f"{unknown('metric', metric, METRICS)}; there are: {', '.join(METRICS)}")
    form_name = _form("json" if as_json else form, out)
    if out is not None:
        check_new(out, force)
    found, failures, left_out = read_runs(runs, split(techniques))
    if left_out:
        why = "their weights, true circuits, programs or certificates have been replaced since"
        print_lines([f"{left_out} runs left out: {why}"], to="stderr")
    comparison = compare(found, metric)
    if form_name == "text" and out is None:
        print_comparison(comparison, failures)
    elif out is None:
        print(_text(form_name, found, comparison, failures), end="")
    else:
        write_new(out, _text(form_name, found, comparison, failures), force)
        print_lines([f"written to {out}"])
    if failures:
        raise typer.Exit(1)


def _form(form: str | None, out: Path | None) -> str:
    """The format: as stated, else by the ending of the file's name. Raises UsageError if there is none."""
    form = form or FORMATS.get(out.suffix if out else ".txt")
    if not form:
        raise UsageError(f"what form has {out}? Its name may end in {', '.join(FORMATS)}, or give --format")
    if form == "html" and out is None:
        raise UsageError("a page needs a file: --out report.html")
    return form


def _text(form: str, runs: "list[Run]", comparison: "Comparison", failures: "list[Failure]") -> str:
    """The report in a format; text is written as Markdown, which has the same tables."""
    import json

    from interpbench.errors import visible
    from interpbench.report import formats
    from interpbench.report.statements import statements
    from interpbench.table import as_markdown

    if form == "html":
        from interpbench.report.page import page

        return page(runs, comparison, failures)
    if form == "csv":
        return formats.as_csv(comparison)
    if form == "json":
        return json.dumps(formats.as_json(comparison, failures), indent=1, allow_nan=False) + "\n"
    listed = "".join(f"- {visible(line)}\n" for line in statements(comparison))
    return f"{listed}\n{as_markdown(formats.tables(comparison, failures))}"
