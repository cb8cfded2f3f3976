"""Stage 8: which build runs where, why, and who allowed it. Records in, answers out; reads only."""
