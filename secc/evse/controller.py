"""One EVSE: its plug, its vehicle, its journal, and a paused session."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Final

from secc.config import ProgramConfig
from secc.energy_manager.grid import Grid
from secc.evse.archive import Archive, Owner
from secc.evse.backend import Backend, NoBackend, StationBackend
from secc.evse.basic_fallback import Fallback
from secc.evse.idling import Idling
from secc.evse.pauses import Pauses
from secc.evse.visit import Visit
from secc.hardware.evse import EvseHardware
from secc.hardware.meter import Meter
from secc.hardware.safety import SafetyChannel
from secc.link.listening import Stream
from secc.link.modem_watch import ModemWatch
from secc.link.pairing import Plug
from secc.link.transport import Transport
from secc.session import ports
from secc.session.books import STOPPED_REASONS
from secc.session.edition import Edition, NegotiatedSession
from secc.session.energy_transfer import services_of
from secc.station.station import Station
from v2g.energy.grid_signal import parse_grid_signal
from v2g.energy.settlement.ocmf import signed_meter_data
from v2g.errors import ConfigError
from v2g.hardware.faults import FAULTS
from v2g.hardware.interfaces import ChargerPilot
from v2g.iec61851.pilot import PilotState
from v2g.io.capture.recorder import Recorder
from v2g.io.plc.datalink import ChargerLink
from v2g.io.plc.link import PlcLink
from v2g.io.plc.opening import open_link
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.runner import ByteStream, Runner
from v2g.io.runtime.supervision import child
from v2g.io.simulation.medium import Medium
from v2g.iso15118.engine.core import Conversation, Core
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.select import EditionName, carried
from v2g.observe import Observe, Scalar
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g_station.blocks.transactions.transactions import MeterSample, SignedReading

Wrap = Callable[[ByteStream], ByteStream]
"""Wraps the connection of a session; tests and scenarios use it to inject faults."""

SEEN_S: Final = 5.0
"""Time after a start for a paused vehicle to be detected at the plug, real seconds."""


@dataclass(frozen=True)
class Wires:
    """The EVSE's connections to a vehicle besides the network; `medium` has the simulated wires."""

    pilot: ChargerPilot
    medium: Medium | None = None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="see site.signal_file") from None


@dataclass
class EvseController:
    """One EVSE of a charger; `number` is OCPP's, from 1. It serves one vehicle at a time."""

    number: int
    config: ProgramConfig
    clock: Clock
    observe: Callable[[Observe], None]
    transport: Transport
    owner: Owner
    archive: Archive
    meter: Meter
    hardware: EvseHardware
    safety: SafetyChannel
    """The safety channel, which can remove power."""
    wires: Wires | None
    disk: DiskThread
    """Writes the journals."""
    bundles: DiskThread
    """Creates settlement bundles, one at a time: threads that calculate delay the event loop."""
    traced: Callable[[Conversation], Core] = lambda core: core
    """Wraps a core for the runner, perhaps with tracing."""
    _: KW_ONLY
    editions: Mapping[EditionName, Edition]
    """Editions served; the first one answers vehicles that support none of them."""

    def __post_init__(self) -> None:
        site = self.config.site
        self.grid = Grid(charge_w=site.charge_w, discharge_w=site.discharge_w)
        if site.signal_file is not None:
            self.grid.signal(parse_grid_signal(_read(site.signal_file)))
        self.station: Station | None = None
        self.backend: Backend = NoBackend(site.contracts, free=site.free)
        self.on_busy: list[Callable[[], None]] = []
        """Called when a session begins and when it has ended."""
        self.pauses = Pauses(self)
        self._endings: set[asyncio.Task[None]] = set()
        self._current: Runner | None = None
        self._visit: Visit | None = None
        self._session: Conversation | None = None
        self._port: PlcLink | None = None
        self._modem = ModemWatch(self._fault_changed)
        self._link: ChargerLink | None = None
        self._fallback: Fallback | None = None
        self._idling = Idling(self)
        self.in_service = True
        """Whether new vehicles may use this EVSE; a running or paused session continues."""
        self.hardware.on_fault(self._fault_changed)
        self.hardware.on_light(lambda light: self.observe(Observe("hardware", "light", {"light": light})))

    # -- the back end and the site

    def connect(self, station: Station) -> None:
        """Join a charging station."""
        self.station = station
        self.backend = StationBackend(station, self.number, self.meter, self.clock, self._signed)
        for word in self.hardware.faults:
            station.problem(self.number, word, active=True)

    def sample(self, ended: str = "") -> MeterSample:
        """Return the current reading of the meter; with its signatures for the session `ended`, if it is settled."""
        reading, present = self.meter.read(self.clock.utc_ms()), self.hardware.present
        return MeterSample(
            utc_ms=reading.utc_ms,
            import_mwh=reading.import_mwh,
            export_mwh=reading.export_mwh,
            power_w=None if ended else present.watts,
            voltage_v=present.voltage_mv / 1000,
            current_a=max(0, present.current_ma) / 1000,
            signed=self._signed(ended) if ended else (),
        )

    @property
    def power_w(self) -> int:
        """The current power, W; negative from the vehicle."""
        return self.hardware.present.watts

    def _signed(self, session_id: str) -> tuple[SignedReading, ...]:
        return tuple(
            SignedReading(register=direction, data=signed_meter_data(text))
            for direction, text in self.archive.signed(session_id).items()
        )

    def grid_changed(self, facts: Sequence[Fact]) -> None:
        """Limits have changed; a vehicle is asked to pause if there is no energy for long."""
        self.tell(*facts)
        if facts and isinstance(self._session, NegotiatedSession) and self._session.scheduled:
            self.tell(ports.RenegotiationRequested())
        self._idling.look()

    def serves(self, modes: Sequence[str]) -> bool:
        """Return whether the back end allows one of our services (EnergyTransferModeEnum)."""
        return bool(services_of(modes).intersection(self.config.charger.services))

    def allow_energy_transfer(self, reference: str, modes: Sequence[str]) -> None:
        """The back end allows these modes in this transaction (Q02)."""
        if self.paused_visit is not None and self.paused_visit.session_id == reference:
            self.pauses.allow(services_of(modes))
        elif self._visit is not None and self._visit.reference == reference:
            self.tell(ports.EnergyTransferAllowed(services_of(modes)))

    def stop(self, reference: str, reason: str) -> None:
        """The back end stops this transaction, even if paused."""
        if self.paused_visit is not None and self.paused_visit.session_id == reference:
            self.pauses.forget(reason, STOPPED_REASONS.get(reason, "Remote"))
        elif self._visit is not None and self._visit.reference == reference:
            self.tell(ports.StopRequested(reason))
            self.pauses.forget(reason, STOPPED_REASONS.get(reason, "Remote"))  # while it is being stored

    def end(self, reason: str, stopped: str) -> None:
        """End a running or paused session gracefully; `stopped` is OCPP's reason for a paused one."""
        self.tell(ports.StopRequested(reason))
        self.pauses.forget(reason, stopped)

    def cut(self, reason: str) -> None:
        """End the running session without waiting for its vehicle."""
        if self._current is not None:
            self._current.abort(reason)

    def serve(self, operative: bool) -> None:
        """The back end takes this EVSE in or out of service (G03)."""
        self.in_service = operative
        self._show_availability()
        if self._fallback is not None and operative:
            self._fallback.consider()

    @property
    def open(self) -> bool:
        """Whether a vehicle may begin, or resume a paused session."""
        return self.in_service or self.paused_visit is not None

    # -- the paused session

    @property
    def paused_visit(self) -> Visit | None:
        """The paused session of a vehicle."""
        return self.pauses.paused_visit

    def wake_up(self) -> None:
        """Wake the paused vehicle, if there is a data link."""
        if self._link is not None:
            self._link.wake_up()

    @property
    def session(self) -> Conversation | None:
        """The running session."""
        return self._session

    def _forget_absent(self) -> None:
        """Close a paused session without a vehicle at the plug."""
        if self.wires is not None and not self._plugged and self._current is None:
            self.pauses.forget("unplugged", "EVDisconnected")

    # -- life

    def open_port(self, recorder: Recorder | None) -> None:
        """Open the powerline port."""
        config = self.config.link
        if self.wires is not None and config.slac is not None:
            medium = self.wires.medium
            self._port = open_link(
                config.plc, role="evse", medium=medium, observe=self._observe_link, recorder=recorder
            )

    def close_port(self) -> None:
        """Close it."""
        if self._port is not None:
            self._port.close()

    def connect_wires(self) -> None:
        """Start serving vehicles."""
        wires, slac = self.wires, self.config.link.slac
        if wires is None:
            return
        if self.config.charger.basic is not None:
            self._fallback = Fallback(self, self.config.charger.basic, wires.pilot)
        if self._port is not None and slac is not None:
            self._link = ChargerLink(self._port, wires.pilot, slac, observe=self._observe_link)
            self._link.on_down(self._link_down)
            self._show_availability()
        if self._fallback is not None:
            self._fallback.use(self._link)
        if self._link is None and self._fallback is None:
            wires.pilot.set_duty(5.0)  # without matching nothing else requests digital communication
        wires.pilot.on_state(self._pilot_changed)
        if self.paused_visit is not None:
            asyncio.get_running_loop().call_later(SEEN_S, self._forget_absent)

    def later(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run the follow-up work of a session; the next vehicle and the program's end wait for it."""
        task = child(work, name="ending")
        self._endings.add(task)
        task.add_done_callback(self._ended)
        return task

    async def report(self, command: Command) -> None:
        """Send to the back end; return when it has stored the entry. Raises StoreError."""
        outcome = self.backend.execute(command)
        if outcome is not None:
            await outcome

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._endings.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.observe(Observe("metering", "books_failed", {"error": str(error)}))

    async def settled(self) -> None:
        """Wait until the follow-up work of earlier sessions is done."""
        while self._endings:
            await asyncio.wait(self._endings)

    async def abort(self, reason: str) -> None:
        """End the running session at once."""
        self._idling.close()
        self.cut(reason)
        if self._fallback is not None:
            await self._fallback.close()

    async def leave(self) -> None:
        """Leave the data link; a paused session stays open on the disk."""
        if self._link is not None:
            self._link.close()
        if self.paused_visit is not None:
            await self.paused_visit.books.put_down()

    # -- events at the plug

    def _observe_link(self, event: Observe) -> None:
        self._modem.saw(event)
        if self._fallback is not None:
            self._fallback.saw(event)
        self.observe(event)

    def _pilot_changed(self, state: PilotState) -> None:
        self.tell(ports.PilotChanged(state))
        if state is PilotState.A:
            self._forget_absent()
        self.show()
        if self._fallback is not None:
            self._fallback.pilot_changed(state)

    def _fault_changed(self, word: str, active: bool) -> None:
        """Record a hardware fault and report it to the CSMS; the session is notified separately."""
        fault = FAULTS[word]
        data: dict[str, Scalar] = {"fault": word, "component": fault.component, "stops": fault.stops}
        self.observe(Observe("hardware", "fault_began" if active else "fault_ended", data))
        if self.station is not None:
            self.station.problem(self.number, word, active=active)
        self.show()
        self._show_availability()
        if self._fallback is not None and not active:
            self._fallback.consider()

    def _show_availability(self) -> None:
        """Show F while the charger is not available (IEC 61851-1), except for faults that the vehicle can clear."""
        if self._link is None or self.busy:
            return  # a running session ends on its own
        if not self.open or any(FAULTS[word].shown_by_f for word in self.hardware.faults):
            self._link.hold()
        else:
            self._link.release()

    def show(self) -> None:
        """Report the connector's state to the CSMS (G01)."""
        if self.station is not None and (status := self.status) is not None:
            self.station.status(self.number, status)

    @property
    def status(self) -> ConnectorStatus | None:
        """The connector's state; None if unknown."""
        state = self.wires.pilot.state if self.wires is not None else PilotState.A
        if self.at_fault:
            return "Faulted"
        if state.connected or (self.busy and not self._plug_needed):
            return "Occupied"
        return "Available" if state is PilotState.A else None  # F is set by the charger and temporary

    def _link_down(self, reason: str) -> None:
        if self._current is not None:
            self._current.abort(reason)
        elif self._fallback is not None:
            self._fallback.link_down(reason)

    def tell(self, *facts: Fact) -> None:
        """Pass a fact to the running session, if there is one."""
        if self._current is not None:
            for fact in facts:
                self.safety.fact(
                    fact
                )  # first: otherwise the session's use of a higher limit would not be permitted yet
                self._current.fact(fact)

    @property
    def at_fault(self) -> bool:
        """Whether the hardware forbids energy."""
        return any(FAULTS[word].stops for word in self.hardware.faults)

    @property
    def busy(self) -> bool:
        """Whether a vehicle is being served."""
        return self._current is not None

    @property
    def rating(self) -> tuple[int, int]:
        """Maximum draw and feed-back of this EVSE, W."""
        charger = self.config.charger
        both = [charger.power_rating(service.family) for service in charger.services]
        return max(charge for charge, _ in both), max(discharge for _, discharge in both)

    @property
    def cable_w(self) -> int | None:
        """Rating of the cable in a socket-outlet by its coding, W; None if uncoded, or the cable is fixed."""
        if self.wires is None or self.config.hardware.kind != "ac" or not self.hardware.has_latch:
            return None
        rating = self.config.charger.ac_rating
        return self.wires.pilot.proximity.max_current_a * rating.nominal_voltage_v * rating.phases or None

    @property
    def plug(self) -> Plug:
        """Identifies vehicles on a shared interface, if it can."""
        matched = self._link.matched if self._link is not None else None
        return Plug(self.number, matched.pev_mac if matched is not None else None, self.busy)

    # -- the vehicle

    def carried(self, version: str) -> dict[EditionName, Edition]:
        """Return the editions for a connection with this version of TLS, "none" for TCP alone."""
        tls, interop = self.config.tls, self.config.security_profile == "interop"
        names = carried(version, of_2_in_tls13=tls.iso15118_2_in_tls13, without_tls=interop)
        return {name: edition for name, edition in self.editions.items() if name in names}

    async def vehicle(self, stream: Stream, wrap: Wrap) -> None:
        """Serve a vehicle that has connected."""
        await self.settled()
        data = {"peer": stream.peer_name, "version": stream.version, "cipher": stream.cipher}
        if self._current is not None or not self.open:  # one plug, one vehicle; a second connection is rejected
            reason = "occupied" if self._current is not None else "out_of_service"
            self.observe(Observe("tls", "refused", {"reason": reason, **data}))
            return
        self.observe(Observe("tls", "accepted", {**data, "group": stream.group}))
        if not self.carried(stream.version):
            self.observe(Observe("tls", "refused", {"reason": "edition_disabled", **data}))
            return
        visit = Visit(self, stream.own or self.transport.credentials[0])
        reason = "broke_down"
        try:
            reason = await self.receive(visit, visit.conversation(stream.peer_leaf, stream.version), wrap(stream))
        finally:
            self._after_conversation(reason)

    def _after_conversation(self, reason: str) -> None:
        """Prepare the data link and the pilot for the next attempt, or basic charging."""
        self._forget_absent()
        if self._link is None or (self._fallback is not None and self._fallback.conversation_ended(reason)):
            return
        if reason == "finished" or not self._plugged or self.at_fault or not self.open:
            self._link.terminate()
            self._show_availability()
        elif reason == "paused":
            self._link.pause()
        else:
            self._link.restart(reason)

    async def receive(self, visit: Visit, session: Conversation, stream: ByteStream) -> str:
        """Run one session with its journal and the hardware; return why it ended."""
        core = self.traced(session)
        self._current = runner = Runner(core, stream, execute=visit.execute, clock=self.clock, observe=self.observe)
        self._visit, self._session = visit, session
        for fact in self.grid.facts:
            self.safety.fact(fact)
        unsubscribe = self.hardware.subscribe(runner.fact)
        intervals = child(visit.books.close_intervals(visit.interval_closed))
        intervals.add_done_callback(lambda task: self._books_failed(task, runner))
        self._busy_changed()
        self._idling.look()
        try:
            return await runner.run()
        finally:
            self._current = self._visit = self._session = None
            self.backend.vehicle_left()
            unsubscribe()
            intervals.cancel()
            await asyncio.gather(intervals, return_exceptions=True)
            self._busy_changed()

    def _busy_changed(self) -> None:
        for listener in self.on_busy:
            listener()
        self.show()

    @property
    def _plug_needed(self) -> bool:
        """Whether the vehicle is at a plug, not at a connection device."""
        return self.config.hardware.kind in ("dc", "ac")

    @property
    def _plugged(self) -> bool:
        return self.wires is not None and self.wires.pilot.state is not PilotState.A

    def _books_failed(self, task: "asyncio.Task[None]", runner: Runner) -> None:
        """End the session when intervals cannot be recorded any more: energy transfer needs a journal."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.observe(Observe("metering", "books_failed", {"error": str(error)}))
            runner.abort("books_failed")
