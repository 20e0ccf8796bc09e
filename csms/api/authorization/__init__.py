"""Who may charge: tokens, local lists, contracts."""
