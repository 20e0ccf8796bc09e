"""The vehicle's session of ISO 15118-2: direct and alternating current, external payment and contracts."""
