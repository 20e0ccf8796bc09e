"""Puts the vehicle program together: plug in, match, discover, TLS, one session, and everything safe afterwards."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from evcc.config import EvccConfig, load_config
from evcc.core.ports import BatteryState
from evcc.core.session import VehicleSession
from evcc.core.stages import Contract
from evcc.ecu import BatteryEcu, BatterySnapshot
from evcc.gateway import Gateway
from evcc.hardware import BenchLine, BenchPilot, SimulatedVehicle, VehicleHardware
from v2g.errors import ConfigError, TimeoutExpired, TlsError, V2GError
from v2g.net import tls
from v2g.net.clock import Clock
from v2g.net.dc_line import VehicleDcLine
from v2g.net.events import EventLog
from v2g.net.medium import Medium
from v2g.net.plc.datalink import VehicleLink
from v2g.net.plc.link import open_link
from v2g.net.plc.pilot import SimulatedVehiclePilot
from v2g.net.program import read_config, run
from v2g.net.runner import ByteStream, Runner
from v2g.net.udp import discover
from v2g.observe import Observe
from v2g.pki.credentials import Credentials, load_chain, load_credentials
from v2g.pki.keys import SigningKey

CELLS_IN_SERIES = 96
"""Of the simulated battery; only its telemetry looks at single cells."""

Wrap = Callable[[ByteStream, SigningKey | None], ByteStream]
"""Puts something between the session and its connection; tests and scenarios use it to misbehave on purpose."""


def main(config_path: Path, events: Path | None, *, wrap: Wrap = lambda stream, _key: stream) -> int:
    """Run one session; return the exit code: 0 when it ended in good order."""
    return run(
        lambda: load_config(read_config(config_path), name=str(config_path)),
        lambda config: config.log.level,
        lambda config: _run(config, events or config.log.events, wrap),
    )


async def _run(config: EvccConfig, events: Path | None, wrap: Wrap) -> int:
    clock = Clock(config.clock)
    observe = EventLog("evcc", clock, events)
    vehicle: Vehicle | None = None
    try:
        async with _assemble(config, clock, observe) as vehicle:
            reason = await vehicle.drive(wrap)
    except TlsError as error:
        observe(Observe("tls", "refused", {"reason": error.reason, "error": str(error)}))
        raise
    except V2GError as error:
        observe(Observe("session", "failed", {"reason": type(error).__name__, "error": str(error)}))
        raise
    finally:
        observe.close()
    return 0 if reason == "finished" else 3


@contextlib.asynccontextmanager
async def _assemble(config: EvccConfig, clock: Clock, observe: EventLog) -> "AsyncIterator[Vehicle]":
    """Build the vehicle from its configuration and take it apart again, hardware last."""
    async with contextlib.AsyncExitStack() as stack:
        wires = await _wires(config, stack)
        stack.callback(observe, Observe("link", "unplugged"))
        stack.callback(wires.pilot.unplug)  # the last thing that happens: by then the hardware has left everything safe
        hardware = SimulatedVehicle(
            config.battery,
            line=wires.line,
            pilot=wires.pilot,
            clock=clock,
            step_s=config.hardware.step_s,
            contactor_delay_s=config.hardware.contactor_delay_s,
        )
        stack.push_async_callback(hardware.close)
        if config.telemetry is not None:
            gateway = Gateway(config.telemetry, clock, observe)
            gateway.start()
            stack.push_async_callback(gateway.close)
            ecu = asyncio.create_task(BatteryEcu(config.telemetry.can, lambda: snapshot(hardware.battery)).run())
            stack.push_async_callback(_cancel, ecu)
        yield Vehicle(config, clock, observe, hardware, wires)


@dataclass
class Wires:
    """What joins the vehicle to a charger beside the network: pilot and DC line, perhaps simulated on a medium."""

    line: VehicleDcLine | BenchLine
    pilot: SimulatedVehiclePilot | BenchPilot
    medium: Medium | None = None


async def _wires(config: EvccConfig, stack: contextlib.AsyncExitStack) -> Wires:
    if config.hardware.backend == "bench":
        return Wires(BenchLine(), BenchPilot())
    if config.link.medium is None:
        raise ConfigError(
            "link.medium is missing", hint='name the folder of the simulated wires, or set hardware.backend = "bench"'
        )
    medium = await Medium.attach(config.link.medium, config.link.name)
    stack.callback(medium.close)
    return Wires(VehicleDcLine(medium), SimulatedVehiclePilot(medium), medium)


@dataclass
class Vehicle:
    """A vehicle that stands before a charger."""

    config: EvccConfig
    clock: Clock
    observe: EventLog
    hardware: VehicleHardware
    wires: Wires

    async def drive(self, wrap: Wrap) -> str:
        """Plug in and run one session; return the reason of the session's end. Raises V2GError before that."""
        plugged_at = self.clock.monotonic()
        link: VehicleLink | None = None
        pilot = self.wires.pilot
        pilot.plug()
        self.observe(Observe("link", "plugged_in"))
        try:
            if self.config.link.slac is not None:
                port = open_link(self.config.link.plc, role="ev", medium=self.wires.medium)
                link = VehicleLink(port, pilot, self.config.link.slac, observe=self.observe)
                await self._ready(link)
            stream = await self._connect()
            return await self._session(stream, self.clock.monotonic() - plugged_at, link, wrap)
        finally:
            if link is not None:
                link.terminate()
                link.close()

    async def _ready(self, link: VehicleLink) -> None:
        wait = self.config.link.wait_s
        try:
            await asyncio.wait_for(link.ready(), wait)
        except TimeoutError:
            hint = "is the charger running and its control pilot at 5 %?"
            raise TimeoutExpired("set-up of the data link", wait, hint=hint) from None

    async def _connect(self) -> tls.TlsStream:
        config = self.config
        found = await discover(config.link.interface, port=config.sdp.port, max_tries=config.sdp.tries)
        self.observe(Observe("sdp", "found", {"host": found.host, "port": found.port, "tries": found.tries}))
        stream = await tls.connect(
            found.host,
            found.port,
            credentials=load_credentials(config.tls.chain, config.tls.key),
            anchors=tuple(load_chain(path)[0] for path in config.tls.anchors),
            profile=tls_profile(config),
            timeout=config.tls.timeout_s,
        )
        data = {
            "peer": stream.peer.subject_cn,
            "version": stream.version,
            "cipher": stream.cipher,
            "group": stream.group,
            "ocsp": "good" if stream.ocsp_response else "none",
        }
        self.observe(Observe("tls", "connected", dict(data)))
        return stream

    async def _session(self, stream: tls.TlsStream, elapsed: float, link: VehicleLink | None, wrap: Wrap) -> str:
        contract = self._contract()
        session = VehicleSession(
            self.config.session,
            battery=self.hardware.battery,
            secc_certificate=stream.peer_chain[0],
            contract=contract,
            entropy=os.urandom,
            stopwatch=self.clock.monotonic,
            connected_for=elapsed,
        )
        runner = Runner(
            session,
            wrap(stream, contract.key if contract else None),
            execute=self.hardware.execute,
            clock=self.clock,
            observe=self.observe,
        )
        self.hardware.subscribe(runner.fact)
        if link is not None:
            link.on_down(lambda reason: runner.abort(reason))
        return await runner.run()

    def _contract(self) -> Contract | None:
        if self.config.contract is None:
            return None
        credentials: Credentials = load_credentials(self.config.contract.chain, self.config.contract.key)
        return Contract(chain=credentials.chain, key=credentials.signing_key)


def tls_profile(config: EvccConfig) -> tls.TlsProfile:
    """Return what is offered and demanded in the handshake."""
    profile = tls.PROFILES[config.security_profile]
    if config.tls.require_ocsp is None:
        return profile
    return msgspec.structs.replace(profile, staple_required=config.tls.require_ocsp)


def snapshot(battery: BatteryState) -> BatterySnapshot:
    """Return what the control units of the simulated battery would report."""
    cell = battery.voltage_mv / 1000 / CELLS_IN_SERIES
    direction = "charging" if battery.current_ma > 0 else "discharging" if battery.current_ma < 0 else "parked"
    return BatterySnapshot(
        voltage_v=battery.voltage_mv / 1000,
        current_a=battery.current_ma / 1000,
        soc_percent=battery.soc,
        soh_percent=100.0,
        temperature_min=battery.temperature_c - 0.5,
        temperature_max=battery.temperature_c + 0.5,
        coolant_temperature=battery.temperature_c - 2,
        cell_voltage_min=cell - 0.004,
        cell_voltage_max=cell + 0.004,
        charged_wh=battery.charged_mwh // 1000,
        discharged_wh=battery.discharged_mwh // 1000,
        contactor_closed=battery.current_ma != 0,
        power_request_w=battery.voltage_mv * battery.current_ma // 1_000_000,
        context=direction,
    )


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
