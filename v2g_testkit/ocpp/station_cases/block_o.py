"""Functional block O, display messages: cases for charging stations."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.driver import Step
from v2g_testkit.ocpp.station_cases.steps import asks_about, connector_is, ended, forget_tokens, let_be, reset
from v2g_testkit.ocpp.station_tester import StationTest

O: Final[Block[StationTest]] = Block(profiles=("Advanced User Interface",), needs=("DisplayMessageCtrlr.Available",))  # noqa: E741 - the block's letter

PRIORITIES: Final = frozenset({"AlwaysFront", "InFront", "NormalCycle"})
FORMATS: Final = frozenset({"ASCII", "HTML", "URI", "UTF8"})
"""Of OCPP 2.0.1; 2.1 has QRCODE too."""


async def _supported(t: StationTest, variable: str) -> list[str]:
    return [each.strip() for each in (await t.value("DisplayMessageCtrlr", variable)).split(",")]


async def _message(t: StationTest, text: str = "Test of a message", **more: object) -> Payload:
    """Return a message in a format and priority that the station supports."""
    formats, priorities = await _supported(t, "SupportedFormats"), await _supported(t, "SupportedPriorities")
    priority = "NormalCycle" if "NormalCycle" in priorities else priorities[0]
    kind = next((each for each in ("UTF8", "ASCII") if each in formats), formats[0])
    message = {"format": kind, "content": text, "language": "en"}
    return {"id": t.next_id(), "priority": priority, "message": message} | more


async def _set(t: StationTest, message: Payload) -> str:
    """Send a message; return the status. It is cleared after the case."""
    t.undo(lambda: t.ask("ClearDisplayMessage", id=message["id"]))
    return str((await t.ask("SetDisplayMessage", message=message))["status"])


async def _accepts(t: StationTest, requirement: str = "O01.FR.12", **more: Any) -> Payload:
    """Set a message; return it. Raises Failed."""
    message = await _message(t, **more)
    t.equal(await _set(t, message), "Accepted", requirement, "answers {}")
    return message


async def _get(t: StationTest, **criteria: object) -> dict[int, Payload]:
    """Return the messages that match, by id; none for the status Unknown."""
    number = t.next_id()
    answer = await t.ask("GetDisplayMessages", requestId=number, **criteria)
    if answer["status"] != "Accepted":
        t.check(answer["status"] == "Unknown", "O03.FR.02", f"answers {answer['status']}")
        return {}
    found: dict[int, Payload] = {}
    while True:
        part = await t.expect("NotifyDisplayMessages", "O03.FR.03", requestId=number)
        found |= {each["id"]: each for each in part.get("messageInfo", [])}
        if not part.get("tbc", False):
            return found


async def _cleared(t: StationTest) -> None:
    """Remove all messages."""
    for number in await _get(t):
        await t.ask("ClearDisplayMessage", id=number)


async def _has(t: StationTest, message: Payload, requirement: str, **more: object) -> Payload:
    """Expect the station to report a message as it was sent."""
    found = (await _get(t, id=[message["id"]])).get(message["id"])
    t.check(found is not None, requirement, "does not report the message")
    assert found is not None
    for name in ("priority", *more):
        expected = more.get(name, message[name])
        t.check(found.get(name) == expected, requirement, f"reports {name} {found.get(name)} instead of {expected}")
    text, kind = found["message"].get("content"), found["message"].get("format")
    expected = message["message"]
    t.check(text == expected["content"], requirement, f"reports the text {text!r}")
    t.check(kind == expected["format"], requirement, f"reports the format {kind}")
    return found


async def _is_gone(t: StationTest, message: Payload, requirement: str) -> None:
    t.check(not await _get(t, id=[message["id"]]), requirement, "still reports the message")


async def _leave(t: StationTest) -> None:
    """Stop with the token, and unplug."""
    await t.present()
    await t.unplug()
    await ended(t, "E07.FR.02")
    await t.wait(2)


@O.case("TC_O_01_CS", "Set a message", quick=True)
async def set_one(t: StationTest) -> None:
    """The station accepts the message, and reports it as it was sent."""
    await _has(t, await _accepts(t), "O01.FR.12")


@O.case("TC_O_02_CS", "Get all messages", also="O03.FR.01 O03.FR.02 O03.FR.04")
async def get_all(t: StationTest) -> None:
    """The station reports all of its messages."""
    with precondition():
        messages = [await _accepts(t, text=f"Message {number}") for number in (1, 2)]
    missing = {each["id"] for each in messages} - set(await _get(t))
    t.check(not missing, "O03.FR.03", f"does not report {len(missing)} of 2 messages")


def _case_of_none(number: int, title: str, requirement: str, **criteria: object) -> None:
    @O.case(f"TC_O_{number:02}_CS", title)
    async def script(t: StationTest) -> None:
        """The station answers that it knows no such message."""
        await given(_cleared(t))
        await t.must_answer("Unknown", requirement, "GetDisplayMessages", requestId=t.next_id(), **criteria)


_case_of_none(3, "Get all messages where there are none", "O03.FR.06")
_case_of_none(33, "Get a message where there are none", "O04.FR.07", id=[4711])


@O.case("TC_O_04_CS", "Clear a message")
async def clear(t: StationTest) -> None:
    """The station clears the message, and does not report it any more."""
    message = await given(_accepts(t))
    await t.must_answer("Accepted", "O05.FR.01", "ClearDisplayMessage", id=message["id"])
    await _is_gone(t, message, "O05.FR.01")


@O.case("TC_O_05_CS", "Clear an unknown message")
async def clear_unknown(t: StationTest) -> None:
    """The station answers that it knows no such message."""
    await t.must_answer("Unknown", "O05.FR.02", "ClearDisplayMessage", id=t.next_id())


@O.case("TC_O_06_CS", "Message of a transaction")
async def of_transaction(t: StationTest) -> None:
    """The station accepts the message, and removes it when the transaction has ended."""
    transaction = await t.charging()
    message = await _accepts(t, "O02.FR.02", transactionId=transaction)
    await _has(t, message, "O02.FR.14", transactionId=transaction)
    await _leave(t)
    await _is_gone(t, message, "O02.FR.02")


@O.case("TC_O_10_CS", "Message of an unknown transaction")
async def of_unknown(t: StationTest) -> None:
    """The station answers that it knows no such transaction."""
    status = await _set(t, await _message(t, transactionId="no-such-transaction"))
    t.check(status == "UnknownTransaction", "O02.FR.01", f"answers {status}")


def _case_of_get(number: int, title: str, requirement: str, wanted: str, *, matches: bool) -> None:
    """Add a case in which a message is looked for by its id, priority or state, which it has or not."""

    @O.case(f"TC_O_{number:02}_CS", title)
    async def script(t: StationTest) -> None:
        """The station reports the message that matches, and no others."""
        with precondition():
            await _cleared(t)
            priorities = await _supported(t, "SupportedPriorities")
            t.needs(len(priorities) > 1 or wanted != "priority", "the station has a single priority")
            message = await _accepts(t, **({"state": "Charging"} if wanted == "state" else {}))
            await _accepts(t, text="Another message", **({"state": "Idle"} if wanted == "state" else {}))
        other = next(each for each in (*priorities, "") if each != message["priority"])
        criteria: dict[str, object] = {
            ("id", True): {"id": [message["id"]]},
            ("id", False): {"id": [t.next_id()]},
            ("priority", True): {"priority": message["priority"]},
            ("priority", False): {"id": [message["id"]], "priority": other},
            ("state", True): {"state": "Charging"},
            ("state", False): {"id": [message["id"]], "state": "Idle"},
        }[wanted, matches]
        found = set(await _get(t, **criteria))
        if wanted == "priority" and matches:
            t.check(message["id"] in found, requirement, "does not report the message")
        else:
            expected = {message["id"]} if matches else set()
            t.check(found == expected, requirement, f"reports {len(found)} messages instead of {len(expected)}")


_case_of_get(7, "Get a message by its id", "O04.FR.03", "id", matches=True)
_case_of_get(8, "Get messages by priority", "O04.FR.03", "priority", matches=True)
_case_of_get(9, "Get messages by state", "O04.FR.03", "state", matches=True)
_case_of_get(11, "Get a message by an unknown id", "O04.FR.02", "id", matches=False)
_case_of_get(34, "Get a message by a state that it does not have", "O04.FR.02", "state", matches=False)
_case_of_get(35, "Get a message by a priority that it does not have", "O04.FR.02", "priority", matches=False)


@O.case("TC_O_12_CS", "Replace a message")
async def replace(t: StationTest) -> None:
    """The station accepts a message of the same id, and has it instead of the first."""
    first = await given(_accepts(t))
    second = await _accepts(t, "O06.FR.01", text="The second message", id=first["id"])
    await _has(t, second, "O06.FR.01")


def _case_of_time(number: int, title: str, requirement: str, *, of_transaction: bool, starts: bool) -> None:
    """Add a case in which a message has a start, or an end, some seconds ahead."""

    @O.case(f"TC_O_{number}_CS", title, requirements=(requirement,))
    async def script(t: StationTest) -> None:
        """The station has the message with its time, and not beyond the end."""
        more = {"transactionId": await t.charging()} if of_transaction else {}
        name = "startDateTime" if starts else "endDateTime"
        message = await _accepts(t, requirement, **{name: t.later(15)}, **more)
        found = await _has(t, message, requirement)
        t.check(name in found, requirement, f"reports the message without {name}")
        await t.wait(20)
        if not starts:
            await _is_gone(t, message, requirement)
        elif of_transaction:
            await _leave(t)
            await _is_gone(t, message, "O02.FR.02")
        else:
            await _has(t, message, requirement)


_case_of_time(13, "Message with a start", "O01.FR.06", of_transaction=False, starts=True)
_case_of_time(14, "Message with an end", "O01.FR.07", of_transaction=False, starts=False)
_case_of_time(27, "Message of a transaction with a start", "O02.FR.06", of_transaction=True, starts=True)
_case_of_time(28, "Message of a transaction with an end", "O02.FR.07", of_transaction=True, starts=False)


@O.case("TC_O_17_CS", "Message in a priority that is not supported")
async def wrong_priority(t: StationTest) -> None:
    """The station answers that it does not support the priority."""
    other = sorted(PRIORITIES - set(await _supported(t, "SupportedPriorities")))
    t.needs(bool(other), "the station supports all priorities")
    t.equal(await _set(t, await _message(t, priority=other[0])), "NotSupportedPriority", "O01.FR.01", "answers {}")


@O.case("TC_O_19_CS", "Message in a format that is not supported")
async def wrong_format(t: StationTest) -> None:
    """The station answers that it does not support the format."""
    other = sorted(FORMATS - set(await _supported(t, "SupportedFormats")))
    t.needs(bool(other), "the station supports all formats")
    message = await _message(t)
    message["message"]["format"] = other[0]
    t.equal(await _set(t, message), "NotSupportedMessageFormat", "O01.FR.03", "answers {}")


@O.case("TC_O_20_CS", "A message stays over a reset")
async def persists(t: StationTest) -> None:
    """After a reset the station reports the message as it was sent."""
    with precondition():
        message = await _accepts(t)
        await reset(t)
    await _has(t, message, "O01.FR.10")


def _case_of_two(number: int, title: str, requirement: str, priority: str, *, of_transaction: bool) -> None:
    """Add a case with two messages of a priority, of which AlwaysFront is that of one message only."""

    @O.case(f"TC_O_{number}_CS", title, requirements=(requirement,))
    async def script(t: StationTest) -> None:
        """The station has both messages, or the second only where the priority is AlwaysFront."""
        with precondition():
            t.needs(priority in await _supported(t, "SupportedPriorities"), f"the station does not support {priority}")
            await _cleared(t)
        more = {"transactionId": await t.charging()} if of_transaction else {}
        first = await _accepts(t, requirement, text="The first", priority=priority, **more)
        second = await _accepts(t, requirement, text="The second", priority=priority, **more)
        if priority == "AlwaysFront":
            await _is_gone(t, first, requirement)
        else:
            await _has(t, first, requirement)
        await _has(t, second, requirement)
        if of_transaction:
            await _leave(t)
            await _is_gone(t, second, "O02.FR.02")


_case_of_two(22, "Two messages in front", "O01.FR.14", "InFront", of_transaction=False)
_case_of_two(24, "Two messages always in front", "O01.FR.16", "AlwaysFront", of_transaction=False)
_case_of_two(30, "Two messages of a transaction in front", "O02.FR.16", "InFront", of_transaction=True)
_case_of_two(32, "Two messages of a transaction always in front", "O02.FR.18", "AlwaysFront", of_transaction=True)


def _case_of_state(number: int, state: str) -> None:
    @O.case(f"TC_O_{number}_CS", f"Message for the state {state}", requirements="O01.FR.12")
    async def script(t: StationTest) -> None:
        """The station accepts the message, and still has it after it was in that state."""
        message = await _message(t, state=state)
        status = await _set(t, message)
        t.needs(status != "NotSupportedState", f"the station does not support messages for {state}")
        t.check(status == "Accepted", "O01.FR.12", f"answers {status}")
        if state == "Unavailable":
            t.undo(lambda: t.ask("ChangeAvailability", operationalStatus="Operative"))
            await t.ask("ChangeAvailability", operationalStatus="Inoperative")
            await connector_is(t, "Unavailable", "G04.FR.07")
            await t.ask("ChangeAvailability", operationalStatus="Operative")
            await connector_is(t, "Available", "G04.FR.08")
        elif state == "Faulted":
            t.undo(lambda: t.do(Step("clear")))
            await t.do(Step("fault"))
            await connector_is(t, "Faulted", "G01.FR.01")
            await t.do(Step("clear"))
            await connector_is(t, "Available", "G01.FR.01")
        else:
            await t.charging()
            await _leave(t)
        await _has(t, message, "O01.FR.12", state=state)


_case_of_state(36, "Charging")
_case_of_state(37, "Idle")
_case_of_state(38, "Unavailable")
_case_of_state(39, "Faulted")


@O.case("TC_O_15_CS", "Message to a driver with a language of their own", requirements="O01.FR.12")
async def language(t: StationTest) -> None:
    """The station accepts a message while a driver charges whose language the back end has named."""
    with precondition():
        await forget_tokens(t)
        let_be(t, {t.token: {"status": "Accepted", "language1": "nl"}})
        await t.plug()
        await t.present()
        await asks_about(t, t.token, "C01.FR.02")
        await t.flowing()
    message = await _accepts(t)
    await _has(t, message, "O03.FR.04")


@O.case("TC_O_18_CS", "Message for a state that is not supported")
async def state_not_supported(t: StationTest) -> None:
    """The station answers NotSupportedState."""
    supported = await _supported(t, "SupportedStates") if t.has("DisplayMessageCtrlr.SupportedStates") else []
    states = ("Charging", "Faulted", "Idle", "Unavailable")
    other = next((each for each in states if supported and each not in supported), "")
    t.needs(bool(other), "it supports all states")
    status = await _set(t, await _message(t, state=other))
    t.check(status == "NotSupportedState", "O01.FR.02", f"answers {status} to {other}")
