"""Stage 7: a changed workload takes over the traffic step by step. Old and new replicas in, next actions out."""
