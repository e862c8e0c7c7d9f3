"""Plugins: what they may provide, how they are found and checked, and their options."""
