"""Messages on stations' displays (block O)."""

from typing import Annotated, Any

import msgspec

from csms.accounts.rules import Permission
from csms.display import store as rows
from csms.display import work as display
from csms.display.work import Shown
from csms.http.call import Call
from csms.http.operations import Page, get, to_station
from csms.http.parameters import Number, Paged, StationId, page_of, shown
from csms.requests.work import Asked
from v2g.ocpp.messages.display import ClearDisplayMessageResponse, GetDisplayMessagesResponse, MessageInfo

_EXAMPLE = {"id": 0, "priority": "NormalCycle", "message": {"format": "UTF8", "content": "Closed on Sunday"}}


class DisplayMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message; `document` is OCPP's MessageInfoType, `state` the station's answer or the later state."""

    station_id: str
    message_id: int
    state: str
    transaction_id: str | None
    ends_ms: int | None
    updated_ms: int
    document: Any


class WhichMessages(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for messages."""

    station_id: StationId
    shown: Annotated[bool, msgspec.Meta(description="Only those displayed now.")] = False


@get("/stations/{station_id}/display-messages", Permission.READ_MAINTENANCE)
async def list_display_messages(call: Call, parameters: WhichMessages) -> Page[DisplayMessage]:
    """List the messages of a station that were set here or reported."""
    found = await call.run(rows.list_messages, parameters.station_id, shown=parameters.shown)
    return page_of(call, [shown(each, DisplayMessage) for each in found], parameters, lambda each: each.message_id)


@to_station("POST", "/display-messages", Permission.WRITE_MAINTENANCE, example=_EXAMPLE)
async def show_message(call: Call, station_id: StationId, body: MessageInfo) -> Shown:
    """Show a message (O01, O02); its id is assigned here, overriding the body."""
    return await display.show(call.services, station_id, body)


@to_station("PUT", "/display-messages/{message_id}", Permission.WRITE_MAINTENANCE, example=_EXAMPLE)
async def replace_message(call: Call, station_id: StationId, message_id: Number, body: MessageInfo) -> Shown:
    """Replace a message (O06)."""
    return await display.show(call.services, station_id, body, replaces=message_id)


@to_station("DELETE", "/display-messages/{message_id}", Permission.WRITE_MAINTENANCE, status=200)
async def clear_message(call: Call, station_id: StationId, message_id: Number) -> ClearDisplayMessageResponse:
    """Remove a message (O05)."""
    return await display.clear(call.services, station_id, message_id)


@to_station("POST", "/display-messages/report", Permission.WRITE_MAINTENANCE)
async def report_messages(call: Call, station_id: StationId) -> Asked[GetDisplayMessagesResponse]:
    """Have a station report all messages (O03)."""
    return await display.report(call.services, station_id)
