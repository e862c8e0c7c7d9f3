"""One run from top to bottom, many runs, and how they are kept on disk."""
