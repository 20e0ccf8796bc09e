"""Requests to stations with a later outcome: reports, logs, firmware."""

from typing import Annotated, Any

import msgspec

from csms.api.http.call import Call
from csms.api.http.operations import Page, get
from csms.api.http.paging import newest_first, shown
from csms.api.http.parameters import Paged, RowNumber
from csms.api.http.problems import missing
from csms.db.queries import requests as rows
from csms.domain.security.access import Permission


class StationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request with a requestId: the station's `answer`, its `progress`, and when it was completed (null: pending).

    `answer` is `NotSent` or `Unanswered` where there is none. `request` is what was sent.
    """

    request_id: int
    station_id: str
    action: str
    created_ms: int
    updated_ms: int
    answer: str
    progress: str
    detail: str
    done_ms: int | None
    request: Any


class RequestWithParts(StationRequest, frozen=True, kw_only=True):
    """A request, and its messages, in order."""

    parts: tuple[Any, ...]


class WhichRequests(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for requests."""

    station_id: Annotated[str | None, msgspec.Meta(description="Only to this station.")] = None
    action: Annotated[str | None, msgspec.Meta(description="Only of this action.", examples=["GetLog"])] = None


class OneRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a request."""

    request_id: RowNumber


@get("/requests", Permission.READ_MAINTENANCE)
async def list_requests(call: Call, parameters: WhichRequests) -> Page[StationRequest]:
    """List requests with a later outcome, newest first."""
    return await newest_first(
        call,
        parameters,
        StationRequest,
        "request_id",
        lambda connection, before, limit: [
            _row(each)
            for each in rows.list_requests(connection, parameters.station_id, parameters.action, limit, before)
        ],
    )


@get("/requests/{request_id}", Permission.READ_MAINTENANCE, problems=(404,))
async def read_request(call: Call, parameters: OneRequest) -> RequestWithParts:
    """Return a request and every message that the station sent for it."""
    found = await call.run(rows.find, parameters.request_id)
    if found is None:
        raise missing("request")
    parts = await call.run(rows.parts, parameters.request_id)
    return shown({**_row(found), "parts": [msgspec.json.decode(each) for each in parts]}, RequestWithParts)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "request": msgspec.json.decode(row["document"]) if row["document"] else None}
