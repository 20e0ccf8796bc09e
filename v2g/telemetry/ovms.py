"""Metrics of an Open Vehicle Monitoring System (OVMS v3) as signals (R212).

Names and units by docs.openvehicles.com, "Metrics"; over MQTT (OVMS Server v3) `PREFIX/metric/v/b/soc` is `v.b.soc`,
its payload the value as text. Current and power are positive out of the battery there.
"""

import math
from typing import Final

from v2g.telemetry.gnss import HDOP, ODOMETER, QUALITY
from v2g.telemetry.mapping import Mapped
from v2g.telemetry.signals import LATITUDE, LONGITUDE

METRICS: Final = {
    "v.b.soc": ("battery.soc", 1.0),
    "v.b.soh": ("battery.soh", 1.0),
    "v.b.voltage": ("battery.voltage", 1.0),
    "v.b.current": ("battery.current", -1.0),
    "v.b.power": ("battery.power", -1000.0),
    "v.b.p.temp.min": ("battery.temperature.min", 1.0),
    "v.b.p.temp.max": ("battery.temperature.max", 1.0),
    "v.b.p.temp.avg": ("battery.temperature.mean", 1.0),
    "v.b.p.voltage.min": ("battery.cell_voltage.min", 1.0),
    "v.b.p.voltage.max": ("battery.cell_voltage.max", 1.0),
    "v.b.p.voltage.avg": ("battery.cell_voltage.mean", 1.0),
    "v.b.range.est": ("vehicle.range", 1.0),
    "v.m.rpm": ("motor.speed", 1.0),
    "v.e.temp": ("ambient.temperature", 1.0),
    "v.p.latitude": (LATITUDE, 1.0),
    "v.p.longitude": (LONGITUDE, 1.0),
    "v.p.gpshdop": (HDOP, 1.0),
    "v.p.speed": ("vehicle.speed", 1.0),
    "v.p.odometer": (ODOMETER, 1.0),
}
"""Metric -> signal, and its unit in that of the signal."""

LOCK, ON, CHARGING, SPEED = "v.p.gpslock", "v.e.on", "v.c.charging", "v.p.speed"
HIGHWAY_KMH: Final = 80.0
_SWITCHES: Final = {b"yes": True, b"no": False}
_LONGEST: Final = 32


class OvmsMetrics:
    """Takes the metrics of one vehicle, message by message, and knows how it is used."""

    def __init__(self) -> None:
        self.malformed = 0
        self._on = self._charging = False
        self._kmh = 0.0

    def receive(self, metric: str, payload: bytes) -> Mapped | None:
        """Return what a metric says; None for others, and for what is no value, which is counted."""
        if metric in (LOCK, ON, CHARGING):
            return self._switched(metric, payload)
        if metric not in METRICS:
            return None
        signal, unit = METRICS[metric]
        if not payload:  # the module has no value any more
            return Mapped({}, absent=(signal,))
        try:
            number = float(payload) if len(payload) <= _LONGEST else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.malformed += 1
            return None
        if metric == SPEED:
            self._kmh = number
        return Mapped({signal: number * unit}, self._context() if metric == SPEED else None)

    def _switched(self, metric: str, payload: bytes) -> Mapped | None:
        state = _SWITCHES.get(payload)
        if state is None:
            self.malformed += 1
            return None
        if metric == LOCK:
            return Mapped({QUALITY: float(state)}, absent=() if state else (LATITUDE, LONGITUDE, HDOP))
        if metric == ON:
            self._on = state
        else:
            self._charging = state
        return Mapped({}, self._context())

    def _context(self) -> str:
        if self._charging:
            return "charging"
        return "parked" if not self._on else "highway" if self._kmh > HIGHWAY_KMH else "city"
