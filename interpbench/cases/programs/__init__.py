"""The programs of core's cases, by what they do."""
