"""Logins to other people's registries, for bases and for copies; the journal knows hosts and users, never a password."""
