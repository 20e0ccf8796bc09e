"""Functional block O: messages on stations' displays."""

import msgspec
from sqlalchemy import Connection

from csms.diagnostics import store as diagnostics
from csms.ocpp.base import HandlerContext, small
from csms.ocpp.handlers import answers
from csms.requests import store as requests
from v2g import typed_json
from v2g.ocpp.messages.display import (
    GetDisplayMessagesRequest,
    NotifyDisplayMessagesRequest,
    NotifyDisplayMessagesResponse,
)


@answers
async def answer_display_messages(
    context: HandlerContext, request: NotifyDisplayMessagesRequest
) -> NotifyDisplayMessagesResponse:
    """Store a part of a report; after the last part of all messages, missing ones are removed (O03.FR.05, O04)."""
    for info in request.message_info:
        small(info.id)
    await context.services.store.run(_keep, context.station_id, request, context.services.clock.utc_ms())
    context.observe(
        "ocpp", "display_messages", request_id=request.request_id, messages=len(request.message_info), tbc=request.tbc
    )
    return NotifyDisplayMessagesResponse()


def _keep(connection: Connection, station_id: str, request: NotifyDisplayMessagesRequest, now_ms: int) -> None:
    number = small(request.request_id)
    asked = requests.find(connection, number)
    seq_no = requests.count_parts(connection, number)  # the message has no seqNo
    if not requests.save_part(
        connection, station_id, "GetDisplayMessages", number, seq_no,
        msgspec.json.encode(request.message_info).decode(), now_ms, last=not request.tbc,
    ):  # fmt: skip
        return
    for info in request.message_info:
        diagnostics.save_message(connection, station_id, info, "Accepted", now_ms)
    if not request.tbc and asked is not None and _asked_for_all(asked["document"]):
        found = (each["id"] for part in requests.parts(connection, number) for each in msgspec.json.decode(part))
        diagnostics.keep_only_messages(connection, station_id, found, now_ms)


def _asked_for_all(document: str) -> bool:
    asked = typed_json.decode(document, GetDisplayMessagesRequest)
    return not asked.id and asked.priority is None and asked.state is None
