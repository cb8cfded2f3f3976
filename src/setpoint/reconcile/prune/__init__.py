"""Prune: what an application made and no longer wants is removed last, only when the inventory names it, and within a budget (law 7)."""
