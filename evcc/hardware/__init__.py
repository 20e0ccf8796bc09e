"""The simulated vehicle: pack, drive, coil and control units. What real hardware implements: `vehicle.py`.

The simulated pack spreads over cells what the battery of `evcc/policy/battery.py` does. Whether energy may flow at all:
`safety.py`, with `v2g.safety` between session and drivers; what messages mean to it: `safety.py` in `evcc/session/d20`
and `evcc/session/v2g_message`.
"""
