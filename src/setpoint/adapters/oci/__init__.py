"""The OCI side of the outside: the store on disk, the registry that serves it over HTTP, and the client that fetches base images."""
