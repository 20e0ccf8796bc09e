"""Sessions cost what a plain reading of the specification says: minute by minute, with its own arithmetic.

10,000 random tariffs and sessions. What the specification leaves open is left out: a session that charges again after
it has parked (which of both times is rounded), days of the week with clock times over midnight, and a limit of the
price without taxes only.
"""

import math
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from v2g.ocpi import wire
from v2g.ocpi.objects import CdrPeriod, OcpiTariff
from v2g.ocpi.tariffs import costs_by

pytestmark = pytest.mark.requirement("R202")

ZONES = ("Europe/Berlin", "America/St_Johns", "Pacific/Chatham", "UTC")
NIGHTS = (
    datetime(2026, 3, 28, 18, tzinfo=UTC), datetime(2026, 10, 24, 18, tzinfo=UTC), datetime(2026, 3, 7, 22, tzinfo=UTC),
    datetime(2026, 11, 1, 0, tzinfo=UTC), datetime(2026, 6, 12, 6, tzinfo=UTC), datetime(2026, 12, 31, 12, tzinfo=UTC),
)  # fmt: skip
"""Most are those in which clocks change."""
DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
UNITS = {"ENERGY": 1000, "TIME": 3600, "PARKING_TIME": 3600}


def restrictions(pick: random.Random, begin: datetime, wh: int) -> dict[str, Any]:
    """Return random restrictions that matter within a session which takes `wh` a minute."""
    found: dict[str, Any] = {}
    for name in pick.sample(("clock", "date", "day", "kwh", "power", "current", "duration"), pick.randint(0, 2)):
        low, high = sorted(pick.sample(range(1, 60), 2))
        match name:
            case "clock":
                found["start_time"], found["end_time"] = (
                    f"{pick.randrange(24):02}:{pick.choice((0, 15, 30, 59)):02}" for _ in range(2)
                )
                if found["start_time"] == found["end_time"]:
                    found.pop("end_time")
            case "date":
                found["start_date"] = (begin + timedelta(days=pick.randint(-1, 1))).date().isoformat()
                found["end_date"] = (begin + timedelta(days=pick.randint(1, 3))).date().isoformat()
            case "day":
                found["day_of_week"] = pick.sample(DAYS, pick.randint(1, 6))
            case "kwh":
                found["min_kwh"], found["max_kwh"] = (str(Decimal(200 * each) / 1000) for each in (low, high))
            case "power":
                power = Decimal(wh * 60) / 1000
                found[pick.choice(("min_power", "max_power"))] = str(power + pick.choice((-1, 0, 1)))
            case "current":
                found[pick.choice(("min_current", "max_current"))] = str(pick.choice((9, 10, 11)))
            case "duration":
                found["min_duration"], found["max_duration"] = 300 * low, 300 * high
        for key in list(found):
            if key.startswith(("min_", "max_")) and pick.random() < 0.3:
                del found[key]
    if "day_of_week" in found and found.get("end_time", "24:00") <= found.get("start_time", "00:00"):
        del found["day_of_week"]
    return found


def tariff(pick: random.Random, begin: datetime, wh: int) -> dict[str, Any]:
    """Return a random tariff as JSON of 2.3.0."""

    def component(kind: str) -> dict[str, Any]:
        step = pick.choice((1, 1, 1, 100, 500)) if kind == "ENERGY" else pick.choice((1, 60, 300, 900))
        vat = {} if pick.random() < 0.2 else {"vat": pick.choice((0, 7, 19, "5.5"))}
        return {"type": kind, "price": str(Decimal(pick.randrange(40_000)) / 10_000), "step_size": step, **vat}

    elements = []
    for _ in range(pick.randint(1, 5)):
        kinds = pick.sample(("ENERGY", "TIME", "PARKING_TIME", "FLAT"), pick.randint(1, 3))
        given = restrictions(pick, begin, wh)
        if pick.random() < 0.15:
            kinds, given = pick.sample(("TIME", "FLAT"), pick.randint(1, 2)), {"reservation": "RESERVATION"}
        elements.append({"price_components": [component(each) for each in kinds], "restrictions": given})
    found: dict[str, Any] = {
        "country_code": "DE", "party_id": "ABC", "id": "T", "currency": "EUR", "elements": elements,
        "tax_included": pick.choice(("NO", "NO", "YES", "N/A")), "last_updated": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    for name, most in (("min_price", 3), ("max_price", 40)):
        if pick.random() < 0.3:
            net = pick.randrange(100 * most)
            found[name] = {"before_taxes": net / 100, "after_taxes": (net + pick.randrange(100)) / 100}
    return found


class Session:
    """A session whose periods have whole minutes: it charges, pauses, and parks in the end."""

    def __init__(self, pick: random.Random) -> None:
        self.zone = pick.choice(ZONES)
        self.begin = pick.choice(NIGHTS) + timedelta(minutes=pick.randrange(600))
        self.wh = pick.choice((50, 100, 200))
        currents = (None,) if pick.random() < 0.3 else (9, 10, 11)
        self.parts = [(True, pick.randint(1, 200), pick.choice(currents)) for _ in range(pick.randint(1, 3))]
        self.parts += [(False, pick.randint(1, 90), None) for _ in range(pick.randint(0, 2))]
        self.reserved_min = pick.choice((0, 0, 13, 22, 60))

    @property
    def end(self) -> datetime:
        return self.begin + timedelta(minutes=sum(minutes for _, minutes, _ in self.parts))

    def periods(self) -> list[CdrPeriod]:
        """Return it as charging periods."""
        found, at = [], self.begin
        for number, (charges, minutes, current) in enumerate(self.parts):
            hours = round(Decimal(minutes) / 60, 4)
            dimensions: list[dict[str, Any]] = [{"type": "TIME" if charges else "PARKING_TIME", "volume": hours}]
            if charges:
                dimensions.append({"type": "ENERGY", "volume": Decimal(self.wh * minutes) / 1000})
            if current is not None:
                dimensions.append({"type": "MAX_CURRENT", "volume": current})
            if number == 0 and self.reserved_min:
                volume = round(Decimal(self.reserved_min) / 60, 4)
                dimensions.append({"type": "RESERVATION_TIME", "volume": volume})
            found.append({"start_date_time": at.isoformat(), "dimensions": dimensions})
            at += timedelta(minutes=minutes)
        return wire.read(found, list[CdrPeriod])


def applies(given: dict[str, Any], local: datetime, wh: int, seconds: int, power_w: int, current: int) -> bool:
    """Return whether restrictions hold at a moment: lower bounds belong to them, upper ones do not."""
    clock, start, end = local.strftime("%H:%M"), given.get("start_time"), given.get("end_time")
    if start is not None and end is not None and end < start:
        if end <= clock < start:
            return False
    elif (start is not None and clock < start) or (end is not None and clock >= end):
        return False
    day = local.date().isoformat()
    if day < given.get("start_date", "0") or day >= given.get("end_date", "9"):
        return False
    if "day_of_week" in given and DAYS[local.weekday()] not in given["day_of_week"]:
        return False
    for name, value, factor in (("kwh", wh, 1000), ("power", power_w, 1000), ("current", current, 1),
                                ("duration", seconds, 1)):  # fmt: skip
        if value < Fraction(str(given.get(f"min_{name}", -1))) * factor:
            return False
        if f"max_{name}" in given and value >= Fraction(str(given[f"max_{name}"])) * factor:
            return False
    return True


def cost(plan: dict[str, Any], session: Session) -> tuple[Fraction, Fraction]:
    """Return what a session costs without and with taxes."""
    amounts: dict[int, Fraction] = {}
    components: dict[int, dict[str, Any]] = {}
    order: dict[str, list[int]] = {"ENERGY": [], "TIME": [], "PARKING_TIME": [], "FLAT": []}

    def use(kind: str, amount: Fraction, *facts: Any) -> None:
        for element in plan["elements"]:
            given = element["restrictions"]
            one = next((each for each in element["price_components"] if each["type"] == kind), None)
            if one is None or "reservation" in given or not applies(given, *facts):
                continue
            components[id(one)] = one
            amounts[id(one)] = amounts.get(id(one), Fraction(0)) + amount
            order[kind].append(id(one))
            return

    wh, minute, last, zone = 0, 0, "", ZoneInfo(session.zone)
    for charges, minutes, current in session.parts:
        for _ in range(minutes):
            local = (session.begin + timedelta(minutes=minute)).astimezone(zone)
            facts = local, wh, 60 * minute, session.wh * 60 if charges else 0, (current or 0) if charges else 0
            if minute == 0:
                use("FLAT", Fraction(1), *facts)
            last = "TIME" if charges else "PARKING_TIME"
            use(last, Fraction(1, 60), *facts)
            if charges:
                use("ENERGY", Fraction(session.wh, 1000), *facts)
                wh += session.wh
            minute += 1
    for kind in UNITS:
        if order[kind] and (kind != "TIME" or not order["PARKING_TIME"]):
            total = sum(amounts[each] for each in set(order[kind])) * UNITS[kind]
            step = components[order[kind][-1]]["step_size"]
            amounts[order[kind][-1]] += Fraction(math.ceil(total / step) * step - total) / UNITS[kind]
    parts = [(components[each], amount) for each, amount in amounts.items()]
    reserved = [each for each in plan["elements"] if "reservation" in each["restrictions"]]
    for kind in ("TIME", "FLAT") if session.reserved_min else ():
        found = [one for each in reserved for one in each["price_components"] if one["type"] == kind]
        if found:
            step = found[0]["step_size"]
            seconds = math.ceil(Fraction(60 * session.reserved_min, step)) * step
            parts.append((found[0], Fraction(1) if kind == "FLAT" else Fraction(seconds, 3600)))
    net = gross = Fraction(0)
    for one, amount in parts:
        factor = 1 + Fraction(str(one.get("vat", 0))) / 100
        paid = Fraction(one["price"]) * amount
        if plan["tax_included"] == "YES":
            paid /= factor
        net, gross = net + paid, gross + paid * factor
    for name, choose in (("min_price", max), ("max_price", min)):
        if name in plan:
            net = choose(net, Fraction(str(plan[name]["before_taxes"])))
            gross = choose(gross, Fraction(str(plan[name]["after_taxes"])))
    return net, gross


@pytest.mark.some(1)
@pytest.mark.parametrize("seed", range(40))
@pytest.mark.long
def test_sessions_cost_what_they_cost_minute_by_minute(seed: int) -> None:
    pick = random.Random(seed)
    for number in range(250):
        session = Session(pick)
        plan = tariff(pick, session.begin, session.wh)
        read = wire.read(wire.inner(plan), OcpiTariff)
        found = costs_by([(each, read) for each in session.periods()], wire.utc_ms(session.end), session.zone)
        net, gross = cost(plan, session)
        wrong = abs(Fraction(found.before_taxes) - net), abs(Fraction(found.after_taxes) - gross)
        assert max(wrong) < Fraction(1, 10**9), (seed, number, plan, vars(session), float(net), found)
