"""`v2g demo`: the programs as processes, by scenarios that tell a story."""
