"""The judge of a canary: is the new revision worse than the stable one, and how sure is that. Pure numbers in, pure numbers out."""
