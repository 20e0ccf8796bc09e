"""The control pilot and the proximity contact of IEC 61851-1. Pure."""
