"""Drawing a causal model: variables one after another, each put at a node that is free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interpbench.cases.flow import PLACE, TOKEN, Compute, Draw, Flow, Look, Table
from interpbench.graph.names import head_name, is_head, layer_and_head, mlp_name

if TYPE_CHECKING:
    import numpy as np

SIZES = {"d_model": 48, "d_head": 12, "d_mlp": 192}
"""Widths of a subject with four heads."""

VOTE = 10.0
"""Logit of the answer."""


@dataclass(eq=False)
class Sketch:
    """A model in the making, over `vocab` tokens and inputs of `length`.

    A head stands in the first layer after what it reads, an MLP in the first that has none yet, not before the heads it
    reads. Which of the free heads of a layer it is, the generator decides.
    """

    rng: np.random.Generator
    vocab: int = 8
    length: int = 8
    heads: int = 4
    variables: dict[str, Look | Compute] = field(default_factory=dict)

    def look(
        self,
        query: str | Sequence[str],
        wanted: Callable[..., int | None],
        key: str,
        value: str,
        carried: Callable[[int], int] | None = None,
        size: int = 0,
    ) -> str:
        """A head that takes the `value` where the `key` is `wanted` of the query's values; returns its node.

        Without a query it looks at the same key from everywhere.

        What it takes is `carried` of the value, one of `size` numbers (default: the value itself).
        """
        names = (query,) if isinstance(query, str) else tuple(query)
        table = Table.of([self.size(name) for name in names], self.size(key), _if_all(wanted))
        of_value = self.size(value)
        moved = Table.of([of_value], size or of_value, _if_all(carried or int))
        layer = max(self._after(name) for name in (*names, key, value))
        while not (free := [h for h in range(self.heads) if head_name(layer, h) not in self.variables]):
            layer += 1
        return self._put(head_name(layer, int(self.rng.choice(free))), Look(names, table, key, value, moved))

    def compute(self, inputs: Sequence[str], size: int, function: Callable[..., int | None]) -> str:
        """An MLP that computes a function of `inputs`, each None where there is no value; returns its node."""
        layer = max(self._after(name) - is_head(name) for name in inputs)
        while mlp_name(layer) in self.variables:
            layer += 1
        table = Table.of([self.size(name) for name in inputs], size, function)
        return self._put(mlp_name(layer), Compute(tuple(inputs), table))

    def earlier(self, by: int, value: str = TOKEN, **carried: Any) -> str:
        """A head that takes the value `by` positions earlier, round the end of the input; `carried`: see `look`."""
        return self.look(PLACE, lambda i: (i - 1 - by) % self.length + 1 if i else None, PLACE, value, **carried)

    def standing_at(self, position: int, value: str = TOKEN, **carried: Any) -> str:
        """A head that takes the value at one position (from 0, without BOS)."""
        return self.look((), lambda: position + 1, PLACE, value, **carried)

    def pointed_at(self, pointer: str, value: str = TOKEN, **carried: Any) -> str:
        """A head that takes the value at the position that another value names (from 0, without BOS)."""
        return self.look(pointer, lambda p: p % self.length + 1, PLACE, value, **carried)

    def some(self, count: int) -> list[int]:
        """As many different distances between positions."""
        return (1 + self.rng.permutation(self.length - 1))[:count].tolist()

    def size(self, name: str) -> int:
        """Number of values of a variable, of the tokens or the positions."""
        return self._flow({}, 1, {}).size(name)

    def finish(
        self,
        votes: str | Mapping[str, float],
        classes: int,
        draw: Draw | None = None,
        numbers: Sequence[float] | None = None,
        layers: int = 0,
        **shape: Any,
    ) -> Flow:
        """The model whose answer these variables vote for.

        The subject has `layers` layers, by default one more than the model needs.
        """
        weights = {votes: VOTE} if isinstance(votes, str) else dict(votes)
        used = 1 + max(layer_and_head(node)[0] for node in self.variables)
        sizes = {"n_layers": layers or used + 1, "n_heads": self.heads, **SIZES}
        return self._flow(weights, classes, sizes | shape, draw or Draw(), None if numbers is None else tuple(numbers))

    def _flow(self, *facts: Any) -> Flow:
        return Flow(self.vocab, self.length, dict(self.variables), *facts)

    def _put(self, node: str, variable: Look | Compute) -> str:
        self.variables[node] = variable
        return node

    def _after(self, name: str) -> int:
        """The first layer whose heads can read a value."""
        return 0 if name in (TOKEN, PLACE) else layer_and_head(name)[0] + 1


def _if_all(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """None where any argument is None."""
    return lambda *values: None if None in values else function(*values)
