"""Vehicles by their telemetry: states, values, routes and positions (R177), aggregates, exports, erasure.

A caller reads the vehicles in its `evs`, and the signals of its role (R96, R113).
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission, Principal, may_handle, sees
from csms.batteries import store as batteries
from csms.events.api import ALIVE, ALIVE_S, EVENT_STREAM, stream_of
from csms.http.call import Call, encode
from csms.http.operations import Download, Page, Reply, delete, get
from csms.http.parameters import Paged, pages
from csms.http.problems import ApiError, missing
from csms.telemetry import aggregate_store as telemetry_aggregates
from csms.telemetry.aggregates import UNAGGREGATED, WIDTHS_S
from csms.vehicles import store as rows
from csms.vehicles.exports import CSV, OSMAND, PARQUET, ExportFormat, OsmandExport, open_export
from csms.vehicles.rules import CONTEXT, VehicleState
from v2g.config import nearest
from v2g.energy.settlement.rows import iso_time
from v2g.telemetry.signals import LATITUDE, LONGITUDE, SIGNALS, CellSamples
from v2g.telemetry.vss import PATH_PATTERN, signals_at, vss_value
from v2g.units import LAST_MS, UtcMs

T = TypeVar("T")

MAX_EXPORT: Final = 1_000_000
"""Records in one export."""

EXPORT_PAGE: Final = 10_000
"""Records of an export that are read, held and written at once."""

MAX_EXPORTS: Final = 8
MAX_OF_ONE: Final = 2
"""Exports that are made or sent at a time: by a node, and for one token or client certificate."""

STATES_AT_ONCE: Final = 100
"""States that are encoded, in about 1.5 ms, before others get the event loop, which also sends power commands."""

Ev = Annotated[str, msgspec.Meta(description="The vehicle's pseudonym.", examples=["EV-1"])]
Signals = Annotated[
    str | None,
    msgspec.Meta(
        description="Names of signals with commas between them; without it all that the caller may see.",
        examples=["battery.soc,charging.power"],
    ),
]


class Span(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a vehicle, and a span of time, ms since 1970 in UTC: from `from_ms` to before `to_ms`."""

    ev: Ev
    from_ms: UtcMs = 0
    to_ms: UtcMs = LAST_MS


class WhichValues(Span, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signals of a vehicle in a span of time."""

    signals: Signals = None


class WhichExport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Signals of a vehicle in a span of time, as a file."""

    ev: Ev
    from_ms: UtcMs = 0
    to_ms: UtcMs = LAST_MS
    signals: Signals = None
    format: ExportFormat = "csv"


class WhichAggregates(Span, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signal of a vehicle, and the width of the intervals."""

    signal: Annotated[str, msgspec.Meta(description="Name of the signal.", examples=["battery.soc"])]
    width_s: Annotated[Literal[60, 900], msgspec.Meta(description="Width of the intervals, s.")] = 900


class LatestState(msgspec.Struct, frozen=True, kw_only=True):
    """Latest values of a vehicle by signal. `at_ms`: time of the newest one; `context`: its driving mode."""

    ev: str
    at_ms: int
    context: str
    values: dict[str, float]


class LatestValue(msgspec.Struct, frozen=True, kw_only=True):
    """A value, and the time from which it holds."""

    at_ms: int
    value: float


class FullState(msgspec.Struct, frozen=True, kw_only=True):
    """Latest values of a vehicle by signal, each with its time."""

    ev: str
    at_ms: int
    context: str
    values: dict[str, LatestValue]


class WhichPaths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Paths of a vehicle."""

    ev: Ev
    path: Annotated[
        str,
        msgspec.Meta(
            pattern=PATH_PATTERN,
            max_length=200,
            description="Path of a signal or branch; `*` is any one name.",
            examples=["Vehicle.Powertrain.TractionBattery.*.Max"],
        ),
    ] = "Vehicle"


class VssPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A value as text, in the path's unit, and its time (ISO 8601, UTC)."""

    value: str
    ts: str


class VssValue(msgspec.Struct, frozen=True, kw_only=True):
    """The data point of a path."""

    path: str
    dp: VssPoint


class VssData(msgspec.Struct, frozen=True, kw_only=True):
    """Data points by path, and the time of the answer."""

    data: tuple[VssValue, ...]
    ts: str


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed at a time: a value that is not listed is still that of an earlier record."""

    at_ms: int
    boot: int
    seq: int
    context: str
    values: dict[str, float]


class CellRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of single cells in one record. A sample is its time in ms after `begin_ms`, and the cells in the order of
    the gateway's `signals`, in steps of 0.1 mV (null: not measured)."""

    at_ms: int
    boot: int
    seq: int
    cells: CellSamples


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A position of the vehicle, degrees; null: not known yet."""

    at_ms: int
    boot: int
    seq: int
    latitude: float | None
    longitude: float | None


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """Values of a signal in the interval that begins at `at_ms`, also one that holds from before.

    `mean` is over the time `held_s` (s) in which a value was known; without such a time, over the records, of which
    there are `number`.
    """

    at_ms: int
    minimum: float
    maximum: float
    mean: float
    held_s: float
    number: int
    last: float


class BatteryEstimates(msgspec.Struct, frozen=True, kw_only=True):
    """What estimators knew of a battery at the end of the 900 s that begin at `at_ms`, by name with unit.

    Such as `soc_percent` with `soc_deviation_percent`, its standard deviation.
    """

    at_ms: int
    values: dict[str, float]


@get("/vehicles", Permission.READ_VEHICLES, answer=list[LatestState], large=True)
async def list_vehicles(call: Call, signals: Signals = None) -> Reply[bytes]:
    """Return the latest states of all vehicles that the caller may see, as for a map."""
    names = set(_signals(call, signals))
    latest = call.backend.latest
    evs = call.caller.only_evs
    states = latest.all() if evs is None else [each for ev in sorted(evs) if (each := latest.get(ev)) is not None]
    parts = [b"["]
    for start in range(0, len(states), STATES_AT_ONCE):
        shown = encode([_shown(each, names) for each in states[start : start + STATES_AT_ONCE]])
        parts += (b"," if start else b"", shown[1:-1])
        await asyncio.sleep(0)
    return Reply(content=b"".join((*parts, b"]")))  # copied once: megabytes take milliseconds


def seen(caller: Principal, names: Sequence[str]) -> list[str]:
    """Return those of some signals that a caller may see."""
    return [each for each in names if sees(caller, each)]


def _shown(state: VehicleState, names: set[str]) -> LatestState:
    at_ms, context, found = 0, "", {}
    for name, each in state.readings.items():
        at_ms = max(at_ms, each.at_ms)
        if name in names:
            found[name] = each.value
        elif name == CONTEXT:
            context = str(each.value)
    return LatestState(ev=state.ev, at_ms=at_ms, context=context, values=found)  # type: ignore[arg-type]


@get("/vehicles/{ev}", Permission.READ_VEHICLES, problems=(404,))
async def read_vehicle(call: Call, ev: Ev) -> FullState:
    """Return a vehicle's latest state."""
    call.require_vehicle(ev)
    state = call.backend.latest.get(ev)
    if state is None:
        raise missing("vehicle")
    names = set(_signals(call, None))
    shown = _shown(state, names)
    values = {
        name: LatestValue(at_ms=each.at_ms, value=float(each.value))
        for name, each in state.readings.items()
        if name in names
    }
    return FullState(ev=state.ev, at_ms=shown.at_ms, context=shown.context, values=values)


@get("/vehicles/{ev}/vss", Permission.READ_VEHICLES, problems=(404,))
async def read_vehicle_paths(call: Call, parameters: WhichPaths) -> VssData:
    """Return a vehicle's latest values by paths of COVESA VSS 6, as an answer of VISS v2 has them (R212).

    A branch has all below it; those that are not known are left out.
    """
    call.require_vehicle(parameters.ev)
    state, names = call.backend.latest.get(parameters.ev), set(_signals(call, None))
    if state is None:
        raise missing("vehicle")
    there = signals_at(parameters.path)
    if not there:
        raise ApiError(404, f"no signal at {parameters.path!r}", "the reference of telemetry lists the paths")
    found = {path: each for path, name in there.items() if name in names and (each := state.present(name)) is not None}
    data = tuple(
        VssValue(path=path, dp=VssPoint(value=vss_value(there[path], float(each.value)), ts=iso_time(each.at_ms)))
        for path, each in found.items()
    )
    return VssData(data=data, ts=iso_time(call.services.clock.utc_ms()))


async def _records(
    call: Call,
    parameters: Span,
    kind: type[T],
    find: Callable[[Connection, str, tuple[int, int], int, tuple[int, int, int] | None], list[dict[str, object]]],
) -> Page[T]:
    """Return what `find` has of a vehicle's records in a span of time."""
    call.require_vehicle(parameters.ev)
    span = parameters.from_ms, parameters.to_ms
    return await pages(
        call,
        parameters,
        kind,
        tuple[int, int, int],
        ("at_ms", "boot", "seq"),
        lambda connection, after, limit: find(connection, parameters.ev, span, limit, after),
    )


@get("/vehicles/{ev}/values", Permission.READ_VEHICLES)
async def list_vehicle_values(call: Call, parameters: WhichValues) -> Page[Values]:
    """List values of signals, oldest first. Records are stored for `retention.telemetry_days`."""
    signals = _signals(call, parameters.signals)
    return await _records(
        call, parameters, Values, lambda connection, ev, *which: rows.values(connection, ev, signals, *which)
    )


@get("/vehicles/{ev}/cells", Permission.READ_BATTERIES)
async def list_cell_samples(call: Call, parameters: Span) -> Page[CellRecord]:
    """List samples of single cells, which a vehicle sends around a finding, oldest first."""
    return await _records(call, parameters, CellRecord, rows.cell_samples)


@get("/vehicles/{ev}/route", Permission.READ_ROUTES)
async def list_vehicle_route(call: Call, parameters: Span) -> Page[Point]:
    """List a vehicle's positions, oldest first; also those that it delivered after it had no connection."""
    return await _records(call, parameters, Point, rows.route)


@get("/vehicles/{ev}/aggregates", Permission.READ_AGGREGATES)
async def list_vehicle_aggregates(call: Call, parameters: WhichAggregates) -> Page[Interval]:
    """List minimum, maximum, mean, number and last of a signal's values, by interval, oldest first.

    New records are aggregated within about 15 s. Positions have no aggregates.
    """
    call.require_vehicle(parameters.ev)
    (signal,) = _signals(call, parameters.signal)
    if signal in UNAGGREGATED:
        raise ApiError(400, f"{signal} has no aggregates", "see the route")
    assert parameters.width_s in WIDTHS_S
    span = parameters.from_ms, parameters.to_ms
    return await pages(
        call,
        parameters,
        Interval,
        tuple[int],
        ("at_ms",),
        lambda connection, after, limit: telemetry_aggregates.aggregates(
            connection, parameters.ev, signal, parameters.width_s, span, limit, after
        ),
    )


@get("/vehicles/{ev}/battery", Permission.READ_BATTERIES)
async def list_battery_estimates(call: Call, parameters: Span) -> Page[BatteryEstimates]:
    """List the estimated state of a vehicle's battery, oldest first."""
    call.require_vehicle(parameters.ev)
    span = parameters.from_ms, parameters.to_ms
    return await pages(
        call,
        parameters,
        BatteryEstimates,
        tuple[int],
        ("at_ms",),
        lambda connection, after, limit: batteries.estimates(connection, parameters.ev, span, limit, after),
    )


@get(
    "/vehicles/{ev}/export",
    Permission.READ_VEHICLES,
    media_type=CSV,
    other_media=(OsmandExport.media_type, PARQUET),
    answer=bytes,
)
async def export_vehicle_values(call: Call, parameters: WhichExport) -> Reply[Download]:
    """Return values of signals as CSV (RFC 4180) or Apache Parquet, a column for each signal, oldest first.

    `osmand`: its positions instead, a line each, as Traccar takes them in the query of a request.
    At most 1,000,000 records; choose a shorter span beyond. A node makes one export at a time and sends at most eight,
    two of them to one caller; meanwhile others are answered 503 or 429. A client that reads nothing for a minute is
    disconnected.
    """
    call.require_vehicle(parameters.ev)
    signals = _signals(call, ",".join(OSMAND) if parameters.format == "osmand" else parameters.signals)
    exports, caller, later = call.backend.exports, call.caller.id, {"Retry-After": "10"}
    if exports.making.locked():
        raise ApiError(503, "another export is being made", "try again when it is done", headers=later)
    if exports.by_caller.total() >= MAX_EXPORTS:
        raise ApiError(503, f"{MAX_EXPORTS} exports are being sent", "try again when one is done", headers=later)
    if exports.by_caller[caller] >= MAX_OF_ONE:
        raise ApiError(429, f"{MAX_OF_ONE} of your exports are being sent", "read them first", headers=later)
    exports.by_caller[caller] += 1

    def done() -> None:
        exports.by_caller[caller] -= 1
        if not exports.by_caller[caller]:
            del exports.by_caller[caller]

    with contextlib.ExitStack() as unless_sent:
        unless_sent.callback(done)
        try:
            async with exports.making:
                file = unless_sent.enter_context(await asyncio.to_thread(tempfile.TemporaryFile))
                # write the values to a file; return its media type
                export = await asyncio.to_thread(open_export, parameters.format, parameters.ev, signals, file)
                number, after, span = 0, None, (parameters.from_ms, parameters.to_ms)
                while found := await call.run(rows.values, parameters.ev, signals, span, EXPORT_PAGE, after):
                    if call.gone():
                        raise ApiError(400, "the client has gone")
                    number += len(found)
                    if number > MAX_EXPORT:
                        raise ApiError(400, f"more than {MAX_EXPORT} records", "choose a shorter span of time")
                    await asyncio.to_thread(export.add, found)
                    if len(found) < EXPORT_PAGE:
                        break
                    last = found[-1]
                    after = last["at_ms"], last["boot"], last["seq"]
                    span = last["at_ms"], parameters.to_ms  # by the index: what is exported is not read again
                await asyncio.to_thread(export.finish)
                media_type = export.media_type
                download = await asyncio.to_thread(Download, file, done)
        except OSError as error:
            raise ApiError(
                503, f"the export cannot be written: {error.strerror}", "make room for temporary files"
            ) from None
        unless_sent.pop_all()
    return Reply(content=download, media_type=media_type)


@delete("/vehicles/{ev}/telemetry", Permission.ERASE_TELEMETRY)
async def erase_vehicle_telemetry(call: Call, ev: Ev) -> None:
    """Erase what a vehicle has delivered until now: records, aggregates, latest state, also in the sinks.

    Checkpoints of charging journals stay: they prove settlements. What the vehicle delivers later is stored.
    """
    call.require_vehicle(ev)
    await call.backend.ingest.erase(ev)


def _signals(call: Call, names: str | None) -> Sequence[str]:
    """Return the signals named in a parameter (None: all that the caller may see). Raises ApiError."""
    if names is None:
        return [name for name in SIGNALS if sees(call.caller, name)]
    found = list(dict.fromkeys(names.split(",")))
    for name in found:
        if name not in SIGNALS:
            raise ApiError(400, f"unknown signal {name[:64]!r}", nearest(name, SIGNALS))
        if not sees(call.caller, name):
            raise ApiError(403, f"{call.caller.role.value} may not read {name}", "leave it out")
    return found


_GATHER_S: Final = 0.05
"""Vehicles that move within this time share an event."""

_AT_ONCE: Final = 1000


@get("/vehicle-positions", Permission.READ_ROUTES, media_type=EVENT_STREAM, streams=True, answer=str, tag="positions")
async def stream_positions(call: Call) -> Any:
    """Stream positions of all vehicles that the caller may see: first all, then each that moves.

    `event` is `positions`, `data` an array of [vehicle, latitude, longitude, time in ms since 1970]. Vehicles without
    consent deliver no position; where it is withdrawn, they become null with the next record of all signals.
    """
    return stream_of(call, _positions(call))


async def _positions(call: Call) -> AsyncIterator[bytes]:
    latest, caller = call.backend.latest, call.caller
    if not sees(caller, LATITUDE):
        return
    with latest.watched() as changes:
        moved: Iterable[str] = [each.ev for each in latest.all()]
        located: set[str] = set()
        while True:
            found = {ev: _place(latest.get(ev)) for ev in moved if may_handle(caller, ev)}
            points = [(ev, *at) for ev, at in found.items() if at is not None]
            gone = [ev for ev, at in found.items() if at is None and ev in located]
            located.update(ev for ev, *_ in points)
            located.difference_update(gone)
            points += [(ev, None, None, 0) for ev in gone]
            for start in range(0, len(points), _AT_ONCE):
                yield b"event: positions\ndata: " + encode(points[start : start + _AT_ONCE]) + b"\n\n"
            moved = await changes.take(ALIVE_S)
            if not moved:
                yield ALIVE
                continue
            await asyncio.sleep(_GATHER_S)
            moved = moved | await changes.take(0)


def _place(state: VehicleState | None) -> tuple[float | None, float | None, int] | None:
    latitude, longitude = (None, None) if state is None else map(state.present, (LATITUDE, LONGITUDE))
    if latitude is None or longitude is None:
        return None
    return round(float(latitude.value), 6), round(float(longitude.value), 6), max(latitude.at_ms, longitude.at_ms)
