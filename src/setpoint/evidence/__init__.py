"""Stage 4: what was tested and how it was built becomes signed statements attached to the digest. Results in, bundles out."""
