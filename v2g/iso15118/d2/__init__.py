"""ISO 15118-2: messages, charts, timing, schedules, signatures, sealed keys.

A message: in `messages`, with `Body` in its `body.py`, a new module in `schemas.py`. Which request may follow which:
`charts.py`; how long each side waits: `timing.py`, `v2g/iso15118/engine/message_timing.py`; which contract a vehicle
receives: `provisioning.py`.
"""
