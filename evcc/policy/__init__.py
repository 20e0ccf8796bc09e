"""What the vehicle wants: energy by departure, reserve, discharge by price. Pure.

Whether the vehicle discharges: `policy.py`, then the owner's own file (`evcc/config.py`), for which the session waits
`DECIDE_S` at the most. Its choice among schedules, and its plan: `planner.py`, in Dynamic mode
`evcc/session/d20/dynamic_planner.py`. The size of the battery, and which currents it takes, as when it is nearly full
or cold: `battery.py`, by `v2g/battery/derating.py`.
"""
