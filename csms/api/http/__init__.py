"""What every resource shares: declared operations, the request pipeline, authentication, problems, OpenAPI."""
