"""What is planted: for each property a function that draws a causal model which has it, at a level from 1 to 3.

Tokens are numbers and point at positions. What differs between properties is what a technique could miss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from interpbench.cases.flow import PLACE, TOKEN, Draw, Flow
from interpbench.properties.property import Property
from interpbench.properties.sketch import VOTE, Sketch

if TYPE_CHECKING:
    import numpy as np


def most(*values: int | None) -> int | None:
    """The value that most have; of several the smallest; None if none has one."""
    there = [value for value in values if value is not None]
    return min(there, key=lambda value: (-there.count(value), value)) if there else None


def total(size: int) -> Callable[..., int | None]:
    """The sum modulo `size`, None if a summand is missing."""
    return lambda *values: None if None in values else sum(values) % size


def _depth(level: int, rng: np.random.Generator) -> Flow:
    sketch, value = Sketch(rng), TOKEN
    for _ in range(2 * level):
        value = sketch.pointed_at(value)
    return sketch.finish(value, sketch.vocab)


def _agreed(sketch: Sketch, count: int, hops: int = 1) -> tuple[str, Draw]:
    """The majority of chains of heads that start at positions whose tokens are the same."""
    places = sorted(sketch.rng.permutation(sketch.length)[:count].tolist())
    chains = []
    for place in places:
        value = sketch.standing_at(place)
        for _ in range(hops - 1):
            value = sketch.pointed_at(value)
        chains.append(value)
    return sketch.compute(chains, sketch.vocab, most), Draw(copies=(tuple(places),))


def _redundancy(level: int, rng: np.random.Generator) -> Flow:
    sketch = Sketch(rng, heads=4 if level < 3 else 6)
    agreed, draw = _agreed(sketch, 3 if level < 3 else 5)
    other = TOKEN if level > 1 else sketch.earlier(sketch.some(1)[0])
    value = sketch.compute((agreed, other), sketch.vocab, total(sketch.vocab))
    return sketch.finish(value if level == 1 else sketch.pointed_at(value), sketch.vocab, draw)


def _paths(level: int, rng: np.random.Generator) -> Flow:
    count, hops = ((3, 2), (3, 3), (5, 2))[level - 1]
    sketch = Sketch(rng, heads=max(4, count))
    agreed, draw = _agreed(sketch, count, hops)
    other = sketch.earlier(sketch.some(1)[0])
    return sketch.finish(sketch.compute((agreed, other), sketch.vocab, total(sketch.vocab)), sketch.vocab, draw)


def _relay(level: int, rng: np.random.Generator) -> Flow:
    count = 3 if level < 3 else 5
    sketch, draw = Sketch(rng, heads=4 if level < 3 else 6), None
    if level > 1:
        found, draw = _agreed(sketch, 3)
    else:
        found = sketch.earlier(sketch.some(1)[0])
    pointer = sketch.compute((found, TOKEN), sketch.vocab, total(sketch.vocab))
    found = sketch.compute([sketch.pointed_at(pointer) for _ in range(count)], sketch.vocab, most)
    return sketch.finish(found, sketch.vocab, draw)


def _backup(level: int, rng: np.random.Generator) -> Flow:
    sketch = Sketch(rng)
    by, instead = sketch.some(2)
    lost, share = int(rng.integers(sketch.vocab)), (0.125, 0.06, 0.03)[level - 1]
    first, second = sketch.earlier(by), sketch.earlier(instead)
    pointer = sketch.compute((first, second), sketch.vocab, lambda x, y: y if x in (lost, None) else x)
    value = pointer if level == 1 else sketch.pointed_at(pointer)
    return sketch.finish(value, sketch.vocab, Draw(rare=tuple((i, lost, share) for i in range(sketch.length))))


def _gate(level: int, rng: np.random.Generator) -> Flow:
    sketch = Sketch(rng)
    half = sketch.vocab // 2
    heads = [sketch.earlier(by, carried=lambda t: int(t >= half), size=2) for by in sketch.some(max(2, level))]

    def opened(*bits: int | None) -> int | None:
        there = [bit for bit in bits if bit is not None]
        if len(there) < len(bits):
            return None
        return min(there) if level == 1 else sum(there) % 2

    return sketch.finish(sketch.compute(heads, 2, opened), 2)


def _branch(level: int, rng: np.random.Generator) -> Flow:
    sketch = Sketch(rng)
    place, flag = int(rng.integers(sketch.length)), int(rng.integers(sketch.vocab))
    signal = sketch.standing_at(place, carried=lambda t: int(t == flag), size=2)
    usual, seldom = map(sketch.earlier, sketch.some(2))
    chosen = sketch.compute((signal, usual, seldom), sketch.vocab, lambda s, u, r: r if s else u)
    share = (0.08, 0.04, 0.02)[level - 1]
    return sketch.finish(sketch.pointed_at(chosen), sketch.vocab, Draw(rare=((place, flag, share),)))


def _sign(level: int, rng: np.random.Generator) -> Flow:
    sketch = Sketch(rng)
    half = sketch.vocab // 2
    by, *others = sketch.some(level + 1)
    size = sketch.earlier(by, carried=lambda t: t // 2, size=half)
    signs = [sketch.earlier(each, carried=lambda t: t % 2, size=2) for each in others]

    def signed(number: int | None, *odd: int | None) -> int | None:
        there = [each for each in odd if each is not None]
        return None if number is None or len(there) < len(odd) else number + half * (sum(there) % 2)

    value = sketch.compute((size, *signs), sketch.vocab, signed)
    numbers = [*(1.0 + i for i in range(half)), *(-1.0 - i for i in range(half))]
    return sketch.finish({value: 1.0}, sketch.vocab, numbers=numbers)


def _scale(level: int, rng: np.random.Generator) -> Flow:
    sketch = Sketch(rng)
    by, *others = sketch.some(1 + level)
    large = sketch.earlier(by)
    small = {sketch.earlier(each, carried=lambda t: t % 2, size=2): 0.5**i for i, each in enumerate(others, 1)}
    return sketch.finish({large: 1.0, **small}, sketch.vocab, numbers=[float(i) for i in range(sketch.vocab)])


def _negative(level: int, rng: np.random.Generator) -> Flow:
    sketch = Sketch(rng)
    *heads, against = map(sketch.earlier, sketch.some(level + 1))
    own = sketch.compute((TOKEN,), sketch.vocab, lambda t: t)
    votes = {own: 0.7 * VOTE} | {head: VOTE + i for i, head in enumerate(heads)} | {against: -2.0 * VOTE}
    return sketch.finish(votes, sketch.vocab)


def _digits(level: int, rng: np.random.Generator) -> Flow:
    sketch = Sketch(rng)
    units = ((1, 4), (4, 2)) if level < 3 else ((1, 2), (2, 2), (4, 2))
    by = sketch.some(1)[0]
    heads = [sketch.earlier(by, carried=lambda t, u=unit, n=size: t // u % n, size=size) for unit, size in units]

    def whole(*parts: int) -> int:
        return sum(part * unit for part, (unit, _) in zip(parts, units, strict=True))

    if level == 1:
        joined = sketch.compute(heads, sketch.vocab, lambda *d: None if None in d else whole(*d))
        return sketch.finish(sketch.pointed_at(joined), sketch.vocab)
    return sketch.finish(sketch.look(heads, lambda *d: whole(*d) + 1, PLACE, TOKEN), sketch.vocab)


def _keys(level: int, rng: np.random.Generator) -> Flow:
    """Every token comes once, so that a head that looks for a token finds one place."""
    sketch = Sketch(rng)
    by, *more = sketch.some(level)
    marked = sketch.earlier(by)
    if level == 3:
        order = sketch.rng.permutation(sketch.vocab).tolist()
        marked = sketch.compute((marked,), sketch.vocab, lambda t: None if t is None else order[t])
    found = sketch.look(TOKEN, lambda t: t, marked, TOKEN)
    value = found if level == 1 else sketch.look(found, lambda t: t, TOKEN, sketch.earlier(more[0]))
    return sketch.finish(value, sketch.vocab, Draw(distinct=True))


def _shares(level: int, rng: np.random.Generator) -> Flow:
    """With 3, 5 or 7 heads."""
    count = 1 + 2 * level
    sketch = Sketch(rng, heads=max(4, count))
    half = sketch.vocab // 2
    heads = [sketch.earlier(by, carried=lambda t: int(t >= half), size=2) for by in sketch.some(count)]
    return sketch.finish(sketch.compute(heads, 2, most), 2)


def _late(level: int, rng: np.random.Generator) -> Flow:
    flow = _redundancy(2, rng)
    return replace(flow, shape={**flow.shape, "n_layers": flow.shape["n_layers"] + level})


def _crowd(level: int, rng: np.random.Generator) -> Flow:
    flow = _redundancy(max(2, level), rng)
    return replace(flow, shape={**flow.shape, "d_model": (40, 32, 40)[level - 1]})


def _wide(level: int, rng: np.random.Generator) -> Flow:
    heads, layers = ((6, 4), (8, 4), (8, 5))[level - 1]
    sketch = Sketch(rng, heads=heads)
    agreed, draw = _agreed(sketch, 3)
    pointer = sketch.compute((agreed, TOKEN), sketch.vocab, total(sketch.vocab))
    value = sketch.pointed_at(sketch.pointed_at(pointer))
    return sketch.finish(value, sketch.vocab, draw, layers=layers, d_model=72, d_mlp=288)


def _norm(level: int, rng: np.random.Generator) -> Flow:
    """Under each norm: of the majority upstream of a query, of the parity of three, of four hops."""
    flow = (_redundancy(2, rng), _gate(3, rng), _depth(2, rng))[level - 1]
    return replace(flow, shape={**flow.shape, "normalization_type": "LN"})


def _property(
    name: str, make: Callable[[int, np.random.Generator], Flow], what: str, aimed_at: str, *levels: str
) -> Property:
    return Property(name, what, aimed_at, levels, make)


PROPERTIES = (
    _property(
        "depth",
        _depth,
        "pointers followed one after another",
        "everything: effects shrink or saturate over many layers",
        *("2 hops", "4 hops", "6 hops"),
    ),
    _property(
        "redundancy",
        _redundancy,
        "heads that carry the same, and a majority of them",
        "effects of one edge; searches that drop one",
        *("3 heads, added to the answer", "3 heads upstream of a query", "5 heads upstream of a query"),
    ),
    _property(
        "paths",
        _paths,
        "whole paths that carry the same, and a majority of them",
        "effects of one edge; searches that drop a path",
        *("3 paths of 2 heads", "3 paths of 3", "5 paths of 2"),
    ),
    _property(
        "relay",
        _relay,
        "a hop that heads make in the same way, and a majority of them",
        "effects of one edge; searches that drop one",
        *("3 heads", "3 heads, after a majority of copies", "5 heads, after a majority of copies"),
    ),
    _property(
        "backup",
        _backup,
        "a second head speaks where the first finds nothing",
        "effects of one edge, means over inputs",
        *("on 12 % of inputs, at the answer", "on 6 %, upstream of a query", "on 3 %, upstream of a query"),
    ),
    _property(
        "gate",
        _gate,
        "heads that only matter together",
        "first-order scores, one direction of patching",
        *("both of two", "one of two, not both", "the parity of three"),
    ),
    _property(
        "branch",
        _branch,
        "a path that few inputs take",
        "small samples, means over inputs",
        *("8 % of inputs", "4 %", "2 %"),
    ),
    _property(
        "sign",
        _sign,
        "a number whose sign other heads decide",
        "scores summed over rows before the absolute value",
        *("one head", "two heads", "three heads"),
    ),
    _property(
        "scale",
        _scale,
        "a number whose small parts other heads carry",
        "losses of which a small part is too little to see",
        *("a half", "a half and a quarter", "down to an eighth"),
    ),
    _property(
        "negative",
        _negative,
        "a head that votes against what others vote for",
        "signed scores, circuits chosen by faithfulness",
        *("against two", "against three", "against four"),
    ),
    _property(
        "digits",
        _digits,
        "a pointer carried by several heads, a digit each",
        "scores of single nodes",
        *("two heads, joined by an MLP", "two heads read by one query", "three heads read by one query"),
    ),
    _property(
        "keys",
        _keys,
        "heads that look for a value that another head has put there",
        "attributions to keys",
        *("a shifted key", "a second look", "a key that an MLP computes"),
    ),
    _property(
        "shares",
        _shares,
        "heads that each decide a little",
        "effects near zero, thresholds",
        *("majority of 3", "of 5", "of 7"),
    ),
    _property(
        "late",
        _late,
        "layers after the answer, which read it and are not read",
        "norms, decoys that correlate with the answer",
        *("1 layer", "2 layers", "3 layers"),
    ),
    _property(
        "crowd",
        _crowd,
        "variables in few dimensions",
        "norms, effects of what lies near in the stream",
        *("40 dimensions", "32", "40, with 5 heads that carry the same"),
    ),
    _property(
        "wide",
        _wide,
        "a small circuit in a large graph",
        "cost, and false edges",
        *("4 layers of 6 heads", "4 layers of 8", "5 layers of 8"),
    ),
    _property(
        "norm",
        _norm,
        "layer norms before every reader",
        "gradients through the norm; loud nodes outside",
        *("redundancy at a query", "the parity of three", "4 hops"),
    ),
)
"""Those of core, in the order of the tables."""
