"""Powerline ports: raw frames, modems on serial lines, simulated, recorded or impaired ones (`opening.py`).

A port is a stack: the backend, and wrappers that reopen it, impair frames, simulate a modem, record, and separate IPv6
from management messages. Which duty cycle a charger's pilot shows until power flows (5 %, X1, F), and when:
`datalink.py`, where a vehicle gets basic charging `secc/session/basic_charging.py`; for how long: `PilotTiming` of
`v2g/iec61851/pilot.py`.
"""
