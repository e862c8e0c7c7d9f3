"""Metrics of a ranking, or of a chosen set, against a true set: plain arrays over any universe.

Rates with a zero denominator are None. Definitions are those of scikit-learn; ties count half.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def _counts(scores: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives for every distinct threshold from above all scores downwards; int `[threshold]`."""
    order = np.argsort(-scores, kind="stable")
    ordered, hit = scores[order], true[order]
    last_of_tie = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    tp = np.cumsum(hit)[last_of_tie]
    return np.append(0, tp), np.append(0, 1 + last_of_tie - tp)


def roc(
    scores: Float[np.ndarray, " n"], true: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " corner"], Float[np.ndarray, " corner"]] | tuple[None, None]:
    """Corners of the ROC curve: false and true positive rates from (0, 0) to (1, 1), one step for a group of ties.

    Points on a straight line between others are left out. None if all are true or none is.
    """
    if true.all() or not true.any():
        return None, None
    tp, fp = _counts(scores, true)
    bend = np.diff(tp[:-1]) * np.diff(fp[1:]) != np.diff(tp[1:]) * np.diff(fp[:-1])
    corner = np.concatenate([[True], bend, [True]])
    return fp[corner] / fp[-1], tp[corner] / tp[-1]


def precision_recall(
    scores: Float[np.ndarray, " n"], true: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " threshold"], Float[np.ndarray, " threshold"]]:
    """Recall and precision at every distinct threshold downwards, after a point of recall 0 and the first precision.

    `average_precision` is the area under this curve as steps, where each precision extends to the previous recall.
    Raises ValueError if none is true.
    """
    if not true.any():
        raise ValueError("none is true: recall is undefined")
    tp, fp = (counts[1:] for counts in _counts(scores, true))
    precision = tp / (tp + fp)
    return np.append(0, tp / tp[-1]), np.append(precision[0], precision)


def auroc(scores: Float[np.ndarray, " n"], true: Bool[np.ndarray, " n"]) -> float | None:
    """Probability that a true one is scored above a false one, ties half; None if all are true or none is."""
    fpr, tpr = roc(scores, true)
    return None if fpr is None or tpr is None else float(np.trapezoid(tpr, fpr))


def average_precision(scores: Float[np.ndarray, " n"], true: Bool[np.ndarray, " n"]) -> float | None:
    """Mean precision over the true ones, each at its own threshold; None if none is true."""
    if not true.any():
        return None
    recall, precision = precision_recall(scores, true)
    return float((np.diff(recall) * precision[1:]).sum())


def rates(chosen: Bool[np.ndarray, " n"], true: Bool[np.ndarray, " n"]) -> dict[str, float | int | None]:
    """Rates of a chosen circuit: true and false positive rate, precision, recall, F1, structural Hamming distance."""
    tp, fp, fn = (int(both.sum()) for both in (chosen & true, chosen & ~true, ~chosen & true))
    tn = len(true) - tp - fp - fn
    return {
        "size": tp + fp,
        "tpr": _share(tp, tp + fn),
        "fpr": _share(fp, fp + tn),
        "precision": _share(tp, tp + fp),
        "recall": _share(tp, tp + fn),
        "f1": _share(2 * tp, 2 * tp + fp + fn),
        "hamming": fp + fn,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
