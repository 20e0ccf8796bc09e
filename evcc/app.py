"""The vehicle program: plug in, match, discover, TLS, one session; afterwards everything is switched off safely."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from evcc.basic_charging import BasicFallback
from evcc.checkpoints import CheckpointStore, kept, line_of
from evcc.config import ChainConfig, EmergencyConfig, EvccConfig, load_config, load_policy
from evcc.contract_store import Contracts
from evcc.driver import Driver
from evcc.hardware.ac import OnBoardCharger
from evcc.hardware.couplings import RailPilot, SecondaryDevice
from evcc.hardware.drive import Driving
from evcc.hardware.ecu import BatteryEcu, BatterySnapshot, PackHealth
from evcc.hardware.pack import CellSensors, SensedPack
from evcc.hardware.safety import SafetyChannel
from evcc.hardware.vehicle import BREAK_ANYWAY_S, BenchLine, BenchPilot, Converter, SimulatedVehicle
from evcc.pauses import PauseFile, Rest, StoredPause, rest_s
from evcc.policy.battery import BatteryConfig
from evcc.policy.policy import OwnPolicy
from evcc.session.basic_charging import BasicVehicle
from evcc.session.edition import Connection, Edition, NegotiatedSession
from evcc.session.paused import Paused
from evcc.session.ports import BatteryState, DutyRead
from evcc.session.settings import BasicConfig
from v2g.energy.settlement.checkpoints import Copy, encode_copy
from v2g.errors import ConfigError, TimeoutExpired, TlsError, TransportError, V2GError
from v2g.hardware.interfaces import EmergencyOutput
from v2g.iec61851.pilot import DutyReading
from v2g.io.capture.recorder import FrameRecorder
from v2g.io.capture.tcp_recorder import ConnectionRecorder
from v2g.io.capture.tls_recorder import recorded
from v2g.io.hardware.emergency import OUTPUT, Emergency, SimulatedEmergencyOutput, open_gpio
from v2g.io.keys.stores import load_credentials
from v2g.io.network import plain_tcp
from v2g.io.network.interfaces import wait_usable
from v2g.io.network.sdp import SdpAnswer, discover
from v2g.io.ota.unreadable import read_or_go_back
from v2g.io.plc.datalink import VehicleLink
from v2g.io.plc.opening import open_link
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.event_socket import EventSocket
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.program import OrderlyEnd, run
from v2g.io.runtime.runner import ByteStream, NullStream, Runner
from v2g.io.runtime.supervision import Supervisor, cancel_tasks, child, defects_reported
from v2g.io.runtime.trace import open_trace
from v2g.io.runtime.watchdog import Watchdog
from v2g.io.simulation.lines import VehicleAcLine, VehicleCoilLine, VehicleContactLine, VehicleDcLine
from v2g.io.simulation.medium import Medium
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.io.storage.emergency_log import FILE, EmergencyLog
from v2g.io.storage.record_keys import RecordKeys
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import ISO15118_2, PROFILES, Endpoint, TlsIdentity, TlsProfile
from v2g.io.tls.revocation import CrlFiles
from v2g.io.tls.stream import TlsStream
from v2g.io.tls.warnings import log_backend, log_profile, open_key_log
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.sdp import Security
from v2g.iso15118.engine.session import Fact
from v2g.iso15118.engine.signature import INTEROP, STANDARD
from v2g.iso15118.select import EditionName, carried
from v2g.observe import Observe, Scalar
from v2g.pki.credentials import load_authorities
from v2g.pki.keys import SigningKey
from v2g.pki.profile import Role
from v2g.pki.revocation import Fail
from v2g.safety import VehicleRating
from v2g.typed_json import Fields

if TYPE_CHECKING:  # loaded only if configured
    from v2g.io.ota.follower import Follower

_EDITIONS: Final[Mapping[EditionName, tuple[str, str]]] = {
    "20": ("evcc.session.d20.session", "Iso20"),
    "2": ("evcc.session.d2.session", "Iso2"),
    "din": ("evcc.session.din.session", "Din"),
}
"""The editions that this program has, listed only here; each is imported where it is offered."""


@cache
def edition(name: EditionName) -> Edition:
    """Return an edition; the messages of the others need not be loaded."""
    module, kind = _EDITIONS[name]
    loaded: Edition = getattr(import_module(module), kind)()
    return loaded


INTERRUPTED = 130
"""Exit code of a vehicle that was asked to stop (SIGINT, SIGTERM) before its session ended."""

Stream = TlsStream | plain_tcp.PlainStream
"""The stream to a charger."""

Wrap = Callable[[ByteStream, SigningKey | None], ByteStream]
"""Wraps the session's connection; tests and scenarios use it to inject faults."""


def main(config_path: Path, events: Path | None, *, wrap: Wrap = lambda stream, _key: stream) -> int:
    """Run one session; return the exit code: 0 if it ended gracefully.

    SIGINT and SIGTERM stop the session gracefully; the second one cuts the connection.
    """
    end = OrderlyEnd()
    return run(
        lambda: read_or_go_back(config_path, partial(load_config, name=str(config_path)), _place),
        lambda config: config.log,
        lambda config: _run(config, events or config.log.events, wrap, end),
        interrupted=INTERRUPTED,
        end=end,
    )


async def _run(config: EvccConfig, events: Path | None, wrap: Wrap, end: OrderlyEnd) -> int:
    clock = Clock(config.clock)
    keys = RecordKeys.read(config.journal_keys)
    stored = partial(kept, config.checkpoints, keys)
    installed: list[Observe] = []
    """What is installed, for readers of the event socket that connect later, too."""
    local = None
    if config.local_events is not None:
        local = EventSocket(config.local_events, lambda: (*stored(), *map(observe.line, installed)))
    trace = open_trace(config.log, "evcc", clock)
    observe = EventLog("evcc", clock, events, trace=trace, files=config.log, local=local)
    reason = "failed"
    try:
        if local is not None:
            await local.open()
        with defects_reported(observe):
            follower = _follower(config, clock, observe)
            if follower is not None:
                await follower.start()
            try:
                async with assemble(config, clock, observe, keys) as vehicle:
                    if follower is not None:
                        await follower.settle(vehicle.problem)
                        installed.append(follower.installed())
                        observe(installed[0])
                    end.by(vehicle.driver.end)
                    try:
                        reason = await vehicle.drive(wrap)
                    finally:
                        if not end.asked:
                            await vehicle.hold()
            finally:
                if follower is not None and reason != "paused" and not end.asked:
                    await follower.look()
    except TlsError as error:
        observe(Observe("tls", "refused", {"reason": error.reason, "error": str(error)}))
        raise
    except V2GError as error:
        observe(Observe("session", "failed", {"reason": type(error).__name__, "error": str(error)}))
        raise
    finally:
        if local is not None:
            await local.close()
        observe.close()
    if end.asked:
        return INTERRUPTED
    return 0 if reason in ("finished", "paused") else 3


def _place(tree: Fields) -> tuple[Fields, Path]:
    return tree["update"], Path(tree["update"]["folder"])


def _follower(config: EvccConfig, clock: Clock, observe: EventLog) -> "Follower | None":
    if config.update is None:
        return None
    from v2g.io.ota.follower import Follower  # only where it is used

    return Follower(config.update, config.update.folder, clock.utc_ms, observe)


@contextlib.asynccontextmanager
async def assemble(
    config: EvccConfig, clock: Clock, observe: EventLog, keys: RecordKeys | None = None
) -> "AsyncIterator[Vehicle]":
    """Build the vehicle from its configuration and shut it down again, hardware last; `keys` seal its files."""
    async with contextlib.AsyncExitStack() as stack:
        pauses = PauseFile(config.pause.file, observe, keys) if config.pause is not None else None
        stored_pause = pauses.load() if pauses is not None else None
        driver = Driver(config.driver, clock)
        stack.callback(driver.close)
        wires = await _wires(config, stack)
        stack.callback(observe, Observe("link", "unplugged" if config.without_plug is None else "left"))
        stack.callback(wires.pilot.unplug)  # last: by then the hardware has switched everything off safely
        watchdog = Watchdog(hung_s=config.hardware.hung_s)
        stack.callback(watchdog.close)
        simulated = SimulatedVehicle(
            config.battery if stored_pause is None else msgspec.structs.replace(config.battery, soc=stored_pause.soc),
            line=wires.line,
            pilot=wires.pilot,
            clock=clock,
            step_s=config.hardware.step_s,
            contactor_delay_s=config.hardware.contactor_delay_s,
            on_board=wires.converter,
            driving=wires.driving,
            cells=CellSensors(config.hardware.heat, cells=config.hardware.pack.modules * config.hardware.pack.cells),
        )
        if isinstance(wires.pilot, RailPilot):
            wires.pilot.on_lost(simulated.contacts_lost)
        disk = DiskThread()
        stack.push_async_callback(disk.close)
        emergency = await _emergency(config.hardware.emergency, clock, observe, disk, stack)
        hardware = SafetyChannel(
            simulated,
            safe_rating(config),
            clock,
            observe,
            watchdog=watchdog,
            limits=config.hardware.runaway,
            emergency=emergency,
        )
        stack.push_async_callback(hardware.close)
        watchdog.start()
        if config.hardware.can is not None:
            ecu = Supervisor(observe)
            stack.push_async_callback(ecu.close)
            pack = SensedPack(config.hardware.pack, ambient_c=config.battery.ambient_c)

            def state() -> BatterySnapshot:
                closed = simulated.contactor_closed
                return snapshot(config.battery, hardware.battery, pack, wires.converter, contactor_closed=closed)

            run = BatteryEcu(config.hardware.can, state, rate=config.hardware.ecu_hz).run
            ecu.keep("simulated battery ECU", run)
        own = None if config.discharge.policy is None else load_policy(config.discharge.policy, observe)
        checkpoints = CheckpointStore(config.checkpoints, disk, observe, partial(_publish, observe.local), keys)
        made = Vehicle(config, clock, observe, hardware, wires, driver, checkpoints, pauses, stored_pause, own)
        made.emergency = emergency
        yield made


async def _emergency(
    config: EmergencyConfig | None,
    clock: Clock,
    observe: Callable[[Observe], None],
    disk: DiskThread,
    stack: contextlib.AsyncExitStack,
) -> Emergency | None:
    """Open the emergency output with its record. Raises StoreError, RefusedError, TransportError."""
    if config is None:
        return None
    log = EmergencyLog.open(config.folder / FILE)
    stack.callback(log.close)
    output: EmergencyOutput = SimulatedEmergencyOutput(config.folder / OUTPUT)
    if config.gpio is not None:
        output = await stack.enter_async_context(open_gpio(config.gpio))
    return Emergency(output, log, disk, utc_ms=clock.utc_ms, observe=observe)


def _publish(local: EventSocket | None, checkpoint: Copy) -> None:
    if local is not None:
        local.publish(line_of(encode_copy(checkpoint)))


@dataclass
class Wires:
    """The vehicle's connections to a charger besides the network: pilot and energy, perhaps simulated on a medium.
    `driving` positions a vehicle that is not plugged in."""

    line: VehicleDcLine | BenchLine
    pilot: SimulatedVehiclePilot | BenchPilot | RailPilot
    medium: Medium | None = None
    converter: Converter | None = None
    driving: Driving | None = None


async def _wires(config: EvccConfig, stack: contextlib.AsyncExitStack) -> Wires:
    if config.hardware.backend == "bench":
        pilot = BenchPilot()
        by_ac = all(each.startswith("AC") for each in config.services.energy)
        on_board = OnBoardCharger(pilot.mains, config.on_board_charger) if by_ac else None
        return Wires(BenchLine(pre_charges=config.hardware.pre_charges), pilot, converter=on_board)
    if config.link.medium is None:
        raise ConfigError(
            "link.medium is missing", hint='set the folder of the simulated wires, or set hardware.backend = "bench"'
        )
    medium = await FolderMedium.attach(config.link.medium, config.link.name)
    stack.callback(medium.close)
    connector, place = config.link.connector, config.hardware.place
    line = VehicleDcLine(medium, connector=connector)
    if config.without_plug is Family.WPT:
        driving = Driving(place)
        coil = SecondaryDevice(VehicleCoilLine(medium, connector=connector), place, driving)
        return Wires(line, BenchPilot(), medium, coil, driving)
    simulated = SimulatedVehiclePilot(medium, connector=connector)
    if config.without_plug is Family.ACDP:
        driving = Driving(place)
        rails = RailPilot(simulated, VehicleContactLine(medium, connector=connector), place, driving)
        return Wires(line, rails, medium, driving=driving)
    on_board = OnBoardCharger(VehicleAcLine(medium, connector=connector), config.on_board_charger)
    return Wires(line, simulated, medium, on_board)


ALONE_S: Final = 5.0
"""Seconds after which a vehicle says that nobody is at the other end of its simulated wires."""
AGAIN_S: Final = 1.0
"""Seconds from a failed connection to the next discovery."""


@dataclass
class Vehicle:
    """A vehicle in front of a charger."""

    config: EvccConfig
    clock: Clock
    observe: EventLog
    hardware: SafetyChannel
    wires: Wires
    driver: Driver
    checkpoints: CheckpointStore
    pauses: PauseFile | None = None
    stored_pause: StoredPause | None = None
    own_policy: OwnPolicy | None = None
    emergency: Emergency | None = None
    _runner: Runner | None = None
    _discharged_before_mwh: int = 0
    _answered: bool = False
    """Whether the charger has answered in the latest session."""
    _stays: bool = False
    """Whether the vehicle has been plugged in since the pause that is stored."""

    def __post_init__(self) -> None:
        self.wires.pilot.on_duty(self._take_duty)

    async def drive(self, wrap: Wrap) -> str:
        """Plug in and run one session; return why the session ended. Raises V2GError before that.

        If matching or communication fails, it waits for nominal duty, if the vehicle may charge that way.
        """
        await self.hold()
        endpoint = tls_endpoint(self.config, self.observe)
        if self.config.sdp.without_tls or self.config.sdp.accept_without_tls:
            plain_tcp.permit(PROFILES[self.config.security_profile], self.observe, editions=self.config.editions)
        config, basic, pilot = self.config.link, self.config.basic, self.wires.pilot
        async with contextlib.AsyncExitStack() as stack:
            recorder = FrameRecorder(config.record, application="v2g evcc") if config.record is not None else None
            if recorder is not None:
                stack.callback(recorder.close)
                endpoint = recorded(endpoint, recorder)
            pilot.plug()
            self._stays = False
            self._discharged_before_mwh = self.hardware.battery.discharged_mwh
            self.observe(Observe("link", "plugged_in" if self.config.without_plug is None else "arrived"))
            if basic is None or not isinstance(pilot, SimulatedVehiclePilot):
                return await self._converse(endpoint, recorder, wrap)
            talk = child(self._converse(endpoint, recorder, wrap), name="conversation")
            stack.push_async_callback(cancel_tasks, talk)
            fallback = BasicFallback(basic, pilot, partial(self._charge_by_duty, basic, pilot), self.observe)
            return await fallback.follow(talk)

    async def problem(self) -> str:
        """Return why new firmware does not work: credentials that cannot be used, or what the battery reports."""
        try:
            tls_endpoint(self.config, self.observe)
        except V2GError as error:
            return str(error)
        return self.hardware.battery.fault

    async def hold(self) -> None:
        """After an emergency, hold its output until the program is ended: nothing is plugged in before the reset."""
        if self.emergency is not None and self.emergency.cause:
            await asyncio.get_running_loop().create_future()

    async def _charge_by_duty(self, basic: BasicConfig, pilot: SimulatedVehiclePilot) -> str:
        config = self.config
        session = BasicVehicle(
            basic,
            config.on_board_charger,
            next((step for step in config.program if step.do == "charge"), config.program[0]),
            duty=pilot.duty,
            battery=self.hardware.battery,
            entropy=os.urandom,
            time_scale=self.clock.scale,
        )
        runner = Runner(session, NullStream(), execute=self.hardware.execute, clock=self.clock, observe=self.observe)
        tell = self.telling(runner)
        self.hardware.signal(pilot.duty, phases=config.on_board_charger.phases)
        unsubscribe = self.hardware.subscribe(runner.fact)
        pilot.on_duty(lambda reading: tell(DutyRead(reading)))
        self.driver.drives(tell)
        try:
            return await runner.run()
        finally:
            self.driver.drives(None)
            unsubscribe()
            self.hardware.part()

    async def _converse(self, endpoint: Endpoint, recorder: FrameRecorder | None, wrap: Wrap) -> str:
        """Match, connect and run one session of ISO 15118-20, in several parts if it pauses."""
        config = self.config.link
        connections = ConnectionRecorder(recorder) if recorder is not None else None
        async with contextlib.AsyncExitStack() as stack:
            link: VehicleLink | None = None
            if config.slac is not None:
                port = open_link(
                    config.plc, role="ev", medium=self.wires.medium, observe=self.observe, recorder=recorder
                )
                stack.callback(port.close)
                link = VehicleLink(port, self.wires.pilot, config.slac, observe=self.observe)
                link.on_down(self._link_down)
                stack.callback(link.close)
                stack.callback(link.terminate)
                wait = self.config.link.wait_s
                alone = asyncio.get_running_loop().call_later(ALONE_S, self._look_around)
                stack.callback(alone.cancel)
                try:
                    async with asyncio.timeout(wait):
                        await link.ready()
                except TimeoutError:
                    hint = "is the charger running, and its control pilot at 5 %?"
                    raise TimeoutExpired("set-up of the data link", wait, hint=hint) from None
            rest = Rest(link)
            while True:
                reason, resume = await self._matched(endpoint, connections, wrap)
                if self.pauses is None:
                    return reason
                if reason != "paused" or resume is None:
                    self.pauses.remove()
                    return reason
                await self._rest(rest, resume, self.pauses)

    def _look_around(self) -> None:
        """Say that nobody else is at the simulated wires: a charger may have others."""
        medium, folder = self.wires.medium, self.config.link.medium
        if medium is not None and not medium.peers:
            self.observe(Observe("link", "no_charger", {"medium": str(folder)}))

    async def _rest(self, rest: Rest, resume: Paused, pauses: PauseFile) -> None:
        """Store the session, and wait until it is time to resume."""
        assert self.config.pause is not None
        self.stored_pause, self._stays = pauses.save(resume, self.hardware.battery), True
        seconds = rest_s(resume, self.config.program, self.config.pause.resume_after_s, self.clock)
        self.observe(Observe("session", "resting", {"session_id": resume.session_id.hex(), "seconds": seconds}))
        self.driver.rests(rest.wake)
        try:
            by = await rest.take(seconds, link_s=self.config.link.wait_s)
        finally:
            self.driver.rests(None)
        self.observe(Observe("session", "resumed", {"session_id": resume.session_id.hex(), "woken_by": by}))

    async def _matched(
        self, endpoint: Endpoint, recorder: ConnectionRecorder | None, wrap: Wrap
    ) -> tuple[str, Paused | None]:
        """Find the charger, connect and run one session, or a part of it: see `_session`.

        Where the connection fails before the charger's first answer, it begins again with discovery, as long as the
        communication setup timer and the number of SDP requests permit: a charger may still be starting, or another one
        have answered first.
        """
        config, setup_s = self.config, self.config.timers.evcc_communication_setup
        began, tries = self.clock.monotonic(), config.sdp.tries
        failed: set[tuple[str, int]] = set()
        # The kernel tests a new address for duplicates first.
        await wait_usable(*config.link.interfaces, timeout=setup_s)
        while True:
            found = await discover(
                *config.link.interfaces,
                port=config.sdp.port,
                security=Security.NONE if config.sdp.without_tls else Security.TLS,
                accepted=(Security.NONE,) if config.sdp.accept_without_tls else (),
                wireless=config.wireless_sdp,
                avoided=failed,
                max_tries=tries,
                within_s=max(0.0, began + setup_s - self.clock.monotonic()),
            )
            where: dict[str, Scalar] = {"host": found.host, "port": found.port, "tries": found.tries}
            self.observe(Observe("sdp", "found", {**where, "evse_id": found.evse_id}))
            tries -= found.tries
            over = tries < 1
            try:
                stream = await self._connect(found, endpoint, recorder)
            except TransportError as error:
                over = over or (isinstance(error, TlsError) and error.lasting)
                if over or self.clock.monotonic() + AGAIN_S >= began + setup_s:
                    raise
                failure = str(error)
            else:
                elapsed = self.clock.monotonic() - began
                reason, paused = await self._session(stream, elapsed, wrap)
                over = over or reason != "secc_vanished" or self._answered
                if over or self.clock.monotonic() + AGAIN_S >= began + setup_s:
                    return reason, paused
                failure = reason
            failed.add((found.host, found.port))
            self.observe(Observe("sdp", "again", {"error": failure}))
            await asyncio.sleep(AGAIN_S)

    async def _connect(self, found: SdpAnswer, endpoint: Endpoint, recorder: ConnectionRecorder | None) -> Stream:
        timeout_s = self.config.tls.timeout_s
        if found.response.security is Security.NONE:
            return await plain_tcp.connect(found.host, found.port, timeout=timeout_s, recorder=recorder)
        stream = await connect(found.host, found.port, endpoint, timeout=timeout_s)
        data = {
            "peer": stream.peer_name,
            "version": stream.version,
            "cipher": stream.cipher,
            "group": stream.group,
            "ocsp": "good" if stream.ocsp_response else stream.unproven,
        }
        self.observe(Observe("tls", "connected", dict(data)))
        return stream

    async def _session(self, stream: Stream, elapsed: float, wrap: Wrap) -> tuple[str, Paused | None]:
        """Run one session, or a part of it; return why it ended, and the state to resume it."""
        contracts = Contracts(self.config, self.observe)
        connection = Connection(
            battery=self.hardware.battery,
            secc_certificate=stream.peer_leaf,
            contracts=contracts.known,
            refused=contracts.refused,
            signs=INTEROP if PROFILES[self.config.security_profile].interop else STANDARD,
            provisioning=contracts.provisioning,
            price_signers=load_authorities(self.config.price_signers),
            entropy=os.urandom,
            stopwatch=self.clock.monotonic,
            resume=self.stored_pause.resume_with(self.hardware.battery) if self.stored_pause is not None else None,
            stays=self._stays,
            own_policy=self.own_policy,
            discharged_before_mwh=self._discharged_before_mwh,
            time_scale=self.clock.scale,
        )
        lab = self.config.sdp.without_tls and PROFILES[self.config.security_profile].interop
        possible = carried(stream.version, of_2_in_tls13=False, without_tls=lab)
        editions = [edition(name) for name in self.config.editions if name in possible]
        session = NegotiatedSession(editions, self.config, connection, connected_for=elapsed)
        watched = self.hardware.converse(stream, session.reader())
        runner = Runner(
            self.observe.tracer()(session),
            wrap(watched, contracts.first_key),
            execute=lambda command: self.checkpoints.execute(
                command, lambda other: contracts.execute(other, self.hardware.execute)
            ),
            clock=self.clock,
            observe=self._observe,
        )
        unsubscribe = self.hardware.subscribe(runner.fact)
        self.driver.drives(self.telling(runner))
        self._runner = runner
        self._take_duty(self.wires.pilot.duty)
        try:
            return await runner.run(), session.paused
        finally:
            self._answered = session.newest.message is not None
            self._runner = None
            self.driver.drives(None)
            unsubscribe()
            self.hardware.part()

    async def session_on(self, stream: Stream) -> str:
        """Run one session with the charger at the other end of a stream; return why it ended."""
        return (await self._session(stream, 0.0, lambda plain, _: plain))[0]

    def telling(self, runner: Runner) -> Callable[[Fact], None]:
        """Return the observer of a session, and the safety monitor beside it."""

        def tell(fact: Fact) -> None:
            self.hardware.fact(fact)
            runner.fact(fact)

        return tell

    def _link_down(self, reason: str) -> None:
        if self._runner is not None:
            self._runner.abort(reason)

    def _take_duty(self, reading: DutyReading) -> None:
        if self._runner is not None:
            self._runner.fact(DutyRead(reading))

    def _observe(self, event: Observe) -> None:
        self.driver.saw(event)
        self.observe(event)


def safe_rating(config: EvccConfig) -> VehicleRating:
    """Return the parameters of the safety monitor for this vehicle."""
    timing = config.timing
    return VehicleRating(
        sensor_s=timing.sensor_s,
        open_s=timing.contactor_s + BREAK_ANYWAY_S + 0.25,
        close_s=timing.contactor_s + 0.5,
        signed=config.discharge.require_signed,
        line_ma=config.on_board_charger.line_ma,
    )


def tls_profiles(config: EvccConfig) -> tuple[TlsProfile, ...]:
    """Return what the handshake offers for the editions, the newest version first; that of ISO 15118-20 for none."""
    profile = PROFILES[config.security_profile].with_curves(config.tls.curves)
    if config.tls.revocation is not None:
        profile = msgspec.structs.replace(profile, revocation=Fail(config.tls.revocation))
    of_2 = msgspec.structs.replace(ISO15118_2, revocation=profile.revocation, interop=profile.interop)
    of_each = {"20": profile, "2": of_2}
    return tuple(each for name, each in of_each.items() if name in config.editions) or (profile,)


def tls_endpoint(vehicle: EvccConfig, observe: Callable[[Observe], None]) -> Endpoint:
    """Return the vehicle's end of TLS. Raises V2GError for unusable files."""
    config, (profile, *older) = vehicle.tls, tls_profiles(vehicle)
    log_profile(profile, observe)
    chains = (ChainConfig(chain=config.chain, key=config.key), *config.other_chains)
    endpoint = Endpoint(
        server=False,
        identities=tuple(TlsIdentity(load_credentials(each.chain, each.key)) for each in chains),
        anchors=load_authorities(config.anchors),
        peer_role=Role.SECC,
        crosses=load_authorities(config.cross_certificates),
        profile=profile,
        older=older[0] if older else None,
        backend=config.backend,
        ask_responder=config.ask_responder,
        crls=CrlFiles(config.crls, observe),
        key_log=open_key_log(config.key_log, observe) if config.key_log is not None else None,
    )
    log_backend(endpoint, observe)
    return endpoint


def snapshot(
    config: BatteryConfig,
    battery: BatteryState,
    pack: SensedPack,
    converter: Converter | None = None,
    *,
    contactor_closed: bool | None = None,
) -> BatterySnapshot:
    """Return the measurements of the simulated battery's control units and on-board charger, and of a vehicle that
    stands at a charger. Without an auxiliary contact (`contactor_closed`) the contactor is closed while a current
    flows."""
    closed = battery.current_ma != 0 if contactor_closed is None else contactor_closed
    measured = pack.measure(battery, config.resistance_ohm)
    direction = "charging" if battery.current_ma > 0 else "discharging" if battery.current_ma < 0 else "parked"
    battery_w = round(battery.voltage_mv * battery.current_ma / 1_000_000)
    inlet = None if converter is None else converter.present
    return BatterySnapshot(
        voltage_v=battery.voltage_mv / 1000,
        current_a=battery.current_ma / 1000,
        soc_percent=battery.soc,
        soh_percent=measured.health_percent,
        temperature_min=min(measured.temperatures_c),
        temperature_max=max(measured.temperatures_c),
        coolant_temperature=measured.coolant_c,
        cell_voltage_min=min(measured.cells_v),
        cell_voltage_max=max(measured.cells_v),
        cell_voltage_mean=sum(measured.cells_v) / len(measured.cells_v),
        charged_wh=battery.charged_mwh // 1000,
        discharged_wh=battery.discharged_mwh // 1000,
        contactor_closed=closed,
        power_request_w=battery_w,
        charging_power_w=inlet.power_w if inlet and inlet.voltage_mv else battery_w,
        motor_rpm=0,
        ambient_temperature=config.ambient_c,
        context=direction,
        grid_hz=converter.grid_hz if isinstance(converter, OnBoardCharger) else None,
        cells_v=measured.cells_v,
        modules_c=measured.modules_c,
        health=PackHealth(
            resistance_ohm=config.resistance_ohm,
            cycles=measured.cycles,
            pressure_kpa=measured.pressure_kpa,
            coolant_l_min=measured.coolant_l_min,
            temperature_mean=sum(measured.temperatures_c) / len(measured.temperatures_c),
            positive_closed=closed,
            negative_closed=closed,
            precharge_closed=False,
        ),
    )
