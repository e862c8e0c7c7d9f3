"""The command line, one module a command. Every module is imported at every start: heavy imports are in functions.

Results go to stdout (`--json` for machines), progress and errors to stderr. Status 0: success, 1: something failed or
is not certified, 2: a usage error. Annotations of commands are not strings: Typer would compile each at every start.
"""

import sys
from typing import Annotated

import typer

from interpbench.cli import bench, eval, generate, groups, hub, list, plugins, report, score, show, try_, verify  # noqa: F401
from interpbench.cli.app import app
from interpbench.cli.console import STOPPED
from interpbench.cli.streams import prepare, tell, unwritten
from interpbench.errors import InterpbenchError, UsageError, one_line


def main() -> None:
    """Run the command line and end the process with its status."""
    prepare()
    sys.exit(_fail("stdout is closed: give it a file, a pipe or /dev/null", 1) if sys.stdout is None else _status())


def _status() -> int:
    """The status of the command; output that cannot be written makes it 1."""
    try:
        status = int(app(standalone_mode=False) or 0)
    except InterpbenchError as error:
        status = _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except typer.TyperException as error:
        status = _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        status = STOPPED
    except OSError as error:
        lost = unwritten()
        return _lost(lost) if lost else _fail(one_line(error), 1)
    lost = unwritten()
    return _lost(lost) if lost else status


def _lost(error: OSError) -> int:
    """The reader of our output may have gone, as `head` does: that is no error to tell."""
    return 1 if isinstance(error, BrokenPipeError) else _fail(f"stdout: {error.strerror}; the output is lost", 1)


def _fail(message: str, status: int) -> int:
    tell("error: " + " ".join(message.split()))
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
