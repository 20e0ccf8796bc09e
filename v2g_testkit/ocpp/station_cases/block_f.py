"""Functional block F, remote control: cases for charging stations."""

from typing import Any, Final

from v2g.ocpp.routes import known
from v2g_testkit.ocpp.case import Block, Failed, Payload, given, precondition
from v2g_testkit.ocpp.station_cases.profiles import outside
from v2g_testkit.ocpp.station_cases.roots import MANUFACTURER, install
from v2g_testkit.ocpp.station_cases.steps import connector_is, ended, is_token, not_rejected, points, prefer, stopped
from v2g_testkit.ocpp.station_cases.transfers import follow, get_log, log_state, offer_image, update
from v2g_testkit.ocpp.station_tester import StationTest

F: Final[Block[StationTest]] = Block()


# -- start


async def _start(t: StationTest, requirement: str) -> tuple[int, Payload]:
    """Start remotely at EVSE 1; return the number and the answer. Raises Failed."""
    number = t.next_id()
    token = t.token.payload
    answer = await t.ask("RequestStartTransaction", idToken=token, remoteStartId=number, evseId=1)
    t.check(answer["status"] == "Accepted", requirement, f"answers {answer['status']}")
    return number, answer


async def _names_request(t: StationTest, number: int, requirement: str, **fields: Any) -> Payload:
    event = await t.expect("TransactionEvent", "F01.FR.19", **fields)
    found = event["transactionInfo"].get("remoteStartId")
    t.check(found == number, requirement, f"the remoteStartId is {found} instead of {number}")
    return event


async def _is_remote(t: StationTest, number: int, requirement: str) -> Payload:
    """Expect the event that follows a remote start."""
    event = await _names_request(t, number, requirement, triggerReason="RemoteStart")
    t.check(is_token(event.get("idToken"), t.token), "F01.FR.04", f"the token is {event.get('idToken')}")
    return event


@F.case(
    "TC_F_01_CS", "Remote start, cable first", requirements="F01.FR.03 F01.FR.04 F01.FR.13 F01.FR.19 F01.FR.25",
    quick=True,
)  # fmt: skip
async def cable_first(t: StationTest) -> None:
    """The station accepts, names the transaction that waits, and charges with the token of the request."""
    with precondition():
        begins = set((await t.value("TxCtrlr", "TxStartPoint")).split(","))
        await t.plug()
        await connector_is(t, "Occupied", "E02.FR.05")
        waits = await t.find(lambda each: each.action == "TransactionEvent", 2)
    number, answer = await _start(t, "F01.FR.03")
    if waits is not None:
        expected, found = waits["transactionInfo"]["transactionId"], answer.get("transactionId")
        t.check(found == expected, "F01.FR.13", f"the answer has the transaction {found} instead of {expected}")
    if begins == {"EnergyTransfer"}:  # what starts it is the energy
        event = await _names_request(t, number, "F01.FR.25")
    else:
        event = await _is_remote(t, number, "F01.FR.25")
    await t.flowing(event=event)


@F.case("V2G-F-01-CS", "Remote start at an EVSE with a transaction", requirements="F01.FR.24")
async def busy(t: StationTest) -> None:
    """The station rejects the request, and continues to charge with the first token."""
    await t.charging()
    t.forget()
    request = {"idToken": t.declared.other_token.payload, "remoteStartId": t.next_id(), "evseId": 1}
    await t.must_answer("Rejected", "F01.FR.24", "RequestStartTransaction", **request)
    await t.nothing("TransactionEvent", "F01.FR.24", within=3, triggerReason="RemoteStart")


@F.case("V2G-F-02-CS", "Remote start at an unknown EVSE", requirements="RequestStartTransactionRequest")
async def nowhere(t: StationTest) -> None:
    """The station rejects the request."""
    request = {"idToken": t.token.payload, "remoteStartId": t.next_id(), "evseId": t.declared.evses + 1}
    await t.must_answer("Rejected", "RequestStartTransactionRequest", "RequestStartTransaction", **request)


async def _before_cable(t: StationTest) -> None:
    early = "Authorized" in (await t.value("TxCtrlr", "TxStartPoint"))
    number, _ = await _start(t, "F02.FR.01")
    if early:
        event = await _is_remote(t, number, "F02.FR.01")
        await t.plug()
    else:
        await t.plug()
        event = await _names_request(t, number, "F02.FR.01", eventType="Started")
    await t.flowing(event=event)


@F.case("TC_F_02_CS", "Remote start before the cable, with AuthorizeRemoteStart", also="F02.FR.01 F02.FR.09")
async def authorized_first(t: StationTest) -> None:
    """The station asks the back end about the token, and charges once the cable is there."""
    with precondition():
        await t.demand("AuthCtrlr", "AuthorizeRemoteStart", "true")
        await prefer(t, "AuthCtrlr", "LocalPreAuthorize", "false")
    await _before_cable(t)
    t.check(bool(t.seen("Authorize")), "F01.FR.01", "sends no Authorize")


@F.case("TC_F_03_CS", "Remote start before the cable, without AuthorizeRemoteStart", also="F02.FR.01 F02.FR.10")
async def unasked(t: StationTest) -> None:
    """The station charges once the cable is there, and does not ask about the token."""
    await given(t.demand("AuthCtrlr", "AuthorizeRemoteStart", "false"))
    await _before_cable(t)
    t.check(not t.seen("Authorize"), "F01.FR.02", "sends Authorize")


@F.case("TC_F_04_CS", "Remote start, and no cable in time")
async def no_cable(t: StationTest) -> None:
    """After EVConnectionTimeOut the transaction ends, and the EVSE can be started again."""
    with precondition():
        await t.demand("TxCtrlr", "EVConnectionTimeOut", "15")
        await points(t, "TxStartPoint", "Authorized", without=("ParkingBayOccupancy",))
        await points(t, "TxStopPoint", "Authorized", without=("ParkingBayOccupancy",))
    number, _ = await _start(t, "F02.FR.01")
    await _is_remote(t, number, "F02.FR.01")
    event = await ended(t, "F02.FR.07", within=t.after(15))
    t.equal(event["triggerReason"], "EVConnectTimeout", "F02.FR.07", "the trigger is {}")
    number, _ = await _start(t, "E03.FR.05")
    await _is_remote(t, number, "F02.FR.01")


# -- stop


@F.case("TC_F_08_CS", "Remote stop", also="F03.FR.02", quick=True)
async def stop(t: StationTest) -> None:
    """The station accepts, and ends the transaction because of the request."""
    with precondition():
        ends = {"Authorized", "PowerPathClosed"} & set((await t.value("TxCtrlr", "TxStopPoint")).split(","))
        other = await t.charging(2, t.declared.other_token) if t.declared.evses > 1 else ""
    transaction = await t.charging()
    t.forget()
    await t.must_answer("Accepted", "F03.FR.07", "RequestStopTransaction", transactionId=transaction)
    event = await t.expect("TransactionEvent", "F03.FR.09", triggerReason="RemoteStop")
    if ends:
        t.check(event["eventType"] == "Ended", "F03.FR.03", f"the event is {event['eventType']}")
        t.check(stopped(event) == "Remote", "F03.FR.03", f"ends with the reason {stopped(event)}")
    t.equal(event["transactionInfo"]["transactionId"], transaction, "F03.FR.07", "stops the transaction {}")
    if other:
        of_other = {"transactionInfo__transactionId": other, "triggerReason": "RemoteStop"}
        await t.nothing("TransactionEvent", "F03.FR.07", within=2, **of_other)


@F.case("TC_F_09_CS", "Remote stop of an unknown transaction")
async def stop_unknown(t: StationTest) -> None:
    """The station rejects the request, and continues to charge."""
    await t.charging()
    t.forget()
    await t.must_answer("Rejected", "F03.FR.08", "RequestStopTransaction", transactionId="no-such-transaction")
    await t.nothing("TransactionEvent", "F03.FR.08", within=3, triggerReason="RemoteStop")


# -- unlock


async def _unlocks(t: StationTest, requirement: str, *expected: str, connector: int | None = None) -> None:
    """Unlock a connector, or the one at which a vehicle is."""
    answer = await t.ask("UnlockConnector", evseId=1, connectorId=t.occupied() if connector is None else connector)
    t.check(answer["status"] in expected, requirement, f"answers {answer['status']} instead of {expected[0]}")


@F.case("TC_F_05_CS", "Unlock with a transaction", also="F05.FR.01", needs=("connector lock",))
async def unlock_charging(t: StationTest) -> None:
    """The station does not unlock the connector of a transaction, and says so."""
    await t.charging()
    t.forget()
    await _unlocks(t, "F05.FR.02", "OngoingAuthorizedTransaction")
    await t.nothing("TransactionEvent", "F05.FR.02", within=3, eventType="Ended")


@F.case("TC_F_06_CS", "Unlock without a transaction", also="F05.FR.01", needs=("connector lock",))
async def unlock_plugged(t: StationTest) -> None:
    """The station unlocks the connector into which a cable is plugged."""
    await given(t.plug())
    await _unlocks(t, "F05.FR.04", "Unlocked")


@F.case("TC_F_07_CS", "Unlock without a cable", also="F05.FR.01", needs=("connector lock",))
async def unlock_free(t: StationTest) -> None:
    """The station tries to unlock the connector although no cable is there."""
    await _unlocks(t, "F05.FR.06", "Unlocked")


@F.case("TC_F_10_CS", "Unlock an unknown connector", needs=("connector lock",))
async def unlock_unknown(t: StationTest) -> None:
    """The station answers that it does not know the connector."""
    await _unlocks(t, "F05.FR.03", "UnknownConnector", connector=999)


# -- trigger


async def _triggers(t: StationTest, message: str, **more: object) -> None:
    """Ask for a message. Raises NotApplicable where the station does not send it so, Inconclusive where not now."""
    answer = await t.ask("TriggerMessage", requestedMessage=message, **more)
    t.needs(answer["status"] != "NotImplemented", f"the station does not send {message} when triggered")
    not_rejected(answer["status"], message)
    t.check(answer["status"] == "Accepted", "F06.FR.05", f"answers {answer['status']}")


def _is_triggered(t: StationTest, payload: Payload) -> None:
    readings = [one for each in payload.get("meterValue", []) for one in each["sampledValue"]]
    t.check(bool(readings), "F06.FR.06", "there is no meter value")
    contexts = {one.get("context", "Sample.Periodic") for one in readings}
    t.check(contexts == {"Trigger"}, "F06.FR.06", f"the context is {', '.join(sorted(contexts))}")


@F.case("TC_F_11_CS", "Trigger meter values of one EVSE", also="F06.FR.04 F06.FR.06 F06.FR.10")
async def trigger_meter(t: StationTest) -> None:
    """The station accepts, and sends the meter values of that EVSE with the context Trigger."""
    t.forget()
    await _triggers(t, "MeterValues", evse={"id": 1})
    _is_triggered(t, await t.expect("MeterValues", "F06.FR.05", evseId=1))
    for evse in range(2, t.declared.evses + 1):
        await t.nothing("MeterValues", "F06.FR.02", within=2, evseId=evse)


@F.case("TC_F_12_CS", "Trigger meter values of all EVSEs", also="F06.FR.04 F06.FR.05 F06.FR.06 F06.FR.10")
async def trigger_meters(t: StationTest) -> None:
    """The station accepts, and sends the meter values of every EVSE with the context Trigger."""
    t.forget()
    await _triggers(t, "MeterValues")
    for evse in range(1, t.declared.evses + 1):
        _is_triggered(t, await t.expect("MeterValues", "F06.FR.11", evseId=evse))


async def _of_transaction(t: StationTest, transaction: str) -> None:
    event = await t.expect(
        "TransactionEvent", "F06.FR.07", triggerReason="Trigger", transactionInfo__transactionId=transaction
    )
    t.equal(event["transactionInfo"].get("chargingState"), "Charging", "F06.FR.07", "the charging state is {}")
    _is_triggered(t, event)


@F.case(
    "TC_F_13_CS", "Trigger an event of the transaction at one EVSE",
    also="F06.FR.02 F06.FR.04 F06.FR.05 F06.FR.07 F06.FR.10", quick=True,
)  # fmt: skip
async def trigger_event(t: StationTest) -> None:
    """The station accepts, and sends an event with the state and meter values of the transaction."""
    transaction = await t.charging()
    await _triggers(t, "TransactionEvent", evse={"id": 1})
    await _of_transaction(t, transaction)


@F.case("TC_F_14_CS", "Trigger events of all transactions", also="F06.FR.04 F06.FR.05 F06.FR.07 F06.FR.10 F06.FR.11")
async def trigger_events(t: StationTest) -> None:
    """The station accepts, and sends an event of every transaction."""
    running = [await t.charging(evse) for evse in range(1, min(2, t.declared.evses) + 1)]
    await _triggers(t, "TransactionEvent")
    for transaction in running:
        await _of_transaction(t, transaction)


def _case_of_idle(number: int, title: str, message: str, requirement: str, **place: object) -> None:
    @F.case(f"TC_F_{number}_CS", title, also="F06.FR.04 F06.FR.05 F06.FR.10")
    async def script(t: StationTest) -> None:
        """The station accepts, and sends the message with the status Idle."""
        await _triggers(t, message, **place)
        t.equal((await t.expect(message, requirement))["status"], "Idle", requirement, "the status is {}")


_case_of_idle(15, "Trigger the status of logs", "LogStatusNotification", "F06.FR.15")
_case_of_idle(
    17, "Trigger the status of firmware, with an EVSE", "FirmwareStatusNotification", "F06.FR.03", evse={"id": 1}
)
_case_of_idle(18, "Trigger the status of firmware", "FirmwareStatusNotification", "F06.FR.16")


@F.case(
    "TC_F_16_CS",
    "Trigger the status of a log that is being uploaded",
    requirements="F06.FR.04 F06.FR.05 F06.FR.10 F06.FR.14",
)
async def trigger_log_status(t: StationTest) -> None:
    """The station accepts, and reports Uploading with the number of the upload."""
    with precondition():
        files, _ = await t.file_server()
        files.hold()
        _, number, _ = await get_log(t)
        await log_state(t, number, "N01.FR.08", "Uploading")
    await _triggers(t, "LogStatusNotification")
    await log_state(t, number, "F06.FR.14", "Uploading")
    files.release()
    await log_state(t, number, "N01.FR.09", "Uploaded")


@F.case(
    "TC_F_19_CS",
    "Trigger the status of firmware that is being downloaded",
    requirements="F06.FR.04 F06.FR.05 F06.FR.10 L01.FR.26",
)
async def trigger_firmware_status(t: StationTest) -> None:
    """The station accepts, and reports Downloading with the number of the update."""
    with precondition():
        files, firmware = await offer_image(t, await install(t, MANUFACTURER), b"not firmware", signed=False)
        files.hold()
        number = await update(t, firmware)
        await t.expect("FirmwareStatusNotification", "L01.FR.01", status="Downloading", requestId=number)
    await _triggers(t, "FirmwareStatusNotification")
    await t.expect("FirmwareStatusNotification", "L01.FR.26", status="Downloading", requestId=number)
    files.release()
    await follow(t, number, "InvalidSignature")


@F.case("TC_F_20_CS", "Trigger a heartbeat", also="F06.FR.04 F06.FR.10")
async def trigger_heartbeat(t: StationTest) -> None:
    """The station accepts, and sends Heartbeat."""
    t.forget()
    await _triggers(t, "Heartbeat")
    await t.expect("Heartbeat", "F06.FR.05")


@F.case("TC_F_23_CS", "Trigger the status of an available connector", also="F06.FR.02 F06.FR.04 F06.FR.10")
async def trigger_available(t: StationTest) -> None:
    """The station accepts, and reports the connector as available."""
    await t.wait(2)
    t.forget()
    await _triggers(t, "StatusNotification", evse={"id": 1, "connectorId": 1})
    await connector_is(t, "Available", "F06.FR.05")


@F.case(
    "TC_F_24_CS", "Trigger the status of an occupied connector", requirements="F06.FR.02 F06.FR.04 F06.FR.05 F06.FR.10"
)
async def trigger_occupied(t: StationTest) -> None:
    """The station accepts, and reports the connector as occupied."""
    await given(t.plug(), connector_is(t, "Occupied", "E02.FR.05"))
    t.forget()
    await _triggers(t, "StatusNotification", evse={"id": 1, "connectorId": t.occupied()})
    await connector_is(t, "Occupied", "F06.FR.05")


@F.case("TC_F_26_CS", "Trigger BootNotification of an accepted station", also="F06.FR.04 F06.FR.05")
async def trigger_boot(t: StationTest) -> None:
    """A station that has been accepted rejects the request."""
    answer = await t.ask("TriggerMessage", requestedMessage="BootNotification")
    t.needs(answer["status"] != "NotImplemented", "the station does not send BootNotification when triggered")
    t.check(answer["status"] == "Rejected", "F06.FR.17", f"answers {answer['status']}")


@F.case("TC_F_27_CS", "Trigger a message that is not implemented")
async def trigger_unknown(t: StationTest) -> None:
    """The station answers NotImplemented, or sends the message that it accepted."""
    answer = await t.ask("TriggerMessage", requestedMessage="SignCombinedCertificate")
    t.needs(answer["status"] != "Accepted", "the station has combined certificates")
    if t.has("ISO15118Ctrlr.Enabled"):  # it may have them
        not_rejected(answer["status"], "SignCombinedCertificate")
    t.check(answer["status"] == "NotImplemented", "F06.FR.08", f"answers {answer['status']}")


@F.case("TC_F_100_CS", "Custom triggers", requirements="F06.FR.18 F06.FR.19", versions=("2.1",))
async def custom_triggers(t: StationTest) -> None:
    """The station sends what it lists in CustomTriggers, and answers NotImplemented to what it does not list."""
    listed = [each.strip() for each in (await t.value("CustomizationCtrlr", "CustomTriggers")).split(",")]
    t.needs(any(listed), "it has no custom triggers")
    answer = await t.ask("TriggerMessage", requestedMessage="CustomTrigger", customTrigger="v2g-unknown")
    t.check(answer["status"] == "NotImplemented", "F06.FR.19", f"answers {answer['status']} to an unknown trigger")
    name = _LIMIT if _LIMIT in listed else next(filter(None, listed))
    if name == _LIMIT:  # which there is only with a limit
        await outside(t, "limit", 6000)
        await given(t.expect(_LIMIT, "K12.FR.02"))
    t.forget()
    answer = await t.ask("TriggerMessage", requestedMessage="CustomTrigger", customTrigger=name)
    not_rejected(answer["status"], name)
    t.check(answer["status"] == "Accepted", "F06.FR.18", f"answers {answer['status']} to {name}")
    if name in known(t.version):
        await t.expect(name, "F06.FR.18")
    elif await t.find(lambda _: True) is None:
        raise Failed(f"sends nothing for {name}", "F06.FR.18")


_LIMIT: Final = "NotifyChargingLimit"
