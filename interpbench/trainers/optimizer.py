"""Adam over all weights in one vector."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from interpbench.problem.adam import adam_step
from interpbench.transformer.model import Transformer

READOUT_RATE = 0.003


class FlatAdam:
    """All weights in one vector, with Adam's (arXiv 1412.6980) on it: a step is a handful of operations.

    The moving average of the weights is kept too: it stands where a falling rate would lead, without waiting for it
    (Polyak and Juditsky 1992). Weights at which `learns`, if given, is 0 stay as they are.
    """

    def __init__(
        self,
        model: Transformer,
        average: float,
        readout: Tensor | None = None,
        learns: Tensor | None = None,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        self.config, self.betas, self.decay = model.config, betas, average
        self.learns = learns
        self.shapes = model.config.weight_shapes()
        self.state = {"weights": torch.cat([model.weights[name].flatten() for name in self.shapes])}
        self.state |= {
            "mean": torch.zeros_like(self.state["weights"]),
            "square": torch.zeros_like(self.state["weights"]),
            "average": self.state["weights"].clone(),
            "best": self.state["weights"].clone(),
            "norm": torch.full((), torch.inf, device=model.device),
        }
        if readout is not None:  # weights of hints: Adam too, at a rate of their own, and no part of the subject
            self.state["readout"] = readout.to(model.device)
            for name in ("mean", "square"):
                self.state[f"readout_{name}"] = torch.zeros_like(self.state["readout"])
        self.step = 0

    def leaves(self) -> tuple[Transformer, *tuple[Tensor, ...]]:
        """The transformer made of the vector, and what gradients arrive at: the vector, and that of the hints."""
        flat = self.state["weights"].detach().requires_grad_()
        hints = [self.state["readout"].detach().requires_grad_()] if "readout" in self.state else []
        return self._transformer(flat), flat, *hints

    def averaged(self) -> Transformer:
        """The transformer made of the moving average."""
        return self._transformer(self.state["average"].clone())

    def transformer(self, name: str) -> Transformer:
        """The transformer made of a vector of the state, whose weights are views of it."""
        return self._transformer(self.state[name])

    def keep(self) -> None:
        """Remember the average as the best there was."""
        self.state["best"] = self.state["average"].clone()

    def go_back(self) -> None:
        """Continue from the best there was, with the moments of a new beginning."""
        self.step = 0
        for name in ("weights", "average"):
            self.state[name] = self.state["best"].clone()
        for name in self.state:
            if name.endswith(("mean", "square")):
                self.state[name] = torch.zeros_like(self.state[name])

    def _transformer(self, flat: Tensor) -> Transformer:
        parts = flat.split([math.prod(shape) for shape in self.shapes.values()])
        weights = {n: part.view(shape) for (n, shape), part in zip(self.shapes.items(), parts, strict=True)}
        return Transformer(self.config, weights)

    def update(self, gradient: Tensor, lr: float, clip: float) -> None:
        """One step against the gradient, whose norm is clipped to `clip` and to twice what it has been of late.

        Few masks make a large gradient; against second moments of many small ones it would undo what was learnt.
        """
        gradient = gradient if self.learns is None else gradient * self.learns
        norm = gradient.norm()
        most = (2 * self.state["norm"]).clamp(max=clip)
        gradient = gradient * (most / norm.clamp(min=most))
        self.step += 1
        kept = norm.clamp(max=most)
        self.state["norm"] = kept if self.step == 1 else self.state["norm"].lerp(kept, 0.02)
        self.state["weights"] = self.state["weights"] - self._step("", gradient, lr)
        self.state["average"].lerp_(self.state["weights"], 1 - min(self.decay, self.step / (self.step + 9)))

    def update_readout(self, gradient: Tensor) -> None:
        """One step of the hints' weights, after `update`."""
        self.state["readout"] = self.state["readout"] - self._step("readout_", gradient, READOUT_RATE)

    def _step(self, kind: str, gradient: Tensor, lr: float) -> Tensor:
        moments = self.state[f"{kind}mean"], self.state[f"{kind}square"]
        return adam_step(*moments, gradient, self.step, lr, self.betas)
