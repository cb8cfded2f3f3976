"""Stage 1: commits become revisions. Pushes in, revisions out; called by the control loop and the Git endpoint."""
