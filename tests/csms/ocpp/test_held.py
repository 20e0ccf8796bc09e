"""Registers and clocks as stations in the field report them: an amount is right, or held until a person releases it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from sqlalchemy import Connection

from csms.accounts.rules import Role
from csms.alerts import sources as alert_sources
from csms.alerts.rules import RULES
from csms.booking import held
from csms.booking import store as reviews
from csms.books import reports
from csms.grid.signal_delivery import Pusher
from csms.remote_control import work as remote_control
from csms.retention.store import delete_old
from csms.smart_charging import store as charging
from csms.smart_charging.work import SmartCharging
from csms.tariffs import store as tariffs
from csms.transactions import store as transactions
from csms.transactions.work import TransactionWatch
from tests.csms.api.support import serving
from tests.csms.backend import BOOT, Backend
from tests.csms.charging import TOKENS, VALID, Charging
from tests.csms.db.events import found_as
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload, ScriptedStation
from v2g.energy.price_plan import Charge, ChargeKind, PricePlan, Rate, When
from v2g.energy.settlement.bookkeeping import next_period, period_of
from v2g.errors import RefusedError
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.times import format_time

pytestmark = pytest.mark.requirement("R194")

IMPORT = "Energy.Active.Import.Register"
FLAT = PricePlan(id="flat", currency="EUR", energy=Charge(rates=(Rate(price="0.5"),)))
BY_MINUTE = PricePlan(
    id="minutes",
    currency="EUR",
    energy=Charge(rates=(Rate(price="0.5"),)),
    charging_time=Charge(rates=(Rate(price="0.05"),)),
    idle_time=Charge(rates=(Rate(price="0.05"),)),
)


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end with a driver and prices: 0.50 EUR/kWh everywhere."""
    async with backend(tokens=TOKENS) as running:
        for plan in (FLAT, BY_MINUTE):
            await running.services.store.run(tariffs.add_plan, plan, 0)
        await running.services.store.run(tariffs.assign, tariffs.Scope(), FLAT.id, 0)
        yield running


@dataclass
class Station:
    """A station that reports what a test says; every event lets a minute pass."""

    csms: Backend
    point: ScriptedStation
    id: str = "tx-field"
    seq_no: int = -1
    sent: list[Payload] = field(default_factory=list)

    async def event(self, kind: str, *samples: Payload, at_ms: int | None = None, **more: Any) -> Payload:
        """Send an event, a minute after the one before, dated `at_ms`."""
        self.csms.clock.advance(60)
        self.seq_no += 1
        at = format_time(self.csms.clock.utc_ms() if at_ms is None else at_ms)
        info: Payload = {"transactionId": self.id}
        if "state" in more:
            info["chargingState"] = more.pop("state")
        trigger = {"Started": "Authorized", "Updated": "MeterValuePeriodic", "Ended": "StopAuthorized"}[kind]
        request: Payload = {
            "eventType": kind,
            "triggerReason": trigger,
            "timestamp": at,
            "seqNo": self.seq_no,
            "transactionInfo": info,
            "evse": {"id": 1, "connectorId": 1},
            **more,
        }
        if kind == "Started":
            request.setdefault("idToken", VALID)
        if samples:
            request["meterValue"] = [{"timestamp": at, "sampledValue": list(samples)}]
        self.sent.append(request)
        return await self.point.call("TransactionEvent", request)

    async def runs(self, *values: float, **more: Any) -> Payload:
        """Report a whole transaction: the first value at its begin, the last at its end. Return the last answer."""
        await self.event("Started", wh(values[0], "Transaction.Begin"), state="Charging", **more)
        for value in values[1:-1]:
            await self.event("Updated", wh(value), **more)
        return await self.event("Ended", wh(values[-1], "Transaction.End"), state="Idle", **more)

    async def cost(self) -> dict[str, Any] | None:
        """Return the stored cost."""
        return await self.csms.services.store.run(tariffs.cost, self.point.id, self.id)

    async def review(self) -> dict[str, Any]:
        """Return why it is held, with what a release would book."""
        found = await self.csms.services.store.run(held.find, self.point.id, self.id)
        assert found is not None, "it is not held"
        return found

    async def is_held(self, reason: str, detail: str, kwh: float | None = None) -> None:
        """Check that its amount is held, in no total, and that a person is told; `kwh`: what is proposed."""
        run = self.csms.services.store.run
        found = await self.review()
        assert (found["reason"], found["state"]) == (reason, "quarantined")
        assert detail in found["detail"]
        if kwh is not None:
            assert found["import_mwh"] == round(kwh * 1_000_000)
        cost = await self.cost()
        assert cost is None or not cost["final"]
        (total,) = await run(reports.sums, "station", UTC)
        assert (total.transactions, total.import_mwh, total.net, total.gross) == (0, 0, 0, 0)
        assert (total.held + total.unpriced, total.unpriced) == (1, int(reason == "unpriced"))
        (listed,) = await run(_list_held)
        assert (listed["kind"], listed["session_id"], listed["reason"]) == ("transaction", self.id, reason)
        seen = await run(alert_sources.observe, self.csms.clock.utc_ms(), RULES)
        assert [each.subject for each in seen.values["money_quarantined"]] == [self.point.id]
        assert [each.data["reason"] for each in self.csms.events.named("transaction_held")] == [reason]

    async def is_exact(self, kwh: float, euros: float) -> None:
        """Check that its amount is final, and in the reports."""
        assert await self.csms.services.store.run(held.find, self.point.id, self.id) is None
        cost = await self.cost()
        assert cost is not None
        assert (cost["final"], cost["incl_tax"]) == (True, round(euros * 1_000_000))
        (total,) = await self.csms.services.store.run(reports.sums, "station", UTC)
        assert (total.transactions, total.held, total.unpriced) == (1, 0, 0)
        assert (total.import_mwh, total.gross) == (round(kwh * 1_000_000), round(euros * 1_000_000))


def _list_held(connection: Connection) -> list[dict[str, Any]]:
    return reviews.list_page(connection, None, 10, states=["quarantined"])


def wh(value: float, context: str = "Sample.Periodic", **more: Any) -> Payload:
    """Return a sample of the import register."""
    return {"value": value, "context": context, "measurand": IMPORT, **more}


@pytest_asyncio.fixture
async def station(csms: Backend) -> Station:
    """A station that has booted an hour ago."""
    point = await csms.booted()
    csms.clock.advance(3600)
    return Station(csms, point)


async def test_a_right_transaction_is_final(station: Station) -> None:
    answer = await station.runs(1_000_000, 1_001_000, 1_002_000, 1_003_000)
    assert answer["totalCost"] == 1.5
    await station.is_exact(3, 1.5)


async def test_a_placeholder_at_the_begin_is_held(station: Station) -> None:
    answer = await station.runs(0, 909_948, 910_000, 910_031)
    assert "totalCost" not in answer
    await station.is_held("rise", "left out: 0 Wh", kwh=0.083)


async def test_a_spike_is_held(station: Station) -> None:
    await station.runs(1_001_000, 99_999_999, 1_002_000, 1_003_000)
    await station.is_held("rise", "left out: 99999999 Wh", kwh=2)


async def test_a_spike_at_the_end_is_held(station: Station) -> None:
    await station.runs(1_000_000, 1_001_000, 99_999_999)
    await station.is_held("rise", "left out: 99999999 Wh", kwh=1)


async def test_a_reset_counts_on_from_a_new_base_and_is_held(station: Station) -> None:
    await station.runs(1_000_000, 1_005_000, 0, 3000, 4000)
    await station.is_held("fall", "new base: 0 Wh", kwh=9)


async def test_a_start_in_1970_is_held_and_costs_no_time(station: Station) -> None:
    csms = station.csms
    await csms.services.store.run(tariffs.assign, tariffs.Scope(), BY_MINUTE.id, 0)
    await station.event("Started", wh(0, "Transaction.Begin"), state="Charging", at_ms=0)
    await station.event("Ended", wh(1000, "Transaction.End"), state="Idle")
    await station.is_held("clock", "event 0 is of 1970-01-01 00:00:00 UTC", kwh=1)
    worked = await csms.services.store.run(tariffs.work_out, station.point.id, station.id, csms.clock.utc_ms())
    assert worked is not None
    assert [(each.kind, each.incl_tax) for each in worked.bill.lines] == [("energy", 500_000)]


async def test_energy_without_a_state_is_held_where_pauses_have_a_price(station: Station) -> None:
    """All time would be idle: a release prices energy alone."""
    csms = station.csms
    await csms.services.store.run(tariffs.assign, tariffs.Scope(), BY_MINUTE.id, 0)
    await station.event("Started", wh(0, "Transaction.Begin"))
    await station.event("Ended", wh(1000, "Transaction.End"))
    await station.is_held("events", "no event says whether it charges", kwh=1)
    worked = await csms.services.store.run(tariffs.work_out, station.point.id, station.id, csms.clock.utc_ms())
    assert worked is not None
    assert [(each.kind, each.incl_tax) for each in worked.bill.lines] == [("energy", 500_000)]


@pytest.mark.parametrize(
    ("kind", "condition", "by_time"),
    [
        ("energy", {"from_minute": 480}, True),
        ("energy", {"evse_kind": "DC"}, False),
        ("energy", {"max_energy_wh": 500}, False),
        ("export", {"max_energy_wh": 500}, True),
        ("fixed", {"from_minute": 480}, True),
    ],
)
async def test_a_price_of_some_hours_depends_on_time(
    station: Station, kind: ChargeKind, condition: dict[str, Any], by_time: bool
) -> None:
    """So a gap in its events counts, as with two prices; a block of energy costs the same whenever it is taken."""
    run = station.csms.services.store.run
    plan = PricePlan(id="some", currency="EUR", **{kind: Charge(rates=(Rate(price="0.5", when=When(**condition)),))})
    await run(tariffs.add_plan, plan, 0)
    await run(tariffs.assign, tariffs.Scope(), plan.id, 0)
    await station.event("Started", wh(0, "Transaction.Begin"), state="Charging")
    station.seq_no += 1
    await station.event("Ended", wh(1000, "Transaction.End"), state="Idle")
    if by_time:
        await station.is_held("events", "its price depends on time, and events are missing: 1 to 1")
    else:
        assert await run(held.find, station.point.id, station.id) is None


@pytest.mark.parametrize(("scale", "behind_s", "held"), [(1, 0, True), (1, 200, False), (1, 170, True), (3, 0, False)])
async def test_an_event_that_waits_for_this_back_end_is_no_reason_to_hold_money(
    station: Station, monkeypatch: pytest.MonkeyPatch, scale: int, behind_s: float, held: bool
) -> None:
    """It is of 301 s ago: two minutes are usual, and how long the answers before it took; messages take real time
    where that of the clock is faster."""
    clock, store = station.csms.clock, station.csms.services.store
    clock.scale, real, gather, late_s = scale, clock.monotonic, store.gather, [0.0]

    async def slow(*given: Any) -> Any:
        found = await gather(*given)
        late_s[0] += behind_s
        return found

    with monkeypatch.context() as busy:
        busy.setattr(clock, "monotonic", lambda: real() + late_s[0])
        busy.setattr(store, "gather", slow)
        await station.event("Started", wh(1000, "Transaction.Begin"), state="Charging", at_ms=clock.utc_ms() + 60_000)
        clock.advance(600)
        at_ms = clock.utc_ms() + 60_000 - 301_000
        await station.event("Ended", wh(2000, "Transaction.End"), state="Idle", at_ms=at_ms)
    if held:
        await station.is_held("clock", "Look at the station's clock", kwh=1)
    else:
        await station.is_exact(1, 0.5)


@pytest.mark.parametrize("action", ["Authorize", "StatusNotification"])
async def test_a_station_cannot_busy_the_back_end_to_date_its_events_back(
    station: Station, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """It takes the limits that precede an authorization as late as it likes, or asks again and again."""
    clock, store = station.csms.clock, station.csms.services.store
    real, gather, late_s = clock.monotonic, store.gather, [0.0]

    async def usual(*given: Any) -> Any:
        late_s[0] += 0.9
        return await gather(*given)

    async def wait(_pusher: Pusher) -> None:
        late_s[0] += 3

    await station.event("Started", wh(1000, "Transaction.Begin"), state="Charging")
    with monkeypatch.context() as busy:
        busy.setattr(clock, "monotonic", lambda: real() + late_s[0])
        busy.setattr(store, "gather", usual)
        busy.setattr(Pusher, "limit_first", wait)
        about = {"evseId": 1, "connectorId": 1, "connectorStatus": "Occupied", "timestamp": "2026-01-01T00:00:00Z"}
        while late_s[0] < 400:
            before_s = late_s[0]
            await station.point.call(action, {"idToken": VALID} if action == "Authorize" else about)
            assert late_s[0] > before_s
    clock.advance(600)
    at_ms = clock.utc_ms() + 60_000 - 301_000
    await station.event("Ended", wh(2000, "Transaction.End"), state="Idle", at_ms=at_ms)
    await station.is_held("clock", "Look at the station's clock", kwh=1)


async def test_phases_are_summed(station: Station) -> None:
    for kind, context, value in (("Started", "Transaction.Begin", 1000), ("Ended", "Transaction.End", 3000)):
        phases = (wh(value, context, phase=each) for each in ("L1", "L2", "L3"))
        await station.event(kind, *phases, state="Charging" if kind == "Started" else "Idle")
    await station.is_exact(6, 3)


async def test_a_reading_that_lacks_a_phase_is_held(station: Station) -> None:
    for kind, count in (("Started", 3), ("Updated", 2), ("Ended", 3)):
        value = {"Started": 1000, "Updated": 1500, "Ended": 2000}[kind]
        await station.event(kind, *(wh(value, phase=each) for each in ("L1", "L2", "L3")[:count]))
    await station.is_held("series", "lack a phase", kwh=3)


async def test_the_outlet_s_register_counts_not_the_inlet_s(station: Station) -> None:
    for kind, context, value in (("Started", "Transaction.Begin", 1000), ("Ended", "Transaction.End", 2500)):
        both = (wh(5_000_000, context, location="Inlet"), wh(value, context, location="Outlet"))
        await station.event(kind, *both)
    await station.is_exact(1.5, 0.75)


async def test_without_a_reading_at_the_begin_it_is_unpriced(station: Station) -> None:
    await station.event("Started", state="Charging")
    await station.event("Ended", wh(5000, "Transaction.End"), state="Idle")
    await station.is_held("unpriced", "only 5000 Wh")


async def test_without_any_reading_it_is_unpriced(station: Station) -> None:
    await station.event("Started", state="Charging")
    await station.event("Ended", state="Idle")
    await station.is_held("unpriced", "none at all")


async def _boots_and_runs(station: Station, *values: float, **more: Any) -> str:
    """Boot, run a transaction with the same id, numbers from 0; return the key of the newest."""
    await station.point.call("BootNotification", BOOT)
    station.seq_no = -1
    await station.runs(*values, **more)
    newest, *_ = await station.csms.services.store.run(transactions.list_page, transactions.TransactionFilter())
    return str(newest["transaction_id"])


async def test_an_id_used_again_after_a_boot_is_another_transaction(station: Station) -> None:
    await station.runs(1_000_000, 1_001_000, 1_002_000)
    await station.is_exact(2, 1)
    began_ms = station.csms.clock.utc_ms() + 60_000
    second = await _boots_and_runs(station, 1_002_000, 1_004_000, 1_007_000, 1_008_000)
    assert second == f"tx-field~{format_time(began_ms)}"
    run = station.csms.services.store.run
    costs = [await run(tariffs.cost, station.point.id, each) for each in ("tx-field", second)]
    assert [each["incl_tax"] for each in costs if each] == [1_000_000, 3_000_000]
    (total,) = await run(reports.sums, "station", UTC)
    assert (total.transactions, total.import_mwh, total.gross, total.held) == (2, 8_000_000, 4_000_000, 0)
    assert await run(held.find, station.point.id, second) is None
    named = [each.data["transaction"] for each in station.csms.events.named("transaction_ended")]
    assert named == ["tx-field", second]
    third = await _boots_and_runs(station, 1_008_000, 1_010_000)
    assert third not in ("tx-field", second)
    (total,) = await run(reports.sums, "station", UTC)
    assert (total.transactions, total.import_mwh) == (3, 10_000_000)


async def test_the_last_with_an_id_is_found_although_the_first_is_old_enough_to_be_deleted(station: Station) -> None:
    run, day_s = station.csms.services.store.run, 86_400
    await station.runs(1_000_000, 1_001_000)
    station.csms.clock.advance(10 * day_s)
    second = await _boots_and_runs(station, 1_001_000, 1_002_000)
    station.csms.clock.advance(10 * day_s)
    await station.point.call("BootNotification", BOOT)
    station.seq_no = -1
    await station.event("Started", wh(1_002_000, "Transaction.Begin"), state="Charging")
    (running,) = await run(transactions.active, station.point.id)
    assert not await run(delete_old, "transactions", station.csms.clock.utc_ms() - 5_000 * day_s)
    await station.event("Ended", wh(1_005_000, "Transaction.End"), state="Idle")
    assert await run(transactions.active, station.point.id) == []
    cost = await run(tariffs.cost, station.point.id, running.transaction_id)
    assert (cost or {}).get("incl_tax") == 1_500_000
    station.csms.clock.advance(10 * day_s)
    while await run(delete_old, "transactions", station.csms.clock.utc_ms() - 5_000 * day_s):
        pass
    for each in ("tx-field", second, running.transaction_id):
        assert await run(transactions.get, station.point.id, each) is None


async def test_an_id_that_is_used_again_after_its_deletion_has_no_plan_or_cost_of_the_old_one(station: Station) -> None:
    run, place = station.csms.services.store.run, (station.point.id, "tx-field")
    await station.runs(1_000_000, 1_002_000)
    began = (await run(transactions.get, *place)).started_ms
    station.csms.clock.advance(10 * 86_400)
    assert await run(delete_old, "transactions", station.csms.clock.utc_ms() - 1) > 0
    assert await run(tariffs.cost, *place) is None
    kept = await run(tariffs.cost, station.point.id, f"tx-field~{format_time(began)}")
    assert kept["incl_tax"] == 1_000_000, "a receipt has it"
    dear = PricePlan(id="dear", currency="EUR", energy=Charge(rates=(Rate(price="0.7"),)))
    await run(tariffs.add_plan, dear, 0)
    await run(tariffs.assign, tariffs.Scope(), "dear", 0)
    await station.point.call("BootNotification", BOOT)
    station.seq_no = -1
    await station.runs(1_002_000, 1_004_000)
    assert (await run(tariffs.cost, *place))["incl_tax"] == 1_400_000


async def test_late_and_repeated_events_of_the_earlier_transaction_stay_with_it(station: Station) -> None:
    await station.runs(1_000_000, 1_001_000, 1_002_000)
    earlier, missing = station.sent[:3], {**station.sent[1], "seqNo": 4, "offline": True}
    second = await _boots_and_runs(station, 1_010_000, 1_012_000)
    for each in (*earlier, *({**each, "offline": True} for each in earlier), missing):
        await station.point.call("TransactionEvent", each)
    run = station.csms.services.store.run
    for key, count in (("tx-field", 4), (second, 2)):
        (found,) = await run(found_as, key)
        assert (len(found["events"]), [each for each in found["faults"] if each["kind"] == "conflict"]) == (count, [])


async def test_commands_name_a_transaction_as_its_station_does(station: Station) -> None:
    await station.runs(1_000_000, 1_002_000)
    await station.point.call("BootNotification", BOOT)
    station.seq_no = -1
    await station.event("Started", wh(1_002_000, "Transaction.Begin"), state="Charging")
    (newest,) = await station.csms.services.store.run(transactions.active, station.point.id)
    station.point.answers["RequestStopTransaction"] = {"status": "Accepted"}
    station.point.answers["SetChargingProfile"] = {"status": "Accepted"}
    await remote_control.stop(station.csms.services, newest.transaction_id)
    period = ChargingSchedulePeriod(start_period=0, limit=10)
    limit = ChargingProfile(
        id=7,
        stack_level=3,
        charging_profile_purpose="TxProfile",
        charging_profile_kind="Relative",
        transaction_id=newest.transaction_id,
        charging_schedule=(ChargingSchedule(id=1, charging_rate_unit="A", charging_schedule_period=(period,)),),
    )
    await SmartCharging(station.csms.services).set_profile(station.point.id, 1, limit)
    (stopped,), (limited,) = (station.point.payloads(each) for each in ("RequestStopTransaction", "SetChargingProfile"))
    assert stopped["transactionId"] == limited["chargingProfile"]["transactionId"] == "tx-field"
    ((_, _, profile),) = await station.csms.services.store.run(
        charging.profiles, station.point.id, 1, newest.transaction_id
    )
    assert profile.transaction_id == newest.transaction_id


async def test_one_cut_off_by_a_boot_is_closed_when_its_id_is_used_again(station: Station) -> None:
    await station.event("Started", wh(1_000_000, "Transaction.Begin"), state="Charging")
    await station.event("Updated", wh(1_001_000))
    second = await _boots_and_runs(station, 1_001_500, 1_003_500)
    watch = TransactionWatch(station.csms.services)
    await watch.look(station.point.id)
    assert station.point.payloads("GetTransactionStatus") == [], "the station can only tell about the later one"
    found = await station.review()
    assert (found["reason"], found["import_mwh"]) == ("end", 1_000_000)
    cost = await station.csms.services.store.run(tariffs.cost, station.point.id, second)
    assert cost is not None
    assert (cost["final"], cost["incl_tax"]) == (True, 1_000_000)


@pytest.mark.parametrize("booted", [False, True])
async def test_an_id_used_again_is_held_where_nothing_tells_it_from_a_repeated_start(
    station: Station, booted: bool
) -> None:
    """Without a boot between them, or by a clock that went back, it may be the same transaction reported again."""
    await station.runs(1_000_000, 1_001_000, 1_002_000)
    station.csms.events.reported.clear()
    if booted:
        await station.point.call("BootNotification", BOOT)
    station.seq_no = -1
    await station.event("Started", wh(1_010_000, "Transaction.Begin"), at_ms=0 if booted else None)
    await station.event("Ended", wh(1_016_000, "Transaction.End"))
    await station.is_held("reused", "import".title(), kwh=2)
    assert "Started (Authorized)" in (await station.review())["detail"]
    assert "1010000 Wh" in (await station.review())["detail"]


async def test_local_time_called_utc_is_held(station: Station) -> None:
    ahead_ms = station.csms.clock.utc_ms() + 2 * 3_600_000
    await station.event("Started", wh(1000, "Transaction.Begin"), state="Charging", at_ms=ahead_ms)
    await station.event("Ended", wh(2000, "Transaction.End"), state="Idle")
    await station.is_held("clock", "event 0 is of", kwh=1)


async def test_units_and_multipliers_are_applied(station: Station) -> None:
    await station.event("Started", wh(1000, "Transaction.Begin", unitOfMeasure={"unit": "Wh", "multiplier": 1}))
    await station.event("Ended", wh(12.5, "Transaction.End", unitOfMeasure={"unit": "kWh"}))
    await station.is_exact(2.5, 1.25)


async def test_intervals_are_no_registers(station: Station) -> None:
    interval = {"value": 1000, "measurand": "Energy.Active.Import.Interval"}
    await station.event("Started", wh(5000, "Transaction.Begin"), state="Charging")
    await station.event("Updated", wh(6000), interval)
    await station.event("Ended", interval, wh(7000, "Transaction.End"), state="Idle")
    await station.is_exact(2, 1)


async def test_intervals_alone_are_added_up_and_held(station: Station) -> None:
    interval = {"value": 1000, "measurand": "Energy.Active.Import.Interval"}
    await station.event("Started", state="Charging")
    await station.event("Updated", interval)
    await station.event("Ended", interval, state="Idle")
    await station.is_held("series", "intervals", kwh=2)


async def test_an_offline_transaction_is_of_the_time_offline(station: Station) -> None:
    """It may be hours old, but not older than the last message before."""
    csms = station.csms
    await csms.leave(station.point)
    csms.clock.advance(7200)
    began_ms = csms.clock.utc_ms() - 3_600_000
    station.point = await csms.join()
    for number, (kind, value) in enumerate((("Started", 1000), ("Updated", 2000), ("Ended", 3000))):
        context = {"Started": "Transaction.Begin", "Ended": "Transaction.End"}.get(kind, "Sample.Periodic")
        await station.event(kind, wh(value, context), at_ms=began_ms + number * 600_000, offline=True)
    await station.is_exact(2, 1)
    station.id, station.seq_no = "tx-older", -1
    long_ago_ms = began_ms - 30 * 86_400_000
    await station.event("Started", wh(3000, "Transaction.Begin"), at_ms=long_ago_ms, offline=True)
    await station.event("Ended", wh(4000, "Transaction.End"), at_ms=long_ago_ms + 600_000, offline=True)
    assert (await station.review())["reason"] == "clock"


async def test_a_stale_begin_of_before_the_transaction_before_is_held(station: Station) -> None:
    await station.runs(1_000_000, 1_001_000, 1_002_000)
    station.id, station.seq_no = "tx-next", -1
    await station.runs(1_000_000, 1_002_500, 1_003_000)
    found = await station.review()
    assert (found["reason"], found["import_mwh"]) == ("rise", 500_000)
    assert "its EVSE stood at 1002000 Wh" in found["detail"]


@pytest.mark.parametrize("its_end", ["told", "lost"])
@pytest.mark.parametrize(("begin_kwh", "held_too"), [(1003, False), (1010, False), (1012, True)])
async def test_after_one_that_is_held_a_jump_of_the_registers_is_held(
    station: Station, its_end: str, begin_kwh: int, held_too: bool
) -> None:
    """Its last reading is evidence: in the minute behind that 400 kW and 10 % of them are 7.3 kWh."""
    await station.runs(1_000_000, 1_001_000, 1_002_000)
    station.id, station.seq_no = "tx-held", -1
    await station.event("Started", wh(1_002_000, "Transaction.Begin"), state="Charging")
    await station.event("Updated", wh(1_003_000))
    if its_end == "told":
        await station.event("Ended", state="Idle")
        assert (await station.review())["reason"] == "end"
        station.csms.clock.advance(7200)
    station.id, station.seq_no = "tx-next", -1
    await station.event("Started", wh(begin_kwh * 1000, "Transaction.Begin"), state="Charging")
    if its_end == "lost":  # it ends as this one has begun
        await TransactionWatch(station.csms.services).look(station.point.id)
    await station.event("Ended", wh(begin_kwh * 1000 + 1000, "Transaction.End"), state="Idle")
    found = await station.csms.services.store.run(held.find, station.point.id, station.id)
    assert (found and found["reason"]) == ("begin" if held_too else None)
    assert found is None or "stood at 1003000 Wh after transaction tx-held of " in found["detail"]


async def test_books_say_how_many_are_held(station: Station) -> None:
    """Of a month, of a contract, and beside the costs."""
    contract = "DEAAAC12345678"
    await station.event("Started", wh(0, "Transaction.Begin"), idToken={"idToken": contract, "type": "eMAID"})
    await station.event("Ended", wh(900_000, "Transaction.End"))
    month = period_of(station.csms.clock.utc_ms())
    other = next_period(month)
    async with serving(station.csms) as ask:
        for path, count in (
            (f"periods/{month}", 1),
            (f"periods/{other}", 0),
            (f"vehicles/{contract}", 1),
            (f"vehicles/{contract}?period={month}", 1),
            (f"vehicles/{contract}?period={other}", 0),
            ("vehicles/DEAAAC87654321", 0),
        ):
            found = (await ask("GET", f"/books/{path}", role=Role.BILLING)).json
            sheet = found.get("sheet", found)
            assert (sheet["held"], sheet["sessions"], sheet["amounts"]) == (count, 0, []), path
        note = {"note": "it was a bus"}
        assert (await ask("POST", f"/books/quarantine/{station.id}/release", note, role=Role.BILLING)).status == 200
        assert (await ask("GET", f"/books/periods/{month}", role=Role.BILLING)).json["sheet"]["held"] == 0


async def test_the_rating_that_a_station_reports_bounds_its_energy(station: Station) -> None:
    """2 kWh in a minute are 120 kW: right for a fast charger, not for one of 22 kW."""
    report: Payload = {
        "requestId": 1,
        "generatedAt": format_time(station.csms.clock.utc_ms()),
        "seqNo": 0,
        "reportData": [
            {
                "component": {"name": "EVSE", "evse": {"id": 1}},
                "variable": {"name": "Power"},
                "variableAttribute": [{"type": "Actual", "value": "0"}],
                "variableCharacteristics": {
                    "dataType": "decimal", "supportsMonitoring": False, "unit": "W", "maxLimit": 22_000,
                },
            }
        ],
    }  # fmt: skip
    await station.runs(1000, 3000)
    await station.is_exact(2, 1)
    await station.point.call("NotifyReport", report)
    station.id, station.seq_no = "tx-slow", -1
    await station.runs(3000, 5000)
    assert "more than 22 kW" in (await station.review())["detail"]


async def test_a_running_cost_that_cannot_be_is_not_announced(station: Station) -> None:
    from csms.tariffs.work import CostAnnouncer

    station.point.answers["CostUpdated"] = {}
    await station.event("Started", wh(0, "Transaction.Begin"), state="Charging")
    await station.event("Updated", wh(900_000))
    await CostAnnouncer(station.csms.services).announce(station.point.id, station.id)
    assert station.point.payloads("CostUpdated") == []
    assert await station.cost() is None


async def test_one_whose_end_never_comes_is_held_unless_a_person_closes_it(station: Station) -> None:
    watch = TransactionWatch(station.csms.services)
    for name, reason in (("tx-lost", "station_lost_it"), ("tx-closed", "operator")):
        station.id, station.seq_no = name, -1
        await station.event("Started", wh(1000, "Transaction.Begin"), state="Charging")
        await station.event("Updated", wh(2000))
        assert await watch.close(station.point.id, station.id, reason)  # type: ignore[arg-type]
    cost = await station.cost()
    assert cost is not None
    assert (cost["final"], cost["incl_tax"]) == (True, 500_000)
    station.id = "tx-lost"
    assert (await station.review())["reason"] == "end"
    assert await station.cost() is None


async def test_events_that_arrive_late_release_what_lacked_them(station: Station) -> None:
    await station.event("Started", state="Charging")
    station.seq_no += 1  # the second event is still on its way
    await station.event("Ended", wh(2000, "Transaction.End"), state="Idle")
    assert (await station.review())["reason"] == "unpriced"
    station.seq_no = 0
    at_ms = station.csms.clock.utc_ms() - 60_000
    await station.event("Updated", wh(1000, "Transaction.Begin"), at_ms=at_ms, offline=True)
    await station.is_exact(1, 0.5)


async def test_the_plan_of_one_that_is_held_stays_until_it_is_released(station: Station) -> None:
    """Also where its driver is not known, with whom its plan would be fixed before."""
    run, charging = station.csms.services.store.run, Charging(station.csms, station.point)
    await charging.plugged()
    charging.wh += 10**8
    await charging.unplugged()
    assert await run(held.is_open, station.point.id, charging.id)
    await run(tariffs.unassign, tariffs.Scope(), station.csms.clock.utc_ms())
    with pytest.raises(RefusedError, match="in use"):
        await run(tariffs.remove_plan, FLAT.id)


async def test_a_decision_stays_until_the_findings_change(station: Station) -> None:
    run = station.csms.services.store.run
    await station.runs(0, 909_948, 910_000, 910_031)
    await run(held.decide, station.point.id, station.id, "released", "an operator", "seen", 1)
    await run(tariffs.release_cost, station.point.id, station.id, station.csms.clock.utc_ms())
    cost = await station.cost()
    assert cost is not None
    assert (cost["final"], cost["incl_tax"]) == (True, 41_500)
    (total,) = await run(reports.sums, "station", UTC)
    assert (total.held, total.import_mwh, total.gross) == (0, 83_000, 40_000), "whole cents are paid"
    await station.point.call("TransactionEvent", station.sent[-1])  # repeated: nothing is new
    assert (await station.review())["state"] == "released"
    again = {**station.sent[-1], "meterValue": station.sent[0]["meterValue"]}
    await station.point.call("TransactionEvent", again)
    assert (await station.review())["state"] == "quarantined"
    assert await station.cost() is None


async def test_a_station_s_own_cost_is_held_with_its_registers(station: Station) -> None:
    """Its calculation does not make a register right, nor does a register make its calculation right."""

    def details(wh_: float) -> Payload:
        total = {"currency": "EUR", "typeOfCost": "NormalCost", "total": {"exclTax": wh_ / 2000, "inclTax": wh_ / 2000}}
        return {"totalCost": total, "totalUsage": {"energy": wh_, "chargingTime": 60, "idleTime": 0}}

    station.point = await station.csms.booted("CS-V2G-0002", version="2.1")
    for name, end, calculated, reason in (
        ("tx-a", 3000, 2000, None), ("tx-b", 99_999_999, 99_998_999, "rise"), ("tx-c", 103_000, 90_000, "cost"),
    ):  # fmt: skip
        station.id, station.seq_no = name, -1
        begin = {"tx-a": 1000, "tx-b": 1000, "tx-c": 100_000}[name]
        await station.event("Started", wh(begin, "Transaction.Begin"), state="Charging")
        await station.event("Ended", wh(end, "Transaction.End"), state="Idle", costDetails=details(calculated))
        cost = await station.cost()
        if reason is None:
            assert cost is not None
            assert (cost["final"], cost["source"]) == (True, "station")
        else:
            assert (await station.review())["reason"] == reason
            assert cost is None


@pytest.mark.parametrize(("said", "found"), [(None, None), (True, None), (False, ("station", True))])
async def test_a_station_s_own_cost_of_a_part_is_not_that_of_a_transaction_that_is_released(
    station: Station, said: bool | None, found: tuple[str, bool] | None
) -> None:
    """Where no price is known here. What it calculated of the whole is; `said`: whether it failed to, in the end."""
    run = station.csms.services.store.run
    await run(tariffs.unassign, tariffs.Scope(), 0)
    station.point = await station.csms.booted("CS-V2G-0002", version="2.1")
    total = {"currency": "EUR", "typeOfCost": "NormalCost", "total": {"exclTax": 0.5, "inclTax": 0.5}}
    own = {"totalCost": total, "totalUsage": {"energy": 1000, "chargingTime": 60, "idleTime": 0}}
    last = {} if said is None else {"costDetails": {**own, "failureToCalculate": said}}
    for name, begin, end, more in (("tx-before", 0, 1000, {"costDetails": own}), ("tx-held", 1000, 99_999_999, last)):
        station.id, station.seq_no = name, -1
        await station.event("Started", wh(begin, "Transaction.Begin"), state="Charging")
        await station.event("Updated", wh(begin + 1000), costDetails=own)
        await station.event("Ended", wh(end, "Transaction.End"), state="Idle", **more)
    now_ms = station.csms.clock.utc_ms()
    assert (await station.review())["reason"] == "rise"
    await run(held.decide, station.point.id, station.id, "released", "me", "seen", now_ms)
    await run(tariffs.release_cost, station.point.id, station.id, now_ms)
    cost = await station.cost()
    assert (cost and (cost["source"], cost["final"])) == found


@pytest.mark.parametrize("shown", [False, True])
async def test_a_station_s_own_cost_stays_when_an_earlier_event_comes_later(station: Station, shown: bool) -> None:
    """It was shown to the driver (I12); which event comes last does not change who calculates."""
    total = {"currency": "EUR", "typeOfCost": "NormalCost", "total": {"exclTax": 1.5, "inclTax": 1.7}}
    station.point = await station.csms.booted("CS-V2G-0002", version="2.1")
    own = {"totalCost": total, "totalUsage": {"energy": 2000, "chargingTime": 60, "idleTime": 0}}
    so_far = {**total, "total": {"exclTax": 0.5, "inclTax": 0.6}}
    running = {"costDetails": {**own, "totalCost": so_far}} if shown else {}
    await station.event("Started", wh(1000, "Transaction.Begin"), state="Charging")
    at_ms = station.csms.clock.utc_ms() + 30_000
    station.seq_no += 1  # the second event is still on its way
    await station.event("Ended", wh(3000, "Transaction.End"), state="Idle", costDetails=own)
    station.seq_no = 0
    await station.event("Updated", wh(2000), at_ms=at_ms, offline=True, **running)
    await station.point.call("TransactionEvent", station.sent[-1])  # again: its answer was lost
    cost = await station.cost()
    assert cost is not None
    assert (cost["final"], cost["source"], cost["incl_tax"]) == (True, "station", 1_700_000)


async def test_an_operator_releases_by_the_api_what_is_shown(station: Station) -> None:
    async with serving(station.csms) as ask:
        await station.runs(0, 909_948, 910_000, 910_031)
        (shown,) = (await ask("GET", "/books/quarantine", role=Role.BILLING)).json
        assert (shown["kind"], shown["session_id"], shown["reason"]) == ("transaction", station.id, "rise")
        assert (await ask("GET", f"/transactions/{station.id}/cost")).json["code"] == "held"
        known = (await ask("GET", f"/transactions/{station.id}")).json
        assert (known["cost"], known["held"]) == (None, "rise")
        assert "v2g_transactions_held 1.0" in (await ask("GET", "/metrics")).body.decode()
        path, note = f"/books/quarantine/{station.id}/release", {"note": "the meter was seen"}
        released = (await ask("POST", path, note, role=Role.BILLING)).json
        assert (released["state"], released["decided_by"]) == ("released", "billing")
        assert (await ask("POST", path, note, role=Role.BILLING)).json == released
        cost = (await ask("GET", f"/transactions/{station.id}/cost")).json
        assert (cost["final"], cost["incl_tax"]) == (True, {"amount": "0.0415", "currency": "EUR"})
        rejected = await ask("POST", f"/books/quarantine/{station.id}/reject", note, role=Role.BILLING)
        assert (rejected.status, rejected.json["code"]) == (409, "not_quarantined")
        (total,) = (await ask("GET", "/reports/transactions?by=station", role=Role.BILLING)).json
        assert (total["transactions"], total["held"], total["gross"]) == (1, 0, "0.04")


async def test_a_rejected_one_costs_nothing_and_its_cost_says_so(station: Station) -> None:
    async with serving(station.csms) as ask:
        await station.runs(0, 909_948, 910_000, 910_031)
        note = {"note": "the meter was broken"}
        await ask("POST", f"/books/quarantine/{station.id}/reject", note, role=Role.BILLING)
        answer = await ask("GET", f"/transactions/{station.id}/cost")
        assert (answer.status, answer.json["code"]) == (409, "rejected")
        assert answer.json["detail"] == "the transaction is rejected"
        report = await ask("GET", "/reports/transactions?by=station", role=Role.BILLING)
        assert report.json == [], "nor is it a line of zeros"


@pytest.mark.parametrize("decided", [False, True])
async def test_a_release_is_of_the_energy_that_was_shown(station: Station, decided: bool) -> None:
    """What arrives later and changes only the energy, not what is wrong, is shown, and decided again."""
    early_ms = station.csms.clock.utc_ms()
    station.seq_no = 4
    await station.event("Updated", wh(1_000), idToken=VALID)
    await station.event("Ended", wh(5_000, "Transaction.End"))
    await station.is_held("events", "its start has not arrived", 4)
    if decided:
        await station.csms.services.store.run(
            held.decide, station.point.id, station.id, "released", "me", "4 kWh are right", station.csms.clock.utc_ms()
        )
    station.seq_no = 2
    await station.event("Updated", wh(400), at_ms=early_ms + 60_000, offline=True)
    found = await station.review()
    assert (found["detail"], found["import_mwh"]) == ("its start has not arrived", 4_600_000)
    assert (found["state"], await station.cost()) == ("quarantined", None)


@pytest.mark.parametrize("name", ["CP-7:1", "tx-field~2026-11-20T10:00:00Z", "7#2", "\u00e9 1"])
async def test_an_operator_decides_about_a_transaction_of_any_name(station: Station, name: str) -> None:
    """Colons are among OCPP's identifierString, a `~` is in an id that a station uses again; some write anything."""
    station.id = name
    await station.runs(0, 909_948, 910_000, 910_031)
    async with serving(station.csms) as ask:
        path, note = f"/books/quarantine/{quote(name, safe='')}", {"note": "the meter was seen"}
        assert (await ask("GET", path, role=Role.BILLING)).json["session_id"] == name
        assert (await ask("POST", f"{path}/release", note, role=Role.BILLING)).json["state"] == "released"
        assert await station.cost() is not None


async def test_fleets_leave_out_what_cannot_be(station: Station) -> None:
    await station.event("Started", wh(0, "Transaction.Begin"), state="Charging")
    await station.event("Updated", wh(900_000))
    name = f"{station.point.id}/{station.id}"
    run, now_ms = station.csms.services.store.run, station.csms.clock.utc_ms()
    assert await run(transactions.net_energy, [name], 0, now_ms, now_ms) == {}


# -- beside other transactions (R195)


async def _second(station: Station, *values: float, name: str = "tx-second", **more: Any) -> dict[str, Any]:
    """Run another transaction; return why it is held."""
    station.id, station.seq_no = name, -1
    await station.runs(*values, **more)
    return await station.review()


@pytest.mark.requirement("R195")
async def test_the_same_registers_two_hours_later_are_held_with_what_they_contradict(station: Station) -> None:
    await station.runs(1_000_000, 1_001_000, 1_005_000)
    station.csms.clock.advance(7200)
    found = await _second(station, 1_000_000, 1_001_000, 1_004_900)
    assert (found["reason"], found["import_mwh"]) == ("repeated", 4_900_000)
    assert "that of transaction tx-field of CS-V2G-0001 1000000 to 1005000 Wh" in found["detail"]
    async with serving(station.csms) as ask:
        shown = (await ask("GET", "/books/quarantine/tx-second", role=Role.BILLING)).json
    other = shown["contradicts"]
    assert (other["kind"], other["station_id"], other["session_id"], other["evse_id"]) == (
        "transaction", station.point.id, "tx-field", 1
    )  # fmt: skip
    assert (other["import_wh"], other["export_wh"]) == (["1000000", "1005000"], None)
    assert await station.csms.services.store.run(tariffs.cost, station.point.id, "tx-second") is None


@pytest.mark.requirement("R195")
async def test_registers_count_on_from_what_a_person_releases(station: Station) -> None:
    """An older meter was built in: released once, it is the EVSE's from then on."""
    await station.runs(1_000_000, 1_001_000, 1_005_000)
    assert (await _second(station, 700, 900, 1_700))["reason"] == "fall"
    async with serving(station.csms) as ask:
        note = {"note": "another meter"}
        assert (await ask("POST", "/books/quarantine/tx-second/release", note, role=Role.BILLING)).status == 200
    for name, begin in (("tx-third", 1_700), ("tx-fourth", 2_700)):
        station.id, station.seq_no = name, -1
        await station.runs(begin, begin + 500, begin + 1_000)
        assert await station.csms.services.store.run(held.find, station.point.id, name) is None
    assert (await _second(station, 1_700, 2_700, name="tx-fifth"))["reason"] == "repeated"


@pytest.mark.requirement("R195")
async def test_what_a_person_rejects_contradicts_nothing(station: Station) -> None:
    await station.runs(1_000_000, 1_001_000, 1_002_000)
    await _second(station, 1_001_000, 1_003_000, 1_004_000)
    run = station.csms.services.store.run
    await run(held.decide, station.point.id, "tx-second", "rejected", "an operator", "twice", 1)
    station.id, station.seq_no = "tx-third", -1
    await station.runs(1_002_000, 1_004_000)
    assert await run(held.find, station.point.id, "tx-third") is None
    await station.point.call("TransactionEvent", {**station.sent[-1], "seqNo": 0, "transactionInfo": {
        "transactionId": "tx-second"}, "evse": {"id": 1}})  # fmt: skip
    again = await run(held.find, station.point.id, "tx-second")
    assert again is not None
    assert again["state"] == "quarantined", "what it says now is something else"


@pytest.mark.requirement("R195")
async def test_a_contract_at_two_stations_at_once_is_held_at_both_where_no_vehicle_signed(station: Station) -> None:
    paid = {"idToken": {"idToken": "DEAAAC12345678", "type": "eMAID"}}
    other = Station(station.csms, await station.csms.booted("CS-V2G-0002"), "tx-second")
    await station.event("Started", wh(0, "Transaction.Begin"), **paid)
    await other.event("Started", wh(0, "Transaction.Begin"), **paid)
    for _ in range(3):
        await station.event("Updated", wh(500))
    await station.event("Ended", wh(1_000, "Transaction.End"))
    await other.event("Ended", wh(1_000, "Transaction.End"))
    for each in (station, other):
        found = await each.review()
        assert (found["reason"], "was at another EVSE from" in found["detail"]) == ("elsewhere", True)


@pytest.mark.requirement("R195")
async def test_a_held_transaction_uses_no_allowance_and_is_in_no_fleet(station: Station) -> None:
    await station.runs(1_000_000, 1_001_000, 1_005_000)
    await _second(station, 1_000_000, 1_001_000, 1_004_900)
    run = station.csms.services.store.run
    (first,), (second,) = [await run(found_as, each) for each in ("tx-field", "tx-second")]
    names = [f"{station.point.id}/{each['transaction_id']}" for each in (first, second)]
    now_ms = station.csms.clock.utc_ms()
    energies = await run(transactions.net_energy, names, 0, now_ms, now_ms)
    assert energies == {names[0]: (5_000_000, now_ms)}


@pytest.mark.requirement("R195")
async def test_registers_count_on_from_an_exchanged_meter(station: Station) -> None:
    await station.runs(1_000_000, 1_001_000, 1_005_000)
    path = f"/stations/{station.point.id}/evses/1/meter-exchanges"
    station.csms.clock.advance(60)
    async with serving(station.csms) as ask:
        for old, status in ((1_004_000_000, 409), (1_005_000_000, 201)):
            body = {"old_import_mwh": old, "new_import_mwh": 700_000}
            answer = await ask("POST", path, body, role=Role.BILLING)
            assert answer.status == status, answer.json
        assert (answer.json["kind"], answer.json["import_wh"]) == ("exchange", ["1005000", "700"])
        assert (await ask("GET", "/books/contradictions", role=Role.BILLING)).json == []
    station.id, station.seq_no = "tx-second", -1
    await station.runs(700, 900, 1_700)
    assert await station.csms.services.store.run(held.find, station.point.id, "tx-second") is None


@pytest.mark.parametrize("offline", [False, True])
async def test_what_happens_after_the_back_ends_clock_is_set_back_is_exact(csms: Backend, offline: bool) -> None:
    """Its own times of before are of later than now, and say nothing."""
    station = Station(csms, await csms.booted())
    csms.clock.advance(-3600)
    if offline:
        await csms.leave(station.point)
        csms.clock.advance(1800)
        station.point = await csms.join()
    began_ms = csms.clock.utc_ms() - 1_500_000
    for kind, value, minute in (("Started", 1000, 0), ("Updated", 2000, 10), ("Ended", 3000, 20)):
        context = {"Started": "Transaction.Begin", "Ended": "Transaction.End"}.get(kind, "Sample.Periodic")
        more: dict[str, Any] = {"offline": True, "at_ms": began_ms + minute * 60_000} if offline else {}
        csms.clock.advance(0 if offline else 600)
        await station.event(kind, wh(value, context), **more)
    await station.is_exact(2, 1)
