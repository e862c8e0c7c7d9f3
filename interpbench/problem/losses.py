"""The losses that a problem offers: means over scored positions, lower being nearer to the full model.

    kl          KL(full model || circuit)                                                 categorical
    ce          cross-entropy of the clean answer                                         categorical
    logit-diff  minus (logit of the clean answer - logit of the corrupted answer)         categorical
    shift       (output - clean answer) * (corrupted answer - clean answer)               numerical
    mse, mae    squared, absolute error to the full model's output                        both
    label       cross-entropy of, absolute error to the program's answer                  both, if labels are given

The clean and the corrupted answer are the full model's, on the clean and on the corrupted input. At the full model
`kl`, `mse` and `mae` have their minimum, so their gradient there is zero or, for `mae`, undefined. Techniques that take
gradients at the full model use `logit-diff` or `shift`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

Output = Literal["categorical", "numerical"]


Loss = Literal["kl", "ce", "logit-diff", "shift", "mse", "mae", "label"]


LOSSES: Mapping[Output, tuple[Loss, ...]] = {
    "categorical": ("kl", "ce", "logit-diff", "mse", "mae", "label"),
    "numerical": ("shift", "mse", "mae", "label"),
}


@dataclass(frozen=True, eq=False)
class Answers:
    """Logits (or numbers) at scored positions to compare with: the full model's on both inputs, and the program's."""

    output: Output
    clean: Float[Tensor, "scored out"]
    corrupted: Float[Tensor, "scored out"]
    labels: Float[Tensor, "scored out"] | None


def mean_loss(logits: Float[Tensor, "*circuit scored out"], kind: Loss, answers: Answers) -> Float[Tensor, "*circuit"]:
    """Mean loss over scored positions, per circuit; differentiable. `kind` must be one that the answers allow."""
    clean, corrupted = answers.clean, answers.corrupted
    right = answers.labels if kind == "label" and answers.labels is not None else clean
    match kind:
        case "kl":
            log_p = clean.log_softmax(-1)
            each = (log_p.exp() * (log_p - logits.log_softmax(-1))).sum(-1)
        case "ce" | "label" if answers.output == "categorical":
            each = logits.logsumexp(-1) - _of_answer(logits, right)
        case "logit-diff":
            each = _of_answer(logits, corrupted) - _of_answer(logits, clean)
        case "shift":
            each = ((logits - clean) * (corrupted - clean)).squeeze(-1)
        case "mse":
            each = (logits - clean).square().mean(-1)
        case _:
            each = (logits - right).abs().mean(-1)
    return each.mean(-1)


def _of_answer(logits: Tensor, answers: Tensor) -> Float[Tensor, "*circuit scored"]:
    """The logit of the class that `answers`, `[scored, out]`, rank first."""
    return logits.gather(-1, answers.argmax(-1, keepdim=True).expand(*logits.shape[:-1], 1)).squeeze(-1)
