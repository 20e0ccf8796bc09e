"""Decisions about power: profiles, plans, balancing, dispatch."""
