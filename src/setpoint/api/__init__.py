"""The product: HTTP API, and the one ASGI application that also serves Git, the registry and the pages."""
