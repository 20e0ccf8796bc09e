"""Sends the outbox to the back end, and deletes what the back end has stored (R98).

New records are sent at once, and important ones of before first; the rest of an outage follows beside them, in
deliveries so small that new records do not wait noticeably behind them (R102).
"""

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from v2g.errors import CodecError, TransportError
from v2g.io.runtime.supervision import Backoff, cancel_tasks, child
from v2g.io.storage.outbox import BEGINNING, END, BootName, Outbox, OutboxRow, Position
from v2g.observe import Observe
from v2g.rates import Bucket, spend, take
from v2g.telemetry.batch import BURST, PROMPT_S
from v2g.telemetry.delivery import MAX_BATCH, DeliveryNotice, Mark, encode_delivery, encode_notice
from v2g.telemetry.priority import LOW_RATE, Priority
from v2g.telemetry.signals import decode_key, decode_record, encode_record
from v2g_gateway.uplink import READY_S, Uplink

LAST_PAUSE_S: Final = 0.2
"""Retry interval while the gateway shuts down."""

FIRST_WINDOW: Final = 400
LARGEST_WINDOW: Final = 16_000
"""Records of backfill in flight: always, about what the smallest deliveries hold in the compact form, so that a link
with seconds of delay carries more than a vehicle makes; and once the back end has kept up."""

STORED_S: Final = 0.5
"""A back end that stores records within this time keeps up."""

_STILL_NEW: Final = 2000
"""So many records that were new before an interruption are sent ahead of older ones after it."""

NOTICE_BYTES: Final = 256
"""Maximum size of a notice in a delivery, octets."""

_MOST_ASKED: Final = 200
"""Boots in a query, so that it is small enough for any broker."""

_MOST_NAMED: Final = 8
"""Earlier boots that a delivery names; with more that the back end does not know, it is asked."""

_ROWS: Final = (MAX_BATCH - _MOST_NAMED) // 2 - 1
"""Records in a delivery: each may have a notice before it, beside those of boots' ids."""

_LEAST_BYTES: Final = 4096
_DELAY_S: Final = 0.1
"""Backfill may keep the connection busy for so long before a new record can be sent."""

_MOST_FRONTS: Final = 64
"""With more gaps at the back end, records are sent in order only, until gaps have closed."""


Encode = Callable[[Sequence[bytes]], bytes]
"""Returns records and notices as one delivery."""


class UplinkPace:
    """Size of backfill deliveries: grows while they take no longer than the fastest one and 0.1 s, else halves.

    Like the congestion control of background transfers (LEDBAT, RFC 6817), it judges by delay, not by loss.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._fastest_s = math.inf
        self.size = min(_LEAST_BYTES * 4, largest)
        """Maximum size of the next delivery, octets."""

    def took(self, seconds: float) -> None:
        """A delivery was acknowledged by the broker, or by the back end over HTTP, after so long."""
        self._fastest_s = min(self._fastest_s, seconds)
        if seconds <= self._fastest_s + _DELAY_S:
            self.size = min(self.size * 2, self._largest)
        else:
            self.size = max(self.size // 2, min(_LEAST_BYTES, self._largest))


class Timeout:
    """How long to wait for the back end: by the round trips so far, as TCP's retransmission timer (RFC 6298).

    What is sent again too early fills a slow link with duplicates, until nothing new arrives.
    """

    def __init__(self, least_s: float = 5.0, most_s: float = 60.0) -> None:
        self._least_s, self._most_s = least_s, most_s
        self._smooth_s, self._deviation_s = 0.0, 0.0
        self.seconds = least_s
        """After so long without an answer or progress the back end is asked again."""

    def took(self, seconds: float) -> None:
        """The back end has answered, or stored records, after so long."""
        if not self._smooth_s:
            self._smooth_s, self._deviation_s = seconds, seconds / 2
        else:
            self._deviation_s += (abs(seconds - self._smooth_s) - self._deviation_s) / 4
            self._smooth_s += (seconds - self._smooth_s) / 8
        self.seconds = min(max(self._least_s, self._smooth_s + 4 * self._deviation_s), self._most_s)

    def expired(self) -> None:
        """Nothing came in time."""
        self.seconds = min(2 * self.seconds, self._most_s)


class Cadence:
    """When new records are sent: together every `interval_s`, but with a prompt one among them at once, `PROMPT_S`
    apart. In the mean there are no more deliveries than one in `interval_s`, and up to `burst` beyond that."""

    def __init__(self, interval_s: float, burst: int = BURST) -> None:
        self._burst = burst
        self.interval_s = interval_s
        self.prompt = False
        """Whether a prompt record waits."""
        self._sent_at = -math.inf
        self._bucket: Bucket | None = None

    def due(self, now: float) -> float:
        """Return when the next delivery of new records is due (s, as `now`)."""
        if not self.prompt or not self.interval_s:
            return self._sent_at + self.interval_s
        _, late_s = take(self._bucket, now, per_s=1 / self.interval_s, burst=self._burst)
        return self._sent_at + min(self.interval_s, self.interval_s if late_s else PROMPT_S)

    def sent(self, now: float) -> None:
        """Note that all new records were sent."""
        if self.interval_s:
            self._bucket = spend(self._bucket, now, per_s=1 / self.interval_s, burst=self._burst)
        self._sent_at = now


class _Flight:
    """Records that were sent over a connection, and that no mark covers yet."""

    def __init__(self) -> None:
        self._sent: dict[Position, float] = {}
        self._acked_at = -math.inf
        self.progress_at = -math.inf
        """When a mark covered some, or when the first were sent."""

    def __len__(self) -> int:
        return len(self._sent)

    def __contains__(self, position: Position) -> bool:
        return position in self._sent

    def add(self, rows: Iterable[OutboxRow], now: float) -> None:
        """Count records as sent."""
        if not self._sent:
            self.progress_at = now
        for row in rows:
            self._sent.setdefault(row.position, now)

    def land(self, marks: Mapping[int, Mark], now: float) -> float | None:
        """Remove what marks cover; return how long the newest of it has taken (s), or None."""
        gone = [each for each in self._sent if (mark := marks.get(each[0])) is not None and mark.covers(each[1])]
        if not gone:
            return None
        newest = max(self._sent.pop(each) for each in gone)
        self._acked_at, self.progress_at = max(self._acked_at, newest), now
        return now - newest

    def is_incomplete(self, seconds: float) -> bool:
        """Return whether records have been lost: some that were sent so much later have arrived."""
        return bool(self._sent) and self._acked_at - next(iter(self._sent.values())) > seconds


def _naming(ev: str, name: BootName) -> bytes:
    """Return the notice that says whose boot it is: a query, unless records follow."""
    return encode_notice(DeliveryNotice(ev, name.number, boot_id=name.boot_id))


def _named(row: OutboxRow, name: BootName) -> bytes:
    """Return a record under the number that its boot has at the back end."""
    if row.boot == name.number:
        return row.body
    record = decode_record(row.body)
    if record.trip is not UNSET:
        boot, _, trip = record.trip.partition("-")
        if int(boot) == row.boot:
            record = msgspec.structs.replace(record, trip=f"{name.number}-{trip}")
    return encode_record(msgspec.structs.replace(record, boot=name.number))


class UplinkDelivery:
    """Sends the outbox to the back end, following its high-water marks (R98).

    It asks which records have arrived, sends the others, and deletes those covered by a mark; a broker's
    acknowledgements do not count. Without progress it asks again at growing intervals, so that only short questions are
    sent in vain while the back end is away.
    """

    def __init__(
        self,
        ev: str,
        outbox: Outbox,
        observe: Callable[[Observe], None],
        *,
        encode: Encode = encode_delivery,
        interval_s: float = 0.0,
        burst: int = BURST,
        timeout: Timeout | None = None,
    ) -> None:
        """`interval_s`, `burst`: see `Cadence`; safety and settlement do not wait."""
        self._ev, self._outbox, self._observe, self._encode = ev, outbox, observe, encode
        self._cadence = Cadence(interval_s, burst)
        self._news, self._empty, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._received: dict[int, Mark] = {}
        self._strangers: dict[int, int] = {}
        """Boots with a number that is not theirs at the back end, and the first that is free."""
        self._old_through = END
        self._timeout = timeout or Timeout()
        self._problem: str | None = None
        self.working: Final = asyncio.Event()
        """Set while the back end answers."""
        self.stored = 0
        """Records that the back end has stored since the start."""

    def on_marks(self, marks: Sequence[Mark]) -> None:
        """Handle the back end's marks. One of another outbox's boot says nothing about our records."""
        for mark in marks:
            boot = self._outbox.boot_named(BootName(mark.boot, mark.boot_id))
            if boot is None:
                continue
            if mark.next_boot:
                self._strangers[boot] = mark.next_boot
            else:
                self._received[boot] = msgspec.structs.replace(mark, boot=boot)
        self._news.set()

    def wake(self, *, prompt: bool = False) -> None:
        """A record was added to the outbox, perhaps a prompt one."""
        self._cadence.prompt |= prompt
        self._empty.clear()
        self._news.set()

    async def drain(self) -> None:
        """Return when the back end has everything; from now on retries come soon."""
        self._closing.set()
        self._cadence.interval_s = 0.0
        self._news.set()
        await self._empty.wait()

    def question(self) -> bytes:
        """Return a delivery without records, which the back end answers."""
        return encode_delivery((_naming(self._ev, self._outbox.name(self._outbox.boot)),))

    async def run(self, uplink: Uplink, *, patience_s: float = math.inf) -> None:
        """Deliver until cancelled, or until records have waited for an answer for `patience_s`. Raises StoreError."""
        backoff, now = Backoff(1.0, 60.0), asyncio.get_running_loop().time
        silent_since = now()
        while True:
            try:
                # wait for records; return whether there were none
                self._news.clear()
                waited = False
                while not await self._outbox.waiting():
                    waited = True
                    self._empty.set()
                    await self._news.wait()
                    self._news.clear()
                if waited:
                    silent_since = now()
                try:
                    async with asyncio.timeout_at(None if patience_s == math.inf else silent_since + patience_s):
                        await self._ready(uplink)
                        marks = await self._resume(uplink)
                except TimeoutError:
                    self._report("the back end does not answer")
                    return
                self._report("")
                self.working.set()
                if not self._strangers:
                    await self._deliver(uplink, marks, backoff)
                # give free numbers to boots whose numbers are not theirs at the back end. Nothing of them is there
                if self._strangers:
                    await self._outbox.renumber(self._strangers, max(self._strangers.values()))
                for boot in sorted(self._strangers):
                    facts = {"boot": boot, "number": self._outbox.name(boot).number}
                    self._observe(Observe("telemetry", "boot_renumbered", dict(facts)))
            except TransportError as error:
                self._report(str(error))
            if self.working.is_set():
                silent_since = now()
            self.working.clear()
            pause_s = backoff.pause_s() * random.uniform(0.5, 1.0)  # noqa: S311 - not all at once
            await self._pause(min(pause_s, silent_since + patience_s - now()))

    async def _pause(self, seconds: float) -> None:
        """Wait, while the gateway shuts down only briefly."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._closing.wait()
                await asyncio.sleep(LAST_PAUSE_S)

    def _report(self, problem: str) -> None:
        """Report a change: why delivery fails, or that it works again."""
        if problem and problem != self._problem:
            self._observe(Observe("telemetry", "waiting", {"reason": problem}))
        elif not problem and self._problem:
            self._observe(Observe("telemetry", "resumed"))
        self._problem = problem

    async def _ready(self, uplink: Uplink) -> None:
        now = asyncio.get_running_loop().time
        while True:
            begun = now()
            try:
                return await uplink.ready()
            except TransportError as error:
                self._report(str(error))
            await self._pause(begun + READY_S - now())  # an uplink may fail at once

    async def _resume(self, uplink: Uplink) -> dict[int, Mark]:
        """Ask for the back end's mark of each boot, and return them."""
        boots = [each.boot for each in await self._outbox.waiting()]
        self._received.clear()
        self._strangers.clear()
        for start in range(0, len(boots), _MOST_ASKED):  # the oldest first: the back end takes new ones in their order
            await self._ask(uplink, boots[start : start + _MOST_ASKED])
        return {boot: self._received[boot] for boot in boots if boot in self._received}

    async def _ask(self, uplink: Uplink, boots: Sequence[int]) -> None:
        now = asyncio.get_running_loop().time
        asked_at = now()
        await uplink.send(encode_delivery(_naming(self._ev, self._outbox.name(boot)) for boot in boots))
        try:
            async with asyncio.timeout(self._timeout.seconds):
                while not self._received.keys() | self._strangers.keys() >= set(boots):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            self._timeout.expired()
            raise TransportError("the back end does not answer") from None
        self._timeout.took(now() - asked_at)

    async def _ends(self, marks: dict[int, Mark]) -> list[Position]:
        """Return the last positions of earlier boots that the back end does not know of."""
        earlier = [each for each in await self._outbox.waiting() if each.boot < self._outbox.boot]
        return [
            (each.boot, each.last) for each in earlier if each.boot not in marks or marks[each.boot].highest < each.last
        ]

    async def _deliver(self, uplink: Uplink, marks: dict[int, Mark], backoff: Backoff) -> None:
        """Send waiting and new records until some are lost. Raises TransportError: the connection failed, or there is
        no progress."""
        # the last record that counts as old: as before a short interruption, else the newest
        if len(await self._outbox.pending(self._old_through, _STILL_NEW + 1)) > _STILL_NEW:
            self._old_through = END
        if self._old_through == END:
            self._old_through = await self._outbox.newest()
        old_through = self._old_through
        mark = marks.get(self._outbox.boot)
        in_order = mark is not None and len(mark.beyond) > _MOST_FRONTS and not uplink.low_rate
        if in_order:
            old_through = END
        sending = _Sending(
            self._ev,
            self._outbox,
            uplink,
            self._observe,
            marks,
            [] if uplink.low_rate else await self._ends(marks),
            old_through,
            self._news,
            self._encode,
            self._cadence,
            self._timeout,
        )
        now = asyncio.get_running_loop().time
        try:
            while True:
                self._news.clear()
                if self._strangers:
                    return
                received, self._received = self._received, {}
                forgotten = await sending.land(received)
                if forgotten:
                    self.stored += forgotten
                    backoff.reset()
                if now() >= (stalls_at := sending.stalls_at()):
                    if stalls_at == -math.inf:
                        return
                    self._timeout.expired()
                    raise TransportError("the back end stores no records")
                if await sending.send_some():
                    continue
                if sending.idle and not await self._outbox.waiting():
                    self._empty.set()
                if in_order and sending.caught_up:
                    return  # the gaps have closed: records that come from now on are new
                with contextlib.suppress(TimeoutError):
                    until = min(stalls_at, sending.due())
                    async with asyncio.timeout_at(None if until == math.inf else until):
                        await self._news.wait()
        finally:
            await sending.close()


class _Sending:
    """Sends records over one connection, from three places: old ones that are important, new ones, and the rest.

    First of all the last one of each earlier boot: by that the back end knows that others are missing before later
    boots.
    """

    def __init__(
        self,
        ev: str,
        outbox: Outbox,
        uplink: Uplink,
        observe: Callable[[Observe], None],
        marks: dict[int, Mark],
        ends: list[Position],
        newest: Position,
        news: asyncio.Event,
        encode: Encode,
        cadence: Cadence,
        timeout: Timeout,
    ) -> None:
        """`marks`: the back end's answer to the query. `ends`: of earlier boots. Records up to `newest` are old."""
        self._ev, self._outbox, self._uplink, self._observe = ev, outbox, uplink, observe
        self._marks, self._ends, self._newest, self._news, self._encode = marks, ends, newest, news, encode
        self._cadence, self._held_back = cadence, False
        self._timeout = timeout
        self._important, self._new, self._old = BEGINNING, newest, BEGINNING
        self._important_left, self._old_left = True, not uplink.low_rate
        self._flight, self._backfill = _Flight(), _Flight()
        self._pace, self._window, self._halved_at = UplinkPace(uplink.max_bytes), FIRST_WINDOW, -math.inf
        self._tasks: dict[asyncio.Task[None], float] = {}
        self._old_tasks: set[asyncio.Task[None]] = set()
        self._announced: dict[int, int] = {}
        """Boots of which nothing is left, with the number up to which records were lost."""
        self._announced_at = math.inf
        self._lost = False  # whether the back end has to be asked
        self._now = asyncio.get_running_loop().time

    @property
    def idle(self) -> bool:
        """Whether everything that was sent is stored."""
        return not self._flight and not self._backfill and not self._tasks

    @property
    def caught_up(self) -> bool:
        """Whether all old records are stored."""
        return self.idle and not self._old_left

    def stalls_at(self) -> float:
        """Return when something counts as lost (s, the loop's time); minus infinity: something has been lost."""
        flights = self._flight, self._backfill
        seconds = self._timeout.seconds
        if self._lost or any(each.is_incomplete(seconds) for each in flights):
            return -math.inf
        progress_at = max(each.progress_at for each in flights) if any(map(len, flights)) else math.inf
        return min(progress_at, self._announced_at) + seconds

    async def land(self, received: dict[int, Mark]) -> int:
        """Delete what marks cover; return how many records. Raises TransportError if a delivery has failed."""
        for task in [each for each in self._tasks if each.done()]:
            begun = self._tasks.pop(task)
            if task in self._old_tasks:
                self._old_tasks.remove(task)
                self._pace.took(self._now() - begun)
            task.result()
        self._marks |= received
        forgotten = 0
        for mark in received.values():
            forgotten += await self._outbox.confirm(mark.boot, mark.contiguous, mark.beyond)
            if self._announced.get(mark.boot, math.inf) <= mark.contiguous:
                del self._announced[mark.boot]
                self._announced_at = self._now() if self._announced else math.inf
        for flight in (self._flight, self._backfill):
            delay = flight.land(received, self._now())
            if delay is not None:
                self._timeout.took(delay)
                if flight is self._backfill:
                    # keep as much backfill in flight as the back end stores promptly: new records wait behind it
                    if delay < STORED_S:
                        more = self._window if self._halved_at == -math.inf else self._window // 8
                        self._window = min(self._window + more, LARGEST_WINDOW)
                    elif self._now() - delay > self._halved_at:  # sent since: once for all that were in flight together
                        self._window, self._halved_at = max(self._window // 2, FIRST_WINDOW), self._now()
        return forgotten

    def due(self) -> float:
        """Return when new records that were held back may be sent (s, the loop's time)."""
        return self._cadence.due(self._now()) if self._held_back else math.inf

    async def send_some(self) -> bool:
        """Send the next delivery; return whether there was one that may be sent now."""
        if len(self._tasks) >= self._uplink.parallel:
            return False
        most = self._uplink.max_bytes
        if len(self._flight) < LARGEST_WINDOW:
            while self._ends:
                boot, last = self._ends.pop(0)
                if rows := await self._outbox.pending((boot, last - 1), 1, through=(boot, last)):
                    self._send(rows, most, self._flight, None)
                    return True
            if self._important_left:
                rows = await self._outbox.pending(
                    self._important, _ROWS, most - NOTICE_BYTES, through=self._newest, least=LOW_RATE
                )
                self._important_left = bool(rows)
                if rows:
                    self._important = self._send(rows, most, self._flight, None)
                    return True
            least = LOW_RATE if self._uplink.low_rate else None
            early = self._now() < self._cadence.due(self._now())
            prompt, self._cadence.prompt = (
                self._cadence.prompt,
                False,
            )  # one that comes meanwhile may not be in the rows
            self._held_back = early and not await self._outbox.pending(self._new, 1, most, least=Priority.SAFETY)
            rows = await self._outbox.pending(self._new, _ROWS, most - NOTICE_BYTES, least=least)
            if rows and not self._held_back:
                expected = None if self._uplink.low_rate else self._expected(self._new, rows[0].boot)
                earlier = await self._unknown_before(rows[0].boot)
                if len(earlier) > _MOST_NAMED:
                    self._lost = True
                    return False
                self._new = self._send(rows, most, self._flight, expected, earlier)
                if self._new == rows[-1].position and len(rows) < _ROWS:  # all there is
                    self._cadence.sent(self._now())
                else:
                    self._cadence.prompt |= prompt
                return True
            self._cadence.prompt |= prompt and bool(rows)
        most_old = max(1, self._uplink.parallel - 1)  # new ones need a place, too
        if self._old_left and len(self._backfill) < self._window and len(self._old_tasks) < most_old:
            size = self._pace.size
            rows = await self._outbox.pending(self._old, _ROWS, size - NOTICE_BYTES, through=self._newest)
            self._old_left = bool(rows)
            if rows:
                self._old = self._send(rows, size, self._backfill, self._expected(self._old, rows[0].boot))
                return True
        return not self._old_left and await self._announce()

    def _expected(self, after: Position, boot: int) -> int:
        """Return the number of the next record in a boot that the back end lacks."""
        if after[0] == boot:
            return after[1] + 1
        mark = self._marks.get(boot)
        return 1 if mark is None else mark.contiguous + 1

    async def _unknown_before(self, boot: int) -> list[int]:
        """Return the boots before a new one of which the back end has said nothing yet: they began on this connection.

        It takes new boots in their order only (else `boot_renumbered`), and deliveries overtake each other.
        """
        if boot in self._marks:
            return []
        return [each.boot for each in await self._outbox.waiting() if each.boot < boot and each.boot not in self._marks]

    def _send(
        self,
        rows: Sequence[OutboxRow],
        most: int,
        flight: _Flight,
        expected: int | None,
        earlier: Sequence[int] = (),
    ) -> Position:
        """Send records of one boot, with notices of missing numbers from `expected` on; return the position reached.

        The names of `earlier` boots go with them, so that these begin first wherever the delivery arrives.

        Numbers that are not in the outbox are missing, unless the back end has them, which it knows. A notice stands
        before its record, so that the numbers arrive in order.
        """
        name = self._outbox.name(rows[0].boot)
        elements: list[bytes] = [_naming(self._ev, name)] if name.boot_id else []
        heads, names = len(elements), [_naming(self._ev, self._outbox.name(boot)) for boot in earlier]
        sent: list[OutboxRow] = []
        size = sum(map(len, (*elements, *names))) + heads + len(names)

        def skip_to(seq: int) -> None:
            nonlocal size
            if expected is not None and seq > expected:
                elements.append(encode_notice(DeliveryNotice(self._ev, name.number, ((expected, seq - 1),))))
                size += len(elements[-1]) + 1

        last = rows[0]
        for row in rows:
            if len(elements) > heads and size + len(row.body) + 2 * NOTICE_BYTES > most:
                break
            last = row
            under_way = row.position in self._flight
            if not under_way and not self._readable(row):
                continue  # the next notice reports it
            skip_to(row.seq)
            if not under_way:
                elements.append(_named(row, name))
                size += len(elements[-1]) + 1
                sent.append(row)
            if expected is not None:
                expected = row.seq + 1
        skip_to(last.seq + 1)
        if len(elements) > heads:
            self._start(self._encode(elements + names), old=flight is self._backfill)
            flight.add(sent, self._now())
        return last.position

    def _start(self, delivery: bytes, *, old: bool) -> None:
        task = child(self._uplink.send(delivery), name="delivery")
        self._tasks[task] = self._now()
        if old:
            self._old_tasks.add(task)
        task.add_done_callback(lambda _: self._news.set())

    async def _announce(self) -> bool:
        """Report boots of which nothing is left, but not all has arrived; return whether there were any."""
        gone: list[DeliveryNotice] = []
        for each in await self._outbox.waiting():
            mark = self._marks.get(each.boot)
            first = 1 if mark is None else mark.contiguous + 1
            if each.first is None and first <= each.last and each.boot not in self._announced:
                name = self._outbox.name(each.boot)
                gone.append(DeliveryNotice(self._ev, name.number, ((first, each.last),), name.boot_id))
                self._announced[each.boot] = each.last
        for start in range(0, len(gone), MAX_BATCH):
            self._start(encode_delivery(map(encode_notice, gone[start : start + MAX_BATCH])), old=False)
            self._announced_at = self._now()
        return bool(gone)

    def _readable(self, row: OutboxRow) -> bool:
        """Return whether a record is as it was put into the outbox: a damaged one must not spoil a delivery."""
        with contextlib.suppress(CodecError):
            key = decode_key(row.body)
            if (key.ev, key.boot, key.seq) == (self._ev, row.boot, row.seq):
                return True
        self._observe(Observe("telemetry", "record_unreadable", {"boot": row.boot, "seq": row.seq}))
        return False

    async def close(self) -> None:
        """Give up what is under way."""
        await cancel_tasks(*self._tasks)
