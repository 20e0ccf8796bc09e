"""Repositories of releases by The Update Framework: what a device trusts, and how a maker publishes."""
