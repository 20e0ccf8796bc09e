"""Power commands go first: reports wait while one is on its way, and a slow station does not delay the others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Final, TypeVar

from v2g.io.runtime.supervision import wait_at_most

LONGEST_S: Final = 2.0
"""How long commands keep reports waiting: one to a station that does not answer takes longer."""

REST_S: Final = 0.25
"""How long reports go on at least before the next commands keep them waiting."""

MOST: Final = 250
"""Records of reports that may be under way at once; a larger report goes alone."""


class Precedence:
    """Which work of this node waits for which. `command` and `report` are used in its event loop."""

    def __init__(self, *, longest_s: float = LONGEST_S, most: int = MOST) -> None:
        self._longest_s, self._most = longest_s, most
        self._commands = 0
        self._until = 0.0
        self._under_way = 0
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()

    @contextlib.contextmanager
    def command(self) -> Iterator[None]:
        """Send a power command: reports that have not begun wait until it is over."""
        now = asyncio.get_running_loop().time()
        if now >= self._until + REST_S:
            self._until = now + self._longest_s
        self._commands += 1
        try:
            yield
        finally:
            self._commands -= 1
            if not self._commands:
                self._until = min(self._until, asyncio.get_running_loop().time())
                self._changed.set()

    @contextlib.asynccontextmanager
    async def report(self, records: int) -> AsyncIterator[None]:
        """Store a report of so many records, in its turn."""
        async with self._turn:
            while (wait_s := self._wait_s(records)) != 0:
                self._changed.clear()
                await wait_at_most(wait_s, self._changed.wait())
            self._under_way += records
        try:
            yield
        finally:
            self._under_way -= records
            self._changed.set()

    def _wait_s(self, records: int) -> float | None:
        """Return how long a report waits at most: 0 for not at all, None until something changes."""
        left_s = self._until - asyncio.get_running_loop().time()
        if self._commands and left_s > 0:
            return left_s
        return None if self._under_way and self._under_way + records > self._most else 0


T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Final = 100
"""Limit of stations handled at once."""


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """Run `work` for every item, many at a time; return the results in the items' order. Raises what `work` raises."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(item: T) -> R:
        async with places:
            return await work(item)

    return list(await asyncio.gather(*map(one, items)))
