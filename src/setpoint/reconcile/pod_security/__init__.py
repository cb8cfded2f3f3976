"""The Pod Security Standards of Kubernetes, judged over a render."""
