"""Generators: applications and environments that are made from what is there, by files that owners accepted (law 9)."""
