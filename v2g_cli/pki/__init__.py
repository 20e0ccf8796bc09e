"""`v2g pki`: certificates and keys."""
