"""Health of Kubernetes objects: one verdict an object, with the field that decided it. Live objects in, verdicts out; reads nothing."""
