"""Sends the outbox to the back end, and deletes what the back end has stored (R98)."""

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Sequence
from typing import Final

from v2g.errors import CodecError, TransportError
from v2g.io.runtime.supervision import Backoff
from v2g.io.storage.outbox import BEGINNING, Outbox, Row
from v2g.observe import Observe
from v2g.telemetry.delivery import MAX_BATCH, Mark, Notice, encode_delivery, encode_notice
from v2g.telemetry.signals import decode_key
from v2g_gateway.uplink import Uplink

ANSWER_S: Final = 5.0
"""Timeout of the back end's answer about which records have arrived."""

STALL_S: Final = 5.0
"""After so long without progress the back end is asked again."""

LAST_PAUSE_S: Final = 0.2
"""Retry interval while the gateway shuts down."""

FIRST_WINDOW: Final = 100
LARGEST_WINDOW: Final = 4000
"""Records in flight: at first, and once the back end has kept up."""

NOTICE_BYTES: Final = 256
"""Maximum size of a notice in a delivery, octets."""


class Delivery:
    """Sends the outbox to the back end, following its high-water marks (R98).

    It asks which records have arrived, sends the later ones, and deletes those covered by a mark; a broker's
    acknowledgements do not count. Without progress it asks again at growing intervals, so that only short questions are
    sent in vain while the back end is away.
    """

    def __init__(self, ev: str, outbox: Outbox, observe: Callable[[Observe], None]) -> None:
        self._ev, self._outbox, self._observe = ev, outbox, observe
        self._news, self._empty, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._received: dict[int, Mark] = {}
        self._expected: dict[int, int] = {}
        """By boot: the next number that the back end expects, if known. Earlier records are not missing."""
        self._problem: str | None = None
        self.stored = 0
        """Records that the back end has stored since the start."""

    def on_marks(self, marks: Sequence[Mark]) -> None:
        """Handle the back end's marks."""
        self._received |= {mark.boot: mark for mark in marks}
        self._news.set()

    def wake(self) -> None:
        """A record was added to the outbox."""
        self._empty.clear()
        self._news.set()

    async def drain(self) -> None:
        """Return when the back end has everything; from now on retries come soon."""
        self._closing.set()
        await self._empty.wait()

    async def run(self, uplink: Uplink) -> None:
        """Deliver until cancelled. Raises StoreError."""
        backoff = Backoff(1.0, 60.0)
        while True:
            try:
                await self._something_to_do()
                await self._ready(uplink)
                await self._resume(uplink)
                self._tell("")
                await self._send(uplink, backoff)
            except TransportError as error:
                self._tell(str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.pause_s() * random.uniform(0.5, 1.0)):  # noqa: S311 - not all at once
                    await self._closing.wait()
                    await asyncio.sleep(LAST_PAUSE_S)

    def _tell(self, problem: str) -> None:
        """Report a change: why delivery fails, or that it works again."""
        if problem and problem != self._problem:
            self._observe(Observe("telemetry", "waiting", {"reason": problem}))
        elif not problem and self._problem:
            self._observe(Observe("telemetry", "resumed"))
        self._problem = problem

    async def _something_to_do(self) -> None:
        self._news.clear()
        while not await self._outbox.waiting():
            self._empty.set()
            await self._news.wait()
            self._news.clear()

    async def _ready(self, uplink: Uplink) -> None:
        while True:
            try:
                return await uplink.ready()
            except TransportError as error:
                self._tell(str(error))

    async def _resume(self, uplink: Uplink) -> None:
        """Ask for the back end's mark of each boot, delete what it has, and report records lost from whole boots."""
        waiting = {each.boot: each for each in (await self._outbox.waiting())[:MAX_BATCH]}
        self._received.clear()
        await self._notify(uplink, [Notice(self._ev, boot) for boot in waiting])
        try:
            async with asyncio.timeout(ANSWER_S):
                while not waiting.keys() <= self._received.keys():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise TransportError("the back end does not answer") from None
        gone = []
        for boot, left in waiting.items():
            reached = self._received[boot].contiguous
            self._expected[boot] = reached + 1
            if left.first is None and left.dropped > reached:
                gone.append(Notice(self._ev, boot, ((reached + 1, left.dropped),)))
        if gone:
            await self._notify(uplink, gone)

    async def _notify(self, uplink: Uplink, notices: Sequence[Notice]) -> None:
        await uplink.send(encode_delivery(map(encode_notice, notices)))

    async def _send(self, uplink: Uplink, backoff: Backoff) -> None:
        """Send waiting and new records. Raises TransportError: the connection failed, or there is no progress."""
        window, under_way, position = FIRST_WINDOW, 0, BEGINNING
        stalls_at = math.inf
        now = asyncio.get_running_loop().time
        while True:
            self._news.clear()
            received, self._received = self._received, {}
            forgotten = 0
            for mark in received.values():
                done = await self._outbox.confirm(mark.boot, mark.contiguous, position)
                forgotten, under_way = forgotten + done.forgotten, done.before
            if forgotten:
                self.stored += forgotten
                backoff.reset()
                window = min(window * 2, LARGEST_WINDOW)
            if forgotten or not under_way:
                stalls_at = now() + STALL_S if under_way else math.inf
            limit = min(window - under_way, MAX_BATCH - 2)
            rows = await self._outbox.pending(position, limit, uplink.max_bytes - NOTICE_BYTES) if limit > 0 else []
            if rows:
                await uplink.send(self._frame(rows))
                position, under_way = rows[-1].position, under_way + len(rows)
                stalls_at = min(stalls_at, now() + STALL_S)
                continue
            if not under_way:
                self._empty.set()
            try:
                async with asyncio.timeout_at(None if stalls_at == math.inf else stalls_at):
                    await self._news.wait()
            except TimeoutError:
                raise TransportError("the back end stores no records") from None

    def _frame(self, rows: Sequence[Row]) -> bytes:
        """Return a delivery of records of one boot, with notices of missing numbers."""
        boot, elements = rows[0].boot, []
        expected = self._expected.get(boot, 1)

        def skip_to(seq: int) -> None:
            if seq > expected:
                elements.append(encode_notice(Notice(self._ev, boot, ((expected, seq - 1),))))

        for row in rows:
            if self._readable(row):
                skip_to(row.seq)
                elements.append(row.body)
                expected = row.seq + 1
        last = rows[-1].seq + 1
        skip_to(last)
        self._expected[boot] = last
        return encode_delivery(elements)

    def _readable(self, row: Row) -> bool:
        """Return whether a record is as it was put into the outbox: a damaged one must not spoil a delivery."""
        with contextlib.suppress(CodecError):
            key = decode_key(row.body)
            if (key.ev, key.boot, key.seq) == (self._ev, row.boot, row.seq):
                return True
        self._observe(Observe("telemetry", "record_unreadable", {"boot": row.boot, "seq": row.seq}))
        return False
