"""The classes of the edges of a true circuit: which of them an ablation can see. Imports no PyTorch.

A *minimal sufficient circuit* is what backward elimination leaves of the true circuit while everything outside it is
ablated: its edges are tried in a random order, and an edge stays cut if the answers stay, until none that is left can
be cut. Over several orders, an edge is

    core          in every minimal sufficient circuit
    alternative   in some: another way, a copy or a backup, does as well
    dispensable   in none; no method that looks at answers under this ablation can know it
    invisible     dispensable because its writer gives the same in both runs

Definitions of minimal circuits: arXiv 2602.16823; on non-uniqueness: arXiv 2502.20914.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from interpbench.certificate.certificate import THRESHOLD

EdgeClass = Literal["core", "alternative", "dispensable", "invisible"]
EDGE_CLASSES: tuple[EdgeClass, ...] = get_args(EdgeClass)


@dataclass(frozen=True)
class EdgeClasses:
    """Minimal sufficient circuits of a true circuit under one ablation.

    `bare` is the share of answers that stay when everything outside the true circuit is ablated. If it is below the
    threshold, the circuit is not sufficient under this ablation: it has no classes, and the fields after `bare` are
    None. Else `kept[edge]` counts the minimal circuits that hold the edge, out of `orders`; `invisible` are edges whose
    writer gives the same in both runs; `smallest` is the smallest minimal circuit; `together` is the share of answers
    that stay with all core and alternative edges and nothing else.
    """

    ablation: str
    seed: int
    rows: int
    orders: int
    bare: float
    kept: Mapping[str, int] | None = None
    invisible: tuple[str, ...] | None = None
    smallest: tuple[str, ...] | None = None
    together: float | None = None

    @property
    def of_edges(self) -> dict[str, EdgeClass] | None:
        """The class of every true edge; None if the circuit is not sufficient."""
        return None if self.kept is None else {edge: self._class(edge, count) for edge, count in self.kept.items()}

    def _class(self, edge: str, count: int) -> EdgeClass:
        if count:
            return "core" if count == self.orders else "alternative"
        return "invisible" if edge in (self.invisible or ()) else "dispensable"

    def to_json(self) -> dict[str, Any]:
        """The entry of a card; `classes` repeats what follows from `kept`, for readers."""
        return {**vars(self), "threshold": THRESHOLD, "classes": self.of_edges}

    @classmethod
    def from_json(cls, data: Any) -> EdgeClasses:
        """The inverse of `to_json`. Raises ValueError for data of another form."""
        try:
            facts = (str(data["ablation"]), int(data["seed"]), int(data["rows"]), int(data["orders"]))
            bare, kept = float(data["bare"]), data["kept"]
            invisible, smallest, together = data["invisible"], data["smallest"], data["together"]
            if kept is invisible is smallest is together is None:
                return cls(*facts, bare)
            if isinstance(invisible, str) or isinstance(smallest, str):
                raise TypeError("text in place of a list of edges")
            counts = {str(edge): int(count) for edge, count in kept.items()}
            return cls(*facts, bare, counts, tuple(invisible), tuple(smallest), float(together))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the classes of edges: {error!r}") from None
