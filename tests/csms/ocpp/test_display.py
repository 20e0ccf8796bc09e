"""Functional block O, display messages, beyond the cases of the test lab."""

from typing import Any

import msgspec
import pytest

from csms.display import store as rows
from csms.display import work as display
from tests.csms.backend import Backend
from tests.csms.customers import request_of
from tests.csms.scripted_station import Payload, ScriptedStation
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
