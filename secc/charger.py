"""A charging station: its EVSEs, the listeners for vehicles, and the connection to its back end."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from secc.attestation import SelfAttestation
from secc.config import ProgramConfig
from secc.energy_manager.grid_code import NEEDS_GRID, CodeUnit, GridCodeWatch, TripFile
from secc.energy_manager.grid_frequency import FrequencyConfig, GridWatch
from secc.energy_manager.mains import MainsContactor
from secc.energy_manager.sharing import FeederShares
from secc.evse.controller import EvseController, Wrap
from secc.evse.restarting import Restarting
from secc.hardware.meter_remote import RemoteMeter
from secc.link.listening import Listeners, Stream, address_mac, listen, pair
from secc.link.transport import VehicleTransport
from secc.retention import BundleRetention
from secc.session import ports
from secc.station.device import Premises, vehicle_chain
from secc.station.settings import evse_layout
from secc.station.station import ChargerStation, MeterSample
from v2g.energy.frequency_trace import load_grid_trace
from v2g.energy.limits import SITE, Limit
from v2g.errors import ConfigError
from v2g.io.capture.recorder import FrameRecorder, RecordConfig
from v2g.io.hardware.gpio import GpiodLines
from v2g.io.network.interfaces import InterfaceSupervisor, mac_of
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.program import keep_responsive
from v2g.io.runtime.service_manager import notify
from v2g.io.runtime.supervision import Supervisor, cancel_tasks, child, spawn, wait_at_most
from v2g.io.storage.grid_code_file import read_grid_code
from v2g.iso15118.engine.session import Fact
from v2g.observe import Callbacks, Observe, Scalar
from v2g.pki.credentials import Credentials
from v2g_station.blocks.connection.link import CONNECT_TIMEOUT
from v2g_station.blocks.data_transfer import AttestationRequested, GridSignalReceived
from v2g_station.blocks.evse import Restart, SecurityEventFound
from v2g_station.blocks.smart_charging.local_control import GridFrequency
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.smart_charging.smart_charging import AllowEnergyTransfer
from v2g_station.blocks.transactions.managed import RemoteStopRequested
from v2g_station.device.logs import LogSources
from v2g_station.kernel.kernel import StationCommand

if TYPE_CHECKING:
    from secc.energy_manager.managers import EnergyManager
    from v2g.hardware.energy_manager.commands import ManagedEvse

SHARE_S = 0.5
"""Interval of looking at the shares of EVSEs."""
CROWD_S: Final = 0.05
"""Shares are settled for all vehicles that begin within that time."""
NO_SHARE: Final = Limit(source=SITE, charge_w=0, discharge_w=0, charge_ma=0, discharge_ma=0)

DRAIN_S = 3.0
"""Time for sending queued messages to the back end at a graceful shutdown."""


@dataclass
class Charger:
    """A charger with one EVSE or several."""

    config: ProgramConfig
    clock: Clock
    observe: EventLog
    transport: VehicleTransport
    controllers: tuple[EvseController, ...]

    def __post_init__(self) -> None:
        self.station: ChargerStation | None = None
        self._running: asyncio.Task[None] | None = None
        self.restarting = Restarting(self.controllers, self.observe)
        self.attestation = None
        if self.config.attestation is not None:
            folder, lock = self.config.data_dir, self.lock_down
            self.attestation = SelfAttestation(self.config.attestation, folder, observe=self.observe, lock=lock)
        self._nonce = b""
        """What evidence is due for."""
        self._attesting: asyncio.Task[None] | None = None
        self._recorders: dict[RecordConfig, FrameRecorder] = {}
        unbalance_a, rating = self.config.site.unbalance_a, self.controllers[0].config.charger.ac_rating
        self._shares = FeederShares(rating.nominal_voltage_v, None if unbalance_a is None else unbalance_a * 1000)
        self.grid_watch: GridWatch | None = None
        """Measures the grid, if anything here follows it."""
        self._sharing = len(self.controllers) > 1 or unbalance_a is not None
        alternating = (each for each in self.controllers if each.config.hardware.kind == "ac")
        self._feeding = next(alternating, self.controllers[0])
        self._shared_at = float("-inf")
        self._soon: asyncio.TimerHandle | None = None
        self._lines = len({line for controller in self.controllers for line in controller.feeder})
        if self._sharing:
            for controller in self.controllers:
                controller.on_busy(partial(self._vehicle_changed, controller))

    def tell(self, *facts: Fact) -> None:
        """Send facts to every running session."""
        for controller in self.controllers:
            controller.tell(*facts)

    def _vehicle_changed(self, controller: EvseController) -> None:
        """Give a vehicle that begins its share at once, of a crowd to all together, and nothing until then; what one
        leaves, the others get within SHARE_S."""
        if not controller.busy:
            return
        wait_s = self._shared_at + CROWD_S - self.clock.monotonic()
        if wait_s <= 0:
            self.share()
            return
        controller.grid_changed(controller.grid.share(NO_SHARE))
        self._share_soon(wait_s)

    def _share_soon(self, wait_s: float) -> None:
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(wait_s, self.share)

    def share(self) -> None:
        """Share what the site may draw and feed back among the vehicles, and among the conductors of its feeder."""
        if self._soon is not None:
            self._soon.cancel()
        self._soon, self._shared_at = None, self.clock.monotonic()
        self._settle()

    def _settle(self, *, raises: bool = True) -> None:
        """Pass on changes of shares, those that lower one first; only these unless it `raises`."""
        grids = {controller.number: controller.grid for controller in self.controllers}
        evses = {
            controller.number: controller.at_feeder
            for controller in self.controllers
            if controller.busy or controller.hardware.contactors_closed  # at others nothing flows
        }
        feeder = self._feeding.grid.connection(self._lines)
        sharing = {number for number, grid in grids.items() if not grid.exports}
        if len(sharing) < len(grids):  # what profiles permit is each EVSE's own; the others share what the site permits
            for number in sharing & evses.keys():
                most = evses[number].most.at_most(SITE, discharge_w=feeder.discharge_w // len(sharing))
                evses[number] = replace(evses[number], most=most)
            feeder = replace(feeder, discharge_w=feeder.charge_w, discharge_ma=feeder.charge_ma)
        wholes = {number: whole for number, grid in grids.items() if (whole := grid.whole) is not None}
        if wholes:
            feeder = self._feeding.grid.together(feeder, tuple(wholes.values()), self._lines)
        setpoints = {
            number: watts for number in evses if number in wholes and (watts := wholes[number].setpoint_w) is not None
        }
        for number, watts in setpoints.items():  # that of the whole station bounds the sum of those that follow it
            charge_w, discharge_w = max(0, round(watts)), max(0, round(-watts))
            if len(setpoints) == len(evses):
                charge_w, discharge_w = min(charge_w, feeder.charge_w), min(discharge_w, feeder.discharge_w)
                feeder = replace(feeder, charge_w=charge_w, discharge_w=discharge_w)
            else:
                most = evses[number].most.at_most(SITE, charge_w // len(setpoints), discharge_w // len(setpoints))
                evses[number] = replace(evses[number], most=most)
        shares = self._shares.settle(feeder, evses, self.clock.monotonic(), raises=raises)
        numbers = (*shares, *(grids.keys() - shares.keys()))
        changes = [(self._at(number), grids[number].share(shares.get(number))) for number in numbers]
        for controller, facts in changes:  # all shares are set before the first EVSE follows
            if facts:
                controller.grid_changed(facts)

    async def _keep_sharing(self) -> None:
        """Raise shares when others have followed lower ones, and lower them where more flows, until cancelled."""
        while True:
            await asyncio.sleep(SHARE_S)
            self.share()

    # -- the back end

    def connect_station(self) -> Callable[[], Coroutine[object, object, None]]:
        """Assemble the charging station, close what a killed process left open; return what shuts it down gracefully.
        It reports to its CSMS when the charger serves."""
        assert self.config.station is not None
        config, evses = self.config.station, len(self.controllers)
        if config.evses not in (1, evses):
            raise ConfigError(
                f"station.evses is {config.evses}, but {evses} are configured", hint="remove station.evses"
            )
        self.station = station = ChargerStation(
            replace(config, evses=evses),
            clock=self.clock,
            entropy=os.urandom,
            observe=self.observe,
            charger=self,
            boot_id=_boot_id(),
            meter_public_keys=[_public_key(each.owner.meter) for each in self.controllers],
            premises=self._premises(),
            keys=self.controllers[0].archive.keys,
            received=self._keep_receipt,
        )
        for controller in self.controllers:
            controller.connect(station)
        self.recover()
        station.recover(
            lambda record: self._at(record.evse_id).sample(record.reference),
            keep={
                controller.paused.session_id.hex() for controller in self.controllers if controller.paused is not None
            },
        )
        for controller in self.controllers:
            controller.show()

        async def close() -> None:
            self.restarting.close()
            if self._running is not None:
                await station.drain(DRAIN_S)
                await cancel_tasks(self._running)
            await station.close()

        return close

    def run_station(self) -> None:
        """Let the station report to its CSMS, if there is one."""
        if self.station is not None:
            self._running = child(self.station.run(), name="station")
            self._running.add_done_callback(self._station_ended)

    def watch_grid(self) -> Callable[[], Coroutine[object, object, None]]:
        """Follow the grid's frequency and voltage, for the back end's controls and the charger's own grid code; return
        what ends that. Raises ConfigError for a source without what the code needs."""
        code, station, mains = self.config.grid_code, self.station, self._mains_contactor()
        own = None if self.config.station is None else self.config.station.frequency
        frequency = own or (None if code is None else code.frequency or FrequencyConfig())
        measured = Callbacks[GridFrequency]()
        closing, supervisor, disk = contextlib.AsyncExitStack(), Supervisor(self.observe), DiskThread()
        closing.push_async_callback(disk.close)
        if frequency is not None:
            meters = [controller.meter for controller in self.controllers]
            watch = self.grid_watch = GridWatch(frequency, meters, self.clock, self.observe, measured.tell)
            if own is not None and station is not None:
                measured(station.fact)
            if code is not None:
                if not watch.has_voltage:
                    raise ConfigError("grid_code needs the grid's voltage", hint=NEEDS_GRID)
                units = [
                    CodeUnit(
                        rating=each.rating,
                        power_w=each.power_w,
                        respond=each.keep_code,
                        max_var=each.hardware.max_var,
                        react=each.react_by_code,
                    )
                    for each in self.controllers
                ]
                trips = TripFile(self.config.data_dir, disk, self.observe)
                own_code = read_grid_code(code.file).code
                kept = GridCodeWatch(
                    own_code, frequency, units, self.clock, self.observe, reactive=code.reactive, trips=trips
                )
                closing.callback(kept.close)
                measured(kept.measured)
                kept.select(narrow=code.narrow)
                if code.narrow_contact is not None and not code.narrow:
                    lines = GpiodLines({}, {"narrow": code.narrow_contact})
                    closing.callback(lines.close)
                    supervisor.keep("narrow stages", partial(kept.follow_contact, lines))
            supervisor.keep("grid", watch.run)
        if mains is not None:
            closing.callback(mains.close)
            supervisor.keep("mains contactor", mains.run)
        closing.push_async_callback(supervisor.close)  # ends first what uses the others
        return closing.aclose

    def _mains_contactor(self) -> MainsContactor | None:
        config = self.config.site.mains_contactor
        if config is None:
            return None
        mains = MainsContactor(
            config,
            [each.hardware for each in self.controllers],
            lambda: any(each.grid.response.trip for each in self.controllers),
            self.observe,
        )
        for controller in self.controllers:
            controller.safety.also_cut(mains)
            controller.on_trip(mains.look)
        return mains

    @property
    def connected(self) -> bool:
        """Whether the socket to the back end is open now."""
        return self.station is not None and self.station.connected

    def _keep_receipt(self, session_id: str, receipt: bytes) -> None:
        """Store the back end's receipt of a journal in the session's bundle, in the thread that makes bundles."""

        def keep() -> None:
            for controller in self.controllers:
                controller.archive.keep_receipt(session_id, receipt)

        self.controllers[0].bundles.do(keep, lambda: None).add_done_callback(self._receipt_kept)

    def _receipt_kept(self, kept: "asyncio.Future[None]") -> None:
        """Report a receipt that could not be stored: the bundle is incomplete without it."""
        if not kept.cancelled() and (error := kept.exception()) is not None:
            self.observe(Observe("settlement", "receipt_lost", {"reason": str(error)[:200]}))

    def energy_managers(self) -> "Iterator[EnergyManager]":
        """Yield the energy managers of the site, to be opened and closed."""
        assert self.station is not None
        assert self.config.station is not None
        rating = self.controllers[0].config.charger.ac_rating
        for config in self.config.station.energy_managers:
            from secc.energy_manager.managers import EnergyManager  # imported only if needed

            yield EnergyManager(
                config,
                len(self.controllers),
                clock=self.clock,
                notify=self.station.fact,
                states=lambda: tuple(map(_energy_state, self.controllers)),
                observe=self.observe,
                directory=self.config.data_dir,
                disk=self.controllers[0].disk,
                outlet_v=rating.nominal_voltage_v * rating.phases,
            )

    def _premises(self) -> Premises:
        config, meter, grid = self.config, self.controllers[0].meter, self.controllers[0].config.charger.ac_rating
        frequency = None if config.station is None else config.station.frequency
        trace = None if frequency is None else frequency.trace
        flavours = {controller.config.charger.der for controller in self.controllers} - {None}
        return Premises(
            sources=LogSources(
                events=self.observe.path,
                trace=config.log.trace,
                journals=tuple(controller.config.data_dir / "journals" for controller in self.controllers),
                recent=self.observe.recent,
            ),
            evses=tuple(
                evse_layout(
                    controller.config,
                    rating=controller.rating,
                    latch=controller.hardware.has_latch,
                    switch=controller.hardware.phase_switch,
                )
                for controller in self.controllers
            ),
            grid_voltage=bool(load_grid_trace(trace).volts)
            if trace
            else isinstance(meter, RemoteMeter) and meter.has_voltage,
            der="sae" if "sae" in flavours else "iec" if flavours else None,  # of both what either can say
            nominal_hz=grid.nominal_frequency_hz,
            nominal_v=grid.nominal_voltage_v,
            max_var=min(controller.hardware.max_var for controller in self.controllers),
            own=vehicle_chain(config.tls),
            roots={
                "V2GRootCertificate": config.tls.v2g_roots,
                "OEMRootCertificate": config.tls.oem_roots,
                "MORootCertificate": config.tls.mo_roots,
            },
        )

    def retention(self) -> BundleRetention:
        """Return the retention of old bundles; without a back end none has been delivered."""
        first, station = self.controllers[0], self.station
        return BundleRetention(
            self.config.retention,
            [controller.archive.settlements for controller in self.controllers],
            first.bundles,
            self.observe,
            taken=station.journals_taken if station is not None else _nothing_taken,
            forget=station.forget_taken if station is not None else _forget,
            keys=first.archive.keys,
        )

    def lock_down(self, why: str) -> None:
        """Remove power, and serve no vehicle until the charger is serviced: its program may not be ours (R148)."""
        for controller in self.controllers:
            controller.hardware.fault("program_changed", active=True)
        if self.station is not None:
            self.station.fact(SecurityEventFound(type="InvalidFirmwareSignature", info=why))

    def recover(self) -> None:
        """Settle what a killed process left open, and continue paused sessions."""
        for controller in self.controllers:
            controller.recover()

    def _at(self, evse_id: int | None) -> EvseController:
        """Return an EVSE by its number; None or 0 (no particular EVSE) is the first."""
        return self.controllers[max(1, min(evse_id or 1, len(self.controllers))) - 1]

    @property
    def able(self) -> frozenset[str]:
        """Commands of the CSMS that need a charger."""
        quotes = self.config.attestation is not None and self.config.attestation.quote is not None
        return frozenset({"remote_start", "reset", *(("attestation",) if quotes else ())})

    def carry_out(self, command: StationCommand) -> bool:
        """Start executing a command of the CSMS, or of a station control, for the EVSEs; return False for others."""
        match command:
            case GridSignalReceived(signal=signal):
                changes = [(controller, controller.grid.signal(signal)) for controller in self.controllers]
                if self._sharing:
                    self._settle()
                for controller, signalled in changes:  # whose limits were those before shares were settled
                    grid = controller.grid
                    now = (replace(e, limits=grid.limits, foreseen=e.foreseen and grid.foreseen) for e in signalled)
                    controller.grid_changed(tuple(now))
            case AttestationRequested(nonce=nonce):
                self._nonce = nonce
                if self._attesting is None or self._attesting.done():
                    self._attesting = spawn(self._attest(), name="attestation")
            case AllowEnergyTransfer() | RemoteStopRequested():
                for controller in self.controllers:
                    controller.fact(command)
            case Restart():
                assert self.station is not None
                self.restarting.ask(command, self.station.restarting)
            case _:
                done = self._at(getattr(command, "evse_id", 0)).carry_out(command)
                if self._sharing and isinstance(command, ProfileLimits):
                    # lower at once what may be the whole station's; what rises waits for the other EVSEs' limits
                    self._settle(raises=False)
                    self._share_soon(CROWD_S)
                return done
        return True

    async def _attest(self) -> None:
        """Send the back end evidence that this program and its files are as released, for its newest nonce (R148)."""
        assert self.attestation is not None
        assert self.station is not None
        while nonce := self._nonce:
            self._nonce = b""
            if (evidence := await self.attestation.evidence(nonce)) is None:
                return
            await self.station.requests.attest(evidence)

    async def unlock(self, evse_id: int) -> bool:
        """Try to release the plug of an EVSE; return whether it is free."""
        return await self._at(evse_id).hardware.unlock()

    def online(self, reachable: bool) -> None:
        """Contracts can be installed while the CSMS is reachable."""
        self.tell(ports.InstallationAvailable(reachable))

    def meter(self, evse_id: int) -> MeterSample | None:
        """Return the present reading of an EVSE's meter."""
        return self._at(evse_id).sample()

    def serves(self, evse_id: int, modes: Sequence[str]) -> bool:
        """Return whether an EVSE has a service for any of these energy transfer modes."""
        return self._at(evse_id).serves(modes)

    def _station_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.observe(Observe("ocpp", "station_failed", {"error": str(error)}))
            self.store_failed()

    def store_failed(self) -> None:
        """End the sessions: see ChargerPort."""
        self.tell(ports.HardwareFault("station_store"))

    # -- vehicles

    async def serve(self, wrap: Wrap) -> None:
        """Serve vehicles at every EVSE, one at a time at each, until cancelled or a restart is due."""
        async with contextlib.AsyncExitStack() as stack:
            if self.attestation is not None:
                stack.push_async_callback(self.attestation.close)
                await self.attestation.begin()
            for controller in self.controllers:  # before: with link.plc.tap this creates the interfaces
                controller.open_port(self._recorder(controller, stack))
                stack.callback(controller.close_port)
            listening: asyncio.Future[dict[str, Scalar]] = asyncio.get_running_loop().create_future()

            async def on_interface(interface: str, address: IPv6Address) -> Listeners:
                listeners = await self._open_listeners(interface, address, wrap)
                if not listening.done():
                    listening.set_result(listeners.ports)
                return listeners

            interfaces = {name: None for controller in self.controllers for name in controller.config.link.interfaces}
            presence = InterfaceSupervisor(tuple(interfaces), on_interface, observe=self.observe)
            stack.push_async_callback(self._leave, presence)
            supervisor = Supervisor(self.observe)
            stack.push_async_callback(supervisor.close)
            supervisor.keep("ocsp answers", self.transport.run)
            supervisor.keep("certificates", self.transport.watch_ends)
            supervisor.keep("retention", self.retention().run)
            if self._sharing:
                supervisor.keep("shares", self._keep_sharing)
            if self.attestation is not None:
                supervisor.keep("attestation", self.attestation.run)
            if presence.usable:
                await presence.ready()  # one that cannot serve is not announced
            self.run_station()
            keep_responsive()  # interfaces may be away for long
            opening = child(self._open(presence, listening), name="opening")
            restart = child(self.restarting.due.wait(), name="restart")
            try:
                await asyncio.wait((opening, restart), return_when=asyncio.FIRST_COMPLETED)
                if not restart.done():
                    await opening
                await restart
            finally:
                await cancel_tasks(opening, restart)

    async def _open(self, presence: InterfaceSupervisor, listening: "asyncio.Future[dict[str, Scalar]]") -> None:
        """Let vehicles come as soon as an interface serves them; a back end that is away does not matter for that."""
        await presence.ready()
        for controller in self.controllers:
            controller.connect_wires()
        notify("READY=1")
        if self.station is not None:  # a vehicle that waits for the event below is authorized by the back end
            await wait_at_most(CONNECT_TIMEOUT, self.station.tried.wait())
        keep_responsive()
        self.observe(Observe("session", "ready", await listening))

    async def _open_listeners(self, interface: str, address: IPv6Address, wrap: Wrap) -> Listeners:
        """Listen on an interface for all EVSEs there: at one port for those that share their SDP port."""
        listeners = Listeners()
        try:
            # group the EVSEs of an interface by their SDP port; with port 0 each EVSE has its own
            controllers = [each for each in self.controllers if interface in each.config.link.interfaces]
            groups: dict[tuple[int, int], list[EvseController]] = {}
            for controller in controllers:
                port = controller.config.sdp.port
                groups.setdefault((port, 0 if port else controller.number), []).append(controller)
            for shared in list(groups.values()):
                first = shared[0].config
                await listeners.add(
                    listen(
                        interface,
                        address,
                        config=first,
                        endpoint=self.transport.endpoint_of(first),
                        handler=lambda stream, shared=shared: self._vehicle(stream, shared, wrap),  # type: ignore[misc]
                        observe=self.observe,
                        turnstile=self.transport.turnstile,
                        evse_ids=[each.config.charger.evse_id for each in shared],
                        recorder=self._recorders.get(first.link.record) if first.link.record is not None else None,
                    )
                )
        except BaseException:
            await listeners.close()
            raise
        return listeners

    async def _vehicle(self, stream: Stream, controllers: Sequence[EvseController], wrap: Wrap) -> None:
        """Serve a vehicle at its EVSE."""
        mac = None
        if len(controllers) > 1:
            mac = mac_of(stream.address) or address_mac(stream.address)
        found = pair([controller.plug for controller in controllers], mac)
        if isinstance(found, str):
            data: dict[str, Scalar] = {"reason": found, "peer": stream.peer_name}
            self.observe(Observe("tls", "refused", {**data, "version": stream.version, "cipher": stream.cipher}))
            return
        await self._at(found).vehicle(stream, wrap)

    def _recorder(self, controller: EvseController, stack: contextlib.AsyncExitStack) -> FrameRecorder | None:
        """Return the recorder of this EVSE; EVSEs with the same file share it."""
        config = controller.config.link.record
        if config is None:
            return None
        if config not in self._recorders:
            self._recorders[config] = recorder = FrameRecorder(config, application="v2g secc")
            stack.callback(recorder.close)
        return self._recorders[config]

    async def _leave(self, presence: InterfaceSupervisor) -> None:
        """End the running sessions, then all connections, then the data links."""
        for controller in self.controllers:
            await controller.abort()
        await presence.close()
        for controller in self.controllers:
            await controller.settled()
            await controller.leave()


async def _nothing_taken() -> dict[str, int]:
    return {}


async def _forget(_sessions: Sequence[str]) -> None:
    """Ignore: nothing is stored."""


def _energy_state(controller: EvseController) -> "ManagedEvse":
    """Return an EVSE's state for an energy manager."""
    from v2g.hardware.energy_manager.commands import ManagedEvse

    reading = controller.meter.read(0)
    charge, discharge = controller.rating
    wish = controller.grid.setpoint
    return ManagedEvse(
        evse=controller.number,
        status="Unavailable" if not controller.in_service else controller.status or "Unavailable",
        charging=controller.hardware.contactors_closed,
        power_w=None if (measured := controller.measured) is None else measured.watts,
        import_wh=reading.import_mwh // 1000,
        export_wh=reading.export_mwh // 1000,
        charge_limit_w=min(charge, *(limit.charge_w for limit in controller.grid.limits)),
        discharge_limit_w=min(discharge, *(limit.discharge_w for limit in controller.grid.limits)),
        setpoint_w=None if wish is None else wish.power_w,
    )


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _public_key(meter: Credentials) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return meter.key.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
