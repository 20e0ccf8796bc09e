"""What the vehicle wants: energy by departure, reserve, discharge by price. Pure.

Whether the vehicle discharges, which it says within 500 ms: `policy.py`, then the owner's own file
(`evcc/config.py`); its choice among schedules, and its plan: `planner.py`, in Dynamic mode
`evcc/session/d20/dynamic_planner.py`.
"""
