"""Functional block E, transactions: cases for charging stations."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from v2g_testkit.ocpp.case import Block, Failed, Payload, given, precondition
from v2g_testkit.ocpp.connection import CallError, Received, field_of
from v2g_testkit.ocpp.driver import Action, Step
from v2g_testkit.ocpp.station_cases import steps
from v2g_testkit.ocpp.station_cases.steps import connector_is, priced, stopped
from v2g_testkit.ocpp.station_tester import StationTest

E: Final[Block[StationTest]] = Block()

AUTHORIZED: Final = ("Authorized", "PowerPathClosed")


def _is_placed(t: StationTest, event: Payload) -> None:
    evse = event.get("evse", {})
    known = (evse.get("id"), evse.get("connectorId")) in t.connectors
    t.check(known, "E01.FR.16", f"the event is of EVSE and connector {evse}")


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
    t.check(not event.get("offline", False), "E04.FR.03", "is marked as offline")
    number = event["transactionInfo"].get("remoteStartId")
    t.equal(number, None, "TransactionType", "has the remoteStartId {} without a request")


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
    found = [await steps.accepts(t, t.token, "E02.FR.01")]
    if found[0]["transactionInfo"].get("chargingState") != "Charging":
        found.append(await t.expect("TransactionEvent", "E02.FR.13", transactionInfo__chargingState="Charging"))
    # the first one after the cable; later ones need not say it again
    _is_placed(t, min([*t.seen("TransactionEvent"), *found], key=lambda each: int(each["seqNo"])))


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
    event = await steps.accepts(t, t.token, "E03.FR.01")
    await t.flowing(event=event)
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
        await t.plug()  # perhaps of the next driver
        await steps.refuses(t, "E03.FR.05")
        await t.unplug()
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
    await given(
        steps.points(t, "TxStartPoint", "PowerPathClosed", without=("EnergyTransfer",)), steps.outlasts_energy(t)
    )
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
        await steps.outlasts_energy(t)
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
    t.check(any("meterValue" in each for each in offline), "E11.FR.03", "no event has a meter value")


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


@E.case("V2G-E-01-CS", "Events that are not answered before a reset", requirements="E11.FR.02")
async def queued_over_reset(t: StationTest) -> None:
    """The station still has the end of the transaction after the reset, and sends it until it is answered."""
    transaction = await t.charging()
    t.forget()
    t.answer("TransactionEvent", None)
    with precondition():
        await t.present()
        await t.expect("TransactionEvent", "E07.FR.02")
        await t.unplug()
        async with t.reconnects():
            await t.must_answer("Accepted", "B12.FR.02", "Reset", type="Immediate")
    steps.let_be(t, {})
    t.forget()
    within = t.after(await _between_attempts(t))
    await steps.ended(t, "E11.FR.02", within=within, transactionInfo__transactionId=transaction)


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
    readings = [each for each in queued if each["triggerReason"].startswith("MeterValue")]
    about = f"sends {len(readings)} readings from 18 s offline, with one every 5 s"
    t.check(len(readings) >= 2, "E11.FR.01", about)
    t.check(all(each["eventType"] == "Updated" for each in queued), "E11.FR.01", "an event is not Updated")
    t.check(all("meterValue" in each for each in readings), "E11.FR.03", "an event has no meter value")
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
    t.check(numbers == list(range(numbers[0], numbers[0] + len(numbers))), "E04.FR.04", f"the numbers are {numbers}")


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


E_21: Final[Block[StationTest]] = Block(versions=("2.1",))
_TOKEN: Final[Payload] = {"idTokenInfo": {"status": "Accepted"}}
_MINUTES: Final = 600
"""How long a vehicle may take to reach a limit, s."""


# -- limits (E16)


async def supports(t: StationTest, *limits: str) -> None:
    """Raise NotApplicable unless the station supports these limits of a transaction."""
    found = [each.strip() for each in (await t.value("TxCtrlr", "SupportedLimits")).split(",")]
    if "maxLength" in found:  # so the list of part 2 has it
        found.append("maxTime")
    for each in limits:
        t.needs(each in found, f"it does not support the limit {each}")


async def limited(t: StationTest, **limit: float) -> str:
    """Let the back end limit a transaction at its start; return it. Raises Failed."""
    await supports(t, *limit)
    t.answer("TransactionEvent", lambda event: _TOKEN | (
        {"transactionLimit": limit} if event["eventType"] == "Started" else {}
    ))  # fmt: skip
    await t.present()
    await t.plug()
    await says_limit(t, "E16.FR.03", **limit)
    return await t.flowing()


async def says_limit(t: StationTest, requirement: str, **limit: float) -> None:
    """Expect an event that says which limit was set: LimitSet, or of a trigger at the same time (E16.FR.01, E02.FR.17),
    which is left for what follows. Raises Failed."""
    if await t.find(_says(lambda found: limit.items() <= found.items()), keep=True) is None:
        told = "; ".join(str(found) for each in t.seen("TransactionEvent") if (found := _limit_in(each)))
        raise Failed(f"does not say that the limit is {limit}" + (f", but {told}" if told else ""), requirement)


def _says(fits: Callable[[Payload], bool]) -> Callable[[Received], bool]:
    """Return whether a request is an event with limits that fit."""
    return lambda each: each.action == "TransactionEvent" and fits(_limit_in(each.payload))


def _limit_in(event: Payload) -> Payload:
    """Return the limits that an event says have been set."""
    found = field_of(event, "transactionInfo__transactionLimit")
    return found if isinstance(found, dict) else {}


async def reached(t: StationTest, trigger: str) -> None:
    """Expect the transaction to be suspended, or to end, for a limit. Raises Failed."""
    ends = "EnergyTransfer" in (await t.value("TxCtrlr", "TxStopPoint")).split(",")
    requirement = "E16.FR.06" if ends else "E16.FR.05"
    event = await t.expect("TransactionEvent", requirement, within=_MINUTES, triggerReason=trigger)
    state = event["transactionInfo"].get("chargingState")
    fine = event["eventType"] == "Ended" if ends else state == "SuspendedEVSE"
    t.check(fine, requirement, f"sends {event['eventType']} in the state {state}")


async def _asks(t: StationTest, action: Action, value: float, **limit: float) -> None:
    """Let the driver limit the transaction. Raises Failed, NotApplicable."""
    await t.do(Step(action, value=f"{value:g}"))
    await says_limit(t, "E16.FR.01", **limit)


def _case_of_limit(
    number: int, title: str, limit: dict[str, float], trigger: str, required: str, *requirements: str
) -> None:
    @E_21.case(f"TC_E_{number}_CS", title, required=required, requirements=requirements)
    async def script(t: StationTest) -> None:
        await limited(t, **limit)
        await reached(t, trigger)


_AT: Final = "The station says that the limit is set, and stops the energy when it is reached."
_case_of_limit(
    100, "The back end limits the energy", {"maxEnergy": 100.0}, "EnergyLimitReached", _AT, "E16.FR.03", "E16.FR.05"
)
_case_of_limit(
    105, "The back end limits the time", {"maxTime": 180}, "TimeLimitReached", _AT, "E16.FR.03", "E16.FR.05",
    "E16.FR.09",
)  # fmt: skip


@E_21.case("TC_E_101_CS", "The back end limits the cost, and says what it costs", also="E16.FR.03 E16.FR.15")
async def cost_limit(t: StationTest) -> None:
    """The station stops the energy when CostUpdated reaches the limit, not before."""
    transaction = await limited(t, maxCost=5.0)
    await t.ask("CostUpdated", totalCost=4.5, transactionId=transaction)
    await t.nothing("TransactionEvent", "E16.FR.05", within=3, triggerReason="CostLimitReached")
    await t.ask("CostUpdated", totalCost=5.0, transactionId=transaction)
    await reached(t, "CostLimitReached")


@E_21.case(
    "TC_E_104_CS",
    "The back end limits the cost, and says in answers what it costs",
    also="E16.FR.03 E16.FR.05 E16.FR.15",
)
async def cost_in_answers(t: StationTest) -> None:
    """The station stops the energy when the cost in an answer reaches the limit."""
    await t.demand("SampledDataCtrlr", "TxUpdatedInterval", "10")
    await limited(t, maxCost=5.0)
    t.answer("TransactionEvent", _TOKEN | {"totalCost": 6.0})
    await reached(t, "CostLimitReached")


@E_21.case(
    "TC_E_103_CS", "The back end limits the cost, and the station calculates it", also="E16.FR.03 E16.FR.05",
    needs=("TariffCostCtrlr.Available",),
)  # fmt: skip
async def cost_by_tariff(t: StationTest) -> None:
    """The station stops the energy by the cost of its tariff, whatever CostUpdated says."""
    await priced(t, "v2g-limit", 20.0)
    transaction = await limited(t, maxCost=10.0)
    await t.ask("CostUpdated", totalCost=50.0, transactionId=transaction)
    await t.nothing("TransactionEvent", "E16.FR.16", within=3, triggerReason="CostLimitReached")
    await reached(t, "CostLimitReached")


@E_21.case("TC_E_102_CS", "The back end and the driver limit the energy", also="E16.FR.01 E16.FR.05")
async def limits_of_both(t: StationTest) -> None:
    """The station does not take a higher limit of the driver; it takes a lower one, and keeps it."""
    await limited(t, maxEnergy=5000.0)
    await t.do(Step("most-energy", value="9000"))
    higher = await t.find(_says(lambda found: found.get("maxEnergy", 0) > 5000), 3)
    t.check(higher is None, "E16.FR.04", "says that the limit is higher than that of the back end")
    await _asks(t, "most-energy", 500, maxEnergy=500.0)
    await reached(t, "EnergyLimitReached")


def _case_of_driver(number: int, title: str, action: Action, value: float, limit: str, trigger: str) -> None:
    @E_21.case(
        f"TC_E_{number}_CS", title, also="E16.FR.01 E16.FR.05",
        needs=("TariffCostCtrlr.Available",) if limit == "maxCost" else (),
    )  # fmt: skip
    async def script(t: StationTest) -> None:
        """The station says which limit the driver has set, and stops the energy when it is reached."""
        await supports(t, limit)
        if limit == "maxCost":
            await priced(t, "v2g-driver-limit", 20.0)
        await t.charging()
        await _asks(t, action, value, **{limit: value})
        await reached(t, trigger)


_case_of_driver(106, "The driver limits the energy", "most-energy", 500.0, "maxEnergy", "EnergyLimitReached")
_case_of_driver(107, "The driver limits the time", "most-time", 180, "maxTime", "TimeLimitReached")
_case_of_driver(
    108, "The driver limits the cost, which the station calculates", "most-cost", 10.0, "maxCost", "CostLimitReached"
)


# -- resumption (E17, B13)


async def may_resume(t: StationTest, seconds: int, *, energy: bool = True) -> None:
    """Set how long after an interruption transactions continue, and whether energy does. Raises NotApplicable."""
    await t.demand("TxCtrlr", "ResumptionTimeout", str(seconds))
    await t.demand("TxCtrlr", "AllowEnergyTransferResumption", str(energy).lower())


async def resumes(t: StationTest, transaction: str, requirement: str, *, energy: bool) -> None:
    """Expect a transaction to continue. Raises Failed."""
    event = await t.expect(
        "TransactionEvent", requirement, within=t.declared.away_seconds, eventType="Updated", triggerReason="TxResumed"
    )
    info = event["transactionInfo"]
    t.check(info["transactionId"] == transaction, requirement, f"resumes the transaction {info['transactionId']}")
    states = ("Charging",) if energy else ("SuspendedEVSE", "EVConnected")
    t.check(info.get("chargingState") in states, requirement, f"resumes it in the state {info.get('chargingState')}")


async def _cut(t: StationTest) -> None:
    """Switch the station off and on."""
    t.forget()
    async with t.reconnects():
        await t.do(Step("reboot"))


def _case_of_resumption(number: int, *, energy: bool) -> None:
    @E_21.case(
        f"TC_E_{number}_CS",
        f"Power loss within ResumptionTimeout, {'with' if energy else 'without'} energy afterwards",
        required="The station resumes the transaction, says so, and " + ("charges." if energy else "does not charge."),
        requirements=("E17.FR.10", "E17.FR.11" if energy else "E17.FR.12", "E17.FR.14"),
    )
    async def script(t: StationTest) -> None:
        await may_resume(t, 300, energy=energy)
        transaction = await t.charging()
        await _cut(t)
        await resumes(t, transaction, "E17.FR.11" if energy else "E17.FR.12", energy=energy)
        await t.nothing("TransactionEvent", "E17.FR.10", within=5, eventType="Ended")


_case_of_resumption(112, energy=False)
_case_of_resumption(113, energy=True)


async def _ends_by_power_loss(t: StationTest) -> None:
    transaction = await t.charging()
    await _cut(t)
    event = await t.expect(
        "TransactionEvent", "E17.FR.20", within=t.declared.away_seconds, eventType="Ended",
        transactionInfo__transactionId=transaction,
    )  # fmt: skip
    found = event["triggerReason"], stopped(event)
    t.check(found == ("AbnormalCondition", "PowerLoss"), "E17.FR.21", f"ends it with {found[0]}, {found[1]}")
    await t.nothing("TransactionEvent", "E17.FR.20", within=3, triggerReason="TxResumed")


@E_21.case("TC_E_114_CS", "Power loss, without ResumptionTimeout", also="E17.FR.20 E17.FR.21")
async def no_timeout(t: StationTest) -> None:
    """The station ends the transaction: PowerLoss."""
    found = await t.get("TxCtrlr", "ResumptionTimeout")
    t.needs(found["attributeStatus"] != "Accepted", "it has ResumptionTimeout")
    await _ends_by_power_loss(t)


@E_21.case("TC_E_115_CS", "Power loss, with ResumptionTimeout 0", also="E17.FR.20 E17.FR.21")
async def timeout_of_zero(t: StationTest) -> None:
    """The station ends the transaction: PowerLoss."""
    await t.demand("TxCtrlr", "ResumptionTimeout", "0")
    await _ends_by_power_loss(t)


@E_21.case("TC_E_116_CS", "Power loss for longer than ResumptionTimeout", also="E17.FR.20 E17.FR.21")
async def timeout_expired(t: StationTest) -> None:
    """The station ends the transaction: PowerLoss."""
    await may_resume(t, 1)
    await _ends_by_power_loss(t)


# -- authorization (C01)


@E_21.case("TC_C_100_CS", "Authorized, and no vehicle is plugged in", requirements="C01.FR.26 E03.FR.05")
async def nobody_plugs_in(t: StationTest) -> None:
    """After EVConnectionTimeOut the station ends the authorization: it does not charge a vehicle that comes."""
    await t.demand("TxCtrlr", "EVConnectionTimeOut", "10")
    points = [(await t.value("TxCtrlr", name)).split(",") for name in ("TxStartPoint", "TxStopPoint")]
    await t.present()
    if all("Authorized" in each for each in points):
        event = await t.expect("TransactionEvent", "E03.FR.05", within=t.after(10), eventType="Ended")
        found = event["triggerReason"], stopped(event)
        t.check(found == ("EVConnectTimeout", "Timeout"), "E03.FR.05", f"ends it with {found[0]}, {found[1]}")
    else:
        await t.wait(t.after(10))
    await t.plug()
    await connector_is(t, "Occupied", "G01.FR.01")
    await t.nothing("TransactionEvent", "C01.FR.26", within=5, transactionInfo__chargingState="Charging")
