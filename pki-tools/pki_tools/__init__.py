"""Creates, renews, revokes and serves certificates: `v2g pki`."""
