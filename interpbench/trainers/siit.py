"""Strict interchange intervention training: a subject whose circuit is the reference's, on nodes and on edges.

Source: Geiger et al. 2021 (arXiv 2112.00826, interchange intervention training), Gupta et al. 2024 (arXiv 2407.14494,
strictness). One idea carries all terms: a training row is an input x, a source x', at most one reference variable
taken from x', and a set of things *outside* the true circuit that take their values from x' too. The subject must
answer what the reference answers under the same interchange; what is outside must not matter. So

    behaviour    no variable, nothing outside replaced        interchange    a variable, nothing outside
    strict       silent nodes or outside edges replaced, with or without a variable

are the same forward pass under masks that differ. Five things decide (measured, see docs/subjects.md):

- strictness on *edges*, not only on nodes;
- *the circuit first*: training starts with every outside edge replaced on every row, so that the algorithm is learnt
  where it belongs, and opens the rest when measurement says that the circuit stands;
- sources whose *positions* are permuted, and zeros and means instead of sources, on rows without a variable: one
  circuit, whatever the ablation;
- *loud silent nodes*: they keep the random weights they start with, by which they write into a few directions that the
  circuit does not read, and are turned up, a little at each measurement, as long as the circuit stands;
- *hints* and *calm*: a probe reads each variable off its node, and the circuit's nodes are kept from shouting.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpbench.trainers.settings import Config, IitConfig, NaturalConfig

if TYPE_CHECKING:
    from interpbench.cases.case import Case
    from interpbench.trainers.trainer import Trained


class SiitTrainer:
    """Strict interchange intervention training (arXiv 2407.14494), strict on nodes and on edges."""

    name = "siit"
    Config: type[Config] = Config

    def train(
        self,
        case: Case,
        config: Config,
        folder: Path | None = None,
        progress: Callable[[dict[str, Any]], None] = lambda facts: None,
    ) -> Trained:
        """Train a subject of `case`; see `interpbench.trainers.loop.train`."""
        from interpbench.trainers.loop import train

        return train(case, config, folder, progress)


class IitTrainer(SiitTrainer):
    """Interchange intervention training (arXiv 2112.00826): what lies outside the circuit is left free."""

    name = "iit"
    Config = IitConfig


class NaturalTrainer(SiitTrainer):
    """Training on the task alone."""

    name = "natural"
    Config = NaturalConfig


TRAINERS = (SiitTrainer(), IitTrainer(), NaturalTrainer())
