"""How the parts of stations work, by figures of their sessions (R179)."""

from typing import Annotated

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, get, post
from csms.http.parameters import Paged, StationId, pages, shown
from csms.session_metrics import store as rows
from csms.session_metrics.rules import SessionFigure


class StationSessions(msgspec.Struct, frozen=True, kw_only=True):
    """A station's figures. `drift` and `apart` are the values of the alert rules station_drifts and station_differs."""

    station_id: str
    changed_ms: int
    drift: float
    apart: float
    figures: tuple[SessionFigure, ...]


class Repair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was found and done at a station; it is in the audit log."""

    reason: Annotated[str, msgspec.Meta(min_length=3, max_length=200)]


@get("/session-metrics", Permission.READ_STATIONS)
async def list_session_metrics(call: Call, parameters: Paged) -> Page[StationSessions]:
    """List how the parts of stations work by their sessions, by identity."""
    return await pages(call, parameters, StationSessions, tuple[str], ("station_id",), rows.listed)


@post(
    "/stations/{station_id}/session-metrics/resets",
    Permission.WRITE_MAINTENANCE,
    problems=(404,),
    example={"reason": "contactor of EVSE 1 replaced"},
)
async def reset_session_metrics(call: Call, station_id: StationId, body: Repair) -> StationSessions:
    """Start over after a repair: a station's next 30 sessions are its reference.

    Its alerts station_drifts and station_differs end when the rules are looked at next (`alerts.poll_interval_s`).
    """
    del body  # its reason is in the audit log, with the rest of the request

    def read(connection: Connection) -> StationSessions | None:
        found = rows.find(connection, station_id)
        return None if found is None else shown(found, StationSessions)

    return await call.update(
        "session of that station", read, lambda connection, _: rows.reset(connection, station_id, call.now_ms)
    )
