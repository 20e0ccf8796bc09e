"""Vehicles that are planned together: plans, what they can do for the grid, and calls of it."""
