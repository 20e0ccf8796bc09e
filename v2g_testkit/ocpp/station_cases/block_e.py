"""Functional block E, transactions: cases for charging stations."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.connection import CallError, field_of
from v2g_testkit.ocpp.station_cases import steps
from v2g_testkit.ocpp.station_tester import StationTest

E: Final[Block[StationTest]] = Block()

AUTHORIZED: Final = ("Authorized", "PowerPathClosed")


def _is_placed(t: StationTest, event: Payload) -> None:
    evse = event.get("evse", {})
    t.check("id" in evse and "connectorId" in evse, "E01.FR.16", f"the event is of EVSE and connector {evse}")


def _has_token(t: StationTest, event: Payload) -> None:
    t.check(steps.is_token(event.get("idToken"), t.token), "E01.FR.10", f"the token is {event.get('idToken')}")


def _because(t: StationTest, event: Payload, requirement: str, *reasons: str) -> None:
    found = event["triggerReason"]
    t.check(found in reasons, requirement, f"the trigger is {found} instead of {' or '.join(reasons)}")


def _ends_as(t: StationTest, event: Payload, requirement: str, *reasons: str) -> None:
    found = steps.stopped(event)
    t.check(found in reasons, requirement, f"ends with the reason {found} instead of {' or '.join(reasons)}")


def _is_in(t: StationTest, event: Payload, requirement: str, *states: str) -> None:
    found = event["transactionInfo"].get("chargingState")
    t.check(found in states, requirement, f"the charging state is {found} instead of {' or '.join(states)}")


def _begins(t: StationTest, event: Payload) -> None:
    t.check(event["seqNo"] == 0, "E01.FR.07", f"begins with seqNo {event['seqNo']}")
    t.check(not event.get("offline", False), "E04.FR.03", "is marked as offline")


# -- start


@E.case("TC_E_01_CS", "Start at PowerPathClosed", also="E01.FR.07 E01.FR.10 E01.FR.16")
async def starts_at_power_path(t: StationTest) -> None:
    """The transaction starts once there are both, an authorization and a cable, and not before."""
    sooner = ("ParkingBayOccupancy", "EVConnected", "Authorized", "DataSigned")
    await given(steps.points(t, "TxStartPoint", "PowerPathClosed", without=sooner))
    await t.present()
    await t.nothing("TransactionEvent", "E01.FR.05", within=3)
    await t.plug()
    event = await t.expect("TransactionEvent", "E01.FR.05", eventType="Started")
    _because(t, event, "E01.FR.15", "CablePluggedIn", "Authorized", "ChargingStateChanged")
    _begins(t, event)
    _is_placed(t, event)
    _has_token(t, event)


@E.case("TC_E_02_CS", "Start at EnergyTransfer", requirements="E01.FR.06 E01.FR.07 E01.FR.10 E01.FR.15 E01.FR.16")
async def starts_at_energy(t: StationTest) -> None:
    """The transaction starts with the flow of energy, and not before."""
    sooner = ("ParkingBayOccupancy", "EVConnected", "Authorized", "DataSigned", "PowerPathClosed")
    await given(steps.points(t, "TxStartPoint", "EnergyTransfer", without=sooner))
    await t.present()
    await t.plug()
    await steps.connector_is(t, "Occupied", "E02.FR.05")
    event = await t.expect("TransactionEvent", "E01.FR.06")
    t.check(event["eventType"] == "Started", "E01.FR.06", f"the first event is {event['eventType']}")
    _because(t, event, "E01.FR.15", "ChargingStateChanged", "Authorized")
    _is_in(t, event, "E01.FR.06", "Charging")
    _begins(t, event)
    _is_placed(t, event)
    _has_token(t, event)


@E.case("TC_E_09_CS", "Start at EVConnected", requirements="E01.FR.02 E01.FR.07 E01.FR.15 E01.FR.16")
async def starts_at_cable(t: StationTest) -> None:
    """The transaction starts once a vehicle is connected."""
    await given(steps.points(t, "TxStartPoint", "EVConnected", without=("ParkingBayOccupancy",)))
    await t.plug()
    await steps.connector_is(t, "Occupied", "E02.FR.05")
    event = await t.expect("TransactionEvent", "E01.FR.02", eventType="Started")
    _because(t, event, "E01.FR.15", "CablePluggedIn", "ChargingStateChanged")
    _is_in(t, event, "E01.FR.02", "EVConnected")
    _begins(t, event)
    _is_placed(t, event)
    t.check("idToken" not in event, "E01.FR.10", "shows a token, though none was presented")


@E.case("TC_E_10_CS", "Start at Authorized, locally", also="E01.FR.07 E01.FR.10")
async def starts_at_token(t: StationTest) -> None:
    """The transaction starts once the driver is authorized, before there is a cable."""
    await given(steps.points(t, "TxStartPoint", "Authorized", without=("ParkingBayOccupancy",)), steps.forget_tokens(t))
    t.forget()
    await t.present()
    await steps.asks_about(t, t.token, "C01.FR.02")
    event = await t.expect("TransactionEvent", "E01.FR.03", eventType="Started")
    _because(t, event, "E01.FR.15", "Authorized")
    _begins(t, event)
    _has_token(t, event)


@E.case("TC_E_11_CS", "Start at DataSigned", also="E01.FR.07 E01.FR.10 E01.FR.16", needs=("signed readings",))
async def starts_at_signature(t: StationTest) -> None:
    """The transaction starts with the first reading that the meter has signed, and not before."""
    with precondition():
        await t.demand("SampledDataCtrlr", "SignReadings", "true")
        await steps.prefer(t, "SampledDataCtrlr", "TxStartedMeasurands", "Energy.Active.Import.Register")
        await steps.points(
            t, "TxStartPoint", "DataSigned", without=("ParkingBayOccupancy", "EVConnected", "Authorized")
        )
    await t.present()
    await t.nothing("TransactionEvent", "E01.FR.04", within=3)
    await t.plug()
    event = await t.expect("TransactionEvent", "E01.FR.04", eventType="Started")
    _because(t, event, "E01.FR.15", "SignedDataReceived")
    _begins(t, event)
    _is_placed(t, event)
    _has_token(t, event)
    readings = [one for each in event.get("meterValue", []) for one in each["sampledValue"]]
    t.check(any("signedMeterValue" in each for each in readings), "J02.FR.21", "no reading is signed")


@E.case("TC_E_12_CS", "Start at ParkingBayOccupancy", also="E01.FR.07")
async def starts_at_bay(t: StationTest) -> None:
    """The transaction starts once a vehicle stands in the bay."""
    with precondition():
        await steps.points(t, "TxStartPoint", "ParkingBayOccupancy")
        await steps.prefer(t, "TxCtrlr", "TxStopPoint", "ParkingBayOccupancy")
    t.undo(t.depart)
    await t.arrive()
    event = await t.expect("TransactionEvent", "E01.FR.01", eventType="Started")
    _because(t, event, "E01.FR.15", "EVDetected")
    _begins(t, event)


@E.case("TC_E_13_CS", "Start at Authorized, remotely", also="F01.FR.03 F01.FR.04")
async def starts_remotely(t: StationTest) -> None:
    """The transaction starts with the request, carries its token and number, and waits for the cable."""
    await given(steps.points(t, "TxStartPoint", "Authorized", without=("ParkingBayOccupancy",)))
    number = t.next_id()
    token = t.token.payload
    answer = await t.ask("RequestStartTransaction", idToken=token, remoteStartId=number, evseId=1)
    t.check(answer["status"] == "Accepted", "F02.FR.01", f"answers {answer['status']}")
    event = await t.expect("TransactionEvent", "E01.FR.03", eventType="Started")
    _because(t, event, "F01.FR.19", "RemoteStart")
    t.equal(event["transactionInfo"].get("remoteStartId"), number, "F02.FR.01", "the remoteStartId is {}")
    _has_token(t, event)


@E.case("TC_E_03_CS", "Local start, cable first", also="E02.FR.07 E02.FR.15", quick=True)
async def cable_first(t: StationTest) -> None:
    """The connector becomes occupied, the token is authorized, shown in an event, and energy flows."""
    await given(steps.forget_tokens(t))
    t.forget()
    await t.plug()
    await steps.connector_is(t, "Occupied", "E02.FR.05")
    await t.present()
    await steps.asks_about(t, t.token, "C01.FR.02")
    event = await steps.accepts(t, t.token, "E02.FR.01")
    if event["transactionInfo"].get("chargingState") != "Charging":
        event = await t.expect("TransactionEvent", "E02.FR.13", transactionInfo__chargingState="Charging")
    _is_placed(t, event)


@E.case(
    "TC_E_04_CS", "Local start, authorization first", requirements="E03.FR.01 E03.FR.06 E03.FR.12 C01.FR.02", quick=True
)
async def token_first(t: StationTest) -> None:
    """The token is authorized and shown in an event; once the cable is there, energy flows."""
    await given(steps.forget_tokens(t))
    t.forget()
    await t.present()
    await steps.asks_about(t, t.token, "C01.FR.02")
    await t.nothing("TransactionEvent", "C01.FR.01", within=3, transactionInfo__chargingState="Charging")
    await t.plug()
    await steps.connector_is(t, "Occupied", "E02.FR.05")
    await t.flowing()
    shown = [field_of(each, "idToken") for each in t.seen("TransactionEvent")]
    t.check(all(steps.is_token(each, t.token) for each in shown if each), "E03.FR.01", f"shows the tokens {shown}")


@E.case("TC_E_05_CS", "Authorization first, and no cable in time", also="E03.FR.01 E03.FR.06")
async def no_cable(t: StationTest) -> None:
    """After EVConnectionTimeOut the authorization ends, and the EVSE can be used again."""
    with precondition():
        await t.demand("TxCtrlr", "EVConnectionTimeOut", "15")
        await steps.forget_tokens(t)
        await steps.prefer(t, "AuthCtrlr", "LocalPreAuthorize", "false")
        starts = set((await t.value("TxCtrlr", "TxStartPoint")).split(","))
        stops = set((await t.value("TxCtrlr", "TxStopPoint")).split(","))
    t.forget()
    await t.present()
    await steps.asks_about(t, t.token, "C01.FR.02")
    if "Authorized" in starts:
        event = await t.expect("TransactionEvent", "E03.FR.05", within=t.after(15), triggerReason="EVConnectTimeout")
        if "Authorized" in stops:
            t.check(event["eventType"] == "Ended", "E03.FR.05", f"the event is {event['eventType']}")
            _ends_as(t, event, "E03.FR.05", "Timeout")
    else:
        await t.wait(t.after(15))
    t.forget()
    await t.present()
    await steps.asks_about(t, t.token, "E03.FR.05")
    await t.plug()
    await t.flowing()


@E.case("TC_E_39_CS", "What was authorized runs out without a cable", requirements="E06.FR.04 E06.FR.15 E03.FR.05")
async def too_late(t: StationTest) -> None:
    """After EVConnectionTimeOut the transaction ends, and a cable that comes later is not charged."""
    with precondition():
        await t.demand("TxCtrlr", "EVConnectionTimeOut", "15")
        await steps.points(t, "TxStartPoint", "Authorized", without=("ParkingBayOccupancy",))
        await steps.points(t, "TxStopPoint", "Authorized")
    t.forget()
    await t.present()
    event = await steps.ended(t, "E03.FR.05", within=t.after(15))
    _because(t, event, "E06.FR.15", "EVConnectTimeout")
    _ends_as(t, event, "E06.FR.04", "Timeout")
    t.forget()
    await t.plug()
    await steps.refuses(t, "C01.FR.01")


@E.case("TC_E_38_CS", "Vehicle that is not ready")
async def not_ready(t: StationTest) -> None:
    """The station reports that the vehicle takes no energy."""
    await given(steps.points(t, "TxStartPoint", "PowerPathClosed", without=("EnergyTransfer",)))
    await t.plug()
    await t.suspend()
    await t.present()
    event = await t.expect("TransactionEvent", "E01.FR.19", transactionInfo__chargingState="SuspendedEV")
    _because(t, event, "E01.FR.18", "ChargingStateChanged", "Authorized")


@E.case("TC_E_52_CS", "DisableRemoteAuthorization")
async def asks_nobody(t: StationTest) -> None:
    """The station refuses an unknown token without asking the back end."""
    await given(t.demand("AuthCtrlr", "DisableRemoteAuthorization", "true"), steps.forget_tokens(t), t.plug())
    t.forget()
    await t.present()
    await t.nothing("Authorize", "C01.FR.02", within=5)
    await steps.refuses(t, "C01.FR.01")


# -- stop


@E.case("TC_E_06_CS", "Local stop", requirements="E07.FR.01 E07.FR.02 E07.FR.05 E06.FR.15 C01.FR.03", quick=True)
async def local_stop(t: StationTest) -> None:
    """The token that started the transaction stops it; once the cable is gone the connector is available."""
    await given(steps.forget_tokens(t))
    transaction = await t.charging()
    t.forget()
    await t.present()
    event = await t.expect("TransactionEvent", "E07.FR.02", triggerReason="StopAuthorized")
    t.equal(event["transactionInfo"]["transactionId"], transaction, "E07.FR.01", "stops the transaction {}")
    t.check("idToken" not in event or steps.is_token(event["idToken"], t.token), "E07.FR.02", "shows another token")
    t.check(not t.seen("Authorize"), "C01.FR.03", "asks the back end about the token that started the transaction")
    await t.unplug()
    await steps.connector_is(t, "Available", "G01.FR.04")
    if event["eventType"] != "Ended":
        event = await steps.ended(t, "E06.FR.02")
    _ends_as(t, event, "E07.FR.05", "Local", "EVDisconnected")


class _Stop(NamedTuple):
    """A transaction that charges ends at a stop point when `act` is done."""

    number: int
    title: str
    point: str
    without: tuple[str, ...]
    required: str
    requirement: str
    act: Callable[[StationTest, str], Awaitable[None]]
    triggers: tuple[str, ...]
    reasons: tuple[str, ...]
    idle: bool = False
    """Whether StopTxOnEVSideDisconnect is off, and no vehicle is connected in the end."""


def _case_of_stop(each: _Stop) -> None:
    reason = "E06.FR.09" if each.reasons == ("Local",) else "E06.FR.08"

    @E.case(
        f"TC_E_{each.number:02}_CS", each.title, required=each.required,
        requirements=(each.requirement, reason, "E06.FR.15"),
    )  # fmt: skip
    async def script(t: StationTest) -> None:
        with precondition():
            await steps.points(t, "TxStopPoint", each.point, without=each.without)
            if each.idle:
                await steps.prefer(t, "TxCtrlr", "StopTxOnEVSideDisconnect", "false")
        transaction = await t.charging()
        t.forget()
        await each.act(t, transaction)
        event = await steps.ended(t, each.requirement, transactionInfo__transactionId=transaction)
        _because(t, event, "E06.FR.15", *each.triggers)
        _ends_as(t, event, reason, *each.reasons)
        if each.idle:
            _is_in(t, event, each.requirement, "Idle")


async def _by_token(t: StationTest, _: str) -> None:
    await t.present()


async def _by_request(t: StationTest, transaction: str) -> None:
    await t.must_answer("Accepted", "F03.FR.07", "RequestStopTransaction", transactionId=transaction)


async def _by_vehicle(t: StationTest, _: str) -> None:
    await t.suspend()
    await t.expect("TransactionEvent", "E01.FR.19", transactionInfo__chargingState="SuspendedEV")
    await t.pull()


async def _by_cable(t: StationTest, _: str) -> None:
    await t.pull()


async def _by_pause(t: StationTest, _: str) -> None:
    await t.suspend()


_FROM_TOKEN: Final = "The transaction ends when its token is presented."  # noqa: S105
_FROM_REQUEST: Final = "The transaction ends when the back end asks for it."
_FROM_CABLE: Final = "The transaction ends when the cable is unplugged at the vehicle."
_NO_LATER: Final = ("EnergyTransfer", "PowerPathClosed", "DataSigned", "Authorized")

_LOST: Final = ("EVCommunicationLost",)

for _each in (
    _Stop(7, "Stop at PowerPathClosed, locally", "PowerPathClosed", ("Authorized",), _FROM_TOKEN, "E06.FR.06",
          _by_token, ("StopAuthorized",), ("Local",)),
    _Stop(35, "Stop at PowerPathClosed, remotely", "PowerPathClosed", ("Authorized",), _FROM_REQUEST, "E06.FR.06",
          _by_request, ("RemoteStop",), ("Remote",)),
    _Stop(8, "Stop at EnergyTransfer, locally", "EnergyTransfer", AUTHORIZED, _FROM_TOKEN, "E06.FR.07",
          _by_token, ("StopAuthorized", "ChargingStateChanged"), ("Local",)),
    _Stop(15, "Stop at Authorized, locally", "Authorized", ("PowerPathClosed",), _FROM_TOKEN, "E06.FR.03",
          _by_token, ("StopAuthorized",), ("Local",)),
    _Stop(21, "Stop at Authorized, remotely", "Authorized", ("PowerPathClosed",), _FROM_REQUEST, "E06.FR.03",
          _by_request, ("RemoteStop",), ("Remote",)),
    _Stop(17, "Stop at Authorized by the vehicle's end of the cable", "Authorized", ("EnergyTransfer", "DataSigned"),
          _FROM_CABLE, "E06.FR.04", _by_cable, _LOST, ("EVDisconnected",)),
    _Stop(37, "Stop at PowerPathClosed by the vehicle's end of the cable", "PowerPathClosed",
          ("EnergyTransfer", "EVConnected", "DataSigned"), _FROM_CABLE, "E06.FR.06", _by_vehicle, _LOST,
          ("EVDisconnected", "StoppedByEV"), idle=True),
    _Stop(20, "Stop at EVConnected by the vehicle's end of the cable", "EVConnected",
          ("EnergyTransfer", "PowerPathClosed"), _FROM_CABLE, "E06.FR.02", _by_vehicle, _LOST, ("EVDisconnected",),
          idle=True),
    _Stop(54, "Stop at EVConnected by the vehicle's end of the cable, while it charges", "EVConnected",
          ("EnergyTransfer", "PowerPathClosed"), _FROM_CABLE, "E06.FR.02", _by_cable, _LOST,
          ("EVDisconnected", "StoppedByEV"), idle=True),
):  # fmt: skip
    _case_of_stop(_each)


@E.case("TC_E_14_CS", "Stop at EVConnected, at the station", requirements="E06.FR.02 E06.FR.15")
async def stops_at_cable(t: StationTest) -> None:
    """The transaction continues after its token was presented, and ends when the cable is unplugged."""
    await given(steps.points(t, "TxStopPoint", "EVConnected", without=_NO_LATER))
    await t.charging()
    t.forget()
    await t.present()
    event = await t.expect("TransactionEvent", "E07.FR.02", triggerReason="StopAuthorized")
    t.check(event["eventType"] == "Updated", "E06.FR.02", f"the event is {event['eventType']}")
    await t.unplug()
    await steps.connector_is(t, "Available", "G01.FR.04")
    event = await steps.ended(t, "E06.FR.02")
    _because(t, event, "E06.FR.15", "EVCommunicationLost")
    _is_in(t, event, "E06.FR.02", "Idle")
    _ends_as(t, event, "E06.FR.08", "Local", "EVDisconnected")


@E.case("TC_E_19_CS", "Stop at ParkingBayOccupancy", requirements="E06.FR.01 E06.FR.15")
async def stops_at_bay(t: StationTest) -> None:
    """The transaction continues without a cable, and ends when the vehicle leaves the bay."""
    with precondition():
        await steps.points(t, "TxStopPoint", "ParkingBayOccupancy", without=("EVConnected", *_NO_LATER))
        t.undo(t.depart)
        await t.arrive()
    await t.charging()
    await t.present()
    await t.unplug()
    event = await t.expect("TransactionEvent", "E06.FR.15", triggerReason="EVCommunicationLost")
    t.check(event["eventType"] == "Updated", "E06.FR.01", f"the event is {event['eventType']}")
    await t.depart()
    event = await steps.ended(t, "E06.FR.01")
    _because(t, event, "E06.FR.15", "EVDeparted")
    _ends_as(t, event, "E06.FR.09", "Local")


@E.case("TC_E_22_CS", "Stop at EnergyTransfer by the vehicle", requirements="E06.FR.07 E06.FR.15")
async def stops_with_energy(t: StationTest) -> None:
    """The transaction ends when the vehicle stops taking energy, or is suspended where that is a pause."""
    await given(steps.points(t, "TxStopPoint", "EnergyTransfer"))
    await t.charging()
    t.forget()
    await t.suspend()
    event = await t.expect("TransactionEvent", "E06.FR.07", triggerReason="ChargingStateChanged")
    if event["eventType"] == "Ended":
        _is_in(t, event, "E06.FR.07", "EVConnected", "SuspendedEV")
        _ends_as(t, event, "E06.FR.08", "StoppedByEV")
    else:
        _is_in(t, event, "E06.FR.07", "SuspendedEV")


@E.case(
    "TC_E_16_CS", "Stop by an answer that refuses the token", requirements="E06.FR.04 E06.FR.15 E05.FR.10 C15.FR.04"
)
async def deauthorized(t: StationTest) -> None:
    """The station ends what was started offline once the back end refuses the token."""
    with precondition():
        await steps.points(t, "TxStopPoint", "Authorized", without=("EnergyTransfer", "DataSigned"))
        await t.demand("TxCtrlr", "StopTxOnInvalidId", "true")
        await steps.accepts_offline(t)
    t.forget()
    steps.let_be(t, {t.token: {"status": "Invalid"}})
    async with t.away(6):
        await t.plug()
        await t.present()
    event = await steps.accepts(t, t.token, "E12.FR.02")
    t.check(event.get("offline") is True, "E12.FR.02", "the event from before the reconnection is not offline")
    event = await steps.ended(t, "C15.FR.04")
    _because(t, event, "E06.FR.15", "Deauthorized")
    _ends_as(t, event, "E06.FR.04", "DeAuthorized")


# -- the cable at the vehicle


async def _disconnected(t: StationTest, *, unlocks: bool) -> None:
    with precondition():
        await t.demand("TxCtrlr", "StopTxOnEVSideDisconnect", "true")
        await steps.prefer(t, "OCPPCommCtrlr", "UnlockOnEVSideDisconnect", "true" if unlocks else "false")
    await t.charging()
    await t.suspend()
    t.forget()
    await t.pull()
    event = await t.expect("TransactionEvent", "E09.FR.01", triggerReason="EVCommunicationLost")
    _is_in(t, event, "E09.FR.01", "Idle")
    if t.has("detachable cable"):
        if not unlocks:
            await t.present()
        await t.unplug()
    await steps.connector_is(t, "Available", "G01.FR.04")


@E.case(
    "TC_E_24_CS", "Vehicle's end unplugged: end, and unlock", also="E09.FR.01 E09.FR.02 E09.FR.04",
    needs=("detachable cable",),
)  # fmt: skip
async def pulled(t: StationTest) -> None:
    """The transaction is deauthorized, and the cable can be taken."""
    await _disconnected(t, unlocks=True)


@E.case(
    "TC_E_25_CS", "Vehicle's end unplugged: end, and unlock for the driver only", also="E09.FR.01 E09.FR.03 E09.FR.04"
)
async def pulled_and_locked(t: StationTest) -> None:
    """The transaction is deauthorized, and the cable can be taken by its driver."""
    await _disconnected(t, unlocks=False)


async def _suspended(t: StationTest) -> None:
    """Charge, and unplug the vehicle's end where that does not end the transaction."""
    with precondition():
        await steps.points(t, "TxStopPoint", "Authorized", without=("EnergyTransfer", "PowerPathClosed", "EVConnected"))
        await t.demand("TxCtrlr", "StopTxOnEVSideDisconnect", "false")
        await steps.prefer(t, "OCPPCommCtrlr", "UnlockOnEVSideDisconnect", "false")
    await t.charging()
    t.forget()
    await t.pull()
    event = await t.expect("TransactionEvent", "E10.FR.03", triggerReason="EVCommunicationLost")
    t.check(event["eventType"] == "Updated", "E10.FR.03", f"the event is {event['eventType']}")
    _is_in(t, event, "E10.FR.03", "Idle")
    if not t.has("detachable cable"):
        await steps.connector_is(t, "Available", "G01.FR.04")


@E.case("TC_E_26_CS", "Vehicle's end unplugged: suspend", also="E10.FR.01")
async def pulled_and_back(t: StationTest) -> None:
    """The transaction waits for the vehicle, and continues to charge when it is plugged in again."""
    await given(t.demand("TxCtrlr", "EVConnectionTimeOut", "60"))
    await _suspended(t)
    await t.plug()
    event = await t.expect("TransactionEvent", "E10.FR.03", triggerReason="CablePluggedIn")
    t.check(event["eventType"] == "Updated", "E10.FR.03", f"the event is {event['eventType']}")
    await t.expect("TransactionEvent", "E10.FR.03", transactionInfo__chargingState="Charging")


@E.case("TC_E_27_CS", "Vehicle's end unplugged: suspend until a time-out")
async def pulled_and_gone(t: StationTest) -> None:
    """The transaction ends when the vehicle is not plugged in again in time."""
    t.needs(not t.has("detachable cable"), "the cable is not attached to the station")
    await given(t.demand("TxCtrlr", "EVConnectionTimeOut", "15"))
    await _suspended(t)
    event = await steps.ended(t, "E10.FR.02", within=t.after(15))
    _because(t, event, "E10.FR.03", "EVConnectTimeout")
    _ends_as(t, event, "E10.FR.02", "Timeout")


# -- the state of transactions


async def _status(
    t: StationTest, transaction: str | None, requirement: str, *, queue: bool, ongoing: bool | None
) -> None:
    asked = {} if transaction is None else {"transactionId": transaction}
    answer = await t.ask("GetTransactionStatus", **asked)
    found = answer.get("ongoingIndicator")
    about = requirement if transaction is not None else "E14.FR.06"
    t.check(found is ongoing, about, f"ongoingIndicator is {found} instead of {ongoing}")
    t.check(answer["messagesInQueue"] is queue, requirement, f"messagesInQueue is {answer['messagesInQueue']}")


async def _with_queue(t: StationTest) -> str:
    """Bring events of a transaction into the queue: they came up offline, and are not answered; return it."""
    await t.demand("SampledDataCtrlr", "TxUpdatedInterval", "5")
    transaction = await t.charging()
    t.forget()
    t.answer("TransactionEvent", None)
    return transaction


async def _between_attempts(t: StationTest) -> float:
    """Return how long the station may wait before it sends an event again that was not answered, s (E13.FR.03)."""
    timeout = await t.value("OCPPCommCtrlr", "MessageTimeout", instance="Default")
    attempts = await t.value("OCPPCommCtrlr", "MessageAttempts", instance="TransactionEvent")
    interval = await t.value("OCPPCommCtrlr", "MessageAttemptInterval", instance="TransactionEvent")
    return float(timeout) + int(attempts) * float(interval)


async def _emptied(t: StationTest) -> list[Payload]:
    """Answer again; return the events that were in the queue: one that was not answered, then all. Raises Failed."""
    await t.expect("TransactionEvent", "E11.FR.02")
    steps.let_be(t, {})
    found = [await t.expect("TransactionEvent", "E11.FR.02", within=t.after(await _between_attempts(t)))]
    await t.wait(3)
    return found + t.seen("TransactionEvent")


@E.case("TC_E_28_CS", "State of an unknown transaction")
async def status_unknown(t: StationTest) -> None:
    """The station answers that it is not ongoing, and that nothing of it is in the queue."""
    await _status(t, "no-such-transaction", "E14.FR.01", queue=False, ongoing=False)


@E.case(
    "TC_E_29_CS", "State of an ongoing transaction with queued events", requirements="E14.FR.02 E14.FR.04 E11.FR.02"
)
async def status_ongoing_queued(t: StationTest) -> None:
    """The station answers that it is ongoing and has events in the queue, and sends them marked as offline."""
    with precondition():
        transaction = await _with_queue(t)
        async with t.away(12):
            pass
    await _status(t, transaction, "E14.FR.04", queue=True, ongoing=True)
    found = await _emptied(t)
    offline = [each for each in found if each.get("offline") and each["eventType"] == "Updated"]
    t.check(bool(offline), "E11.FR.02", "no event is marked as offline")
    t.check("meterValue" in offline[0], "E11.FR.03", "the event has no meter value")


@E.case("TC_E_30_CS", "State of an ongoing transaction without queued events", also="E14.FR.02")
async def status_ongoing(t: StationTest) -> None:
    """The station answers that it is ongoing, and that nothing of it is in the queue."""
    transaction = await t.charging()
    await t.wait(2)
    await _status(t, transaction, "E14.FR.05", queue=False, ongoing=True)


@E.case("TC_E_31_CS", "State of a transaction that has ended with queued events", requirements="E14.FR.03 E14.FR.04")
async def status_ended_queued(t: StationTest) -> None:
    """The station answers that it is not ongoing and has events in the queue, and sends them."""
    with precondition():
        transaction = await _with_queue(t)
        async with t.away(8):
            await t.present()
            await t.unplug()
    await _status(t, transaction, "E14.FR.04", queue=True, ongoing=False)
    found = await _emptied(t)
    t.check(any(each["eventType"] == "Ended" for each in found), "E12.FR.02", "does not send the end")


@E.case("TC_E_32_CS", "State of a transaction that has ended without queued events", also="E14.FR.03")
async def status_ended(t: StationTest) -> None:
    """The station answers that it is not ongoing, and that nothing of it is in the queue."""
    with precondition():
        transaction = await steps.session(t)
        await t.wait(2)
    await _status(t, transaction, "E14.FR.05", queue=False, ongoing=False)


@E.case("TC_E_33_CS", "State of the queue with events in it", also="E14.FR.06")
async def status_queued(t: StationTest) -> None:
    """Asked without a transaction, the station answers only that events are in the queue."""
    with precondition():
        await _with_queue(t)
        async with t.away(12):
            pass
    await _status(t, None, "E14.FR.07", queue=True, ongoing=None)
    await _emptied(t)


@E.case("TC_E_34_CS", "State of the empty queue", also="E14.FR.06")
async def status_empty(t: StationTest) -> None:
    """Asked without a transaction, the station answers only that nothing is in the queue."""
    await _status(t, None, "E14.FR.08", queue=False, ongoing=None)


# -- offline


@E.case("TC_E_40_CS", "Connection lost during a transaction", requirements="E11.FR.01 E11.FR.02 E11.FR.03", quick=True)
async def offline_within(t: StationTest) -> None:
    """The station queues the readings and sends them afterwards, without gaps and marked as offline."""
    await given(t.demand("SampledDataCtrlr", "TxUpdatedInterval", "5"))
    await t.charging()
    t.forget()
    async with t.away(18):
        pass
    await t.wait(3)
    found = [await t.expect("TransactionEvent", "E11.FR.02"), *t.seen("TransactionEvent")]
    queued = [each for each in found if each.get("offline")]
    t.check(len(queued) >= 2, "E11.FR.01", f"sends {len(queued)} events from 18 s offline, with readings every 5 s")
    t.check(all(each["eventType"] == "Updated" for each in queued), "E11.FR.01", "an event is not Updated")
    t.check(all("meterValue" in each for each in queued), "E11.FR.03", "an event has no meter value")
    numbers = [each["seqNo"] for each in found]
    t.check(numbers == list(range(numbers[0], numbers[0] + len(numbers))), "E02.FR.07", f"the numbers are {numbers}")


@E.case("TC_E_43_CS", "Whole transaction offline", requirements="E12.FR.01 E12.FR.02 E04.FR.03", quick=True)
async def offline_whole(t: StationTest) -> None:
    """The station sends all events afterwards, from the start to the end, and marked as offline."""
    await given(steps.accepts_offline(t))
    t.forget()
    async with t.away(10):
        await t.plug()
        await t.present()
        await t.wait(3)
        await t.present()
        await t.unplug()
    found = await steps.events(t, "E12.FR.02")
    t.check(found[0]["eventType"] == "Started", "E12.FR.01", f"the first event is {found[0]['eventType']}")
    t.check(all(each.get("offline") is True for each in found), "E12.FR.02", "an event is not marked as offline")
    numbers = [each["seqNo"] for each in found]
    t.check(numbers == list(range(len(numbers))), "E04.FR.04", f"the numbers are {numbers}")


@E.case("TC_E_44_CS", "Stop offline", also="E08.FR.04 E08.FR.05 E08.FR.08")
async def offline_stop(t: StationTest) -> None:
    """The token stops its transaction offline too; the end is sent afterwards, marked as offline."""
    await t.charging()
    t.forget()
    async with t.away(8):
        await t.present()
        await t.unplug()
    found = await steps.events(t, "E08.FR.06")
    t.check(all(each.get("offline") is True for each in found), "E08.FR.07", "an event is not marked as offline")
    reasons = {each["triggerReason"] for each in found}
    t.check("StopAuthorized" in reasons, "E08.FR.01", f"the events are {', '.join(sorted(reasons))}")


@E.case("TC_E_45_CS", "Stop offline by a token of the same group", also="E08.FR.04 E08.FR.05")
async def offline_stop_by_group(t: StationTest) -> None:
    """A token of the same group, known to the list or the cache, stops the transaction offline."""
    member = {"status": "Accepted", "groupIdToken": steps.GROUP}
    other = t.declared.other_token
    with precondition():
        await steps.forget_tokens(t)
        if t.has("LocalAuthListCtrlr.Available"):
            await steps.listed(t, {other: member})
        else:
            t.needs(t.has("AuthCacheCtrlr.Available"), "the station has neither a list nor a cache of tokens")
            await steps.cached(t, other, groupIdToken=steps.GROUP)
        await steps.prefer(t, "AuthCtrlr", "LocalAuthorizeOffline", "true")
        steps.let_be(t, {t.token: member, other: member})
        await t.charging()
    t.forget()
    async with t.away(8):
        await t.present(other)
        await t.unplug()
    found = await steps.events(t, "E08.FR.06")
    t.check(all(each.get("offline") is True for each in found), "E08.FR.07", "an event is not marked as offline")
    reasons = {each["triggerReason"] for each in found}
    t.check("StopAuthorized" in reasons, "E08.FR.02", f"the events are {', '.join(sorted(reasons))}")


# -- retries


def _case_of_retries(number: int, title: str, *, error: bool, answered: int | None) -> None:
    """Add a case in which an event is not accepted until its attempt `answered`, never for None."""
    attempts, interval = 3, 5
    required = "The station sends the event again, each time after a longer pause, until it is accepted"
    required += "." if answered else ", and gives up after the last attempt."
    requirements = ("E13.FR.02", "E13.FR.03", *(() if answered else ("E13.FR.04",)))

    @E.case(f"TC_E_{number}_CS", title, required=required, requirements=requirements)
    async def script(t: StationTest) -> None:
        with precondition():
            await t.demand("OCPPCommCtrlr", "MessageAttempts", str(attempts), instance="TransactionEvent")
            await t.demand("OCPPCommCtrlr", "MessageAttemptInterval", str(interval), instance="TransactionEvent")
            timeout = 0.0 if error else float(await t.value("OCPPCommCtrlr", "MessageTimeout", instance="Default"))
            await steps.prefer(t, "SampledDataCtrlr", "TxUpdatedInterval", "0")
        await t.charging()
        await t.wait(2)
        sent: dict[int, list[float]] = {}

        def heard(payload: Payload) -> Payload | CallError | None:
            sent.setdefault(payload["seqNo"], []).append(t.elapsed())
            if payload["seqNo"] != min(sent) or len(sent[payload["seqNo"]]) == answered:
                return {}
            return CallError("InternalError", "refused by the test") if error else None

        t.answer("TransactionEvent", heard)
        await t.present()
        expected = answered or attempts
        await t.wait(expected * timeout + interval * sum(range(1, expected + 1)) + 15)
        t.check(bool(sent), "E07.FR.02", "sends no TransactionEvent when its token is presented")
        times = sent[min(sent)]
        t.check(len(times) == expected, "E13.FR.02", f"sends the event {len(times)} times instead of {expected}")
        for attempt, (before, after) in enumerate(itertools.pairwise(times), 1):
            least = timeout + attempt * interval
            gap = after - before
            about = f"attempt {attempt + 1} comes {gap:.1f} s after the one before, instead of {least:g} s"
            t.check(least - 1 <= gap <= least + 5, "E13.FR.03", about)


_case_of_retries(41, "An event that is never answered", error=False, answered=None)
_case_of_retries(42, "An event that is answered the second time", error=False, answered=2)
_case_of_retries(50, "An event that is always refused", error=True, answered=None)
_case_of_retries(51, "An event that is refused once", error=True, answered=2)
