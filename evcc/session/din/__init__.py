"""The vehicle's session of DIN 70121: direct current, external payment."""
