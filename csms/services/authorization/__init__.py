"""Who may charge: tokens and local lists."""
