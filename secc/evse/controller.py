"""The shell of one EVSE: passes facts to its core and to the running session, and executes what both decide."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

import msgspec

from secc.config import FAMILY_OF, ProgramConfig
from secc.energy_manager.grid import SiteGrid
from secc.energy_manager.sharing import FeederEvse
from secc.evse import ports as evse
from secc.evse.archive import Archive, ChargerOwner
from secc.evse.backend import EvseBackend, NoBackend, Outcome, StationBackend
from secc.evse.core import CONNECTION_LOST, EvseCore, EvseSettings
from secc.evse.execution import Execution
from secc.evse.paused_session_store import PausedSessionFile
from secc.evse.phases import PhaseChange
from secc.evse.session_records import RecordKeeping
from secc.evse.sessions import Sessions
from secc.hardware.evse import Evse
from secc.hardware.meter import Meter
from secc.hardware.safety import SafetyChannel
from secc.link.listening import MatchedPlug, Stream
from secc.link.transport import VehicleTransport
from secc.session import ports
from secc.session.basic_charging import BasicSession, Way
from secc.session.config import services_of
from secc.session.edition import Edition, NegotiatedSession
from secc.session.ports import Paused
from secc.station.station import ChargerStation
from v2g.energy.conductors import LINE_NAMES, LINES, Currents
from v2g.energy.grid_signal import parse_grid_signal
from v2g.energy.limits import EVSE, GridResponse, Limit, LimitsOverTime
from v2g.errors import ConfigError, V2GError
from v2g.hardware.interfaces import ChargerPilot, OnFault
from v2g.io.capture.recorder import FrameRecorder
from v2g.io.plc.datalink import ChargerLink
from v2g.io.plc.link import PlcLink
from v2g.io.plc.opening import open_link
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.runner import ByteStream, NullStream, Runner
from v2g.io.runtime.supervision import cancel_tasks, child, run_all, spawn
from v2g.io.simulation.medium import Medium
from v2g.iso15118.engine.core import Conversation, Core
from v2g.iso15118.engine.session import NO_SESSION, Command, Fact
from v2g.iso15118.select import EditionName, carried
from v2g.observe import Callbacks, Observe
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.pki.credentials import Credentials
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.der.reactive import React
from v2g_station.blocks.der.response import Respond
from v2g_station.blocks.der.vehicle_inverters import SupportGrid
from v2g_station.blocks.smart_charging.local_control import SetPower
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.smart_charging.smart_charging import AnnouncePrices, ProfileTaken, SetPhases
from v2g_station.blocks.transaction_records import MeterSample, SignedRegister
from v2g_station.blocks.transactions.managed import RemoteStartExpired, RemoteStartRequested, SuspendEnergy
from v2g_station.kernel.kernel import StationCommand as StationCommand


class ModemWatch:
    """Calls `on_fault` with `modem_lost` when the modem does not accept its key or its port is lost, and when it
    recovers. Feed it every event of the data link and its port."""

    def __init__(self, on_fault: OnFault) -> None:
        self._on_fault = on_fault
        self._lost = False

    def saw(self, event: Observe) -> None:
        """Process an event."""
        silent = event.name == "down" and event.data.get("reason") == "modem_silent"
        lost = silent or event.name == "port_lost" or (self._lost and event.name != "key_set")
        if lost is not self._lost:
            self._lost = lost
            self._on_fault("modem_lost", lost)


Wrap = Callable[[ByteStream], ByteStream]
"""Wraps the connection of a session; tests and scenarios use it to inject faults."""


class EvseWires(msgspec.Struct, frozen=True):
    """The EVSE's connections to a vehicle besides the network; `medium` has the simulated wires."""

    pilot: ChargerPilot
    medium: Medium | None = None


@dataclass
class EvseController:
    """One EVSE of a charger; `number` is OCPP's, from 1. It serves one vehicle at a time."""

    number: int
    config: ProgramConfig
    clock: Clock
    observe: Callable[[Observe], None]
    transport: VehicleTransport
    owner: ChargerOwner
    archive: Archive
    meter: Meter
    hardware: Evse
    safety: SafetyChannel
    """The safety channel, which can remove power."""
    wires: EvseWires | None
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
        config, site = self.config, self.config.site
        rating = config.charger.ac_rating
        outlet = (rating.nominal_voltage_v, rating.phases) if config.hardware.kind == "ac" else None
        self.grid = SiteGrid(
            charge_w=site.charge_w,
            discharge_w=site.discharge_w,
            outlet=outlet,
            charge_ma=None if site.charge_a is None else site.charge_a * 1000,
            discharge_ma=None if site.discharge_a is None else site.discharge_a * 1000,
        )
        if site.signal_file is not None:
            try:
                signal = site.signal_file.read_bytes()
            except OSError as error:
                raise ConfigError(f"{site.signal_file}: {error.strerror}", hint="see site.signal_file") from None
            self.grid.signal(parse_grid_signal(signal))
        self.station: ChargerStation | None = None
        self.backend: EvseBackend = NoBackend(site.contracts, free=site.free)
        self.on_busy = Callbacks[[]]()
        """Called when a session begins and when it has ended."""
        self.on_trip = Callbacks[[]]()
        """Called when the grid disconnects this EVSE, and when it no longer does."""
        older = config.charger.din if config.charger.editions == ("din",) else config.charger.iso2
        self.core = EvseCore(
            EvseSettings(
                basic=config.charger.basic,
                setup_s=older.timing.secc_communication_setup,
                plug=config.hardware.kind in ("dc", "ac"),
                pause_after_s=site.pause_after_s,
                pause_for_s=site.pause_for_s,
                time_scale=self.clock.scale,
            )
        )
        pilot = self.wires.pilot if self.wires is not None else None
        self.sessions = Sessions(
            config, self.grid, self.clock, self.transport, self.owner, self.meter, self.safety, pilot,
            self.hardware.has_latch, lambda: self.core.kept, self._lines,
        )  # fmt: skip
        keeping = RecordKeeping(
            self.archive, self.meter, self.clock, self.disk, self.bundles, lambda event: self.observe(event),
            lambda session_id, line: None if self.station is None else self.station.journal(session_id, line),
            lambda session_id, lines: None if self.station is None else self.station.restate_journal(session_id, lines),
            self.transport.turnstile, lambda: self.hardware.flowed_mwh,
        )  # fmt: skip
        self._execution = Execution(
            self._step, keeping, PausedSessionFile(config.data_dir, self.archive.keys), self.hardware, self.safety,
            pilot, self._report,
        )  # fmt: skip
        self._runner: Runner | None = None
        self._session: Conversation | None = None
        self._connection: Stream | None = None
        self._left = asyncio.Event()
        self._early: list[Callable[[Runner], None]] = []
        self._phases: PhaseChange | None = None
        self._basic: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._port: PlcLink | None = None
        self._modem = ModemWatch(self._fault_changed)
        self._link: ChargerLink | None = None
        self._demanded_var = self._code_var = 0
        self.hardware.on_fault(self._fault_changed)
        self.hardware.on_derating(self._derated)
        self.hardware.on_light(lambda light: self.observe(Observe("hardware", "light", {"light": light})))

    # -- the core

    def _present(self) -> evse.Present:
        faults = self.hardware.faults
        if self.wires is None:
            return evse.Present(faults=faults)
        pilot = self.wires.pilot
        return evse.Present(pilot.state, pilot.proximity.state == "seated", faults)

    def fact(self, fact: Fact | Command) -> None:
        """Pass a fact to the core, and execute its actions."""
        self._step(fact)

    def _step(self, fact: Fact | Command) -> "asyncio.Future[Any] | None":
        """Do as `fact`; return what the last action waits for, if anything. Raises the first failure of an action."""
        self.core.fact(fact, self.clock.monotonic(), self._present())
        return self._act()

    def _tick(self) -> None:
        self._timer = None
        self.core.tick(self.clock.monotonic(), self._present())
        self._act()

    def _act(self) -> "asyncio.Future[Any] | None":
        outcome, failure = None, None
        for action in self.core.actions():
            try:
                outcome = self._execute(action) or outcome
            except Exception as error:  # noqa: BLE001 - it is decided; the next one may end a session
                failure = failure or error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (deadline := self.core.deadline()) is not None:
            delay = max(0.0, deadline - self.clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)
        if failure is not None:
            raise failure
        return outcome

    def _execute(self, action: evse.Action) -> "asyncio.Future[Any] | None":
        match action:
            case evse.TellSession(fact=fact):
                self.tell(fact)
            case evse.AbortSession(reason=reason):
                self._for_session(lambda runner: runner.abort(reason))
            case evse.BeginBasic(way=way):
                self._basic = spawn(self._charge_basic(way), name="basic charging")
            case evse.MoveLink(to=move, reason=reason) if self._link is not None:
                getattr(self._link, move)(*((reason,) if reason else ()))
            case evse.SetDuty(percent=percent) if self.wires is not None:
                self.wires.pilot.set_duty(percent)
            case evse.StorePaused(paused=paused):
                return self._execution.store(paused)
            case evse.JoinPaused(session_id=session_id):
                return self._execution.join(session_id)
            case evse.ClosePaused():
                return self._execution.close(action)
            case evse.ForgetPaused():
                self.safety.forget_paused()
            case evse.ShowStatus():
                self.show()
            case Observe():
                self.observe(action)
        return None

    # -- the back end and the site

    def connect(self, station: ChargerStation) -> None:
        """Join a charging station."""
        self.station = station
        self.backend = StationBackend(station, self.number, self.meter, self.clock, self._signed)
        for word in self.hardware.faults:
            station.problem(self.number, word, active=True)
        self.hardware.on_session(lambda session_id, values: station.session_metrics(self.number, session_id, values))

    def _report(self, command: Command) -> Outcome:
        if isinstance(command, ports.TransactionEnded):
            self.show()  # first: whether its vehicle has left is part of what is reported
        return self.backend.execute(command)

    def sample(self, ended: str = "") -> MeterSample:
        """Return the current reading of the meter; with its signatures for the session `ended`, if it is settled."""
        reading, present = self.meter.read(self.clock.utc_ms()), self.measured
        lines = self.meter.values if reading.answered else None
        return MeterSample(
            utc_ms=reading.utc_ms,
            import_mwh=reading.import_mwh,
            export_mwh=reading.export_mwh,
            power_w=None if ended or present is None else present.watts,
            voltage_v=None if present is None else present.voltage_mv / 1000,
            current_a=None if present is None else max(0, present.current_ma) / 1000,
            line_a=() if present is None else tuple(each / 1000 for each in present.currents or ()),
            line_v=tuple(each / 1000 for each in lines.line_mv) if lines is not None else (),
            line_w=lines.line_w if lines is not None else (),
            signed=self._signed(ended) if ended else (),
        )

    @property
    def measured(self) -> ports.Measured | None:
        """What flows at the output; None with alternating current whose meter does not answer."""
        lost = self.config.hardware.kind == "ac" and "meter_lost" in self.hardware.faults
        return None if lost else self.hardware.present

    def _signed(self, session_id: str) -> tuple[SignedRegister, ...]:
        return tuple(
            SignedRegister(register=direction, data=text) for direction, text in self.archive.signed(session_id).items()
        )

    def carry_out(self, command: StationCommand) -> bool:
        """Begin to carry out a command of the station to this EVSE; return False for one that is not the charger's."""
        match command:
            case ProfileLimits():
                self.grid_changed(self.grid.profiles(command))
            case SuspendEnergy(suspended=suspended):
                self.grid_changed(self.grid.suspend(suspended))
            case AnnouncePrices():
                self.tell(*self.grid.prices(command))
            case SetPower(power_w=power_w):
                self.tell(*self.grid.local(power_w))
            case Respond(response=response):
                self._follow_grid(self.grid.respond, response)
            case SupportGrid(support=support):
                names = "" if support is None else " ".join(sorted(support.functions))
                self.observe(Observe("power", "grid_support", {"functions": names}))
                self.tell(*self.grid.support(support))
            case React(var=var):
                self._demanded_var = var
                self._react()
            case SetPhases(lines=lines):
                self.change_phases(lines)
            case ProfileTaken():
                self.tell(command)
            case Serve():
                self.fact(command)
            case RemoteStartRequested() | RemoteStartExpired():
                self.backend.execute(command)
            case _:
                return False
        return True

    def grid_changed(self, facts: Sequence[Fact]) -> None:
        """Limits have changed; a vehicle is asked to pause if there is no energy for long.

        One that has a schedule is asked for another one, unless it was made of these limits already: with ISO 15118-2
        each renegotiation of direct current interrupts the energy.
        """
        utc_ms = self.clock.utc_ms()
        before = self._schedule_limits(utc_ms)
        self.tell(*facts)
        if before and self._schedule_limits(utc_ms) != before:
            self.tell(ports.RenegotiationRequested())
        self._supply_changed()

    def _schedule_limits(self, utc_ms: int) -> LimitsOverTime:
        return self._session.schedule_limits(utc_ms) if isinstance(self._session, NegotiatedSession) else ()

    def _supply_changed(self) -> None:
        until_ms = self.grid.nothing_until_ms
        self.fact(
            evse.SupplyChanged(
                charge=not self.grid.nothing_allowed(bidirectional=False),
                discharge=not self.grid.nothing_allowed(),
                again_in_s=None if until_ms is None else (until_ms - self.clock.utc_ms()) / 1000,
                bidirectional=self._session.bidirectional if isinstance(self._session, NegotiatedSession) else None,
            )
        )

    def serves(self, modes: Sequence[str]) -> bool:
        """Return whether the back end allows one of our services (EnergyTransferModeEnum)."""
        return bool(services_of(modes).intersection(self.config.charger.served))

    def tell(self, *facts: Fact) -> None:
        """Pass a fact to the running session, if there is one."""
        for fact in facts:
            self._for_session(partial(self._tell, fact))

    def _tell(self, fact: Fact, runner: Runner) -> None:
        self.safety.fact(fact)  # first: otherwise the session's use of a higher limit would not be permitted yet
        runner.fact(fact)

    def _for_session(self, call: Callable[[Runner], None]) -> None:
        """Call `call` with the runner of the session that has begun, perhaps only once it is made."""
        if self._runner is not None:
            call(self._runner)
        elif self.core.busy:
            self._early.append(call)

    def _lines(self) -> int:
        switch = self.hardware.phase_switch
        return len(LINES) if switch is None else len(switch.lines)

    def change_phases(self, lines: tuple[int, ...]) -> None:
        """Use these line conductors (0 to 2) of the AC outlet, also while a vehicle charges."""
        if self._phases is None and (switch := self.hardware.phase_switch) is not None:
            rating = self.config.charger.ac_rating
            self._phases = PhaseChange(
                switch, self.hardware, self.grid, lambda facts: self.tell(*facts), self.observe,
                pause_s=rating.phase_pause_s, interval_s=rating.phase_interval_s,
            )  # fmt: skip
        if self._phases is None:
            self.observe(Observe("power", "phases_refused", {"reason": "the hardware has no phase switch"}))
        else:
            self._phases.request(lines)

    # -- the paused session

    @property
    def paused(self) -> Paused | None:
        """The session that a vehicle may resume."""
        return self.core.kept

    def recover(self) -> None:
        """Settle journals of a killed process; a paused session stays paused."""
        own, station = self.transport.credentials[0], self.station
        paused = self._execution.reopen(own, lambda each: station is None or station.transaction_id(each) is not None)

        def restate(session_id: str, lines: list[str]) -> None:
            if station is not None:
                station.restate_journal(session_id, lines, wait=True)

        self.archive.recover(self.meter, restate, keep=paused.session_id.hex() if paused is not None else "")
        if paused is not None:
            self.fact(evse.PausedFound(paused))

    # -- life

    def open_port(self, recorder: FrameRecorder | None) -> None:
        """Open the powerline port."""
        config = self.config.link
        if self.wires is not None and config.slac is not None:
            medium = self.wires.medium
            self._port = open_link(
                config.plc, role="evse", medium=medium, observe=self._observe_link, recorder=recorder
            )

    def close_port(self) -> None:
        if self._port is not None:
            self._port.close()

    def connect_wires(self) -> None:
        """Start serving vehicles."""
        wires, slac = self.wires, self.config.link.slac
        if wires is None:
            return
        if self._port is not None and slac is not None:
            self._link = ChargerLink(self._port, wires.pilot, slac, observe=self._observe_link)
            self._link.on_down(lambda reason: self.fact(evse.LinkDown(reason)))
            self._link.on_ready(lambda _: self.fact(evse.LinkUp()))
        self.fact(evse.ServiceBegun(link=self._link is not None))
        wires.pilot.on_state(lambda state: self.fact(ports.PilotChanged(state)))

    def _observe_link(self, event: Observe) -> None:
        self._modem.saw(event)
        if event.name == "matching_started":
            self.fact(evse.MatchingStarted())
        self.observe(event)

    def _fault_changed(self, word: str, active: bool) -> None:
        if self.station is not None:
            self.station.problem(self.number, word, active=active)
        self.fact(evse.EvseFault(word, active))

    def _derated(self, percent: int) -> None:
        charge_w, discharge_w = (each * percent // 100 for each in self.rating)
        self.tell(*self.grid.derate(charge_w, discharge_w))

    def power_w(self) -> int | None:
        """Return the power by the meter, W into the vehicle; None if it is unknown."""
        return self.meter.power_w

    def keep_code(self, response: GridResponse) -> None:
        """Do as the charger's grid code requires (R209)."""
        self._follow_grid(self.grid.by_code, response)

    def _follow_grid(self, take: Callable[[GridResponse], Sequence[Fact]], response: GridResponse) -> None:
        before = self.grid.response.trip
        self.tell(*take(response))
        if self.grid.response.trip is not before:
            self._react()
            self.on_trip.tell()

    def react_by_code(self, var: int) -> None:
        """Set the reactive power by the charger's grid code; one that the back end sets precedes it."""
        self._code_var = var
        self._react()

    def _react(self) -> None:
        """Let no reactive power flow while the grid has disconnected this EVSE, whoever demands it."""
        self.hardware.react(0 if self.grid.response.trip else self._demanded_var or self._code_var)

    def show(self) -> None:
        """Report the connector's state to the CSMS (G01)."""
        if self.station is not None and (status := self.status) is not None:
            self.station.status(self.number, status)

    @property
    def status(self) -> ConnectorStatus | None:
        """The connector's state; None if unknown."""
        return self.core.status(self._present())

    async def settled(self) -> None:
        """Wait until the follow-up work of earlier sessions is done."""
        await self._execution.settled()

    async def abort(self) -> None:
        """End the running session at once, because the program ends."""
        self.fact(evse.ShutDown())
        await cancel_tasks(self._basic)

    async def leave(self) -> None:
        """Leave the data link; a paused session stays open on the disk."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._link is not None:
            self._link.close()
        await self._execution.put_down()

    @property
    def busy(self) -> bool:
        """Whether a vehicle is being served."""
        return self.core.busy

    @property
    def in_service(self) -> bool:
        """Whether the back end lets new vehicles use this EVSE."""
        return self.core.in_service

    @property
    def session(self) -> Conversation | None:
        """The running session."""
        return self._session

    @property
    def rating(self) -> tuple[int, int]:
        """Maximum draw and feed-back of this EVSE, W."""
        charger = self.config.charger
        both = [charger.power_rating(service.family) for service in charger.services]
        return max(charge for charge, _ in both), max(discharge for _, discharge in both)

    @property
    def feeder(self) -> tuple[int, ...]:
        """The feeder's line conductors (0 to 2) that it is connected to, in the order of its own."""
        rating = self.config.charger.ac_rating
        if self.config.hardware.kind != "ac":
            return LINES
        return tuple(LINE_NAMES.index(each) for each in rating.feeder_phases[: rating.phases])

    @property
    def at_feeder(self) -> FeederEvse:
        """How this EVSE uses what it shares with others."""
        hardware, present, feeder = self.hardware, self.measured, self.feeder
        direct = self.config.hardware.kind != "ac"
        charge_w, discharge_w = self.rating
        rated = Limit(source=EVSE, charge_w=charge_w, discharge_w=discharge_w)
        least = self.config.charger.rated(FAMILY_OF[self.config.hardware.kind])
        currents = None if present is None else present.currents
        if currents is not None:
            own = dict(zip(feeder, currents, strict=False))
            currents = Currents(*(own.get(line, 0) for line in LINES))
        served = self.busy and "contactor_welded" not in hardware.faults
        return FeederEvse(
            most=self.grid.most(rated if direct else least, self.clock.utc_ms()),
            lines=feeder if direct else tuple(feeder[line] for line in hardware.lines),
            served=served,
            closed=hardware.contactors_closed,
            power_w=None if present is None else present.watts,
            currents=currents,
            direct=direct,
            shown_ma=self._session.shown_ma if isinstance(self._session, BasicSession) else 0,
            least_w=(least.least_charge_w, least.least_discharge_w),
        )

    @property
    def plug(self) -> MatchedPlug:
        """Identifies vehicles on a shared interface, if it can."""
        matched = self._link.matched if self._link is not None else None
        return MatchedPlug(self.number, matched.pev_mac if matched is not None else None, self.busy)

    # -- the vehicle

    def carried(self, version: str) -> dict[EditionName, Edition]:
        """Return the editions for a connection with this version of TLS, "none" for TCP alone."""
        tls, interop = self.config.tls, self.config.security_profile == "interop"
        names = carried(version, of_2_in_tls13=tls.iso15118_2_in_tls13, without_tls=interop)
        return {name: edition for name, edition in self.editions.items() if name in names}

    async def vehicle(self, stream: Stream, wrap: Wrap) -> None:
        """Serve a vehicle that has connected; one that returns at once, when the power of its last session is off."""
        last = self._session
        if last is not None and last.closed and (self._link is None or not _begun(last)):
            await self._left.wait()  # else the link is set up again first
        await self.settled()
        while self._runner is not None and self._given_up(stream):
            self._runner.abort(CONNECTION_LOST)
            await self._left.wait()
            await self.settled()
        data = {"peer": stream.peer_name, "version": stream.version, "cipher": stream.cipher}
        if reason := self.core.refusal:  # one plug, one vehicle; a second connection is rejected
            self.observe(Observe("tls", "refused", {"reason": reason, **data}))
            return
        editions = self.carried(stream.version)
        self.observe(Observe("tls", "accepted", {**data, "group": stream.group, "editions": " ".join(editions)}))
        if not editions:
            self.observe(Observe("tls", "refused", {"reason": "edition_disabled", **data}))
            return
        own = stream.own or self.transport.credentials[0]

        def session() -> Conversation:
            online = self.station is not None and self.station.online.is_set()
            central = self.station is not None and self.station.judges_contracts
            return self.sessions.conversation(
                own, stream.peer_leaf, stream.version, tuple(editions.values()), online=online, central=central
            )

        wrapped = wrap(stream)
        self.fact(evse.VehicleConnected())
        self._connection = stream
        await self._serve(own, session, wrapped)

    def _given_up(self, stream: Stream) -> bool:
        """Whether the vehicle has given up the connection that is served for this one, which is newer: no session has
        begun there, and its end has perhaps been lost. The handshake of the older one may be done later."""
        served, session = self._connection, self._session
        if served is None or session is None or _begun(session):
            return False
        return served.address == stream.address and served.began < stream.began

    async def _charge_basic(self, way: Way) -> None:
        await self.settled()  # its registers go on where those of the last session have ended
        own = self.transport.credentials[0]
        await self._serve(own, lambda: self.sessions.basic(own, way), NullStream())

    async def _serve(self, own: Credentials, made: Callable[[], Conversation], stream: ByteStream) -> None:
        """Run one session, which the core has begun, with its records and the hardware."""
        reason, closing, waited = "broke_down", list[Callable[[], Any]](), list[asyncio.Future[Any]]()
        try:
            records = self._execution.begin(own)
            self.on_busy.tell()  # before: the session begins with its share
            self._left.clear()
            self._session = session = made()
            self._runner = runner = Runner(
                self.traced(session), stream, execute=self._execution.execute, clock=self.clock, observe=self.observe
            )
            for fact in self.grid.facts:
                self.safety.fact(fact)
            closing.append(self.hardware.subscribe(runner.fact))
            intervals = child(records.journal.close_intervals(self._interval_closed))
            closing.append(intervals.cancel)
            waited.append(intervals)
            intervals.add_done_callback(lambda task: self._journal_failed(task, runner))
            self._supply_changed()
            early, self._early = self._early, []
            for call in early:
                call(runner)
            with contextlib.suppress(V2GError):  # a full disk, which the runner has reported, is no defect
                reason = await runner.run()
        finally:
            begun = self._session is None or _begun(self._session)
            self._runner = self._session = self._connection = None
            run_all((*closing, self.backend.vehicle_left))  # whatever fails, the session has ended
            self._early.clear()
            self.fact(evse.VehicleServed(reason, begun))
            self._left.set()
            self.on_busy.tell()
            await asyncio.gather(*waited, return_exceptions=True)

    def _interval_closed(self, reading: ports.MeterRead) -> None:
        """A quarter hour is over: request a signed meter reading from the vehicle."""
        data = {"import_mwh": reading.import_mwh, "export_mwh": reading.export_mwh, "utc_ms": reading.utc_ms}
        self.observe(Observe("metering", "interval_closed", {**data}))
        self.tell(reading, ports.MeteringConfirmationRequested())

    def _journal_failed(self, task: "asyncio.Task[None]", runner: Runner) -> None:
        """End the session when intervals cannot be recorded any more: energy transfer needs a journal."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.observe(Observe("metering", "books_failed", {"error": str(error)}))
            runner.abort("books_failed")


def _begun(session: Conversation) -> bool:
    """Whether there is a session, not a connection alone."""
    return session.session_id != NO_SESSION
