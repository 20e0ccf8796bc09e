"""The vehicle, `v2g evcc`: sessions of each edition, its policy, its hardware.

When a vehicle pauses, and what wakes it: `session/d20/loop.py`, `driver.py`, `pauses.py`.
"""
