"""Functional block J, meter values: cases for charging stations."""

import itertools
from typing import Any, Final

from v2g.ocpp.times import parse_time
from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.connection import Received
from v2g_testkit.ocpp.station_cases.steps import ended, points, prefer
from v2g_testkit.ocpp.station_tester import StationTest

J: Final[Block[StationTest]] = Block()

ENERGY: Final = "Energy.Active.Import.Register"
_PERIOD: Final = 10
"""Interval of readings, s."""


def _contexts(value: Payload) -> set[str]:
    return {each.get("context", "Sample.Periodic") for each in value["sampledValue"]}


def _measures(t: StationTest, value: Payload, context: str, requirement: str) -> None:
    """Expect a meter value of that context with the energy register."""
    t.check(_contexts(value) == {context}, requirement, f"the context is {', '.join(sorted(_contexts(value)))}")
    kinds = {each.get("measurand", ENERGY) for each in value["sampledValue"]}
    t.check(ENERGY in kinds, requirement, f"without {ENERGY}")


def _of(context: str, values: list[Payload]) -> list[Payload]:
    return [each for each in values if context in _contexts(each)]


def _aligned(t: StationTest, values: list[Payload], requirement: str) -> None:
    """Expect times that are an interval apart, as counted from midnight."""
    times = sorted({parse_time(each["timestamp"]) for each in values})
    about = f"the readings are of {', '.join(str(each['timestamp']) for each in values)}"
    t.check(all(each % (_PERIOD * 1000) < 1000 for each in times), requirement, about)
    t.check(len({each // (_PERIOD * 1000) for each in times}) == len(times), requirement, about)


async def _align(t: StationTest) -> None:
    """Let the station send clock-aligned readings of its energy register."""
    await prefer(t, "AlignedDataCtrlr", "Enabled", "true")
    await prefer(t, "AlignedDataCtrlr", "SendDuringIdle", "false")
    await t.demand("AlignedDataCtrlr", "Measurands", ENERGY)
    await t.demand("AlignedDataCtrlr", "Interval", str(_PERIOD))
    t.forget()


@J.case("TC_J_01_CS", "Clock-aligned readings without a transaction", also="J01.FR.02 J01.FR.06", quick=True)
async def aligned_idle(t: StationTest) -> None:
    """The station sends MeterValues with the measurands configured, taken at multiples of the interval."""
    await given(_align(t))
    found: list[Payload] = []
    while len({each["timestamp"] for each in found}) < 3:
        message = await t.expect("MeterValues", "J01.FR.14", within=t.after(_PERIOD), evseId=1)
        found += message["meterValue"]
    for each in found:
        _measures(t, each, "Sample.Clock", "J01.FR.08")
    _aligned(t, found, "J01.FR.14")


@J.case("TC_J_02_CS", "Clock-aligned readings during a transaction", also="J01.FR.06")
async def aligned_charging(t: StationTest) -> None:
    """The station sends them by MeterValues or TransactionEvent, with the trigger MeterValueClock."""
    await given(_align(t), prefer(t, "SampledDataCtrlr", "TxUpdatedInterval", "0"))
    await t.charging()
    t.forget()

    def is_reading(each: Received) -> bool:
        by_event = each.action == "TransactionEvent" and each.payload.get("triggerReason") == "MeterValueClock"
        return by_event or (each.action == "MeterValues" and each.payload.get("evseId") == 1)

    found: list[Payload] = []
    while len({each["timestamp"] for each in found}) < 2:
        message = await t.find(is_reading, within=t.after(_PERIOD))
        t.check(message is not None, "J01.FR.22", "sends no clock-aligned readings of the EVSE")
        found += (message or {}).get("meterValue", [])
    for each in found:
        _measures(t, each, "Sample.Clock", "J01.FR.08")
    _aligned(t, found, "J01.FR.22")


async def _last(t: StationTest, seconds: float = 3.5 * _PERIOD) -> list[Payload]:
    """Charge for some time; return the readings of the last event."""
    await t.charging()
    await t.wait(seconds)
    await t.present()
    await t.unplug()
    event = await ended(t, "E06.FR.11")
    found: list[Payload] = event.get("meterValue", [])
    t.check(bool(found), "E06.FR.11", "the last event has no readings")
    return found


async def _only(t: StationTest, component: str, **more: Any) -> None:
    """Let the last event have readings of one kind only, of the energy register."""
    other = "SampledDataCtrlr" if component == "AlignedDataCtrlr" else "AlignedDataCtrlr"
    await prefer(t, other, "TxEndedMeasurands", "")
    await prefer(t, component, "Enabled", "true")
    await t.demand(component, "TxEndedMeasurands", ENERGY)
    await t.demand(component, "TxEndedInterval", str(_PERIOD))
    for name, value in more.items():
        await t.demand(component, name, value)


@J.case("TC_J_03_CS", "Clock-aligned readings in the last event", also="J01.FR.06 E07.FR.08")
async def aligned_ended(t: StationTest) -> None:
    """The last event has the readings of the whole transaction, taken at multiples of the interval."""
    await given(_only(t, "AlignedDataCtrlr"))
    found = _of("Sample.Clock", await _last(t))
    t.check(len(found) >= 3, "E06.FR.11", f"the last event has {len(found)} clock-aligned readings of 35 s")
    _aligned(t, found, "J01.FR.08")


@J.case("TC_J_10_CS", "Sampled readings in the last event", requirements="J02.FR.02 J02.FR.04 E06.FR.11 E07.FR.08")
async def sampled_ended(t: StationTest) -> None:
    """The last event has the readings of the whole transaction, and those of its end."""
    await given(_only(t, "SampledDataCtrlr"))
    found = await _last(t)
    periodic = _of("Sample.Periodic", found)
    t.check(len(periodic) >= 2, "E06.FR.11", f"the last event has {len(periodic)} sampled readings of 35 s")
    t.check(bool(_of("Transaction.End", found)), "E06.FR.11", "no reading has the context Transaction.End")
    readings = [(each["timestamp"], one["value"]) for each in found for one in each["sampledValue"]]
    values = [value for _, value in sorted(readings, key=lambda each: parse_time(each[0]))]
    t.check(values == sorted(values), "J02.FR.16", f"the register goes back: {values}")


def _case_of_signed(number: int, component: str, context: str, requirement: str) -> None:
    @J.case(
        f"TC_J_{number:02}_CS", f"Signed readings ({component})", needs=("signed readings",),
    )  # fmt: skip
    async def script(t: StationTest) -> None:
        """The readings of the last event are signed, with a public key or an empty one, as configured."""
        await given(_only(t, component, SignReadings="true"))
        found = [one for each in _of(context, await _last(t)) for one in each["sampledValue"]]
        signed = [one["signedMeterValue"] for one in found if "signedMeterValue" in one]
        t.check(bool(signed), requirement, "no reading is signed")
        t.check(all("publicKey" in each for each in signed), requirement, "a signed reading has no publicKey")


_case_of_signed(4, "AlignedDataCtrlr", "Sample.Clock", "J01.FR.21")
_case_of_signed(11, "SampledDataCtrlr", "Transaction.End", "J02.FR.21")


@J.case("TC_J_06_CS", "Clock-aligned readings only while idle", also="J01.FR.20")
async def aligned_only_idle(t: StationTest) -> None:
    """With SendDuringIdle the station sends none of an EVSE with a transaction."""
    await given(_align(t), t.demand("AlignedDataCtrlr", "SendDuringIdle", "true"))
    await t.expect("MeterValues", "J01.FR.14", within=t.after(_PERIOD), evseId=1)
    await t.charging()
    t.forget()
    await t.nothing("MeterValues", "J01.FR.19", within=2.5 * _PERIOD, evseId=1)
    await t.nothing("TransactionEvent", "J01.FR.19", within=1, triggerReason="MeterValueClock")


@J.case("TC_J_07_CS", "Readings at the start of a transaction", requirements="J02.FR.02 J02.FR.04 E01.FR.09 E02.FR.09")
async def sampled_started(t: StationTest) -> None:
    """The first event has readings with the context Transaction.Begin."""
    with precondition():
        await points(t, "TxStartPoint", "EVConnected", without=("ParkingBayOccupancy",))
        await prefer(t, "SampledDataCtrlr", "Enabled", "true")
        await t.demand("SampledDataCtrlr", "TxStartedMeasurands", ENERGY)
    await t.plug()
    event = await t.expect("TransactionEvent", "E01.FR.02", eventType="Started")
    values = event.get("meterValue", [])
    t.check(bool(values), "E01.FR.09", "the first event has no readings")
    _measures(t, values[0], "Transaction.Begin", "E01.FR.09")


@J.case(
    "TC_J_08_CS",
    "Readings once the EVSE of a transaction is known",
    requirements="J02.FR.02 J02.FR.04 E01.FR.17 E03.FR.11",
)
async def sampled_known(t: StationTest) -> None:
    """An event until charging starts has readings with the context Transaction.Begin."""
    with precondition():
        await points(t, "TxStartPoint", "Authorized", without=("ParkingBayOccupancy", "EVConnected"))
        await prefer(t, "SampledDataCtrlr", "Enabled", "true")
        await t.demand("SampledDataCtrlr", "TxStartedMeasurands", ENERGY)
    await t.present()
    await t.plug()
    begun, state = list[Payload](), ""
    while not begun and state != "Charging":
        event = await t.expect("TransactionEvent", "E01.FR.17")
        state = event["transactionInfo"].get("chargingState", "")
        begun = _of("Transaction.Begin", event.get("meterValue", []))
    t.check(bool(begun), "E01.FR.17", "no event until charging starts has readings of the begin")
    _measures(t, begun[0], "Transaction.Begin", "E01.FR.17")


@J.case("V2G-J-01-CS", "Other measurands during a transaction", requirements="J02.FR.11 SampledDataTxUpdatedMeasurands")
async def other_measurands(t: StationTest) -> None:
    """The station sends readings of what TxUpdatedMeasurands is set to."""
    name = "SampledDataCtrlr", "TxUpdatedMeasurands"
    other = next((each for each in _MEASURED if each in t.values_of(*name)), "")
    t.needs(bool(other), f"it lists none of {', '.join(_MEASURED)} for TxUpdatedMeasurands")
    with precondition():
        await prefer(t, "SampledDataCtrlr", "Enabled", "true")
        await t.demand(*name, f"{ENERGY},{other}")
        await t.demand("SampledDataCtrlr", "TxUpdatedInterval", str(_PERIOD))
    await t.charging()
    event = await t.expect("TransactionEvent", "J02.FR.11", within=t.after(_PERIOD), triggerReason="MeterValuePeriodic")
    sampled = [one for each in event.get("meterValue", []) for one in each["sampledValue"]]
    kinds = {each.get("measurand", ENERGY) for each in sampled}
    t.check({ENERGY, other} <= kinds, "SampledDataTxUpdatedMeasurands", f"reads {', '.join(sorted(kinds))}")


_MEASURED: Final = ("Power.Active.Import", "Current.Import", "Voltage")


@J.case("TC_J_09_CS", "Sampled readings during a transaction", also="J02.FR.02 E02.FR.10", quick=True)
async def sampled(t: StationTest) -> None:
    """The station sends events with readings at the interval, with the trigger MeterValuePeriodic."""
    with precondition():
        await prefer(t, "SampledDataCtrlr", "Enabled", "true")
        await t.demand("SampledDataCtrlr", "TxUpdatedMeasurands", ENERGY)
        await t.demand("SampledDataCtrlr", "TxUpdatedInterval", str(_PERIOD))
    await t.charging()
    values: list[Payload] = []
    for _ in range(3):
        within = t.after(_PERIOD)
        event = await t.expect("TransactionEvent", "J02.FR.11", within=within, triggerReason="MeterValuePeriodic")
        t.check(bool(event.get("meterValue")), "J02.FR.11", "an event has no readings")
        values += event["meterValue"]
    for each in values:
        _measures(t, each, "Sample.Periodic", "J02.FR.04")
    times = sorted({parse_time(each["timestamp"]) for each in values})
    gaps = [(later - sooner) / 1000 for sooner, later in itertools.pairwise(times)]
    t.check(all(abs(each - _PERIOD) <= 1 for each in gaps), "J02.FR.11", f"the readings are {gaps} s apart")
