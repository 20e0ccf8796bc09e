"""Functional block O, display messages: CSMS cases of OCPP 2.0.1 part 6."""

from typing import Any

import msgspec
import pytest

from csms.db.queries import diagnostics as rows
from csms.services.background import run_periodic
from csms.services.stations import display
from tests.certification.backend import Backend
from tests.certification.charging import Charging
from tests.certification.fleet import TOKENS, Start, accepted, request_of
from tests.certification.scripted import Payload, ScriptedStation
from v2g.errors import RefusedError
from v2g.ocpp.messages.base import MessageContent
from v2g.ocpp.messages.display import MessageInfo
from v2g.ocpp.times import format_time

HELLO = MessageInfo(id=0, priority="NormalCycle", message=MessageContent(format="UTF8", language="en", content="Hello"))


async def show(
    csms: Backend, station: ScriptedStation, status: str = "Accepted", *, replaces: int | None = None, **changes: Any
) -> int:
    """Have the back end show a message; check that it is sent as wished. Return its number."""
    station.answers["SetDisplayMessage"] = {"status": status}
    info = msgspec.structs.replace(HELLO, **changes)
    shown = await display.show(csms.services, station.id, info, replaces=replaces)
    assert shown.response.status == status
    sent = station.payloads("SetDisplayMessage")[-1]["message"]
    wished: Payload = msgspec.json.decode(msgspec.json.encode(info))
    assert sent == {**wished, "id": shown.message_id}
    return shown.message_id


async def shown(csms: Backend, station: ScriptedStation) -> list[int]:
    """Return the numbers of the messages that are there."""
    return [each["message_id"] for each in await csms.services.store.run(rows.list_messages, station.id, shown=True)]


async def report(csms: Backend, station: ScriptedStation, status: str, *found: Payload, **which: Any) -> Payload:
    """Have the back end ask for messages; the station has `found`. Return what was asked for."""
    station.answers["GetDisplayMessages"] = {"status": status}
    asked = await display.report(csms.services, station.id, **which)
    sent = station.payloads("GetDisplayMessages")[-1]
    assert sent.pop("requestId") == asked.request_id
    for number, message in enumerate(found, 1):
        part = {"requestId": asked.request_id, "messageInfo": [message], "tbc": number < len(found)}
        assert await station.call("NotifyDisplayMessages", part) == {}
    assert (await request_of(csms, asked.request_id))["done_ms"] is not None
    return sent


def on_display(number: int, **changes: Any) -> Payload:
    """Return a message as a station reports it."""
    content = {"format": "UTF8", "content": "Hello"}
    return {"id": number, "priority": "NormalCycle", "message": content, **changes}


async def test_tc_o_01_csms_set_message(csms: Backend) -> None:
    station = await csms.booted()
    number = await show(csms, station, state="Idle", priority="AlwaysFront")
    assert await shown(csms, station) == [number]


async def test_tc_o_02_csms_get_all_messages(csms: Backend) -> None:
    station = await csms.booted()
    assert await report(csms, station, "Accepted", on_display(3), on_display(4)) == {}
    assert await shown(csms, station) == [3, 4]


async def test_tc_o_03_csms_get_all_messages_none(csms: Backend) -> None:
    assert await report(csms, await csms.booted(), "Unknown") == {}


async def test_tc_o_04_csms_clear_message(csms: Backend) -> None:
    station = await csms.booted()
    number = await show(csms, station)
    station.answers["ClearDisplayMessage"] = accepted
    assert (await display.clear(csms.services, station.id, number)).status == "Accepted"
    assert station.payloads("ClearDisplayMessage") == [{"id": number}]
    assert await shown(csms, station) == []


async def charging_at(csms: Backend) -> Charging:
    """Return a transaction that runs."""
    charging = Charging(csms, await csms.booted())
    await charging.started()
    return charging


async def test_tc_o_06_csms_message_of_a_transaction(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        charging = await charging_at(csms)
        number = await show(csms, charging.station, transaction_id=charging.id)
        assert await shown(csms, charging.station) == [number]
        await charging.post_session()
        await charging.unplugged()
        assert await shown(csms, charging.station) == []  # O02.FR.02


async def test_tc_o_10_csms_message_of_an_unknown_transaction(csms: Backend) -> None:
    station = await csms.booted()
    await show(csms, station, "UnknownTransaction", transaction_id="unheard-of")
    assert await shown(csms, station) == []


async def test_tc_o_11_csms_get_a_message_that_is_not_there(csms: Backend) -> None:
    station = await csms.booted()
    number = await show(csms, station)
    assert await report(csms, station, "Unknown", ids=[number + 1]) == {"id": [number + 1]}


async def test_tc_o_12_csms_replace_a_message(csms: Backend) -> None:
    station = await csms.booted()
    number = await show(csms, station)
    content = MessageContent(format="UTF8", content="Good bye")
    assert await show(csms, station, replaces=number, message=content, priority="InFront") == number
    (kept,) = await csms.services.store.run(rows.list_messages, station.id)
    assert kept["document"]["message"]["content"] == "Good bye"


async def expires(csms: Backend, station: ScriptedStation, **changes: Any) -> None:
    """A message is gone at its end."""
    until = csms.clock.utc_ms() + 60_000
    number = await show(csms, station, end_date_time=format_time(until), **changes)
    csms.clock.advance(59)
    await run_periodic(csms.services)
    assert await shown(csms, station) == [number]
    csms.clock.advance(1)
    await run_periodic(csms.services)
    assert await shown(csms, station) == []


async def test_tc_o_14_csms_message_until_a_time(csms: Backend) -> None:
    await expires(csms, await csms.booted())


async def refused(csms: Backend, status: str, **changes: Any) -> None:
    """The station does not take a message: it is not there."""
    station = await csms.booted()
    await show(csms, station, status, **changes)
    assert await shown(csms, station) == []


async def test_tc_o_17_csms_priority_not_supported(csms: Backend) -> None:
    await refused(csms, "NotSupportedPriority", priority="AlwaysFront")


async def test_tc_o_18_csms_state_not_supported(csms: Backend) -> None:
    await refused(csms, "NotSupportedState", state="Charging")


async def test_tc_o_19_csms_format_not_supported(csms: Backend) -> None:
    await refused(csms, "NotSupportedMessageFormat", message=MessageContent(format="HTML", content="<b>Hello</b>"))


async def test_tc_o_26_csms_message_rejected(csms: Backend) -> None:
    await refused(csms, "Rejected")


async def test_tc_o_28_csms_message_of_a_transaction_until_a_time(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        charging = await charging_at(csms)
        await expires(csms, charging.station, transaction_id=charging.id, state="Charging")


# -- beyond the cases


async def test_a_report_of_all_messages_says_which_are_gone(csms: Backend) -> None:
    station = await csms.booted()
    first, second = await show(csms, station), await show(csms, station)
    await report(csms, station, "Accepted", on_display(second), ids=[second])
    assert await shown(csms, station) == [first, second]
    await report(csms, station, "Accepted", on_display(second), on_display(9))
    assert await shown(csms, station) == [second, 9]
    assert await show(csms, station) == 10


async def test_a_message_that_would_be_over_is_not_sent(csms: Backend) -> None:
    station = await csms.booted()
    with pytest.raises(RefusedError, match="ended already"):
        await show(csms, station, end_date_time=format_time(csms.clock.utc_ms()))
    assert station.calls == []
