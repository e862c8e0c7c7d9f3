"""Indirect object identification (arXiv 2211.00593) in a closed vocabulary, with a hand-written reference.

"When Mary and John got a ring at the park, John gave it to" is answered by "Mary". No word but the repeated name occurs
twice in a sentence.

There are two forms. Published subjects (arXiv 2407.14494) are about the published one. In its four templates each name
always stands at the same place, and its circuit lets places into every head by way of m0. In half of the interchanges
the repeated name then stands at the same place in both sentences. A head that moves that place instead of the name is
right about those, and *s_inhibition* stayed at .93 to .975 in all trials, at .5 to .65 in the bare circuit.
Subjects of ours are about the other form. Fillers move each name over three places, independently of the others. Places
enter where the algorithm needs them: in the head that finds where a token stood before, and the one that looks there.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
NAME_LOGIT, SUPPRESSED_LOGIT = 10.0, -15.0
_NAME_SET = frozenset(NAMES)
_PLACE, _OBJECT = "{place}", "{object}"


@dataclass(frozen=True)
class Form:
    """Templates of one length, the true circuit of a subject that completes them, and sizes of such a subject."""

    templates: tuple[tuple[str, ...], ...]
    edges: tuple[str, ...]
    sizes: Mapping[str, int]

    @property
    def length(self) -> int:
        """Words of a sentence."""
        return len(self.templates[0])

    @property
    def vocab(self) -> tuple[str, ...]:
        """Every word that can occur."""
        words = {word for template in self.templates for word in template if not word.startswith("{")}
        return (*sorted(words), *NAMES, *PLACES, *OBJECTS)

    def draw(self, rng: np.random.Generator, n: int) -> Inputs:
        """Sentences in both orders (ABBA: the second name is repeated; BABA: the first)."""
        import numpy as np

        template, repeated = rng.integers(len(self.templates), size=n), rng.integers(2, size=n)
        names = np.argsort(rng.random((n, len(NAMES))), axis=1)[:, :2]
        place, thing = rng.integers(len(PLACES), size=n), rng.integers(len(OBJECTS), size=n)
        third = np.where(repeated, names[:, 1], names[:, 0])
        words = np.array(self.templates, dtype=object)[template]
        slots = {"{0}": (NAMES, names[:, 0]), "{1}": (NAMES, names[:, 1]), "{2}": (NAMES, third)}
        for slot, (choices, drawn) in (slots | {_PLACE: (PLACES, place), _OBJECT: (OBJECTS, thing)}).items():
            row, column = np.nonzero(words == slot)
            words[row, column] = np.array(choices, dtype=object)[drawn[row]]
        return [tuple(sentence) for sentence in words.tolist()]


def _reads(writer: str, *heads: str) -> tuple[str, ...]:
    """A reference says which variable reads which, not whether as query, key or value: all three count."""
    return tuple(f"{writer}->{head}<{x}>" for head in heads for x in "qkv")


_SHARED_EDGES = (
    *_reads("m0", "a1.h1", "a2.h1", "a4.h1"),
    *_reads("a1.h1", "a2.h1"),
    *_reads("a2.h1", "a4.h1"),
    "a4.h1->logits",
)


def _moving_templates() -> tuple[tuple[str, ...], ...]:
    """In every style each name stands at each of its three places, whatever the places of the other two."""
    styles = (
        ("When", "got", "at", ",", "gave"),
        ("Then", "bought", "near", ".", "handed"),
        ("After", "found", "in", ",", "passed"),
        ("While", "carried", "from", ",", "offered"),
    )
    between = ("and", "along with", "and their friend", "and their old friend", "and their very old friend")
    last = ("quite gladly", "gladly", "")
    templates = []
    for style, (first, second, third) in itertools.product(styles, itertools.product(range(3), repeat=3)):
        conjunction, got, at, stop, gave = style
        before = ("", conjunction, f"{conjunction} yesterday")[first]
        where = ("", "there", "right there", f"{at} the {_PLACE}", f"right {at} the {_PLACE}")[2 + third - second]
        names = f"{before} {{0}} {between[2 + second - first]} {{1}}"
        templates.append(f"{names} {got} a {_OBJECT} {where} {stop} {{2}} {last[third]} {gave} it to")
    return tuple(tuple(template.split()) for template in templates)


MOVING = Form(
    templates=_moving_templates(),
    edges=("embed->m0", *_reads("pos", "a1.h1", "a2.h1"), *_SHARED_EDGES),
    sizes={"d_model": 128, "d_head": 48, "d_mlp": 512},
)
PUBLISHED = Form(
    templates=tuple(
        tuple(template.split())
        for template in (
            "When {0} and {1} got a {object} at the {place} , {2} gave it to",
            "Then {0} and {1} bought a {object} near the {place} . {2} handed it to",
            "After {0} and {1} found a {object} in the {place} , {2} passed it to",
            "While {0} and {1} carried a {object} from the {place} , {2} offered it to",
        )
    ),
    edges=("embed->m0", "pos->m0", *_SHARED_EDGES),
    sizes={"d_model": 64, "d_head": 16, "d_mlp": 256},
)
LENGTH = MOVING.length

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
"""Tokens of the published form, in order, in GPT-2's vocabulary, which published subjects speak: each is a single token
there (words inside a sentence with the blank before them, BOS as end of text).
"""


def abc(rng: np.random.Generator, inputs: Inputs) -> Inputs:
    """The same sentences with three names that differ from each other and from the sentence's own."""
    import numpy as np

    fresh = np.argsort(rng.random((len(inputs), len(NAMES))), axis=1)[:, :5]
    corrupted = []
    for sentence, candidates in zip(inputs, fresh, strict=True):
        names = iter([NAMES[i] for i in candidates if NAMES[i] not in sentence])
        corrupted.append(tuple(next(names) if word in _NAME_SET else word for word in sentence))
    return corrupted


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

    def __init__(self, form: Form, tokens: tuple[Token, ...]) -> None:
        from interpbench.transformer.config import Config

        self.classes = tokens
        self.names = [i for i, token in enumerate(tokens) if token in _NAME_SET]
        self.edges = form.edges
        self.subject_config = Config(
            n_layers=6,
            n_heads=4,
            n_ctx=form.length + 1,
            d_vocab=len(tokens),
            d_vocab_out=len(tokens),
            act_fn="gelu",
            attention_dir="causal",
            normalization_type="LNPre",
            **form.sizes,
        )
        templates = tuple(map(list, form.templates))  # lists: the published form keeps its hash
        facts = repr((tokens, templates, NAME_LOGIT, SUPPRESSED_LOGIT, self.variables, self.edges))
        self.digest = hashlib.sha256(facts.encode()).hexdigest()[:16]

    def circuit(self, graph: Any) -> Any:
        """The true circuit: where the values of the variables flow."""
        from interpbench.graph.circuit import Circuit

        return Circuit(graph, frozenset(self.edges))

    @property
    def reading_sizes(self) -> dict[str, tuple[int, ...]]:
        """The place of an earlier same token, and the token to suppress."""
        return {"duplicate": (self.subject_config.n_ctx,), "s_inhibition": (len(self.classes),)}

    def outputs(self, tokens: Any, source: Any = None, variable: Any = None) -> Any:
        """Logits `[row, position, token]`; see `Reference.outputs`."""
        return self._under(tokens, source, variable)[-1]

    def outputs_and_readings(
        self, tokens: Any, source: Any = None, variable: Any = None
    ) -> tuple[Any, dict[str, tuple[Any, ...]]]:
        """The same, and the values that `reading_sizes` names."""
        import torch

        values = self._under(tokens, source, variable)
        every, sizes = dict(zip(self.variables, values, strict=True)), self.reading_sizes.items()
        return values[-1], {name: (torch.where(every[name] < 0, size, every[name]),) for name, (size,) in sizes}

    def _under(self, tokens: Any, source: Any, variable: Any) -> list[Any]:
        """Values of the variables, under an interchange if there is one."""
        import torch

        source = tokens if source is None else source
        variable = torch.full(tokens.shape[:1], -1) if variable is None else variable
        other = self._values(source, [None] * len(self.variables), variable)
        return self._values(tokens, other, variable)

    def _values(self, tokens: Any, other: Sequence[Any], variable: Any) -> list[Any]:
        """Values of the variables in order, each replaced by `other`'s on the rows that name it."""
        import torch

        values: list[Any] = []

        def put(value: Any) -> Any:
            i = len(values)
            if other[i] is not None:
                here = (variable == i).view(-1, *[1] * (value.ndim - 1))
                value = torch.where(here, other[i], value)
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


def _case(sentences: Form, name: str, description: str, next_token: bool, **facts: Any) -> Case:
    @functools.cache
    def reference() -> IoiReference:
        return IoiReference(sentences, case.tokens)

    case = Case(
        name=name,
        description=description,
        output="categorical",
        vocab=sentences.vocab,
        max_length=sentences.length,
        min_length=sentences.length,
        program=answer,
        reference=reference,
        draw=sentences.draw,
        counterfactual=abc,
        scored="last",
        next_token=next_token,
        special=(BOS,),
        **facts,
    )
    return case


def _both_forms(*facts: Any, next_token: bool) -> Case:
    published = _case(PUBLISHED, *facts, next_token=next_token, form="published", published_ids=GPT2_IDS)
    return _case(MOVING, *facts, next_token=next_token, published=published)


ioi = _both_forms(
    *("ioi", "Who is given the object: the name that is not repeated, at the last position."),
    next_token=False,
)
ioi_next_token = _both_forms(
    *("ioi_next_token", "As ioi, in a language model: every next token is learnt, the last with weight 10."),
    next_token=True,
)
