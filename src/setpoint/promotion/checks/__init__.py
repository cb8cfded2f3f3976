"""Checks of a gate: a request or a command asked of the environments in `after:`, and what became of the commands."""
