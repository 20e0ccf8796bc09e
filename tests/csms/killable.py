"""Back ends in processes of their own that can be killed: services, store and sessions alone, or the whole program.

The former are on plain WebSocket, and forked from a server that has imported everything, so that one starts in a few
milliseconds. The latter is `v2g csms` with its configuration, on TLS, where stations have passwords.
"""

import asyncio
import contextlib
import json
import multiprocessing
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import websockets
from websockets.typing import Subprotocol

from csms.app import open_services
from csms.background import background
from csms.config import ApiListener, CsmsConfig, OcppListener, StationEntry, Trust
from csms.direct_payments.work import settle_direct_payments
from csms.ocpp.server import StationServer
from csms.settlements.rules import SettlementRules
from pki_tools.tree import PkiTree
from tests.csms.network import basic
from tests.csms.program import write_config
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.websocket.server import serve

PASSWORD: Final = "password of a station"
_PROGRAMS: Final[list[subprocess.Popen[bytes]]] = []
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])


def config_of(folder: Path, store_url: str, root: Path, bus_url: str = "") -> CsmsConfig:
    """A configuration that takes every station; `root` is some root of contracts, other certificates are not used."""
    return CsmsConfig(
        data_dir=folder / "data",
        store_key=folder.parent / "store.key" if bus_url else None,
        store_url=store_url,
        bus_url=bus_url,
        ocpp=OcppListener(certificate=root, key=root, client_roots=(root,), call_timeout_s=5.0),
        api=ApiListener(certificate=root, key=root),
        trust=Trust(roots=(root,)),
        settlement=SettlementRules(unsigned_feed_in=True, unsigned_contracts=True),
        unknown_stations="accept",
    )


async def _serve(config: CsmsConfig, port: int, started: Connection) -> None:
    clock = Clock(config.clock)
    async with contextlib.AsyncExitStack() as stack:
        services = await open_services(config, clock, EventLog("csms", clock), stack)
        await stack.enter_async_context(background(services))
        if config.payments.direct is not None:
            paying = asyncio.create_task(settle_direct_payments(services, config.payments.direct))
            stack.callback(paying.cancel)
        stations = StationServer(services)
        server = await serve("127.0.0.1", port, stations.serve, context=None, versions=("2.1", "2.0.1", "1.6"))
        started.send(server.port)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


def _main(config: CsmsConfig, port: int, started: Connection) -> None:
    asyncio.run(_serve(config, port, started))


class BackendProcess:
    """A back end that runs until it is killed; `changes` are to `config_of`."""

    def __init__(
        self, folder: Path, store_url: str, root: Path, bus_url: str = "", port: int = 0, **changes: Any
    ) -> None:
        self.store_url = store_url
        config = msgspec.structs.replace(config_of(folder, store_url, root, bus_url), **changes)
        here, there = _FORKS.Pipe()
        self._process = _FORKS.Process(target=_main, args=(config, port, there), daemon=True)
        self._process.start()
        there.close()
        assert here.poll(600), "the back end does not start"
        self.port: int = here.recv()
        here.close()

    def kill(self) -> None:
        """kill -9."""
        self._process.join(0)
        assert self._process.exitcode is None, f"the back end has ended by itself: {self._process.exitcode}"
        self._process.kill()
        self._process.join()

    @staticmethod
    def connect(port: int, station: str, _pki: PkiTree) -> websockets.connect:
        """Connect as a station."""
        url = f"ws://127.0.0.1:{port}/ocpp/{station}"
        return websockets.connect(url, subprotocols=[Subprotocol("ocpp2.1")], close_timeout=0.1)


class BackendProgram:
    """`v2g csms` as a process, in place of a `BackendProcess`; it knows some stations by their passwords."""

    def __init__(
        self, folder: Path, store_url: str, root: Path, bus_url: str = "", port: int = 0, *, pki: PkiTree,
        stations: tuple[str, ...], **changes: Any,
    ) -> None:  # fmt: skip
        server = {"certificate": pki.path("csms/server/chain.pem"), "key": pki.path("csms/server/leaf.key")}
        config = msgspec.structs.replace(
            config_of(folder, store_url, root, bus_url),
            ocpp=OcppListener(port=port, security_profile=2, call_timeout_s=5.0, **server),
            api=ApiListener(port=0, **server),
            stations=tuple(StationEntry(id=each, password=PASSWORD) for each in stations),
            **changes,
        )
        folder.mkdir(exist_ok=True)
        events, self._log = folder / "events.jsonl", folder / "log"
        events.unlink(missing_ok=True)
        command = [sys.executable, "-m", "v2g_cli", "csms", "--config", str(write_config(folder / "csms.yaml", config))]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*command, "--events", str(events)], stdout=log, stderr=log)
        _PROGRAMS.append(self._process)
        self.port: int = self._wait_for(events, "ready")["ocpp_port"]

    def _wait_for(self, events: Path, name: str) -> dict[str, Any]:
        until = time.monotonic() + 600
        while time.monotonic() < until:
            self._check()
            for line in events.read_bytes().split(b"\n")[:-1] if events.exists() else ():
                if (found := json.loads(line))["name"] == name:
                    data: dict[str, Any] = found["data"]
                    return data
            time.sleep(0.01)
        raise AssertionError(f"no event {name}")

    def _check(self) -> None:
        ended = self._process.poll()
        assert ended is None, f"the back end has ended by itself: {ended}\n{self._log.read_text()[-4000:]}"

    def kill(self) -> None:
        """kill -9."""
        self._check()
        self._process.kill()
        self._process.wait()

    @staticmethod
    def connect(port: int, station: str, pki: PkiTree) -> websockets.connect:
        """Connect as a station."""
        return websockets.connect(
            f"wss://127.0.0.1:{port}/ocpp/{station}",
            subprotocols=[Subprotocol("ocpp2.1")],
            ssl=ssl.create_default_context(cafile=str(pki.path("csms/root.pem"))),
            additional_headers=basic(station, PASSWORD),
            close_timeout=0.1,
        )


@contextlib.contextmanager
def no_survivors() -> Iterator[None]:
    """Kill whatever still runs at the end, however a test ended."""
    try:
        yield
    finally:
        for process in multiprocessing.active_children():
            process.kill()
            process.join()
        while _PROGRAMS:
            program = _PROGRAMS.pop()
            program.kill()
            program.wait()


@pytest.fixture(autouse=True)
def survivors_killed() -> Iterator[None]:
    """Have it so for each test of a module that imports this."""
    with no_survivors():
        yield
