"""Serving a model to many at once: a scheduler that knows nothing of HTTP, and routes that compute nothing."""
