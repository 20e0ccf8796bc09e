"""Functional block O, display messages: cases for back ends."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Payload, Profile, given, precondition
from v2g_testkit.ocpp.csms_cases.transaction import charging
from v2g_testkit.ocpp.csms_tester import CsmsTest, covers
from v2g_testkit.ocpp.operator import NEW_MESSAGE

O: Final[Block[CsmsTest]] = Block(profiles=(), needs=("display messages",), booted=True)  # noqa: E741 - the block's letter
O_SOME: Final = O.having(needs=("display messages", "some messages are read"))

_PROFILE: Final[tuple[Profile, ...]] = ("Advanced User Interface",)
_UNKNOWN: Final = 4711
"""Id of a message that is not there."""


async def _shows(
    t: CsmsTest,
    requirement: str,
    status: str = "Accepted",
    *,
    number: int = NEW_MESSAGE,
    content: str = "Hello",
    format: str = "UTF8",  # noqa: A002 - OCPP's name
    **more: object,
) -> Payload:
    """Have the back end show a message, `more` sets fields of it; return what it sent, under an id of its choice."""
    t.answer("SetDisplayMessage", {"status": status})
    text = {"format": format, "content": content}
    wanted: Payload = {"priority": "NormalCycle", "message": text, **more}
    sent = await t.asked("SetDisplayMessage", requirement, free=("message",), message={"id": number, **wanted})
    found: Payload = sent["message"]
    for name in ("startDateTime", "endDateTime"):
        if name in wanted:
            t.check(name in found, requirement, f"the message has no {name}")
            t.is_at(found[name], wanted[name], requirement)
            wanted[name] = found[name]
    t.check(covers(found, wanted | {"id": found["id"]}), requirement, f"shows {found} instead of {wanted}")
    return found


@O.case("TC_O_01_CSMS", "Show a message", profiles=_PROFILE, quick=True)
async def show(t: CsmsTest) -> None:
    """The back end sends the message as it was asked for, and each one under an id of its own."""
    first = await _shows(t, "O01.FR.04", priority="AlwaysFront", state="Idle")
    second = await _shows(t, "O01.FR.04", content="Welcome", state="Idle")
    t.check(first["id"] != second["id"], "O01.FR.04", f"both messages have the id {first['id']}")


def _wish(id: str, title: str, requirement: str, status: str = "Accepted", **more: Any) -> None:  # noqa: A002
    @O.case(id, title, requirements=(requirement,), profiles=() if id == "TC_O_25_CSMS" else _PROFILE)
    async def script(t: CsmsTest) -> None:
        """The back end sends the message as it was asked for, and continues after the answer."""
        await _shows(t, requirement, status, **more)
        await t.call("Heartbeat")


_wish(
    "TC_O_17_CSMS", "Message of a priority that the station does not have", "O01.FR.01", "NotSupportedPriority",
    priority="AlwaysFront",
)  # fmt: skip
_wish(
    "TC_O_18_CSMS", "Message for a state that the station does not have", "O01.FR.02", "NotSupportedState",
    state="Charging",
)  # fmt: skip
_wish(
    "TC_O_19_CSMS", "Message of a format that the station does not have", "O01.FR.03", "NotSupportedMessageFormat",
    format="HTML", content="<b>Hello</b>",
)  # fmt: skip
_wish("TC_O_25_CSMS", "Message for a state", "O01", state="Charging")
_wish("TC_O_26_CSMS", "Message that the station refuses", "O01", "Rejected")


def _timed(id: str, title: str, field: str) -> None:  # noqa: A002
    @O.case(id, title, profiles=_PROFILE, needs=("display messages", "times of messages"))
    async def script(t: CsmsTest) -> None:
        """The back end sends the message with the right time."""
        when: Payload = {field: t.later(300)}
        await _shows(t, "O01.FR.05", **when)


_timed("TC_O_13_CSMS", "Message from a time on", "startDateTime")
_timed("TC_O_14_CSMS", "Message until a time", "endDateTime")


@O.case("TC_O_12_CSMS", "Replace a message", requirements="O06.FR.01", profiles=_PROFILE)
async def replace(t: CsmsTest) -> None:
    """The back end sends the changed message under the same id."""
    first = await given(_shows(t, "O01.FR.04"))
    second = await _shows(t, "O06.FR.01", number=first["id"], content="Good bye", priority="InFront")
    t.check(second["id"] == first["id"], "O06.FR.01", f"replaces {first['id']} by {second['id']}")


# -- messages of a transaction


@O.case("TC_O_06_CSMS", "Message of a transaction", also="O02", needs=("messages of transactions",))
async def show_in_transaction(t: CsmsTest) -> None:
    """The back end sends the message with the transactionId, and follows the transaction to its end."""
    transaction = await charging(t)
    await _shows(t, "O02", transactionId=transaction.id)
    await transaction.stop_authorized()
    await transaction.post_session()
    await transaction.unplugged()


@O.case(
    "TC_O_10_CSMS",
    "Message of a transaction that the station does not know",
    needs=("messages of transactions", "messages of unknown transactions"),
)
async def show_in_unknown_transaction(t: CsmsTest) -> None:
    """The back end sends the message with a transactionId, and continues after the answer."""
    await charging(t)
    await _shows(t, "O02.FR.01", "UnknownTransaction", transactionId="unknown")
    await t.call("Heartbeat")


def _timed_in_transaction(id: str, title: str, field: str, **more: Any) -> None:  # noqa: A002
    @O.case(id, title, also="O02", needs=("messages of transactions", "times of messages"))
    async def script(t: CsmsTest) -> None:
        """The back end sends the message with the transactionId and the right time."""
        transaction = await charging(t)
        when: Payload = {field: t.later(300)}
        await _shows(t, "O02", transactionId=transaction.id, **when, **more)


_timed_in_transaction("TC_O_27_CSMS", "Message of a transaction from a time on", "startDateTime")
_timed_in_transaction("TC_O_28_CSMS", "Message of a transaction until a time", "endDateTime", state="Charging")


# -- which messages there are

_CRITERIA: Final = frozenset({"id", "priority", "state"})


async def _asks(t: CsmsTest, requirement: str, status: str, **criteria: Any) -> int:
    """Have the back end ask for messages, and only for these; return the number of the request."""
    t.answer("GetDisplayMessages", {"status": status})
    without = tuple(_CRITERIA - criteria.keys())
    sent = await t.asked("GetDisplayMessages", requirement, without=without, requestId=t.next_id(), **criteria)
    ids = sent.get("id")
    t.check(ids == criteria.get("id"), requirement, f"asks for {ids} instead of {criteria.get('id')}")
    return int(sent["requestId"])


async def _reports(t: CsmsTest, number: int, *messages: Payload) -> None:
    for part, message in enumerate(messages, 1):
        more = {"tbc": part < len(messages)}
        await t.call("NotifyDisplayMessages", requestId=number, messageInfo=[message], **more)


@O.case("TC_O_02_CSMS", "All messages", requirements="O03.FR.02", needs=("display messages", "messages are read"))
async def get_all(t: CsmsTest) -> None:
    """The back end asks without criteria, and acknowledges each part of the report."""
    with precondition():
        messages = [await _shows(t, "O01.FR.04", content=each) for each in ("Hello", "Welcome")]
    await _reports(t, await _asks(t, "O03.FR.02", "Accepted"), *messages)


@O.case("TC_O_03_CSMS", "All messages where there is none", needs=("messages are read",))
async def get_all_of_none(t: CsmsTest) -> None:
    """The back end asks without criteria, and continues after the answer."""
    await _asks(t, "O03.FR.06", "Unknown")
    await t.call("Heartbeat")


@O_SOME.case("TC_O_07_CSMS", "A message by its id", requirements="O04.FR.03")
async def get_by_id(t: CsmsTest) -> None:
    """The back end asks for the one id, and acknowledges the report."""
    message = await given(_shows(t, "O01.FR.04"))
    await _reports(t, await _asks(t, "O04.FR.03", "Accepted", id=[message["id"]]), message)


def _some(id: str, field: str, value: str) -> None:  # noqa: A002
    @O_SOME.case(id, f"Messages by their {field}", requirements="O04.FR.03")
    async def script(t: CsmsTest) -> None:
        """The back end asks for the right report, and acknowledges it."""
        about: Payload = {field: value}
        message = await given(_shows(t, "O01.FR.04", **about))
        await _reports(t, await _asks(t, "O04.FR.03", "Accepted", **about), message)


_some("TC_O_08_CSMS", "priority", "InFront")
_some("TC_O_09_CSMS", "state", "Charging")


@O.case("TC_O_11_CSMS", "A message that is not there", needs=("some messages are read",))
async def get_unknown(t: CsmsTest) -> None:
    """The back end asks for the one id, and continues after the answer."""
    await _asks(t, "O04.FR.02", "Unknown", id=[_UNKNOWN])
    await t.call("Heartbeat")


# -- remove


async def _clears(t: CsmsTest, requirement: str, number: int, status: str) -> None:
    t.answer("ClearDisplayMessage", {"status": status})
    sent = await t.asked("ClearDisplayMessage", requirement, id=number)
    t.check(sent["id"] == number, requirement, f"clears {sent['id']} instead of {number}")
    await t.call("Heartbeat")


@O.case(
    "TC_O_04_CSMS", "Remove a message", requirements="O05.FR.01", needs=("display messages", "messages are cleared")
)
async def clear(t: CsmsTest) -> None:
    """The back end clears the message under the id with which it showed it."""
    message = await given(_shows(t, "O01.FR.04"))
    await _clears(t, "O05.FR.01", message["id"], "Accepted")


@O.case("TC_O_05_CSMS", "Remove a message that is not there", needs=("messages are cleared",))
async def clear_unknown(t: CsmsTest) -> None:
    """The back end clears the right id, and continues after the answer."""
    await _clears(t, "O05.FR.02", _UNKNOWN, "Unknown")
