"""The command line. Each command is a few lines; what is heavy is imported inside.

Results go to stdout (`--json` for machines), progress and errors to stderr. Status 0: good, 1: something failed or
fell short, 2: a mistake in what was asked.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from interpbench.errors import InterpbenchError, UsageError

app = typer.Typer(
    help="Circuit discovery on transformers whose true circuit is known.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

CaseName = Annotated[str, typer.Argument(metavar="CASE", help="Name of a case; see `interpbench list`.")]
Cases = Annotated[str, typer.Option("--case", metavar="CASE,...", help="Cases, with commas between.")]
Suite = Annotated[str, typer.Option("--suite", metavar="NAME", help="All cases of a suite.")]
Model = Annotated[str, typer.Option("--model", metavar="MODEL", help="Kind of subject (siit, hub, ...) or a folder.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the data.")]
Samples = Annotated[int, typer.Option("--samples", min=1, help="Pairs of clean and corrupted inputs.")]
Ablation = Annotated[Literal["resample", "mean", "zero"], typer.Option("--ablation", help="What a cut edge carries.")]
By = Annotated[Literal["nodes", "edges"], typer.Option("--by", help="Replace nodes, or single edges.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw a chart (svg, png or pdf).")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> None:
    """Run the command line and end the process with its status."""
    try:
        status = app(standalone_mode=False)
    except InterpbenchError as error:
        status = _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except typer.TyperException as error:
        status = _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except BrokenPipeError:  # whoever read our output has gone: nothing more can be written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


def _fail(message: str, status: int) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return status


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        from interpbench import __version__

        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


lists = typer.Typer(help="List cases, techniques and trainers, or one kind: `list models`.")
app.add_typer(lists, name="list")


def _list(what: str) -> Callable[..., None]:
    def command(context: typer.Context, as_json: AsJson = False) -> None:
        if context.invoked_subcommand is None:
            from interpbench.commands import inventory

            inventory.list_(what, as_json)

    return command


lists.callback(invoke_without_command=True)(_list("all"))
for _part in ("techniques", "trainers", "models", "suites"):
    lists.command(_part, help=f"List the {_part}.")(_list(_part))


@lists.command("cases")
def list_cases(
    format: Annotated[Literal["table", "json", "csv", "croissant"], typer.Option(help="Form of the list.")] = "table",
    as_json: AsJson = False,
) -> None:
    """List the cases; as CSV or Croissant (JSON-LD) for other catalogues."""
    from interpbench.commands import inventory

    inventory.list_cases("json" if as_json else format)


hub = typer.Typer(help="Published subjects: fetch them, convert them, publish ours.")
app.add_typer(hub, name="hub")


@hub.command()
def pull(
    cases: Annotated[list[str] | None, typer.Argument(metavar="[CASE...]", help="Default: all there are.")] = None,
    repo: Annotated[str, typer.Option(metavar="NAME", help="Repository.")] = "cybershiptrooper/InterpBench",
    revision: Annotated[
        str, typer.Option(metavar="COMMIT", help="Commit, branch or tag.")
    ] = "a1242a84f8a4d07d1be9a8f5ec710415198016b2",
    as_json: AsJson = False,
) -> None:
    """Fetch published subjects and convert them once; then `--model hub` is one of them."""
    from interpbench.commands import hub

    raise typer.Exit(hub.pull(cases or [], repo, revision, as_json))


@hub.command()
def convert(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A published folder (ll_model.pth and so on).")],
    case: Annotated[str, typer.Option(metavar="CASE", help="Default: the name of the folder.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Default: subjects/CASE/hub.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Convert a local folder of the published form into a subject, for `--model FOLDER`."""
    from interpbench.commands import hub

    hub.convert(folder, case, out, force, as_json)


@hub.command()
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A subject of ours.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Repository, as in `you/name`.")],
    private: Annotated[bool, typer.Option("--private", help="If the repository is made, make it private.")] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Upload a subject with a card for people and the benchmark's metadata."""
    from interpbench.commands import hub

    hub.push(folder, repo, private, force, as_json)


plugins = typer.Typer(help="List the installed plugins: what they provide, or why they are broken; start a new one.")
app.add_typer(plugins, name="plugins")


@plugins.callback(invoke_without_command=True)
def _plugins(context: typer.Context, as_json: AsJson = False) -> None:
    if context.invoked_subcommand is None:
        from interpbench.commands import inventory

        inventory.plugins(as_json)


@plugins.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called: lower-case letters, digits, _.")],
    technique: Annotated[bool, typer.Option("--technique", help="A technique (the default).")] = False,
    case: Annotated[bool, typer.Option("--case", help="A case.")] = False,
    trainer: Annotated[bool, typer.Option("--trainer", help="A trainer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the package of a new plugin into interpbench-NAME: it installs, runs, and passes its own tests."""
    from interpbench.commands import scaffold

    chosen = [kind for kind, wanted in zip(scaffold.KINDS, (technique, case, trainer), strict=True) if wanted]
    if len(chosen) > 1:
        raise UsageError(f"--{' and --'.join(chosen)}: one kind at a time")
    scaffold.new(name, chosen[0] if chosen else "technique", as_json)


@app.command()
def show(
    case: CaseName,
    model: Annotated[str, typer.Option(metavar="MODEL", help="Kind of subject or a folder (default: the first).")] = "",
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the true circuit.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Describe a case: shapes, true circuit, and the certificate of its subject."""
    from interpbench.commands import describe

    describe.show(case, model, plot, force, as_json)


@app.command("try")
def try_(
    case: CaseName,
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="One input, without BOS.")],
    model: Annotated[str, typer.Option(metavar="MODEL", help="Kind of subject or a folder (default: the first).")] = "",
    as_json: AsJson = False,
) -> None:
    """Show what the program, its reference and the subject answer for one input."""
    from interpbench.commands import describe

    describe.try_(case, tokens, model, as_json)


@app.command()
def verify(
    case: Annotated[str, typer.Argument(metavar="[CASE,...]", help="Cases, with commas between.")] = "",
    suite: Suite = "",
    model: Model = "siit",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure the certificates of subjects anew; status 1 if one is not certified."""
    from interpbench.commands import certify

    raise typer.Exit(certify.verify(case, suite, model, seed, as_json))


@app.command()
def score(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Circuit file of MIB or EAP-IG (.json, .pt), or ours.")],
    case: Annotated[str, typer.Option(metavar="CASE", help="The case that the circuit is of.")],
    model: Model = "siit",
    absolute: Annotated[bool, typer.Option("--absolute", help="Rank edges by the size of their scores.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge a circuit or edge scores that any tool has found."""
    from interpbench.commands import score

    score.score(file, case, model, absolute, as_json)


Unique = Annotated[bool, typer.Option("--unique", help="Draw no clean input twice.")]
Protocol = Annotated[
    Literal["default", "paper", "mib"], typer.Option("--protocol", help="What is measured beside the ranking.")
]
Resamples = Annotated[int, typer.Option("--resamples", min=1, help="Data seeds, from --seed on.")]
Runs = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where runs are kept.")]


def _run(
    technique: str,
    config: Any,
    case: Cases = "",
    suite: Suite = "",
    model: Model = "siit",
    samples: Samples = 1000,
    seed: Seed = 0,
    resamples: Resamples = 1,
    ablation: Ablation = "resample",
    unique: Unique = False,
    protocol: Protocol = "default",
    out: Runs = Path("runs"),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    from interpbench.commands import discover

    data = {"samples": samples, "seed": seed, "ablation": ablation, "unique": unique, "protocol": protocol}
    settings = data | {"out": out, "force": force, "config": config}
    raise typer.Exit(discover.run(technique, case, suite, model, settings, resamples, as_json))


@app.command()
def bench(
    techniques: Annotated[str, typer.Option(metavar="NAME,...", help="Techniques, with commas between.")],
    case: Cases = "",
    suite: Suite = "",
    models: Annotated[str, typer.Option(metavar="MODEL,...", help="Models, with commas between.")] = "siit",
    grid: Annotated[
        list[str] | None, typer.Option(metavar="TECHNIQUE.OPTION=VALUE,...", help="Settings to go through.")
    ] = None,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[TECHNIQUE.OPTION=VALUE,...]", help="More of the grid.")
    ] = None,
    samples: Samples = 1000,
    seed: Seed = 0,
    resamples: Resamples = 1,
    ablation: Ablation = "resample",
    unique: Unique = False,
    protocol: Protocol = "default",
    jobs: Annotated[int, typer.Option(min=1, help="Processes at a time.")] = os.cpu_count() or 1,
    out: Runs = Path("runs"),
    certified: Annotated[bool, typer.Option("--certified", help="Leave out subjects without a certificate.")] = False,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be run, and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run techniques on many cases, over processes, and compare them. What is done already is not done again."""
    from interpbench.bench import Matrix
    from interpbench.commands import bench
    from interpbench.runner import Data

    methods, kinds = (tuple(filter(None, map(str.strip, text.split(",")))) for text in (techniques, models))
    data = Data(samples, seed, ablation, unique, protocol)
    matrix = Matrix(methods, kinds, (*(grid or ()), *(more or ())), data, resamples, out, certified)
    raise typer.Exit(bench.run(case, suite, matrix, jobs, force, dry_run, as_json))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Folders of runs.")],
    form: Annotated[
        Literal["text", "csv", "markdown", "json", "html"] | None,
        typer.Option("--format", help="Default: by the ending of --out, or text."),
    ] = None,
    metric: Annotated[str, typer.Option(metavar="NAME", help="What is compared: heads.auroc, paper.area, ...")] = (
        "heads.auroc"
    ),
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there, instead of to stdout.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs: tables, statistics, figures; as text, CSV, Markdown, JSON or one page of HTML."""
    from interpbench.commands import report

    raise typer.Exit(report.report(runs, "json" if as_json else form or "", metric, out, force))


def _train(
    trainer: str,
    config: Any,
    case: Cases = "",
    suite: Suite = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Default: subjects/CASE/TRAINER. For several cases: instead of subjects."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds to try; the best certificate is kept.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at a time, for several cases.")] = 1,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    from interpbench.commands import train

    settings = train.Settings(config, out, seeds, jobs, force)
    raise typer.Exit(train.train(trainer, case, suite, settings, as_json))


evaluations = typer.Typer(help="Measure nodes, circuits, and how realistic subjects are.", no_args_is_help=True)
app.add_typer(evaluations, name="eval")


@evaluations.command("node-effects")
def node_effects(
    case: Cases = "",
    suite: Suite = "",
    model: Model = "siit",
    metric: Annotated[Literal["accuracy", "kl_div", "kl_div_self"], typer.Option(help="What may change.")] = "accuracy",
    ablation: Ablation = "resample",
    samples: Annotated[int, typer.Option(min=1, help="Pairs of inputs; all pairs if there are no more.")] = 1000,
    seed: Seed = 0,
    plot: Plot = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """What changes if one node alone carries another input's value: circuit nodes against silent ones."""
    from interpbench.commands import evaluations

    chosen = evaluations.Chosen(case, suite, model, plot, force, as_json)
    evaluations.node_effects(chosen, metric=metric, ablation=ablation, samples=samples, seed=seed)


@evaluations.command("circuit")
def circuit(
    case: Cases = "",
    suite: Suite = "",
    model: Model = "siit",
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A circuit: scores.json of a run, MIB's JSON, or circuit.json.")
    ] = None,
    true: Annotated[bool, typer.Option("--true", help="The true circuit.")] = False,
    complement: Annotated[bool, typer.Option("--complement", help="All but that circuit.")] = False,
    by: By = "edges",
    ablation: Ablation = "resample",
    samples: Samples = 1000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Accuracy with everything outside a circuit replaced; MIB's numbers if the circuit's file has scores."""
    from interpbench.commands import evaluations

    chosen = evaluations.Chosen(case, suite, model, None, False, as_json)
    settings = {"by": by, "ablation": ablation, "samples": samples, "seed": seed}
    evaluations.circuit(chosen, file, true, complement, **settings)


@evaluations.command("realism")
def realism(
    case: Cases = "",
    suite: Suite = "",
    technique: Annotated[str, typer.Option(metavar="NAME", help="Whose ranking of the edges to follow.")] = "",
    true: Annotated[bool, typer.Option("--true", help="The true circuit instead of a found one.")] = False,
    models: Annotated[
        str, typer.Option(metavar="MODEL,...", help="Kinds of model, or folders.")
    ] = "siit,natural,iit,tracr",
    by: By = "nodes",
    ablation: Ablation = "mean",
    thresholds: Annotated[str, typer.Option(metavar="X,...", help="Keep what scores above; else top shares.")] = "",
    samples: Samples = 1000,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where runs are kept.")] = Path("runs"),
    plot: Plot = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Scores of growing circuits in the models of a case, and how their curves go with the natural model's."""
    from interpbench.commands import evaluations

    chosen = evaluations.Chosen(case, suite, "", plot, force, as_json)
    settings = {"by": by, "ablation": ablation, "samples": samples, "seed": seed, "out": out}
    evaluations.realism(chosen, technique, true, models, thresholds, **settings)


COMMANDS: dict[str, Callable[..., None]] = {"technique": _run, "trainer": _train}
"""What is done with a thing of a kind that plugins provide; first its name, then `config`, then options of all."""


def _group(kind: str) -> type[TyperGroup]:
    """A group with one subcommand for everything of a kind that plugins provide; its `Config` is its options."""

    class Group(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            from interpbench.plugins import load

            return list(getattr(load(), f"{kind}s"))

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            from interpbench.options import with_options
            from interpbench.plugins import load

            thing = getattr(load(), kind)(cmd_name)
            single = typer.Typer(add_completion=False)
            options = with_options(functools.partial(COMMANDS[kind], cmd_name), thing.Config, cmd_name)
            single.command(cmd_name, help=(thing.__doc__ or "").strip())(options)
            return typer.main.get_command(single)

    return Group


for _name, _kind, _help in (
    ("run", "technique", "Find circuits with a technique and judge them. `run TECHNIQUE --help`: its options."),
    ("train", "trainer", "Make a subject with a trainer. `train TRAINER --help`: its options."),
):
    app.add_typer(typer.Typer(cls=_group(_kind), help=_help), name=_name)
