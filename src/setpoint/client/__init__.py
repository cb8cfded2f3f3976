"""The thin HTTP client that the command line uses; imports nothing heavy."""
