"""Kubernetes targets, the pure part: in which order objects are applied, what differs between live and desired, and whose field it is."""
