"""The app, and the arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    help="Circuit discovery on transformers whose true circuit is known.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def help_if_alone(context: typer.Context) -> None:
    """Print the help of a group of commands if none of them is named."""
    if context.invoked_subcommand is None:
        print(context.get_help())


CaseName = Annotated[str, typer.Argument(metavar="CASE", help="Name of a case; see `interpbench list`.")]
Cases = Annotated[str, typer.Option("--case", metavar="CASE,...", help="Cases, with commas between.")]
Suite = Annotated[str, typer.Option("--suite", metavar="NAME", help="All cases of a suite.")]
Model = Annotated[str, typer.Option("--model", metavar="MODEL", help="Kind of subject (siit, hub, ...) or a folder.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the data.")]
Samples = Annotated[int, typer.Option("--samples", min=1, help="Pairs of clean and corrupted inputs.")]
Ablation = Annotated[
    Literal["resample", "positions", "mean", "zero"], typer.Option("--ablation", help="Value of an ablated edge.")
]
By = Annotated[Literal["nodes", "edges"], typer.Option("--by", help="Ablate nodes, or single edges.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw a chart (svg, png or pdf).")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing files; do completed runs again.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Unique = Annotated[bool, typer.Option("--unique", help="Draw every clean input at most once.")]
Protocol = Annotated[
    Literal["default", "paper", "mib"], typer.Option("--protocol", help="Metrics beside those of the ranking.")
]
Resamples = Annotated[int, typer.Option("--resamples", min=1, help="Number of data seeds, from --seed on.")]
Runs = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder of the runs.")]
