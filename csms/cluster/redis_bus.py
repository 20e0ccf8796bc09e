"""The bus between machines, over Redis: expiring presence, questions by pub/sub, announcements by a stream.

Keys, all under one prefix: `nodes` (sorted set of node -> time of its last beat, by the clock of Redis), `claims` (hash
of station -> node and version), `deaf` (set of nodes that want no frequent events), `stream` (claims, releases, nodes
and announcements in one order, of bounded length). Each node publishes questions and answers on the other's channel
`to:<node>`, so that the number of receivers shows at once when a node is gone. Every node follows the stream from its
end, and reads all claims whenever it may have missed something.
"""

import asyncio
import hmac
import logging
import secrets
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine
from importlib.resources import files
from typing import Any, Final, Literal

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from csms.cluster.bus import Bus, Claim
from v2g import typed_json
from v2g.errors import TransportError
from v2g.io.runtime.clock import wall_ns
from v2g.io.runtime.supervision import spawn
from v2g.ocpp.routes import Version

_log = logging.getLogger(__name__)

MAX_ANNOUNCEMENTS: Final = 10_000
"""Queued announcements while Redis is away, and the approximate length of the stream."""

_BATCH: Final = 500
_GATHER_S: Final = 0.02
"""What is announced within this time, s, is one entry of the stream, and what is written within it is read together:
an entry, and a look, cost each node more than what is said."""
_BLOCK_MS: Final = 1000
_START_S: Final = 10.0

_MARK: Final = 32
_FRESH_MS: Final = 60_000
_MAX_ANSWERED: Final = 65_536

_DOWN = (RedisError, OSError, TimeoutError)

_BEAT, _LEAVE, _CHANGE = (
    (files("csms.cluster") / name).read_text("utf-8") for name in ("beat.lua", "leave.lua", "change.lua")
)


class _Letter(msgspec.Struct, frozen=True, array_like=True):
    """A message between nodes: a question, its answer, or an error; `at_ms` (UTC) is when."""

    kind: Literal["question", "answer", "error"]
    id: str
    sender: str
    body: bytes
    at_ms: int


def wall_ms() -> int:
    """Return UTC in ms, for comparison between nodes."""
    return wall_ns() // 1_000_000


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Letter).decode
_unpack_all = msgspec.msgpack.Decoder(list[bytes]).decode


class BusSeal:
    """Authenticates messages between nodes by HMAC-SHA-256, per purpose: access to Redis does not give the key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, purpose: str, data: bytes) -> bytes:
        """Return the MAC of some data."""
        return hmac.digest(self._key, purpose.encode() + b"\0" + data, "sha256")

    def put(self, purpose: str, data: bytes) -> bytes:
        """Return data with its MAC before it."""
        return self.of(purpose, data) + data

    def take(self, purpose: str, sealed: bytes) -> bytes:
        """Return the data. Raises ValueError for another key or purpose."""
        mark, data = sealed[:_MARK], sealed[_MARK:]
        if not hmac.compare_digest(mark, self.of(purpose, data)):
            raise ValueError("sealed with another key")
        return data


class RedisBus(Bus):
    """A node at the Redis server `url` (`redis://host:port/db`, `rediss:` for TLS).

    `node` must be unique for each start of a process, without blanks. `key` is the nodes' common secret: messages
    sealed with another one are ignored and reported to `skipped`. A node that does not refresh its presence for
    `expiry_s` is considered dead; the interval is `beat_s`. Redis may go away and come back, empty or not: claims of
    live nodes are restored; meanwhile questions fail and stations of other nodes count as not connected.
    """

    def __init__(
        self,
        url: str,
        node: str,
        key: bytes,
        *,
        skipped: Callable[[str], None] = lambda _why: None,
        prefix: str = "v2g",
        expiry_s: float = 4.0,
        beat_s: float = 1.0,
    ) -> None:
        super().__init__(node)
        self._seal = BusSeal(key)
        self._skipped = skipped
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._redis: Any = Redis.from_url(url, socket_connect_timeout=5.0, socket_timeout=5.0)
        self._expiry_s, self._beat_s = expiry_s, beat_s
        self._keys = [f"{prefix}:nodes", f"{prefix}:claims", f"{prefix}:stream", f"{prefix}:deaf"]
        self._channel = f"{prefix}:to:"
        self._claims: dict[str, Claim] = {}
        self._own: dict[str, Version] = {}
        self._unseen: Counter[str] = Counter()
        self._nodes = frozenset({node})
        self._deaf: frozenset[str] = frozenset()
        self._heard_before = False
        """While Redis is away: another node wanted frequent events, and gets them afterwards."""
        self._changes: deque[tuple[str, str, str]] = deque()
        self._announcements: deque[bytes] = deque(maxlen=MAX_ANNOUNCEMENTS)
        self._something = asyncio.Event()
        self._questions: dict[str, tuple[str, asyncio.Future[bytes]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._position = b""
        self._missed = False
        self._listening = asyncio.Event()

    async def start(self) -> None:
        """Join the bus. Raises TransportError when Redis cannot be reached."""
        try:
            await self._look()
        except _DOWN as error:
            await self._redis.aclose()
            raise TransportError(f"Redis: {error}", hint="is bus_url right, and is Redis running?") from None
        for work in (self._listen, self._read, self._write):
            self._spawn(self._again(work))
        try:
            async with asyncio.timeout(_START_S):
                await self._listening.wait()  # be able to answer before other nodes know this one
                await self._beat()
        except _DOWN as error:
            await self.kill()
            raise TransportError(f"Redis: {str(error) or 'no answer'}") from None
        self._spawn(self._again(self._beats))

    async def close(self) -> None:
        """Leave: all claims of this node end, pending questions fail."""
        await self._stop()
        try:
            await self._redis.eval(_LEAVE, 4, *self._keys, self.node, MAX_ANNOUNCEMENTS)
        except _DOWN as error:
            _log.info("Redis: %s", error)
        await self._redis.aclose()

    async def kill(self) -> None:
        """Disappear without leaving, like a killed node: for tests."""
        await self._stop()
        await self._redis.aclose()

    def claim(self, station_id: str, version: Version) -> None:
        """Announce that a station is connected here."""
        self._own[station_id] = version
        self._claims[station_id] = Claim(self.node, version)
        self._change("claim", station_id, version)

    def release(self, station_id: str) -> None:
        """Announce that a station is no longer connected here."""
        if self._own.pop(station_id, None) is not None:
            del self._claims[station_id]
            self._change("release", station_id, "")

    def find(self, station_id: str) -> Claim | None:
        """Return where a station is connected, as far as this node knows."""
        claim = self._claims.get(station_id)
        return claim if claim is not None and claim.node in self._nodes else None

    def stations(self) -> frozenset[str]:
        """Return the stations that are connected anywhere, as far as this node knows."""
        return frozenset(station_id for station_id, claim in self._claims.items() if claim.node in self._nodes)

    def nodes(self) -> frozenset[str]:
        """Return the names of the live nodes, including this one."""
        return self._nodes

    @property
    def heard(self) -> bool:
        """Whether another node wants frequent events; those of older versions do."""
        return self._heard_before or not self._nodes <= self._deaf | {self.node}

    async def ask(self, node: str, question: bytes, timeout_s: float) -> bytes:
        """Return another node's answer."""
        identifier = secrets.token_hex(8)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may end unsent, unread
        self._questions[identifier] = node, future
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(node, _Letter("question", identifier, self.node, question, wall_ms()))
                return await future
        except TimeoutError:
            raise TransportError(f"node {node} did not answer within {timeout_s:g} s") from None
        except _DOWN as error:
            raise TransportError(f"Redis: {error}") from None
        finally:
            del self._questions[identifier]

    def announce(self, announcement: bytes) -> None:
        """Announce to every other node."""
        self._announcements.append(announcement)
        self._something.set()

    async def _send(self, node: str, letter: _Letter) -> None:
        if not await self._redis.publish(self._channel + node, self._seal.put(f"to {node}", _pack(letter))):
            raise TransportError(f"node {node} is gone")

    def _change(self, kind: str, station_id: str, version: str) -> None:
        self._unseen[station_id] += 1
        self._changes.append((kind, station_id, version))
        self._something.set()

    async def _write(self) -> None:
        """Send changes and announcements to Redis, in batches."""
        if self._missed:
            await self._restore()
        while True:
            await self._something.wait()
            await asyncio.sleep(_GATHER_S)
            self._something.clear()
            while self._changes or self._announcements:
                changes = [self._changes.popleft() for _ in range(min(_BATCH, len(self._changes)))]
                said = [self._announcements.popleft() for _ in range(min(_BATCH, len(self._announcements)))]
                try:
                    await self._bring(changes, said)
                except _DOWN:
                    self._announcements.extendleft(reversed(said[: MAX_ANNOUNCEMENTS - len(self._announcements)]))
                    self._missed = True
                    raise

    async def _bring(self, changes: list[tuple[str, str, str]], said: list[bytes]) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for kind, station_id, version in changes:
                claim = f"{version} {self._seal.of(f'{self.node} has {station_id}', version.encode()).hex()}"
                pipeline.eval(_CHANGE, 4, *self._keys, self.node, MAX_ANNOUNCEMENTS, kind, station_id, claim)
            if said:
                one = len(said) == 1  # as nodes of older versions say it, and hear it
                text = said[0] if one else _pack(said)
                entry = {
                    "n": self.node,
                    "k": "said" if one else "all said",
                    "d": self._seal.put(f"said by {self.node}", text),
                }
                pipeline.xadd(self._keys[2], entry, maxlen=MAX_ANNOUNCEMENTS, approximate=True)
            await pipeline.execute()

    async def _read(self) -> None:
        """Follow the stream."""
        while True:
            found = await self._redis.xread({self._keys[2]: self._position}, count=_BATCH, block=_BLOCK_MS)
            for _stream, entries in found or ():
                for position, entry in entries:
                    self._position = position
                    try:
                        self._take(entry)
                    except (KeyError, ValueError) as error:  # of a newer or unknown node; later entries still count
                        self._skip("an entry", error)
            await asyncio.sleep(_GATHER_S)

    def _take(self, entry: dict[bytes, bytes]) -> None:
        """Handle one entry of the stream."""
        node, kind = entry[b"n"].decode(), entry[b"k"]
        if kind in (b"said", b"all said"):
            if node != self.node:
                text = self._seal.take(f"said by {node}", entry[b"d"])
                for each in [text] if kind == b"said" else _unpack_all(text):
                    self.on_announcement(each)
        elif kind == b"node":
            self._set_nodes(self._nodes | {node})
        elif kind == b"gone":
            self._set_nodes(self._nodes - {node})
        elif kind == b"claim":
            station_id = entry[b"s"].decode()
            if node == self.node and self._unseen[station_id]:
                self._unseen[station_id] -= 1
                if self._unseen[station_id] == 0:
                    del self._unseen[station_id]
            if station_id not in self._unseen:  # else a later entry of this node in the stream counts
                self._hold(station_id, entry[b"c"])

    def _hold(self, station_id: str, text: bytes) -> None:
        """Update a station's claim, which may end this node's own."""
        if not text:
            self._claims.pop(station_id, None)
            return
        node, version, mark = text.decode().split(" ")
        if not hmac.compare_digest(mark, self._seal.of(f"{node} has {station_id}", version.encode()).hex()):
            raise ValueError(f"the claim of {station_id[:48]} is sealed with another key")
        self._claims[station_id] = Claim(node, typed_json.convert(version, Version))
        if node != self.node and self._own.pop(station_id, None) is not None:
            self.moved(station_id)

    def _set_nodes(self, nodes: frozenset[str]) -> None:
        self._nodes = nodes | {self.node}
        for node, future in self._questions.values():
            if node not in self._nodes and not future.done():
                future.set_exception(TransportError(f"node {node} is gone"))

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(self._beat_s)
            await self._beat()

    async def _beat(self) -> None:
        """Refresh this node's presence; update the live nodes. If it had expired, renew its claims."""
        arguments = [self.node, int(self._expiry_s * 1000), MAX_ANNOUNCEMENTS, "SREM" if self.hears else "SADD"]
        new, *found = await self._redis.eval(_BEAT, 4, *self._keys, *arguments)
        nodes, self._deaf = (frozenset(node.decode(errors="replace") for node in each) for each in found)
        self._set_nodes(nodes)
        self._heard_before = False
        if new:
            await self._restore()

    async def _restore(self) -> None:
        """Correct Redis' data of this node, which may have been lost."""
        self._missed = False
        await self._look()
        for station_id, version in self._own.items():
            self._change("again", station_id, version)
        for station_id, claim in self._claims.items():
            if claim.node == self.node and station_id not in self._own:
                self._change("release", station_id, "")

    async def _look(self) -> None:
        """Read all claims; the first time, begin to follow the stream at its present end."""
        if not self._position:
            last = await self._redis.xrevrange(self._keys[2], count=1)
            self._position = last[0][0] if last else b"0-0"
        held = await self._redis.hgetall(self._keys[1])
        self._changes.clear()
        self._unseen.clear()
        self._claims = {station_id: Claim(self.node, version) for station_id, version in self._own.items()}
        for station_id, text in held.items():
            try:
                if station_id.decode() not in self._own:
                    self._hold(station_id.decode(), text)
            except ValueError as error:
                self._skip("a claim", error)

    async def _listen(self) -> None:
        """Receive messages to this node."""
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(self._channel + self.node)
            while True:
                message = await pubsub.get_message(timeout=_BLOCK_MS / 1000)
                if message is not None and message["type"] == "message":
                    self._receive(message["data"])
                elif message is not None:
                    self._listening.set()

    def _receive(self, data: bytes) -> None:
        try:
            letter = _unpack(self._seal.take(f"to {self.node}", data))
        except ValueError as error:  # msgspec's is one
            self._skip("a letter", error)
            return
        if letter.kind == "question":
            if self._is_fresh(letter):
                self._spawn(self._reply(letter))
            return
        _, future = self._questions.get(letter.id, (None, None))
        if future is None or future.done():
            return
        if letter.kind == "answer":
            future.set_result(letter.body)
        else:
            future.set_exception(TransportError(letter.body.decode()))

    def _is_fresh(self, letter: _Letter) -> bool:
        """Return whether a question is new: an attacker with write access to Redis could replay one."""
        if abs(wall_ms() - letter.at_ms) > _FRESH_MS or letter.id in self._answered:
            self._skip("a question", ValueError("too old, or replayed; do the nodes' clocks differ?"))
            return False
        self._answered[letter.id] = None
        while len(self._answered) > _MAX_ANSWERED:
            self._answered.popitem(last=False)
        return True

    def _skip(self, what: str, error: Exception) -> None:
        _log.warning("ignored %s of the bus: %r", what, error)
        self._skipped(f"{what}: {error!r}"[:300])

    async def _reply(self, letter: _Letter) -> None:
        try:
            reply = _Letter("answer", letter.id, self.node, await self.answer(letter.body), wall_ms())
        except (TransportError, msgspec.DecodeError) as error:
            reply = _Letter("error", letter.id, self.node, str(error).encode(), wall_ms())
        try:
            await self._send(letter.sender, reply)
        except (*_DOWN, TransportError) as error:
            _log.warning("an answer to %s is lost: %s", letter.sender, error)

    async def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run a task for ever, restarting it when Redis is back."""
        while True:
            try:
                await work()
            except _DOWN as error:
                _log.warning("Redis: %s", error or type(error).__name__)
                if work == self._beats:
                    self._heard_before = self.heard
                    self._set_nodes(frozenset())
                await asyncio.sleep(self._beat_s / 2)
                self._something.set()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = spawn(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop(self) -> None:
        while self._tasks:  # more than once: a cancellation that meets a time-out inside redis-py can get lost there
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.05)
        self._set_nodes(frozenset())
