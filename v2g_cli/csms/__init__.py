"""`v2g csms`: runs and administers the back end."""
