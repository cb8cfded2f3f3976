"""Stage 2: a revision becomes a run of tasks, each in a sandbox under a content key. Revisions in, task results out."""
