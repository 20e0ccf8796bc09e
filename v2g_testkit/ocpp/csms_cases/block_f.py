"""Functional block F, remote control: cases for back ends."""

from collections.abc import Awaitable, Callable
from typing import Final

from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.csms_cases.transaction import Transaction
from v2g_testkit.ocpp.csms_tester import CsmsTest

F: Final[Block[CsmsTest]] = Block(needs=("remote start",), booted=True)


# -- remote start


async def remote_start(t: CsmsTest, requirement: str, transaction: Transaction | None = None) -> int:
    """Have the back end start a transaction with the token; return its remoteStartId."""
    answer: Payload = {"status": "Accepted"}
    t.answer("RequestStartTransaction", answer | ({"transactionId": transaction.id} if transaction else {}))
    wanted: Payload = {"idToken": t.declared.token.payload, "evseId": 1, "remoteStartId": t.next_id()}
    return int((await t.asked("RequestStartTransaction", requirement, **wanted))["remoteStartId"])


async def _remote_event(transaction: Transaction, kind: str, number: int) -> None:
    info = {"remoteStartId": number}
    transaction.accepted(await transaction.event(kind, "RemoteStart", info=info, token=transaction.token))
    transaction.remotely_started()


@F.case("TC_F_01_CSMS", "Remote start after the cable", also="E01.FR.12", quick=True)
async def remote_start_after_cable(t: CsmsTest) -> None:
    """The back end asks to start with the token, and accepts it in the events of the transaction."""
    transaction = Transaction(t)
    await given(transaction.plugged())
    number = await remote_start(t, "F01.FR.01", transaction)
    await _remote_event(transaction, "Updated", number)
    await transaction.started()


def _start_first(id: str, title: str, requirement: str, *, authorizes: bool) -> None:  # noqa: A002 - as in every case
    @F.case(id, title, requirements=("F02.FR.01", requirement, "E01.FR.12"))
    async def script(t: CsmsTest) -> None:
        """The back end asks to start with the token, and accepts it whenever the station presents it."""
        transaction = Transaction(t)
        number = await remote_start(t, "F02.FR.01")
        if authorizes:
            await transaction.authorize()
        await _remote_event(transaction, "Started", number)
        await transaction.started()


_start_first("TC_F_02_CSMS", "Remote start first, authorized by the station", "F01.FR.01", authorizes=True)
_start_first("TC_F_03_CSMS", "Remote start first, not authorized by the station", "F01.FR.02", authorizes=False)


@F.case("TC_F_04_CSMS", "Remote start without a vehicle", requirements="E03.FR.05 J02.FR.19")
async def remote_start_without_vehicle(t: CsmsTest) -> None:
    """The back end acknowledges that no vehicle was connected in time."""
    transaction = Transaction(t)
    await _remote_event(transaction, "Started", await remote_start(t, "F02.FR.01"))
    await transaction.event("Updated", "EVConnectTimeout")


@F.case("TC_F_06_CSMS", "Unlock a connector", also="F05", needs=("unlock",))
async def unlock(t: CsmsTest) -> None:
    """The back end asks to unlock the connector of the EVSE."""
    await t.asked("UnlockConnector", "F05", evseId=1, connectorId=1)


# -- triggers


async def _meter_values(t: CsmsTest, *evses: int) -> None:
    value = Transaction(t).reading("Trigger")
    for evse in evses:
        await t.call("MeterValues", evseId=evse, meterValue=[value])


async def _events(t: CsmsTest, transaction: Transaction | None, *, placed: bool) -> None:
    assert transaction is not None
    await transaction.event("Updated", "Trigger", state="Charging", context="Trigger", placed=placed)


async def _heartbeat(t: CsmsTest) -> None:
    t.is_now((await t.call("Heartbeat"))["currentTime"], "G02.FR.03")


Then = Callable[[CsmsTest, Transaction | None], Awaitable[None]]


def _trigger(
    id: str,  # noqa: A002
    message: str,
    evse: Payload | None,
    then: Then,
    *,
    title: str = "",
    charging: bool = False,
) -> None:
    where = "of all EVSEs" if evse is None else "of an EVSE"
    requirements = ("F06.FR.01", *(("F06.FR.02",) if evse else ()), *(("F06.FR.13",) if evse and len(evse) > 1 else ()))

    @F.case(
        id, title or f"Trigger {message} {where}", profiles=("Core",),
        needs=(f"trigger of {message}",),
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        """The back end triggers the message, for the EVSE if one is meant, and acknowledges it."""
        transaction = Transaction(t) if charging else None
        with precondition():
            if transaction is not None:
                await transaction.started()
            if title.endswith("occupied"):
                await t.connector("Occupied")
        place: Payload = {} if evse is None else {"evse": evse}
        free = () if message in _PLACED else ("evse",)  # F06.FR.03
        await t.asked("TriggerMessage", requirements[-1], free=free, requestedMessage=message, **place)
        await then(t, transaction)


_PLACED: Final = frozenset({"MeterValues", "StatusNotification", "TransactionEvent"})
"""Messages about an EVSE; with others stations ignore it."""

_EVSE: Final[Payload] = {"id": 1}
_CONNECTOR: Final[Payload] = {"id": 1, "connectorId": 1}

_trigger("TC_F_11_CSMS", "MeterValues", _EVSE, lambda t, _: _meter_values(t, 1))
_trigger("TC_F_12_CSMS", "MeterValues", None, lambda t, _: _meter_values(t, 1, 2))
_trigger("TC_F_13_CSMS", "TransactionEvent", _EVSE, lambda t, running: _events(t, running, placed=True), charging=True)
_trigger("TC_F_14_CSMS", "TransactionEvent", None, lambda t, running: _events(t, running, placed=False), charging=True)
_trigger(
    "TC_F_15_CSMS", "LogStatusNotification", None, lambda t, _: _done(t, "LogStatusNotification"),
    title="Trigger LogStatusNotification",
)  # fmt: skip
_trigger(
    "TC_F_18_CSMS", "FirmwareStatusNotification", None, lambda t, _: _done(t, "FirmwareStatusNotification"),
    title="Trigger FirmwareStatusNotification",
)  # fmt: skip
_trigger("TC_F_20_CSMS", "Heartbeat", None, lambda t, _: _heartbeat(t), title="Trigger Heartbeat")
_trigger(
    "TC_F_23_CSMS", "StatusNotification", _CONNECTOR, lambda t, _: t.connector("Available"),
    title="Trigger StatusNotification of a connector, available",
)  # fmt: skip
_trigger(
    "TC_F_24_CSMS", "StatusNotification", _CONNECTOR, lambda t, _: t.connector("Occupied"),
    title="Trigger StatusNotification of a connector, occupied",
)  # fmt: skip


async def _done(t: CsmsTest, action: str) -> None:
    await t.call(action, status="Idle")


@F.case("TC_F_27_CSMS", "Trigger of a message that the station does not have", requirements="F06.FR.08", needs=())
async def trigger_not_implemented(t: CsmsTest) -> None:
    """The back end continues after the answer NotImplemented."""
    t.answer("TriggerMessage", {"status": "NotImplemented"})
    certificate = "SignChargingStationCertificate"  # where an EVSE says nothing
    await t.asked("TriggerMessage", "F06.FR.01", free=("evse",), requestedMessage=certificate)
    await t.call("Heartbeat")


@F.case("TC_F_100_CSMS", "Custom trigger", versions=("2.1",), needs=("custom triggers",))
async def custom_trigger(t: CsmsTest) -> None:
    """The back end asks for the message by its custom name."""
    await t.asked("TriggerMessage", "F06.FR.20", requestedMessage="CustomTrigger", customTrigger="NotifyChargingLimit")
