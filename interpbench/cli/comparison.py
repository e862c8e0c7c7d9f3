"""How `report` and `bench` print a comparison."""

import shutil
import sys
from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from interpbench.cli.console import WIDE, print_lines, print_table

if TYPE_CHECKING:
    from interpbench.report.comparison import Comparison
    from interpbench.report.folders import Failure


def print_comparison(comparison: "Comparison", failures: "Sequence[Failure]", timed: bool = True) -> None:
    """Print what a comparison says and its tables, none wider than the terminal; without `timed` no seconds."""
    from interpbench.report import formats
    from interpbench.report.statements import statements

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    for line in statements(comparison):
        print_lines(wrap(line, width) if sys.stdout.isatty() else [line])
    print_lines([""])
    for table in formats.tables(comparison, failures, timed):
        for part in formats.fit(table, width):
            print_table(part.title, part.columns, part.rows)
