"""Functional block J, meter values: cases for back ends."""

from typing import Final

from v2g_testkit.ocpp.case import Block, Payload
from v2g_testkit.ocpp.csms_cases.transaction import SIGNED, Transaction, charging
from v2g_testkit.ocpp.csms_tester import CsmsTest

J: Final[Block[CsmsTest]] = Block(booted=True)


async def _clock_aligned(t: CsmsTest, transaction: Transaction, *evses: int) -> None:
    """Report a value of each EVSE (0: of the whole station) in both ways."""
    for evse in evses:
        await t.call("MeterValues", evseId=evse, meterValue=[transaction.reading("Sample.Clock")])
    await t.event({"name": "FiscalMetering"}, "EnergyImport", "1000", "Periodic")


@J.case("TC_J_01_CSMS", "Clock-aligned values without a transaction", also="J01.FR.18", quick=True)
async def clock_aligned(t: CsmsTest) -> None:
    """The back end acknowledges the values of the station and of its EVSEs."""
    transaction = Transaction(t)
    for _ in range(3):
        await _clock_aligned(t, transaction, 0, 1, 2)


@J.case("TC_J_02_CSMS", "Clock-aligned values in a transaction", also="J01.FR.18 J02.FR.19")
async def clock_aligned_in_transaction(t: CsmsTest) -> None:
    """The back end acknowledges the values of idle EVSEs, and those of the transaction."""
    transaction = await charging(t)
    for _ in range(3):
        await _clock_aligned(t, transaction, 0, 2)
        transaction.wh += 100
        await transaction.event("Updated", "MeterValueClock", context="Sample.Clock")


def _ends(id: str, title: str, context: str, requirement: str, *, signed: bool) -> None:  # noqa: A002 - as in every case
    @J.case(id, title, requirements=(requirement,))
    async def script(t: CsmsTest) -> None:
        """The back end acknowledges the end of a transaction with the values of its whole time."""
        transaction = await charging(t)
        more: Payload = {"signedMeterValue": SIGNED} if signed else {}
        values = []
        for each in (context, context, "Transaction.End"):
            transaction.wh += 100
            values.append(transaction.reading(each, **more))
        await transaction.unplugged(context="", meterValue=values)


_ends("TC_J_03_CSMS", "Clock-aligned values at the end", "Sample.Clock", "J01.FR.18", signed=False)
_ends("TC_J_04_CSMS", "Clock-aligned values, signed", "Sample.Clock", "J01.FR.21", signed=True)
_ends("TC_J_10_CSMS", "Sampled values at the end", "Sample.Periodic", "J02.FR.19", signed=False)
_ends("TC_J_11_CSMS", "Sampled values, signed", "Sample.Periodic", "J02.FR.21", signed=True)


@J.case("TC_J_07_CSMS", "Value at the start, at an EVSE", also="J02.FR.19")
async def at_start(t: CsmsTest) -> None:
    """The back end acknowledges the start of a transaction with the value at that time."""
    await Transaction(t).plugged()


@J.case("TC_J_08_CSMS", "Value at the start, of a transaction that had no EVSE", also="J02.FR.19")
async def at_start_without_evse(t: CsmsTest) -> None:
    """The back end acknowledges the value with which a transaction learns its EVSE."""
    transaction = Transaction(t)
    await transaction.authorize()
    transaction.accepted(await transaction.event("Started", "Authorized", token=transaction.token, placed=False))
    await transaction.plugged()
    await transaction.event("Updated", "ChargingStateChanged", state="Charging", context="Sample.Periodic")


@J.case("TC_J_09_CSMS", "Sampled values in a transaction", also="J02.FR.19")
async def sampled(t: CsmsTest) -> None:
    """The back end acknowledges the values of the transaction."""
    transaction = await charging(t)
    for _ in range(3):
        transaction.wh += 100
        await transaction.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")


_READINGS: Final[tuple[Payload, ...]] = (
    {"value": 1.2, "measurand": "Energy.Active.Export.Register", "unitOfMeasure": {"unit": "Wh", "multiplier": 3}},
    {"value": -3.5, "measurand": "Power.Active.Import", "unitOfMeasure": {"unit": "kW"}, "context": "Trigger"},
    {"value": 16, "measurand": "Current.Import", "phase": "N", "context": "Interruption.Begin"},
    {"value": 400, "measurand": "Voltage", "phase": "L1-L2", "location": "Inlet"},
    {"value": 50.02, "measurand": "Frequency", "unitOfMeasure": {"unit": "Hz"}, "location": "Body"},
    {"value": 50, "measurand": "SoC", "unitOfMeasure": {"unit": "Percent"}, "location": "EV", "context": "Other"},
)


@J.case("V2G-J-01-CSMS", "Readings of every kind", requirements="MeasurandEnumType")
async def every_kind(t: CsmsTest) -> None:
    """The back end acknowledges what an EVSE measures beside its energy, in a transaction and without one."""
    values = [{"timestamp": t.now(), "sampledValue": list(_READINGS)}]
    await t.call("MeterValues", evseId=1, meterValue=values)
    transaction = await charging(t)
    await transaction.event("Updated", "MeterValuePeriodic", context="", meterValue=values)
