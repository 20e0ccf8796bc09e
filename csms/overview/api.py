"""What all stations and transactions do now, in figures; the back end itself: health, metrics, version, backup."""

import asyncio
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.core import Metric

from csms.accounts.rules import Permission, sees
from csms.alerts import sources as alert_sources
from csms.alerts import store as alert_mails
from csms.booking import store as reviews
from csms.contracts.verifier import ContractVerifier
from csms.db.store import HEAD, address
from csms.fleets import store as fleets
from csms.fleets.store import PlannedPower
from csms.grid.limits import LimitState
from csms.grid.shares import GridShares
from csms.grid.source import GridSource
from csms.grid.store import states_of
from csms.http.call import Call
from csms.http.operations import Page, Reply, get, post
from csms.http.parameters import Paged, pages, shown
from csms.http.problems import ApiError, conflict
from csms.nodes import store as nodes
from csms.overview import course
from csms.overview import store as rows
from csms.overview.course import STEP_MS
from csms.overview.rules import PowerPoint
from csms.sites import store as site_store
from csms.telemetry import store as telemetry
from csms.telemetry.aggregates import AGGREGATES
from csms.transactions import powers as running_powers
from csms.transactions import store as transactions
from csms.transactions.powers import FRESH_MS, PowerFlow, flow
from csms.transactions.rules import plain
from csms.trust.certificate_status import CertificateStatus
from csms.vehicles import store as vehicle_firmware
from csms.vehicles.rules import Part
from v2g.energy.grid_signal import ALL
from v2g.io.metrics import gauge
from v2g.units import LAST_MS
from v2g.version import VERSION

_MOST_BACK = 50
_MOST_POINTS = 900


class StationsOverview(msgspec.Struct, frozen=True, kw_only=True):
    """All stations: how many are known and connected, and connectors by status. `undecided` wait for admission."""

    known: int
    connected: int
    undecided: int
    connectors: dict[str, int]
    faulted: tuple[str, ...]
    """Stations with a faulted connector: at most 20."""


class FeedingBack(msgspec.Struct, frozen=True, kw_only=True):
    """A running transaction that feeds back: its power (W, below 0), and the vehicle's charge (%) where known."""

    station_id: str
    transaction_id: str
    power_w: str
    soc: str | None


class TransactionsOverview(msgspec.Struct, frozen=True, kw_only=True):
    """Running transactions: how many, how many have an unknown power, how many feed back, and the power (W) of all
    others into and out of vehicles."""

    active: int
    unknown: int
    feeding_back: int
    import_w: int
    export_w: int
    most_back: tuple[FeedingBack, ...]
    """Transactions that feed back most: at most 50."""


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """How many stations report a vendor, model and firmware; empty where they report none."""

    vendor: str
    model: str
    firmware: str
    number: int


class InstalledParts(msgspec.Struct, frozen=True, kw_only=True):
    """How many vehicles say that a part of theirs has the same firmware: `version` and `number` of its release.

    A number of 0 is that with which it came; `failed` is the newest release above it that did not work there.
    """

    part: Part
    hardware: str
    version: str
    number: int
    failed: int | None
    vehicles: int


class InstalledPart(msgspec.Struct, frozen=True, kw_only=True):
    """What a vehicle said at `at_ms` about the firmware of a part, as `InstalledParts`."""

    ev: str
    part: Part
    hardware: str
    version: str
    number: int
    failed: int | None
    at_ms: int


class InstalledNode(msgspec.Struct, frozen=True, kw_only=True):
    """What is installed in a node of this back end that follows releases: as of vehicles, and which release it is
    `trying`."""

    node: str
    hardware: str
    version: str
    number: int
    failed: int | None
    trying: int | None
    at_ms: int


@get("/overview/stations", Permission.READ_STATIONS, for_sites=True)
async def read_stations_overview(call: Call) -> StationsOverview:
    """Return what all stations do."""
    connected = call.services.connections.connected()
    found = await call.run(rows.stations_overview, call.stations)
    return StationsOverview(
        known=found.known,
        connected=len(connected if call.stations is None else connected & call.stations),
        undecided=found.undecided,
        connectors=found.connectors,
        faulted=found.faulted,
    )


@get("/overview/inventory", Permission.READ_STATIONS, for_sites=True)
async def read_inventory(call: Call) -> tuple[Installed, ...]:
    """Return how many stations there are of each vendor, model and firmware, most first."""
    return shown(await call.run(rows.inventory, call.stations), tuple[Installed, ...])


@get("/overview/vehicle-inventory", Permission.READ_VEHICLES)
async def read_vehicle_inventory(call: Call) -> tuple[InstalledParts, ...]:
    """Return how many of the caller's vehicles have the same firmware in gateway or controller, most first."""
    return shown(await call.run(vehicle_firmware.counts, _evs(call)), tuple[InstalledParts, ...])


@get("/vehicle-firmware", Permission.READ_VEHICLES)
async def list_vehicle_firmware(call: Call, parameters: Paged) -> Page[InstalledPart]:
    """List what is installed in gateways and controllers of the caller's vehicles, by vehicle."""
    keys = ("ev", "part")
    return await pages(call, parameters, InstalledPart, tuple[str, str], keys, vehicle_firmware.parts, _evs(call))


@get("/node-firmware", Permission.READ_METRICS)
async def list_node_firmware(call: Call, parameters: Paged) -> Page[InstalledNode]:
    """List what is installed in the nodes of this back end that follow releases, by name."""
    return await pages(call, parameters, InstalledNode, tuple[str], ("node",), nodes.nodes)


def _evs(call: Call) -> Sequence[str] | None:
    """Return the vehicles of a caller, None for all; a role that sees some signals only has none here (R113)."""
    return call.caller.only_evs if sees(call.caller, "firmware") else ()


@get("/overview/transactions", Permission.READ_TRANSACTIONS, for_sites=True)
async def read_transactions_overview(call: Call) -> TransactionsOverview:
    """Return what all running transactions do, by the last power of each, if that is not older than 15 min."""
    running = await call.run(running_powers.powers, call.stations, call.now_ms - FRESH_MS)
    known = [(each, watts) for each in running if (watts := each.watts) is not None]
    powers = [watts for _, watts in known]
    back = sorted((each for each in known if each[1] < 0), key=lambda each: each[1])[:_MOST_BACK]
    return TransactionsOverview(
        active=len(running),
        unknown=len(running) - len(known),
        feeding_back=sum(power < 0 for power in powers),
        import_w=round(sum(power for power in powers if power > 0)),
        export_w=round(-sum(power for power in powers if power < 0)),
        most_back=tuple(
            FeedingBack(
                station_id=each.station_id,
                transaction_id=each.transaction_id,
                power_w=plain(watts),
                soc=None if each.soc is None else each.soc.value,
            )
            for each, watts in back
        ),
    )


class WhichCourse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site, "" for all stations, and a time of at most 900 steps."""

    site_id: Annotated[str, msgspec.Meta(max_length=60)] = ""
    from_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)]
    to_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)]
    step_ms: Annotated[int, msgspec.Meta(ge=STEP_MS, le=86_400_000)] = STEP_MS


@get("/overview/course", Permission.READ_TRANSACTIONS, tag="overview")
async def read_power_course(call: Call, parameters: WhichCourse) -> tuple[PowerPoint, ...]:
    """Return power and use every five minutes, or on average of longer steps."""
    return tuple(await call.run(course.read, parameters.site_id, *_steps(parameters)))


@get("/overview/plan", Permission.READ_TRANSACTIONS, tag="overview")
async def read_planned_power(call: Call, parameters: WhichCourse) -> tuple[PlannedPower, ...]:
    """Return what active fleets had and have planned at each step; of a site those all of whose stations are there."""
    begin_ms, end_ms, step_ms = _steps(parameters)
    stations = None
    if parameters.site_id:
        site = await call.run(site_store.site, parameters.site_id)
        stations = set() if site is None else {each.station_id for each in site.places}
    return tuple(await call.run(fleets.planned, stations, begin_ms, end_ms, step_ms))


def _steps(parameters: WhichCourse) -> tuple[int, int, int]:
    begin_ms, end_ms, step_ms = parameters.from_ms, parameters.to_ms, parameters.step_ms
    if not 0 < end_ms - begin_ms <= _MOST_POINTS * step_ms:
        raise ApiError(400, "to_ms is not after from_ms, or too far", f"at most {_MOST_POINTS} steps")
    return begin_ms, end_ms, step_ms


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Health of the back end. `grid_signal_version` is null before the first grid signal.

    `status` is `degraded` while this node has no connection to its MQTT broker; `broker_connected` is null without one.
    `revocation_unknown`: the configured policy for contracts whose revocation status is unknown;
    `accepted_unknown`: how many of them this node has accepted since its start.
    `crls_until_ms`: when the first of this node's revocation lists expires; null without any.
    """

    status: Literal["ok", "degraded"]
    broker_connected: bool | None
    connected_stations: int
    grid_signal_version: int | None
    revocation_unknown: Literal["refuse", "accept"]
    accepted_unknown: int
    crls_until_ms: int | None


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is always `ok`: a failing process does not answer."""

    status: str = "ok"


@get("/health", Permission.PUBLIC, tag="health")
async def read_health(call: Call) -> Health:
    """Report the health of the back end; 503 while the store does not work."""
    await call.run(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
    signal = call.services[GridSource].current
    broker = call.backend.subscriber
    connected = None if broker is None else broker.connected
    return Health(
        status="degraded" if connected is False else "ok",
        broker_connected=connected,
        connected_stations=len(call.services.connections.connected()),
        grid_signal_version=signal.version if signal else None,
        revocation_unknown=call.services.config.trust.revocation_unknown,
        accepted_unknown=call.services[ContractVerifier].accepted_unknown,
        crls_until_ms=call.services[CertificateStatus].crls.until_ms(),
    )


@get("/health/live", Permission.PUBLIC, tag="health")
async def read_liveness(call: Call) -> Alive:
    """Report that the process works, without further checks. A supervisor restarts a process that does not answer."""
    return Alive()


@get("/health/ready", Permission.PUBLIC, tag="health")
async def read_readiness(call: Call) -> Alive:
    """Report that requests can be served; 503 while the store does not work. For load balancers."""
    await call.run(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
    return Alive()


@get("/metrics", Permission.READ_METRICS, media_type=CONTENT_TYPE_PLAIN_0_0_4, tag="metrics")
async def read_metrics(call: Call) -> Reply[bytes]:
    """Export metrics in Prometheus text format."""
    services = call.services
    unbooked = await call.run(reviews.counts)
    active = await call.run(transactions.count_active)
    oldest_ms, now_ms = await call.run(alert_mails.oldest), services.clock.utc_ms()
    waits_s = 0.0 if oldest_ms is None else max(0, now_ms - oldest_ms) / 1000
    disk = await asyncio.to_thread(shutil.disk_usage, services.config.data_dir)
    present = [
        gauge("v2g_stations_connected", "Connected stations.", len(services.connections.connected())),
        gauge("v2g_transactions_active", "Transactions that have not ended.", active),
        gauge("v2g_journals_waiting", "Complete journals that wait for evidence.", unbooked["waiting"]),
        gauge("v2g_journals_quarantined", "Journals in quarantine.", unbooked["quarantined"]),
        gauge("v2g_transactions_held", "Transactions whose amounts need a decision.", unbooked["held"]),
        gauge("v2g_alerts_active", "Alerts that have not ended.", await call.run(alert_mails.counts), "severity"),
        gauge("v2g_alert_emails_waiting_seconds", "How long the oldest e-mail about an alert has waited.", waits_s),
        gauge("v2g_store_waiting", "Operations waiting for the store.", services.store.waiting),
        gauge(
            "v2g_store_reports_waiting",
            "Those of them that are readings: they wait behind all others.",
            services.store.reports_waiting,
        ),
        gauge("v2g_event_streams", "Open event streams.", call.backend.streams.open),
        *await _grid(call),
        *await _telemetry(call),
        gauge("v2g_disk_free_bytes", "Free space of the disk with `data_dir`.", disk.free),
        gauge("v2g_disk_size_bytes", "Size of the disk with `data_dir`.", disk.total),
    ]
    return Reply(content=services.metrics.text(present), media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _grid(call: Call) -> list[Metric]:
    signal, everywhere = call.services[GridSource].current, await call.run(flow, call.now_ms - FRESH_MS)
    limits = () if signal is None else signal.limits_at(call.now_ms)
    found = await call.run(states_of, limits, call.now_ms - FRESH_MS, *call.services[GridShares].judges)
    states = sorted(found, key=lambda each: -each.left_w)
    tightest: dict[tuple[str, str], LimitState] = {(each.connection_point, each.direction): each for each in states}
    flows = {each.connection_point: PowerFlow(each.flow_w, each.unknown) for each in tightest.values()}
    flows = {str(ALL): everywhere} | flows
    return [
        gauge(
            "v2g_grid_flow_watts",
            "Power into the vehicles behind a connection point by their last readings, below 0 out.",
            {point: each.known_w for point, each in flows.items()},
            "connection_point",
        ),
        gauge(
            "v2g_grid_flow_unknown",
            "Vehicles whose power is unknown, beside v2g_grid_flow_watts.",
            {point: each.unknown for point, each in flows.items()},
            "connection_point",
        ),
        gauge(
            "v2g_grid_limit_watts",
            "Limits of the grid signal in force.",
            {place: each.limit_w for place, each in tightest.items() if each.limit_w is not None},
            "connection_point",
            "direction",
        ),
        gauge(
            "v2g_grid_left_watts",
            "Limits less the flow in their direction: below 0 they are exceeded.",
            {place: each.left_w for place, each in tightest.items()},
            "connection_point",
            "direction",
        ),
    ]


async def _telemetry(call: Call) -> list[Metric]:
    backend, config = call.backend, call.services.config
    counts = await call.run(telemetry.counts)
    backlogs = await call.run(telemetry.backlogs)
    now_ms = call.services.clock.utc_ms()
    names = (AGGREGATES, *(each.name for each in config.telemetry.sinks))
    waiting = {name: backlogs.get(name, (0, now_ms)) for name in names}
    broker = backend.subscriber
    found = [
        gauge("v2g_telemetry_quarantine", "Records in quarantine.", counts["quarantined"]),
        gauge("v2g_telemetry_gaps", "Boots of vehicles that lack records before others.", counts["gaps"]),
        gauge("v2g_telemetry_vehicles", "Vehicles whose latest state is known.", len(backend.latest.all())),
        gauge(
            "v2g_telemetry_silent_vehicles",
            "Vehicles without new values for `telemetry.silent_after_s`.",
            backend.latest.silent(config.telemetry.silent_after_s),
        ),
        gauge(
            "v2g_telemetry_sink_backlog",
            "Records that wait for a sink; `aggregates` is the back end's own.",
            {name: records for name, (records, _) in waiting.items()},
            "sink",
        ),
        gauge(
            "v2g_telemetry_sink_backlog_seconds",
            "How long the oldest record has waited for a sink.",
            {name: max(0, now_ms - since) / 1000 for name, (_, since) in waiting.items()},
            "sink",
        ),
    ]
    if broker is not None:
        found.append(gauge("v2g_telemetry_broker_connected", "1: connected to the MQTT broker.", broker.connected))
    return found


KEPT: Final = 7
"""Backups in that folder: names begin with their time, and the oldest go."""


class Queue(msgspec.Struct, frozen=True):
    """A queue of work, and how long (s) its oldest part has waited."""

    name: str
    oldest_s: int


class System(msgspec.Struct, frozen=True, kw_only=True):
    """What runs. `node` answered; `nodes` are all that live; `revision` is that of the database's schema. `queues`
    that are empty are not listed."""

    version: str
    node: str
    nodes: tuple[str, ...]
    database: Literal["sqlite", "postgresql"]
    revision: str
    queues: tuple[Queue, ...]


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A backup: its file on the node that answered, and its size."""

    file: str
    rows: int
    octets: int


@get("/system", Permission.READ_METRICS, tag="system")
async def read_system(call: Call) -> System:
    """Return version, nodes, database, and how old the queues are."""
    services = call.services
    waiting = await call.run(alert_sources.queues, call.now_ms)
    return System(
        version=VERSION,
        node=services.feed.node,
        nodes=tuple(sorted(services.feed.nodes())),
        database="postgresql" if services.config.store_url.startswith("postgresql:") else "sqlite",
        revision=HEAD,
        queues=tuple(Queue(each.subject, round(each.value)) for each in waiting),
    )


@post("/system/backup", Permission.MANAGE_ACCESS, status=201, problems=(409,), tag="system")
async def make_backup(call: Call) -> Backup:
    """Write a backup of the database into the folder `backups` of `data_dir`, on the node that answers.

    It is as secret as the database; `v2g csms restore` reads it. One is made at a time; the newest seven stay.
    """
    from csms.db.backup import backup  # on demand: for administrators only

    making = call.backend.backing_up
    if making.locked():
        raise conflict("a backup is being made", "wait for it")
    config = call.services.config
    async with making:
        folder = config.data_dir / "backups"
        file = folder / f"csms-{datetime.fromtimestamp(call.now_ms / 1000, UTC):%Y%m%dT%H%M%S.%f}.backup"
        await asyncio.to_thread(folder.mkdir, mode=0o700, exist_ok=True)
        rows = await asyncio.to_thread(backup, address(config.store_url, config.data_dir), file)
        octets = (await asyncio.to_thread(file.stat)).st_size
        await asyncio.to_thread(_delete_old, folder)
    return Backup(file=str(file), rows=rows, octets=octets)


def _delete_old(folder: Path) -> None:
    for old in sorted(folder.glob("csms-*.backup"))[:-KEPT]:
        old.unlink(missing_ok=True)
