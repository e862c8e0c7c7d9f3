"""Edge attribution patching as a technique of interpbench: `interpbench run eap --case 3`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from interpbench import hookimpl, option

if TYPE_CHECKING:
    from interpbench.problem import Discovery, Problem


@dataclass(frozen=True)
class Config:
    """What to differentiate, and where. Raises ValueError for values that make no sense."""

    ig: Literal["none", "inputs", "activations", "masks", "descent"] = option(
        "none",
        "Integrated gradients: average along a path of input embeddings, of each writer, or of all masks; descent: "
        "embeddings that go from the corrupted ones down the gradient to the clean output (arXiv 2502.06852).",
    )
    ig_steps: int = option(5, "Steps of that path.")
    points: Literal["auto", "middles", "ends", "clean", "corrupted"] = option(
        "auto",
        "Where on the path: the middle of each step; all ends of steps; or these without the path's corrupted end "
        "(clean, as in EAP-IG's paper) or without its clean end (corrupted, as in EAP-IG's code). "
        "auto: clean for inputs, else middles; descent takes the start of each step.",
    )
    at: Literal["clean", "corrupt"] = option("clean", "Where to take the gradient without a path.")
    loss: Literal["auto", "kl", "ce", "logit-diff", "shift", "mse", "mae", "label"] = option(
        "auto", "Loss; auto: logit-diff for classes, shift for numbers."
    )
    backward: Literal["exact", "relp", "gim"] = option(
        "exact",
        "What goes back instead of gradients: relevance, with norms, attention and the slopes of activations held "
        "constant (arXiv 2508.21258), or GIM's (arXiv 2505.17630).",
    )
    sign: Literal["signed", "absolute"] = option("absolute", "Rank by the derivative or by its size.")
    normalise: Literal["none", "max", "sum", "published"] = option(
        "none", "Divide scores by the largest, or by the sum, of |score|; published: sum over points and positions."
    )
    faithful: float = option(
        0.1, "Choose the fewest edges that leave this share of the fully cut model's loss.", least=0, most=1
    )

    def __post_init__(self) -> None:
        if self.ig_steps < 1:
            raise ValueError(f"ig_steps is {self.ig_steps}, expected at least 1")
        if self.ig != "none" and self.at == "corrupt":
            raise ValueError(f"at=corrupt and ig={self.ig} exclude each other: a path has no single point")


class Eap:
    """Edge attribution patching (arXiv 2310.10348) and its integrated-gradient forms (arXiv 2403.17806)."""

    name = "eap"
    version = "0.1.0"
    Config = Config
    presets = {"paper": {"loss": "label", "sign": "signed", "normalise": "published", "ig_steps": 10, "points": "ends"}}

    def discover(self, problem: Problem, config: Config) -> Discovery:
        """Score every edge by the derivative of the loss by its mask."""
        from interpbench_eap.algorithm import discover

        return discover(problem, config)


@hookimpl
def interpbench_techniques() -> list[Eap]:
    """The one technique of this plugin."""
    return [Eap()]
