"""What scanners say in formats of their own, SARIF and CycloneDX: read from untrusted bytes, and made small and countable."""
