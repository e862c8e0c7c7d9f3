"""Rules for going back through a transformer: gradients, or what other methods propagate in their place.

The forward pass is the same under all rules. What differs is what a gradient is: attribution by relevance (RelP, arXiv
2508.21258) holds constant what is not linear; GIM (arXiv 2505.17630) undoes what softmax and products do to gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rules:
    """What to hold constant, and what to change, on the way back; by default nothing.

    `constant_norm`: the deviation that a norm divides by. `linear_activation`: the ratio of an activation's output to
    its input. `constant_pattern`: what a head attends to. `temperature`: that of the softmax whose gradient is taken.
    `product`: factor on the gradients of both factors of a product (query and key, pattern and value).
    """

    constant_norm: bool = False
    linear_activation: bool = False
    constant_pattern: bool = False
    temperature: float = 1.0
    product: float = 1.0

    @property
    def exact_attention(self) -> bool:
        """Whether attention goes back as gradients do."""
        return not self.constant_pattern and self.temperature == self.product == 1


EXACT = Rules()
RELP = Rules(constant_norm=True, linear_activation=True, constant_pattern=True)
"""Rules of RelP for norms, activations and attention."""
GIM = Rules(constant_norm=True, temperature=2.0, product=0.5)
"""Rules of GIM: frozen norms, a softer softmax, and gradients shared between the factors of products."""


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """The same value, whose gradient is multiplied by a factor."""
    return x if factor == 1 else x * factor + (x * (1 - factor)).detach()


def activation(rules: Rules, act: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`act(x)`, under the rules."""
    out = act(x)
    if not rules.linear_activation:
        return out
    ratio = torch.where(x.abs() > 1e-6, out / torch.where(x == 0, 1, x), 0.5)
    return x * ratio.detach() + (out - x * ratio).detach()


def pattern(rules: Rules, scores: Tensor, dim: int) -> Tensor:
    """Softmax of attention scores over `dim`, under the rules."""
    out = scores.softmax(dim)
    if rules.constant_pattern:
        return out.detach()
    if rules.temperature == 1:
        return out
    soft = (scores / rules.temperature).softmax(dim)
    return out.detach() + soft - soft.detach()
