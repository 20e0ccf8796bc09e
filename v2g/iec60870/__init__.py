"""IEC 60870-5-104: a site as controlled station (outstation) of a control centre. Pure.

`apci`: frames, and a connection with its timers; `asdu`: what is in them; `outstation`: points, events and commands.
"""
