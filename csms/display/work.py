"""Functional block O: messages on stations' displays."""

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection

from csms.display import store as rows
from csms.handlers import answers, small
from csms.requests import store as requests
from csms.requests.work import Asked, ask, call
from csms.services import HandlerContext, Services
from v2g import typed_json
from v2g.errors import RefusedError
from v2g.ocpp.messages import display as ocpp
from v2g.ocpp.times import parse_time


class Shown(msgspec.Struct, frozen=True):
    """The message's new number, and the station's answer."""

    message_id: int
    response: ocpp.SetDisplayMessageResponse


async def show(services: Services, station_id: str, info: ocpp.MessageInfo, *, replaces: int | None = None) -> Shown:
    """Show a message (O01), during a transaction when it names one (O02), or in place of another (O06).

    The message gets its number here; `replaces` is that of the message to replace. Raises RefusedError for a
    message that has ended already, V2GError as `ConnectionRegistry.call` does.
    """
    now_ms = services.clock.utc_ms()
    if info.end_date_time is not None and parse_time(info.end_date_time) <= now_ms:
        raise RefusedError("the message would have ended already", reason="over")
    number = await services.store.run(rows.next_message_id, station_id) if replaces is None else replaces
    numbered = msgspec.structs.replace(info, id=number)
    response = await call(
        services, station_id, ocpp.SetDisplayMessageRequest(message=numbered), ocpp.SetDisplayMessageResponse
    )
    return Shown(number, response)


async def clear(services: Services, station_id: str, message_id: int) -> ocpp.ClearDisplayMessageResponse:
    """Remove a message (O05)."""
    return await call(
        services, station_id, ocpp.ClearDisplayMessageRequest(id=message_id), ocpp.ClearDisplayMessageResponse
    )


async def report(
    services: Services,
    station_id: str,
    *,
    ids: Iterable[int] = (),
    priority: ocpp.MessagePriority | None = None,
    state: ocpp.MessageState | None = None,
) -> Asked[ocpp.GetDisplayMessagesResponse]:
    """Have messages reported: all (O03) or some (O04); they arrive in parts."""
    return await ask(
        services,
        station_id,
        lambda number: ocpp.GetDisplayMessagesRequest(id=tuple(ids), request_id=number, priority=priority, state=state),
        ocpp.GetDisplayMessagesResponse,
        follows=("Accepted",),
    )


async def expire(services: Services) -> None:
    """Mark expired messages."""
    await services.store.run(rows.expire_messages, services.clock.utc_ms())


@answers
async def answer_display_messages(
    context: HandlerContext, request: ocpp.NotifyDisplayMessagesRequest
) -> ocpp.NotifyDisplayMessagesResponse:
    """Store a part of a report; after the last part of all messages, missing ones are removed (O03.FR.05, O04)."""
    for info in request.message_info:
        small(info.id)
    await context.services.store.run(_keep, context.station_id, request, context.services.clock.utc_ms())
    context.observe(
        "ocpp", "display_messages", request_id=request.request_id, messages=len(request.message_info), tbc=request.tbc
    )
    return ocpp.NotifyDisplayMessagesResponse()


def _keep(connection: Connection, station_id: str, request: ocpp.NotifyDisplayMessagesRequest, now_ms: int) -> None:
    number = small(request.request_id)
    asked = requests.find(connection, number)
    seq_no = requests.count_parts(connection, number)  # the message has no seqNo
    if not requests.save_part(
        connection, station_id, "GetDisplayMessages", number, seq_no,
        msgspec.json.encode(request.message_info).decode(), now_ms, last=not request.tbc,
    ):  # fmt: skip
        return
    for info in request.message_info:
        rows.save_message(connection, station_id, info, "Accepted", now_ms)
    if not request.tbc and asked is not None and _asked_for_all(asked["document"]):
        found = (each["id"] for part in requests.parts(connection, number) for each in msgspec.json.decode(part))
        rows.keep_only_messages(connection, station_id, found, now_ms)


def _asked_for_all(document: str) -> bool:
    asked = typed_json.decode(document, ocpp.GetDisplayMessagesRequest)
    return not asked.id and asked.priority is None and asked.state is None
