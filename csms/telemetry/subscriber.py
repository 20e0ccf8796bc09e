"""Telemetry by MQTT: receives vehicles' deliveries, publishes marks and the stream of stored records.

A message is acknowledged once its records are stored. That only paces the broker: vehicles rely on the marks,
and send again what was not stored.

Nodes of a cluster share the vehicles by slots. Each subscribes to the topics of its slots; a delivery at the topic
without a slot reaches any node, which hands it over at that of its slot.

Which node stores a vehicle's deliveries: vehicles are in slots by a hash, and each slot has one node (R171).

A node has a lease of its presence, and leases of its slots, renewed together. All nodes compute the same owner of each
slot from those that are present (`csms.telemetry.rules`), so that few slots move when one comes or goes.
A node takes a slot only when the former owner has finished and given up its lease, or when that has expired; one that
cannot renew its leases stops storing before they do. So two nodes never store the same vehicle, as long as their clocks
agree within `SKEW_S` and a transaction takes no longer than the rest of a lease.
"""

import asyncio
import contextlib
import logging
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from typing import Final

import msgspec

from csms.db import leases
from csms.db.store import Store
from csms.telemetry.config import MqttSource
from csms.telemetry.ingest import Ingest
from csms.telemetry.rules import owner
from v2g.errors import StoreError, TransportError
from v2g.io.mqtt.client import MqttClient
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.supervision import Supervisor
from v2g.observe import Observe
from v2g.telemetry.columns import is_compact
from v2g.telemetry.delivery import Mark, encode_marks, marks_topic, records_topic, slot_of, slot_topic, stream_topic
from v2g.telemetry.signals import EV_PATTERN

SLOTS: Final = 64
RENEW_S: Final = 2.0
LEASE_S: Final = 10.0
"""A dead node's slots move after so long, and one more renewal."""

SKEW_S: Final = 1.0

_PRESENCE: Final = "telemetry node "
_SLOT: Final = "telemetry slot "

OnHeld = Callable[[frozenset[int]], None]


class VehicleSlots:
    """The slots of this node. Every method with a database raises StoreError."""

    def __init__(self, store: Store, clock: Clock, node: str) -> None:
        """`node`: its name, the same at every start, and no other node's."""
        self._store, self._clock = store, clock
        self._node = blake2b(node.encode(), digest_size=16).hexdigest()
        self._held: frozenset[int] = frozenset()
        self._leaving: frozenset[int] = frozenset()
        self._until = 0.0
        self._storing = Counter[int]()

    @contextlib.contextmanager
    def storing(self, ev: str) -> Iterator[bool]:
        """Whether this node may store a vehicle's deliveries; if so, no other does before the end of the block."""
        slot = slot_of(ev, SLOTS)
        if slot not in self._held or self._clock.monotonic() >= self._until:
            yield False
            return
        self._storing[slot] += 1
        try:
            yield True
        finally:
            self._storing[slot] -= 1

    async def renew(self, on_held: OnHeld) -> None:
        """Renew the leases; take slots and give some up. `on_held` is called with those that this node has."""
        begun, now_ms = self._clock.monotonic(), self._clock.utc_ms()
        until_ms = now_ms + round(1000 * LEASE_S * self._clock.scale)
        await self._store.run(leases.take_all, [_PRESENCE + self._node], self._node, now_ms, until_ms)
        nodes = await self._store.read(leases.holders, _PRESENCE, now_ms, until_ms)
        wanted = {slot for slot in range(SLOTS) if owner(str(slot), nodes | {self._node}) == self._node}
        self._leaving = (self._leaving | self._held) - wanted
        self._held &= wanted
        on_held(self._held)
        await self._give_up_idle()
        taken = await self._store.run(leases.take_all, _names(wanted), self._node, now_ms, until_ms)
        self._held = frozenset(slot for slot in wanted if f"{_SLOT}{slot}" in taken)
        self._until = begun + LEASE_S - SKEW_S
        on_held(self._held)

    async def leave(self, on_held: OnHeld) -> None:
        """Give up everything that is not being stored, so that other nodes take over at once."""
        self._leaving |= self._held
        self._held = frozenset()
        on_held(self._held)
        await self._store.run(leases.give_up, [_PRESENCE + self._node], self._node)
        await self._give_up_idle()

    async def _give_up_idle(self) -> None:
        idle = frozenset(slot for slot in self._leaving if not self._storing[slot])
        if idle:
            await self._store.run(leases.give_up, _names(idle), self._node)
            self._leaving -= idle


def _names(slots: Iterable[int]) -> list[str]:
    return [f"{_SLOT}{slot}" for slot in slots]


_log = logging.getLogger(__name__)

CONNECT_S: Final = 5.0
"""How long the start waits for the broker; after that it is connected in the background."""

MARKS_S: Final = 0.5
"""How long a mark may wait for further ones. Questions and large deliveries are answered at once."""

MANY: Final = 50

QUIET_S: Final = 1.0
"""Pause of the stream after the broker has reported that it has no subscribers."""

MOST_STREAMED: Final = 10_000
"""Records queued for a slow broker; the oldest are dropped from the stream."""


class TelemetrySubscriber:
    """Runs from `start` to `close`.

    Several nodes share the deliveries by a group with a secret name: a vehicle that joined it would receive some.
    """

    def __init__(
        self,
        config: MqttSource,
        ingest: Ingest,
        observe: EventLog,
        *,
        client_id: str,
        group: str,
        slots: VehicleSlots | None = None,
    ) -> None:
        """`slots`: those of this node; None: there is only one, or all store what they get."""
        self._config, self._ingest, self._observe, self._slots = config, ingest, observe, slots
        prefix = re.escape(config.prefix)
        self._vehicle = re.compile(rf"{prefix}/(?P<slot>slot/\d+/)?vehicle/(?P<ev>[^/]*)/records")
        self._client = MqttClient(
            config, client_id=client_id, on_message=self._take, on_unmarked=self._refuse_older_protocol, observe=observe
        )
        self._client.subscribe(f"$share/{group}/{records_topic(config.prefix, '+')}")
        self._tasks = Supervisor(observe)
        self._due: dict[str, dict[int, Mark]] = {}
        self._stream: deque[bytes] = deque(maxlen=MOST_STREAMED)
        self._streaming = asyncio.Event()
        self._quiet_until = 0.0

    @property
    def connected(self) -> bool:
        """Whether the broker sends deliveries now."""
        return self._client.connected.is_set()

    async def start(self) -> None:
        """Connect, waiting briefly for the broker."""
        self._tasks.keep("telemetry marks", self._publish_marks)
        if self._slots is not None:
            self._tasks.keep("telemetry slots", partial(self._keep_slots, self._slots))
        if self._config.stream:
            self._ingest.subscribe(self._offer)
            self._tasks.keep("telemetry stream", self._publish_stream)
        self._client.start()
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._client.connected.wait()
            self._observe(Observe("telemetry", "subscribed"))
        except TimeoutError:
            reason = self._client.problem or f"no connection within {CONNECT_S:g} s"
            self._observe(Observe("telemetry", "broker_unreachable", {"reason": reason}))

    def poll(self) -> None:
        """Connect again with a renewed certificate (`v2g.io.tls.files.Renewed`)."""
        self._client.poll()

    async def close(self) -> None:
        """Publish pending marks, and disconnect; unstored deliveries are repeated."""
        await self._tasks.close()
        if self._slots is not None:
            try:
                await self._slots.leave(self._follow)
            except StoreError as error:
                _log.warning("slots of vehicles are not given up: %s", error)
        for ev in list(self._due):
            self._answer(ev)
        await self._client.close()

    def _refuse_older_protocol(self, topic: str) -> None:
        """Refuse a message that was not published by MQTT 5: older protocols cannot say why a message is refused."""
        self._ingest.refuse(self._vehicle_in(topic)[0], "no Payload Format Indicator: publish by MQTT 5")

    def _vehicle_in(self, topic: str) -> tuple[str, bool]:
        """Return the vehicle of a topic, empty without a valid one, and whether it is a slot's."""
        found = self._vehicle.fullmatch(topic)
        if found is None or not re.match(EV_PATTERN, found["ev"]):
            return "", False
        return found["ev"], found["slot"] is not None

    async def _keep_slots(self, slots: VehicleSlots) -> None:
        """Have slots while there is a connection to the broker."""
        while True:
            try:
                if self.connected:
                    await slots.renew(self._follow)
                else:
                    await slots.leave(self._follow)
                    await self._client.connected.wait()
                    continue
            except StoreError as error:
                _log.warning("slots of vehicles are not renewed: %s", error)
            await asyncio.sleep(RENEW_S)

    def _follow(self, slots: frozenset[int]) -> None:
        self._client.follow(slot_topic(self._config.prefix, each, "+") for each in slots)

    async def _take(self, topic: str, payload: bytes) -> None:
        """Store a delivery, or hand it over. Raises StoreError: it is retried."""
        ev, of_slot = self._vehicle_in(topic)
        if not ev:
            self._ingest.refuse("", "no vehicle in the topic")
        elif self._slots is None:
            await self._store(ev, payload)
        else:
            with self._slots.storing(ev) as here:
                if here:
                    await self._store(ev, payload)
            if not here and not of_slot:  # else its slot has just moved: the gateway sends it again
                # pass a delivery on to the node of its slot. The gateway sends again what arrives at
                # none
                topic = slot_topic(self._config.prefix, slot_of(ev, SLOTS), ev)
                try:
                    if not await self._client.publish(topic, payload, utf8=not is_compact(payload)):
                        self._ingest.report_unowned(ev)
                except TransportError as error:  # the broker's access list is older: order is lost, records are not
                    _log.warning("deliveries are stored by any node: %s", error)
                    await self._store(ev, payload)

    async def _store(self, ev: str, payload: bytes) -> None:
        try:
            reception = await self._ingest.receive(ev, payload)
        except StoreError as error:
            self._ingest.fail(error)
            raise
        if reception.outcome is None:
            return
        self._due.setdefault(ev, {}).update({each.boot: each.mark for each in reception.outcome.marks})
        if reception.asks or reception.elements >= MANY:
            self._answer(ev)

    def _answer(self, ev: str) -> None:
        """Publish a vehicle's marks; a lost one is requested again."""
        slots = 0 if self._slots is None else SLOTS
        marks = [msgspec.structs.replace(each, slots=slots) for each in self._due.pop(ev, {}).values()]
        if marks:
            self._client.offer(marks_topic(self._config.prefix, ev), encode_marks(marks))

    async def _publish_marks(self) -> None:
        while True:
            await asyncio.sleep(MARKS_S)
            for ev in list(self._due):
                self._answer(ev)

    def _offer(self, bodies: Sequence[bytes]) -> None:
        """Queue records for the stream, unless it has no subscribers."""
        if asyncio.get_running_loop().time() >= self._quiet_until:
            self._stream.extend(bodies)
            self._streaming.set()

    async def _publish_stream(self) -> None:
        topic, time = stream_topic(self._config.prefix), asyncio.get_running_loop().time
        while True:
            await self._streaming.wait()
            self._streaming.clear()
            while self._stream:
                record = self._stream.popleft()
                try:
                    delivered = await self._client.publish(topic, record)
                except TransportError:
                    if not self.connected:  # goes on over the next connection
                        self._stream.appendleft(record)
                        continue
                    delivered = False
                if not delivered:
                    self._stream.clear()
                    self._quiet_until = time() + QUIET_S
