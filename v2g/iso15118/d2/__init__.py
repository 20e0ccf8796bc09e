"""ISO 15118-2: messages, charts, timing, schedules, signatures, sealed keys.

A message: in `messages`, with `Body` in `body.py`, a new module in `schemas.py`. Which request may follow which:
`charts.py`; which contract a vehicle receives: `provisioning.py`.
"""
