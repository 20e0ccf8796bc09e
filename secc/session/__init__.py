"""The charger's side of a session: what all editions share, and a folder for each edition. Pure.

Which request is refused: `session.py`, on side streams that of `d20`, by the charts of the edition.
How much power may flow, and what limits it: `power.py`, from `limits.py` and `v2g/energy/limits.py`; the dead time
between directions: `power.py`.
Cable check, pre-charge, and when the contactors close: `delivery.py`, of all editions; what insulation passes:
`secc/hardware/dc.py`. How near the voltages must be: `delivery.py`, `evcc/session/context.py` in the vehicle, and for
the monitors `v2g/safety`.
When a session without energy ends, and charging without messages (IEC 61851-1): `basic_charging.py`; when a vehicle is
charged so: `secc/evse/core.py`.
Which notifications a vehicle gets, such as to renegotiate: `session.py`, asked for by `secc/evse/controller.py`.
How long a response waits for a decision: `poll_hold_s` of `config.py`.
What is in this folder itself, and in `evcc/session`, is shared; `d20`, `d2`, `din` hold one edition each, `v2g_message`
what DIN 70121 and ISO 15118-2 have in common. No shared module imports a session of an edition. Another edition is a
folder that implements `edition.py` (smallest example: `tests/secc/three_messages.py`), and a line in
`secc/app.py`.
"""
