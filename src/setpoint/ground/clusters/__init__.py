"""Clusters that this home may work on: named by the operator, so that a name in Git is no address and no file."""
