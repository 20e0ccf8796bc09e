"""DIN 70121 at the charger: negative responses; there are no sessions yet."""
