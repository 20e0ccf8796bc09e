"""The charger program: assembly, and shutdown: power off first, back end last."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from secc.charger import Charger
from secc.config import ProgramConfig, check_places, load_config
from secc.energy_manager.grid_code import demanded
from secc.evse.archive import Archive, ChargerOwner
from secc.evse.controller import EvseController, EvseWires, Wrap
from secc.evse.restarting import AGAIN, restart_device, start_anew
from secc.hardware.assembly import Assembly
from secc.hardware.check_log import CheckLog
from secc.hardware.fault_file import FaultFile, FaultKeeper
from secc.link.transport import VehicleTransport
from secc.session.config import SeccConfig
from secc.session.edition import Edition
from secc.station.device import firmware_folder, own_certificates, vehicle_chain
from secc.status import StatusKeeper
from v2g.errors import ConfigError
from v2g.io.keys.stores import load_credentials, open_key
from v2g.io.ota.unreadable import read_or_go_back
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread, Turnstile, disk_threads
from v2g.io.runtime.event_socket import EventSocket
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.processor_heat import THROTTLED, HeatReading, ProcessorWatch
from v2g.io.runtime.program import run
from v2g.io.runtime.supervision import Supervisor, defects_reported
from v2g.io.runtime.trace import open_trace
from v2g.io.runtime.watchdog import Watchdog
from v2g.io.storage.grid_code_file import read_grid_code
from v2g.io.storage.record_keys import RecordKeys
from v2g.iso15118.select import EditionName
from v2g.observe import Observe
from v2g.pki.credentials import load_authorities
from v2g.pki.keys import Algorithm
from v2g.pki.profile import Role
from v2g.typed_json import Fields

_EDITIONS: Final[Mapping[EditionName, tuple[str, str]]] = {
    "20": ("secc.session.d20.session", "Iso20"),
    "2": ("secc.session.d2.session", "Iso2"),
    "din": ("secc.session.din.session", "Din"),
}
"""The editions that this program has, listed only here; each is imported where it is enabled."""

if TYPE_CHECKING:
    from v2g.io.http.self_enrolment import SelfEnrolment


@cache
def edition(name: EditionName) -> Edition:
    """Return an edition; the messages of the others need not be loaded."""
    module, kind = _EDITIONS[name]
    loaded: Edition = getattr(import_module(module), kind)()
    return loaded


def enabled(config: SeccConfig) -> dict[EditionName, Edition]:
    """Return the editions that the configuration names, in its order."""
    return {name: edition(name) for name in config.editions}


def main(
    config_path: Path, events: Path | None, *, wrap: Wrap = lambda stream: stream, again: Callable[[], int] = start_anew
) -> int:
    """Run a charger until SIGTERM or SIGINT; return the exit code. `again` restarts the program (B11)."""
    read = partial(load_config, name=str(config_path))
    code = run(
        lambda: read_or_go_back(config_path, read, _place, phase="rolling_back"),
        lambda config: config.log,
        lambda config: _run(config, events or config.log.events, wrap),
    )
    return again() if code == AGAIN else code


def _place(tree: Fields) -> tuple[Fields, Path]:
    update, store = tree["station"]["update"], Path(tree["station"]["store"])
    return update, Path(update["folder"]) if "folder" in update else firmware_folder(store)


async def _run(config: ProgramConfig, events: Path | None, wrap: Wrap) -> int:
    clock = Clock(config.clock)
    local = None if config.local_events is None else EventSocket(config.local_events)
    trace = open_trace(config.log, "secc", clock)
    observe = EventLog("secc", clock, events, trace=trace, files=config.log, local=local)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(observe.close)
        stack.enter_context(defects_reported(observe))
        if local is not None:
            await local.open()
            stack.push_async_callback(local.close)
        async with assemble(config, clock, observe) as charger:
            await charger.serve(wrap)
        return await restart_device(config.station.restart if config.station is not None else (), observe)


@contextlib.asynccontextmanager
async def assemble(config: ProgramConfig, clock: Clock, observe: EventLog) -> AsyncIterator[Charger]:
    """Build the charger from its configuration and shut it down again: power off first, back end last."""
    # the configuration of each EVSE, whose vehicles get what the grid code demands (R209, R221)
    if config.grid_code is None:
        places = config.places
    else:
        code, reactive = read_grid_code(config.grid_code.file).code, config.grid_code.reactive
        places = tuple(replace(each, charger=demanded(each.charger, code, reactive)) for each in config.places)
    check_places(places)
    async with contextlib.AsyncExitStack() as stack:
        status = StatusKeeper(config, clock)
        observe.on_event(status.saw)
        if config.station is not None:
            own_certificates(config.station, vehicle_chain(config.tls), observe=observe).complete()
        if (enrolment := _enrolment(config, clock, observe)) is not None:
            await enrolment.first()
        disks, bundles = disk_threads(len(places)), DiskThread()
        transport = VehicleTransport(config, observe, Turnstile(disks))
        watchdog = Watchdog(hung_s=places[0].hardware.watch.hung_s)
        stack.callback(watchdog.close)
        controllers = tuple(
            [
                await _controller(number, place, clock, observe, transport, (disk, bundles), watchdog, stack)
                for number, (place, disk) in enumerate(zip(places, disks, strict=True), 1)
            ]
        )
        await asyncio.gather(*(controller.hardware.power_up() for controller in controllers))
        for thread in {*disks, bundles}:
            stack.push_async_callback(thread.close)
        charger = Charger(config, clock, observe, transport, controllers)
        if config.station is not None:
            stack.push_async_callback(charger.connect_station())
            for manager in charger.energy_managers():
                stack.push_async_callback(manager.close)
                await manager.open()
        else:
            charger.recover()
        stack.push_async_callback(charger.watch_grid())
        for controller in controllers:
            stack.push_async_callback(controller.settled)
            stack.push_async_callback(controller.hardware.close)
        supervisor = Supervisor(observe)
        stack.push_async_callback(supervisor.close)
        supervisor.keep(
            "processor", ProcessorWatch(config.processor, partial(_processor_changed, charger, observe)).run
        )
        if enrolment is not None:
            supervisor.keep("enrolment", enrolment.run)
        supervisor.keep("status", lambda: status.run(controllers, lambda: charger.connected))
        if config.status_page is not None:
            from secc.status_page import StatusPage  # only where there is one

            supervisor.keep("status page", StatusPage(config.status_page, lambda: status.latest, observe).run)
        watchdog.start()  # not before: a slow machine takes seconds to start, and nothing can close a contactor yet
        yield charger


def _enrolment(config: ProgramConfig, clock: Clock, observe: EventLog) -> "SelfEnrolment | None":
    key = config.tls.key.path
    if config.tls.enrolment is None or key is None:
        return None
    from v2g.io.http.self_enrolment import SelfEnrolment  # only where it is configured

    return SelfEnrolment(config.tls.enrolment, config.tls.chain, key, Role.SECC, clock, observe)


def _processor_changed(charger: Charger, observe: EventLog, _: HeatReading, hot: bool, _late_s: float) -> None:
    """Report a hot processor, and leave out what only informs: control goes first."""
    observe.brief = hot
    charger.controllers[0].hardware.fault(THROTTLED, active=hot)


async def _controller(
    number: int,
    config: ProgramConfig,
    clock: Clock,
    log: EventLog,
    transport: VehicleTransport,
    threads: tuple[DiskThread, DiskThread],
    watchdog: Watchdog,
    stack: contextlib.AsyncExitStack,
) -> EvseController:
    """Build one EVSE; `config` is its own. With several EVSEs, `evse_id` distinguishes their events."""

    def observe(event: Observe) -> None:
        log(replace(event, data={"evse_id": config.charger.evse_id, **event.data}))

    observed = log if config.data_dir == transport.config.data_dir else observe
    meter = load_credentials(config.meter.chain, config.meter.key)
    if meter.key.algorithm is not Algorithm.ECDSA_SHA256:  # else it would be known when the first session is settled
        raise ConfigError(f"{config.meter.key}: meter.key must be secp256r1", hint="v2g pki issue DIR --role meter")
    owner = ChargerOwner(
        chargers=transport.credentials,
        meter=meter,
        roots=load_authorities((*config.tls.v2g_roots, *config.tls.mo_roots)),
        prices=open_key(config.price_key) if config.price_key is not None else None,
        current_type="AC" if config.hardware.kind == "ac" else "DC",
        vendor=config.meter.vendor,
        model=config.meter.model,
        firmware=config.meter.firmware,
    )
    keys = RecordKeys.read(config.journal_keys)
    archive = Archive(config.data_dir, owner, clock=clock, observe=observed, keys=keys)
    made = await Assembly(
        config.hardware,
        config.charger,
        clock,
        stack,
        observed,
        folder=config.data_dir,
        meter_serial=archive.meter_serial,
        keys=keys,
        medium_folder=config.link.medium,
        name=config.link.name,
        connector=config.link.connector,
        watchdog=watchdog,
        service=FaultKeeper(FaultFile(config.data_dir), threads[0], utc_ms=clock.utc_ms, observe=observed),
        disk=threads[0],
        log=CheckLog(config.data_dir, threads[0], utc_ms=clock.utc_ms, observe=observed),
    ).untested()
    wires = EvseWires(made.pilot, made.medium) if made.pilot is not None else None
    traced = log.tracer("" if observed is log else config.charger.evse_id)
    return EvseController(
        number,
        config,
        clock,
        observed,
        transport,
        owner,
        archive,
        made.meter,
        made.evse,
        made.safety,
        wires,
        *threads,
        traced,
        editions=enabled(config.charger),
    )
