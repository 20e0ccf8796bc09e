"""Functional block E, transactions: cases for back ends."""

from typing import Any, Final

from v2g.typed_json import Fields
from v2g_testkit.ocpp.case import Block, Inconclusive, Payload, given, precondition
from v2g_testkit.ocpp.csms_cases.block_k import profile, sets
from v2g_testkit.ocpp.csms_cases.transaction import SIGNED, Transaction, charging
from v2g_testkit.ocpp.csms_tester import CsmsTest
from v2g_testkit.ocpp.operator import TRANSACTION_LIMIT

E: Final[Block[CsmsTest]] = Block(booted=True)


# -- start


def _starts(id: str, title: str, trigger: str, requirement: str, **more: Any) -> None:  # noqa: A002 - as in every case
    """Add a case in which the first event has the token, after it was authorized and the cable was plugged in."""

    @E.case(id, title, requirements=(requirement, "E01.FR.11", "E01.FR.12"))
    async def script(t: CsmsTest) -> None:
        """The back end accepts the token, in Authorize and in the event that starts the transaction."""
        transaction = Transaction(t)
        await transaction.authorize()
        signed: Fields = {}
        if trigger == "SignedDataReceived":
            signed["meterValue"] = [transaction.reading("Transaction.Begin", value=0.0, signedMeterValue=SIGNED)]
        if trigger != "Authorized":
            await t.connector("Occupied")
        transaction.accepted(await transaction.event("Started", trigger, token=transaction.token, **more, **signed))
        if more.get("state") != "Charging":
            await transaction.event("Updated", "ChargingStateChanged", state="Charging")


_starts("TC_E_01_CSMS", "Start when the power path closes", "ChargingStateChanged", "E01.FR.05", state="SuspendedEVSE")
_starts("TC_E_02_CSMS", "Start when energy flows", "ChargingStateChanged", "E01.FR.06", state="Charging")
_starts("TC_E_10_CSMS", "Start when authorized", "Authorized", "E01.FR.03")
_starts("TC_E_11_CSMS", "Start when the meter has signed", "SignedDataReceived", "E01.FR.04")


def _begins(id: str, title: str, trigger: str, requirement: str, **more: Any) -> None:  # noqa: A002
    """Add a case in which the transaction begins before a token is presented."""

    @E.case(id, title, requirements=(requirement, "J02.FR.19"))
    async def script(t: CsmsTest) -> None:
        """The back end acknowledges a transaction that begins without a token."""
        with precondition():
            if trigger == "CablePluggedIn":
                await t.connector("Occupied")
        await Transaction(t).event("Started", trigger, **more)


_begins("TC_E_09_CSMS", "Start when the vehicle is connected", "CablePluggedIn", "E01.FR.02", state="EVConnected")
_begins("TC_E_12_CSMS", "Start when the parking bay is occupied", "EVDetected", "E01.FR.01")


@E.case("TC_E_03_CSMS", "Cable first", also="E02.FR.02 E02.FR.04", quick=True)
async def cable_first(t: CsmsTest) -> None:
    """The back end accepts the token after the vehicle was connected, and acknowledges the charging."""
    transaction = Transaction(t)
    await given(transaction.plugged())
    await transaction.authorized()
    await transaction.started()


@E.case("TC_E_04_CSMS", "Authorization first", also="E03.FR.02")
async def authorization_first(t: CsmsTest) -> None:
    """The back end accepts the token before the vehicle is connected, and acknowledges the charging."""
    transaction = Transaction(t)
    await transaction.authorized()
    await transaction.started()


@E.case("TC_E_38_CSMS", "Vehicle that is not ready", also="E03.FR.02 J02.FR.19")
async def not_ready(t: CsmsTest) -> None:
    """The back end acknowledges that the vehicle suspends before energy flows."""
    transaction = Transaction(t)
    await given(transaction.authorized(), transaction.plugged())
    await transaction.event("Updated", "ChargingStateChanged", state="SuspendedEV")


# -- stop


def _stops(
    id: str,  # noqa: A002
    title: str,
    requirement: str,
    *events: tuple[str, str, Fields],
    after: str = "started",
) -> None:
    """Add a case with these events, the last of which ends a transaction, after it has reached a state."""

    @E.case(id, title, requirements=(requirement, "J02.FR.19"))
    async def script(t: CsmsTest) -> None:
        """The back end acknowledges the events that end the transaction."""
        transaction = Transaction(t)
        with precondition():
            if after == "authorized":
                await transaction.authorized()
            elif after == "suspended":
                await transaction.suspended()
            else:
                await transaction.started()
            if after in ("stop authorized", "post session"):
                await transaction.stop_authorized()
            if after == "post session":
                await transaction.post_session()
        for kind, trigger, more in events:
            if more.get("stopped") == "EVDisconnected":
                await t.connector("Available")
            await transaction.event(kind, trigger, **more)


_GONE: Final = ("Ended", "EVCommunicationLost", {"state": "Idle", "stopped": "EVDisconnected"})

_stops("TC_E_07_CSMS", "Stop when the power path opens", "E06.FR.06", ("Ended", "StopAuthorized", {"stopped": "Local"}))
_stops(
    "TC_E_08_CSMS", "Stop when energy no longer flows", "E06.FR.07",
    ("Ended", "ChargingStateChanged", {"state": "EVConnected", "stopped": "Local"}), after="stop authorized",
)  # fmt: skip
_stops("TC_E_14_CSMS", "Stop when unplugged at the station", "E06.FR.02", _GONE, after="post session")
_stops("TC_E_15_CSMS", "Stop when authorized to stop", "E06.FR.03", ("Ended", "StopAuthorized", {"stopped": "Local"}))
_stops("TC_E_17_CSMS", "Stop when deauthorized at the vehicle", "E06.FR.04", _GONE, after="suspended")
_stops(
    "TC_E_19_CSMS", "Stop when the parking bay is free", "E06.FR.01",
    ("Updated", "EVCommunicationLost", {"state": "Idle"}), ("Ended", "EVDeparted", {"stopped": "Local"}),
    after="suspended",
)  # fmt: skip
_stops("TC_E_20_CSMS", "Stop when unplugged at the vehicle", "E06.FR.02", _GONE, after="suspended")
_stops(
    "TC_E_22_CSMS", "Stop when the vehicle suspends", "E06.FR.07",
    ("Ended", "ChargingStateChanged", {"state": "SuspendedEV", "stopped": "StoppedByEV"}),
)  # fmt: skip
_stops(
    "TC_E_39_CSMS", "Stop when no vehicle is connected in time", "E03.FR.05",
    ("Ended", "EVConnectTimeout", {"stopped": "Timeout"}), after="authorized",
)  # fmt: skip


@E.case("TC_E_16_CSMS", "Stop when the token is invalid", also="E01.FR.12 E06.FR.04")
async def invalid_token(t: CsmsTest) -> None:
    """The back end does not accept the token of the transaction, and acknowledges its end."""
    transaction = Transaction(t, token=t.declared.unknown_token)
    answer = await transaction.event("Started", "Authorized", token=transaction.token)
    t.one_of(answer["idTokenInfo"]["status"], ("Invalid", "Unknown"), "E01.FR.11", "answers an unknown token with {}")
    await transaction.event("Ended", "Deauthorized", stopped="DeAuthorized")


@E.case("TC_E_21_CSMS", "Remote stop", also="E06.FR.03", needs=("remote stop",), quick=True)
async def remote_stop(t: CsmsTest) -> None:
    """The back end asks to stop the transaction by its transactionId, and acknowledges its end."""
    transaction = await charging(t)
    await t.asked("RequestStopTransaction", "F03.FR.01", transactionId=transaction.id)
    await transaction.event("Ended", "RemoteStop", stopped="Remote")


@E.case("TC_E_26_CSMS", "Suspended while unplugged at the vehicle", also="E10.FR.01 J02.FR.19")
async def unplugged_for_a_while(t: CsmsTest) -> None:
    """The back end acknowledges that the transaction continues after the vehicle was away."""
    transaction = Transaction(t)
    await given(transaction.suspended())
    await transaction.event("Updated", "EVCommunicationLost", state="Idle")
    await t.connector("Available")
    await transaction.event("Updated", "CablePluggedIn", state="EVConnected")
    await transaction.event("Updated", "ChargingStateChanged", state="Charging")


@E.case("TC_E_53_CSMS", "Numbers of events begin at 0 again", also="E01.FR.07 J02.FR.19")
async def numbers_again(t: CsmsTest) -> None:
    """The back end acknowledges two transactions whose events are both numbered from 0."""
    for _ in range(2):
        transaction = Transaction(t)
        await transaction.started()
        await transaction.unplugged()


# -- status


def _status(id: str, title: str, *, named: bool, queued: bool, requirements: tuple[str, ...]) -> None:  # noqa: A002
    @E.case(id, title, needs=("transaction status",))
    async def script(t: CsmsTest) -> None:
        """The back end asks for the status, of a transaction if one is named, and continues afterwards."""
        transaction = Transaction(t)
        with precondition():
            if named or queued:
                await transaction.started()
            if queued:
                await t.away()
        t.answer("GetTransactionStatus", {"messagesInQueue": queued} | ({"ongoingIndicator": True} if named else {}))
        if named:
            await t.asked("GetTransactionStatus", requirements[0], transactionId=transaction.id)
        else:
            await t.asked("GetTransactionStatus", requirements[0])
        if queued:
            await transaction.event("Updated", "MeterValuePeriodic", context="Sample.Periodic", offline=True)
        else:
            await t.call("Heartbeat")


_status(
    "TC_E_29_CSMS", "Status of an ongoing transaction with messages in the queue", named=True, queued=True,
    requirements=("E14.FR.02", "E14.FR.04"),
)  # fmt: skip
_status(
    "TC_E_30_CSMS", "Status of an ongoing transaction without messages in the queue", named=True, queued=False,
    requirements=("E14.FR.02", "E14.FR.05"),
)  # fmt: skip
_status(
    "TC_E_33_CSMS", "Status of the queue, with messages", named=False, queued=True,
    requirements=("E14.FR.06", "E14.FR.07"),
)  # fmt: skip
_status(
    "TC_E_34_CSMS", "Status of the queue, without messages", named=False, queued=False,
    requirements=("E14.FR.06", "E14.FR.08"),
)  # fmt: skip


@E.case(
    "TC_E_31_CSMS", "Status of an ended transaction with messages in the queue", also="E14.FR.04 J02.FR.19",
    needs=("transaction status",),
)  # fmt: skip
async def status_of_ended(t: CsmsTest) -> None:
    """The back end acknowledges the end before the events that it missed, and these when they come."""
    transaction = Transaction(t)
    await given(transaction.started(), t.away())
    await t.connector("Available")
    first = transaction.seq_no + 1
    await transaction.event("Ended", "EVCommunicationLost", seq_no=first + 2, state="Idle", offline=True)
    t.answer("GetTransactionStatus", {"ongoingIndicator": False, "messagesInQueue": True})
    await t.asked("GetTransactionStatus", "E14.FR.03", transactionId=transaction.id)
    stopped = await transaction.event("Updated", "StopAuthorized", seq_no=first, token=transaction.token, offline=True)
    transaction.accepted(stopped)
    await transaction.event("Updated", "ChargingStateChanged", seq_no=first + 1, state="EVConnected", offline=True)


# -- Functional block E, limits of transactions (OCPP 2.1): cases for back ends

E_21: Final[Block[CsmsTest]] = Block(versions=("2.1",), booted=True)


def _case_of_limit(number: int, what: str, trigger: str, **limit: float) -> None:
    @E_21.case(f"TC_E_{number}_CSMS", f"The driver limits the {what}")
    async def script(t: CsmsTest) -> None:
        """The back end takes the limit, and sets none of its own that is not lower."""
        transaction = await charging(t)
        await _says(t, transaction, "E16.FR.08", **limit)
        await transaction.event("Updated", trigger, state="SuspendedEVSE", context="Sample.Periodic")
        await transaction.unplugged()


_case_of_limit(106, "energy", "EnergyLimitReached", maxEnergy=20_000.0)
_case_of_limit(107, "time", "TimeLimitReached", maxTime=600)
_case_of_limit(108, "cost", "CostLimitReached", maxCost=5.0)


async def _limits(t: CsmsTest, transaction: Transaction, **limit: float) -> None:
    """Have the operator limit the transaction; the station confirms it. Raises Failed unless it is told once."""
    await t.operate(TRANSACTION_LIMIT, transactionId=transaction.id, transactionLimit=limit)
    answer = await transaction.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    told: Payload = answer.get("transactionLimit", {})
    same = told.items() >= limit.items()
    t.check(same, "E16.FR.02", f"answers the next event with the limit {told} instead of {limit}")
    await _says(t, transaction, "E16.FR.02", **limit)


async def _says(t: CsmsTest, transaction: Transaction, requirement: str, **limit: float) -> None:
    """Report the station's limit. Raises Failed if the back end sets it, too, unless it lowers it."""
    answer = await transaction.event("Updated", "LimitSet", state="Charging", info={"transactionLimit": limit})
    for name, value in answer.get("transactionLimit", {}).items():
        t.check(name not in limit or value < limit[name], requirement, f"sets the limit {name} of {value}")


@E_21.case(
    "TC_E_102_CSMS", "Driver and back end limit the energy", also="E16.FR.02 E16.FR.07",
    needs=("limits of transactions",),
)  # fmt: skip
async def both_limit(t: CsmsTest) -> None:
    """The back end sets a lower limit than the driver's, once, and leaves a lower one of the driver."""
    transaction = await charging(t)
    await _says(t, transaction, "E16.FR.08", maxEnergy=20_000.0)
    await _limits(t, transaction, maxEnergy=10_000.0)
    await _says(t, transaction, "E16.FR.08", maxEnergy=5_000.0)
    await transaction.event("Updated", "EnergyLimitReached", state="SuspendedEVSE", context="Sample.Periodic")
    await transaction.unplugged()


@E_21.case("TC_E_109_CSMS", "The back end limits the cost", also="E16.FR.02", needs=("limits of transactions", "costs"))
async def cost_limit(t: CsmsTest) -> None:
    """The back end sets the limit once, and tells the cost so far in an answer or by CostUpdated."""
    transaction = await charging(t)
    await _limits(t, transaction, maxCost=5.0)
    transaction.wh += 2000
    answer = await transaction.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    told = [answer, *(each for each in t.received("CostUpdated") if each["transactionId"] == transaction.id)]
    if not any("totalCost" in each for each in told):
        await t.asked("CostUpdated", "E16.FR.11", free=("totalCost",), totalCost=1.0, transactionId=transaction.id)
    await transaction.event("Updated", "CostLimitReached", state="SuspendedEVSE", context="Sample.Periodic")
    await transaction.unplugged()


def _case_of_limit_set(number: int, what: str, trigger: str, **limit: float) -> None:
    @E_21.case(
        f"TC_E_{number}_CSMS", f"The back end limits the {what}", also="E16.FR.02", needs=("limits of transactions",)
    )
    async def script(t: CsmsTest) -> None:
        """The back end sets the limit in its next answer, once."""
        transaction = await charging(t)
        await _limits(t, transaction, **limit)
        await transaction.event("Updated", trigger, state="SuspendedEVSE", context="Sample.Periodic")
        await transaction.unplugged()


_case_of_limit_set(110, "energy", "EnergyLimitReached", maxEnergy=5_000.0)
_case_of_limit_set(111, "time", "TimeLimitReached", maxTime=600)


RESUMPTION: Final[Block[CsmsTest]] = Block(versions=("2.1",), booted=True)


def _case_of_reset(number: int, title: str, *requirements: str, ongoing: bool) -> None:
    @RESUMPTION.case(
        f"TC_B_{number}_CSMS",
        title,
        required="The back end asks for it, and takes the boot after it"
        + (", and that the transaction continues." if ongoing else "."),
        requirements=requirements,
    )
    async def script(t: CsmsTest) -> None:
        transaction = await charging(t) if ongoing else None
        await t.asked("Reset", "B13.FR.03", type="ImmediateAndResume")
        if transaction is not None:
            await transaction.event("Updated", "ResetCommand", state="SuspendedEVSE")
        await _boots_again(t, "RemoteReset")
        if transaction is not None:
            await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
            await transaction.unplugged()


_case_of_reset(103, "Reset that transactions survive", "B13.FR.03", "B13.FR.30", ongoing=True)
_case_of_reset(104, "Reset that transactions survive, without a transaction", "B13.FR.02", "B01.FR.02", ongoing=False)


async def _boots_again(t: CsmsTest, reason: str) -> None:
    """Connect and boot. Raises Inconclusive unless the back end accepts the station at once, as it need not (B02)."""
    await t.away()
    status = (await t.boot(reason))["status"]
    if status != "Accepted":
        raise Inconclusive(f"the back end answers BootNotification with {status}")


@RESUMPTION.case("TC_B_116_CSMS", "Reset that a transaction with a profile survives", needs=("charging profiles",))
async def profile_after_reset(t: CsmsTest) -> None:
    """The back end asks for it, and sends the profile, which the station does not keep, again."""
    transaction = await _with_profile(t)
    await t.asked("Reset", "B13.FR.03", type="ImmediateAndResume")
    await transaction.event("Updated", "ResetCommand", state="SuspendedEVSE")
    await t.away()
    await given(t.booted("RemoteReset"))
    await _sent_again(t, transaction, "B13.FR.31")


@RESUMPTION.case("TC_E_113_CSMS", "Transaction that an interruption does not end", also="E17.FR.14")
async def resumed(t: CsmsTest) -> None:
    """The back end accepts the station again, and takes the events after it."""
    transaction = await charging(t)
    await _boots_again(t, "PowerUp")
    await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
    await transaction.unplugged()


@RESUMPTION.case(
    "TC_E_117_CSMS", "Profile of a transaction that an interruption does not end", needs=("charging profiles",)
)
async def profile_after_interruption(t: CsmsTest) -> None:
    """The back end sends the profile of the transaction again, which the station does not keep."""
    transaction = await _with_profile(t)
    await t.away()
    await given(t.booted("PowerUp"))
    await _sent_again(t, transaction, "E17.FR.15")


async def _with_profile(t: CsmsTest) -> Transaction:
    """Let a transaction charge by a TxProfile of the back end."""
    transaction = await charging(t)
    await given(sets(t, "K01.FR.03", 1, profile(t, {"limit": 6000.0}, transactionId=transaction.id)))
    t.forget("SetChargingProfile")
    return transaction


async def _sent_again(t: CsmsTest, transaction: Transaction, requirement: str) -> None:
    """Resume the transaction. Raises Failed unless the back end sends its profile by itself, beside any of its own."""
    await transaction.event("Updated", "TxResumed", state="Charging", context="Other")
    limits: list[float | None] = []
    while limits != [6000.0]:
        sent = await t.expect(
            "SetChargingProfile",
            requirement,
            chargingProfile__chargingProfilePurpose="TxProfile",
            chargingProfile__transactionId=transaction.id,
        )
        schedule = sent["chargingProfile"]["chargingSchedule"][0]
        limits = [each.get("limit") for each in schedule["chargingSchedulePeriod"]]
    await transaction.unplugged()
