"""`v2g diag`: powerline, CAN, TCP, TLS, logs and what the machine needs."""
