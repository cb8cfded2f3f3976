"""A thin, asynchronous client of Kubernetes' API: who we are (kubeconfig, credentials), how calls are made and retried, and the calls."""
