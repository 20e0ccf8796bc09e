"""Which contract certificates are valid: roots, revocation, provisioning."""
