"""Detectors behind the telemetry feeder: each record counts once, whatever comes twice, late, or dies in between."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csms.alerts import store as alerts
from csms.batteries import store as batteries
from csms.batteries.rules import Advanced, Battery, advance
from csms.batteries.work import BATTERIES, BatterySink
from csms.db.store import Store
from csms.metrics import Metrics
from csms.telemetry import store as pending
from csms.telemetry.rules import StoredRecord
from csms.telemetry.sinks.feeder import SinkFeeder
from csms.vehicles import store as values
from tests.csms.db.telemetry_values import made, put
from v2g.battery import detectors
from v2g.battery.sample import Sample
from v2g.errors import StoreError
from v2g.io.runtime.clock import Clock
from v2g.observe import Observe
from v2g.telemetry.local_events import reported
from v2g.telemetry.signals import TAGGED_SCHEMA, Record

T0 = 1_700_000_000_000
HOT, APART = "battery.temperature.max", "battery.cell_voltage.imbalance"


async def leads(_work: str, _every_s: float) -> bool:
    return True


def sink_of(store: Store, woken: list[int] | None = None) -> BatterySink:
    return BatterySink(store, Clock(), detectors.DetectorSettings(), lambda: (woken or []).append(1))


def feeder(store: Store, sink: BatterySink | None = None, metrics: Metrics | None = None) -> SinkFeeder:
    events: list[Observe] = []
    numbers = metrics or Metrics()
    return SinkFeeder(BATTERIES, sink or sink_of(store), store, Clock(), events.append, leads, numbers, str)


def shown(store: Store, ev: str = "EV-1") -> list[tuple[Any, ...]]:
    found = store.do(alerts.listed, None, 99, [("vehicle", (ev,))], active=None, subject=None, kind=None)
    return sorted((each["kind"], each["raised_ms"], each["cleared_ms"], each["count"]) for each in found)


HEAT = [made(seq, T0 + 1000 * seq, {HOT: 50.0 + seq, APART: 0.2 if 4 <= seq < 9 else 0.01}) for seq in range(1, 12)]
EXPECTED = [("cell_spread", T0 + 4000, T0 + 9000, 1), ("over_temperature", T0 + 6000, None, 1)]


@pytest.mark.requirement("R120", "R125")
async def test_findings_are_alerts_and_survive_a_kill_between_batch_and_receipt(store: Store) -> None:
    """The feeder dies after the sink has stored a batch, and before it has noted that; another one goes on."""
    put(store, HEAT[:7], sinks=(BATTERIES,))
    batch = store.do(pending.next_batch, BATTERIES, 10)
    assert batch is not None
    await sink_of(store).write(batch.records)
    put(store, HEAT[7:], sinks=(BATTERIES,))
    while await feeder(store).feed():
        pass
    assert shown(store) == EXPECTED
    found = store.do(alerts.listed, None, 9, [("vehicle", None)], active=True, subject="EV-1", kind=None)
    assert (found[0]["value"], found[0]["limit"], found[0]["facts"]) == (56.0, 55.0, {HOT: 56.0, APART: 0.2})
    assert store.do(batteries.batteries, ["EV-1"])["EV-1"].seq == 11


@pytest.mark.some(1)
@pytest.mark.requirement("R120")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(st.permutations(range(len(HEAT))), st.data())
async def test_any_order_and_any_repetition_has_the_same_result(
    store: Store, order: Sequence[int], data: st.DataObject
) -> None:
    """Records wait for those before them, so a vehicle's come in order; each example is a vehicle of its own."""
    ev = f"EV-{data.draw(st.uuids()).hex[:12]}"
    mine = [msgspec.structs.replace(each, ev=ev) for each in HEAT]
    again = [mine[place] for place in data.draw(st.lists(st.sampled_from(order)))]
    for record in [*(mine[place] for place in order), *again]:
        put(store, [record], at_ms=Clock().utc_ms(), sinks=(BATTERIES,))
        if data.draw(st.booleans()):
            await feeder(store).feed()
    while await feeder(store).feed():
        pass
    assert shown(store, ev) == EXPECTED


BOOTS = [
    made(seq, T0 + 1000 * at, {HOT: 46.0 + at, APART: 0.2 if 4 <= at < 9 else 0.01}, boot=boot)
    for at, (boot, seq) in enumerate([(boot, seq) for boot in (5, 6, 8) for seq in range(1, 6)])
]


@pytest.mark.some(1)
@pytest.mark.requirement("R120")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(st.permutations([each for each in BOOTS if each.seq < 5]), st.data())
async def test_boots_in_any_order_have_the_same_result(
    store: Store, order: Sequence[Record], data: st.DataObject
) -> None:
    """After an outage over restarts, of which the gateway sends the ends first."""
    ev = f"EV-{data.draw(st.uuids()).hex[:12]}"
    ends = [each for each in BOOTS if each.seq == 5]
    put(store, [msgspec.structs.replace(each, ev=ev) for each in ends], at_ms=Clock().utc_ms(), sinks=(BATTERIES,))
    again = data.draw(st.lists(st.sampled_from(BOOTS)))
    for record in [*order, *again]:
        put(store, [msgspec.structs.replace(record, ev=ev)], at_ms=Clock().utc_ms(), sinks=(BATTERIES,))
        if data.draw(st.booleans()):
            await feeder(store).feed()
    while await feeder(store).feed():
        pass
    in_order = advance(
        detectors.DetectorSettings(), Battery(), [stored(msgspec.structs.replace(each, ev=ev)) for each in BOOTS]
    )
    assert store.do(batteries.batteries, [ev])[ev] == in_order.battery
    assert shown(store, ev) == [("cell_spread", T0 + 4000, T0 + 9000, 1), ("over_temperature", T0 + 10_000, None, 1)]


@pytest.mark.requirement("R120")
async def test_what_comes_later_than_the_limit_changes_nothing_but_what_the_vehicle_found(store: Store) -> None:
    """Records wait a minute for those of an earlier boot. Detectors pass over what comes after that."""
    first, later = made(1, T0, {HOT: 60.0}), made(1, T0 + 9000, {HOT: 20.0}, boot=2)
    end = made(3, T0 + 2000, {HOT: 20.0})
    data = {"kind": "cell_spread", "severity": "warning", "raised": True}
    event = reported("gateway", "telemetry", "battery_finding", T0 + 1000, data)
    assert event is not None
    tags: dict[str, Any] = {"trip": "1-1", "ambient_c": None, "charging_w": None}
    theirs = msgspec.structs.replace(made(2, T0 + 1000, {}), schema=TAGGED_SCHEMA, event=event, **tags)
    put(store, [end, later], at_ms=T0, sinks=(BATTERIES,))
    assert store.do(pending.next_batch, BATTERIES, T0 + pending.GAP_MS - 1) is None
    await _fed(store, T0 + pending.GAP_MS)
    put(store, [first, theirs], at_ms=T0 + pending.GAP_MS, sinks=(BATTERIES,))
    metrics = Metrics()
    assert await feeder(store, metrics=metrics).feed()
    assert 'v2g_telemetry_sink_late_records_total{sink="battery detectors"} 2.0' in metrics.text().decode()
    assert shown(store) == [("cell_spread", T0 + 1000, None, 1)]
    battery = store.do(batteries.batteries, ["EV-1"])["EV-1"]
    assert (battery.boot, battery.seq, battery.held) == (2, 1, {HOT: 20.0})


async def _fed(store: Store, now_ms: int) -> tuple[StoredRecord, ...]:
    batch = store.do(pending.next_batch, BATTERIES, now_ms)
    assert batch is not None
    await sink_of(store).write(batch.records)
    store.do(pending.delivered, BATTERIES, batch)
    return batch.records


@pytest.mark.requirement("R107")
async def test_an_erased_vehicle_leaves_nothing(store: Store) -> None:
    put(store, HEAT, sinks=(BATTERIES,))
    await feeder(store).feed()
    assert shown(store) == EXPECTED
    batch = store.do(batteries.batteries, ["EV-1"])
    while store.do(values.erase, "EV-1", 10**15, (BATTERIES,)):
        pass
    assert shown(store) == []
    assert store.do(batteries.batteries, ["EV-1"]) == {}
    assert batch["EV-1"].held[HOT] == 61.0
    assert await feeder(store).feed()
    assert store.do(pending.next_batch, BATTERIES, 10**15) is None


async def test_a_battery_that_another_node_advanced_meanwhile_is_read_again(store: Store) -> None:
    put(store, HEAT, sinks=(BATTERIES,))
    batch = store.do(pending.next_batch, BATTERIES, 10)
    assert batch is not None
    advanced = advance(detectors.DetectorSettings(), Battery(), batch.records)
    assert store.do(batteries.save, {}, {"EV-1": advanced}, T0) is True
    assert store.do(batteries.save, {}, {"EV-1": advanced}, T0) is None

    class Meanwhile(Clock):
        """Another node stores a battery after it was read here, and before it is stored here."""

        def utc_ms(self) -> int:
            one = store.do(batteries.batteries, ["EV-1"])
            store.do(batteries.save, one, {"EV-1": Advanced(Battery(1, 99), ())}, T0)
            return T0

    with pytest.raises(StoreError, match="changed meanwhile"):
        await BatterySink(store, Meanwhile(), detectors.DetectorSettings(), lambda: None).write(batch.records)
    assert store.do(batteries.batteries, ["EV-1"])["EV-1"].seq == 99


def stored(record: Record) -> StoredRecord:
    numbers = {name: float(each) for name, each in record.signals.items()}
    document = msgspec.json.encode(record)
    return StoredRecord(record.ev, record.boot, record.seq, record.utc_ms, record.context, numbers, document)


@pytest.mark.requirement("R120")
def test_the_back_end_finds_in_records_what_a_gateway_finds_in_the_same_samples() -> None:
    state, edge, held = detectors.DetectorState(), [], dict[str, float]()
    for each in HEAT:
        held = {**held, **{name: float(value) for name, value in each.signals.items()}}
        state, found = detectors.step(detectors.DetectorSettings(), state, Sample(each.utc_ms, held), detectors.EDGE)
        edge += [(one.kind, one.raised, one.at_ms, one.value, dict(one.evidence)) for one in found]
    back_end = advance(detectors.DetectorSettings(), Battery(), [stored(each) for each in HEAT]).reports
    assert [(one.kind, one.raised, one.at_ms, one.evidence.value, dict(one.evidence.facts)) for one in back_end] == edge
    assert len(edge) == 3


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "x y", "severity": "error", "raised": True},
        {"kind": "over_temperature", "severity": "worst", "raised": True},
        {"kind": "over_temperature", "severity": "error", "raised": "yes"},
        {},
    ],
)
def test_a_finding_that_is_not_understood_is_none(data: dict[str, Any]) -> None:
    event = reported("gateway", "telemetry", "battery_finding", T0, data)
    assert event is not None
    record = Record("EV-1", 1, 1, T0, "parked", False, {}, TAGGED_SCHEMA, event=event)  # noqa: FBT003
    assert advance(detectors.DetectorSettings(), Battery(), [stored(record)]).reports == ()


@pytest.mark.requirement("R178")
def test_the_last_estimates_of_a_span_are_those_of_each_vehicle(store: Store) -> None:
    for ev, times in (("EV-1", (1000, 2000, 3000)), ("EV-2", (1500,)), ("EV-3", (500, 3000)), ("EV-4", ())):
        estimates = tuple((at_ms, {"soh_percent": at_ms / 100}) for at_ms in times)
        assert store.do(batteries.save, {}, {ev: Advanced(Battery(1, 1), (), estimates)}, 0) is not None
    found = store.do(batteries.last_estimates, None, (1000, 3000))
    assert found == {"EV-1": {"soh_percent": 20.0}, "EV-2": {"soh_percent": 15.0}}
    assert store.do(batteries.last_estimates, ["EV-1", "EV-3"], (0, 1001)) == {
        "EV-1": {"soh_percent": 10.0},
        "EV-3": {"soh_percent": 5.0},
    }
