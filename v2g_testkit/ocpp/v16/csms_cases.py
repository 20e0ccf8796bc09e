"""The cases of OCPP 1.6 for back ends. Ids are those of its certification; the scripts are our own.

What an operator asks for is data: the request, the station's answer, and what the station reports afterwards.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, get_args

import msgspec

from v2g.ocpp.v16 import messages as v16
from v2g_testkit.ocpp.case import Block, Failed, NotApplicable, OcppCase, Payload, Profile, given
from v2g_testkit.ocpp.certificates import Authority, SigningRequest
from v2g_testkit.ocpp.csms_cases import block_a, block_b
from v2g_testkit.ocpp.v16.csms import CsmsTest16

CORE: Final[Block[CsmsTest16]] = Block(versions=("1.6",), booted=True)
CORE_COLD: Final = CORE.having(booted=False)

Steps = Sequence[tuple[str, Payload]]


class _Request(msgspec.Struct, frozen=True):
    """A case in which the back end is asked for a request."""

    number: str
    title: str
    profile: Profile
    action: str
    payload: Callable[[CsmsTest16], Payload]
    answer: Payload | None = None
    """None: the usual one."""
    then: Steps = ()
    """What the station sends afterwards."""
    needs: tuple[str, ...] = ()
    quick: bool = False


def _add(each: _Request) -> None:
    block = Block[CsmsTest16](profiles=(each.profile,), versions=("1.6",), needs=each.needs, booted=True)

    @block.case(
        f"TC_{each.number}_CSMS", each.title, requirements=(each.action,), quick=each.quick,
        required="The back end sends the request that it is asked for, and takes answer and reports.",
    )  # fmt: skip
    async def script(t: CsmsTest16) -> None:
        if each.answer is not None:
            t.answer(each.action, each.answer)
        wanted = each.payload(t)
        without = tuple(_NARROWING - wanted.keys())
        sent = await t.asked(each.action, each.action, free=_FREE, without=without, **wanted)
        _carries(t, each.action, sent, wanted)
        if each.action == "SendLocalList":  # 0 and -1 are of empty lists and of none
            t.check(sent["listVersion"] > 0, each.action, f"sends a list of version {sent['listVersion']}")
        if each.action == "ReserveNow":
            t.is_later(sent["expiryDate"], each.action)
        for action, payload in each.then:
            named = {"requestId": sent["requestId"]} if "requestId" in sent and action in _OF_REQUEST else {}
            if "connectorId" in payload:
                payload = {"errorCode": "NoError", "timestamp": t.now()} | payload
            await t.call(action, **payload, **named)

    CORE.cases.extend(block.cases)


def _carries(t: CsmsTest16, action: str, sent: Payload, wanted: Payload) -> None:
    """Check the charging profile of a request, if it has one; its id and its start are the back end's choice."""
    name = next((each for each in ("csChargingProfiles", "chargingProfile") if each in wanted), None)
    if name is None:
        return
    found, profile = sent.get(name, {}), wanted[name]
    schedule, limits = found.get("chargingSchedule", {}), profile["chargingSchedule"]
    names = (profile.keys() | {"recurrencyKind", "transactionId"}) - {"chargingProfileId", "chargingSchedule"}
    pairs = [(each, found.get(each), profile.get(each)) for each in sorted(names)]
    pairs += [(each, schedule.get(each), limits[each]) for each in limits.keys() - {"startSchedule"}]
    for field, has, value in pairs:
        t.check(has == value, action, f"sets {field} {has!r} instead of {value!r}")
    if "validTo" in found:
        t.is_later(found["validTo"], action)


_FREE: Final = (
    "reservationId", "listVersion", "csChargingProfiles", "chargingProfile", "location", "log", "firmware",
    "retrieveDate", "expiryDate", "retries", "retryInterval", "certificate", "duration",
)  # fmt: skip
_NARROWING: Final = frozenset({"connectorId", "id", "key", "stackLevel"})
"""Fields that make another request of one that was asked for without them."""

_OF_REQUEST: Final = frozenset({"LogStatusNotification", "SignedFirmwareStatusNotification"})


def _said(**payload: object) -> Callable[[CsmsTest16], Payload]:
    return lambda _: dict(payload)


def _firmware(*statuses: str) -> Steps:
    return [("FirmwareStatusNotification", {"status": each}) for each in statuses]


def _signed(*statuses: str) -> Steps:
    return [("SignedFirmwareStatusNotification", {"status": each}) for each in statuses]


def _diagnostics(*statuses: str) -> Steps:
    return [("DiagnosticsStatusNotification", {"status": each}) for each in statuses]


def _reservation(t: CsmsTest16, connector: int = 1) -> Payload:
    return {
        "connectorId": connector, "expiryDate": t.later(60), "idTag": t.declared.token.id, "reservationId": t.next_id()
    }  # fmt: skip


def profile(t: CsmsTest16, purpose: str, **more: object) -> Payload:
    """Return a charging profile of 8 A."""
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 8.0}]}
    return {
        "chargingProfileId": t.next_id(), "stackLevel": 0, "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative" if purpose == "TxProfile" else "Absolute",
        "chargingSchedule": schedule | ({} if purpose == "TxProfile" else {"startSchedule": t.later(0)}), **more,
    }  # fmt: skip


def _updated(t: CsmsTest16) -> Payload:
    root = Authority("ManufacturerRootCertificate", t.now())
    firmware = {
        "location": "https://updates.example/image.bin", "retrieveDateTime": t.now(), "signingCertificate": root.pem,
        "signature": "c2lnbmF0dXJl",
    }  # fmt: skip
    return {"requestId": t.next_id(), "firmware": firmware}


_LISTS: Final = ("local list",)
_FIRMWARE: Final = ("firmware",)
_LOG: Final = ("LogStatusNotification", {"status": "Uploading"}), ("LogStatusNotification", {"status": "Uploaded"})
_HASH: Final = {
    "hashAlgorithm": "SHA256", "issuerNameHash": "aa" * 32, "issuerKeyHash": "bb" * 32, "serialNumber": "4711",
}  # fmt: skip
_LOCATION: Final = "ftp://files.example/diagnostics"

REQUESTS: Final = (
    _Request("017_1", "Unlock without a transaction", "Core", "UnlockConnector", _said(connectorId=1), quick=True),
    _Request("017_2", "Unlock a fixed cable", "Core", "UnlockConnector", _said(connectorId=1),
             {"status": "NotSupported"}),
    _Request("030", "Unlocking fails", "Core", "UnlockConnector", _said(connectorId=1), {"status": "UnlockFailed"}),
    _Request("031", "Unlock an unknown connector", "Core", "UnlockConnector", _said(connectorId=2),
             {"status": "NotSupported"}),
    _Request("019_1", "Read all configuration", "Core", "GetConfiguration", _said(), quick=True),
    _Request("019_2", "Read one key", "Core", "GetConfiguration", _said(key=["SupportedFeatureProfiles"])),
    _Request("021", "Change configuration", "Core", "ChangeConfiguration",
             _said(key="MeterValueSampleInterval", value="120"), quick=True),
    _Request("040_1", "Change an unknown key", "Core", "ChangeConfiguration",
             _said(key="BlinkRepeat", value="2"), {"status": "NotSupported"}),
    _Request("040_2", "Change to a wrong value", "Core", "ChangeConfiguration",
             _said(key="MeterValueSampleInterval", value="1"), {"status": "Rejected"}),
    _Request("061", "Clear the cache", "Core", "ClearCache", _said()),
    _Request("026", "Remote start is rejected", "Core", "RemoteStartTransaction",
             lambda t: {"connectorId": 1, "idTag": t.declared.token.id}, {"status": "Rejected"}),
    _Request("042_1", "Version of a list that is not supported", "Local Authorization List Management",
             "GetLocalListVersion", _said(), {"listVersion": -1}, needs=_LISTS),
    _Request("042_2", "Version of an empty list", "Local Authorization List Management", "GetLocalListVersion",
             _said(), {"listVersion": 0}, needs=_LISTS),
    *(_Request(number, f"A list: {kind}, {status}", "Local Authorization List Management", "SendLocalList",
               lambda t, kind=kind: {  # type: ignore[misc]
                   "listVersion": t.next_id(), "updateType": kind, "localAuthorizationList": [
                       {"idTag": t.declared.token.id, "idTagInfo": {"status": "Accepted"}}]},
               {"status": status}, needs=_LISTS)
      for number, kind, status in (
          ("043_1", "Full", "NotSupported"), ("043_3", "Full", "Failed"), ("043_4", "Full", "Accepted"),
          ("043_5", "Differential", "Accepted"))),
    *(_Request(number, f"Firmware: {reports[-1]}", "Firmware Management", "UpdateFirmware",
               lambda t: {"location": "ftp://files.example/image.bin", "retrieveDate": t.now()}, {},
               _firmware(*reports), _FIRMWARE)
      for number, reports in (
          ("044_1", ("Downloading", "Downloaded", "Installing", "Installed")),
          ("044_2", ("Downloading", "DownloadFailed")),
          ("044_3", ("Downloading", "Downloaded", "Installing", "InstallationFailed")))),
    *(_Request(number, f"Diagnostics: {end}", "Firmware Management", "GetDiagnostics", _said(location=_LOCATION),
               {"fileName": "d.log"}, _diagnostics("Uploading", end), ("diagnostics",))
      for number, end in (("045_1", "Uploaded"), ("045_2", "UploadFailed"))),
    *(_Request(number, f"A reservation is {status}", "Reservation", "ReserveNow", _reservation, {"status": status},
               needs=("reservation",))
      for number, status in (
          ("048_1", "Faulted"), ("048_2", "Occupied"), ("048_3", "Unavailable"), ("048_4", "Rejected"))),
    _Request("049", "A reservation of the station", "Reservation", "ReserveNow", lambda t: _reservation(t, 0),
             needs=("reservation of the station",)),
    _Request("054", "Trigger a message", "Remote Trigger", "TriggerMessage",
             _said(requestedMessage="MeterValues", connectorId=1), needs=("trigger",), quick=True),
    _Request("055", "A trigger is rejected", "Remote Trigger", "TriggerMessage",
             _said(requestedMessage="MeterValues", connectorId=1), {"status": "Rejected"}, needs=("trigger",)),
    _Request("056", "A default profile", "Smart Charging", "SetChargingProfile",
             lambda t: {"connectorId": 1, "csChargingProfiles": profile(t, "TxDefaultProfile")},
             needs=("smart charging",)),
    _Request("059", "Remote start with a profile", "Smart Charging", "RemoteStartTransaction",
             lambda t: {"connectorId": 1, "idTag": t.declared.token.id, "chargingProfile": profile(t, "TxProfile")},
             needs=("smart charging",)),
    _Request("066", "A composite schedule", "Smart Charging", "GetCompositeSchedule",
             _said(connectorId=1, duration=300), needs=("smart charging",)),
    _Request("067", "Clear profiles", "Smart Charging", "ClearChargingProfile",
             _said(connectorId=1, chargingProfilePurpose="TxDefaultProfile"), needs=("smart charging",)),
    _Request("075_1", "Install a maker's root", "Advanced Security", "InstallCertificate",
             lambda t: {"certificateType": "ManufacturerRootCertificate",
                        "certificate": Authority("ManufacturerRootCertificate", t.now()).pem}, needs=("security",)),
    _Request("075_2", "Install a root of the back end", "Advanced Security", "InstallCertificate",
             lambda t: {"certificateType": "CentralSystemRootCertificate",
                        "certificate": Authority("CSMSRootCertificate", t.now()).pem}, needs=("security",)),
    _Request("076", "Delete a certificate", "Advanced Security", "DeleteCertificate",
             _said(certificateHashData=_HASH), needs=("security",)),
    _Request("079", "The security log", "Advanced Security", "GetLog",
             lambda t: {"logType": "SecurityLog", "requestId": t.next_id(), "log": {"remoteLocation": _LOCATION}},
             {"status": "Accepted", "filename": "security.log"}, _LOG, ("security",)),
    *(_Request(number, f"Signed firmware: {reports[-1]}", "Advanced Security", "SignedUpdateFirmware", _updated,
               None, _signed(*reports), ("security",))
      for number, reports in (
          ("080", ("Downloading", "Downloaded", "SignatureVerified", "Installing", "Installed")),
          ("081", ("Downloading", "Downloaded", "InvalidSignature")))),
)  # fmt: skip
"""What an operator asks for."""


# -- boot and reset


@CORE_COLD.case("TC_001_CSMS", "Cold boot", requirements="BootNotification", quick=True)
async def cold_boot(t: CsmsTest16) -> None:
    """The back end accepts a station that it knows, the state of its connectors, and heartbeats."""
    await t.booted()
    t.is_now((await t.call("Heartbeat"))["currentTime"], "Heartbeat")


@CORE_COLD.case("TC_002_CSMS", "Cold boot, pending", requirements="BootNotification", needs=("boot: pending",))
async def pending(t: CsmsTest16) -> None:
    """The back end answers Pending first, and asks nothing that a station may not do yet; then it accepts it."""
    await t.registration("Pending")
    await t.connect()
    t.equal((await t.boot())["status"], "Pending", "BootNotification", "answers {} instead of Pending")
    t.check(not t.received("RemoteStartTransaction"), "BootNotification", "starts a transaction while it is pending")
    await t.operate("Registration", status="Accepted")
    await t.booted()


def _case_of_reset(number: str, kind: str, reason: str, *, charging: bool) -> None:
    @CORE.case(
        f"TC_{number}_CSMS", f"{kind} reset {'with' if charging else 'without'} a transaction", requirements=("Reset",),
        required="The back end asks for it, and accepts the station again.",
    )  # fmt: skip
    async def script(t: CsmsTest16) -> None:
        transaction = await t.start(t.declared.token.id) if charging else 0
        await t.asked("Reset", "Reset", type=kind)
        if charging:
            await t.stop(transaction, reason)
        await t.disconnect()
        await t.booted()


for _number, _kind, _charging in (
    ("013", "Hard", False), ("014", "Soft", False), ("015", "Hard", True), ("016", "Soft", True),
):  # fmt: skip
    _case_of_reset(_number, _kind, f"{_kind}Reset", charging=_charging)


# -- a session


@CORE.case("TC_003_CSMS", "Session, the cable first", requirements="StartTransaction StopTransaction", quick=True)
async def cable_first(t: CsmsTest16) -> None:
    """The back end accepts a valid token, gives the transaction an id, and takes its end."""
    tag = t.declared.token.id
    await t.connector("Preparing")
    await t.knows(tag, "Accepted")
    transaction = await t.start(tag)
    await t.connector("Charging")
    await _meter(t, transaction)
    await t.stop(transaction, idTag=tag)
    await t.connector("Finishing")
    await t.connector("Available")


async def _meter(t: CsmsTest16, transaction: int) -> None:
    values = [{"timestamp": t.now(), "sampledValue": [{"value": "1200", "context": "Sample.Periodic"}]}]
    answer = await t.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=values)
    t.check(answer == {}, "MeterValues", f"answers {answer}")


@CORE.case("TC_004_1_CSMS", "Session, the token first", requirements="Authorize StartTransaction")
async def token_first(t: CsmsTest16) -> None:
    """The back end accepts it, and the transaction."""
    await t.knows(t.declared.token.id, "Accepted")
    await t.connector("Preparing")
    await t.start(t.declared.token.id)
    await t.connector("Charging")


@CORE.case("TC_004_2_CSMS", "The token first, and no cable in time", requirements="StatusNotification")
async def no_cable(t: CsmsTest16) -> None:
    """The back end takes that the connector is available again."""
    await t.knows(t.declared.token.id, "Accepted")
    await t.connector("Preparing")
    await t.connector("Available")


@CORE.case("TC_005_1_CSMS", "The vehicle is disconnected", requirements="StopTransaction")
async def disconnected(t: CsmsTest16) -> None:
    """The back end takes the end, and the states after it."""
    transaction = await t.start(t.declared.token.id)
    await t.connector("SuspendedEV")
    await t.stop(transaction, "EVDisconnected")
    await t.connector("Finishing")
    await t.connector("Available")


def _case_of_token(number: str, what: str, tag: Callable[[CsmsTest16], str], *statuses: str) -> None:
    @CORE.case(
        f"TC_{number}_CSMS", f"A token that is {what}", requirements=("Authorize",),
        required=f"The back end says {' or '.join(statuses)}.",
    )  # fmt: skip
    async def script(t: CsmsTest16) -> None:
        await t.knows(tag(t), *statuses)


_case_of_token("023_1", "not known", lambda t: t.declared.unknown_token.id, "Invalid")
_case_of_token("023_2", "expired", lambda t: t.declared.expired_token.id, "Expired")
_case_of_token("023_3", "blocked", lambda t: t.declared.blocked_token.id, "Blocked")


@CORE.case("V2G-03-CSMS16", "A token in letters of the other case", requirements="IdToken")
async def other_case(t: CsmsTest16) -> None:
    """The back end accepts it."""
    await t.knows(t.declared.token.id.swapcase(), "Accepted")


@CORE.case("V2G-04-CSMS16", "Tokens of a group", requirements="IdTagInfo", needs=("groups",))
async def group(t: CsmsTest16) -> None:
    """The back end names the group as parentIdTag, the same one for each of its tokens."""
    for token in (t.declared.token, t.declared.group_token):
        parent = (await t.knows(token.id, "Accepted")).get("parentIdTag", "")
        own = parent.upper() == t.declared.group.upper()
        t.check(own, "IdTagInfo", f"names {parent or 'nothing'} as the group of {token.id}")


@CORE.case("V2G-05-CSMS16", "Transactions with tokens that are not accepted", requirements="StartTransaction")
async def unaccepted(t: CsmsTest16) -> None:
    """The back end takes the transaction, and says what it thinks of the token, also at the end."""
    blocked = ("Blocked", "Expired", "Invalid")
    for token in (t.declared.blocked_token, t.declared.expired_token, t.declared.unknown_token):
        transaction = await t.start(token.id, *blocked)
        info = (await t.stop(transaction, "DeAuthorized", idTag=token.id)).get("idTagInfo", {})
        t.one_of(info.get("status", "Invalid"), blocked, "StopTransaction", f"answers {token.id} with {{}}")


@CORE.case("TC_024_CSMS", "The lock fails", requirements="StatusNotification")
async def lock_failure(t: CsmsTest16) -> None:
    """The back end takes the fault of a connector."""
    await t.knows(t.declared.token.id, "Accepted")
    await t.connector("Faulted", errorCode="ConnectorLockFailure")
    await t.connector("Available")


@CORE.case("TC_032_1_CSMS", "Transactions end before a power failure", requirements="StopTransaction")
async def power_failure(t: CsmsTest16) -> None:
    """The back end takes the end once the station is back, and accepts the station."""
    transaction = await t.start(t.declared.token.id)
    await t.away()
    await t.booted()
    await t.stop(transaction, "PowerLoss")


@CORE.case("TC_037_1_CSMS", "A transaction of an hour ago", requirements="StartTransaction")
async def offline_start(t: CsmsTest16) -> None:
    """The back end accepts it, also when it comes a second time, and gives another transaction another id."""
    began = t.later(-3600)
    ids = [await t.start(t.declared.token.id, at=began) for _ in range(2)]  # of the second OCPP says nothing
    other = await t.start(t.declared.token.id, connector=2)
    t.check(other not in ids, "StartTransaction", f"gives two transactions the id {other}")


@CORE.case("TC_037_3_CSMS", "A transaction whose token is not known", requirements="StartTransaction")
async def offline_invalid(t: CsmsTest16) -> None:
    """The back end says so, and takes the end."""
    transaction = await t.start(t.declared.unknown_token.id, "Invalid", at=t.later(-3600))
    await t.stop(transaction, "DeAuthorized")


@CORE.case("TC_039_CSMS", "A whole transaction of an hour ago", requirements="StartTransaction StopTransaction")
async def offline(t: CsmsTest16) -> None:
    """The back end takes it, also when its end comes a second time."""
    transaction = await t.start(t.declared.token.id, at=t.later(-3600))
    for _ in range(2):
        await t.stop(transaction, timestamp=t.later(-60))


# -- what stations may report

_SAMPLES: Final[tuple[Payload, ...]] = (
    {"value": "1200.5"},
    {"value": "1.2", "measurand": "Energy.Active.Import.Register", "unit": "kWh", "phase": "L1", "location": "Inlet"},
    {"value": "-3.5", "measurand": "Power.Active.Import", "unit": "kW", "context": "Interruption.Begin"},
    {"value": "16", "measurand": "Current.Import", "unit": "A", "phase": "N", "context": "Trigger"},
    {"value": "400", "measurand": "Voltage", "unit": "V", "phase": "L1-L2", "context": "Sample.Clock"},
    {"value": "21", "measurand": "Temperature", "unit": "Celsius", "location": "Body", "context": "Other"},
    {"value": "50", "measurand": "SoC", "unit": "Percent", "location": "EV", "context": "Transaction.Begin"},
    {"value": "00ff", "format": "SignedData", "context": "Transaction.End"},
)


def _readings(t: CsmsTest16) -> list[Payload]:
    return [{"timestamp": t.now(), "sampledValue": list(_SAMPLES)}]


@CORE_COLD.case("V2G-06-CSMS16", "All that a station may say of itself", requirements="BootNotification")
async def whole_boot(t: CsmsTest16) -> None:
    """The back end takes every field of BootNotification."""
    await t.connect()
    more = {name: name for name in ("firmwareVersion", "meterSerialNumber", "meterType")}
    own = t.attempt.station.identity  # a serial number has to be that of the station's certificate
    answer = await t.boot(**more, chargeBoxSerialNumber=own, iccid="8988303000001234567", imsi="262011234567890")
    t.equal(answer["status"], "Accepted", "BootNotification", "answers {}")


@CORE.case("V2G-07-CSMS16", "States of every kind", requirements="StatusNotification")
async def states(t: CsmsTest16) -> None:
    """The back end takes each state and error of a connector, also without a time."""
    for status in (*get_args(v16.ChargePointStatus), "Available"):
        await t.connector(status)
    for error in (*get_args(v16.ChargePointErrorCode), "NoError"):
        about = {"info": "text", "vendorId": "com.example", "vendorErrorCode": "E1"}
        await t.call("StatusNotification", connectorId=2, errorCode=error, status="Available", **about)


@CORE.case("V2G-08-CSMS16", "Readings of every kind", requirements="MeterValues")
async def readings(t: CsmsTest16) -> None:
    """The back end takes readings in a transaction, after its end, without one, and of the whole station."""
    transaction = await t.start(t.declared.token.id)
    await t.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=_readings(t))
    await t.stop(transaction)
    await t.call("MeterValues", connectorId=1, transactionId=transaction, meterValue=_readings(t))
    for connector in (0, 2):
        await t.call("MeterValues", connectorId=connector, meterValue=_readings(t))


@CORE.case("V2G-09-CSMS16", "Ends of every kind", requirements="StopTransaction")
async def ends(t: CsmsTest16) -> None:
    """The back end takes each reason, and none; an end with and without a token and readings; an unknown transaction;
    and a transaction beside one that has not ended."""
    for reason in (*get_args(v16.StopReason), ""):
        data: Payload = {"transactionData": _readings(t)} if reason == "Local" else {}
        await t.stop(await t.start(t.declared.token.id), reason, **data)
    await t.stop(2_000_000_000)
    lost = await t.start(t.declared.token.id)
    await t.stop(await t.start(t.declared.token.id, meterStart=1600), meter=1700)
    await t.stop(lost, "PowerLoss", meter=1600)


@CORE.case("V2G-10-CSMS16", "A connection without a boot", requirements="OCPP-J 5.4")
async def connects_again(t: CsmsTest16) -> None:
    """The back end takes what a station sends that has lost its connection only."""
    transaction = await t.start(t.declared.token.id)
    await t.disconnect()
    await t.connect()
    await _meter(t, transaction)
    await t.stop(transaction)
    await t.connector("Available")


CORE.case("V2G-11-CSMS16", "Request that no version has", requirements=("OCPP-J 4.3",))(block_b.unknown_action)


@CORE.case("TC_064_CSMS", "Data transfer to the back end", requirements="DataTransfer")
async def transfer(t: CsmsTest16) -> None:
    """The back end does not know the vendor, or takes it."""
    answer = await t.call("DataTransfer", vendorId="com.example.nobody", messageId="1", data="x")
    statuses = ("Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId")
    t.check(answer["status"] in statuses, "DataTransfer", f"answers {answer['status']}")


# -- remote


@CORE.case("TC_010_CSMS", "Remote start", requirements="RemoteStartTransaction", quick=True)
async def remote_start(t: CsmsTest16) -> None:
    """The back end asks for it, and accepts the transaction."""
    await t.connector("Preparing")
    sent = await t.asked("RemoteStartTransaction", connectorId=1, idTag=t.declared.token.id)
    await t.knows(sent["idTag"], "Accepted")
    await t.start(sent["idTag"])
    await t.connector("Charging")


@CORE.case("TC_007_CSMS", "A token that the station has cached", requirements="StartTransaction")
async def cached(t: CsmsTest16) -> None:
    """The back end accepts a transaction that no Authorize has announced."""
    await t.connector("Preparing")
    transaction = await t.start(t.declared.token.id)
    await t.connector("Charging")
    await t.stop(transaction, idTag=t.declared.token.id)


@CORE.case("TC_011_CSMS", "Remote start, and no cable in time", requirements="RemoteStartTransaction")
async def remote_start_expires(t: CsmsTest16) -> None:
    """The back end takes that the connector is available again, and asks for another one."""
    for _ in range(2):
        sent = await t.asked("RemoteStartTransaction", connectorId=1, idTag=t.declared.token.id)
        await t.knows(sent["idTag"], "Accepted")
        await t.connector("Preparing")
        await t.connector("Available")


@CORE.case("TC_012_CSMS", "Remote stop", requirements="RemoteStopTransaction", quick=True)
async def remote_stop(t: CsmsTest16) -> None:
    """The back end asks for it by the transaction's id, and takes its end."""
    transaction = await t.start(t.declared.token.id)
    await t.asked("RemoteStopTransaction", "RemoteStopTransaction", transactionId=transaction)
    await t.stop(transaction, "Remote")


@CORE.case("TC_028_CSMS", "Remote stop is rejected", requirements="RemoteStopTransaction")
async def remote_stop_rejected(t: CsmsTest16) -> None:
    """The back end takes that, and what the transaction reports afterwards."""
    t.answer("RemoteStopTransaction", {"status": "Rejected"})
    transaction = await t.start(t.declared.token.id)
    await t.asked("RemoteStopTransaction", "RemoteStopTransaction", transactionId=transaction)
    await _meter(t, transaction)


@CORE.case("TC_018_1_CSMS", "Unlock in a transaction", requirements="UnlockConnector")
async def unlock(t: CsmsTest16) -> None:
    """The back end asks for it, and takes the end of the transaction."""
    transaction = await t.start(t.declared.token.id)
    await t.asked("UnlockConnector", "UnlockConnector", connectorId=1)
    await t.stop(transaction, "UnlockCommand")


RESERVATION: Final[Block[CsmsTest16]] = Block(
    profiles=("Reservation",), versions=("1.6",), needs=("reservation",), booted=True
)


@RESERVATION.case("TC_046_CSMS", "A reservation is used", requirements="ReserveNow")
async def reserved(t: CsmsTest16) -> None:
    """The back end reserves, and accepts the transaction that names the reservation."""
    sent = await _reserved(t)
    await t.connector("Reserved")
    await t.start(sent["idTag"], reservationId=sent["reservationId"])


def _case_of_cancelling(number: str, title: str, status: str) -> None:
    @RESERVATION.case(f"TC_{number}_CSMS", title, requirements=("CancelReservation",))
    async def script(t: CsmsTest16) -> None:
        """The back end cancels the reservation that it made, by its id, and takes the answer."""
        t.answer("CancelReservation", {"status": status})
        sent = await given(_reserved(t))
        await t.asked("CancelReservation", "CancelReservation", reservationId=sent["reservationId"])


_case_of_cancelling("051", "Cancel a reservation", "Accepted")
_case_of_cancelling("052", "Cancelling is rejected", "Rejected")


async def _reserved(t: CsmsTest16) -> Payload:
    """Have the back end reserve connector 1, until the end of the case at the latest; return its request."""
    sent = await t.asked("ReserveNow", "ReserveNow", free=_FREE, **_reservation(t))

    async def cancel() -> None:
        t.answer("CancelReservation", {"status": "Accepted"})
        await t.operate("CancelReservation", reservationId=sent["reservationId"])

    t.undo(cancel)
    return sent


@RESERVATION.case("TC_047_CSMS", "A reservation expires", requirements="ReserveNow")
async def expires(t: CsmsTest16) -> None:
    """The back end takes that the connector is available again after the time, and accepts a transaction there."""
    wanted = _reservation(t) | {"expiryDate": t.later(4)}
    await t.asked("ReserveNow", "ReserveNow", free=_FREE, **wanted)
    await t.connector("Reserved")
    await asyncio.sleep(max(0.0, t.until(wanted["expiryDate"])) + 1)
    await t.connector("Available")
    await t.start(t.declared.token.id)


SMART: Final[Block[CsmsTest16]] = Block(
    profiles=("Smart Charging",), versions=("1.6",), needs=("smart charging",), booted=True
)


@SMART.case("TC_057_CSMS", "A profile of a transaction", requirements="SetChargingProfile")
async def transaction_profile(t: CsmsTest16) -> None:
    """The back end sends it with the transaction's id."""
    transaction = await t.start(t.declared.token.id)
    wanted = profile(t, "TxProfile", transactionId=transaction)
    sent = await t.asked("SetChargingProfile", free=_FREE, connectorId=1, csChargingProfiles=wanted)
    _carries(t, "SetChargingProfile", sent, {"csChargingProfiles": wanted})


# -- security

SECURITY: Final[Block[CsmsTest16]] = Block(profiles=("Advanced Security",), versions=("1.6",), needs=("security",))


def _case_of_event(number: str, kind: str) -> None:
    @SECURITY.case(
        f"TC_{number}_CSMS", f"Security event {kind}", requirements=("SecurityEventNotification",),
        required="The back end takes it.",
    )  # fmt: skip
    async def script(t: CsmsTest16) -> None:
        await t.ready()
        answer = await t.call("SecurityEventNotification", type=kind, timestamp=t.now())
        t.check(answer == {}, "SecurityEventNotification", f"answers {answer}")


_case_of_event("077", "InvalidChargePointCertificate")
_case_of_event("078", "InvalidCentralSystemCertificate")


@SECURITY.case("TC_074_CSMS", "A new certificate", requirements="SignCertificate CertificateSigned")
async def certificate(t: CsmsTest16) -> None:
    """The back end has the station asked for its request, accepts it, and sends a valid certificate for its key."""
    await t.ready()
    await t.asked("ExtendedTriggerMessage", requestedMessage="SignChargePointCertificate")
    request = SigningRequest(t.attempt.station.identity)
    answer = await t.call("SignCertificate", csr=request.pem)
    t.check(answer["status"] == "Accepted", "SignCertificate", f"answers {answer['status']}")
    sent = await t.expect("CertificateSigned", "CertificateSigned")
    block_a.is_signed(t, request, sent["certificateChain"], "CertificateSigned")


@SECURITY.case("TC_073_CSMS", "A new password", requirements="AuthorizationKey", needs=("security", "password change"))
async def new_password(t: CsmsTest16) -> None:
    """The back end sets a password; once the station has accepted it, it takes the new one only."""
    before = t.attempt
    if before.security_profile not in (1, 2) or before.station.password is None:
        raise NotApplicable("the station connects without a password")
    old, new = before.station.password, "a-new-password-of-the-lab"

    async def sets(wanted: str) -> str:
        sent = await t.asked("ChangeConfiguration", free=("value",), key="AuthorizationKey", value=wanted)
        return str(sent["value"])

    async def enters(key: str) -> str:
        """Let the station in with the octets whose hexadecimal digits a key is, or with its text; return which."""
        with contextlib.suppress(ValueError, Failed):
            return await shows(bytes.fromhex(key).decode(errors="surrogateescape"))
        return await shows(key)

    async def shows(password: str) -> str:
        station = msgspec.structs.replace(before.station, password=password)
        await t.let_in("AuthorizationKey", msgspec.structs.replace(before, station=station))
        return password

    async def restore() -> None:
        t.keep_password(await enters(await sets(old)))

    await t.ready()
    t.keep_password(await enters(await sets(new)))
    t.undo(restore)
    await t.booted()
    await t.turned_away(before, "AuthorizationKey", "the old password")
    await t.ready()


@SECURITY.case("TC_083_CSMS", "A higher security profile", requirements="SecurityProfile")
async def higher_profile(t: CsmsTest16) -> None:
    """The back end sets the profile, and restarts the station."""
    await t.ready()
    await t.asked("ChangeConfiguration", "ChangeConfiguration", key="SecurityProfile", value="2")
    await t.asked("Reset", "Reset", type="Hard", free=("type",))
    await t.disconnect()
    await t.booted()


@SECURITY.case("TC_084_CSMS", "A security profile that the station rejects", requirements="SecurityProfile")
async def profile_rejected(t: CsmsTest16) -> None:
    """The back end takes that, and goes on with the station as it is."""
    t.answer("ChangeConfiguration", {"status": "Rejected"})
    await t.ready()
    await t.asked("ChangeConfiguration", "ChangeConfiguration", key="SecurityProfile", value="3")
    t.is_now((await t.call("Heartbeat"))["currentTime"], "Heartbeat")


@SECURITY.case("TC_085_CSMS", "Passwords", requirements=("Profile 1",))
async def passwords(t: CsmsTest16) -> None:
    """The back end lets a station in by its password, and not by another one, nor under another name."""
    for script in (block_a.right_password, block_a.wrong_password, block_a.other_username):
        await script(t)


SECURITY.case("TC_086_CSMS", "TLS with the certificate of the back end", requirements=("Profile 2",))(block_a.tls)
SECURITY.case("TC_087_CSMS", "TLS with certificates of both", requirements=("Profile 3",))(block_a.own_certificate)
SECURITY.case("V2G-01-CSMS16", "TLS version too low", requirements=("Profile 2",))(block_a.old_version)
SECURITY.case("V2G-02-CSMS16", "Invalid certificate of the station", requirements=("Profile 3",))(
    block_a.invalid_certificate
)
SECURITY.case("TC_088_CSMS", "WebSocket subprotocols", requirements=("OCPP-J 3.3",))(block_b.subprotocols)


for _each in REQUESTS:
    _add(_each)

CSMS_CASES_16: Final[tuple[OcppCase[CsmsTest16], ...]] = tuple(
    case for block in (CORE, RESERVATION, SMART, SECURITY) for case in block.cases
)
