"""What several tests of station use."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from secc.station.device import Premises
from secc.station.station import ChargerStation, MeterSample, StationConfig
from tests.secc.backend import Backend, backend
from tests.station.no_charger import NoCharger
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.observe import Observe
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.kernel.kernel import StationCommand

C = TypeVar("C", bound=StationCommand)
IDENTITY = "CS-V2G-0001"


class Recorder(NoCharger):
    """A charger that takes down what it is to do."""

    able = frozenset({"remote_start", "reset"})

    def __init__(self) -> None:
        self.commands: list[StationCommand] = []
        self.reachable: list[bool] = []
        self.unlockings: list[int] = []
        self.sample: MeterSample | None = None
        self.store_has_failed = asyncio.Event()

    def carry_out(self, command: StationCommand) -> bool:
        """Take a command down."""
        self.commands.append(command)
        return False

    async def unlock(self, evse_id: int) -> bool:
        """The lock opens when it was asked twice."""
        self.unlockings.append(evse_id)
        return self.unlockings.count(evse_id) > 1

    def online(self, reachable: bool) -> None:
        """Take down whether there is a back end."""
        self.reachable.append(reachable)

    def meter(self, evse_id: int) -> MeterSample | None:
        """Return the sample that a test has set."""
        return self.sample

    def serves(self, evse_id: int, modes: Sequence[str]) -> bool:
        """The first EVSE can discharge."""
        return evse_id == 1 and "DC_BPT" in modes

    def store_failed(self) -> None:
        """Let a test go on."""
        self.store_has_failed.set()

    def all(self, kind: type[C]) -> list[C]:
        """Return the commands of a kind."""
        return [each for each in self.commands if isinstance(each, kind)]


class Fixture:
    """A station and everything it reported to the program."""

    def __init__(self, path: Path, port: int, **changes: Any) -> None:
        self.events: list[Observe] = []
        self.news = asyncio.Event()
        scale = changes.pop("scale", 1.0)
        premises = changes.pop("premises", Premises())
        self.charger = Recorder()
        charger = changes.pop("charger", self.charger)
        config = StationConfig(
            **{
                "url": f"ws://127.0.0.1:{port}/ocpp",
                "identity": IDENTITY,
                "store": path / "station.db",
                "retry_minimum": 0.02,
                "retry_random_range": 0.0,
                "message_timeout": 2.0,
                **changes,
            }
        )
        self.clock = clock = Clock(ClockConfig(scale=scale))
        self.station = ChargerStation(
            config,
            clock=clock,
            entropy=os.urandom,
            observe=self.observe,
            charger=charger,
            boot_id="boot-1",
            premises=premises,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ChargerStation]:
        """Run the station."""
        task = asyncio.create_task(self.station.run())
        try:
            yield self.station
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.station.close()

    @contextlib.asynccontextmanager
    async def online(self) -> AsyncIterator[ChargerStation]:
        """Run the station; it is connected."""
        async with self.running() as station:
            await station.online.wait()
            yield station

    async def abandon(self) -> None:
        """Let go of the store without the orderly end, once everything is kept."""
        assert self.station.saving is not None
        await self.station.saving
        self.station._store.close()

    def observe(self, event: Observe) -> None:
        """Keep an event and let waiting tests look again, once what it names has happened."""
        self.events.append(event)
        with contextlib.suppress(RuntimeError):  # before the loop runs nobody waits
            asyncio.get_running_loop().call_soon(self.news.set)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has come true; something is observed whenever anything changes."""
        async with asyncio.timeout(60):
            while not condition():
                self.news.clear()
                await self.news.wait()

    @property
    def limits(self) -> list[ProfileLimits]:
        """The limits that the charger was given."""
        return self.charger.all(ProfileLimits)

    def names(self) -> list[str]:
        """The names of what was observed."""
        return [event.name for event in self.events]


def sample(import_mwh: int, export_mwh: int = 0, **changes: Any) -> MeterSample:
    """A meter sample."""
    return MeterSample(utc_ms=1_750_000_000_000, import_mwh=import_mwh, export_mwh=export_mwh, **changes)


@pytest.fixture(params=["ocpp2.0.1", "ocpp2.1"])
async def csms(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async with backend() as found:
        await found.stop()
        found.versions = [request.param]
        await found.start()
        yield found
