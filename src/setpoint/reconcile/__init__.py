"""Stage 6: pins become running workloads, and stay so. Pins in, live objects and health out."""
