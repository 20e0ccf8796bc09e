"""The vehicle's pack, drive, coil and control units, real or simulated.

The simulated pack spreads over cells what the battery of `evcc/policy/battery.py` does. Whether energy may flow at all:
`safety.py`, with `v2g.safety` between session and drivers; what messages mean to it: `safety.py` in `evcc/session/d20`
and `evcc/session/v2g_message`.
"""
