"""Strict interchange intervention training: a subject whose circuit is the reference's, on nodes and on edges.

Source: Geiger et al. 2021 (arXiv 2112.00826, interchange intervention training), Gupta et al. 2024 (arXiv 2407.14494,
strictness). One idea carries all terms: a training row is an input x, a source x', at most one reference variable
taken from x', and a set of things *outside* the true circuit that take their values from x' too. The subject must
answer what the reference answers under the same interchange; what is outside must not matter. So

    behaviour    no variable, nothing outside replaced        interchange    a variable, nothing outside
    strict       silent nodes or outside edges replaced, with or without a variable

are the same forward pass under masks that differ. Two things decide (measured, see the README): strictness on *edges*,
and *the circuit first*: training starts with every outside edge replaced on every row, so that the algorithm is learnt
where it belongs, and opens the rest when measurement says that the circuit stands.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from interpbench.case import Case, Reference
from interpbench.certificate import (
    THRESHOLD,
    Data,
    Masks,
    fresh_data,
    masks_of,
    measure,
    scored_positions,
    single_edges,
    worst_single,
)
from interpbench.errors import InterpbenchError
from interpbench.graph import Circuit
from interpbench.transformer import Config as Shape
from interpbench.transformer import Transformer, initialize

POOL = 1 << 16


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Config:
    """Settings of a training run; the same settings give the same weights on one machine."""

    seed: int = _option(0, "Seed of weights, inputs and masks.")
    interchange: float = _option(0.5, "Share of rows with a reference variable taken from the source (0: no IIT term).")
    strict: float = _option(0.75, "Share of rows with something outside the circuit replaced (0: no strict term).")
    edges: float = _option(0.7, "Share of strict rows on edges; the others replace whole silent nodes.")
    circuit_first: bool = _option(True, "Start with every outside edge replaced on every row.")
    opens_at: float = _option(0.9, "Accuracy and mean IIA of the bare circuit at which the other rows are let in.")
    steps: int = _option(20_000, "Optimiser steps at most.")
    rows: int = _option(256, "Rows a step.")
    group: int = _option(8, "Rows that share one mask.")
    lr: float = _option(5e-3, "Peak learning rate (Adam).")
    warmup: int = _option(100, "Steps of linear warm-up.")
    patience: int = _option(5, "Measurements without a new best before the learning rate is halved.")
    clip: float = _option(1.0, "Largest gradient norm.")
    eval_every: int = _option(200, "Steps between measurements.")
    eval_rows: int = _option(1000, "Rows of a measurement.")
    margin: float = _option(0.997, "Stop when everything measured reaches this.")
    d_model: int = _option(0, "Width of the residual stream (0: the case's own).")
    d_head: int = _option(0, "Width of a head (0: the case's own).")
    d_mlp: int = _option(0, "Width of an MLP (0: four times the residual stream).")

    def __post_init__(self) -> None:
        for name in ("interchange", "strict", "edges", "opens_at", "margin"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a share between 0 and 1")
        if self.rows % self.group:
            raise ValueError(f"rows ({self.rows}) must be a multiple of group ({self.group})")


@dataclass(frozen=True)
class Trained:
    """What training gives: the transformer, its true circuit, and what happened."""

    model: Transformer
    circuit: Circuit
    facts: dict[str, Any]


class FlatAdam:
    """All weights in one vector, with Adam's (arXiv 1412.6980) on it: a step is a handful of operations."""

    def __init__(self, model: Transformer, betas: tuple[float, float] = (0.9, 0.98)) -> None:
        self.config, self.betas = model.config, betas
        self.shapes = model.config.weight_shapes()
        self.state = {"weights": torch.cat([model.weights[name].flatten() for name in self.shapes])}
        self.state |= {"mean": torch.zeros_like(self.state["weights"]), "square": torch.zeros_like(self.state["weights"])}
        self.step = 0

    def model(self, grad: bool = False) -> tuple[Transformer, Tensor]:
        """The transformer made of the vector, and the vector that gradients arrive at."""
        flat = self.state["weights"].detach().requires_grad_(grad)
        parts = flat.split([math.prod(shape) for shape in self.shapes.values()])
        weights = {n: part.view(shape) for (n, shape), part in zip(self.shapes.items(), parts, strict=True)}
        return Transformer(self.config, weights), flat

    def update(self, gradient: Tensor, lr: float, clip: float) -> None:
        """One step against the gradient, whose norm is clipped."""
        gradient = gradient * (clip / gradient.norm().clamp(min=clip))
        self.step += 1
        for name, value, beta in zip(("mean", "square"), (gradient, gradient.square()), self.betas, strict=True):
            self.state[name].lerp_(value, 1 - beta)
        mean = self.state["mean"] / (1 - self.betas[0] ** self.step)
        square = self.state["square"] / (1 - self.betas[1] ** self.step)
        self.state["weights"] = self.state["weights"] - lr * mean / (square.sqrt() + 1e-8)


@dataclass(frozen=True)
class Pool:
    """Inputs to draw from: clean ones and their counterfactuals, int64 `[input, position]`."""

    clean: Tensor
    corrupted: Tensor

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs and sources; a quarter of the sources are the inputs' own counterfactuals, the others independent."""
        rows, others = torch.randint(len(self.clean), (2, n), generator=generator)
        own = torch.rand(n, 1, generator=generator) < 0.25
        return self.clean[rows], torch.where(own, self.corrupted[rows], self.clean[others])


def make_pool(case: Case, seed: int) -> Pool:
    """Every input if there are few, else random ones."""
    rng = np.random.default_rng([seed, 1])
    every = case.all_inputs(POOL)
    clean = case.inputs(POOL, rng) if every is None else every
    return Pool(torch.tensor(clean), torch.tensor(case.corrupt(clean, rng)))


def draw_masks(
    masks: Masks, config: Config, n: int, is_open: bool, variable_weights: Tensor, generator: torch.Generator
) -> tuple[Float[Tensor, "group edge"], Int[Tensor, " group"]]:
    """Masks of `n` groups of rows, and each group's variable (-1: none).

    Edges of a strict group: all outside edges, each with probability .1 or .5, or a single one. Silent nodes of a
    strict group: one, each with probability .5, or all.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def pick(weights: Tensor) -> Tensor:
        return torch.multinomial(weights, n, replacement=True, generator=generator)

    variable = torch.where(uniform(n) < config.interchange, pick(variable_weights), -1)
    columns = torch.stack([*masks.variables.values(), torch.zeros(masks.graph.n_edges)])
    mask = columns[variable]
    outside = masks.outside_edges.expand(n, -1)
    if not is_open:
        return torch.maximum(mask, outside), variable

    share = torch.tensor([1.0, 0.1, 0.5, 0.0])[pick(torch.tensor([0.4, 0.2, 0.2, 0.2]))]
    single = torch.zeros_like(outside).scatter_(1, pick(masks.outside_edges)[:, None], 1)
    some_edges = torch.where(share[:, None] > 0, outside * (uniform(*outside.shape) < share[:, None]), single)
    silent = torch.stack([*masks.silent.values()])
    count = len(silent)
    chosen = F.one_hot(pick(torch.ones(count)), count).float()
    kind = uniform(n, 1)
    chosen = torch.where(kind < 0.5, chosen, (uniform(n, count) < torch.where(kind < 0.75, 0.5, 1.0)).float())
    some_nodes = (chosen @ silent).clamp(max=1)
    strict = torch.where(uniform(n, 1) < config.edges, some_edges, some_nodes)
    strict = strict * (uniform(n, 1) < config.strict)
    return torch.maximum(mask, strict), variable


def row_loss(case: Case, logits: Tensor, target: Tensor, tokens: Tensor, plain: Tensor) -> Tensor:
    """Mean loss at scored positions: cross-entropy with the reference's answer, or squared error.

    A language model (`next_token`) also learns every next token, with a tenth of the weight, on plain rows.
    `logits`, `target` `[*, row, position, class]`, `tokens` `[*, row, position]`, `plain` `[*, 1]` bool.
    """
    scored = slice(1, None) if case.scored == "all" else slice(-1, None)
    if logits.shape[-1] == 1:
        return F.mse_loss(logits[..., scored, :], target[..., scored, :])
    answers = target[..., scored, :].argmax(-1)
    loss = F.cross_entropy(logits[..., scored, :].flatten(0, -2), answers.flatten())
    if case.next_token and plain.any():
        told, following = logits[plain.squeeze(-1)][..., :-1, :], tokens[plain.squeeze(-1)][..., 1:]
        language = F.cross_entropy(told.flatten(0, -2), following.flatten())
        loss = loss + 0.1 * (logits.shape[-2] - 1) * language * plain.float().mean()
    return loss


@dataclass
class Progress:
    """What a checkpoint holds beside the weights."""

    step: int = 0
    is_open: bool = False
    variable_weights: list[float] = field(default_factory=list)
    lr: float = 0.0
    best: float = 0.0
    waited: int = 0
    seconds: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)
    done: bool = False


def headline(numbers: Mapping[str, Any], config: Config) -> float:
    """The lowest of the numbers that these settings train for."""
    asked = [numbers["accuracy"]]
    if config.interchange:
        asked.append(numbers["iia_min"])
    if config.strict:
        asked += [numbers["strict_min"], numbers["edges"]]
    return min(asked)


def train(
    case: Case, config: Config, folder: Path | None = None, progress: Callable[[dict[str, Any]], None] = lambda _: None
) -> Trained:
    """Train a subject of `case`; with `folder`, keep a checkpoint there at every measurement and resume from it.

    `progress` is called with the step and what was measured. Raises InterpbenchError if the loss is not finite (the
    last checkpoint stays) or if the checkpoint belongs to other settings.
    """
    reference = case.reference()
    sizes = {k: getattr(config, k) for k in ("d_model", "d_head", "d_mlp") if getattr(config, k)}
    shape = Shape(**(asdict(reference.subject) | {"attn_scale": 0.0} | sizes))
    circuit = reference.circuit(shape.graph)
    masks = masks_of(reference, circuit)
    adam = FlatAdam(initialize(shape, config.seed))
    state = Progress(variable_weights=[1.0] * len(masks.variables), is_open=not (config.circuit_first and config.strict))
    state.lr = config.lr
    generator = torch.Generator().manual_seed(config.seed)
    if folder is not None:
        _resume(folder, case, config, adam, state, generator)
    pool = make_pool(case, config.seed)
    check = fresh_data(case, config.eval_rows, seed=config.seed + 1_000_003)
    check = check.head(config.eval_rows)
    plain = torch.zeros(masks.graph.n_edges)

    began = time.perf_counter() - state.seconds
    while state.step < config.steps and not state.done:
        loss = _train_step(case, reference, config, masks, pool, adam, state, plain, generator)
        if not math.isfinite(loss):
            raise InterpbenchError(f"training of case {case.name} diverged at step {state.step}: the loss is {loss}")
        state.step += 1
        if state.step % config.eval_every == 0 or state.step == config.steps:
            _measure(adam, config, check, reference, masks, circuit, state)
            state.seconds = time.perf_counter() - began
            if folder is not None:
                _save(folder, case, config, adam, state, generator)
        progress({"step": state.step, "steps": config.steps, "loss": loss, "open": state.is_open, **state.numbers})
    facts = {"config": asdict(config), "steps": state.step, "seconds": round(state.seconds, 1)}
    return Trained(Transformer(shape, {k: v.detach().clone() for k, v in adam.model()[0].weights.items()}), circuit, facts)


def _train_step(
    case: Case,
    reference: Reference,
    config: Config,
    masks: Masks,
    pool: Pool,
    adam: FlatAdam,
    state: Progress,
    plain: Tensor,
    generator: torch.Generator,
) -> float:
    groups = config.rows // config.group
    weights = torch.tensor(state.variable_weights)
    mask, variable = draw_masks(masks, config, groups, state.is_open, weights, generator)
    tokens, source = pool.draw(config.rows, generator)
    target = reference.outputs(tokens, source, variable.repeat_interleave(config.group))
    tokens, source, target = (x.unflatten(0, (groups, config.group)) for x in (tokens, source, target))
    model, flat = adam.model(grad=True)
    logits = model(tokens, mask, model.writers(source))
    loss = row_loss(case, logits, target, tokens, (mask == plain).all(-1, keepdim=True))
    (gradient,) = torch.autograd.grad(loss, flat)
    adam.update(gradient, state.lr * min(1, (state.step + 1) / config.warmup), config.clip)
    return loss.item()


def _measure(
    adam: FlatAdam,
    config: Config,
    check: Data,
    reference: Reference,
    masks: Masks,
    circuit: Circuit,
    state: Progress,
) -> None:
    """Measure on data of its own; then halve the rate, let the other rows in, or stop, as the numbers say."""
    model, _ = adam.model()
    numbers = measure(model, check, reference, masks)
    bare = min(numbers["edges"], float(np.mean([*numbers["iia_circuit_only"].values()])))
    reached = headline(numbers, config) if state.is_open else bare
    if reached > state.best:
        state.best, state.waited = reached, 0
    else:
        state.waited += 1
    if state.waited >= config.patience:
        state.lr, state.waited = state.lr / 2, 0
    if not state.is_open and bare >= config.opens_at:
        state.is_open, state.best, state.waited = True, 0.0, 0
    state.variable_weights = [0.1 + (1 - share) for share in numbers["iia"].values()]
    state.numbers = {k: v for k, v in numbers.items() if isinstance(v, float)} | {"iia": numbers["iia"]}
    state.done = state.is_open and headline(numbers, config) >= config.margin
    if state.done and config.strict:
        answer = reference.outputs(check.clean)
        worst = worst_single(model, check, answer, single_edges(circuit)["edges"])
        state.numbers["worst_edge"] = worst["accuracy"]
        state.done = float(worst["accuracy"] or 0) >= (THRESHOLD + config.margin) / 2


def _settings(case: Case, config: Config) -> dict[str, Any]:
    return {"case": case.name, "program_digest": case.reference().digest, **asdict(config)}


def _save(folder: Path, case: Case, config: Config, adam: FlatAdam, state: Progress, generator: torch.Generator) -> None:
    """One file, replaced atomically: tensors, and the rest as JSON in its metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {**adam.state, "generator": generator.get_state()}
    facts = {"settings": _settings(case, config), "progress": asdict(state), "adam_step": adam.step}
    partial = folder / "checkpoint.partial"
    save_file(tensors, partial, metadata={"interpbench": json.dumps(facts)})
    partial.replace(folder / "checkpoint.safetensors")


def _resume(
    folder: Path, case: Case, config: Config, adam: FlatAdam, state: Progress, generator: torch.Generator
) -> None:
    """Continue where a checkpoint of the same settings stands; steps may be raised."""
    from safetensors import SafetensorError, safe_open

    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["interpbench"])
        tensors = load_file(path)
        generator.set_state(tensors.pop("generator"))
        settings, adam.step = facts["settings"], int(facts["adam_step"])
        vars(state).update(facts["progress"])
        if any(tensors[k].shape != v.shape for k, v in adam.state.items()):
            raise ValueError("weights of another size")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InterpbenchError(f"the checkpoint {path} is damaged ({error}); remove it to start again") from None
    wanted = _settings(case, config)
    for name in sorted(k for k in wanted if wanted[k] != settings.get(k)):
        text = f"the checkpoint {path} was made with {name}={settings.get(name)}, not {wanted[name]}"
        raise InterpbenchError(f"{text}; use the same settings or another folder")
    adam.state = tensors


@dataclass(frozen=True)
class SiitTrainer:
    """SIIT and, as shares of rows, IIT (`strict=0`) and behaviour-only training (`strict=0`, `interchange=0`)."""

    name: str = "siit"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    Config: type[Config] = Config

    def train(
        self, case: Case, config: Config, folder: Path | None = None, progress: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> Trained:
        """See `train`."""
        return train(case, config, folder, progress)
