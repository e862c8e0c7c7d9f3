"""Checks that hold for techniques and trainers alike, and what all checks are made of."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch

from interpbench.errors import UsageError
from interpbench.plugins.contract import breaches, sources
from interpbench.plugins.options import check_bounds, check_fields
from interpbench.torch_state import KINDS_OF_DEVICE

HEAVY = ("torch", "jax")


def check_name(worker: Any, config: Any = None) -> None:
    """The name is a word that can be typed and be a folder's."""
    name = worker.name
    assert isinstance(name, str) and name.replace("-", "").replace("_", "").isalnum(), f"{name!r} is not a valid name"


def check_config_is_simple(worker: Any, config: Any = None) -> None:
    """The configuration is a frozen dataclass of simple fields with defaults and help texts."""
    kind = worker.Config
    assert dataclasses.is_dataclass(kind), f"{kind} is not a dataclass"
    assert kind.__dataclass_params__.frozen, f"{kind} is not frozen"  # type: ignore[attr-defined]
    try:
        check_fields(worker.Config)
    except TypeError as error:
        raise AssertionError(str(error)) from None
    for field in dataclasses.fields(kind):
        assert field.metadata.get("help"), f"{field.name} has no help text: field(metadata={{'help': ...}})"


def check_config_round_trips(worker: Any, config: Any = None) -> None:
    """Configurations survive JSON, as in a run's record, and the command line, as on a subject's card."""
    for each in (worker.Config(), *([] if config is None else [config]), *_changed(worker.Config)):
        data = json.loads(json.dumps(dataclasses.asdict(each), allow_nan=False))
        again = worker.Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
        assert again == each, f"{each} came back from JSON as {again}"
        typed = _parsed(worker.Config, each)
        assert typed == each, f"{each} came back from the command line as {typed}"


def _changed(kind: type[Any]) -> Iterator[Any]:
    """Configurations with one field that is not at its default, where the dataclass admits it."""
    default, hints = kind(), get_type_hints(kind)
    for field in dataclasses.fields(kind):
        for value in _others(hints[field.name], getattr(default, field.name)):
            try:
                yield check_bounds(dataclasses.replace(default, **{field.name: value}), "it")
            except (ValueError, UsageError):
                continue


def _others(hint: Any, value: Any) -> list[Any]:
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if get_origin(hint) is tuple:
        return [(each,) for each in _others(get_args(hint)[0], None)]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value + 1, value / 2 if isinstance(value, float) else value + 2]
    if isinstance(value, str):
        return ["some-text"]
    return {int: [3], float: [0.25], str: ["text"]}.get(hint, [])


def _parsed(kind: type[Any], config: Any) -> Any:
    import typer

    from interpbench.plugins.options import arguments, with_options

    received: list[Any] = []
    app = typer.Typer(add_completion=False)
    app.command()(with_options(lambda config: received.append(config), kind, "it"))
    app(arguments(config), standalone_mode=False)
    return received[0]


def check_options_are_its_own(worker: Any, config: Any = None) -> None:
    """No field has the name of an option that the command has anyway."""
    from interpbench.cli.groups import COMMANDS
    from interpbench.plugins.options import with_options

    command = COMMANDS["technique" if hasattr(worker, "discover") else "trainer"]
    try:
        with_options(functools.partial(command, worker.name), worker.Config, worker.name)
    except ValueError as error:
        raise AssertionError(str(error)) from None


def check_import_is_light(worker: Any, config: Any = None) -> None:
    """Importing the plugin imports no torch: every command imports every plugin."""
    import_light(type(worker).__module__)


def import_light(module: str) -> None:
    """Raise AssertionError if importing a module, in a process of its own, imports what is heavy."""
    code = f"import sys, {module}; print(*[m for m in {HEAVY} if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.strip(), f"importing {module} imports {done.stdout.strip()}; import it where it is used"


def check_imports_public_modules(worker: Any, config: Any = None) -> None:
    """The plugin imports only from the public modules of interpbench, and only names in their `__all__`."""
    import_public(type(worker).__module__)


def import_public(module: str) -> None:
    """Raise AssertionError if the package of a module, unless it is interpbench itself, uses what is not public."""
    if module.partition(".")[0] != "interpbench":
        found = [f"{name} {breach}" for name, tree in sources(module) for breach in breaches(tree)]
        assert not found, "; ".join(found)


def global_state() -> dict[str, Any]:
    """What is shared by all code of the process and is nobody's to change.

    The generator of `random` is not among it: beartype draws from it, where types are checked.
    """
    return {
        "numpy's global generator": [str(part) for part in np.random.get_state()],
        "torch's global generator": torch.get_rng_state().tolist(),
        "whether gradients are enabled": torch.is_grad_enabled(),
        "torch's default type": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "autocast": [torch.is_autocast_enabled(kind) for kind in KINDS_OF_DEVICE],
    }


def unchanged_state(before: dict[str, Any]) -> None:
    """Raise AssertionError if global state is not what it was."""
    now = global_state()
    changed = [name for name, value in before.items() if value != now[name]]
    assert not changed, f"changed: {', '.join(changed)}; use a generator of your own, seeded by the configuration"
