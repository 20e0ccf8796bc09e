"""Our station and our back end with everything between them that can go wrong, in simulated time.

The station is the one of `v2g station`: core, runner, file, drivers, vehicles and meters. The back end is sessions,
services, store. Only the network, the clocks, and the moments at which a program dies are made up here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Concatenate, Final, ParamSpec, TypeVar

import msgspec
from sqlalchemy import Connection

from csms import app as csms_app
from csms.app import open_services
from csms.config import CsmsConfig
from csms.db.store import Store
from csms.ocpp.server import StationServer
from csms.services import Services
from csms.tariffs import store as tariffs
from csms.transactions.work import TransactionWatch
from tests.csms.backend import Events
from tests.e2e.chaos.memory import Death, MortalMemory
from tests.e2e.chaos.network import Network
from v2g.energy.price_plan import Charge, PricePlan, Rate
from v2g.errors import StoreError
from v2g.io.runtime import clock as clocks
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.supervision import cancel_tasks
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g.ocpp.routes import Version
from v2g.ocpp.times import parse_time
from v2g_station import runner
from v2g_station.blocks.evse import AllowPower
from v2g_station.kernel.kernel import Keep, StationCommand
from v2g_station.simulator.behaviour import Behaviour
from v2g_station.simulator.fleet import REBOOT_S, FleetTally, SimulatedStation, StationFleet

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

PRICE: Final = Decimal("0.3")
"""Per kWh."""

CARDS: Final = 3


class JumpingClock(Clock):
    """A clock that is set now and then: `offset_ms` is how far it is from the time that passes, `jumped` whether it has
    been set."""

    def __init__(self, utc_ms: int) -> None:
        super().__init__()
        self.offset_ms, self.jumped = 0, False
        self._began = clocks.monotonic()
        self._began_ms = utc_ms

    def jump(self, milliseconds: int) -> None:
        """Set it."""
        self.offset_ms, self.jumped = self.offset_ms + milliseconds, True

    def utc_ms(self) -> int:
        """Return what it shows."""
        return self._began_ms + round((clocks.monotonic() - self._began) * 1000) + self.offset_ms


class DirectStore(Store):
    """The store without its threads: works are done where they are asked for, and then the disk takes its time."""

    dead = False
    _statements: ClassVar[dict[Any, Any]] = {}

    def __init__(self, url: str) -> None:
        super().__init__(url)
        for engine in (self.engine, self._reading):
            engine.update_execution_options(compiled_cache=self._statements)  # worlds come and go, statements stay

    async def run(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """See Store."""
        if self.dead:
            raise StoreError("killed")
        found = self.do(work, *args, **kwargs)
        await asyncio.sleep(0.002)
        return found

    async def gather(self, work: Callable[[Connection, list[T]], list[R]], item: T) -> R:
        """See Store."""
        return (await self.run(work, [item]))[0]

    look_up = gather_reports = gather
    read = report = run


class Noted(msgspec.Struct, frozen=True):
    """A transaction event that a station has kept, what its clock showed then, and the time that had passed."""

    event: TransactionEventRequest
    utc_ms: int
    elapsed_ms: int
    jumps: bool
    """Whether the clock has been set before."""


class MortalStation(SimulatedStation):
    """A station whose program can die at any moment.

    Then energy flows on for a program that was killed, until the next one comes, unless its transaction was over.
    """

    def __init__(
        self,
        identity: str,
        fleet: StationFleet,
        clock: JumpingClock,
        path: Path,
        network: Network,
        variables: Mapping[str, str],
    ) -> None:
        self.tally = FleetTally()
        self.noted: list[Noted] = []
        self._clock_of_station = clock
        self._network = network
        self._died = asyncio.Event()
        self._death = Death()
        self.memory = MortalMemory(path, died=self._is_dead, noted=self._note)
        self.memory.keep(Keep("variables", name, value.encode()) for name, value in variables.items())
        super().__init__(identity, fleet, self.tally, clock, None, self.memory)

    def _note(self, event: TransactionEventRequest) -> None:
        clock = self._clock_of_station
        self.noted.append(Noted(event, clock.utc_ms(), clock.elapsed_ms(), clock.jumped))

    def _is_dead(self) -> None:
        self._network.cut(far=False)
        for number, evse in self.runner.core.evses.items():
            if self._death.power_cut or evse.record is None:
                list(self.site.command(AllowPower(evse_id=number, allowed=False), self._elapsed()))
        self._died.set()

    def _command(self, command: StationCommand) -> None:
        if not self.memory.dead:
            super()._command(command)

    def die(self, death: Death) -> None:
        """Let the program end, now or at a write to come."""
        self._death = death
        self.memory.die_at(death)

    async def run(self) -> None:
        """Live over restarts and deaths until cancelled."""
        while True:
            if not self.memory.dead:
                self._died.clear()  # it died a second time while it started, and has been read again since
            life, died = asyncio.create_task(self.live()), asyncio.create_task(self._died.wait())
            try:
                await asyncio.wait((life, died), return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancel_tasks(life, died)
            if self.memory.dead:
                if not self._death.power_cut:
                    self._network.cut()  # the system closes what a killed program had open
                await self._lie_dead()
                self.start_again("PowerUp")
            else:
                await asyncio.sleep(REBOOT_S)
                self.start_again("RemoteReset")

    async def _lie_dead(self) -> None:
        """Let nobody be served for a while; drivers come and go all the same."""
        until = self._elapsed() + self._death.away_ms
        while (now := self._elapsed()) < until:
            list(self.site.advance(now))
            await asyncio.sleep(max(0.001, (min(self.site.due(), until) - now) / 1000))

    def _elapsed(self) -> int:
        return self._clock_of_station.elapsed_ms()

    @property
    def settled(self) -> bool:
        """Whether nobody charges and nothing waits to be sent."""
        return (
            not self.memory.dead
            and self.runner.online.is_set()
            and len(self.runner.core.outbox) == 0
            and all(bay.phase in ("free", "faulted") for bay in self.site.bays.values())
        )


class BackEnd:
    """A back end that can be killed and started again on the same database."""

    def __init__(self, config: CsmsConfig, clock: JumpingClock, network: Network) -> None:
        self.services: Services
        self.events = Events(clock)
        self.clock = clock
        self._config = config
        self._network = network
        self._stack = contextlib.AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: StationServer

    async def start(self) -> None:
        """Start, and listen."""
        self.services = await open_services(self._config, self.clock, self.events, self._stack)
        self._server = StationServer(self.services)
        self._keep(TransactionWatch(self.services).run())
        self._network.listener = lambda socket: self._keep(self._serve(socket))

    async def _serve(self, socket: OcppSocket) -> None:
        try:
            await self._server.serve(socket)
        finally:
            await socket.close()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def kill(self) -> None:
        """End wherever it stands: what is not committed by now never is."""
        self.store.dead = True
        self._network.listener = None
        self._network.cut(near=False)
        await self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self._stack.aclose()

    @property
    def store(self) -> DirectStore:
        """Its database."""
        assert isinstance(self.services.store, DirectStore)
        return self.services.store


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What a world begins with: its drivers, their `seed`, the time of day, the station's variables and version."""

    behaviour: Behaviour
    seed: int
    utc_ms: int
    variables: Mapping[str, str] = msgspec.field(default_factory=dict)
    version: Version = "2.1"


class World:
    """One station, one back end and what is between them."""

    def __init__(
        self, setting: Setting, station: MortalStation, back_end: BackEnd, network: Network, clock: JumpingClock
    ) -> None:
        self.setting = setting
        self.station = station
        self.back_end = back_end
        self.network = network
        self.clock = clock

    async def settle(self, patience_s: float = 6 * 3600) -> None:
        """Let everything be well and nobody come any more, until all that happened is reported."""
        self.network.heal()
        self.network.weather = type(self.network.weather)()
        quiet = msgspec.structs.replace(self.station.site.behaviour, arrivals_per_hour=0, faults_per_day=0)
        self.station.site.behaviour = quiet
        for bay in self.station.site.bays.values():
            if bay.phase == "free":
                bay.due_ms = 10**15
        end = clocks.monotonic() + patience_s
        while not self.station.settled:
            assert clocks.monotonic() < end, f"still open: {self.station.site.bays} {self.station.runner.core.outbox}"
            await asyncio.sleep(20)


@contextlib.asynccontextmanager
async def world(folder: Path, config: CsmsConfig, setting: Setting) -> AsyncIterator[World]:
    """Put everything together; `config` has its database already."""
    clock, network = JumpingClock(setting.utc_ms), Network()
    opened, connect = csms_app.open_store, runner.connect
    csms_app.open_store = lambda url, data_dir: DirectStore(url or f"sqlite:///{data_dir / 'csms.sqlite3'}")
    runner.connect = network.connect  # type: ignore[assignment]
    back_end = BackEnd(config, JumpingClock(setting.utc_ms), network)
    try:
        await back_end.start()
        back_end.store.do(tariffs.add_plan, _PLAN, setting.utc_ms)
        back_end.store.do(tariffs.assign, tariffs.Scope(), _PLAN.id, setting.utc_ms)
        behaviour, versions = setting.behaviour, (setting.version,)
        fleet = StationFleet(url="ws://csms/ocpp", behaviour=behaviour, seed=setting.seed, versions=versions)
        station = MortalStation("CS-1", fleet, clock, folder / "station.sqlite3", network, setting.variables)
        running = asyncio.create_task(station.run())
        try:
            yield World(setting, station, back_end, network, clock)
        finally:
            await cancel_tasks(running)
            await station.close()
            await back_end.kill()
    finally:
        csms_app.open_store, runner.connect = opened, connect


_PLAN: Final = PricePlan(id="flat", currency="EUR", energy=Charge(rates=(Rate(price=str(PRICE)),)))


def stamp(event: TransactionEventRequest) -> int:
    """Return the time that an event says."""
    return parse_time(event.timestamp)
