"""`python -m interpbench` is the command `interpbench`."""

from interpbench.cli import main

main()
