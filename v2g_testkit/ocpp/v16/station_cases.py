"""The cases of OCPP 1.6 for charging stations. Ids are those of its certification; the scripts are our own.

Requirements are named by the message whose rules they are: public texts number no requirements of 1.6.
"""

import itertools
from typing import Final

from v2g.ocpp.times import parse_time
from v2g_testkit.ocpp.case import Block, Failed, Inconclusive, OcppCase, Payload, given, precondition
from v2g_testkit.ocpp.connection import CallError, having
from v2g_testkit.ocpp.declaration import Token
from v2g_testkit.ocpp.run_judge import AHEAD_MS, readings_of
from v2g_testkit.ocpp.v16.station import StationTest16
from v2g_testkit.ocpp.v16.station_security import FIRMWARE, SECURITY

CORE: Final[Block[StationTest16]] = Block(versions=("1.6",))
TRIGGER: Final[Block[StationTest16]] = Block(profiles=("Remote Trigger",), versions=("1.6",), needs=("RemoteTrigger",))
LISTS: Final[Block[StationTest16]] = Block(
    profiles=("Local Authorization List Management",), versions=("1.6",), needs=("LocalAuthListManagement",)
)
RESERVATION: Final[Block[StationTest16]] = Block(profiles=("Reservation",), versions=("1.6",), needs=("Reservation",))
SMART: Final[Block[StationTest16]] = Block(profiles=("Smart Charging",), versions=("1.6",), needs=("SmartCharging",))
SOON_S: Final = 10.0
"""How long nothing may come that must not come, s."""


# -- boot, reset


async def _reboot(t: StationTest16, kind: str) -> None:
    await t.says("Reset", "Accepted", type=kind)


@CORE.case("TC_001_CS", "Cold boot", requirements="BootNotification Heartbeat", quick=True)
async def cold_boot(t: StationTest16) -> None:
    """A rejected station waits for the interval; an accepted one reports its connectors, and sends heartbeats."""
    t.answer("BootNotification", {"currentTime": t.now(), "interval": 10, "status": "Rejected"})
    with precondition():
        async with t.reconnects():
            await _reboot(t, "Hard")
        await t.expect("BootNotification", skip=True)
    t.answer("BootNotification", {"currentTime": t.now(), "interval": 10, "status": "Accepted"})
    await t.nothing("BootNotification", "BootNotification", within=8)
    for action in ("StatusNotification", "Heartbeat", "MeterValues"):
        t.check(not t.seen(action), "BootNotification", f"sends {action} while it is rejected")
    await t.expect("BootNotification")
    for connector in range(t.declared.evses + 1):
        await t.status("Available", connector)
    for _ in range(2):
        await t.expect("Heartbeat", within=t.after(10))


@CORE.case("TC_002_CS", "Cold boot, pending", requirements="BootNotification ChangeConfiguration")
async def pending(t: StationTest16) -> None:
    """A pending station takes configuration, and boots again after the interval."""
    t.answer("BootNotification", {"currentTime": t.now(), "interval": 10, "status": "Pending"})
    with precondition():
        async with t.reconnects():
            await _reboot(t, "Hard")
        await t.expect("BootNotification", skip=True)
    t.check(await t.read("HeartbeatInterval") is not None, "GetConfiguration", "does not tell HeartbeatInterval")
    changed = await t.change("MeterValueSampleInterval", "70")
    t.one_of(changed, ("Accepted", "RebootRequired"), "ChangeConfiguration", "answers {}")
    t.check(not t.seen("StatusNotification"), "BootNotification", "sends StatusNotification while it is pending")
    t.answer("BootNotification", {"currentTime": t.now(), "interval": 300, "status": "Accepted"})
    await t.expect("BootNotification")
    await t.status("Available", within=t.after(10))  # the boot may have been one before, of a slow station


def _case_of_reset(number: str, kind: str, *, charging: bool) -> None:
    word = f"{kind} reset {'with' if charging else 'without'} a transaction"

    @CORE.case(f"TC_{number}_CS", word, requirements="Reset", required="The station ends what goes on, and boots.")
    async def script(t: StationTest16) -> None:
        transaction = await t.in_transaction() if charging else 0
        t.forget()
        async with t.reconnects():
            await _reboot(t, kind)
            if charging and kind == "Soft":
                await t.stopped(transaction, "SoftReset")
        await t.expect("BootNotification")
        if charging and kind == "Hard":
            await t.stopped(transaction, "HardReset", "PowerLoss", "Reboot")


for _number, _kind, _charging in (
    ("013", "Hard", False), ("014", "Soft", False), ("015", "Hard", True), ("016", "Soft", True),
):  # fmt: skip
    _case_of_reset(_number, _kind, charging=_charging)


# -- a session


@CORE.case("TC_003_CS", "Session, the cable first", requirements="StartTransaction StopTransaction", quick=True)
async def cable_first(t: StationTest16) -> None:
    """The station reports each state, asks about the token, and starts and stops with its meter."""
    await given(t.wants(LocalPreAuthorize=False))
    await t.plug()
    await t.status("Preparing")
    await t.present()
    await t.expect("Authorize", idTag=t.token.id)
    start = await _start(t)
    await t.status("Charging")
    await t.present()
    stop = await t.expect("StopTransaction")
    t.check(stop.get("reason", "Local") == "Local", "StopTransaction", f"stops for {stop.get('reason')}")
    t.check(stop["meterStop"] >= start["meterStart"], "StopTransaction", "the meter goes back")
    await t.status("Finishing")
    await t.unplug()
    await t.status("Available")


async def _start(t: StationTest16, token: Token | None = None) -> Payload:
    start = await t.expect("StartTransaction", connectorId=1)
    own = start["idTag"].upper() == (token or t.token).id.upper()
    t.check(own, "StartTransaction", f"starts with {start['idTag']}")
    return start


@CORE.case("TC_004_1_CS", "Session, the token first", requirements="StartTransaction Authorize")
async def token_first(t: StationTest16) -> None:
    """The station waits for the cable, and starts with the token."""
    await given(t.wants(LocalPreAuthorize=False))
    await t.present()
    await t.expect("Authorize", idTag=t.token.id)
    await t.plug()
    await t.status("Preparing")
    await _start(t)
    await t.status("Charging")


@CORE.case("TC_004_2_CS", "The token first, and no cable in time", requirements="ConnectionTimeOut")
async def no_cable(t: StationTest16) -> None:
    """After ConnectionTimeOut the connector is available again, and no transaction has begun."""
    await given(t.wants(ConnectionTimeOut=10), t.present())
    await _gives_up(t)
    t.check(not t.seen("StartTransaction"), "ConnectionTimeOut", "starts without a cable")
    await t.plug()
    await t.nothing("StartTransaction", "ConnectionTimeOut", within=SOON_S)


async def _gives_up(t: StationTest16) -> None:
    """Expect the end of a ConnectionTimeOut of 10 s; a station need not say that it waits for the cable."""
    prepares = having("StatusNotification", {"connectorId": 1, "status": "Preparing"})
    if await t.find(prepares, SOON_S / 2) is not None:
        await t.status("Available", within=t.after(10))
    else:
        await t.wait(t.after(10))


@CORE.case("TC_005_1_CS", "The vehicle is disconnected", requirements="StopTransactionOnEVSideDisconnect")
async def disconnected(t: StationTest16) -> None:
    """The transaction ends as EVDisconnected."""
    await given(t.wants(StopTransactionOnEVSideDisconnect=True))
    transaction = await t.in_transaction()
    await t.unplug()
    await t.stopped(transaction, "EVDisconnected")
    await t.status("Available")


@CORE.case("TC_005_3_CS", "The vehicle is disconnected, and goes on", requirements="StopTransactionOnEVSideDisconnect")
async def goes_on(t: StationTest16) -> None:
    """The transaction is suspended, and ends by its token."""
    await given(t.wants(StopTransactionOnEVSideDisconnect=False))
    transaction = await t.in_transaction()
    await t.pull()
    await t.status("SuspendedEV")
    await t.nothing("StopTransaction", "StopTransactionOnEVSideDisconnect", within=SOON_S / 2)
    await t.present()
    await t.stopped(transaction, "Local")


@CORE.case("V2G-13-CS16", "Meter values of a whole transaction", requirements="StopTxnSampledData StopTransaction")
async def transaction_data(t: StationTest16) -> None:
    """StopTransaction has readings of the register."""
    await given(_measures(t, "StopTxnSampledData"))
    transaction = await t.in_transaction()
    await t.present()
    data = (await t.stopped(transaction)).get("transactionData", ())
    kinds = {each.get("measurand", _ENERGY) for one in data for each in one["sampledValue"]}
    t.check(_ENERGY in kinds, "StopTxnSampledData", f"ends with readings of {', '.join(sorted(kinds)) or 'nothing'}")


@CORE.case("TC_007_1_CS", "A token in the cache", requirements="AuthorizationCacheEnabled LocalPreAuthorize")
async def cached(t: StationTest16) -> None:
    """The station starts without asking."""
    await given(t.wants(AuthorizationCacheEnabled=True, LocalPreAuthorize=True), t.in_transaction(), t.leave())
    t.forget()
    await t.present()
    await t.plug()
    await t.started()
    t.check(not t.seen("Authorize"), "LocalPreAuthorize", "asks about a token in its cache")


@CORE.case("TC_061_1_CS", "The cache is cleared", requirements="ClearCache")
async def cleared(t: StationTest16) -> None:
    """The station asks about a token again that was in its cache."""
    await given(t.wants(AuthorizationCacheEnabled=True, LocalPreAuthorize=True), t.in_transaction(), t.leave())
    await t.says("ClearCache", "Accepted")
    t.forget()
    await t.present()
    await t.expect("Authorize", idTag=t.token.id)
    await t.plug()
    await t.started()


@CORE.case("TC_023_4_CS", "A token that is not accepted", requirements="Authorize", quick=True)
async def invalid(t: StationTest16) -> None:
    """The station does not start for an invalid, an expired or a blocked token."""
    await given(t.wants(LocalPreAuthorize=False))
    await t.plug()
    for status in ("Invalid", "Expired", "Blocked"):
        t.answer("Authorize", {"idTagInfo": {"status": status}})
        await t.present(t.declared.unknown_token)
        await t.expect("Authorize", idTag=t.declared.unknown_token.id)
        await t.nothing("StartTransaction", "Authorize", within=SOON_S / 2)


@CORE.case("V2G-14-CS16", "A token that the cache has as blocked", requirements="LocalPreAuthorize")
async def cached_blocked(t: StationTest16) -> None:
    """The station does not start with it when it comes again."""
    await given(t.wants(AuthorizationCacheEnabled=True, LocalPreAuthorize=True), t.ask("ClearCache"))
    t.answer("Authorize", {"idTagInfo": {"status": "Blocked"}})
    await t.plug()
    for _ in range(2):
        await t.present(t.declared.unknown_token)
        await t.nothing("StartTransaction", "LocalPreAuthorize", within=SOON_S)


@CORE.case("TC_037_3_CS", "A transaction whose token is not accepted", requirements="StopTransactionOnInvalidId")
async def deauthorized(t: StationTest16) -> None:
    """The station ends it as DeAuthorized, and does so no matter what Authorize was answered."""
    with precondition():
        await t.wants(StopTransactionOnInvalidId=True)
        t.answer("StartTransaction", {"transactionId": 4711, "idTagInfo": {"status": "Invalid"}})
        await t.present()
        await t.plug()
        await t.expect("StartTransaction")
    await t.stopped(4711, "DeAuthorized")


@CORE.case("TC_068_CS", "The token that started ends", requirements="StopTransaction")
async def same_token(t: StationTest16) -> None:
    """The station ends the transaction with that token, and does not with another one."""
    transaction = await t.in_transaction()
    t.answer("Authorize", {"idTagInfo": {"status": "Accepted", "parentIdTag": "OTHERS"}})
    await t.present(t.declared.other_token)
    await t.nothing("StopTransaction", "StopTransaction", within=SOON_S / 2)
    await t.present()
    sent = await t.stopped(transaction, "Local")
    t.check(sent.get("idTag", "").upper() in ("", t.token.id.upper()), "StopTransaction", f"names {sent.get('idTag')}")


@CORE.case("TC_069_CS", "A token of the same group ends", requirements="StopTransaction")
async def same_parent(t: StationTest16) -> None:
    """The station ends the transaction with a token whose parentIdTag is that of the first."""
    await given(t.wants(LocalPreAuthorize=False))
    t.answer("Authorize", {"idTagInfo": {"status": "Accepted", "parentIdTag": "FAMILY"}})
    number = t.next_id()
    t.answer("StartTransaction", {
        "transactionId": number, "idTagInfo": {"status": "Accepted", "parentIdTag": "FAMILY"}})  # fmt: skip
    transaction = await t.in_transaction()
    await t.present(t.declared.other_token)
    sent = await t.stopped(transaction, "Local")
    t.check(sent.get("idTag", "").upper() == t.declared.other_token.id.upper(), "StopTransaction", "names no token")


@CORE.case("TC_070_CS", "Sampled meter values", requirements="MeterValueSampleInterval")
async def sampled(t: StationTest16) -> None:
    """The station sends the register each interval, with its transaction; it begins with meterStart, and does not
    fall."""
    await given(_measures(t, "MeterValuesSampledData"), t.wants(MeterValueSampleInterval=5))
    transaction = await t.in_transaction()
    values = []
    for _ in range(3):
        sent = await t.expect("MeterValues", within=t.after(5), connectorId=1)
        t.check(sent.get("transactionId") == transaction, "MeterValues", f"is of {sent.get('transactionId')}")
        samples = [each for one in sent["meterValue"] for each in one["sampledValue"]]
        kinds = [each.get("measurand", _ENERGY) for each in samples]
        t.check(_ENERGY in kinds, "MeterValuesSampledData", f"has {', '.join(kinds)} without the register")
        registers = [each for each, kind in zip(samples, kinds, strict=True) if kind == _ENERGY]
        register = next((each for each in registers if "phase" not in each), registers[0])
        values.append(float(register["value"]) * (1000 if register.get("unit") == "kWh" else 1))
    t.check(values == sorted(values), "MeterValues", f"the register goes back: {values}")
    least = t.meter_start - 1  # rounded otherwise
    t.check(values[0] >= least, "MeterValues", f"the register is {values[0]:g} Wh after {t.meter_start}: is it kWh?")


_ENERGY: Final = "Energy.Active.Import.Register"


async def _measures(t: StationTest16, key: str) -> None:
    """Let this key name the register. Raises NotApplicable."""
    if _ENERGY not in (await t.read(key) or ""):
        await t.wants(**{key: _ENERGY})


@CORE.case("TC_071_CS", "Clock-aligned meter values", requirements="ClockAlignedDataInterval")
async def aligned(t: StationTest16) -> None:
    """The station sends readings at the times of the clock."""
    settings = t.wants(MeterValueSampleInterval=0, ClockAlignedDataInterval=10)
    await given(_measures(t, "MeterValuesAlignedData"), settings)
    await t.in_transaction()
    for _ in range(2):
        sent = await t.find(lambda each: "Sample.Clock" in _contexts(each.payload), t.after(10))
        if sent is None:
            raise Failed("sends no MeterValues with the context Sample.Clock", "MeterValues")
        time = sent["meterValue"][0]["timestamp"]
        late_s = parse_time(time) / 1000 % 10
        t.check(min(late_s, 10 - late_s) < 2, "ClockAlignedDataInterval", f"has readings of {time} every 10 s")


def _contexts(payload: Payload) -> set[str]:
    """Return the contexts of a station's readings."""
    samples = [each for one in payload.get("meterValue", ()) for each in one["sampledValue"]]
    return {each.get("context", "Sample.Periodic") for each in samples}


# -- remote


@CORE.case("TC_010_CS", "Remote start, the cable first", requirements="RemoteStartTransaction", quick=True)
async def remote_cable_first(t: StationTest16) -> None:
    """The station accepts, and starts with the token; it asks about it only if AuthorizeRemoteTxRequests says so."""
    asks = await t.is_true("AuthorizeRemoteTxRequests")
    await given(t.plug(), t.status("Preparing"))
    await t.says("RemoteStartTransaction", "Accepted", idTag=t.token.id, connectorId=1)
    await t.started()
    await t.status("Charging")
    t.check(asks or not t.seen("Authorize"), "AuthorizeRemoteTxRequests", "asks about the token, though it is false")


@CORE.case("TC_011_1_CS", "Remote start, then the cable", requirements="RemoteStartTransaction")
async def remote_first(t: StationTest16) -> None:
    """The station accepts, waits for the cable, and starts with the token."""
    await t.says("RemoteStartTransaction", "Accepted", idTag=t.token.id, connectorId=1)
    await t.plug()
    await t.status("Preparing")
    await t.started()
    await t.status("Charging")


@CORE.case("TC_011_2_CS", "Remote start, and no cable in time", requirements="ConnectionTimeOut")
async def remote_no_cable(t: StationTest16) -> None:
    """After ConnectionTimeOut the connector is available again, and a cable does not start."""
    await given(t.wants(ConnectionTimeOut=10))
    await t.says("RemoteStartTransaction", "Accepted", idTag=t.token.id, connectorId=1)
    await _gives_up(t)
    await t.plug()
    await t.nothing("StartTransaction", "ConnectionTimeOut", within=SOON_S)


@CORE.case("TC_012_CS", "Remote stop", requirements="RemoteStopTransaction", quick=True)
async def remote_stop(t: StationTest16) -> None:
    """The station accepts, and ends the transaction as Remote."""
    transaction = await t.in_transaction()
    await t.says("RemoteStopTransaction", "Accepted", transactionId=transaction)
    await t.stopped(transaction, "Remote")
    await t.status("Finishing")


@CORE.case("TC_023_5_CS", "Remote start with a token that is not accepted", requirements="AuthorizeRemoteTxRequests")
async def remote_invalid(t: StationTest16) -> None:
    """The station asks about the token first, and does not start."""
    await given(t.wants(AuthorizeRemoteTxRequests=True, LocalPreAuthorize=False), t.plug())
    t.answer("Authorize", {"idTagInfo": {"status": "Invalid"}})
    tag = t.declared.unknown_token.id
    await t.says("RemoteStartTransaction", "Accepted", idTag=tag, connectorId=1)
    await t.expect("Authorize", idTag=tag)
    await t.nothing("StartTransaction", "AuthorizeRemoteTxRequests", within=SOON_S)


@CORE.case("TC_026_CS", "Remote start at a busy connector", requirements="RemoteStartTransaction")
async def remote_busy(t: StationTest16) -> None:
    """The station rejects it."""
    await t.in_transaction()
    await t.says("RemoteStartTransaction", "Rejected", idTag=t.declared.other_token.id, connectorId=1)


@CORE.case("TC_027_CS", "Remote start at connector 0", requirements="RemoteStartTransaction")
async def remote_zero(t: StationTest16) -> None:
    """The station rejects it."""
    await t.says("RemoteStartTransaction", "Rejected", idTag=t.token.id, connectorId=0)


@CORE.case("TC_028_CS", "Remote stop of an unknown transaction", requirements="RemoteStopTransaction")
async def remote_unknown(t: StationTest16) -> None:
    """The station rejects it, and goes on."""
    transaction = await t.in_transaction()
    await t.says("RemoteStopTransaction", "Rejected", transactionId=transaction + 1_000_000)
    await t.nothing("StopTransaction", "RemoteStopTransaction", within=SOON_S / 2)


@CORE.case("TC_017_2_CS", "Unlock a fixed cable", requirements="UnlockConnector")
async def unlock(t: StationTest16) -> None:
    """The station unlocks, or says that it cannot."""
    await t.says("UnlockConnector", "Unlocked", "NotSupported", connectorId=1)


@CORE.case("TC_018_1_CS", "Unlock in a transaction", requirements="UnlockConnector", needs=("detachable cable",))
async def unlock_charging(t: StationTest16) -> None:
    """The station ends the transaction as UnlockCommand, and unlocks."""
    transaction = await t.in_transaction()
    await t.says("UnlockConnector", "Unlocked", connectorId=1)
    await t.stopped(transaction, "UnlockCommand")


@CORE.case("TC_031_CS", "Unlock an unknown connector", requirements="UnlockConnector")
async def unlock_unknown(t: StationTest16) -> None:
    """The station says NotSupported."""
    await t.says("UnlockConnector", "NotSupported", connectorId=t.declared.evses + 7)


@CORE.case("TC_062_CS", "Data transfer to the station", requirements="DataTransfer")
async def transfer(t: StationTest16) -> None:
    """The station does not know the vendor."""
    answer = await t.ask("DataTransfer", vendorId="com.example.nobody", messageId="1", data="x")
    refusals = ("UnknownVendorId", "UnknownMessageId", "Rejected")
    t.check(answer["status"] in refusals, "DataTransfer", f"answers {answer['status']}")


# -- configuration


@CORE.case("TC_019_CS", "Read configuration", requirements="GetConfiguration", quick=True)
async def configuration(t: StationTest16) -> None:
    """The station tells all keys that 1.6 demands, those that are asked for, and those that it does not know."""
    answer = await t.ask("GetConfiguration")
    found = {each["key"].lower() for each in answer.get("configurationKey", ())}
    missing = [each for each in _DEMANDED if each.lower() not in found]
    t.check(not missing, "GetConfiguration", f"without {', '.join(missing)}")
    answer = await t.ask("GetConfiguration", key=["HeartbeatInterval", "NoSuchKey"])
    named = [each["key"] for each in answer.get("configurationKey", ())]
    t.check(named == ["HeartbeatInterval"], "GetConfiguration", f"tells {', '.join(named)}")
    t.equal(answer.get("unknownKey"), ["NoSuchKey"], "GetConfiguration", "unknownKey is {}")


_DEMANDED: Final = (
    "AuthorizeRemoteTxRequests", "ClockAlignedDataInterval", "ConnectionTimeOut", "ConnectorPhaseRotation",
    "GetConfigurationMaxKeys", "HeartbeatInterval", "LocalAuthorizeOffline", "LocalPreAuthorize",
    "MeterValuesAlignedData", "MeterValuesSampledData", "MeterValueSampleInterval", "NumberOfConnectors",
    "ResetRetries", "StopTransactionOnEVSideDisconnect", "StopTransactionOnInvalidId", "StopTxnAlignedData",
    "StopTxnSampledData", "SupportedFeatureProfiles", "TransactionMessageAttempts", "TransactionMessageRetryInterval",
    "UnlockConnectorOnEVSideDisconnect",
)  # fmt: skip


@CORE.case("TC_021_CS", "Change configuration", requirements="ChangeConfiguration", quick=True)
async def change(t: StationTest16) -> None:
    """The station takes the value, and tells it, unless it has to be rebooted first."""
    status = await t.change("MeterValueSampleInterval", "77")
    t.one_of(status, ("Accepted", "RebootRequired"), "ChangeConfiguration", "answers {}")
    if status == "Accepted":
        t.equal(await t.read("MeterValueSampleInterval"), "77", "ChangeConfiguration", "tells {} after 77 was set")


@CORE.case("TC_040_1_CS", "Change an unknown key", requirements="ChangeConfiguration")
async def change_unknown(t: StationTest16) -> None:
    """The station says NotSupported."""
    await t.says("ChangeConfiguration", "NotSupported", key="NoSuchKey", value="1")


@CORE.case("TC_040_2_CS", "Change to a wrong value", requirements="ChangeConfiguration")
async def change_wrong(t: StationTest16) -> None:
    """The station rejects what the key cannot be, and any value of one that is read only, and keeps what it had."""
    number = str(t.declared.evses + 1)
    for key, value in {**_WRONG, "NumberOfConnectors": number}.items():
        before = await t.read(key)
        t.equal(await t.change(key, value), "Rejected", "ChangeConfiguration", f"answers {key} {value} with {{}}")
        t.equal(await t.read(key), before, "ChangeConfiguration", f"tells {{}} instead of {before} as {key}")


_WRONG: Final = {"MeterValueSampleInterval": "-1", "LocalPreAuthorize": "?", "MeterValuesSampledData": "Nothing"}


@CORE.case("V2G-09-CS16", "Changed configuration stays over a reset", requirements="ChangeConfiguration Reset")
async def change_stays(t: StationTest16) -> None:
    """After the reset the station tells the value that it has taken."""
    changed = await given(t.change("MeterValueSampleInterval", "77"))
    t.needs(changed in ("Accepted", "RebootRequired"), f"MeterValueSampleInterval cannot be set: {changed}")
    async with t.reconnects():
        await _reboot(t, "Hard")
    await t.expect("BootNotification", skip=True)
    t.equal(await t.read("MeterValueSampleInterval"), "77", "ChangeConfiguration", "tells {} after 77 was set")


# -- offline

_RETRIES: Final = "TransactionMessageRetryInterval"


@CORE.case("TC_036_CS", "The connection is lost in a transaction", requirements="TransactionMessageAttempts")
async def lost(t: StationTest16) -> None:
    """The transaction goes on, and ends with its id."""
    transaction = await t.in_transaction()
    t.forget()
    async with t.away(5):
        pass
    t.check(not t.seen("StartTransaction"), "StartTransaction", "starts the transaction a second time")
    await t.present()
    await t.stopped(transaction, "Local")


@CORE.case("TC_038_CS", "A transaction ends offline", requirements="StopTransaction")
async def ends_offline(t: StationTest16) -> None:
    """The station reports the end, with its time, once it is back."""
    transaction = await t.in_transaction()
    async with t.away(5):
        await t.present()
        await t.wait(3 * SOON_S)  # longer than a station takes for the card, and to send the start
        lasted_s = t.elapsed() - t.began[1]
    sent = await t.stopped(transaction, "Local")
    after_s = (parse_time(sent["timestamp"]) - parse_time(t.began[0])) / 1000
    t.check(after_s < lasted_s - 1, "StopTransaction", "has the time at which it is sent, not that of the end")


@CORE.case("TC_039_CS", "A transaction offline", requirements="StartTransaction AllowOfflineTxForUnknownId")
async def all_offline(t: StationTest16) -> None:
    """The station reports begin and end in their order, with the id that it gets, once it is back."""
    await given(t.wants(LocalAuthorizeOffline=True, AllowOfflineTxForUnknownId=True))
    async with t.away(5):
        await t.present()
        await t.plug()
        await t.wait(SOON_S)
        await t.present()
    start = await _start(t)
    stop = await t.expect("StopTransaction")
    t.check(stop["transactionId"] > 0, "StopTransaction", f"stops {stop['transactionId']}")
    t.check(stop["timestamp"] >= start["timestamp"], "StopTransaction", "ends before it begins")
    t.check(stop["meterStop"] >= start["meterStart"], "StopTransaction", "the meter goes back")


def _case_of_unknown_offline(number: str, what: str, **keys: bool) -> None:
    @CORE.case(
        f"V2G-{number}-CS16", f"A token offline {what}", requirements=tuple(keys),
        required="The station starts no transaction, neither while it is offline nor afterwards.",
    )  # fmt: skip
    async def script(t: StationTest16) -> None:
        known = "LocalAuthorizeOffline" in keys
        with precondition():
            there = {key: value for key, value in keys.items() if await t.read(key) is not None}
            await (t.in_transaction() if known else t.ask("ClearCache"))
            await t.leave()
            await t.wants(**there)  # what is not there is not allowed
        t.answer("Authorize", {"idTagInfo": {"status": "Invalid"}})
        async with t.away(5):
            await t.present(t.token if known else t.declared.unknown_token)
            await t.plug()
            await t.wait(SOON_S)
        await t.nothing("StartTransaction", " ".join(keys), within=SOON_S)


_case_of_unknown_offline("10", "that is not known", AllowOfflineTxForUnknownId=False)
_case_of_unknown_offline("11", "that is known", AllowOfflineTxForUnknownId=False, LocalAuthorizeOffline=False)


@CORE.case("V2G-12-CS16", "The end of a transaction is not processed", requirements=_RETRIES)
async def repeats(t: StationTest16) -> None:
    """The station sends it again after the interval, then after twice the interval, and stops once it is processed."""
    await given(t.wants(TransactionMessageAttempts=3, TransactionMessageRetryInterval=5))
    transaction = await t.in_transaction()
    times: list[float] = []

    def answer(_: Payload) -> Payload | CallError:
        times.append(t.elapsed())
        return CallError("InternalError") if len(times) < 3 else {}

    t.answer("StopTransaction", answer)
    await t.present()
    for _ in range(3):
        await t.stopped(transaction, within=t.after(10))
    for number, (sooner, later) in enumerate(itertools.pairwise(times), 1):
        about = f"sends StopTransaction again after {later - sooner:.0f} s instead of {5 * number} s"
        t.check(later - sooner >= 5 * number - 1, _RETRIES, about)
    await t.nothing("StopTransaction", _RETRIES, within=20)


# -- remote trigger


@TRIGGER.case("TC_054_CS", "Trigger messages", requirements="TriggerMessage", quick=True)
async def triggers(t: StationTest16) -> None:
    """The station sends what it accepts to send."""
    judged, rejected = 0, []
    for name in ("Heartbeat", "StatusNotification", "MeterValues", "BootNotification", *_REPORTS):
        place = {"connectorId": 1} if name in ("StatusNotification", "MeterValues") else {}
        t.forget()
        answer = await t.ask("TriggerMessage", requestedMessage=name, **place)
        if answer["status"] != "Accepted":
            if name in ("Heartbeat", "StatusNotification", "MeterValues"):
                t.equal(answer["status"], "Rejected", "TriggerMessage", f"answers {name} with {{}}")
                rejected.append(name)
            continue
        sent = await t.expect(name)
        wrong = "connectorId" in sent and sent["connectorId"] != 1
        t.check(not wrong, "TriggerMessage", f"sends {name} of connector {sent.get('connectorId')}")
        if name == "MeterValues":
            t.equal(_contexts(sent), {"Trigger"}, "TriggerMessage", "sends MeterValues with the contexts {}")
        idle = name not in _REPORTS or sent["status"] == "Idle"
        t.check(idle, "TriggerMessage", f"sends {name} {sent.get('status')} without an update or upload")
        judged += 1
    if rejected:  # which is up to the station
        raise Inconclusive(f"rejects the triggers of {', '.join(rejected)}: certification takes Accepted")
    t.check(judged > 0, "TriggerMessage", "sends nothing")


_REPORTS: Final = ("DiagnosticsStatusNotification", "FirmwareStatusNotification")


@TRIGGER.case("TC_055_CS", "Trigger a message of an unknown connector", requirements="TriggerMessage")
async def trigger_unknown(t: StationTest16) -> None:
    """The station rejects it."""
    place = t.declared.evses + 7
    await t.says("TriggerMessage", "Rejected", requestedMessage="MeterValues", connectorId=place)


# -- local list


async def _send_list(t: StationTest16, version: int, kind: str, *tags: str, status: str = "Accepted") -> str:
    entries = [{"idTag": each, "idTagInfo": {"status": status}} for each in tags]
    answer = await t.ask("SendLocalList", listVersion=version, updateType=kind, localAuthorizationList=entries)
    return str(answer["status"])


async def _empty(t: StationTest16) -> None:
    version = (await t.ask("GetLocalListVersion"))["listVersion"]
    await given(t.wants(LocalAuthListEnabled=True), _send_list(t, max(version, 0) + 1, "Full"))
    t.undo(lambda: _send_list(t, 1, "Full"))


async def _has_list(t: StationTest16, *tags: str, status: str = "Accepted") -> None:
    """Come to a station whose list has version 20 and these tags, and that asks about no others of it."""
    await _empty(t)
    await given(t.wants(LocalPreAuthorize=True))
    sent = await _send_list(t, 20, "Full", *tags, status=status)
    t.equal(sent, "Accepted", "SendLocalList", "answers {}")


async def _version_is(t: StationTest16, wanted: int) -> None:
    found = (await t.ask("GetLocalListVersion"))["listVersion"]
    t.check(found == wanted, "GetLocalListVersion", f"has version {found} instead of {wanted}")


@LISTS.case("TC_043_CS", "Lists in full and differential", requirements="SendLocalList", quick=True)
async def lists(t: StationTest16) -> None:
    """The station takes both, and tells their version."""
    await _empty(t)
    for version, kind, token in ((20, "Full", t.token), (21, "Differential", t.declared.other_token)):
        status = await _send_list(t, version, kind, token.id)
        t.check(status == "Accepted", "SendLocalList", f"answers {kind} with {status}")
        await _version_is(t, version)


@LISTS.case("TC_043_2_CS", "A list whose version has passed", requirements="SendLocalList")
async def old_list(t: StationTest16) -> None:
    """The station says VersionMismatch, and keeps its list."""
    await _has_list(t, t.token.id)
    status = await _send_list(t, 15, "Differential", t.declared.other_token.id)
    t.check(status == "VersionMismatch", "SendLocalList", f"answers {status}")
    await _version_is(t, 20)


@LISTS.case("TC_008_1_CS", "A token of the list", requirements="LocalPreAuthorize")
async def listed(t: StationTest16) -> None:
    """The station starts without asking."""
    await _has_list(t, t.token.id)
    t.forget()
    await t.present()
    await t.plug()
    await t.started()
    t.check(not t.seen("Authorize"), "LocalPreAuthorize", "asks about a token in its list")


@LISTS.case("V2G-15-CS16", "A token that the list has as blocked", requirements="LocalPreAuthorize")
async def listed_blocked(t: StationTest16) -> None:
    """The station does not start with it, nor does it so offline."""
    await _has_list(t, t.token.id, status="Blocked")
    t.answer("Authorize", {"idTagInfo": {"status": "Blocked"}})
    await t.plug()
    await t.present()
    await t.nothing("StartTransaction", "LocalPreAuthorize", within=SOON_S)
    async with t.away(5):
        await t.present()
        await t.wait(SOON_S)
    await t.nothing("StartTransaction", "LocalAuthorizeOffline", within=SOON_S)


@LISTS.case("V2G-06-CS16", "Tokens that leave the list", requirements="SendLocalList LocalPreAuthorize")
async def unlisted(t: StationTest16) -> None:
    """The station asks about a token that an update has removed or that a new full list does not have, and starts with
    the others without asking."""
    other = t.declared.other_token
    await _has_list(t, t.token.id, other.id)
    t.answer("Authorize", {"idTagInfo": {"status": "Invalid"}})
    removed = [{"idTag": t.token.id}]
    await t.says("SendLocalList", "Accepted", listVersion=21, updateType="Differential", localAuthorizationList=removed)
    await t.plug()
    await _asks_about(t, t.token)
    await t.present(other)
    await t.started(other)
    t.check(not t.seen("Authorize"), "SendLocalList", "asks about a token that the update has not removed")
    await t.leave()
    t.equal(await _send_list(t, 22, "Full", t.token.id), "Accepted", "SendLocalList", "answers Full with {}")
    await t.plug()
    await _asks_about(t, other)


async def _asks_about(t: StationTest16, token: Token) -> None:
    await t.ask("ClearCache")
    t.forget()
    await t.present(token)
    await t.expect("Authorize", "SendLocalList", idTag=token.id)


# -- reservation

_ZERO: Final = ("ReserveNow", "ReserveConnectorZeroSupported")


async def _reserve(t: StationTest16, *statuses: str, seconds: float = 120, connector: int = 1, **more: object) -> int:
    number = t.next_id()
    t.undo(lambda: t.ask("CancelReservation", reservationId=number))
    expiry, token = t.later(seconds), t.token.id
    about = {"connectorId": connector, "expiryDate": expiry, "idTag": token, "reservationId": number, **more}
    await t.says("ReserveNow", *(statuses or ("Accepted",)), **about)
    return number


@RESERVATION.case("TC_046_1_CS", "A reserved connector is used", requirements="ReserveNow", quick=True)
async def reserved(t: StationTest16) -> None:
    """The connector is Reserved, not for another token; the transaction names the reservation, which ends with it."""
    number = await _reserve(t)
    await t.status("Reserved")
    await t.present(t.declared.other_token)
    await t.plug()
    await t.nothing("StartTransaction", "ReserveNow", within=SOON_S / 2)
    await t.present()
    await _uses(t, number)
    await t.status("Charging")
    await t.present()
    await t.expect("StopTransaction")
    await t.unplug()
    await t.status("Available")


@RESERVATION.case("TC_047_CS", "A reservation expires", requirements="ReserveNow")
async def expires(t: StationTest16) -> None:
    """The connector is Reserved, and Available after the time."""
    await _reserve(t, seconds=10)
    await t.status("Reserved")
    await t.status("Available", within=t.after(10))


@RESERVATION.case("TC_048_2_CS", "Reserve an occupied connector", requirements="ReserveNow")
async def reserve_occupied(t: StationTest16) -> None:
    """The station says Occupied."""
    await t.in_transaction()
    await _reserve(t, "Occupied")


@RESERVATION.case("TC_048_3_CS", "Reserve an unavailable connector", requirements="ReserveNow ChangeAvailability")
async def reserve_unavailable(t: StationTest16) -> None:
    """The station says Unavailable."""
    await _inoperative(t)
    await _reserve(t, "Unavailable")


async def _inoperative(t: StationTest16, connector: int = 1) -> None:
    """Take a connector out of service, or with 0 all of them."""
    t.undo(lambda: t.ask("ChangeAvailability", connectorId=connector, type="Operative"))
    await t.says("ChangeAvailability", "Accepted", connectorId=connector, type="Inoperative")
    for each in (connector,) if connector else range(1, t.declared.evses + 1):
        await t.status("Unavailable", each)


@RESERVATION.case("TC_046_2_CS", "A remote start uses a reservation", requirements="ReserveNow")
async def remote_reserved(t: StationTest16) -> None:
    """The station starts at the reserved connector, and names the reservation."""
    number = await _reserve(t)
    await t.status("Reserved")
    await t.says("RemoteStartTransaction", "Accepted", idTag=t.token.id, connectorId=1)
    await t.plug()
    await _uses(t, number)


@RESERVATION.case("TC_049_CS", "A reservation of the station is used", requirements=_ZERO)
async def reserved_anywhere(t: StationTest16) -> None:
    """The token that has reserved starts at any connector, and the transaction names the reservation."""
    await _has_zero(t)
    number = await _reserve(t, connector=0)
    await t.present()
    await t.plug()
    await _uses(t, number)


async def _has_zero(t: StationTest16) -> None:
    known = await t.is_true("ReserveConnectorZeroSupported")
    t.needs(known, "it takes no reservations of connector 0 (ReserveConnectorZeroSupported)")


async def _uses(t: StationTest16, number: int, token: Token | None = None) -> None:
    start = await _start(t, token)
    t.check(start.get("reservationId") == number, "ReserveNow", f"names {start.get('reservationId')}, not {number}")


@RESERVATION.case("TC_050_2_CS", "Reserve an occupied station", requirements=_ZERO)
async def reserve_occupied_station(t: StationTest16) -> None:
    """The station says Occupied once a vehicle is at each of its connectors."""
    await _has_zero(t)
    with precondition():
        for connector in range(1, t.declared.evses + 1):
            await t.present(evse=connector)
            await t.plug(connector)
            await t.status("Charging", connector)
    await _reserve(t, "Occupied", connector=0)


@RESERVATION.case("TC_050_3_CS", "Reserve an unavailable station", requirements=(*_ZERO, "ChangeAvailability"))
async def reserve_unavailable_station(t: StationTest16) -> None:
    """The station says Unavailable."""
    await _has_zero(t)
    await given(_inoperative(t, 0))
    await _reserve(t, "Unavailable", connector=0)


@RESERVATION.case("TC_050_4_CS", "Reserve a station that cannot be", requirements=_ZERO)
async def reserve_no_station(t: StationTest16) -> None:
    """A station that does not support connector 0 rejects the reservation."""
    t.needs(not await t.is_true("ReserveConnectorZeroSupported"), "it takes reservations of connector 0")
    await _reserve(t, "Rejected", connector=0)


def _case_of_parent(number: str, what: str, connector: int) -> None:
    @RESERVATION.case(
        f"TC_053_{number}_CS", f"A token of the same group uses a reservation of the {what}",
        requirements=("ReserveNow",), required="The station starts with it, and names the reservation.",
    )  # fmt: skip
    async def script(t: StationTest16) -> None:
        if not connector:
            await _has_zero(t)
        await given(t.wants(LocalPreAuthorize=False))
        number = await _reserve(t, connector=connector, parentIdTag="FAMILY")
        t.answer("Authorize", {"idTagInfo": {"status": "Accepted", "parentIdTag": "FAMILY"}})
        await t.present(t.declared.other_token)
        await t.plug()
        await _uses(t, number, t.declared.other_token)


_case_of_parent("1", "connector", 1)
_case_of_parent("2", "station", 0)


@RESERVATION.case("TC_051_CS", "Cancel a reservation", requirements="CancelReservation")
async def cancel(t: StationTest16) -> None:
    """The connector is available again."""
    number = await _reserve(t)
    await t.status("Reserved")
    await t.says("CancelReservation", "Accepted", reservationId=number)
    await t.status("Available")


@RESERVATION.case("TC_052_CS", "Cancel an unknown reservation", requirements="CancelReservation")
async def cancel_unknown(t: StationTest16) -> None:
    """The station rejects it, and keeps the one that it has."""
    number = await _reserve(t)
    await t.says("CancelReservation", "Rejected", reservationId=number + 1_000_000)
    await t.nothing("StatusNotification", "CancelReservation", within=SOON_S / 2, status="Available", connectorId=1)


@CORE.case("V2G-01-CS16", "Make a connector unavailable", requirements="ChangeAvailability", quick=True)
async def unavailable(t: StationTest16) -> None:
    """The station reports it, takes no transaction there, and is available again when it is told."""
    await _inoperative(t)
    await t.present()
    await t.plug()
    await t.nothing("StartTransaction", "ChangeAvailability", within=SOON_S)
    await t.unplug()
    await t.says("ChangeAvailability", "Accepted", connectorId=1, type="Operative")
    await t.status("Available")
    await t.says("ChangeAvailability", "Accepted", connectorId=1, type="Operative")  # which it is already


@CORE.case("V2G-07-CS16", "An unavailable connector stays so over a reset", requirements="ChangeAvailability Reset")
async def stays_unavailable(t: StationTest16) -> None:
    """After the reset the station reports the connector as Unavailable, and the others as Available."""
    await given(_inoperative(t))
    async with t.reconnects():
        await _reboot(t, "Hard")
    await t.expect("BootNotification", skip=True)
    for each in range(1, t.declared.evses + 1):
        sent = await t.expect("StatusNotification", connectorId=each)
        t.equal(sent["status"], "Unavailable" if each == 1 else "Available", "ChangeAvailability", "boots as {}")


@CORE.case("V2G-08-CS16", "Make a connector unavailable with a transaction", requirements="ChangeAvailability")
async def scheduled(t: StationTest16) -> None:
    """The station schedules the change, and carries it out when the transaction has ended."""
    t.undo(lambda: t.ask("ChangeAvailability", connectorId=1, type="Operative"))
    transaction = await t.in_transaction()
    await t.says("ChangeAvailability", "Scheduled", connectorId=1, type="Inoperative")
    await t.nothing("StopTransaction", "ChangeAvailability", within=SOON_S / 2)
    t.check(not _unavailable(t), "ChangeAvailability", "reports Unavailable while the transaction goes on")
    await t.says("RemoteStopTransaction", "Accepted", transactionId=transaction)
    await t.stopped(transaction, "Remote")
    await t.unplug()
    await t.status("Unavailable")


def _unavailable(t: StationTest16) -> bool:
    return any(each["connectorId"] == 1 and each["status"] == "Unavailable" for each in t.seen("StatusNotification"))


# -- smart charging


async def _unit(t: StationTest16) -> tuple[str, float]:
    """Return the unit of limits that the station takes, and how many of it stand for an ampere in these cases."""
    units = await t.read("ChargingScheduleAllowedChargingRateUnit") or ""
    return ("W", 690.0) if units and "urrent" not in units and "A" not in units else ("A", 1.0)


async def _profile(t: StationTest16, *amperes: float, purpose: str = "TxDefaultProfile", **more: object) -> Payload:
    """Return a profile, of which each limit holds for two minutes, the first one since one minute."""
    unit, factor = await _unit(t)
    periods = [{"startPeriod": 120 * number, "limit": each * factor} for number, each in enumerate(amperes)]
    schedule: Payload = {"chargingRateUnit": unit, "chargingSchedulePeriod": periods}
    return {
        "chargingProfileId": t.next_id(), "stackLevel": 0, "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative" if purpose == "TxProfile" else "Absolute",
        "chargingSchedule": schedule | ({} if purpose == "TxProfile" else {"startSchedule": t.later(-60)}), **more,
    }  # fmt: skip


async def _install(t: StationTest16, wanted: Payload, *statuses: str, connector: int = 1) -> None:
    t.undo(lambda: t.ask("ClearChargingProfile", id=wanted["chargingProfileId"]))
    await t.says("SetChargingProfile", *(statuses or ("Accepted",)), connectorId=connector, csChargingProfiles=wanted)


async def _limited(t: StationTest16, *amperes: float) -> Payload:
    """Check the limits now and each two minutes later; return the composite schedule of five minutes. Raises Failed."""
    unit, factor = await _unit(t)
    about = {"connectorId": 1, "duration": 300, "chargingRateUnit": unit}
    answer = await t.says("GetCompositeSchedule", "Accepted", **about)
    t.equal(answer.get("connectorId", 1), 1, "GetCompositeSchedule", "is of connector {}, when 1 is asked for")
    away_ms = abs(parse_time(answer.get("scheduleStart", t.now())) - parse_time(t.now()))
    t.check(away_ms < AHEAD_MS, "GetCompositeSchedule", f"begins at {answer.get('scheduleStart')}, not now")
    schedule = answer.get("chargingSchedule", {})
    t.equal(schedule.get("chargingRateUnit"), unit, "GetCompositeSchedule", f"is in {{}}, when {unit} is asked for")
    periods = schedule.get("chargingSchedulePeriod", [])
    for number, each in enumerate(amperes):
        at_s, wanted = 120 * number, each * factor
        limit = next((one["limit"] for one in reversed(periods) if one["startPeriod"] <= at_s), None)
        about_it = f"has {limit} {unit} after {at_s} s instead of {wanted:g}"
        t.check(limit == wanted, "GetCompositeSchedule", about_it)
    return schedule  # type: ignore[no-any-return]


@SMART.case("TC_056_CS", "A default profile", requirements="SetChargingProfile", quick=True)
async def default_profile(t: StationTest16) -> None:
    """The station takes it, and limits a transaction by it."""
    await _install(t, await _profile(t, 10.0))
    await t.in_transaction()
    await _limited(t, 10.0)


@SMART.case("TC_057_CS", "A profile of a transaction", requirements="SetChargingProfile")
async def transaction_profile(t: StationTest16) -> None:
    """It takes the place of the default."""
    await _install(t, await _profile(t, 8.0))
    transaction = await t.in_transaction()
    for amperes in (10.0, 6.0):
        await _install(t, await _profile(t, amperes, purpose="TxProfile", transactionId=transaction))
        await _limited(t, amperes)


@SMART.case("TC_058_1_CS", "A profile without its transaction", requirements="SetChargingProfile")
async def no_transaction(t: StationTest16) -> None:
    """The station rejects it."""
    await _install(t, await _profile(t, 8.0, purpose="TxProfile", transactionId=1), "Rejected")


@SMART.case("TC_058_2_CS", "A profile of another transaction", requirements="SetChargingProfile")
async def other_transaction(t: StationTest16) -> None:
    """The station rejects it."""
    transaction = await t.in_transaction()
    await _install(t, await _profile(t, 8.0, purpose="TxProfile", transactionId=transaction + 1_000_000), "Rejected")


@SMART.case("TC_059_CS", "Remote start with a profile", requirements="RemoteStartTransaction")
async def started_with_profile(t: StationTest16) -> None:
    """The station limits the transaction by it."""
    await t.plug()
    about = {"idTag": t.token.id, "connectorId": 1, "chargingProfile": await _profile(t, 7.0, purpose="TxProfile")}
    await t.says("RemoteStartTransaction", "Accepted", **about)
    await t.started()
    await t.status("Charging")
    await _limited(t, 7.0)


@SMART.case("TC_066_CS", "Composite schedule", requirements="GetCompositeSchedule")
async def composite(t: StationTest16) -> None:
    """It is the least of the station's maximum and the default."""
    with precondition():
        await _install(t, await _profile(t, 9.0, purpose="ChargePointMaxProfile"), connector=0)
        await _install(t, await _profile(t, 12.0))
        await t.in_transaction()
    await _limited(t, 9.0)


@SMART.case("TC_067_CS", "Clear a profile", requirements="ClearChargingProfile")
async def clear_profile(t: StationTest16) -> None:
    """The station clears it by its id, or by its purpose and level, and a second time the profile is Unknown."""
    for criteria in ({}, {"connectorId": 1, "chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 0}):
        wanted = await _profile(t, 10.0)
        await _install(t, wanted)
        about = criteria or {"id": wanted["chargingProfileId"]}
        await t.says("ClearChargingProfile", "Accepted", **about)
        await t.says("ClearChargingProfile", "Unknown", **about)


@SMART.case("TC_072_CS", "Profiles of two stack levels", requirements="SetChargingProfile")
async def stacked(t: StationTest16) -> None:
    """The higher one is used, and the lower one once that is cleared."""
    with precondition():
        level = await t.read("ChargeProfileMaxStackLevel")
        t.needs(level is not None and level.isdecimal() and int(level) > 0, "it has one stack level")
    await _install(t, await _profile(t, 6.0))
    higher = await _profile(t, 10.0, stackLevel=1)
    await _install(t, higher)
    await t.in_transaction()
    await _limited(t, 10.0)
    await t.says("ClearChargingProfile", "Accepted", id=higher["chargingProfileId"])
    await _limited(t, 6.0)


@SMART.case("V2G-16-CS16", "A profile takes the place of another", requirements="SetChargingProfile")
async def replaced(t: StationTest16) -> None:
    """One of the same purpose and stack level is gone: clearing it is Unknown."""
    before = await _profile(t, 6.0)
    await _install(t, before)
    await _install(t, await _profile(t, 10.0))
    await t.says("ClearChargingProfile", "Unknown", id=before["chargingProfileId"])
    await t.in_transaction()
    await _limited(t, 10.0)


@SMART.case("V2G-17-CS16", "A profile of several periods", requirements="GetCompositeSchedule")
async def periods_follow(t: StationTest16) -> None:
    """The composite schedule has each of them, counted from the profile's start, until the end of its duration."""
    periods = await t.read("ChargingScheduleMaxPeriods")
    t.needs(periods is None or not periods.isdecimal() or int(periods) > 2, "it takes fewer than three periods")
    about = {"transactionId": await t.in_transaction(), "chargingProfileKind": "Absolute"}
    wanted = await _profile(t, 6.0, 10.0, 9.0, purpose="TxProfile", **about)
    wanted["chargingSchedule"] |= {"startSchedule": t.later(-60), "duration": 330}
    await _install(t, wanted)
    found = await _limited(t, 6.0, 10.0, 9.0)
    goes_on = found.get("duration", 300) > 280 and found["chargingSchedulePeriod"][-1]["startPeriod"] < 250
    t.check(not goes_on, "GetCompositeSchedule", "has the last limit after the duration of the profile")


@SMART.case("V2G-18-CS16", "Profiles that cannot be", requirements="SetChargingProfile")
async def impossible(t: StationTest16) -> None:
    """The station rejects those of an unknown connector, of too high a stack level, of too many periods, and the
    station's maximum at a connector."""
    level, periods = [await t.read(each) for each in ("ChargeProfileMaxStackLevel", "ChargingScheduleMaxPeriods")]
    usual = await _profile(t, 6.0)
    await _install(t, usual, "Rejected", connector=t.declared.evses + 7)
    await _install(t, await _profile(t, 6.0, purpose="ChargePointMaxProfile"), "Rejected")
    if level is not None and level.isdecimal():
        await _install(t, usual | {"stackLevel": int(level) + 1}, "Rejected")
    if periods is not None and periods.isdecimal() and int(periods) < 1000:
        await _install(t, await _profile(t, *[6.0, 7.0] * (int(periods) // 2 + 1)), "Rejected")


@SMART.case("V2G-19-CS16", "The limit is kept", requirements="SetChargingProfile MeterValuesSampledData")
async def obeyed(t: StationTest16) -> None:
    """The current, or the power, that the station measures is not above the limit once it has had time to fall."""
    unit, _ = await _unit(t)
    most = {"Current.Import": 6.6 if unit == "A" else 19.8, "Power.Active.Import": 6600.0}
    with precondition():
        known = await t.read("MeterValuesSampledData") or ""
        kind = next((each for each in most if each in known), "")
        if not kind:
            kind = "Current.Import"
            await t.wants(MeterValuesSampledData=kind)
        await t.wants(MeterValueSampleInterval=5)
    transaction = await t.in_transaction()
    await _install(t, await _profile(t, 6.0, purpose="TxProfile", transactionId=transaction))
    await t.wait(t.declared.seconds)
    t.forget()
    sent = await t.expect("MeterValues", within=t.after(5), connectorId=1)
    found = [value for _, _, value in readings_of(sent["meterValue"], {kind})]
    t.check(bool(found), "MeterValuesSampledData", f"sends no {kind}")
    t.check(max(found) <= most[kind], "SetChargingProfile", f"has a {kind} of {max(found):g} with a limit of 6 A")


STATION_CASES_16: Final[tuple[OcppCase[StationTest16], ...]] = tuple(
    case for block in (CORE, TRIGGER, LISTS, RESERVATION, SMART, FIRMWARE, SECURITY) for case in block.cases
)
