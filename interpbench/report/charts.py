"""Charts of what `eval` measures, through matplotlib (the extra `plot`). The file's ending says the format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interpbench.errors import MissingExtra, UsageError
from interpbench.files import check_new, write_new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("svg", "png", "pdf")
INSIDE, OUTSIDE = "#b8336a", "#9aa5b1"


def check(path: Path, force: bool) -> None:
    """Raise UsageError, before any work, if no chart can be written there."""
    import importlib.util

    if path.suffix.removeprefix(".") not in FORMATS:
        raise UsageError(f"{path}: expected a name that ends in .{', .'.join(FORMATS)}")
    check_new(path, force)
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra("plot", "drawing a chart")


def bars(title: str, ylabel: str, heights: Mapping[str, float | None], inside: Mapping[str, bool]) -> Figure:
    """A bar for every node, the highest first: nodes of the circuit in one colour, silent ones in another."""
    figure = _figure(max(5.0, 0.28 * len(heights)))
    axes = figure.add_subplot(title=title, ylabel=ylabel)
    ordered = sorted(heights, key=lambda name: -(heights[name] or 0.0))
    for label, colour, wanted in (("in the true circuit", INSIDE, True), ("silent", OUTSIDE, False)):
        places = [i for i, name in enumerate(ordered) if inside[name] == wanted]
        axes.bar(places, [heights[ordered[i]] or 0.0 for i in places], color=colour, label=label)
    axes.set_xticks(range(len(ordered)), ordered, rotation=90)
    axes.legend()
    return figure


def lines(
    title: str, labels: tuple[str, str], at: Sequence[float | None], curves: Mapping[str, Sequence[float | None]]
) -> Figure:
    """A line for every name over `at`; what is None leaves a gap, and a single point without a place is a dot."""
    figure = _figure(6.0)
    axes = figure.add_subplot(title=title, xlabel=labels[0], ylabel=labels[1])
    for name, heights in curves.items():
        there = [(x, y) for x, y in zip(at, heights, strict=True) if y is not None]
        places = [i if x is None else x for i, (x, _) in enumerate(there)]
        axes.plot(places, [y for _, y in there], marker="o", markersize=3, label=name)
    axes.legend()
    return figure


def save(figure: Figure, path: Path, force: bool) -> None:
    """Write the file, whole or not at all. Raises the errors of `interpbench.files.write_new`."""
    import io

    import matplotlib

    kind = path.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else None
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "interpbench"}):
        figure.savefig(drawn, format=kind, dpi=150, metadata=metadata)
    write_new(path, drawn.getvalue(), force)


def _figure(width: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, 3.6), layout="constrained")
