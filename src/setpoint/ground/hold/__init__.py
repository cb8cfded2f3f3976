"""Holds: what overrides the pin at HEAD for a while (a rollback), and what stops new pins (a person); journalled, never a file."""
