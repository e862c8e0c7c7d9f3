"""A report as one HTML page without external files: sortable tables, figures, and a section for every case."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from string import Template

from interpbench.graph.circuit import Circuit
from interpbench.graph.drawing import circuit_svg
from interpbench.report.comparison import Comparison
from interpbench.report.figures import box_picture, cost_picture, curve_pictures, samples_picture
from interpbench.report.folders import Failure
from interpbench.report.formats import tables
from interpbench.report.runs import CUSTOM, METRICS, SETTINGS, Run
from interpbench.report.statements import statements
from interpbench.report.statistics import mean_interval
from interpbench.table import Table, cell

READABLE = 60
"""False edges that a drawing shows at most: one of hundreds shows nothing, and takes a hundred kilobytes or more."""


def page(runs: Sequence[Run], comparison: Comparison, failures: Sequence[Failure]) -> str:
    """The text of the page. Raises MissingExtra without matplotlib, InterpbenchError for a run with damaged scores."""
    caption = "Bold: mean over runs, each at its own thresholds; faint: runs."
    labels = {method: comparison.label(method) for method in comparison.methods}
    figures = [_figure(curve_pictures(runs, labels), caption)]
    if comparison.common:
        figures.append(_figure(box_picture(comparison), "A dot for each case that every technique has a number for."))
    for picture, says in (
        (cost_picture(comparison), "Means over the cases of each method."),
        (samples_picture(runs, comparison.metric), "How many pairs of inputs a technique needs."),
    ):
        if picture is not None:
            figures.append(_figure(picture, says))
    template = Template(files("interpbench.report").joinpath("page.html").read_text())
    return template.substitute(
        title=f"interpbench: {len(comparison.methods)} methods on {len(comparison.numbers)} cases",
        facts=_facts(runs),
        statements="\n".join(f'<p class="statement">{escape(line)}</p>' for line in statements(comparison)),
        tables="\n".join(_table(table) for table in tables(comparison, failures)),
        figures="\n".join(figures),
        cases="\n".join(_case(case, [run for run in runs if run.case == case], labels) for case in comparison.numbers),
    )


def _facts(runs: Sequence[Run]) -> str:
    """Settings, data seeds, and versions of techniques and packages of the runs."""
    settings = []
    for name in (*SETTINGS, "seed"):
        values = sorted({str(run.record[name]) for run in runs})
        settings.append(f"{name.replace('_', ' ')} {', '.join(values)}")
    techniques = sorted({f"{run.record['technique']} {run.record['technique_version']}" for run in runs})
    versions = sorted({f"{name} {number}" for run in runs for name, number in run.record["versions"].items()})
    return escape("; ".join([f"{len(runs)} runs", *settings, *techniques, *versions]))


def _table(table: Table) -> str:
    def row(kind: str, values: Iterable[str]) -> str:
        pairs = zip(table.columns, values, strict=True)
        return f"<tr>{''.join(_cell(kind, column, value, table.shaded) for column, value in pairs)}</tr>"

    linked = table.columns[0] == "case"
    body = []
    for values in table.rows:
        shown = [escape(cell(value)) for value in values]
        if linked:
            shown[0] = f'<a href="#{_anchor(values[0])}">{shown[0]}</a>'
        body.append(row("td", shown))
    head = row("th", (escape(column.rstrip(">")) for column in table.columns))
    caption = f"<caption>{escape(table.title)}</caption>"
    return f'<div class="wide"><table>{caption}<thead>{head}</thead><tbody>{"".join(body)}</tbody></table></div>'


def _cell(kind: str, column: str, value: str, shaded: bool) -> str:
    """A cell; where it is shaded and begins with a share such as 0.71, the style sheet gives it a colour."""
    number = " class=number" if column.endswith(">") else ""
    share = _SHARE.match(value) if shaded and kind == "td" else None
    style = f' style="--share:{share[0]}"' if share else ""
    return f"<{kind}{number}{style}>{value}</{kind}>"


_SHARE = re.compile(r"[01]\.\d+(?= |$)")


def _case(case: str, runs: Sequence[Run], labels: Mapping[str, str]) -> str:
    """The section of a case: means over seeds for every method, curves, and each method's circuit at its first seed."""
    seeds = {method: own for method in labels if (own := [run for run in runs if run.method == method])}
    rows = [
        (metric, *(mean_interval([run.number(metric) for run in own])["mean"] for own in seeds.values()))
        for metric in METRICS
        if any(run.number(metric) is not None for run in runs)
    ]
    rows.append(("seconds", *(mean_interval([run.record["seconds"] for run in own])["mean"] for own in seeds.values())))
    subjects = dict.fromkeys(_subject(run) for run in runs)
    columns = ("metric", *(f"{labels[method]}>" for method in seeds))
    parts = [_table(Table(f"case {case}: {'; '.join(subjects)}", columns, tuple(rows)))]
    parts.append(_figure(curve_pictures(runs, {method: labels[method] for method in seeds}), ""))
    circuits = []
    for method, own in seeds.items():
        name = f"case {case}, {labels[method]}, seed {own[0].record['seed']}"
        circuits.append(_figure(_drawing(own[0].stored.truth, own[0].stored.circuit, name), ""))
    parts.append(f'<div class="row">{"".join(circuits)}</div>')
    return f'<details id="{_anchor(case)}"><summary>case {escape(case)}</summary>{"".join(parts)}</details>'


def _drawing(truth: Circuit, found: Circuit | None, name: str) -> str:
    """What a technique chose, without its false edges if they are more than `READABLE`; the true circuit if nothing."""
    if found is None:
        return circuit_svg(truth, f"{name}: true circuit")
    false = len(found.edges - truth.edges)
    if false <= READABLE:
        return circuit_svg(truth, f"{name}: what it chose", found)
    true = replace(found, edges=found.edges & truth.edges)
    return circuit_svg(truth, f"{name}: what it chose, but for {false} false edges", true)


def _subject(run: Run) -> str:
    """The subject of a run: its kind, for a folder its name, and its weights and certificate."""
    record = run.record
    name = record["subject"] if record["model"] == CUSTOM else f"{record['model']} model"
    status = {True: "certified", False: "not certified", None: "no certificate"}[record["certified"]]
    return f"{name}, weights {record['weights_hash']}, {status}"


def _anchor(case: str) -> str:
    return escape(f"case-{case}", quote=True)


def _figure(svg: str, caption: str) -> str:
    """An SVG embedded as a data URL, so that its ids and styles do not affect the page."""
    data = b64encode(svg.encode()).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{escape(caption) or "picture"}">{below}</figure>'
