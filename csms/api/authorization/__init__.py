"""Authorization: tokens, local lists, contracts."""
