"""One device that lies or fails changes no total of others (R194): each sum over devices, with and without it."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from csms.batteries.rules import fleet_health
from csms.booking import held
from csms.booking.plausibility import energy_between
from csms.books import reports
from csms.session_metrics.rules import StationTracks, apart, levels, taken
from csms.telemetry.aggregates import Aggregation, SignalNumbers
from csms.tokens import store as tokens
from csms.tokens.rules import Allowance, Terms, TokenEntry
from csms.transactions import powers as running_powers
from csms.transactions import store as transactions
from tests.csms.api.support import serving
from tests.csms.backend import Backend
from tests.csms.charging import VALID
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload, ScriptedStation
from v2g.hardware.session_metrics import SessionMetrics
from v2g.ocpp.times import format_time

pytestmark = pytest.mark.requirement("R194")

DAY_S = 86_400
HONEST, LIAR = "CS-V2G-0001", "CS-V2G-0002"
LIES = (1e12, -1e12, 900_000, -900_000, 441_000)
"""Powers, W, that no EVSE without a stated rating has: 400 kW and 10 %."""


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end with a driver who may take 5 kWh a day."""
    allowance = Allowance(period="day", energy_wh=5000)
    token = TokenEntry(id_token=VALID["idToken"], type=VALID["type"], terms=Terms(allowances=(allowance,)))
    async with backend(tokens=(token,)) as running:
        running.clock.advance(DAY_S - running.clock.utc_ms() / 1000 % DAY_S)  # what follows is within one day
        yield running


async def report(point: ScriptedStation, csms: Backend, name: str, seq_no: int, kind: str, **values: Any) -> Payload:
    """Report an event with a register (Wh) and a power (W)."""
    csms.clock.advance(30)
    at = format_time(csms.clock.utc_ms())
    measured = {"wh": "Energy.Active.Import.Register", "watts": "Power.Active.Import"}
    samples = [{"value": value, "measurand": measured[each]} for each, value in values.items()]
    request: Payload = {
        "eventType": kind,
        "triggerReason": "Authorized" if kind == "Started" else "MeterValuePeriodic",
        "timestamp": at,
        "seqNo": seq_no,
        "transactionInfo": {"transactionId": name, "chargingState": "Charging" if kind != "Ended" else "Idle"},
        "evse": {"id": 1, "connectorId": 1},
        "meterValue": [{"timestamp": at, "sampledValue": samples}],
        "idToken": VALID,
    }
    return await point.call("TransactionEvent", request)


async def both_charge(csms: Backend, lie: float) -> dict[str, ScriptedStation]:
    """Let an honest station take 100 Wh at 6 kW, and one that says `lie` W, and that it took as much."""
    points = {each: await csms.booted(each) for each in (HONEST, LIAR)}
    csms.clock.advance(3600)
    for station_id, point in points.items():
        true = station_id == HONEST
        await report(point, csms, f"tx-{station_id}", 0, "Started", wh=1000)
        end = 1100 if true else 1000 + abs(lie)
        await report(point, csms, f"tx-{station_id}", 1, "Updated", wh=end, watts=6000 if true else lie)
    return points


@pytest.mark.parametrize("lie", LIES)
async def test_power_of_all_transactions_of_a_set_point_and_of_a_site(csms: Backend, lie: float) -> None:
    """The overview, what SCADA reads (the same sum), the course of dispatch, and the nodes of a site."""
    await both_charge(csms, lie)
    run = csms.services.store.run
    assert await run(running_powers.flow) == (6000, 1)
    only_liar = await run(running_powers.powers, frozenset({LIAR}))
    assert [(each.station_id, each.power_w) for each in only_liar] == [(LIAR, None)]
    places = [{"station_id": each, "evse_id": 1, "node": "main", "most_ma": 32_000} for each in (HONEST, LIAR)]
    site = {"id": "depot", "nodes": [{"id": "main", "limits": [99_000] * 3}], "places": places}
    async with serving(csms) as ask:
        found = (await ask("GET", "/overview/transactions")).json
        assert (found["active"], found["unknown"], found["import_w"], found["export_w"]) == (2, 1, 6000, 0)
        assert found["feeding_back"] == 0
        assert (await ask("PUT", "/sites/depot", site)).status in (200, 201, 204)
        found = (await ask("GET", "/sites/depot/evse-limits")).json
        assert {each["station_id"]: each["power_w"] for each in found} == {HONEST: "6000", LIAR: None}
        alone = (await ask("GET", f"/stations/{LIAR}/evse-limits")).json
        assert [each["power_w"] for each in alone] == [None]


@pytest.mark.parametrize("watts", [440_000, -440_000])
async def test_power_that_an_evse_can_have_counts(csms: Backend, watts: float) -> None:
    await both_charge(csms, watts)
    assert await csms.services.store.run(running_powers.flow) == (6000 + watts, 0)


@pytest.mark.parametrize("lie", [1e12, 900_000])
async def test_energy_of_reports_fleets_grid_operators_and_allowances(csms: Backend, lie: float) -> None:
    start_ms = csms.clock.utc_ms()
    points = await both_charge(csms, lie)
    run, now_ms = csms.services.store.run, csms.clock.utc_ms()
    names = [f"{each}/tx-{each}" for each in (HONEST, LIAR)]
    energies = await run(transactions.net_energy, names, 0, now_ms, now_ms)
    assert {name: mwh for name, (mwh, _) in energies.items()} == {names[0]: 100_000}
    judged = [await run(held.judged, each, now_ms) for each in await run(transactions.during, start_ms, now_ms)]
    assert sum(energy_between(each.usage, start_ms, now_ms) for each in judged if not each.findings) == 100_000
    known = await run(tokens.look_up, VALID["type"], VALID["idToken"], now_ms, None)
    assert known is not None
    assert [used.energy_wh for _, used in known.used] == [100]
    for each in (HONEST, LIAR):
        await report(points[each], csms, f"tx-{each}", 2, "Ended", wh=1100 if each == HONEST else 1000 + lie)
    (total,) = await run(reports.sums, "month", UTC)
    assert (total.transactions, total.held, total.import_mwh) == (1, 1, 100_000)
    known = await run(tokens.look_up, VALID["type"], VALID["idToken"], csms.clock.utc_ms(), None)
    assert known is not None
    assert [used.energy_wh for _, used in known.used] == [100]


@given(st.lists(st.floats(60, 110), min_size=1, max_size=9), st.sampled_from([-1e9, -0.1, 0.0, 130.1, 1e9]))
def test_health_of_a_fleet(honest: list[float], lie: float) -> None:
    estimates = {f"EV{n}": {"soh_percent": each} for n, each in enumerate(honest)}
    expected = fleet_health(0, estimates, 80)
    assert fleet_health(0, {**estimates, "LIAR": {"soh_percent": lie}}, 80) == expected


@pytest.mark.parametrize("lie", [1e-9, 1e9])
def test_stations_of_a_kind(lie: float) -> None:
    """Each is compared with the median of the others."""

    def state(close_s: float) -> StationTracks:
        found = StationTracks()
        for number in range(12):
            values: Any = {"contactor_close_s": close_s}
            found = (
                taken(found, SessionMetrics(session_id=str(number), evse_id=1, at_ms=number, values=values)) or found
            )
        return found

    others = [levels(state(0.1 + n / 1000)) for n in range(12)]
    one = state(0.105)
    before = apart(one, others).value
    assert abs(apart(one, [*others, levels(state(lie))]).value - before) < 0.5


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=9), st.floats(-1e12, 1e12))
def test_aggregates_of_telemetry_are_of_one_vehicle(values: list[int], lie: float) -> None:
    def aggregated(*, liar: bool) -> Mapping[Any, Any]:
        found = Aggregation({})
        for number, value in enumerate(values):
            found.add(SignalNumbers("EV1", 1, number, number * 1000, {"battery.energy.charged": float(value)}))
            if liar:
                found.add(SignalNumbers("LIAR", 1, number, number * 1000, {"battery.energy.charged": lie}))
        found.finish()
        return {key: each for key, each in found.intervals.items() if key[0] == "EV1"}

    assert aggregated(liar=True) == aggregated(liar=False)
