"""Shared by all resources: declared operations, the request pipeline, authentication, problems, OpenAPI."""
