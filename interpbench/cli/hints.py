"""What to say of an option that a command does not have: the one that is meant, or where options stand."""

from collections.abc import Mapping, Sequence
from typing import Any

MEANT: Mapping[str, Sequence[str]] = {
    "--epochs": ("--steps",),
    "--iterations": ("--steps",),
    "--learning-rate": ("--lr",),
    "--batch-size": ("--rows",),
    "--threshold": ("--tau", "--thresholds", "--faithful", "--margin"),
    "--seeds": ("--resamples",),
    "--n-samples": ("--samples",),
    "--output": ("--out",),
}
"""Options by the names that other tools give them: what stands here instead, if a command has it."""


def with_hint(message: str, error: Any) -> str:
    """The message of an error of Typer, and what would be right where that is known."""
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    if context is None:
        return message
    command, has = context.command, {name for each in context.command.params for name in each.opts}
    if option is None:
        extra = message.startswith("Got unexpected extra argument") and "--case" in has
        return f"{message}; cases are named with --case" if extra else message
    if hasattr(command, "list_commands"):
        return f"No such option: {option}; options stand behind a command: `{context.command_path} COMMAND {option}`"
    if meant := [name for name in MEANT.get(option, ()) if name in has]:
        return f"No such option: {option}; here it is {' or '.join(meant)}"
    if option == "--device":
        return f"No such option: {option}; this computes on the CPU (`train siit` has a --device)"
    return message
