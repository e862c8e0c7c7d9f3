"""The state of a training run, and its checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialized

from interpbench.errors import InterpbenchError
from interpbench.files import parse_json, write_bytes
from interpbench.trainers.optimizer import FlatAdam

NAME = "checkpoint.safetensors"
EXTENDED = {"steps", "seconds"}
"""Limits of a run. No step depends on them: a run can be extended."""


@dataclass
class Progress:
    """The state of a training run apart from weights, moments and random numbers.

    `short_edges`: what the accuracy lacks with each edge alone replaced; `short_under`: with all outside edges
    replaced, under each of the ablations. Both are empty before they are measured.
    """

    step: int = 0
    is_open: bool = False
    opened: int = 0
    starts: int = 0
    began: int = 0
    restart: bool = False
    variable_weights: list[float] = field(default_factory=list)
    short_edges: list[float] = field(default_factory=list)
    short_under: list[float] = field(default_factory=list)
    lr: float = 0.0
    best: float = 0.0
    lowest: float = 0.0
    reached: float = -1.0
    waited: int = 0
    seconds: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)
    done: bool = False


def save(
    folder: Path, settings: Mapping[str, Any], adam: FlatAdam, state: Progress, generator: torch.Generator
) -> None:
    """Write one file, replaced atomically: tensors, with settings and progress as JSON in its metadata."""
    tensors = {**adam.state, "generator": generator.get_state()}
    facts = {"settings": settings, "progress": asdict(state), "adam_step": adam.step}
    write_bytes(folder / NAME, serialized(tensors, {"interpbench": json.dumps(facts)}))


def resume(
    folder: Path, settings: Mapping[str, Any], adam: FlatAdam, state: Progress, generator: torch.Generator
) -> None:
    """Restore optimizer, state and generator, in place, from the checkpoint in `folder`, if there is one.

    Raises InterpbenchError if it is damaged or was made with other settings.
    """
    path = folder / NAME
    if not path.exists():
        return
    try:
        with safe_open(path, "pt") as file:
            facts = parse_json(file.metadata()["interpbench"])
        tensors = load_file(path)
        generator.set_state(tensors.pop("generator"))
        made_with, adam.step = facts["settings"], int(facts["adam_step"])
        vars(state).update(facts["progress"])
        if any(tensors[name].shape != value.shape for name, value in adam.state.items()):
            raise ValueError("weights of another size")
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InterpbenchError(f"the checkpoint {path} is damaged ({error}); remove it to start again") from None
    for name in sorted(settings.keys() - EXTENDED):
        if settings[name] == made_with.get(name):
            continue
        text = f"the checkpoint {path} was made with {name}={made_with.get(name)}, not {settings[name]}"
        raise InterpbenchError(f"{text}; use the same settings or another folder")
    adam.state = tensors
