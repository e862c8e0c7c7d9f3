"""`generate`: subjects of generated cases, and how many of them are accepted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from interpbench.cli.app import AsJson, Force, app
from interpbench.cli.choose import split
from interpbench.errors import UsageError

if TYPE_CHECKING:
    from interpbench.plugins.registry import Registry
    from interpbench.properties.property import Property

    Planted: TypeAlias = tuple[Property, int, int]
    """Property, level and seed of a case."""

SETTINGS = {"margin": 0.991, "loudness": 2.5, "eval_every": 50, "patience": 20}
"""Where they are not the defaults of `siit`: training ends as soon as every measured accuracy reaches the margin, and
silent nodes are louder than the circuit's. A circuit whose outside does as much as a certificate allows is harder to
find: on `redundancy-2-0` ACDC has an average precision of .907 so, and of 1.000 with the defaults of `siit`.
"""


@app.command()
def generate(
    property: Annotated[
        str, typer.Option("--property", metavar="NAME,...", help="Properties, with commas between (default: all).")
    ] = "",
    level: Annotated[str, typer.Option(metavar="N,...", help="Levels, with commas between (default: all).")] = "",
    seeds: Annotated[str, typer.Option(metavar="FROM:TO", help="Seeds, the last not included.")] = "0:1",
    suite: Annotated[
        str, typer.Option(metavar="NAME", help="The cases of `hard` or `hard-test` instead, whatever their properties.")
    ] = "",
    missing: Annotated[bool, typer.Option("--missing", help="Only cases without a bundled subject.")] = False,
    training_seed: Annotated[
        int, typer.Option(min=0, help="Seed of the trainings: another makes other subjects of the same cases.")
    ] = 0,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds of training a subject at most (0: no limit).")] = 600,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the subjects.")] = Path("generated"),
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make, train and certify subjects of generated cases, such as `redundancy-2-17` (property, level, seed).

    Existing subjects are skipped, so that the same command continues after an interruption. A table says how many
    subjects of each property and level are certified, and why models were rejected before training. Status 1 if one
    failed; a subject without a certificate has not failed.
    """
    from interpbench.cli.console import print_json, print_table
    from interpbench.cli.train import train_many
    from interpbench.plugins import registry
    from interpbench.properties.generated import name_of
    from interpbench.runs.generate import COLUMNS, acceptance
    from interpbench.runs.make import Asked
    from interpbench.subjects.zoo import bundled
    from interpbench.trainers.settings import Config

    installed = registry.load()
    if suite and (property or level or seeds != "0:1"):
        raise UsageError("--suite says which cases; leave out --property, --level and --seeds")
    drawn = _of_suite(suite, installed) if suite else _drawn(split(property), split(level), seeds, installed)
    config = Config(seed=training_seed, seconds=seconds, **SETTINGS)
    drawn = [each for each in drawn if not (missing and bundled(name_of(*each)))]
    names = [name_of(*each) for each in drawn]
    asked = [Asked("siit", name, config, out / name / "siit", 1, force) for name in names]
    made, kept, errors = train_many(asked, jobs, as_json)
    cards = kept | made
    rows, names_of = acceptance(drawn, cards), [column.rstrip(">") for column in COLUMNS]
    if as_json:
        print_json(
            {"subjects": cards, "errors": errors, "acceptance": [dict(zip(names_of, row, strict=True)) for row in rows]}
        )
    else:
        print_table("acceptance", COLUMNS, rows)
    if errors:
        raise typer.Exit(1)


def _of_suite(suite: str, installed: Registry) -> list[Planted]:
    from interpbench.catalogue.suites import suite_cases
    from interpbench.properties.generated import parts_of

    parts = [parts_of(case.name, installed.properties) for case in suite_cases(suite, installed)]
    found = [each for each in parts if each is not None]
    if len(found) < max(1, len(parts)):
        raise UsageError(f"suite '{suite}' does not hold generated cases; `hard` and `hard-test` do")
    return found


def _drawn(names: list[str], levels: list[str], seeds: str, installed: Registry) -> list[Planted]:
    chosen = [installed.property(name) for name in names or installed.properties]
    only, numbers = [_whole(text, "level") for text in levels], _seeds(seeds)
    return [
        (each, number, seed) for each in chosen for number in only or range(1, len(each.levels) + 1) for seed in numbers
    ]


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    start, stop = _whole(first, "seed"), _whole(last or first, "seed") + (not last)
    if stop <= start:
        raise UsageError(f"seeds are {text!r}, expected FROM:TO with TO above FROM")
    return range(start, stop)


def _whole(text: str, what: str) -> int:
    if not text.isdigit():
        raise UsageError(f"{what} is {text!r}, expected a whole number")
    return int(text)
