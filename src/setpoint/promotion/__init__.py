"""Stage 5: candidates pass gates and become pins. Digests and configuration trees in, signed pin commits out."""
