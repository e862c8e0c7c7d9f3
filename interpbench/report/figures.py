"""Figures of a report as SVG: ROC and precision-recall curves, box plots over cases, cost, samples.

Needs the extra `plot`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interpbench.errors import MissingExtra
from interpbench.graph.ranking import precision_recall, roc
from interpbench.report.comparison import Comparison
from interpbench.report.runs import Run
from interpbench.report.statistics import Mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]
AT = np.linspace(0, 1, 201)
"""The x coordinates at which curves of several runs are averaged."""

STYLE: Any = {
    "svg.hashsalt": "interpbench",
    "svg.fonttype": "none",
    "font.size": 9,
}


def curves(run: Run) -> tuple[Points, Points] | None:
    """ROC (false and true positive rate) and precision-recall (recall, precision) curves over head-level edges.

    None if all edges are true or none is.
    """
    truth = run.stored.truth
    true = truth.members("heads")
    scores = truth.graph.merge(run.stored.scores.values, "heads")
    fpr, tpr = roc(scores, true)
    if fpr is None or tpr is None:
        return None
    return (fpr, tpr), precision_recall(scores, true)


def curve_pictures(runs: Sequence[Run], methods: Mapping[str, str]) -> str:
    """ROC and precision-recall curves of methods, given with their labels: the mean over runs in bold, runs faint."""
    drawn = {method: [both for run in runs if run.method == method and (both := curves(run))] for method in methods}
    figure, axes = _figure(2, 8.4, 3.9)
    for axis, which in zip(axes, (0, 1), strict=True):
        for number, (method, label) in enumerate(methods.items()):
            own = [both[which] for both in drawn[method]]
            if not own:
                continue
            colour, step = f"C{number}", "default" if which == 0 else "steps-pre"
            for x, y in own if len(own) > 1 else []:
                axis.plot(x, y, color=colour, alpha=0.12, linewidth=0.8, drawstyle=step)
            x, y = own[0] if len(own) == 1 else (AT, _average(own, interpolate=which == 0))
            axis.plot(x, y, color=colour, linewidth=2, label=label, drawstyle=step)
    _finish(axes[0], "false positive rate", "true positive rate", "ROC, head-level edges")
    _finish(axes[1], "recall", "precision", "precision and recall")
    axes[0].plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1)
    return _svg(figure)


def _average(own: Iterable[Points], interpolate: bool) -> Float[np.ndarray, " point"]:
    """Mean height of curves at `AT`: a ROC curve is interpolated linearly, the other is taken as steps."""
    if interpolate:
        return np.mean([np.interp(AT, x, y) for x, y in own], axis=0)
    return np.mean([y[np.minimum(np.searchsorted(x, AT), len(y) - 1)] for x, y in own], axis=0)


def box_picture(comparison: Comparison) -> str:
    """A box plot of the metric over the common cases for every method, with a dot for each case."""
    figure, (axis,) = _figure(1, max(4.2, 1.0 + 1.3 * len(comparison.methods)), 3.6)
    values = [_means(comparison.numbers, comparison.common, method) for method in comparison.methods]
    axis.boxplot(values, showfliers=False, widths=0.5, medianprops={"color": "#111111"})
    for place, own in enumerate(values, 1):
        spread = np.linspace(-0.16, 0.16, len(own)) if len(own) > 1 else np.zeros(len(own))
        axis.plot(place + spread, own, "o", color=f"C{place - 1}", alpha=0.55, markersize=3.5)
    labels = [comparison.label(method).replace(" ", "\n") for method in comparison.methods]
    axis.set_xticks(range(1, len(labels) + 1), labels)
    axis.grid(axis="y", alpha=0.3)
    axis.set_title(f"{comparison.metric} over {len(comparison.common)} cases")
    return _svg(figure)


def cost_picture(comparison: Comparison) -> str | None:
    """The mean of the metric against the passes in a row of the data, a dot for each method; None without passes."""
    dots = {}
    for method in comparison.methods:
        cost = [sum(own[method].values()) for own in comparison.passes.values() if method in own]
        mean, passes = comparison.overall[method]["mean"], float(np.mean(cost))
        if mean is not None and passes:
            dots[comparison.label(method)] = passes, mean
    if not dots:
        return None
    figure, (axis,) = _figure(1, 6.0, 3.6)
    for label, place in dots.items():
        axis.plot(*place, "o")
        axis.annotate(label, place, (4, 3), textcoords="offset points", fontsize=8)
    axis.set(xscale="log", xlabel="forward and backward passes in a row of the data", ylabel=comparison.metric)
    axis.grid(alpha=0.3)
    return _svg(figure)


def samples_picture(runs: Sequence[Run], metric: str) -> str | None:
    """The mean of a metric over cases against the number of pairs, a line for each technique and its options.

    None unless something was run with several numbers of pairs.
    """
    own: dict[str, dict[int, list[float]]] = {}
    for run in runs:
        if (value := run.number(metric)) is not None:
            own.setdefault(run.method.split(" [")[0], {}).setdefault(run.record["samples"], []).append(value)
    if not any(len(points) > 1 for points in own.values()):
        return None
    figure, (axis,) = _figure(1, 6.0, 3.6)
    for name, points in own.items():
        places = sorted(points)
        axis.plot(places, [float(np.mean(points[at])) for at in places], marker="o", markersize=3, label=name)
    axis.set(xscale="log", xlabel="pairs of inputs", ylabel=metric)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return _svg(figure)


def _means(numbers: Mapping[str, Mapping[str, Mean]], cases: Sequence[str], method: str) -> list[float]:
    """The method's means in these cases; a baseline may lack some."""
    cells = [numbers[case][method] for case in cases if method in numbers[case]]
    return [mean for cell in cells if (mean := cell["mean"]) is not None]


def _finish(axis: Axes, x: str, y: str, title: str) -> None:
    axis.grid(alpha=0.3)
    axis.set(xlabel=x, ylabel=y, title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8)


def _figure(columns: int, width: float, height: float) -> tuple[Any, Sequence[Axes]]:
    """A figure with its axes in a row; matplotlib's global state is not used."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("plot", "figures") from None
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _svg(figure: Any) -> str:
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
