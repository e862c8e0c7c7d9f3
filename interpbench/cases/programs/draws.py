"""Inputs for cases that random ones would nearly always answer alike.

`half(vocab, length, change)` draws half of the inputs changed so that the rare answer holds, a quarter that miss it by
one token, and a quarter at random. A change maps vocabulary indices `[row, position]` to such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from interpbench.cases.tokens import Inputs, Token

if TYPE_CHECKING:
    import numpy as np

    Ids = np.ndarray
    Change = Callable[[np.random.Generator, Ids], Ids]


def half(vocab: Sequence[Token], length: int, change: Change) -> Callable[[np.random.Generator, int], Inputs]:
    """Draw inputs of `length` tokens, half of them changed."""

    def draw(rng: np.random.Generator, n: int) -> Inputs:
        import numpy as np

        ids = rng.integers(len(vocab), size=(n, length))
        changed = change(rng, ids)
        missed = changed.copy()
        missed[np.arange(n), rng.integers(length, size=n)] = rng.integers(len(vocab), size=n)
        kind = rng.random((n, 1))
        rows = np.where(kind < 0.5, changed, np.where(kind < 0.75, missed, ids))
        return [tuple(vocab[i] for i in row) for row in rows.tolist()]

    return draw


def in_order(rng: np.random.Generator, ids: Ids) -> Ids:
    """Ascending."""
    import numpy as np

    return np.sort(ids, 1)


def in_reverse_order(rng: np.random.Generator, ids: Ids) -> Ids:
    """Descending."""
    return in_order(rng, ids)[:, ::-1]


def mirrored(rng: np.random.Generator, ids: Ids) -> Ids:
    """The same from both ends."""
    import numpy as np

    positions = np.arange(ids.shape[1])
    return ids[:, np.minimum(positions, positions[::-1])]


def all_the_same(rng: np.random.Generator, ids: Ids) -> Ids:
    """One token at every position."""
    return ids[:, :1].repeat(ids.shape[1], 1)


def all_different(rng: np.random.Generator, ids: Ids) -> Ids:
    """No token twice, among the first eleven of the vocabulary."""
    import numpy as np

    return np.argsort(rng.random((len(ids), 11)), 1)[:, : ids.shape[1]]


def last_two_the_same(rng: np.random.Generator, ids: Ids) -> Ids:
    """The last token twice."""
    import numpy as np

    return np.concatenate([ids[:, :-1], ids[:, -2:-1]], 1)


def all_even(rng: np.random.Generator, ids: Ids) -> Ids:
    """Even indices only."""
    return ids // 2 * 2


def even_and_odd_in_turn(rng: np.random.Generator, ids: Ids) -> Ids:
    """Even and odd indices below eleven in turn, beginning with either."""
    import numpy as np

    odd = (np.arange(ids.shape[1]) + rng.integers(2, size=(len(ids), 1))) % 2
    return np.where(odd, 2 * (ids % 5) + 1, 2 * (ids % 6))


def with_the_first_three(rng: np.random.Generator, ids: Ids) -> Ids:
    """The first three tokens of the vocabulary one after another, somewhere."""
    import numpy as np

    place = rng.integers(ids.shape[1] - 2, size=(len(ids), 1)) + np.arange(3)
    changed = ids.copy()
    np.put_along_axis(changed, place, np.broadcast_to(np.arange(3), place.shape), 1)
    return changed


def in_balance(rng: np.random.Generator, ids: Ids) -> Ids:
    """Every bracket of `( ) x { }` closed after it was opened, nested or crossed; `x` elsewhere."""
    import numpy as np

    rows, length = ids.shape
    ends = np.sort(np.argsort(rng.random(ids.shape), 1)[:, : length // 2 * 2].reshape(rows, -1, 2), 2)
    kind = rng.integers(2, size=ends.shape[:2])[..., None] * 3 + np.arange(2)
    used = np.arange(ends.shape[1]) < rng.integers(ends.shape[1] + 1, size=(rows, 1))
    changed = np.full(ids.shape, 2)
    np.put_along_axis(changed, ends.reshape(rows, -1), np.where(used[..., None], kind, 2).reshape(rows, -1), 1)
    return changed
