"""The command line, one module a command. Every module is imported at every start: heavy imports are in functions.

Results go to stdout (`--json` for machines), progress and errors to stderr. Status 0: success, 1: something failed or
is not certified, 2: a usage error. Annotations of commands are not strings: Typer would compile each at every start.
"""

import sys
from typing import Annotated

import typer

from interpbench.cli import bench, eval, generate, groups, hub, list, plugins, report, score, show, try_, verify  # noqa: F401
from interpbench.cli.app import app, help_if_alone
from interpbench.cli.console import STOPPED
from interpbench.cli.hints import with_hint
from interpbench.cli.streams import drop_unwritten, prepare, tell
from interpbench.errors import InterpbenchError, UsageError


def main() -> None:
    """Run the command line and end the process with its status."""
    prepare()
    if sys.stdout is None:
        sys.exit(_fail("stdout is closed: give it a file, a pipe or /dev/null", 1))
    status = _status()
    drop_unwritten()
    sys.exit(status)


def _status() -> int:
    """The status that the command ends with; an error is told in one line."""
    try:
        status = int(app(standalone_mode=False) or 0)
        sys.stdout.flush()
        return status
    except InterpbenchError as error:
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except typer.TyperException as error:
        return _fail(with_hint(error.format_message(), error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return STOPPED
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}", 1)


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
    else:
        help_if_alone(context)
