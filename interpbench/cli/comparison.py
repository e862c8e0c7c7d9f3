"""How `report` and `bench` print a comparison."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interpbench.cli.console import print_lines, print_prose, print_table

if TYPE_CHECKING:
    from interpbench.report.comparison import Comparison
    from interpbench.report.folders import Failure


def print_comparison(comparison: "Comparison", failures: "Sequence[Failure]", timed: bool = True) -> None:
    """Print what a comparison says and its tables; without `timed` no seconds."""
    from interpbench.report import formats
    from interpbench.report.statements import statements

    print_prose(statements(comparison))
    print_lines([""])
    for table in formats.tables(comparison, failures, timed):
        print_table(table.title, table.columns, table.rows)
