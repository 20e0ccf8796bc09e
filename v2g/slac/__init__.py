"""SLAC of ISO 15118-3: matching of vehicle and charger over the powerline, and modems' management. Pure."""
