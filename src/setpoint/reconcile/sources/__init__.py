"""What an application's render is made of: plain manifests, a kustomization or a chart, and which of the pinned files it reads."""
