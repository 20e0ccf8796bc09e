"""What must hold for whatever a station may send a back end: an answer by OCPP, and a back end that goes on."""

import asyncio
import atexit
import contextlib
import logging
import random
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from csms.db.store import open_sqlite
from pki_tools.tree import make_pki
from tests.csms.backend import Backend, running_backend
from tests.csms.scripted_station import Refused, ScriptedStation
from tests.csms.support import make_config
from tests.fuzz.ocpp import VERSIONS, is_handled, request, requests
from tests.station.bench import START_MS
from v2g.ocpp.routes import UNCONFIRMED, Version

_STEPS: Final = 6
_LIFE: Final = 500
"""Inputs after which another back end is started: what it has stored would slow it down."""


class _Log(logging.Handler):
    """Keeps exceptions that were logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(self.format(record))


class HostileStations:
    """A back end with a station of each version, in this process, on a loop of its own."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp())
        atexit.register(self.close)
        self._pki = make_pki(self._folder / "pki", now=datetime.now(UTC))
        self._empty = self._folder / "empty.sqlite3"
        open_sqlite(self._empty).close()
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._log = _Log()
        self._used = 0
        self._backend: Backend | None = None

    def close(self) -> None:
        """End it."""
        self._runner.run(self._stack.aclose())
        self._runner.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def attack(self, data: bytes) -> None:
        """Send requests that the octets choose. Raises AssertionError for a defect."""
        logging.getLogger().addHandler(self._log)
        try:
            self._runner.run(self._attack(random.Random(data)))
        finally:
            logging.getLogger().removeHandler(self._log)
        assert not self._log.found, self._log.found.pop()

    async def _attack(self, chance: random.Random) -> None:
        version = chance.choice(VERSIONS)
        station = await self._station(version)
        assert self._backend is not None
        failed: list[tuple[str, object]] = []
        for _ in range(_STEPS):
            action, payload = request(chance.choice(requests(version)), version, chance)
            if action in UNCONFIRMED:
                station.push([6, "s", action, payload])
                continue
            if not is_handled(action, payload, version):
                continue
            try:
                await station.call(action, payload)
            except Refused as refused:
                failed += [(action, payload)] if refused.code == "InternalError" else []
        assert not failed
        self._backend.clock.advance(chance.choice((0, 1, 70, 86_400)))
        told = self._backend.events.reported
        assert not [each.data for each in told if each.declaration.defect]
        told.clear()

    async def _station(self, version: Version) -> ScriptedStation:
        """Return a station that was just accepted: what was said about it before is part of the attack."""
        if self._backend is None or self._used >= _LIFE:
            await self._stack.aclose()
            self._used = 0
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            config = make_config(folder, self._pki)
            self._backend = await self._stack.enter_async_context(running_backend(config, self._empty, START_MS))
        self._used += 1
        station = await self._backend.booted(version=version)
        station.refuses_others = True
        return station


@cache
def _stations() -> HostileStations:
    return HostileStations()


def hostile_station(data: bytes) -> None:
    """A station sends what its schemas allow, at their edges: each request has an answer, and nothing fails."""
    _stations().attack(data)


def hostile_station_seeds() -> list[bytes]:
    """Return the beginnings of choices."""
    return [bytes((number, number)) for number in range(20)]


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]] = {
    "hostile-station": (hostile_station, hostile_station_seeds)
}
