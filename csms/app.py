"""Assembles the CSMS: store, sources, servers; and shuts it down gracefully."""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

from csms.accounts import store as users
from csms.admission.rules import PasswordMarks
from csms.admission.work import StationAdmissions
from csms.alerts.work import AlertMails, AlertWatch
from csms.attestations.work import Attester
from csms.backend import make_backend
from csms.background import background
from csms.batteries.work import BATTERIES, BatterySink, make_reports
from csms.booking.rules import Rules
from csms.booking.work import Bookkeeper
from csms.books.operator_key import BooksKeys, open_books_key
from csms.cluster.bus import Bus, LocalBus
from csms.cluster.connections import ConnectionRegistry
from csms.cluster.feed import Feed, FrameLog
from csms.config import CsmsConfig, parse
from csms.contracts.verifier import ContractVerifier
from csms.db.store import Store, address, hold, open_store
from csms.db.store_key import StoreKey
from csms.direct_payments.store import open_payments
from csms.direct_payments.work import DirectClient
from csms.dispatch.rules import Orders
from csms.grid.shares import GridShares
from csms.grid.source import GRID_SIGNAL, GridSource
from csms.http.server import Api
from csms.key_adoption import open_store_key
from csms.ocpp.server import StationServer
from csms.prequalifications.work import ExportPermits
from csms.roaming.partners import Partners
from csms.scores.work import DriftWatch
from csms.services import Services
from csms.settlements.journals import JournalStore
from csms.sites.rules import Overloads
from csms.smart_charging.rules import StationAbilities
from csms.station_security.authority import StationCa
from csms.stations.last_seen import LastSeen
from csms.telemetry.seal import TelemetrySeal, open_seal
from csms.telemetry.sinks import Sink, open_sink
from csms.telemetry.sinks.feeder import SinkFeeder
from csms.telemetry.workers import IngestWorkers, WorkerSettings, count
from csms.tokens import store as tokens
from csms.tokens.rules import Token, normalise
from csms.trust.certificate_status import CertificateStatus
from csms.trust.work import TrustLists
from v2g.energy.grid_signal import GridSignal
from v2g.errors import ConfigError, TransportError
from v2g.extras import extras_named
from v2g.io.ota.unreadable import read_or_go_back
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.program import allow_many_files, fast_loop, run
from v2g.io.runtime.service_manager import notify
from v2g.io.runtime.supervision import Supervisor, defects_reported
from v2g.io.storage.growing_file import reopen_all
from v2g.io.tls.files import Renewed, keep_renewed
from v2g.observe import Observe, Scalar
from v2g.pki.keys import load_public_key, read_secret
from v2g.typed_json import Fields
from v2g.units import micro_of


class Csms:
    """A running back end: its ports (`ocpp` and `api`) and its parts."""

    def __init__(self, ports: dict[str, int], services: Services) -> None:
        self.ports = ports
        self.grid = services[GridSource]
        self.journals = services[JournalStore]
        self.bookkeeper = services[Bookkeeper]
        self.connections = services.connections
        self.feed = services.feed
        self.log_name = services.log_name
        self.services = services

    def connected(self) -> frozenset[str]:
        """Return the identities of connected stations."""
        return self.connections.connected()

    async def run(self, reload: asyncio.Event | None = None) -> None:
        """Run until cancelled. Whenever `reload` is set, read the grid signal's file again and clear the event."""
        reload = reload or asyncio.Event()
        while True:
            await reload.wait()
            reload.clear()
            await self.grid.read_file(always=True)


@contextlib.asynccontextmanager
async def running(config: CsmsConfig, events: Path | None = None, clock: Clock | None = None) -> AsyncIterator[Csms]:
    """Open the store, resume pending work, listen; on exit finish current work. Raises V2GError.

    `clock`: another one than that of the configuration.
    """
    clock = clock or Clock(config.clock)
    observe = EventLog("csms", clock, events, files=config.log)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(observe.close)
        stack.enter_context(defects_reported(observe))
        follower = None
        if config.update is not None:
            from csms.nodes.work import begin, state_folder
            from v2g.io.ota.follower import Follower

            follower = Follower(config.update, state_folder(config.data_dir), clock.utc_ms, observe)
            await begin(config, follower)
        _look_for_keys(config)
        for held in hold(config.store_url, config.data_dir):
            stack.callback(os.close, held)
        services = await open_services(config, clock, observe, stack)
        # else payments for sessions would be neither taken nor released
        if services.config.payments.direct is None and (waiting := await services.store.read(open_payments)):
            raise ConfigError(
                f"payments.direct is missing, and {len(waiting)} payments of drivers are open, such as {waiting[0].id}",
                hint='put it back, with amount = "0" so that no new ones begin, until all are over',
            )
        observe.on_event(services.metrics.saw)
        server = StationServer(services)
        services[GridSource].on_change = partial(_signal_changed, services, server)
        services[ExportPermits].on_change = server.signal_changed
        supervisor = Supervisor(observe)
        # Without processes that store telemetry, this one does
        number = count(config.ingestion_worker.threads)
        workers = None if number == 1 else IngestWorkers(worker_settings(config), number, supervisor)
        backend = make_backend(services, workers)
        stack.callback(backend.ingest.close)
        stack.push_async_callback(backend.latest.close)
        stack.push_async_callback(supervisor.close)
        await backend.latest.run(supervisor)
        if workers is not None:
            stack.push_async_callback(workers.close)
            workers.start()
        api = Api(backend, "csms.console.application" if config.api.console else "csms.http.application")
        try:
            stack.push_async_callback(api.close)
            api_port = await api.start()
            stack.push_async_callback(server.close)
            ocpp_port, *others = await server.start()
        except OSError as error:
            raise TransportError(f"cannot listen: {error}", hint="is the port in use? 0 picks a free one") from None
        renewed: list[Renewed] = [
            *([api.renewed] if api.renewed is not None else []),
            *server.renewed,
            services[CertificateStatus].crls,
            api.crls,
        ]
        supervisor.keep("silent stations", server.watch_silence)
        supervisor.keep("certificates", partial(keep_renewed, renewed))
        supervisor.keep("grid signal file", partial(services[GridSource].watch, config.grid.poll_interval_s))
        _follow_grid(services, supervisor)
        _settle_payments(services, supervisor)
        if backend.subscriber is not None:
            stack.push_async_callback(backend.subscriber.close)
            await backend.subscriber.start()
            renewed.append(backend.subscriber)
        await stack.enter_async_context(background(services))
        if config.update is not None and follower is not None:
            from csms.nodes.work import NodeUpdates

            supervisor.keep("update", NodeUpdates(services, follower, config.update, api_port).run)
        if config.home_assistant is not None:
            from csms.home_assistant.publisher import HomeAssistantPublisher

            supervisor.keep(
                "Home Assistant", HomeAssistantPublisher(services, backend.latest, config.home_assistant).run
            )
        if (lists := services.find(TrustLists)) is not None:
            supervisor.keep("trust list", partial(lists.run, services))
        renew = services[TelemetrySeal].keep_renewed
        supervisor.keep("telemetry keys", partial(renew, services.store, clock.utc_ms, config.telemetry.key_days))
        supervisor.keep("telemetry quarantine", backend.ingest.keep_releasing)
        supervisor.keep("telemetry aggregates", backend.ingest.keep_aggregating)
        supervisor.keep("telemetry erasures", backend.ingest.follow_erasures)
        supervisor.keep("alerts", backend.alerts.run)
        watch = AlertWatch(services, backend.alerts)
        stack.push_async_callback(watch.leave)
        supervisor.keep("alert rules", watch.run)
        supervisor.keep("reports of batteries", partial(make_reports, services))
        supervisor.keep("drifts of scores", DriftWatch(services).run)
        if config.alerts.email is not None:
            zone, origin = config.accounting_zone, config.api.origin if config.api.console else ""
            mails = AlertMails(services.store, clock, observe, config.alerts.email, zone, origin)
            supervisor.keep("e-mails", mails.run)
        batteries = BatterySink(services.store, clock, config.battery, backend.alerts.wake, config.scores)
        configured = [(each.name, open_sink(each, config.telemetry)) for each in config.telemetry.sinks]
        sinks: list[tuple[str, Sink]] = [(BATTERIES, batteries), *configured]
        for name, sink in sinks:
            stack.push_async_callback(sink.close)
            feeder = SinkFeeder(
                name, sink, services.store, clock, observe, services.leads, services.metrics, services.log_name
            )
            backend.ingest.subscribe(feeder.wake)
            stack.push_async_callback(supervisor.close)  # before the sink is closed
            supervisor.keep(f"telemetry sink {name}", feeder.run)
        observe(Observe("ocpp", "ready", {"ocpp_port": ocpp_port, "api_port": api_port}))
        api.prepare()
        notify("READY=1")
        stack.callback(lambda: observe(Observe("ocpp", "stopping")))
        ports = {f"ocpp_{place}": port for place, port in enumerate(others, 2)}
        yield Csms({"ocpp": ocpp_port, "api": api_port, **ports}, services)


def _follow_grid(services: Services, supervisor: Supervisor) -> None:
    """Keep a client or a server for each source of grid signals in the configuration; its import is slow."""
    grid = services.config.grid
    if grid.openadr is not None:
        from csms.grid.openadr import follow_vtn

        supervisor.keep("OpenADR VEN", partial(follow_vtn, services, grid.openadr))
    for name, steering in (("SCADA registers", grid.scada), ("EEBUS control box", grid.eebus)):
        if steering is not None:
            from csms.grid.scada import ScadaRegisters

            supervisor.keep(name, ScadaRegisters(services, steering).run)
    if grid.ieee2030_5 is not None:
        from csms.grid.ieee2030_5 import follow_der_server

        supervisor.keep("IEEE 2030.5 client", partial(follow_der_server, services, grid.ieee2030_5))
    for feed in grid.prices:
        from csms.grid.price_feed import follow_prices

        supervisor.keep(f"price feed {feed.name}", partial(follow_prices, services, feed))


def _settle_payments(services: Services, supervisor: Supervisor) -> None:
    """Keep what debits drivers, and what captures the payments that they made, where the configuration has it."""
    payments = services.config.payments
    if payments.mandates is not None:
        from csms.mandates.work import collect_debits

        supervisor.keep("payment mandates", partial(collect_debits, services, payments.mandates))
    if payments.direct is not None:
        from csms.direct_payments.work import settle_direct_payments

        supervisor.keep("direct payments", partial(settle_direct_payments, services, payments.direct))


def _place(tree: Fields) -> tuple[Fields, Path]:
    from csms.nodes.work import state_folder

    return tree["update"], state_folder(Path(tree["data_dir"]))


def _look_for_keys(config: CsmsConfig) -> None:
    """Check a server's key before anything is changed. Raises KeyAccessError."""
    ocpp = config.ocpp
    with_tls = ocpp.security_profile > 1 or any(listener.security_profile > 1 for listener in ocpp.listeners)
    for key in (config.api.key, *((ocpp.key, ocpp.rsa_key) if with_tls else ())):
        if key is not None:
            read_secret(key)
    if config.grid.openadr is not None:
        read_secret(config.grid.openadr.client_secret_file)
    if config.api.openid is not None:
        read_secret(config.api.openid.client_secret_file)
        with extras_named():
            import joserfc  # noqa: F401  an extra
    for provider in (config.payments.mandates, config.payments.direct):
        if provider is not None:
            read_secret(provider.secret_file)
    if config.alerts.email is not None and config.alerts.email.password_file is not None:
        read_secret(config.alerts.email.password_file)
    if config.grid.ieee2030_5 is not None:
        read_secret(config.grid.ieee2030_5.key)
    for feed in config.grid.prices:
        if feed.secret_file is not None:
            read_secret(feed.secret_file)


def _signal_changed(services: Services, server: StationServer, signal: GridSignal) -> None:
    """Send a new grid signal to the connected stations, and announce it to other nodes."""
    server.signal_changed()
    services.feed.publish(GRID_SIGNAL, None, {"version": signal.version})


async def open_services(
    config: CsmsConfig, clock: Clock, observe: EventLog, stack: contextlib.AsyncExitStack, bus: Bus | None = None
) -> Services:
    """Open what all stations share; `stack` closes it. `bus`: instead of the one in the configuration."""
    certificate_status = CertificateStatus(config.trust, clock, observe, config.v2g_ca)
    contracts = ContractVerifier(config.trust, clock, certificate_status, observe)
    data_dir = config.data_dir
    store = open_store(config.store_url, data_dir)
    stack.callback(store.close)
    store_key = await open_store_key(store, config.store_key, data_dir, observe, alone=not config.bus_url)
    telemetry_seal = await open_seal(
        store, store_key, clock.utc_ms(), config.telemetry.key_days, sealing=config.telemetry.sealed
    )
    await store.run(
        tokens.replace_configured,
        [
            Token(entry.type, normalise(entry.type, entry.id_token), entry.status, entry.energy_transfer, entry.terms)
            for entry in config.tokens
        ],
    )
    for group in config.token_groups:
        await store.run(tokens.put_group, group)
    if (first := config.api.first_admin) is not None:
        await store.run(users.add_first, first.name, first.password_hash, clock.utc_ms())
    books_key = open_books_key(config.books_key, data_dir)
    seen = LastSeen(store, clock.utc_ms())
    stack.push_async_callback(seen.flush)
    bus = bus or _bus(config, store_key, observe)
    connections, feed = ConnectionRegistry(bus, config.ocpp.call_timeout_s), Feed(bus, clock.utc_ms)
    await bus.start()
    stack.push_async_callback(bus.close)
    stack.callback(feed.close)
    bookkeeper = _bookkeeper(config, store, clock, observe, feed, certificate_status)
    journals = JournalStore(store, clock, observe, bookkeeper, books_key, config.taxation, store_key.log_name)
    await journals.recover()
    station_ca = StationCa(config, store, clock, connections, observe, feed)
    stack.callback(station_ca.close)
    admissions = StationAdmissions(
        config,
        store,
        clock,
        connections,
        observe,
        feed,
        PasswordMarks(store_key.derive("passwords of stations").encode()),
    )
    grid = GridSource(store, clock, observe, config.grid.signal_file, config.grid.site, config.grid.price_bounds)
    await grid.load()
    attests = config.attestation is not None and config.attestation.discharge == "refused"
    permits = ExportPermits(store, clock, feed, required=config.grid.prequalified_only, attested=attests)
    await permits.load()
    parts: list[object] = [
        grid,
        permits,
        GridShares(store, clock, observe, feed, connections, grid, config.balancing.settle_s),
        contracts,
        journals,
        bookkeeper,
        certificate_status,
        admissions,
        seen,
        station_ca,
        telemetry_seal,
        BooksKeys(books_key, (books_key.public_key, *map(load_public_key, config.books_earlier_keys))),
        Orders(),
        Overloads(),
        StationAbilities(),
    ]
    if config.provisioning is not None:
        from csms.contracts.provisioning import Provisioner  # on demand: imports messages of ISO 15118

        parts.append(Provisioner(config.provisioning, config.trust, contracts, clock, observe))
    if config.outside_pools:
        from csms.contracts.outside import OutsidePools

        parts.append(OutsidePools(config.outside_pools, config.trust, contracts, clock, observe))
    if config.trust_list is not None:
        parts.append(TrustLists(config.trust_list, clock))
    if config.roaming is not None:
        parts.append(Partners(config.roaming, store, store_key, clock, observe, feed))
    if config.payments.direct is not None:
        parts.append(DirectClient(config.payments.direct))
    if config.attestation is not None:
        parts.append(Attester(config.attestation, clock.scale))
    return Services(
        config=config,
        store=store,
        store_key=store_key,
        clock=clock,
        observe=observe,
        connections=connections,
        feed=feed,
        frames=FrameLog(feed, clock),
        parts={type(part): part for part in parts},
    )


def _bookkeeper(
    config: CsmsConfig, store: Store, clock: Clock, observe: EventLog, feed: Feed, status: CertificateStatus
) -> Bookkeeper:
    def report(stage: str, name: str, station_id: str, data: dict[str, Scalar]) -> None:
        observe(Observe(stage, name, {"station": station_id, **data}))
        feed.publish(name, station_id, data)

    settlement = config.settlement
    rules = Rules(
        wear=None if settlement.wear_per_kwh is None else micro_of(settlement.wear_per_kwh),
        unsigned_feed_in=settlement.unsigned_feed_in,
        unsigned_contracts=settlement.unsigned_contracts,
        margin_ms=round(_MARGIN_MS * clock.scale),
    )
    wait_ms = round(settlement.wait_s * 1000 * clock.scale)
    return Bookkeeper(
        store,
        clock,
        report,
        lambda: status.anchors,
        rules,
        wait_ms=wait_ms,
        zone=config.accounting_zone,
        taxation=config.taxation,
    )


_MARGIN_MS: Final = 60_000
"""By so much a session may begin before its transaction and end after it, real ms."""


def main(config_path: Path, events: Path | None) -> int:
    """Run a back end until SIGTERM or SIGINT; return the exit code."""
    allow_many_files()
    return run(
        lambda: read_or_go_back(config_path, partial(parse, name=str(config_path)), _place),
        lambda config: config.log,
        lambda config: serve(config, events or config.log.events),
        loop_factory=fast_loop(),
    )


async def serve(config: CsmsConfig, events: Path | None) -> int:
    """Run a CSMS until it is cancelled (SIGTERM, SIGINT).

    SIGHUP reads the grid signal's file again, and reopens the output files.
    """
    loop, reload = asyncio.get_running_loop(), asyncio.Event()

    def look_again() -> None:
        reload.set()
        reopen_all()

    loop.add_signal_handler(signal.SIGHUP, look_again)  # before `ready` is reported: without a handler SIGHUP kills
    try:
        async with running(config, events) as csms:
            await csms.run(reload)
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
    return 0


def _bus(config: CsmsConfig, store_key: StoreKey, observe: EventLog) -> Bus:
    """Return the bus between nodes: Redis, or a local one for a single node."""
    name = config.node_name
    if not config.bus_url:
        return LocalBus(name)
    from csms.cluster.redis_bus import RedisBus  # on demand: its import is slow

    def skipped(why: str) -> None:
        observe(Observe("ocpp", "bus_entry_skipped", {"reason": why}))

    key = store_key.derive("bus between nodes").encode()
    return RedisBus(config.bus_url, f"{name}-{secrets.token_hex(4)}", key, skipped=skipped)


def worker_settings(config: CsmsConfig) -> WorkerSettings:
    """Return what a worker of this back end needs to know."""
    key = "" if config.store_key is None else str(config.store_key)
    url = address(config.store_url, config.data_dir)
    return WorkerSettings(url, key, str(config.data_dir), config.telemetry.sealed, config.telemetry.key_days)
