"""What the vehicle wants: energy by departure, reserve, discharge by price. Pure.

Whether the vehicle discharges: `policy.py`, then the owner's own file (`evcc/config.py`). Nothing interrupts that file:
the session waits, also beyond the 500 ms of a decision, which `evcc/session/d20/discharge.py` measures. Its choice
among schedules, and its plan: `planner.py`, in Dynamic mode `evcc/session/d20/dynamic_planner.py`.
"""
