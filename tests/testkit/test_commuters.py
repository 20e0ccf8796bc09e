"""Simulated commuters: physics that adds up, a day as their schedule says, and telemetry that arrives whole."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csms.telemetry.aggregate_store import aggregate_pending
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend
from tests.csms.fixtures import backend, csms
from v2g.telemetry.delivery import MAX_DELIVERY_BYTES, Mark
from v2g.telemetry.signals import CONTEXTS, SIGNALS
from v2g.units import DAY_MS, HOUR_MS, LAST_MS
from v2g_gateway.uplink import OnMarks
from v2g_testkit.commuters import Commuter, Commuters, CommutersConfig

__all__ = ["backend", "csms"]

MIDNIGHT = 1_900_022_400_000 // DAY_MS * DAY_MS
STEP_MS = 10_000


class ApiUplink:
    """An uplink into the API, without sockets."""

    name, parallel, low_rate, max_bytes = "memory", 1, False, MAX_DELIVERY_BYTES

    def __init__(self, ask: ApiClient, on_marks: OnMarks) -> None:
        self._ask, self._on_marks = ask, on_marks

    def start(self) -> None: ...

    async def ready(self) -> None: ...

    async def send(self, delivery: bytes) -> None:
        answer = await self._ask("POST", "/telemetry", delivery)
        assert answer.status == 200, answer.json
        self._on_marks(msgspec.convert(answer.json["high_water"], tuple[Mark, ...]))

    async def close(self) -> None: ...


@pytest.mark.long
@settings(max_examples=3)
@given(st.integers(0, 2**40))
def test_a_day_is_plausible_and_its_energy_adds_up(seed: int) -> None:
    """Every value within its signal's range; registers are the integral of the power, but for the losses of steps."""
    vehicle, contexts, moved_wh = Commuter(seed, MIDNIGHT), set(), {"in": 0.0, "out": 0.0}
    for at in range(MIDNIGHT + STEP_MS, MIDNIGHT + DAY_MS, STEP_MS):
        values, context = vehicle.advance(at)
        contexts.add(context)
        for name, value in values.items():
            assert SIGNALS[name].minimum <= value <= SIGNALS[name].maximum, name
        wh = values["battery.power"] * STEP_MS / HOUR_MS
        moved_wh["in" if wh > 0 else "out"] += abs(wh)
        assert (values["charging.power"] != 0) <= (context in ("charging", "discharging"))
    assert {"parked", "city", "highway"} <= contexts <= set(CONTEXTS)
    assert values["battery.energy.charged"] == pytest.approx(moved_wh["in"], rel=0.01, abs=5)
    assert values["battery.energy.discharged"] == pytest.approx(moved_wh["out"], rel=0.01, abs=5)
    assert vehicle.advance(MIDNIGHT + DAY_MS)[0]["location.latitude"] == values["location.latitude"], "home again"


def test_the_same_seed_makes_the_same_vehicle() -> None:
    def day(seed: int) -> list[object]:
        vehicle = Commuter(seed, MIDNIGHT)
        return [vehicle.advance(MIDNIGHT + hour * HOUR_MS) for hour in range(1, 24)]

    assert day(3) == day(3) != day(4)


@pytest.mark.requirement("R66", "R78", "R100")
async def test_what_a_fleet_reports_arrives_whole_also_what_it_recorded_without_a_connection(
    csms: Backend, tmp_path: Path
) -> None:
    async with serving(csms) as ask:
        way_home_ms = round(17.5 * HOUR_MS)  # of both: without a connection until the end
        end_ms = csms.clock.utc_ms() // DAY_MS * DAY_MS + way_home_ms - DAY_MS
        assert all(fleet_vehicle(number, end_ms).lost(end_ms) for number in (1, 2))
        fleet = Commuters(
            CommutersConfig(folder=tmp_path, end_ms=end_ms, count=2, speed=200_000, step_s=30),
            lambda on_marks: ApiUplink(ask, on_marks),
        )
        seen: list[int] = []
        found = await fleet.run(lambda each: seen.append(each.stored))
        assert found.made == found.stored > 500
        assert seen == sorted(seen)
        for number in (1, 2):
            marks = (await ask("GET", f"/telemetry/EV-{number}/hwm")).json
            assert [each["contiguous"] == each["highest"] for each in marks] == [True]
            route = (await ask("GET", f"/vehicles/EV-{number}/route?limit=1000")).json
            there = [each["at_ms"] for each in route]
            latest = (await ask("GET", f"/vehicles/EV-{number}")).json["values"]
            assert {"location.latitude", "battery.temperature.max", "motor.speed", "battery.soc"} <= latest.keys()
            away = [at for at in there if fleet_vehicle(number, end_ms).lost(at)]
            assert len(away) > 10, "recorded without a connection"
            assert json.dumps(there) == json.dumps(sorted(there))
        while csms.services.store.do(aggregate_pending):
            pass
        for number in (1, 2):
            drawn, true = await drawn_wh(ask, number), driven_wh(number, end_ms, 30_000)
            assert drawn == pytest.approx(true, rel=0.01, abs=50)
            assert true[0] > 1000, "it has charged"


async def drawn_wh(ask: ApiClient, number: int) -> tuple[float, float]:
    """Return what the picture of the fleet shows as energy into the vehicle, and fed back."""
    query = f"signal=charging.power&width_s=900&limit=1000&to_ms={LAST_MS}"
    means = [each["mean"] for each in (await ask("GET", f"/vehicles/EV-{number}/aggregates?{query}")).json]
    return sum(max(mean, 0.0) for mean in means) / 4, sum(min(mean, 0.0) for mean in means) / 4


def driven_wh(number: int, end_ms: int, step_ms: int) -> tuple[float, float]:
    """Return the same of the vehicle itself, from each of its steps."""
    vehicle, found = fleet_vehicle(number, end_ms), [0.0, 0.0]
    for at_ms in range(end_ms - DAY_MS + step_ms, end_ms + 1, step_ms):
        wh = vehicle.advance(at_ms)[0]["charging.power"] * step_ms / HOUR_MS
        found[wh < 0] += wh
    return found[0], found[1]


def fleet_vehicle(number: int, end_ms: int) -> Commuter:
    """The vehicle of this number, by itself."""
    return Commuter(1_000_003 + number, end_ms - DAY_MS)


def test_a_weak_cell_parts_from_the_others() -> None:
    apart = []
    for weak_mv in (0.0, 90.0):
        values, _ = Commuter(7, MIDNIGHT, weak_mv).advance(MIDNIGHT + STEP_MS)
        apart.append(1000 * (values["battery.cell_voltage.max"] - values["battery.cell_voltage.min"]))
    assert apart[0] < 50 < 80 < apart[1] < 120, "mV: the limit of cell_spread is 50"
