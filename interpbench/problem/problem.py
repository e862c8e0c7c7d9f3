"""All that a circuit-discovery technique may see: a model, clean and corrupted inputs, masks and losses.

A technique explains what the *model* does, so losses compare with the model's own answers, not with the true ones. The
true circuit is not part of a problem.

Everything here is deterministic. Memory is bounded: rows and circuits are split into chunks, which changes no result
because a loss is a mean over rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interpbench.cases.reference import same_answers
from interpbench.errors import UsageError
from interpbench.graph.graph import Graph
from interpbench.problem.ablation import ABLATIONS, Ablation, ablated, source_places
from interpbench.problem.losses import LOSSES, Answers, Loss, Output, mean_loss
from interpbench.torch_state import clean_state
from interpbench.transformer.model import Transformer
from interpbench.transformer.stream import Activations, Tap

CHUNK = 1 << 24
"""Largest number of activations (numbers) that one pass holds."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A model to explain, on given data; see `make_problem`.

    `clean` and `corrupted` are token ids; `scored` marks the positions at which answers count. `other` holds the values
    that cut edges carry, by writer (one row for `mean` and `zero`). `full` and `corrupted_full` are the full model's
    logits on the clean and the corrupted inputs (under `positions` the latter at their permuted positions). `labels`
    are the program's answers in the form of logits, for the loss `label`.
    """

    model: Transformer
    clean: Int[Tensor, "row position"]
    corrupted: Int[Tensor, "row position"]
    scored: Bool[Tensor, "row position"]
    output: Output
    ablation: Ablation
    seed: int
    other: Activations
    full: Float[Tensor, "row position vocab_out"]
    corrupted_full: Float[Tensor, "row position vocab_out"]
    labels: Float[Tensor, "row position vocab_out"] | None = None

    def __repr__(self) -> str:
        what = f"{self.output} output, {self.ablation} ablation, seed {self.seed}"
        return f"Problem({self.graph}: {len(self.clean)} rows, {what})"

    @property
    def graph(self) -> Graph:
        """The model's graph of writers, readers and edges."""
        return self.model.graph

    @property
    def device(self) -> torch.device:
        """Device of the model; masks belong there too."""
        return self.model.device

    @property
    def losses_offered(self) -> tuple[Loss, ...]:
        """The losses for this kind of output; `label` only if there are labels."""
        return tuple(loss for loss in LOSSES[self.output] if loss != "label" or self.labels is not None)

    @property
    def faithfulness_loss(self) -> Loss:
        """The loss that measures how faithful a circuit is to the full model: `kl`, or `mse` for numbers."""
        return "kl" if self.output == "categorical" else "mse"

    def check_loss(self, kind: str) -> Loss:
        """The loss by that name. Raises UsageError if this problem does not offer it."""
        if kind == "label" and self.labels is None:
            raise UsageError("loss 'label' compares with the program's answers; only --protocol paper provides them")
        if kind not in self.losses_offered:
            raise UsageError(
                f"loss '{kind}' is not offered for {self.output} outputs; offered: {', '.join(self.losses_offered)}"
            )
        return kind  # type: ignore[return-value]

    def logits(self, mask: Float[Tensor, "*circuit edge"] | None = None) -> Float[Tensor, "*circuit row position out"]:
        """Logits on the clean inputs under a mask (0: the edge is kept, 1: it carries `other`); differentiable."""
        if mask is None:
            return self.full
        return self.model(self.clean, mask.to(self.full), self.other)

    def on_paths(self, kept: Bool[np.ndarray, "*circuit edge"]) -> Bool[np.ndarray, "*circuit edge"]:
        """The kept edges that lie on a path of kept edges to the logits and, with resampled values, from the inputs.

        The others change nothing. A node that no input reaches computes what it computes in the other run. That is what
        its cut edges carry only if values are resampled.
        """
        return self.graph.on_paths(kept, from_inputs=self.ablation in ("resample", "positions"))

    def loss(self, logits: Float[Tensor, "*circuit row position out"], kind: Loss) -> Float[Tensor, "*circuit"]:
        """Mean loss over the scored positions, per circuit; differentiable."""
        return self.loss_at_scored(logits.flatten(-3, -2).index_select(-2, self._where), kind)

    @cached_property
    def _where(self) -> Int[Tensor, " scored"]:
        return self.scored.flatten().nonzero().squeeze(-1)

    @cached_property
    def _answers(self) -> Answers:
        labels = None if self.labels is None else self._at_scored(self.labels)
        return Answers(self.output, self._at_scored(self.full), self._at_scored(self.corrupted_full), labels)

    def _at_scored(self, answers: Float[Tensor, "row position out"]) -> Float[Tensor, "scored out"]:
        return answers.flatten(0, 1).index_select(0, self._where)

    def loss_at_scored(self, logits: Float[Tensor, "*circuit scored out"], kind: Loss) -> Float[Tensor, "*circuit"]:
        """As `loss`, for logits already taken at the scored positions (by row, then position)."""
        return mean_loss(logits, self.check_loss(kind), self._answers)

    @torch.no_grad()
    def losses(self, masks: Float[Tensor, "circuit edge"], kind: Loss) -> Float[Tensor, " circuit"]:
        """Loss of many circuits, in chunks, without gradients."""
        total = self.full.new_zeros(len(masks))
        for part, share, some in self._chunks(len(masks)):
            total[some] += share * part.loss(part.logits(masks[some]), kind)
        return total

    @torch.no_grad()
    def answers_kept(self, masks: Float[Tensor, "circuit edge"]) -> Float[Tensor, " circuit"]:
        """Share of the scored positions at which each circuit answers as the full model does."""
        kept = self.full.new_zeros(len(masks))
        for part, share, some in self._chunks(len(masks)):
            logits = part.logits(masks[some]).flatten(-3, -2).index_select(-2, part._where)
            kept[some] += share * same_answers(logits, part._answers.clean).to(kept).mean(-1)
        return kept

    def gradients(self, masks: Float[Tensor, "circuit edge"], kind: Loss) -> Float[Tensor, "circuit edge"]:
        """Derivative of the loss by every mask entry, at each of the masks, in chunks.

        For edge w->r: the sum over rows of (other_w - out_w) . dLoss/d(input of r), evaluated under the mask.
        """
        return self._attribute(masks, kind, lambda part, outputs: _changes(part.other, outputs))

    def attributions(
        self, masks: Float[Tensor, "circuit edge"], kind: Loss, carried: Activations | None = None
    ) -> Float[Tensor, "circuit edge"]:
        """Edge attribution by the textbook formula (arXiv 2310.10348), at each of the masks, in chunks.

        As `gradients`, but `out_w` is w's output in the plain run. The two are equal at mask 0. They differ where much
        is cut, because w's output under the mask is already closer to `other_w` (at mask 1: equal to it). `carried` is
        what cut edges carry where gradients are taken, if not `other`: a point of a path, say.
        """
        return self._attribute(masks, kind, lambda part, _: part.other - self.model.writers(part.clean), carried)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _attribute(
        self,
        masks: Tensor,
        kind: Loss,
        changes: Callable[[Problem, list[Tensor]], Activations],
        carried: Activations | None = None,
    ) -> Float[Tensor, "circuit edge"]:
        """The change in an edge's writer times the gradient by its reader's input, under each mask."""
        total = self.full.new_zeros(masks.shape)
        path = self if carried is None else replace(self, other=carried)
        chunks = zip(self._chunks(len(masks)), path._chunks(len(masks)), strict=True)
        for (part, share, some), (here, _, _) in chunks:
            taps: list[Tap] = []
            mask = masks[some].to(self.full).clone()  # a tensor made in inference mode has no gradients
            logits, outputs = self.model.run(part.clean, mask, here.other, taps)
            slopes = torch.autograd.grad(part.loss(logits, kind).sum(), [tap.value for tap in taps])
            with torch.no_grad():
                change = changes(part, outputs).flatten(-3).mT
                reader = 0
                for tap, slope in zip(taps, slopes, strict=True):
                    by_inputs = tap.by_inputs(slope).flatten(-3)
                    effects = by_inputs @ change[..., : self.graph.fan_in[reader]]
                    edges = slice(self.graph.starts[reader], self.graph.starts[reader + by_inputs.shape[-2]])
                    total[some, edges] += share * effects.flatten(-2)
                    reader += by_inputs.shape[-2]
        return total

    def take(self, rows: slice | Int[Tensor, " n"]) -> Problem:
        """The same problem on some of its rows; under `mean` ablation `other` stays the mean over all rows."""
        named = {name: getattr(self, name)[rows] for name in ("clean", "corrupted", "scored", "full", "corrupted_full")}
        labels = None if self.labels is None else self.labels[rows]
        # A contiguous copy, because arithmetic on it is three times as fast as on strided rows.
        other = self.other if self.other.shape[-1] == 1 else self.other[..., rows].contiguous()
        return replace(self, **named, labels=labels, other=other)

    def _chunks(self, circuits: int) -> Iterator[tuple[Problem, float, slice]]:
        """Rows, their share of all scored positions, and circuits, such that a pass holds about `CHUNK` numbers."""
        config = self.model.config
        per_layer = 2 * config.d_mlp + config.n_heads * (3 * config.d_model + 4 * config.d_head + self.clean.shape[1])
        width = self.clean.shape[1] * (config.n_layers * per_layer + config.d_model + config.d_vocab_out)
        rows = max(1, min(len(self.clean), CHUNK // width))
        at_once = max(1, CHUNK // (width * rows))
        for start in range(0, len(self.clean), rows):
            part = self.take(slice(start, start + rows))
            if len(part._where) == 0:
                continue
            for first in range(0, circuits, at_once):
                yield part, len(part._where) / len(self._where), slice(first, first + at_once)


def _changes(other: Activations, outputs: list[Tensor]) -> Activations:
    """`other` minus all outputs, `[*circuit, writer, feature, position, row]`, written in place to avoid a stack."""
    changes = outputs[-1].new_empty(*outputs[-1].shape[:-3], len(outputs), *outputs[-1].shape[-3:])
    for writer, output in enumerate(outputs):
        here = changes[..., writer, :, :, :]
        torch.sub(other[writer].expand(here.shape), output.expand(here.shape), out=here)
    return changes


@clean_state()
@torch.no_grad()
def make_problem(
    model: Transformer,
    clean: np.ndarray | Tensor,
    corrupted: np.ndarray | Tensor,
    output: Output,
    scored: np.ndarray | Tensor | None = None,
    ablation: str = "resample",
    seed: int = 0,
    labels: Tensor | None = None,
) -> Problem:
    """State a problem. Token ids are `[row, position]`; `scored` is bool of the same shape (default: every position).

    A cut edge carries its writer's output on the corrupted input of the same row (`resample`), the same with the
    corrupted input's positions permuted by the seed, BOS's apart (`positions`), the writer's mean over the corrupted
    inputs (`mean`), or `zero`. `labels` are the program's answers in the form of the model's logits, for
    the loss `label`. Raises UsageError for shapes that do not match, an unknown ablation, an output that is not the
    model's, no scored position, or a model in half precision.
    """
    clean, corrupted = (torch.as_tensor(x, device=model.device).long() for x in (clean, corrupted))
    scored = torch.ones_like(clean) if scored is None else torch.as_tensor(scored, device=model.device)
    known = _check(model, (clean, corrupted, scored), output, ablation)
    other = ablated(model, corrupted, known, seed)
    full = model.logits(clean)
    corrupted_full = model.logits(corrupted, source_places(corrupted, known, seed))
    if labels is not None and labels.shape != full.shape:
        raise UsageError(f"labels have shape {tuple(labels.shape)}; expected {tuple(full.shape)}, that of the logits")
    return Problem(model, clean, corrupted, scored.bool(), output, known, seed, other, full, corrupted_full, labels)


def _check(model: Transformer, data: tuple[Tensor, Tensor, Tensor], output: Output, ablation: str) -> Ablation:
    """The ablation. Raises UsageError for what `make_problem` refuses; `data` is clean, corrupted and scored."""
    model.check_precision("float32", "float64")
    if data[0].ndim != 2 or len({x.shape for x in data}) > 1:
        shapes = ", ".join(str(tuple(x.shape)) for x in data)
        raise UsageError(f"clean, corrupted and scored have shapes {shapes}; expected the same [row, position] for all")
    if not data[2].any():
        raise UsageError("no position is scored; expected at least one")
    if ablation not in ABLATIONS:
        raise UsageError(f"no ablation '{ablation}'; there are {', '.join(ABLATIONS)}")
    if (model.config.d_vocab_out == 1) != (output == "numerical"):
        raise UsageError(f"the model has {model.config.d_vocab_out} outputs, which does not fit '{output}'")
    return ablation
