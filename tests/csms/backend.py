"""A back end without network: real services, store and sessions, a clock that the test sets."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from csms.admission.rules import SecurityProfile
from csms.admission.store import list_faults
from csms.admission.work import StationAdmissions
from csms.app import open_services
from csms.cluster.bus import Bus
from csms.config import CsmsConfig
from csms.ocpp.server import StationServer
from csms.services import Services
from tests.csms.scripted_station import ScriptedStation, Wire
from tests.csms.support import provide
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.websocket.client import OcppSocket
from v2g.observe import Observe
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version

BOOT = {"reason": "PowerUp", "chargingStation": {"model": "Scripted", "vendorName": "Tests"}}


def daytime_ms() -> int:
    """Return the time (UTC ms); from four hours before midnight to three after it, seven hours later.

    What a test lets pass, it lets pass on one day, whenever it is run. Certificates made now are valid then.
    """
    now_ms = time.time_ns() // 1_000_000
    return now_ms if 3 <= now_ms // 3_600_000 % 24 < 20 else now_ms + 7 * 3_600_000


class TestClock(Clock):
    """UTC is what the test says; deadlines run on the real clock."""

    __test__ = False

    def __init__(self, utc_ms: int) -> None:
        super().__init__()
        self.now_ms = utc_ms
        self._since: float | None = None

    def utc_ms(self) -> int:
        """Return the test's time."""
        passed_s = 0.0 if self._since is None else self.monotonic() - self._since
        return self.now_ms + int(passed_s * self.scale * 1000)

    def start(self, scale: float = 1.0) -> None:
        """From now on also let UTC pass, `scale` times as fast as the clock of deadlines."""
        self.scale, self._since = scale, self.monotonic()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ms += round(seconds * 1000)


class Events(EventLog):
    """What the back end reports, kept in a list."""

    def __init__(self, clock: Clock) -> None:
        super().__init__("csms", clock)
        self.reported: list[Observe] = []

    def __call__(self, event: Observe) -> None:
        """Keep an event."""
        self.reported.append(event)

    def named(self, name: str) -> list[Observe]:
        """Return every event of that name so far."""
        return [each for each in self.reported if each.name == name]


class Backend:
    """A CSMS and the stations that a test joins to it."""

    def __init__(self, services: Services, server: StationServer, clock: TestClock, events: Events) -> None:
        self.services = services
        self.server = server
        self.clock = clock
        self.events = events
        self._sessions: dict[ScriptedStation, asyncio.Task[None]] = {}

    async def join(
        self, identity: str = "CS-V2G-0001", version: Version = "2.0.1", profile: SecurityProfile = 3
    ) -> ScriptedStation:
        """Connect a station, as after a handshake that succeeded."""
        wire = Wire()
        session = asyncio.create_task(self.server.serve(OcppSocket(wire, identity, version), profile))
        station = ScriptedStation(wire, identity, version)
        self._sessions[station] = session
        await wire.served(session)
        return station

    async def booted(self, identity: str = "CS-V2G-0001", version: Version = "2.0.1") -> ScriptedStation:
        """Connect a station and bring it to the state Booted of the test cases: accepted, one EVSE Available."""
        station = await self.join(identity, version)
        assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
        status = {"evseId": 1, "connectorId": 1, "connectorStatus": "Available", "timestamp": "2026-01-01T00:00:00Z"}
        await station.call("StatusNotification", status)
        return station

    async def leave(self, station: ScriptedStation) -> None:
        """Let the connection of a station end."""
        await station.disconnect()
        await asyncio.wait_for(self._sessions.pop(station), 60)

    async def call(self, station: ScriptedStation, request: Message) -> Any:
        """Send a request from the back end; return the station's answer. Raises V2GError."""
        return await self.services.connections.call(station.id, request)

    async def faults(self, station_id: str | None = None) -> list[dict[str, Any]]:
        """Return failed connection attempts."""
        await self.services[StationAdmissions].flush()
        return await self.services.store.read(list_faults, station_id=station_id)

    async def close(self) -> None:
        """Disconnect every station; fails for frames that should not have been sent."""
        for station, session in self._sessions.items():
            await station.disconnect()
            await asyncio.wait_for(session, 60)


@contextlib.asynccontextmanager
async def running_backend(
    config: CsmsConfig, database: Path, utc_ms: int, bus: Bus | None = None
) -> AsyncIterator[Backend]:
    """Open the services on a copy of an empty `database`, which spares migrating it."""
    provide(database, config)
    clock = TestClock(utc_ms)
    events = Events(clock)
    async with contextlib.AsyncExitStack() as stack:
        services = await open_services(config, clock, events, stack, bus)
        backend = Backend(services, StationServer(services), clock, events)
        stack.push_async_callback(backend.close)
        yield backend
