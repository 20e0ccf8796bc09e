"""DATEX II v3: energy infrastructure for national access points, as JSON. Pure."""
