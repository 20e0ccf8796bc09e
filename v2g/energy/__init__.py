"""Limits, prices and settlement of energy: what the grid allows and pays, and discharging signed by the vehicle."""
