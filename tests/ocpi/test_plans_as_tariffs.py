"""What a partner computes by a plan's published tariff is what a session costs here, or the plan is not published.

Random plans with every condition, both directions, bounds and taxes, and sessions that charge, feed back and pause.
"""

import random
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from v2g.energy.price_plan import Bound, Charge, PricePlan, Rate, Tax, When
from v2g.energy.settlement.costing import bill
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Usage
from v2g.errors import CodecError
from v2g.ocpi import wire
from v2g.ocpi.objects import CdrPeriod, OcpiTariff
from v2g.ocpi.tariffs import costs_by, periods_of, tariffs_of

pytestmark = pytest.mark.requirement("R202")

NEW_YEAR_MS = 1_767_225_600_000
CLOCK = ("clock", "weekdays", "dates")
EVERY = (*CLOCK, "energy", "power", "current", "time")
VAT, FEE = (Tax(kind="VAT", ppm=190_000),), (Tax(kind="fee", ppm=70_000),)
CENT = Decimal("0.01")


def when(pick: random.Random, kinds: Sequence[str]) -> When:
    """Return random conditions that matter within a session."""
    found: dict[str, Any] = {}
    for kind in pick.sample(kinds, pick.randint(0, 2)):
        low, high = sorted(pick.sample(range(1, 40), 2))
        match kind:
            case "clock":
                found["from_minute"], found["to_minute"] = pick.sample(range(0, 1440, 15), 2)
            case "weekdays":
                found["weekdays"] = tuple(sorted(pick.sample(range(7), pick.randint(1, 6))))
            case "dates":
                found["from_day"], found["to_day"] = (
                    date(2026, 1, pick.randint(1, 2)),
                    date(2026, 1, pick.randint(3, 4)),
                )
            case "energy":
                found["min_energy_wh"], found["max_energy_wh"] = 1000 * low, 1000 * high
            case "power":
                found["min_power_w"], found["max_power_w"] = 1000 * low, 1000 * high
            case "current":
                found["min_current_a"], found["max_current_a"] = low, high
            case "time":
                found["min_time_s"], found["max_time_s"] = 300 * low, 300 * high
        for name in [each for each in found if each.startswith(("min_", "max_")) and pick.random() < 0.3]:
            del found[name]
    return When(**found)


def plan(pick: random.Random) -> PricePlan:
    """Return a random plan; power and current, which go together, do not both have conditions."""
    kinds = [each for each in EVERY if each != pick.choice(("power", "current"))]
    taxes = pick.choice(((VAT,), (VAT,), ((),), (VAT, FEE)))

    def charge(most: int, kinds: Sequence[str]) -> Charge:
        rates = [Rate(price=str(Decimal(pick.randrange(most)) / 1000), when=when(pick, kinds)) for _ in range(2)]
        return Charge(rates=tuple(rates), taxes=pick.choice(taxes))

    found: dict[str, Any] = {"energy": charge(900, kinds)}
    for name, most, chance in (("charging_time", 60, 0.5), ("idle_time", 60, 0.5), ("export", 400, 0.3)):
        if pick.random() < chance:
            found[name] = charge(most, kinds)
    if pick.random() < 0.4:
        found["fixed"] = charge(3000, CLOCK)
    for name, low in (("least", 1), ("greatest", 6)):
        if pick.random() < 0.2:
            net = pick.randint(low, low + 5)
            bounds = {"excl_tax": str(net), "incl_tax": str(Decimal(net) * Decimal(pick.choice(("1.1", "1.19"))))}
            found[name] = Bound(**{each: bounds[each] for each in pick.choice((["excl_tax"], ["incl_tax"], bounds))})
    return PricePlan(id="plan", currency="EUR", zone="Europe/Berlin", **found)


def usage(pick: random.Random) -> Usage:
    """Return a random session."""
    start = at = NEW_YEAR_MS + 1000 * pick.randrange(86_400)
    taken = fed = 0
    readings, charging, currents = [Registers(at, 0, 0)], list[tuple[int, bool]](), list[tuple[int, int]]()
    for _ in range(pick.randint(1, 5)):
        flows = pick.random() < 0.7
        charging.append((at, flows))
        currents.append((at, pick.choice((0, 9, 10, 16, 32)) if flows else 0))
        for _ in range(pick.randint(1, 4)):
            at += 1000 * pick.randrange(60, 3600)
            if flows and pick.random() < 0.3:
                fed += pick.randrange(8_000_000)
            elif flows:
                taken += pick.choice((pick.randrange(12_000_000), 5_000_000))
            readings.append(Registers(at, taken, fed))
    return Usage(
        start_ms=start, end_ms=at, readings=tuple(readings), charging=tuple(charging), currents=tuple(currents),
    )  # fmt: skip


@pytest.mark.some(1)
@pytest.mark.parametrize("seed", range(25))
def test_a_plan_and_its_tariff_cost_the_same(seed: int) -> None:
    pick, published = random.Random(seed), 0
    for number in range(60):
        found, used = plan(pick), usage(pick)
        try:
            tariffs = tariffs_of(found, "DE", "ABC", wire.moment(NEW_YEAR_MS))
        except CodecError:
            continue
        published += 1
        expected = bill([(0, found)], used, ended=True)
        sent = [
            wire.decode(wire.encode(wire.outer(wire.plain(each), "2.2.1"))) for each in (tariffs, periods_of(expected))
        ]
        known = {each.id: each for each in wire.read(wire.inner(sent[0]), tuple[OcpiTariff, ...])}
        periods = wire.read(wire.inner(sent[1]), list[CdrPeriod])
        costs = costs_by([(each, known.get(each.tariff_id or "")) for each in periods], used.end_ms, found.zone)
        wrong = (
            costs.before_taxes - Decimal(expected.excl_tax) / 10**6,
            costs.after_taxes - Decimal(expected.incl_tax) / 10**6,
        )
        assert max(abs(each) for each in wrong) < CENT, (number, wrong, msgspec.json.encode(found), used)
    assert published > 30


def test_a_plan_without_prices_has_all_that_ocpi_requires_of_one() -> None:
    (free,) = tariffs_of(PricePlan(id="free", currency="EUR"), "DE", "ABC", wire.moment(NEW_YEAR_MS))
    sent: Any = wire.decode(wire.encode(free))
    assert sent["elements"] == [{"price_components": [{"type": "FLAT", "price": 0, "step_size": 1}]}]
