"""Indirect object identification (arXiv 2211.00593) in a closed vocabulary, with a hand-written reference.

"When Mary and John got a ring at the park, John gave it to" is answered by "Mary". Names stand at the same places in
all templates, and no other word occurs twice in a sentence: a token seen before is always the repeated name.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from interpbench.cases.case import Case
from interpbench.cases.tokens import BOS, Inputs, Token

if TYPE_CHECKING:
    import numpy as np

NAMES = tuple(
    """
    Aaron Adam Alan Alex Alice Amy Anna Ben Brian Carl Chris Clara Craig Daniel David Diana Edward Ellen Emma Eric
    Frank Fred George Grace Greg Hannah Helen Henry Ian Jack Jacob James Jane Jason John Kate Kevin Kim Laura Leon
    Linda Lucy Mark Martin Mary Matt Max Nora Oscar Patrick Paul Peter Rachel Robert Rose Sam Sarah Simon Steve
    Tom
    """.split()
)
PLACES = tuple("park school store house garden station office beach kitchen library hospital restaurant".split())
OBJECTS = tuple("ring book ball letter drink basket kiss bone computer necklace snack guitar".split())
TEMPLATES = tuple(
    template.split()
    for template in (
        "When {0} and {1} got a {object} at the {place} , {2} gave it to",
        "Then {0} and {1} bought a {object} near the {place} . {2} handed it to",
        "After {0} and {1} found a {object} in the {place} , {2} passed it to",
        "While {0} and {1} carried a {object} from the {place} , {2} offered it to",
    )
)
LENGTH = 15
_WORDS = {word for template in TEMPLATES for word in template if not word.startswith("{")}
VOCAB: tuple[str, ...] = (*sorted(_WORDS), *NAMES, *PLACES, *OBJECTS)

GPT2_IDS = tuple(
    int(number)
    for number in """
    11 13 12139 7244 3260 12246 4422 14862 14235 11735 50256 3932 8403 8124 5180 27443 13854 7806 3271 25752
    10443 23811 18966 7651 5278 8559 4502 16156 8547 26013 22695 8616 12930 3619 12806 3700 12091 8982 1757
    16693 7939 6502 16753 10592 21776 22162 2940 5780 5335 4705 5436 32561 15694 9925 3362 5613 15984 5199 8049
    3409 10490 11288 6542 6423 4186 2215 3633 257 290 379 2613 7988 10481 9970 1492 5839 5281 3644 4144 1043 422
    11376 2921 1392 10047 10158 4436 2156 287 340 9245 9592 3850 5888 1474 38987 4438 2607 3952 3804 7072 5858
    1524 26906 4429 3650 262 284
    """.split()
)
"""Our tokens, in order, in GPT-2's vocabulary, which published subjects speak: each is a single token there (words
inside a sentence with the blank before them, BOS as end of text).
"""

NAME_LOGIT, SUPPRESSED_LOGIT = 10.0, -15.0


def draw(rng: np.random.Generator, n: int) -> Inputs:
    """Sentences in both orders (ABBA: the second name is repeated; BABA: the first)."""
    import numpy as np

    template, repeated = rng.integers(len(TEMPLATES), size=n), rng.integers(2, size=n)
    names = np.argsort(rng.random((n, len(NAMES))), axis=1)[:, :2]
    place, thing = rng.integers(len(PLACES), size=n), rng.integers(len(OBJECTS), size=n)
    return [
        _fill(TEMPLATES[t], (NAMES[a], NAMES[b], NAMES[(a, b)[r]]), PLACES[p], OBJECTS[o])
        for t, r, (a, b), p, o in zip(template, repeated, names, place, thing, strict=True)
    ]


def _fill(template: Sequence[str], names: Sequence[str], place: str, thing: str) -> tuple[str, ...]:
    return tuple(word.format(*names, place=place, object=thing) for word in template)


def abc(rng: np.random.Generator, inputs: Inputs) -> Inputs:
    """The same sentences with three names that differ from each other and from the sentence's own."""
    import numpy as np

    fresh = np.argsort(rng.random((len(inputs), len(NAMES))), axis=1)[:, :5]
    corrupted = []
    for sentence, candidates in zip(inputs, fresh, strict=True):
        names = iter([NAMES[i] for i in candidates if NAMES[i] not in sentence])
        corrupted.append(tuple(next(names) if word in _NAME_SET else word for word in sentence))
    return corrupted


_NAME_SET = frozenset(NAMES)


# The reference says which variable reads which, not whether as query, key or value: all three count.
_READS = (
    *(("m0", "a1.h1"), ("m0", "a2.h1"), ("m0", "a4.h1")),
    *(("a1.h1", "a2.h1"), ("a2.h1", "a4.h1")),
)


class IoiReference:
    """A causal model of four variables: token, where it stood before, what to suppress, the logits of names.

    `tokens`: the token at every position. `duplicate`: the position where the same token stood first, or -1.
    `s_inhibition`: at a duplicate, the token found there, or -1. `name_mover`: logits, +10 for every name seen so far
    and -15 for every suppressed token, accumulated over positions.
    """

    partial = False
    variables = {
        "tokens": ("m0",),
        "duplicate": ("a1.h1",),
        "s_inhibition": ("a2.h1",),
        "name_mover": ("a4.h1",),
    }
    edges = (
        *("embed->m0", "pos->m0"),
        *(f"{writer}->{head}<{x}>" for writer, head in _READS for x in "qkv"),
        "a4.h1->logits",
    )

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        from interpbench.transformer.config import Config

        self.classes = tokens
        self.names = [i for i, token in enumerate(tokens) if token in _NAME_SET]
        self.subject_config = Config(
            n_layers=6,
            n_heads=4,
            d_model=64,
            d_head=16,
            d_mlp=256,
            n_ctx=LENGTH + 1,
            d_vocab=len(tokens),
            d_vocab_out=len(tokens),
            act_fn="gelu",
            attention_dir="causal",
            normalization_type="LNPre",
        )
        facts = repr((tokens, TEMPLATES, NAME_LOGIT, SUPPRESSED_LOGIT, self.variables, self.edges))
        self.digest = hashlib.sha256(facts.encode()).hexdigest()[:16]

    def circuit(self, graph: Any) -> Any:
        """The true circuit: where the values of the variables flow."""
        from interpbench.graph.circuit import Circuit

        return Circuit(graph, frozenset(self.edges))

    @property
    def reading_sizes(self) -> dict[str, tuple[int, ...]]:
        """The place of an earlier same token, and the token to suppress."""
        return {"duplicate": (LENGTH + 1,), "s_inhibition": (len(self.classes),)}

    def outputs(self, tokens: Any, source: Any = None, variable: Any = None, where: Any = None) -> Any:
        """Logits `[row, position, token]`; see `Reference.outputs`."""
        return self._under(tokens, source, variable, where)[-1]

    def outputs_and_readings(
        self, tokens: Any, source: Any = None, variable: Any = None, where: Any = None
    ) -> tuple[Any, dict[str, tuple[Any, ...]]]:
        """The same, and the values that `reading_sizes` names."""
        import torch

        values = self._under(tokens, source, variable, where)
        every, sizes = dict(zip(self.variables, values, strict=True)), self.reading_sizes.items()
        return values[-1], {name: (torch.where(every[name] < 0, size, every[name]),) for name, (size,) in sizes}

    def _under(self, tokens: Any, source: Any, variable: Any, where: Any) -> list[Any]:
        """Values of the variables, under an interchange if there is one."""
        import torch

        source = tokens if source is None else source
        variable = torch.full(tokens.shape[:1], -1) if variable is None else variable
        where = torch.ones(tokens.shape, dtype=torch.bool) if where is None else where
        other = self._values(source, [None] * len(self.variables), variable, where)
        return self._values(tokens, other, variable, where)

    def _values(self, tokens: Any, other: Sequence[Any], variable: Any, where: Any) -> list[Any]:
        """Values of the variables in order, each replaced by `other`'s on the rows that name it."""
        import torch

        values: list[Any] = []

        def put(value: Any) -> Any:
            i = len(values)
            if other[i] is not None:
                here = (variable == i)[:, None] & where
                value = torch.where(here.view(*here.shape, *[1] * (value.ndim - 2)), other[i], value)
            values.append(value)
            return value

        token = put(tokens)
        same = token.unsqueeze(-1) == token.unsqueeze(-2)
        first = same.int().argmax(-1)
        here = torch.arange(token.shape[-1])
        duplicate = put(torch.where(first < here, first, -1))
        found = token.gather(-1, duplicate.clamp(min=0))
        suppressed = put(torch.where(duplicate >= 0, found, -1))
        put(self._name_logits(token, suppressed))
        return values

    def _name_logits(self, token: Any, suppressed: Any) -> Any:
        """`[row, position, token]`: up to each position, the logits of names seen and of tokens suppressed."""
        import torch

        logits = torch.zeros(*token.shape, len(self.classes))
        is_name = torch.isin(token, torch.tensor(self.names))
        logits.scatter_(-1, token.unsqueeze(-1), NAME_LOGIT * is_name.unsqueeze(-1))
        penalty = SUPPRESSED_LOGIT * (suppressed >= 0).unsqueeze(-1)
        logits.scatter_add_(-1, suppressed.clamp(min=0).unsqueeze(-1), penalty.float())
        return logits.cumsum(-2)


def answer(tokens: Sequence[Token]) -> list[Any]:
    """The indirect object at the last position: the first name that is not repeated; None elsewhere."""
    seen = [token for token in tokens if token in _NAME_SET]
    single = [name for name in seen if seen.count(name) == 1]
    return [None] * (len(tokens) - 1) + [single[0] if single else None]


def _case(name: str, description: str, next_token: bool) -> Case:
    @functools.cache
    def reference() -> IoiReference:
        return IoiReference(case.tokens)

    case = Case(
        name=name,
        description=description,
        output="categorical",
        vocab=VOCAB,
        max_length=LENGTH,
        min_length=LENGTH,
        program=answer,
        reference=reference,
        draw=draw,
        counterfactual=abc,
        scored="last",
        next_token=next_token,
        special=(BOS,),
        published_ids=GPT2_IDS,
    )
    return case


ioi = _case("ioi", "Who is given the object: the name that is not repeated, at the last position.", next_token=False)
ioi_next_token = _case(
    "ioi_next_token",
    "As ioi, in a language model: every next token is learnt, the last with weight 10.",
    next_token=True,
)
