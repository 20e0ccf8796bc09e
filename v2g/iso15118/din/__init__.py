"""DIN 70121: messages."""
