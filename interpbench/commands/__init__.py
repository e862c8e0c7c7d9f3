"""What the commands do and show, one module for each or for a few that belong together; `interpbench.cli` is the thin
layer above, so that a command imports only what it needs.
"""
