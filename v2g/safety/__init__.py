"""The second channel for safety: monitors between a session and its hardware. They run no code of
sessions, observe all messages and commands, and can only lower and open. Pure.

Limits and times: `charger.py`, `vehicle.py`; margins: `flow.py`; how excess adds up, here and in what sessions and
drivers check themselves: `excess.py`. What follows a verdict, and what a part that fails or a pilot that is not
measured is to a monitor: `secc/hardware/safety.py`, `evcc/hardware/safety.py`. The same monitor in C: `board`.

Powers W, currents mA, voltages mV, all magnitudes; times s on one monotonic clock.
"""

from v2g.safety.charger import ChargerMonitor, ChargerRating, Request
from v2g.safety.output import NOTHING, UNBOUNDED, Lower, Open, Output, Phase, Verdict
from v2g.safety.vehicle import Ask, BatteryReading, VehicleMonitor, VehicleRating

__all__ = [
    "NOTHING",
    "UNBOUNDED",
    "Ask",
    "BatteryReading",
    "ChargerMonitor",
    "ChargerRating",
    "Lower",
    "Open",
    "Output",
    "Phase",
    "Request",
    "VehicleMonitor",
    "VehicleRating",
    "Verdict",
]
