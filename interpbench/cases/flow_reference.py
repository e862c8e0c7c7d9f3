"""A declarative causal model (`flow.py`) on many inputs at once, and as a `Reference`. NumPy, but for the faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interpbench.cases.flow import NONE, PLACE, TOKEN, Compute, Flow, Look, Table, reads
from interpbench.cases.tokens import Token

if TYPE_CHECKING:
    from torch import Tensor

    from interpbench.graph.circuit import Circuit
    from interpbench.graph.graph import Graph
    from interpbench.transformer.config import Config

Values = np.ndarray
"""Numbers `[row, position]`, `NONE` where there is no value."""


def evaluate(
    flow: Flow, tokens: Values, other: Mapping[str, Values] | None = None, replaced: np.ndarray | None = None
) -> dict[str, Values]:
    """The value of every variable at each position, BOS's first, for token indices `[row, position]` (BOS: `NONE`).

    `replaced`, bool `[variable, row]`, marks the variables that take their values from `other`.
    """
    values: dict[str, Values] = {TOKEN: tokens, PLACE: np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)}
    for i, (node, each) in enumerate(flow.variables.items()):
        found = value_of(each, [values[name] for name, _ in reads(each)])
        if other is not None and replaced is not None:
            found = np.where(replaced[i][:, None], other[node], found)
        values[node] = found
    return values


def votes(flow: Flow, values: Mapping[str, Values]) -> np.ndarray:
    """The votes for each class, or the number, float `[row, position, class]`."""
    counted = np.zeros((*values[TOKEN].shape, flow.classes))
    for node, weight in flow.votes.items():
        counted += weight * (values[node][..., None] == np.arange(flow.classes))
    return counted if flow.numbers is None else counted @ np.array(flow.numbers)[:, None]


def value_of(variable: Look | Compute, inputs: Sequence[Values]) -> Values:
    """The value of a variable, from what it reads, in the order of `reads`."""
    if isinstance(variable, Compute):
        return _look_up(variable.table, inputs, inputs[0].shape)
    carried, fits = _looked(variable, inputs)
    found = np.take_along_axis(carried, fits.argmax(-1), 1)
    return np.where(fits.any(-1), found, NONE)


def is_ambiguous(variable: Look | Compute, inputs: Sequence[Values]) -> bool:
    """Whether a head finds several keys on some input, with different values."""
    if isinstance(variable, Compute):
        return False
    carried, fits = _looked(variable, inputs)
    found = value_of(variable, inputs)[..., None]
    return bool((fits & (carried[:, None, :] != found)).any())


def _looked(variable: Look, inputs: Sequence[Values]) -> tuple[Values, np.ndarray]:
    """What the head carries from each position, and where keys fit, bool `[row, query, key]`."""
    *queries, key, value = inputs
    wanted = _look_up(variable.wanted, queries, key.shape)
    fits = (key[:, None, :] == wanted[..., None]) & (wanted != NONE)[..., None]
    return _look_up(variable.carried, [value], value.shape), fits


def _look_up(table: Table, values: Sequence[Values], shape: tuple[int, ...]) -> Values:
    index = np.zeros(shape, dtype=np.int64)
    for value, size in zip(values, table.sizes, strict=True):
        index = index * (size + 1) + np.where(value == NONE, size, value)
    return np.array(table.entries)[index]


@dataclass(frozen=True, eq=False)
class FlowReference:
    """A `Reference` whose variables are those of a flow; `tokens` is the case's vocabulary, in order of ids."""

    flow: Flow
    tokens: tuple[Token, ...]
    partial = False

    @property
    def variables(self) -> dict[str, tuple[str, ...]]:
        """Every variable has the name of its node."""
        return {node: (node,) for node in self.flow.variables}

    @property
    def classes(self) -> tuple[int, ...] | None:
        """The answer of each logit."""
        return None if self.flow.numbers is not None else tuple(range(self.flow.classes))

    @property
    def subject_config(self) -> Config:
        """Shape of a subject."""
        from interpbench.transformer.config import Config

        outputs = self.flow.classes if self.flow.numbers is None else 1
        sizes = {"n_ctx": self.flow.length + 1, "d_vocab": len(self.tokens), "d_vocab_out": outputs}
        return Config(**sizes, **self.flow.shape)

    @property
    def digest(self) -> str:
        """Hash of the flow."""
        return self.flow.digest

    @property
    def reading_sizes(self) -> dict[str, tuple[int, ...]]:
        """Number of values of each variable."""
        return {node: (self.flow.size(node),) for node in self.flow.variables}

    def circuit(self, graph: Graph) -> Circuit:
        """The flow's edges."""
        from interpbench.graph.circuit import Circuit

        return Circuit(graph, self.flow.edges)

    def outputs(self, tokens: Tensor, source: Tensor | None = None, variable: Tensor | None = None) -> Tensor:
        """Logits or numbers `[row, position, class]`; see `Reference.outputs`."""
        return self.outputs_and_readings(tokens, source, variable)[0]

    def outputs_and_readings(
        self, tokens: Tensor, source: Tensor | None = None, variable: Tensor | None = None
    ) -> tuple[Tensor, dict[str, tuple[Tensor, ...]]]:
        """Outputs, and every variable's values."""
        import torch

        flow = self.flow
        if source is None or variable is None:
            values = evaluate(flow, self._indices(tokens))
        else:
            replaced = variable.cpu().numpy() == np.arange(len(flow.variables))[:, None]
            values = evaluate(flow, self._indices(tokens), evaluate(flow, self._indices(source)), replaced)
        read = {node: np.where(values[node] == NONE, flow.size(node), values[node]) for node in flow.variables}
        counted = torch.from_numpy(votes(flow, values)).float().to(tokens.device)
        return counted, {node: (torch.from_numpy(each).to(tokens.device),) for node, each in read.items()}

    def _indices(self, tokens: Tensor) -> Values:
        """Token indices, `NONE` for BOS and PAD."""
        indices: Any = [token if isinstance(token, int) else NONE for token in self.tokens]
        return np.array(indices)[tokens.cpu().numpy()]
