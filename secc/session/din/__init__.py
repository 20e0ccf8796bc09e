"""DIN 70121 at the charger: direct current, external payment."""
