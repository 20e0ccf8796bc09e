"""The grid signal in force: of a watched file or HTTP, or made from what several sources state. Versions only rise."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from csms.db.store import Store
from csms.grid import store as rows
from csms.grid.limits import unbound
from csms.grid.rules import WIDE, Governing, PriceBounds, SiteLimits, SourceSignal, governing
from csms.sites import store as site_store
from csms.sites.rules import Site
from v2g.energy import grid_signal
from v2g.energy.limits import MOST_W
from v2g.errors import CodecError, RefusedError
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe, Scalar

GRID_SIGNAL: Final = "grid_signal"
"""Kind of the feed's event that announces a new signal to other nodes."""


OLD_PRICES: Final = 'prices are integers, read as millionths per kWh; write decimal text instead, such as "0.30"'


class GridSource:
    """Holds the signal in force and passes each new one to `on_change`. Call `load` before anything else."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        observe: EventLog,
        path: Path | None,
        site: SiteLimits | None = None,
        bounds: PriceBounds = WIDE,
    ) -> None:
        self.bounds: Final = bounds
        self._store = store
        self._clock = clock
        self._observe = observe
        self._path = path
        self._site = site
        self._file_state: tuple[int, int, int] | None = None
        self._file_problem = ""
        self._unbound: dict[str, str] = {}
        self._ambiguous: list[str] = []
        self._lock = asyncio.Lock()
        self.current: grid_signal.GridSignal | None = None
        self.on_change: Callable[[grid_signal.GridSignal], None] = lambda _signal: None

    async def load(self) -> None:
        """Load the newest stored signal, then the file's."""
        document = await self._store.run(rows.newest_signal)
        if document is not None:
            self.current = grid_signal.parse_grid_signal(document)
            await self._name_ambiguous(self.current)
        await self.read_file()

    async def take_newest(self) -> None:
        """Load another node's newer signal. Raises StoreError."""
        document = await self._store.read(rows.newest_signal)
        signal = grid_signal.parse_grid_signal(document) if document is not None else None
        if signal is not None and (self.current is None or signal.version > self.current.version):
            self.current = signal
            self.on_change(signal)

    async def watch(self, interval_s: float) -> None:
        """Read the file whenever it has changed, for ever."""
        while True:
            await asyncio.sleep(interval_s)
            await self.read_file()

    async def read_file(self, *, always: bool = False) -> None:
        """Read the file if it is new, or `always`. Errors in it are reported as an event, not raised."""
        if self._path is None:
            return
        try:
            status = self._path.stat()
            state = status.st_mtime_ns, status.st_size, status.st_ino
            if state == self._file_state and not always:
                return
            with self._path.open("rb") as file:
                data = file.read(grid_signal.MAX_SIGNAL_BYTES + 1)
        except OSError as error:
            if str(error) != self._file_problem:
                self._observe(Observe("ocpp", "grid_signal_unreadable", {"reason": str(error)}))
            self._file_state, self._file_problem = None, str(error)
            return
        self._file_state, self._file_problem = state, ""
        try:
            signal = grid_signal.parse_grid_signal(data)
            if signal != self.current:
                await self.offer(signal, "file")
                if grid_signal.has_integer_prices(data):
                    self._observe(Observe("ocpp", "grid_signal_old_prices", {"origin": "file", "reason": OLD_PRICES}))
        except (CodecError, RefusedError) as error:
            self._observe(Observe("ocpp", "grid_signal_refused", {"origin": "file", "reason": str(error)}))

    async def offer(self, signal: grid_signal.GridSignal, origin: str) -> None:
        """Store a signal and put it in force. Raises RefusedError: `old_version` unless its version is higher,
        `price_out_of_bounds`, `unbound` where a limit has no connection point here, or `other_sources` where it is made
        from the sources of the configuration."""
        if self._site is not None:
            names = ", ".join(self._site.sources)
            raise RefusedError(
                f"the grid signal is made from {names}",
                reason="other_sources",
                hint="add a price feed of the format grid-signal, or remove those sources from the configuration",
            )
        if refusal := self.bounds.refusal(signal.slots):
            raise RefusedError(f"grid signal: {refusal}", reason="price_out_of_bounds", hint="are prices per kWh?")
        if refusal := unbound(signal.every_limit, await self._store.read(site_store.all_sites)):
            raise RefusedError(
                f"grid signal: {refusal}",
                reason="unbound",
                hint="add the site with its feeders and EVSEs (PUT /sites/SITE), or leave out connection_point",
            )
        async with self._lock:
            if self.current is not None and signal.version <= self.current.version:
                raise RefusedError(
                    f"grid signal version {signal.version} is not higher than {self.current.version}",
                    reason="old_version",
                    hint="raise the version with every change",
                )
            now_ms = self._clock.utc_ms()
            saved = await self._store.run(rows.save_signal, signal.version, signal.to_json(), origin, now_ms)
            if saved:
                self.current = signal
        if not saved:
            await self.take_newest()  # another node has it, or a newer one
            return
        await self._name_ambiguous(signal)
        self._announce(signal, origin, Governing(import_source=origin, export_source=origin))

    async def state(self, stated: SourceSignal) -> int:
        """Take what a source of the configuration states, and put in force what follows from all; return when (UTC ms).

        Raises StoreError.
        """
        assert self._site is not None
        site, sites = self._site, await self._store.read(site_store.all_sites)
        if self._is_unbound("grid.connection_point", site.connection_point, sites):
            # the strictest meaning, until there is one
            site = msgspec.structs.replace(site, connection_point=grid_signal.ALL)
        own = stated.connection_point
        if own is not None and self._is_unbound(stated.source, own, sites):
            stated = msgspec.structs.replace(stated, connection_point=grid_signal.ALL)
        async with self._lock:
            now_ms = self._clock.utc_ms()
            signal = await self._store.run(rows.save_source, site, stated, now_ms)
            if signal is not None:
                self.current = signal
        if signal is None:
            await self.take_newest()
        else:
            self._announce(signal, stated.source, governing(self._site, await self.stated(), now_ms))
        return now_ms

    def _is_unbound(self, whose: str, point: grid_signal.ConnectionPoint, sites: Sequence[Site]) -> bool:
        """Return whether no site has a connection point; that is reported once."""
        refusal = unbound((grid_signal.GridLimit(connection_point=point, direction="import", limit_w=0),), sites)
        if refusal and refusal != self._unbound.get(whose):
            self._observe(Observe("ocpp", "grid_limit_unbound", {"reason": f"{whose}: {refusal}"}))
        self._unbound[whose] = refusal
        return bool(refusal)

    async def stated(self) -> list[SourceSignal]:
        """Return what each source states; empty without sources in the configuration. Raises StoreError."""
        return [] if self._site is None else await self._store.read(rows.source_signals, self._site)

    async def governing(self) -> Governing | None:
        """Return the sources whose limits are the lowest; None without sources. Raises StoreError."""
        return None if self._site is None else governing(self._site, await self.stated(), self._clock.utc_ms())

    async def _name_ambiguous(self, signal: grid_signal.GridSignal) -> None:
        """Report limits that name no connection point where there are sites: they hold over all stations together."""
        sites = [site.id for site in await self._store.read(site_store.all_sites)]
        ambiguous = sites if signal.connection_point == grid_signal.ALL and signal.site_import_limit_w < MOST_W else []
        if ambiguous and ambiguous != self._ambiguous:
            data: dict[str, Scalar] = {"version": signal.version, "sites": ", ".join(sites)[:200]}
            self._observe(Observe("ocpp", "grid_limit_ambiguous", data))
        self._ambiguous = ambiguous

    def _announce(self, signal: grid_signal.GridSignal, origin: str, by: Governing) -> None:
        self._observe(
            Observe(
                "ocpp",
                "grid_signal_received",
                {
                    "version": signal.version,
                    "origin": origin,
                    "import_limit_w": signal.site_import_limit_w,
                    "import_source": by.import_source,
                    "export_limit_w": signal.export_limit_w,
                    "export_source": by.export_source,
                },
            )
        )
        self.on_change(signal)
