"""Access to this API, and the security of stations."""
