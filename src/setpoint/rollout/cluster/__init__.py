"""Rollouts on Kubernetes: a Deployment and a Service for each revision, the weights of routes, or the number of replicas."""
