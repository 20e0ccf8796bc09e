"""Charging profiles, balancing of sites, dispatch."""
