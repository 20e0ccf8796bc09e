"""`v2g csms`: the back end, and what its operator asks it for."""
