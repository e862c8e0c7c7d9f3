"""The reference of a case: a causal model with named variables, which a subject is trained to implement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from interpbench.graph.circuit import Circuit
    from interpbench.graph.graph import Graph
    from interpbench.transformer.config import Config


ATOL = 0.05
"""Numerical outputs closer than this count as equal (the published tolerance)."""


@runtime_checkable
class Reference(Protocol):
    """A high-level causal model with named variables, each aligned with nodes of the subject."""

    @property
    def variables(self) -> Mapping[str, tuple[str, ...]]:
        """Every variable, and the subject's nodes (`a1.h2`, `m0`) that carry it."""
        ...

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """The answer that each logit stands for, or None if the output is a number."""
        ...

    @property
    def subject_config(self) -> Config:
        """Shape of a subject that can learn this reference."""
        ...

    @property
    def digest(self) -> str:
        """Hash of what the reference computes; part of every result."""
        ...

    @property
    def reading_sizes(self) -> Mapping[str, Sequence[int]]:
        """Number of classes of each value that `outputs_and_readings` returns; 1 means a number.

        The class for "no value" is not counted. A variable may hold several values, as an MLP may compute several.
        """
        ...

    @property
    def partial(self) -> bool:
        """Whether the answer is undefined at some positions; see `defined`."""
        ...

    def circuit(self, graph: Graph) -> Circuit:
        """The true circuit in a subject's graph, at `edges` granularity, by the alignment."""
        ...

    def outputs(self, tokens: Tensor, source: Tensor | None = None, variable: Tensor | None = None) -> Tensor:
        """Logits (or the number) `[row, position, class]` for encoded inputs `[row, position]`.

        `source` `[row, position]` and `variable` `[row]` (an index into `variables`, or -1 for none) request an
        interchange intervention (arXiv 2112.00826): the variable takes its value from the same row of `source`.
        """
        ...

    def outputs_and_readings(
        self, tokens: Tensor, source: Tensor | None = None, variable: Tensor | None = None
    ) -> tuple[Tensor, Mapping[str, Sequence[Tensor]]]:
        """Outputs, and the values of some variables under the same interchange intervention.

        A value is `[row, position]`: floats, or int64 classes from 0, where the size in `reading_sizes` means no value.
        """
        ...


DEFINED = 0.01
"""Where a compiled program has no answer, all logits are zero, up to leakage through a softmax."""


def defined(reference: Reference, logits: Tensor) -> Tensor:
    """Where a reference's output is an answer; bool `[*, position]` from `[*, position, class]`.

    A program may be undefined at a position (nothing selected, no value): it is neither scored nor trained on there.
    """
    import torch

    if reference.partial:
        return logits.amax(-1) > DEFINED
    return torch.ones(logits.shape[:-1], dtype=torch.bool, device=logits.device)


def same_answers(logits: Tensor, target: Tensor) -> Tensor:
    """Where answers agree; bool `[*, position]` from two `[*, position, class]` (one class: a number)."""
    if logits.shape[-1] == 1:
        return (logits - target).squeeze(-1).abs() < ATOL
    return logits.argmax(-1) == target.argmax(-1)
