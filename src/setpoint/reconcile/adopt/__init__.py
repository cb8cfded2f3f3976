"""Adoption: a live value that drifted is written into the file of the delivery repository that sets it, on a branch."""
