"""`score`: a circuit or edge scores of any tool, judged against the true circuit."""

from pathlib import Path
from typing import Annotated

import typer

from interpbench.cli.app import Ablation, AsJson, Model, Protocol, app
from interpbench.cli.console import print_json
from interpbench.cli.run import print_protocol, print_results


@app.command()
def score(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Circuit file of MIB or EAP-IG (.json, .pt), or ours.")],
    case: Annotated[str, typer.Option(metavar="CASE", help="The case whose circuit it is.")],
    model: Model = "siit",
    absolute: Annotated[bool, typer.Option("--absolute", help="Rank edges by the size of their scores.")] = False,
    ablation: Ablation = "resample",
    protocol: Protocol = "default",
    as_json: AsJson = False,
) -> None:
    """Judge a circuit or edge scores found by any tool."""
    from interpbench.runs.score import score as judge

    result = judge(file, case, model, absolute=absolute, ablation=ablation, protocol=protocol)
    if as_json:
        print_json(result.record)
    else:
        print_results(file.name, [result])
        print_protocol([result])
