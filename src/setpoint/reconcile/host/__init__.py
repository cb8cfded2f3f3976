"""The documented subset of Kubernetes that the host runtime accepts (docs/host-subset.md), read field by field."""
