"""Pods of the namespaces that environments live in: which build each of them runs, and which of them no pin names."""
