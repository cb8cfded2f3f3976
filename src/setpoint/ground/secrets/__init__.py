"""Secrets of repositories: named values that trusted tasks are given; the journal knows names and versions, never a value."""
