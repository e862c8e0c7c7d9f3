"""The command line, one module a command. Every module is imported at every start: heavy imports are in functions.

Results go to stdout (`--json` for machines), progress and errors to stderr. Status 0: success, 1: something failed or
is not certified, 2: a usage error. Annotations of commands are not strings: Typer would compile each at every start.
"""

import os
import sys
from typing import Annotated

import typer

from interpbench.cli import bench, eval, generate, groups, hub, list, plugins, report, score, show, try_, verify  # noqa: F401
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
    except BrokenPipeError:  # the reader of our output has gone: nothing more can be written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        status = _fail(f"{error.filename or 'output'}: {error.strerror}", 1)
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
