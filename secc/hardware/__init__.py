"""Parts of an EVSE behind their drivers, with the guard and the monitor that no session bypasses.

Which driver opens a part: `drivers.py`, by `[hardware]` and the entry points of `v2g.hardware`.
What follows when a driver raises, reports invalid values or stops responding: `driver_guard.py`, executed by
`safety.py`.
Whether energy may flow: `safety.py`, with `v2g.safety` between session and drivers; whether a contactor may close,
above all parts, and for which insulation and temperatures (`WatchConfig`), and when a failed self-test is repeated:
`evse.py`; what is a fault while energy flows, such as of insulation: `dc.py`, `ac.py`; what one then stops, and until
when: `v2g/hardware/interlock.py`, by `v2g/hardware/faults.py`; how temperatures of plug and modules lower power,
and by which samples: `heat.py`; inputs of a control board's own monitor: `forwarding_monitor.py`.
"""
