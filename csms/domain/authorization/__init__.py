"""Authorization decisions: tokens, contracts, local lists."""
