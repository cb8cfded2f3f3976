"""The host target: replicas as supervised sandboxed processes on this machine, and HAProxy in front of them."""
