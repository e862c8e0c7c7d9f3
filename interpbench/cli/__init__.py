"""The command line. Each command is a few lines; what is heavy is imported inside.

Results go to stdout (`--json` for machines), progress and errors to stderr. Status 0: good, 1: something failed or
fell short, 2: a mistake in what was asked. Annotations are not strings in this folder: Typer would compile every one of
them at every start.
"""

import os
import sys
from typing import Annotated

import typer

from interpbench.cli import groups, hub, judging, listing  # noqa: F401 (their commands are the app's)
from interpbench.cli.app import app
from interpbench.errors import InterpbenchError, UsageError


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
