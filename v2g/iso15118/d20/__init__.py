"""ISO 15118-20: messages, sequence charts, timing, services, prices, contract certificates.

Which request is allowed in which state: `charts.py`, read by `v2g/iso15118/engine/sequence.py`; how long each side
waits: `timing.py`; which contract a vehicle receives: `provisioning.py`.
"""
