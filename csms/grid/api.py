"""The grid operator's signal."""

import msgspec

from csms.accounts.rules import Permission
from csms.grid.limits import LimitState, chains, of_site
from csms.grid.rules import SITE, SourceSignal
from csms.grid.shares import GridShares
from csms.grid.source import GridSource
from csms.grid.store import parts_of, states_of
from csms.http.call import Call
from csms.http.operations import get, put
from csms.http.problems import ApiError, existing
from csms.sites import store as site_store
from csms.sites.api import SiteId
from csms.sites.store import all_sites
from csms.transactions.powers import FRESH_MS
from v2g import typed_json
from v2g.energy.grid_signal import ALL, ConnectionPoint, GridSignal, TypedGridSignal, parse_grid_signal


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """The version of the grid signal in force."""

    version: int


EXAMPLE = {
    "version": 7,
    "issued_at_ms": 1_900_000_000_000,
    "source": "dso",
    "currency": "EUR",
    "slots": [
        {"start_ms": 1_900_000_000_000, "duration_s": 900, "import_price": "0.30", "export_compensation": "0.20"}
    ],
    "site_import_limit_w": 11_000,
    "export_limit_w": 5_000,
    "valid_until_ms": 1_900_003_600_000,
}


@get("/grid/signal", Permission.READ_GRID, problems=(404,), answer=GridSignal, for_sites=True)
async def read_grid_signal(call: Call) -> bytes:
    """Return the grid signal in force."""
    signal = call.services[GridSource].current
    if signal is None:
        raise ApiError(404, "there is no grid signal yet")
    return signal.to_json()


@put("/grid/signal", Permission.WRITE_GRID, problems=(409,), takes=TypedGridSignal, example=EXAMPLE)
async def put_grid_signal(call: Call, body: bytes) -> InForce:
    """Set the grid signal. Prices are decimal text per kWh; integers are millionths.

    Its version must be higher than that of the signal in force; repeating the same signal is harmless.
    """
    signal = parse_grid_signal(body)
    # refuse times after the year 9999, which signals of former versions may have. Raises ApiError
    try:
        typed_json.decode(body, TypedGridSignal)
    except msgspec.ValidationError as error:
        raise ApiError(400, f"grid signal: {error}", "times are ms since 1970, up to the year 9999") from None
    if signal != call.services[GridSource].current:  # a repeated delivery succeeds like the first
        await call.services[GridSource].offer(signal, f"http:{call.caller.name}"[:64])
    return InForce(version=signal.version)


@get("/grid/limits", Permission.READ_GRID, for_sites=True)
async def list_grid_limits(call: Call) -> tuple[LimitState, ...]:
    """List the limits in force at their connection points, and what flows there, the one with least left first.

    A role that is limited to sites sees those before its own EVSEs only.
    """
    signal = call.services[GridSource].current
    hidden = await _hidden(call)
    limits = () if signal is None else signal.limits_at(call.now_ms)
    limits = tuple(each for each in limits if each.connection_point not in hidden)
    found = await call.run(states_of, limits, call.now_ms - FRESH_MS, *call.services[GridShares].judges)
    return tuple(sorted(found, key=lambda each: each.left_w))


async def _hidden(call: Call) -> set[ConnectionPoint]:
    """Return the connection points whose limits are not for a caller that is limited to sites."""
    if call.stations is None:
        return set()
    behind = chains(await call.run(all_sites))
    return {ALL, *(point for evse, points in behind.items() if evse[0] not in call.stations for point in points)}


@get("/sites/{site_id}/limits", Permission.READ_ENERGY, problems=(404,), tag="sites")
async def list_limits_of_site(call: Call, site_id: SiteId) -> tuple[LimitState, ...]:
    """List all that limits a site now, and what is announced (`from_ms` in the future), by place: fuses, limits of the
    grid, its share of those over all stations; and what flows there by the last readings of vehicles."""
    site = existing("site", await call.run(site_store.site, site_id))
    signal = call.services[GridSource].current
    part_w = (await call.run(parts_of)).get(site.id)
    found = of_site(site, () if signal is None else signal.every_limit, part_w, call.now_ms)
    return tuple(await call.run(states_of, found, call.now_ms - FRESH_MS, *call.services[GridShares].judges))


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What a source of the grid signal states: limits (W, null: none), prices, a set-point; and what is wrong with it.

    `sets_import_limit`, `sets_export_limit`: whether its limit is the one in force. `connection_point`: where its
    limits hold, empty: as those of the configuration.
    """

    source: str
    connection_point: str
    import_limit_w: int | None
    sets_import_limit: bool
    export_limit_w: int | None
    sets_export_limit: bool
    export_until_ms: int | None
    prices: int
    setpoint_w: int | None
    problem: str


@get("/grid/sources", Permission.READ_GRID, for_sites=True)
async def list_grid_sources(call: Call) -> tuple[Source, ...]:
    """List the sources of the grid signal, and the site's own limits; empty where the signal comes as a whole.

    Also those that have stated nothing yet, and what is wrong with each. A role that is limited to sites sees none of
    other sites alone.
    """
    grid, hidden = call.services[GridSource], await _hidden(call)
    site, by = call.services.config.grid.site, await grid.governing()
    if site is None or by is None:
        return ()
    stated = {each.source: each for each in await grid.stated()}
    silent = "has not answered yet"
    listed = [stated.get(name) or SourceSignal(source=name, problem=silent) for name in site.sources]
    own = SourceSignal(source=SITE, import_limit_w=site.import_limit_w, export_limit_w=site.export_limit_w)
    return tuple(
        Source(
            source=each.source,
            connection_point="" if each.connection_point is None else str(each.connection_point),
            import_limit_w=each.import_limit_w,
            sets_import_limit=each.source == by.import_source,
            export_limit_w=each.export_limit_w,
            sets_export_limit=each.source == by.export_source,
            export_until_ms=each.export_until_ms,
            prices=len(each.slots),
            setpoint_w=each.setpoint_w if call.now_ms < each.setpoint_until_ms else None,
            problem=each.problem,
        )
        for each in (*listed, own)
        if each.connection_point is None or each.connection_point not in hidden
    )
