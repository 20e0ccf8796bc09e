"""Fleets in traffic, which hold the figures of the estimators: vehicles that follow others, and parts that wear.

A vehicle follows the one ahead by the Intelligent Driver Model (Treiber, Hennecke, Helbing, Phys. Rev. E 62 (2000)
1805) over hills; the one ahead speeds up, brakes, stops, turns off, and others cut in. Its motor recuperates within
limits of torque, power and a cold battery. Cells with an internal short drain (a square law), joints corrode, pumps
clog; some are repaired in time. A battery's core is warmer than its sensor, and ages by a law of its own.
"""

import math
from random import Random
from typing import Final

from benchmarks.fleets import BEGIN_MS, Driven, Event, Fleets, History, Reading, observed
from v2g.units import HOUR_MS

_DT: Final = 0.2


class _Ahead:
    """The vehicle ahead: its speed follows a target that changes."""

    def __init__(self, random: Random) -> None:
        self.random, self.speed, self.target, self.rate = random, 0.0, 12.0, 1.5
        self.until_s, self.fast = 0.0, False

    def move(self, at_s: float) -> None:
        random = self.random
        if at_s >= self.until_s:
            self.fast = random.random() < (0.85 if self.fast else 0.25)
            self.until_s = at_s + random.uniform(15, 90 if self.fast else 40)
            self.target = random.uniform(21, 36) if self.fast else random.uniform(6, 15)
            self.rate = random.uniform(0.7, 2.2)
            if (what := random.random()) < 0.18:
                self.target, self.until_s = 0.0, at_s + random.choice((20, 45, 80, 130, 190))
            elif what < 0.30:  # brakes hard, and goes on slower or as before
                self.target, self.rate, self.until_s = self.speed * random.uniform(0.3, 0.7), 6.0, at_s + 4
        step = min(self.rate if self.target > self.speed else max(1.0, self.rate), abs(self.target - self.speed) / _DT)
        self.speed = max(0.0, self.speed + math.copysign(step, self.target - self.speed) * _DT)


def drives(seed: int, hours: float) -> Driven:
    """Return drives of a vehicle."""
    random = Random(f"traffic {seed}")
    ahead, gap, speed, slope, brakes_j, metres = _Ahead(random), 5.0, 0.0, 0.0, 0.0, 0.0
    mass = random.uniform(1750, 2000) + 75 * random.randint(1, 3)
    drag, roll = random.uniform(0.36, 0.46), random.uniform(0.009, 0.013)
    eager, comfort, headway = random.choice((1.3, 1.8, 2.4, 3.4, 4.4)), random.uniform(1.5, 3.0), random.uniform(1, 1.8)
    outside_c = random.uniform(-8, 4.5) if random.random() < 0.5 else random.uniform(8, 28)
    cold = outside_c < 5
    torque_n, power_w = random.uniform(3500, 5500), random.uniform(50_000, 90_000) * (0.5 if cold else 1)
    events, readings, notes = list[Event](), list[Reading](), random.uniform(0.02, 0.05)
    strong_s, rest_s, phantom, heater_w, next_s, rate = 0.0, 0.0, (0.0, 0.0), 0.0, 0.0, 0.0
    idle_until_s = random.uniform(240, 800) if cold else 0.0
    for tick in range(round(hours * 3600 / _DT)):
        at_s = tick * _DT
        at_ms = BEGIN_MS + round(1000 * at_s)
        if at_s < idle_until_s:
            heater_w = 4000 - 2000 * at_s / idle_until_s
        else:
            heater_w = (random.gauss(1500, 50) if cold else 300) if tick % 50 == 0 else heater_w
            ahead.move(at_s)
            if random.random() < _DT / 240 and gap > 15:  # one cuts in, or turns off
                gap, ahead.speed = (
                    (gap * random.uniform(0.3, 0.7), max(0.0, speed - random.uniform(-2, 6)))
                    if random.random() < 0.6
                    else (gap + 60, ahead.speed + 3)
                )
        if speed > 19 and at_s >= phantom[0] + 20 and random.random() < _DT / 300:
            phantom = at_s + random.uniform(0.8, 2.2), random.uniform(3.2, 6.5)
            events.append(Event("phantom", at_ms, BEGIN_MS + round(1000 * phantom[0])))
        wish = max(2.0, 1.05 * ahead.target + 3)
        near = 2 + max(0.0, speed * headway + speed * (speed - ahead.speed) / (2 * math.sqrt(eager * comfort)))
        want = eager * (1 - (speed / wish) ** 4 - (near / max(0.5, gap)) ** 2)
        if at_s < phantom[0]:
            want = -phantom[1]
        if at_s < idle_until_s:
            want = 0.0
        want = max(-8.0, min(want, eager))
        rate += max(-12 * _DT, min(12 * _DT, want - rate))  # jerk
        after = max(0.0, speed + rate * _DT)
        rate = (after - speed) / _DT
        mean = (speed + after) / 2
        slope = max(-0.05, min(0.05, slope + random.gauss(0, 0.001) - slope * 0.002))
        metres, gap = metres + mean * _DT, max(0.5, gap + (ahead.speed - mean) * _DT) if at_s >= idle_until_s else gap
        moving = mean > 0.05
        force = mass * rate + (mass * 9.81 * (roll + slope) + drag * mean**2 if moving else 0.0)
        if force >= 0:
            electric_w = force * mean / 0.9
        else:
            by_motor = min(-force, torque_n, power_w / max(mean, 0.1)) * min(1.0, max(0.0, (mean - 1) / 3))
            brakes_j += (-force - by_motor) * mean * _DT if moving else 0.0
            electric_w = -by_motor * mean * 0.82
        speed = after
        strong_s = strong_s + _DT if rate >= 3.0 else 0.0
        if round(strong_s / _DT) == 5:
            events.append(Event("strong", at_ms - 1000, at_ms + 1500))
        rest_s = rest_s + _DT if speed < 0.05 else 0.0
        if cold and round(rest_s / _DT) == 900:
            events.append(Event("idle", at_ms - 180_000, at_ms + 60_000))
        if at_s >= next_s:
            next_s = at_s + random.choice((0.4, 0.6, 1.0))
            values = {
                "vehicle.speed": round(max(0.0, 3.6 * speed * (1 + random.gauss(0, notes / 20))), 1),
                "battery.current": round(-(electric_w + heater_w + 350) / 370, 1),
                "battery.voltage": 370.0,
                "ambient.temperature": round(outside_c + random.gauss(0, 0.2), 1),
            }
            readings.append(Reading(at_ms, "highway" if ahead.fast else "city", values))
    return Driven(readings, observed(events, random), brakes_j / 1e6 / (metres / 100_000))


def history(seed: int, days: int, shift: float = 0.0) -> History:
    """Return weeks of a vehicle, every two hours; four in ten fail, of these one in 12 without a sign."""
    random = Random(f"parts {seed}")
    part = random.choice(("cell", "joint", "pump"))
    fails, sudden, repaired = random.random() < 0.4, random.random() < 1 / 12, random.random() < 0.05
    begun_h, power = random.uniform(6, days * 0.9) * 24, {"cell": 2.0, "joint": 1.5, "pump": 1.0}[part]
    takes_h, stop = random.uniform(5, 20) * 24, random.gauss(1.0, 0.06)
    failed_h = begun_h + takes_h if fails and not sudden else random.uniform(20, days) * 24 if fails else math.inf
    spread_v, ohm, flow = random.uniform(0.006, 0.015), random.uniform(0.06, 0.10), random.uniform(7, 10)
    climate_c, weather, sun_k = random.uniform(2, 32), 0.0, random.choice((0.0, 3.0, 9.0))
    core_c, readings, aged, count = climate_c, list[Reading](), 0.0, 0
    base_soc = random.uniform(45, 80)
    for hour in range(0, round(min(failed_h, 24 * days)), 2):
        weather += random.gauss(0, 0.5) - weather * 0.02
        drives_now = hour % 24 in (8, 18)
        outside_c = climate_c + weather + (5 + sun_k) * max(0.0, math.sin((hour % 24 - 6) / 12 * math.pi)) - 2
        core_c += (outside_c - core_c) * 0.35 + (5 if drives_now else 0)
        sensor_c = core_c - (1.5 if drives_now else 0.3)
        wear = 0.0
        if fails and not sudden and hour > begun_h:
            wear = stop * ((hour - begun_h) / takes_h) ** power
            if repaired and wear > 0.8:
                wear, failed_h = 0.0, math.inf
        world = 1 + shift if hour > 24 * days / 2 else 1.0
        cell_v = spread_v * world + (0.15 - spread_v) * (wear if part == "cell" else 0.0)
        hot = math.exp(1900 * (1 / (core_c + 273.15) - 1 / 298.15))
        joint = 1 + (wear if part == "joint" else 0.0)
        clogged = 1 - 0.5 * (wear if part == "pump" else 0.0)
        soc = base_soc + 15 * math.sin(hour / 24 * 2 * math.pi)
        values = {
            "battery.cell_voltage.imbalance": round(max(0.0, cell_v + random.gauss(0, 0.002)), 3),
            "battery.resistance": round(ohm * joint * hot * world * random.gauss(1, 0.04), 4),
            "battery.coolant.flow": round(flow * clogged / world * random.gauss(1, 0.05), 1) if hour % 4 else 0.0,
            "battery.temperature.max": round(sensor_c, 1),
            "battery.soc": round(soc, 2),
        }
        readings.append(Reading(BEGIN_MS + hour * HOUR_MS, "city" if drives_now else "parked", values))
        charge = 0.75 if soc < 50 else 1.0 if soc < 70 else 1.3
        aged, count = aged + charge * 2 ** ((core_c - 25) / 10), count + 1
    failed_ms = BEGIN_MS + round(failed_h * HOUR_MS) if failed_h < 24 * days else None
    return History(readings, failed_ms, aged / count)


TRAFFIC: Final = Fleets("traffic", 2025.0, drives, history)
