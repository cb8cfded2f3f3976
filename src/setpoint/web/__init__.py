"""The pages: server-rendered HTML over the same answers as the API."""
