"""Back ends in processes of their own that can be killed: services, store and sessions, on plain WebSocket.

They are forked from a server that has imported everything, so that one starts in a few milliseconds.
"""

import asyncio
import contextlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from csms.app import open_services
from csms.background import background
from csms.config import ApiListener, CsmsConfig, OcppListener, SettlementRules, Trust
from csms.ocpp.server import StationServer
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.websocket.server import serve

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
        server = await serve("127.0.0.1", port, StationServer(services).serve, context=None)
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


@contextlib.contextmanager
def no_survivors() -> Iterator[None]:
    """Kill whatever still runs at the end, however a test ended."""
    try:
        yield
    finally:
        for process in multiprocessing.active_children():
            process.kill()
            process.join()
