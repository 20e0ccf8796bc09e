"""Fleets of scripted trips, which tune the estimators: manoeuvres with drawn accelerations, wear that grows by a law.

A vehicle's brakes take what its recuperation, limited in power, cannot. Signs of wear grow exponentially or linearly.
"""

import math
from random import Random
from typing import Final

from benchmarks.fleets import BEGIN_MS, Driven, Event, Fleets, History, Reading, observed
from v2g.units import HOUR_MS

_STEP_S: Final = 0.1


class _Trip:
    """A vehicle that carries out manoeuvres, sampled each second."""

    def __init__(self, random: Random) -> None:
        self.random, self.at_ms, self.speed = random, BEGIN_MS, 0.0
        self.mass, self.drag = random.gauss(1900, 120), random.uniform(0.34, 0.46)
        self.regen_w, self.aux_w = random.uniform(45_000, 90_000), random.uniform(300, 800)
        self.outside_c = random.choice((-5.0, 1.0, 3.0, 12.0, 22.0))
        self.readings: list[Reading] = []
        self.events: list[Event] = []
        self.metres = self.brakes_j = 0.0
        self._due_ms = 0

    def go(self, seconds: float, rate: float, least: float = 0.0, most: float = 99.0, aux_w: float = 0.0) -> None:
        """Accelerate for a time, or until a speed."""
        for _ in range(max(1, round(seconds / _STEP_S))):
            if (rate > 0 and self.speed >= most) or (rate < 0 and self.speed <= least):
                break
            wobble = rate + (self.random.gauss(0, 0.1) if self.speed > 1 else 0)
            after = max(0.0, self.speed + wobble * _STEP_S)
            mean = (self.speed + after) / 2
            force = self.mass * (after - self.speed) / _STEP_S + (0.011 * self.mass * 9.81 + self.drag * mean**2) * (
                mean > 0
            )
            wheel_w = force * mean
            if wheel_w >= 0:
                battery_w = -wheel_w / 0.88
            else:
                regen_w = min(-wheel_w, self.regen_w) if mean > 2.5 else 0.0
                self.brakes_j += (-wheel_w - regen_w) * _STEP_S
                battery_w = regen_w * 0.85
            self.metres += mean * _STEP_S
            self.speed, self.at_ms = after, self.at_ms + round(1000 * _STEP_S)
            if self.at_ms >= self._due_ms:
                self._due_ms = self.at_ms + 1000
                self._report(battery_w - self.aux_w - aux_w)

    def _report(self, battery_w: float) -> None:
        kmh = max(0.0, self.speed * 3.6 + (self.random.gauss(0, 0.12) if self.speed else 0))
        values = {
            "vehicle.speed": round(kmh, 1),
            "battery.power": float(round(battery_w * self.random.gauss(1, 0.01))),
            "ambient.temperature": self.outside_c,
        }
        self.readings.append(Reading(self.at_ms, "highway" if self.speed > 19 else "city", values))

    def act(self, kind: str, begin_ms: int) -> None:
        """Note what was done since `begin_ms`."""
        self.events.append(Event(kind, begin_ms, self.at_ms))


def drives(seed: int, hours: float) -> Driven:
    """Return drives of a vehicle."""
    random = Random(f"trips {seed}")
    trip, sporty = _Trip(random), random.random()
    end_ms = BEGIN_MS + round(hours * HOUR_MS)
    while trip.at_ms < end_ms:
        if trip.speed < 0.1:
            _wait(trip)
        cruise = random.uniform(8, 15) if random.random() < 0.5 else random.uniform(20, 35)
        begin_ms, before, strong = trip.at_ms, trip.speed, random.random() < 0.5 * sporty
        rate = random.uniform(2.8, 4.5) if strong else random.uniform(0.6, 2.6)
        for part in (1.0, 0.8, 0.5):
            trip.go(cruise / 3 / rate / part, rate * part, most=cruise * (0.5 if part == 1 else 1))
        if rate >= 3.0 and before < cruise / 2 - 3:  # for a second
            trip.act("strong", begin_ms)
        for _ in range(random.randint(1, 4)):
            trip.go(random.uniform(10, 60), 0.0)
            if trip.speed > 18 and random.random() < 0.3:
                begin_ms, before = trip.at_ms, trip.speed
                trip.go(random.uniform(0.8, 2.2), -random.uniform(3.0, 6.5), least=3.0)
                trip.act("phantom", begin_ms)
                trip.go(20, random.uniform(1.2, 2.6), most=before)
            elif random.random() < 0.3:  # traffic
                lower = trip.speed * random.uniform(0.3, 0.8)
                trip.go(20, -random.choice((1.2, 2.0, 3.5, 5.0)), least=lower)
                trip.go(random.uniform(3, 25), 0.0)
                trip.go(20, random.uniform(0.5, 1.5), most=cruise)
        if random.random() < 0.6:
            trip.go(60, -random.uniform(0.8, 2.0 + 2.5 * sporty), least=0.0)
            trip.speed = 0.0
    brakes = trip.brakes_j / 1e6 / (trip.metres / 100_000)
    return Driven(trip.readings, observed(trip.events, random), brakes)


def _wait(trip: _Trip) -> None:
    random, cold = trip.random, trip.outside_c < 5
    if cold and random.random() < 0.15:
        begin_ms = trip.at_ms
        trip.go(random.uniform(240, 900), 0.0, aux_w=random.uniform(1500, 5000))
        trip.act("idle", begin_ms)
    else:
        trip.go(random.choice((5.0, 30.0, 60.0, 160.0)), 0.0, aux_w=random.uniform(500, 3000) if cold else 0.0)
    if random.random() < 0.5:
        trip.go(1.0, 0.0)


def history(seed: int, days: int, shift: float = 0.0) -> History:
    """Return weeks of a vehicle, hour by hour; half of all fail, of these one in 15 without a sign."""
    random = Random(f"history {seed}")
    fails, kind = random.random() < 0.5, random.choice(("imbalance", "resistance", "flow"))
    failed_h = random.uniform(20, days) * 24 if fails else math.inf
    sudden, law = random.random() < 1 / 15, random.choice(("exponential", "linear"))
    span_h, stops = random.uniform(6, 25) * 24, random.gauss(1.0, 0.05)
    normal = {"imbalance": random.uniform(0.008, 0.02), "resistance": random.uniform(0.05, 0.12), "flow": 8.0}
    limit = {"imbalance": 0.15, "resistance": 2 * normal["resistance"], "flow": 4.0}
    climate_c, hot = random.uniform(5, 35), random.choice((0.0, 0.0, 8.0))
    readings, aged = list[Reading](), 0.0
    hours = round(min(failed_h, 24 * days))
    for hour in range(hours):
        left = failed_h - hour
        grown = 0.0
        if fails and not sudden:
            linear = max(0.0, 1 - left / span_h)
            grown = stops * (linear if law == "linear" else math.exp(-left / span_h * 3))
        elif not fails and kind == "imbalance":  # rises, and stays
            grown = 0.35 / (1 + math.exp(-(hour - 24 * days / 2) / 60))
        celsius = climate_c + 6 * math.sin(hour / 24 * 2 * math.pi) + hot + random.gauss(0, 0.5)
        soc = 55 + 30 * math.sin(hour / 24 * 2 * math.pi + seed)
        values = {name: each + (grown * (limit[name] - each) if name == kind else 0) for name, each in normal.items()}
        world = 1 + shift if hour > 24 * days / 2 else 1.0
        readings.append(
            Reading(
                BEGIN_MS + hour * HOUR_MS,
                "parked",
                {
                    "battery.cell_voltage.imbalance": round(values["imbalance"] * world * random.gauss(1, 0.12), 3),
                    "battery.resistance": round(
                        values["resistance"] * world * math.exp(-0.02 * (celsius - 25)) * random.gauss(1, 0.05), 4
                    ),
                    "battery.coolant.flow": round(values["flow"] / world * random.gauss(1, 0.04), 1),
                    "battery.temperature.mean": round(celsius, 1),
                    "battery.soc": round(soc, 2),
                },
            )
        )
        aged += (0.5 + soc / 100) * math.exp(5500 * (1 / 298.15 - 1 / (celsius + 0.5 + 273.15)))
    failed_ms = BEGIN_MS + round(failed_h * HOUR_MS) if fails else None
    return History(readings, failed_ms, aged / hours)


TRIPS: Final = Fleets("trips", 1900.0, drives, history)
