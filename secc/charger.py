"""A charger that may be plugged in: it serves one vehicle at a time and keeps the back end informed."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secc.archive import Archive, Owner
from secc.backend import Backend, NoBackend, StationBackend
from secc.books import Books
from secc.config import ProgramConfig
from secc.core import ports
from secc.core.context import Identity, Trust
from secc.core.session import SeccSession
from secc.grid import Grid
from secc.hardware import EvseHardware
from secc.meter import SimulatedMeter
from secc.station import Hooks, Station
from v2g.errors import ConfigError, V2GError
from v2g.iso15118 import sdp
from v2g.iso15118.session import Command, Fact
from v2g.net import tls
from v2g.net.clock import Clock
from v2g.net.events import EventLog
from v2g.net.medium import Medium
from v2g.net.plc.datalink import ChargerLink
from v2g.net.plc.link import open_link
from v2g.net.plc.pilot import SimulatedChargerPilot
from v2g.net.runner import ByteStream, Runner
from v2g.net.udp import SdpServer, link_local_address, tls_answer
from v2g.observe import Observe
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.transactions import MeterSample, SignedReading
from v2g.pki.credentials import Credentials, load_chain
from v2g.settlement.ocmf import signed_meter_data
from v2g.slac.pilot import PilotState

Wrap = Callable[[ByteStream], ByteStream]
"""Puts something between the session and its connection; tests and scenarios use it to misbehave on purpose."""

EVSE = 1
"""Number of the one EVSE that this program runs."""

DRAIN_S = 3.0
"""How long an orderly end waits for the back end to take what is queued."""


@dataclass(frozen=True)
class Wires:
    """What joins the charger to a vehicle beside the network, simulated on a medium."""

    medium: Medium
    pilot: SimulatedChargerPilot


def roots(*files: Path) -> tuple[bytes, ...]:
    """Return the first certificate (DER) of each PEM file."""
    return tuple(load_chain(path)[0] for path in files)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="see site.signal_file") from None


@dataclass
class Charger:
    """A charger that may be plugged in."""

    config: ProgramConfig
    clock: Clock
    observe: EventLog
    owner: Owner
    archive: Archive
    meter: SimulatedMeter
    hardware: EvseHardware
    wires: Wires | None

    def __post_init__(self) -> None:
        site = self.config.site
        self.grid = Grid(charge_w=site.charge_w, discharge_w=site.discharge_w)
        if site.signal_file is not None:
            self.grid.signal(_read(site.signal_file))
        self.station: Station | None = None
        self.backend: Backend = NoBackend(site.contracts, free=site.free)
        self._current: Runner | None = None
        self._link: ChargerLink | None = None

    # -- the back end

    def connect_station(self) -> Callable[[], Coroutine[Any, Any, None]]:
        """Start the charging station, close what a killed process left, and return what ends it in good order."""
        assert self.config.station is not None
        self.station = station = Station(
            self.config.station,
            clock=self.clock,
            entropy=os.urandom,
            observe=self.observe,
            hooks=Hooks(
                on_limit=lambda _evse, allowance, _version: self.tell(*self.grid.profiles(allowance)),
                on_grid_signal=lambda data: self.tell(*self.grid.signal(data)),
                on_stop=lambda _reference, reason: self.tell(ports.StopRequested(reason)),
                on_start=lambda *_: backend.remote_start(),
                meter=lambda _evse: self._sample(),
            ),
            boot_id=_boot_id(),
            meter_public_key=_public_key(self.owner.meter),
        )
        self.backend = backend = StationBackend(station, self.meter, self.clock, self._signed)
        self.archive.recover(self.meter, station.restate_journal)
        station.recover(lambda record: self._sample(self._signed(record.reference)))
        running = asyncio.create_task(station.run(), name="station")
        running.add_done_callback(self._station_ended)

        async def close() -> None:
            await station.drain(DRAIN_S)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            station.close()

        return close

    def _station_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.observe(Observe("ocpp", "station_failed", {"error": str(error)}))
            self.tell(ports.HardwareFault("station_store"))

    def _sample(self, signed: tuple[SignedReading, ...] = ()) -> MeterSample:
        reading = self.meter.read(self.clock.utc_ms())
        return MeterSample(
            utc_ms=reading.utc_ms, import_mwh=reading.import_mwh, export_mwh=reading.export_mwh, signed=signed
        )

    def _signed(self, session_id: str) -> tuple[SignedReading, ...]:
        return tuple(
            SignedReading(register=direction, data=signed_meter_data(text))
            for direction, text in self.archive.signed(session_id).items()
        )

    # -- vehicles

    async def serve(self, wrap: Wrap) -> None:
        """Serve vehicles, one after the other, until cancelled."""
        config = self.config
        address = link_local_address(config.link.interface)
        host = f"{address}%{config.link.interface}" if address.is_link_local else str(address)
        server = await tls.serve(
            host,
            config.tls.port or sdp.TCP_PORTS,
            lambda stream: self._vehicle(stream, wrap),
            credentials=self.owner.charger,
            anchors=roots(*config.tls.v2g_roots, *config.tls.oem_roots),
            profile=tls.PROFILES[config.security_profile],
            staple=config.tls.ocsp.read_bytes if config.tls.ocsp else None,
            on_failure=lambda error: self.observe(
                Observe("tls", "refused", {"reason": error.reason, "error": str(error)})
            ),
        )
        discovery = SdpServer(config.link.interface, tls_answer(address, server.port), port=config.sdp.port)
        self._connect_wires()
        try:
            if self.station is not None:
                await self.station.online.wait()
            self.observe(Observe("session", "ready", {"sdp_port": discovery.port, "tls_port": server.port}))
            await asyncio.Event().wait()
        finally:
            discovery.close()
            if self._current is not None:
                self._current.abort("shut_down")
            await server.close()
            if self._link is not None:
                self._link.close()

    def _connect_wires(self) -> None:
        config, wires = self.config.link, self.wires
        if wires is None:
            return
        if config.slac is not None:
            port = open_link(config.plc, role="evse", medium=wires.medium)
            self._link = ChargerLink(port, wires.pilot, config.slac, observe=self.observe)
            self._link.on_down(self._link_down)
        wires.pilot.on_state(self._pilot_changed)

    def _pilot_changed(self, state: PilotState) -> None:
        self.tell(ports.PilotChanged(state))
        if state is PilotState.A:
            self._show("Available")
        elif state is PilotState.E:  # a short on the wire; F is our own doing and passes
            self._show("Faulted")
        elif state.connected:
            self._show("Occupied")

    def _show(self, status: ConnectorStatus) -> None:
        """Tell the CSMS the connector's state (G01)."""
        if self.station is not None:
            self.station.status(EVSE, status)

    def tell(self, *facts: Fact) -> None:
        """Tell the running session, if there is one."""
        if self._current is not None:
            for fact in facts:
                self._current.fact(fact)

    def _link_down(self, reason: str) -> None:
        if reason == "plug_not_seated":
            self._show("Faulted")
        if self._current is not None:
            self._current.abort(reason)

    async def _vehicle(self, stream: tls.TlsStream, wrap: Wrap) -> None:
        data = {"peer": stream.peer.subject_cn, "version": stream.version, "cipher": stream.cipher}
        if self._current is not None:  # one plug, one vehicle; a second connection is a stranger
            self.observe(Observe("tls", "refused", {"reason": "occupied", **data}))
            return
        self.observe(Observe("tls", "accepted", {**data, "group": stream.group}))
        visit = Visit(self)
        self._current = runner = Runner(
            visit.session, wrap(stream), execute=visit.execute, clock=self.clock, observe=self.observe
        )
        unsubscribe = self.hardware.subscribe(runner.fact)
        intervals = asyncio.create_task(visit.books.close_intervals(visit.interval_closed))
        intervals.add_done_callback(lambda task: self._books_failed(task, runner))
        reason = "broke_down"
        try:
            reason = await runner.run()
        finally:
            self._current = None
            unsubscribe()
            intervals.cancel()
            await asyncio.gather(intervals, return_exceptions=True)
            if self._link is not None:
                if reason == "finished" or not self._plugged:
                    self._link.terminate()
                else:
                    self._link.restart(reason)

    @property
    def _plugged(self) -> bool:
        return self.wires is not None and self.wires.pilot.state is not PilotState.A

    def _books_failed(self, task: "asyncio.Task[None]", runner: Runner) -> None:
        """End the session when intervals cannot be closed any more: no energy moves that cannot be accounted for."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.observe(Observe("metering", "books_failed", {"error": str(error)}))
            runner.abort("books_failed")


class Visit:
    """One vehicle's session: its core, its books, and who carries out what the core asks for."""

    def __init__(self, charger: Charger) -> None:
        self._charger = charger
        config, clock = charger.config, charger.clock
        self._contract: tuple[bytes, ...] = ()
        self._session_id = ""
        self.books = Books(self._open_journal, meter=charger.meter, clock=clock, on_line=self._line)
        reading = charger.meter.read(clock.utc_ms())
        self.session = SeccSession(
            config.charger,
            trust=Trust(
                v2g_roots=roots(*config.tls.v2g_roots),
                mo_roots=roots(*config.tls.mo_roots),
                key=charger.owner.charger.signing_key,
                chain=charger.owner.charger.chain,
                interop=config.security_profile == "interop",
            ),
            identity=Identity(
                station_id=config.station.identity if config.station else config.charger.evse_id,
                meter_serial=charger.meter.serial,
                meter_certificate=charger.owner.meter.leaf,
            ),
            entropy=os.urandom,
            limits=charger.grid.limits,
            tariff=charger.grid.tariff,
            setpoint=charger.grid.setpoint,
            meter=ports.MeterRead(reading.utc_ms, reading.import_mwh, reading.export_mwh, charger.meter.serial),
            pilot=charger.wires.pilot.state if charger.wires is not None and config.link.slac is not None else None,
            time_scale=clock.scale,
        )

    def execute(self, command: Command) -> Coroutine[Any, Any, Fact | None] | None:
        """Carry out a command: books first, since nothing may happen without them."""
        if isinstance(command, ports.AuthorizeContract):
            self._contract = command.chain
        read = self.books.execute(command)
        if isinstance(command, ports.CloseBooks) and self._session_id:
            self._settle()
        if read is not None:
            return _outcome(read)
        return self._charger.hardware.execute(command) or self._charger.backend.execute(command)

    def interval_closed(self, reading: ports.MeterRead) -> None:
        """A quarter hour is over: the vehicle is asked to sign what the meter shows."""
        self._charger.observe(
            Observe(
                "metering",
                "interval_closed",
                {"import_mwh": reading.import_mwh, "export_mwh": reading.export_mwh, "utc_ms": reading.utc_ms},
            )
        )
        self._charger.tell(reading, ports.MeteringConfirmationRequested())

    def _settle(self) -> None:
        """Make the bundle; what is wrong with it is told, and the journal stays for the next start."""
        try:
            self._charger.archive.finish(self._session_id)
        except V2GError as error:
            self._charger.observe(Observe("settlement", "bundle_failed", {"error": str(error)}))

    def _open_journal(self, session_id: str) -> Any:
        self._session_id = session_id
        return self._charger.archive.open_journal(session_id, self._contract)

    def _line(self, line: bytes) -> None:
        if self._charger.station is not None:
            self._charger.station.journal(self._session_id, line.decode())


async def _outcome(fact: Fact) -> Fact:
    return fact


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _public_key(meter: Credentials) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return meter.signing_key.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
