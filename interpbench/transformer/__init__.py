"""A transformer every edge of which can be cut. Part of the contract with plugins."""

from __future__ import annotations

from interpbench.transformer.config import Config
from interpbench.transformer.model import Transformer, initialize
from interpbench.transformer.stream import Activations, Tap

__all__ = ["Activations", "Config", "Tap", "Transformer", "initialize"]
