"""Stage 3: task outputs and source files become OCI images, byte for byte the same wherever they are built. Layers in, digests out."""
