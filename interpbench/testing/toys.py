"""Toy problems and a toy case whose true circuit is known by construction, and random problems."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Int
from torch import Tensor

from interpbench.cases.case import Case
from interpbench.cases.rasp.reference import RaspReference
from interpbench.cases.tokens import BOS, Inputs, Token
from interpbench.graph.circuit import Circuit
from interpbench.problem.ablation import Ablation
from interpbench.problem.losses import Output
from interpbench.problem.problem import Problem, make_problem
from interpbench.transformer.config import Config
from interpbench.transformer.model import Transformer

if TYPE_CHECKING:
    import numpy as np

LETTERS, POSITIONS = 4, 5
NOISE = 4
"""Dimensions that are written and never matter."""
LENGTH, EXTRA = 1e5, 3
"""With norms: what `pos` writes so that the stream's length is nearly constant, and the dimensions that this takes."""
TOY_CIRCUITS: dict[Output, tuple[str, ...]] = {
    "numerical": ("embed->m0", "m0->a1.h1<v>", "a1.h1->logits"),
    "categorical": ("embed->m0", "m0->a1.h1<k>", "embed->a1.h1<v>", "a1.h1->logits"),
}


def toy_model(
    output: Output,
    specials: int = 0,
    attention_dir: str = "bidirectional",
    normalization_type: str | None = None,
    silent: bool = False,
) -> Transformer:
    """A transformer of two layers and two heads with weights made by hand.

    Tokens are letters, each plain or marked (token `letter + LETTERS`), after `specials` others that are neither. `m0`
    says whether a token is marked.
    numerical: `a1.h1` averages that over all positions: the share of marked tokens. categorical: `a1.h1` looks where
    the marked token is and takes its letter. All other nodes are alive: they read everything and write noise, into
    dimensions that only they read; `silent` ones write nothing. With norms a long constant in the stream, which `pos`
    writes, leaves other nodes next to no effect.
    """
    tokens = specials + 2 * LETTERS
    flag, answer = tokens, slice(tokens + 1, tokens + 1 + LETTERS)
    junk = slice(answer.stop, answer.stop + NOISE)
    outputs = LETTERS if output == "categorical" else 1
    config = Config(
        n_layers=2,
        n_heads=2,
        d_model=junk.stop + (EXTRA if normalization_type else 0),
        d_head=LETTERS,
        d_mlp=8,
        n_ctx=POSITIONS,
        d_vocab=tokens,
        d_vocab_out=outputs,
        act_fn="relu",
        attention_dir=attention_dir,
        normalization_type=normalization_type,
    )
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in config.weight_shapes().items():
        weights[name] = torch.randn(shape, generator=generator) * (".W_" in name)
        if silent and name.endswith(("W_O", "W_out", "W_pos")):
            weights[name].zero_()
        if name.endswith(("W_O", "W_out", "W_pos")):
            weights[name][..., : junk.start] = 0
    weights["embed.W_E"][:, :tokens] = torch.eye(tokens)
    weights["embed.W_E"][:, tokens : junk.start] = 0

    mark, write = weights["blocks.0.mlp.W_in"], weights["blocks.0.mlp.W_out"]
    mark[:, 0], write[0], write[1:, flag] = 0, 0, 0
    mark[specials + LETTERS : tokens, 0], write[0, flag] = 1, 1
    mark[junk] = 0

    head = {x: weights[f"blocks.1.attn.W_{x}"][1].zero_() for x in "QKVO"}
    unembed = weights["unembed.W_U"].zero_()
    if output == "numerical":
        head["V"][flag, 0], head["O"][0, answer.start], unembed[answer.start, 0] = 1, 1, 1
    else:
        weights["blocks.1.attn.b_Q"][1, 0] = 8 * config.attn_scale
        head["K"][flag, 0] = 1
        head["V"][specials:tokens] = torch.eye(LETTERS).repeat(2, 1)
        head["O"][:, answer] = torch.eye(LETTERS)
        unembed[answer] = 12 * torch.eye(LETTERS)
    if normalization_type:
        _steady(config, weights)
    return Transformer(config, weights)


def _steady(config: Config, weights: Mapping[str, Tensor]) -> None:
    """Let norms divide by a number that is nearly constant, and readers undo that: they read as without norms.

    The last dimension is never written. Every reader takes there what makes its weights sum to zero, so that the mean,
    which norms subtract, does not matter.
    """
    for name, weight in weights.items():
        match name.rsplit(".", 1)[1]:
            case "W_E" | "W_pos" | "W_O" | "W_out":
                weight[..., -EXTRA:] = 0
            case "W_Q" | "W_K" | "W_V" | "W_in" | "W_U":
                weight[..., -EXTRA:, :] = 0
                weight[..., -1, :] = -weight.sum(-2)
                weight *= LENGTH * (2 / config.d_model) ** 0.5
            case "w":
                weight.fill_(1)
    weights["pos_embed.W_pos"][:, -EXTRA:-1] = torch.tensor([LENGTH, -LENGTH])


def toy_inputs(output: Output, rows: int, seed: int) -> Int[Tensor, "row position"]:
    """Random letters; each is marked with probability 1/2 (numerical), or exactly one in a row is (categorical)."""
    generator = torch.Generator().manual_seed(seed)
    letters = torch.randint(LETTERS, (rows, POSITIONS), generator=generator)
    if output == "numerical":
        return letters + LETTERS * torch.randint(2, letters.shape, generator=generator)
    where = torch.randint(POSITIONS, (rows, 1), generator=generator)
    return letters + LETTERS * (torch.arange(POSITIONS) == where)


def toy_problem(
    output: Output, rows: int = 64, seed: int = 0, ablation: Ablation = "resample", **kind: Any
) -> tuple[Problem, Circuit]:
    """A problem on the toy model, and its true circuit. Edges outside have exactly no effect on the output.

    `kind`: options of `toy_model`. With norms other edges have next to no effect, except that at the ablation
    `zero` those from `pos`, which writes the stream's length, matter.
    """
    model = toy_model(output, **kind)
    clean, corrupted = toy_inputs(output, rows, 2 * seed), toy_inputs(output, rows, 2 * seed + 1)
    problem = make_problem(model, clean, corrupted, output, None, ablation, seed)
    return problem, Circuit(model.graph, frozenset(TOY_CIRCUITS[output]))


def toy_case(output: Output = "numerical") -> Case:
    """A case whose compiled reference is the toy model: nothing has to be compiled. Made anew at every call.

    Words are letters, plain (`a`) or marked (`ma`); answers are the share of marked words among all positions (BOS is
    one), or the letter of the one marked word.
    """
    letters = "abcd"[:LETTERS]
    vocab = (*letters, *(f"m{letter}" for letter in letters))
    circuit = frozenset(TOY_CIRCUITS[output])

    def program(tokens: Sequence[Token]) -> list[Any]:
        marked = [str(token)[1:] for token in tokens if len(str(token)) > 1]
        letter = marked[0] if marked else None
        return [len(marked) / (len(tokens) + 1) if output == "numerical" else letter] * len(tokens)

    def draw(rng: np.random.Generator, n: int) -> Inputs:
        rows = rng.integers(LETTERS, size=(n, POSITIONS - 1))
        rows[range(n), rng.integers(POSITIONS - 1, size=n)] += LETTERS
        return [tuple(vocab[i] for i in row) for row in rows]

    @functools.cache
    def reference() -> Any:
        classes = None if output == "numerical" else tuple(letters)
        shape = Config(2, 2, 16, 4, 32, POSITIONS, 1 + len(vocab), 1 if classes is None else len(classes))
        model, used = toy_model(output, 1), ("m0", "a1.h1")
        named = (*["token"] * (1 + 2 * LETTERS), "marked", *["answer"] * LETTERS)
        directions = (*named, *[""] * (model.config.d_model - len(named)))
        return RaspReference(cast(Any, program), model, circuit, used, classes, shape, directions)

    return Case(
        name=f"toy-{output}",
        description="Share of marked words." if output == "numerical" else "Letter of the marked word.",
        output=output,
        vocab=vocab,
        max_length=POSITIONS - 1,
        min_length=POSITIONS - 1,
        program=program,
        reference=reference,
        draw=None if output == "numerical" else draw,
        special=(BOS,),
        compiled=True,
    )


def random_problem(output: Output, seed: int, ablation: Ablation = "resample", rows: int = 24, **shape: Any) -> Problem:
    """A small random model in float64 on random inputs: no truth, but two implementations must agree on it.

    `shape` overrides fields of the model's `Config`. Positions are scored at random, labels are random too.
    """
    sizes: dict[str, Any] = {
        "n_layers": 2,
        "n_heads": 2,
        "d_model": 8,
        "d_head": 3,
        "d_mlp": 12,
        "n_ctx": 5,
        "d_vocab": 6,
    }
    config = Config(**{**sizes, "d_vocab_out": 4 if output == "categorical" else 1, **shape})
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, size in config.weight_shapes().items():
        leaf = name.rsplit(".", 1)[1]
        scale = size[-2] ** -0.5 if leaf.startswith("W") else 0.3
        weights[name] = scale * torch.randn(size, generator=generator, dtype=torch.float64) + (leaf == "w")
    tokens = torch.randint(config.d_vocab, (2, rows, config.n_ctx), generator=generator)
    scored = torch.rand(rows, config.n_ctx, generator=generator) < 0.7
    labels = torch.randn(rows, config.n_ctx, config.d_vocab_out, generator=generator, dtype=torch.float64)
    return make_problem(Transformer(config, weights), tokens[0], tokens[1], output, scored, ablation, seed, labels)
