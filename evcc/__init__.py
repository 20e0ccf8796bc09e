"""The vehicle, `v2g evcc`: sessions of each edition, its policy, its hardware.

Whether it asks for a charger with TLS, and takes one without: `app.py`, by `[sdp]` of `config.py`; which
editions it prefers: `editions` there.
When a vehicle pauses, and what wakes it: `session/d20/loop.py`, `driver.py`, `pauses.py`.
"""
