"""Stage 3: task outputs and source files become OCI images and files, the same bytes wherever they are built. Layers in, digests out."""
