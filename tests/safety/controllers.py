"""Whole EVSEs on a test rig in simulated time: what a charger has at each plug (`secc.evse.controller`), with its
fall-back to the pilot alone, its grid, its journal, its pauses, and simulated hardware behind the safety channel. Only
the disk, whose time the test sets, the archive of settlements and the back end are stand-ins.
"""

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest
from msgspec.structs import replace

from evcc.hardware.ac import OnBoardCharger
from evcc.session.settings import OnBoardChargerConfig
from pki_tools.tree import PkiTree
from secc.app import edition
from secc.config import MeterConfig, ProgramConfig, SiteConfig, TlsConfig
from secc.evse.archive import Archive, ChargerOwner
from secc.evse.controller import EvseController, EvseWires
from secc.hardware import assembly as parts
from secc.hardware.assembly import Assembly
from secc.hardware.config import HardwareConfig
from secc.hardware.simulated import SimulatedEvseConfig
from secc.link.transport import VehicleTransport
from secc.session import ports
from secc.session.config import BasicChargingConfig, EnergyService, SeccConfig
from tests.safety.judged.rig import LIVE_MV, Blind
from tests.trees import known
from v2g.energy.grid_signal import GridSignal, SignalSlot
from v2g.iec61851.pilot import PilotState
from v2g.iec61851.proximity import SEATED_OHM
from v2g.io.plc.pilot import SimulatedVehiclePilot, VehicleSignal
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.disk import DiskThread
from v2g.io.simulation.lines import VehicleAcLine
from v2g.io.simulation.medium import Medium, Room
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Observe
from v2g.pki.credentials import Credentials
from v2g.pki.reference import KeyReference
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

Result = TypeVar("Result")

UTC_MS = time.time_ns() // 1_000_000
CAR_W = 22_000
CABLE_OHM = 220
"""A cable that bears 32 A."""


class Disk(DiskThread):
    """Does one thing after the other in the event loop; each takes `seconds`."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._free_at = 0.0

    def do(self, work: Callable[[], object], then: Callable[[], Result]) -> "asyncio.Future[Result]":
        """See DiskThread."""
        loop = asyncio.get_running_loop()
        reported: asyncio.Future[Result] = loop.create_future()

        def done() -> None:
            try:
                work()
                outcome = then()
            except BaseException as failure:  # noqa: BLE001 - it is passed on
                if not reported.done():
                    reported.set_exception(failure)
            else:
                if not reported.done():
                    reported.set_result(outcome)

        self._free_at = max(loop.time(), self._free_at) + self.seconds
        loop.call_at(self._free_at, done)
        return reported


class _Lines:
    """A journal that nobody reads."""

    def append(self, lines: Any) -> None:
        """See LineFile."""

    def close(self) -> None:
        """See LineFile."""


class Shelf(Archive):
    """An archive that keeps nothing: what is settled is not what these tests are about."""

    def open_journal(self, session_id: str, contract: Sequence[bytes]) -> Any:
        """See Archive."""
        return _Lines()

    def make_bundle(self, session_id: str, charger: Credentials | None = None) -> int:
        """See Archive."""
        return 0

    def may_leave_loop(self, charger: Credentials) -> bool:
        """See Archive."""
        return True


class Desk:
    """The back end: somebody identifies when the test wants it. See secc.evse.backend.EvseBackend."""

    def __init__(self, *, says: AuthorizationStatus | None = None) -> None:
        """`says` is answered to everybody at once."""
        self._says = says
        self.reference = ""
        """Of the transaction that runs."""
        self._asked: asyncio.Future[AuthorizationStatus] | None = None

    def vehicle_left(self) -> None:
        """See Backend."""

    def execute(self, command: Command) -> Coroutine[Any, Any, Fact | None] | None:
        """See Backend."""
        match command:
            case ports.AuthorizeExternally(attempt=attempt) | ports.AuthorizeContract(attempt=attempt):
                return self._ask(attempt)
            case ports.TransactionStarted(session_id=session_id):
                self.reference = session_id
            case ports.TransactionEnded() | ports.ForgetSession():
                self.reference = ""
        return None

    async def _ask(self, attempt: int) -> Fact:
        if self._says is not None:
            return ports.AuthorizationDecided(attempt, self._says)
        self._asked = asyncio.get_running_loop().create_future()
        return ports.AuthorizationDecided(attempt, await self._asked)

    def answer(self, status: AuthorizationStatus) -> bool:
        """Answer who waits for it; return whether somebody did."""
        if self._asked is None or self._asked.done():
            return False
        self._asked.set_result(status)
        return True


class PilotCar:
    """A vehicle that charges by the pilot. `draws` W at most; one that `obeys` no more than the duty cycle says,
    `late_s` after it has become less."""

    def __init__(self, medium: Medium, phases: Literal[1, 2, 3] = 3) -> None:
        self.pilot = SimulatedVehiclePilot(medium)
        self._phases = phases
        self._board = OnBoardCharger(VehicleAcLine(medium), OnBoardChargerConfig(phases=phases, max_charge_w=CAR_W))
        self._loop = asyncio.get_running_loop()
        self._ohm: int | None = SEATED_OHM
        self.state: PilotState | None = None
        """What it shows; None while it is not plugged in."""
        self.draws_w, self.obeys, self.late_s = CAR_W, True, 0.0
        self.pilot.on_duty(lambda _: self._follow())

    def plug(self, *, proximity_ohm: int | None = CABLE_OHM, diode: bool = True) -> None:
        """Put the plug in, and show B."""
        self.state = PilotState.B
        self.pilot.plug(proximity_ohm=proximity_ohm, diode=diode)

    def unplug(self) -> None:
        """Pull it."""
        self.state = None
        self.pilot.unplug()

    def short(self) -> None:
        """Let the pilot be shorted to earth."""
        self.pilot.hold(VehicleSignal(0, proximity_ohm=CABLE_OHM))

    def show(self, state: PilotState) -> None:
        """Show B, C or D, where it is plugged in."""
        if self.state is not None:
            self.state = state
            self.pilot.set_state(state)

    def draw(self, watts: int, *, obeys: bool = True, late_s: float = 0.0) -> None:
        """Draw so much from now on (negative gives it back)."""
        self.draws_w, self.obeys, self.late_s = watts, obeys, late_s
        self._follow()

    @property
    def shown_w(self) -> float:
        """What the duty cycle allows now."""
        return self.pilot.duty.max_current_a * 3 * 230

    @property
    def line_ma(self) -> tuple[int, ...]:
        """What flows into it in each conductor that it uses."""
        present = self._board.present
        return (present.current_ma // present.lines,) * present.lines if present.lines else ()

    @property
    def _wanted_w(self) -> int:
        shown_w = self.shown_w * self._phases / 3
        return int(min(self.draws_w, shown_w)) if self.obeys else self.draws_w

    @property
    def live(self) -> bool:
        """Whether it gets voltage."""
        return self._board.present.voltage_mv >= LIVE_MV

    @property
    def power_w(self) -> int:
        """What flows into it."""
        present = self._board.present
        return present.voltage_mv * present.current_ma // 1_000_000

    def _follow(self) -> None:
        wanted = self._wanted_w
        if self.late_s and wanted < self.power_w:
            # an oscillator that is off is obeyed sooner than a smaller current (IEC 61851-1 Annex A)
            late_s = self.late_s if wanted else self.late_s * 0.6
            self._loop.call_later(late_s, self._drive)
        else:
            self._board.drive(wanted)

    def _drive(self) -> None:
        self._board.drive(self._wanted_w)


class OnRig:
    """One EVSE, its vehicle, and what it reported."""

    def __init__(self, controller: EvseController, car: PilotCar, desk: Desk, disk: Disk, faults: Any) -> None:
        self.controller, self.car, self.desk, self.disk, self.faults = controller, car, desk, disk, faults
        self.events: list[Observe] = []

    def named(self, stage: str, name: str = "") -> list[Observe]:
        """Return what was reported of a stage."""
        return [each for each in self.events if each.stage == stage and name in ("", each.name)]


@functools.cache
def _transport(directory: Path) -> VehicleTransport:
    return VehicleTransport(program(PkiTree(directory), directory), lambda _: None)


def credentials(pki: PkiTree) -> tuple[VehicleTransport, ChargerOwner]:
    """Return what a charger shows, whom it believes, and what it signs with."""
    pki = known(pki)
    transport = _transport(pki.directory)
    meter = Credentials(pki.chain("meter"), pki.key("meter"))
    return transport, ChargerOwner(transport.credentials, meter, pki.anchors("v2g"))


def program(pki: PkiTree, folder: Path, **changes: Any) -> ProgramConfig:
    """Return the configuration of a charge point for alternating current that charges by the pilot, too."""
    config = ProgramConfig(
        data_dir=folder,
        charger=SeccConfig(basic=BasicChargingConfig(), services=(EnergyService.AC,)),
        tls=TlsConfig(
            chain=pki.path("secc/chain.pem"),
            key=_key(pki, "secc/leaf.key"),
            v2g_roots=(pki.path("v2g/root.pem"),),
            mo_roots=(pki.path("mo/root.pem"),),
        ),
        meter=MeterConfig(chain=pki.path("meter/chain.pem"), key=_key(pki, "meter/leaf.key")),
        hardware=HardwareConfig(kind="ac", simulated=SimulatedEvseConfig(report_s=0.1, contactor_s=0.04)),
        site=SiteConfig(charge_w=CAR_W),
    )
    return replace(config, **changes)


def _key(pki: PkiTree, name: str) -> KeyReference:
    return KeyReference.from_text(str(pki.path(name)), pki.directory)


def grid_signal(version: int, *, charge_w: int, discharge_w: int, for_s: int = 86_400) -> GridSignal:
    """Return what the grid operator says, with prices of a day; it holds for so many seconds."""
    hours = range(UTC_MS // 3_600_000, UTC_MS // 3_600_000 + 25)
    slots = (
        SignalSlot(start_ms=hour * 3_600_000, duration_s=3600, import_price=300_000, export_compensation=250_000)
        for hour in hours
    )
    return GridSignal(
        version=version, issued_at_ms=UTC_MS, source="dso", currency="EUR", slots=tuple(slots),
        site_import_limit_w=charge_w, export_limit_w=discharge_w, valid_until_ms=UTC_MS + for_s * 1000,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def controllers(
    pki: PkiTree, folder: Path, config: ProgramConfig, *, guarded: bool = True, phases: Literal[1, 2, 3] = 3
) -> AsyncIterator[tuple[OnRig, ...]]:
    """Make the EVSEs of a charger, each with a vehicle that is not plugged in. Must run in a VirtualLoop."""
    patch = pytest.MonkeyPatch()
    rooms: dict[str, Room] = {}
    patch.setattr(parts.FolderMedium, "attach", lambda _folder, name: _attach(rooms.setdefault(name, Room()), name))
    if not guarded:
        patch.setattr(parts, "SafetyChannel", Blind)
    clock = Clock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=UTC_MS))
    transport, owner = credentials(pki)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(patch.undo)
        found = []
        for number, place in enumerate(config.places, 1):
            found.append(await _one(number, place, clock, transport, owner, stack, rooms, phases))
        yield tuple(found)


async def _one(
    number: int,
    config: ProgramConfig,
    clock: Clock,
    transport: VehicleTransport,
    owner: ChargerOwner,
    stack: contextlib.AsyncExitStack,
    rooms: dict[str, Room],
    phases: Literal[1, 2, 3],
) -> OnRig:
    events: list[Observe] = []
    disk = Disk()
    assembly = Assembly(
        config.hardware,
        config.charger,
        clock,
        stack,
        events.append,
        folder=config.data_dir,
        meter_serial="METER-0001",
        medium_folder=config.data_dir,
        name=config.link.name,
        connector=config.link.connector,
    )
    made = await assembly.make()
    stack.push_async_callback(made.evse.close)
    assert made.pilot is not None
    archive = Shelf(config.data_dir, owner, clock=clock, observe=events.append)
    controller = EvseController(
        number, config, clock, events.append, transport, owner, archive, made.meter, made.evse, made.safety,
        EvseWires(made.pilot, made.medium), disk, disk, editions={"20": edition("20")},
    )  # fmt: skip
    desk = Desk()
    controller.backend = desk
    car = PilotCar(rooms[config.link.name].attach("evcc"), phases)
    controller.open_port(None)
    stack.callback(controller.close_port)
    controller.connect_wires()
    stack.push_async_callback(controller.settled)
    stack.push_async_callback(controller.abort)
    on_rig = OnRig(controller, car, desk, disk, assembly.faults)
    on_rig.events = events
    return on_rig


async def _attach(room: Room, name: str) -> Medium:
    return room.attach(name)
