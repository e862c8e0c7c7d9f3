"""`python -m interpbench.catalogue` measures the facts of core's cases anew and writes them down."""

from interpbench.catalogue.facts import main

main()
