"""The settings of `siit`, `iit` and `natural`: one training loop, three sets of defaults; `siit.py` tells the idea."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from interpbench.transformer.config import Config as Shape


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Config:
    """Settings of a training run; the same settings give the same weights on one machine."""

    seed: int = _option(0, "Seed of weights, inputs and masks.")
    interchange: float = _option(0.5, "Share of rows with a reference variable taken from the source (0: no IIT term).")
    in_part: float = _option(0.0, "Share of those rows on which it is taken at a random half of the positions only.")
    easy: float = _option(0.1, "Weight of drawing a variable that is right already; one that never is has 1 more.")
    strict: float = _option(0.75, "Share of rows with something outside the circuit replaced (0: no strict term).")
    sampling: Literal["mixed", "individual", "sample_all", "all"] = _option(
        "mixed", "Silent nodes replaced on a row: one, each with probability 1/2, all, or half, a quarter, a quarter."
    )
    silent: Literal["train", "freeze", "stop_grad"] = _option(
        "train", "What silent nodes learn: as all do, nothing, or nothing and no gradient passes through them."
    )
    edges: float = _option(0.7, "Share of strict rows on edges; the others replace whole silent nodes.")
    whole: float = _option(0.4, "Share of the rows on edges that replace every edge outside the circuit at once.")
    merged: float = _option(
        0.0, "Share of those that spare what is inside the merged circuit (q, k, v one; embed, pos one)."
    )
    circuit_first: bool = _option(True, "Start with every outside edge replaced on every row.")
    opens_at: float = _option(0.98, "Accuracy and mean IIA of the bare circuit at which the other rows are let in.")
    silent_scale: float = _option(0.1, "Initial scale of what silent nodes write: they are noise to the circuit.")
    hint: float = _option(0.0, "Weight of reading variables' values off their nodes.")
    calm: float = _option(0.0, "Weight of keeping quiet what the circuit's nodes write: noise on all other edges.")
    steps: int = _option(20_000, "Optimiser steps at most.")
    seconds: float = _option(0.0, "Stop at the first measurement after so long (0: no limit).")
    single_loss: bool = _option(True, "One optimiser step for all kinds of rows, or one for each.")
    rows: int = _option(0, "Rows a step (0: 128 to 512, fewer for larger subjects).")
    group: int = _option(4, "Rows that share one source.")
    own_source: float = _option(0.25, "Share of the sources that are an input's own counterfactual.")
    reuse: int = _option(8, "How often a row is drawn between two measurements, about.")
    lr: float = _option(0.0, "Peak learning rate of Adam (0: 1/4 over layers times width, at most .01).")
    warmup: int = _option(100, "Steps of linear warm-up.")
    rewarm: bool = _option(False, "Warm up again when the other rows are let in, whose gradients are larger.")
    patience: int = _option(
        5, "Measurements of the bare circuit without progress before other rows are let in, or training starts again."
    )
    cycle: int = _option(800, "Steps of the first cosine cycle of the rate, once all rows are let in.")
    average: float = _option(0.99, "Decay of the moving average of the weights, which is what is measured and kept.")
    clip: float = _option(1.0, "Largest gradient norm.")
    eval_every: int = _option(200, "Steps between measurements.")
    eval_rows: int = _option(1000, "Rows of a measurement.")
    margin: float = _option(0.997, "Stop when everything measured reaches this.")
    same_size: bool = _option(False, "A subject as wide as the compiled reference.")
    d_model: int = _option(0, "Width of the residual stream (0: the case's own).")
    d_head: int = _option(0, "Width of a head (0: the case's own).")
    d_mlp: int = _option(0, "Width of an MLP (0: the case's own).")
    half: bool = _option(False, "Round the weights to half precision in the end: files half as large.")
    device: str = _option("cpu", "Where the steps are computed: cpu, cuda...")

    def __post_init__(self) -> None:
        shares = (
            "interchange",
            "in_part",
            "strict",
            "edges",
            "whole",
            "merged",
            "own_source",
            "opens_at",
            "margin",
            "average",
        )
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a share between 0 and 1")
        if self.easy <= 0:
            raise ValueError(f"easy is {self.easy}, expected a weight above 0: variables that are right need rows too")
        if self.rows < 0 or self.rows % self.group:
            raise ValueError(f"rows ({self.rows}) must be a multiple of group ({self.group})")

    def fitted(self, shape: Shape) -> Config:
        """The same settings with rows and rate chosen for a subject of this shape, where they are 0.

        Wide and deep subjects diverge or never start at rates that small ones need (measured on cases 2, 3, 18, 44).
        """
        size = shape.n_layers * shape.d_model
        rows = next((rows for rows in (512, 256) if rows * size * shape.n_ctx <= 600_000), 128)
        return replace(self, rows=self.rows or rows, lr=self.lr or min(0.01, 0.25 / size))


@dataclass(frozen=True)
class IitConfig(Config):
    """Interchange without strictness (arXiv 2112.00826)."""

    strict: float = _option(0.0, "Share of rows with something outside the circuit replaced (0: no strict term).")


@dataclass(frozen=True)
class NaturalConfig(IitConfig):
    """Behaviour alone: how a transformer learns the task when nobody asks where."""

    interchange: float = _option(0.0, "Share of rows with a reference variable taken from the source (0: no IIT term).")
