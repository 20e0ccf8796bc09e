"""Puts the CSMS together: store, sources, servers; and takes it apart in good order."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from csms.api import Api
from csms.config import CsmsConfig, load_config
from csms.contracts import ContractJudge
from csms.core.authorize import Token, normalise
from csms.desk import Services
from csms.grid_source import GridSource
from csms.ingest import Ingest
from csms.journals import JournalArchive
from csms.rows import stations
from csms.server import StationServer
from csms.store import open_sqlite
from csms.subscriber import TelemetrySubscriber
from v2g.errors import TransportError
from v2g.net.clock import Clock
from v2g.net.events import EventLog
from v2g.net.program import run
from v2g.observe import Observe


class Csms:
    """A back end that is running: where it listens (`ports`, by `ocpp` and `api`) and its parts."""

    def __init__(self, ports: dict[str, int], services: Services, stations: StationServer) -> None:
        self.ports = ports
        self.grid = services.grid
        self.journals = services.journals
        self._stations = stations
        self._poll_interval_s = services.config.grid.poll_interval_s

    def connected(self) -> frozenset[str]:
        """Return the identities of connected stations."""
        return self._stations.connected()

    async def run(self) -> None:
        """Work until cancelled. SIGHUP reads the grid signal's file again."""
        loop, reload = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, reload.set)
        watch = asyncio.create_task(self.grid.watch(self._poll_interval_s))
        try:
            while True:
                await reload.wait()
                reload.clear()
                await self.grid.read_file(always=True)
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            watch.cancel()


@contextlib.asynccontextmanager
async def running(config: CsmsConfig, events: Path | None = None) -> AsyncIterator[Csms]:
    """Open the store, take up what was left, listen; afterwards finish what is under way. Raises V2GError."""
    clock = Clock(config.clock)
    observe = EventLog("csms", clock, events)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(observe.close)
        services = await _services(config, clock, observe, stack)
        server = StationServer(services)
        services.grid.on_change = lambda _signal: server.signal_changed()
        ingest = Ingest(services.store, clock, observe)
        api = Api(config.api, services.store, services.grid, ingest, server, observe)
        try:
            stack.push_async_callback(api.close)
            api_port = await api.start()
            stack.push_async_callback(server.close)
            ocpp_port = await server.start()
        except OSError as error:
            raise TransportError(f"cannot listen: {error}", hint="is the port taken? 0 picks a free one") from None
        if config.mqtt is not None:
            subscriber = TelemetrySubscriber(config.mqtt, ingest, observe)
            stack.push_async_callback(subscriber.close)
            await subscriber.start()
        observe(Observe("ocpp", "ready", {"ocpp_port": ocpp_port, "api_port": api_port}))
        stack.callback(lambda: observe(Observe("ocpp", "stopping")))
        yield Csms({"ocpp": ocpp_port, "api": api_port}, services, server)


async def _services(config: CsmsConfig, clock: Clock, observe: EventLog, stack: contextlib.AsyncExitStack) -> Services:
    """Open everything that stations share; `stack` closes it."""
    contracts = ContractJudge(config.trust, clock)
    stack.push_async_callback(contracts.close)
    data_dir = config.data_dir
    store = open_sqlite(data_dir / "csms.sqlite3")
    stack.callback(store.close)
    await store.run(stations.replace_tokens, _tokens(config))
    journals = JournalArchive(data_dir / "journals", store, clock, observe)
    stack.callback(journals.close)
    await journals.recover()
    grid = GridSource(store, clock, observe, config.grid.signal_file)
    await grid.load()
    return Services(
        config=config,
        store=store,
        clock=clock,
        observe=observe,
        grid=grid,
        contracts=contracts,
        journals=journals,
    )


def main(config_path: Path, events: Path | None) -> int:
    """Run a back end until SIGTERM or SIGINT; return the exit code."""
    return run(lambda: load_config(config_path), lambda config: config.log_level, lambda config: serve(config, events))


async def serve(config: CsmsConfig, events: Path | None) -> int:
    """Run a CSMS until it is cancelled (SIGTERM, SIGINT)."""
    async with running(config, events) as csms:
        await csms.run()
    return 0


def _tokens(config: CsmsConfig) -> list[Token]:
    return [
        Token(entry.type, normalise(entry.type, entry.id_token), entry.status, entry.energy_transfer)
        for entry in config.tokens
    ]
