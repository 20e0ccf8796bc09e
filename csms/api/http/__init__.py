"""Shared by all resources: declared operations, the request pipeline, authentication, problems, OpenAPI.

What a role that is limited to sites sees: `site_limits.py`.
"""
