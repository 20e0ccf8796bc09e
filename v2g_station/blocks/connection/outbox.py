"""Messages that must reach the CSMS even after an outage: one durable, ordered, bounded queue (E04, E11-E13, A04).

Each message is on disk before its content is reported, and is removed once the CSMS has answered. One that a full disk
does not take waits for some attempts to save it, and is then sent all the same: better than with the next power cut.
When the queue is full the standard's rule applies: every second periodic reading is dropped first, start and end of
transactions never (E04.FR.08).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

import msgspec

from v2g import typed_json
from v2g.errors import TransportError
from v2g.observe import Callbacks
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g.ocpp.routes import action_of, request_type
from v2g.ocpp.versions import without_21
from v2g_station.blocks.transaction_records import for_201
from v2g_station.kernel.kernel import Answer, Kernel, is_refused, is_unreachable

MAX_EVENTS: Final = 20_000
"""Maximum number of queued messages: two EVSEs reporting every minute for a week."""

_LIMITS: Final = frozenset(
    {"LimitSet", "CostLimitReached", "EnergyLimitReached", "TimeLimitReached", "SoCLimitReached"}
)
"""Triggers of events that are not dropped (E12.FR.04)."""

MAX_REFUSED: Final = 1000
SAVE_ATTEMPTS: Final = 3
"""Attempts to save a message before it is sent without."""

OTHER_ATTEMPTS: Final = 3
"""Attempts to send a message other than a transaction event to a CSMS that does not answer it."""


class QueuedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A queued message. `group` is its transaction; `spare` marks a reading, which may be dropped, `updated` an event
    that neither begins nor ends a transaction, nor is about its limits."""

    action: str
    body: bytes
    group: str = ""
    spare: bool = False
    updated: bool = False
    attempts: int = 0


class RefusedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An undeliverable message, and the CSMS's last answer."""

    entry: QueuedMessage
    reason: str


class CsmsOutbox:
    """The queue. `on_answer` gets the CSMS's answer to each message."""

    def __init__(self, kernel: Kernel, *, limit: int = MAX_EVENTS) -> None:
        self._k = kernel
        self._limit = limit
        self._entries: dict[str, QueuedMessage] = dict(sorted(kernel.stored("outbox", QueuedMessage).items()))
        self._refused = list(kernel.stored("refused", RefusedMessage))
        self._next = int(max((*self._entries, *self._refused), default="0")) + 1  # keys are never reused
        self._old = max(self._entries, default="")
        """The last key queued before or during an outage."""
        self._sending: str | None = None
        self._resting = False
        """Whether the next attempt is delayed (E13)."""
        self._unsaved: set[str] = set()
        """Keys of messages that are perhaps not on the disk."""
        self._saves_failed = 0
        """How often in a row."""
        self.on_answer: Final = Callbacks[Message, Answer]()
        self.on_queued: Final = Callbacks[Message]()

    def __len__(self) -> int:
        return len(self._entries)

    def bodies(self) -> Iterator[bytes]:
        """Yield queued messages, oldest first, as JSON."""
        return (entry.body for entry in self._entries.values())

    def waiting(self) -> Mapping[str, int]:
        """Return the number of queued messages, by transaction."""
        return Counter(entry.group for entry in self._entries.values() if entry.group)

    def add(self, request: Message, *, group: str = "", spare: bool = False) -> None:
        """Append a message. It is stored with everything else stored in this step."""
        key = f"{self._next:012d}"
        self._next += 1
        body = msgspec.json.encode(request)
        event = request if isinstance(request, TransactionEventRequest) else None
        updated = event is not None and event.event_type == "Updated" and event.trigger_reason not in _LIMITS
        entry = QueuedMessage(action=action_of(request), body=body, group=group, spare=spare, updated=updated)
        self._entries[key] = entry
        self._k.keep("outbox", key, entry)
        if len(self._entries) > self._limit:
            self._make_room()
        if not self._k.online:
            self._old = key
        self.on_queued.tell(request)

    def pump(self) -> bool:
        """Send the oldest message; return whether it did."""
        if self._sending is not None or self._resting:
            return False
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            request = self._read(entry, offline=key <= self._old)
            if request is None:
                self._set_aside(key, entry, "unreadable")
                continue
            self._sending = key
            if key in self._unsaved:
                if self._saves_failed < SAVE_ATTEMPTS:
                    self._k.keep("outbox", key, entry)  # it is sent once that is saved
                else:
                    self._k.note("event_sent_unsaved", action=entry.action)
            self._k.call(request, partial(self._answered, key, request))
            return True
        return False

    def unsaved(self) -> None:
        """Handle changes that could not be saved."""
        self._unsaved |= self._entries.keys()

    def lost(self) -> None:
        """Mark all queued messages as having happened offline (E11.FR.07)."""
        self._sending = None
        self._rested()
        self._old = max(self._entries, default=self._old)

    def _read(self, entry: QueuedMessage, *, offline: bool) -> Message | None:
        """Return a message as defined by the negotiated version."""
        try:
            request = typed_json.decode_kept(entry.body, request_type(entry.action))
        except (msgspec.DecodeError, KeyError) as error:
            self._k.note("memory_unreadable", collection="outbox", reason=str(error)[:200])
            return None
        if isinstance(request, TransactionEventRequest):
            if offline:
                request = msgspec.structs.replace(request, offline=True)
            return for_201(request) if self._k.version == "2.0.1" else request
        return without_21(request) if self._k.version == "2.0.1" else request

    def _answered(self, key: str, request: Message, answer: Answer) -> None:
        if self._sending != key:
            return  # the connection was lost first
        self._sending = None
        if not isinstance(answer, Message):
            if is_unreachable(answer) and not self._k.reachable:
                return
            if isinstance(answer, TransportError):  # it was not sent, as it is not saved
                self._saves_failed += 1
                self._rest(max(1.0, self._k.model.number("OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]")))
                return
            if is_refused(answer) and getattr(answer, "answer", "") == "SecurityError":
                return
            if self._failed(key, answer):
                return
        else:
            if key not in self._unsaved or self._saves_failed < SAVE_ATTEMPTS:
                self._saves_failed = 0
            self._drop(key)
        self.on_answer.tell(request, answer)

    def _failed(self, key: str, answer: Answer) -> bool:
        """Count the CSMS's failure to process a message; return whether to retry (E13)."""
        entry = self._entries[key]
        event = entry.action == "TransactionEvent"
        number = self._k.model.number
        allowed = int(number("OCPPCommCtrlr.MessageAttempts[TransactionEvent]")) if event else OTHER_ATTEMPTS
        attempts = entry.attempts + 1
        if attempts >= allowed or (not event and is_refused(answer)):
            self._k.note("event_given_up", action=entry.action, attempts=attempts, reason=str(answer)[:200])
            self._set_aside(key, entry, str(answer))  # E13.FR.04
            return False
        self._entries[key] = entry = msgspec.structs.replace(entry, attempts=attempts)
        self._k.keep("outbox", key, entry)
        interval = number("OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]") * attempts  # E13.FR.03
        self._rest(interval)
        self._k.note("event_refused", action=entry.action, attempts=attempts, reason=str(answer)[:200])
        return True

    def _rest(self, seconds: float) -> None:
        self._resting = True
        self._k.after("outbox.retry", seconds, self._rested)

    def _rested(self) -> None:
        self._resting = False

    def _set_aside(self, key: str, entry: QueuedMessage, reason: str) -> None:
        """Stop delivering a transaction event; it stays on disk for manual settlement."""
        if entry.action == "TransactionEvent":
            self._refused.append(key)
            self._k.keep("refused", key, RefusedMessage(entry=entry, reason=reason[:500]))
            while len(self._refused) > MAX_REFUSED:
                self._k.forget("refused", self._refused.pop(0), durable=False)
        self._drop(key)

    def _drop(self, key: str) -> None:
        del self._entries[key]
        self._unsaved.discard(key)
        self._k.forget("outbox", key, durable=False)  # one that comes back is sent again and recognised there

    def _make_room(self) -> None:
        """Make room: drop every second reading of the transaction with the most, else the oldest message of no
        transaction, else every second other update (E04.FR.07, .08)."""
        keys = [key for key in self._entries if key != self._sending]
        readings = [key for key in keys if self._entries[key].spare]
        others = [key for key in keys if not self._entries[key].group]
        updates = [key for key in keys if self._entries[key].updated]
        dropped = self._every_second(readings) or others[:1] or self._every_second(updates)
        for key in dropped:
            self._drop(key)
        if dropped:
            self._k.note("outbox_dropped", count=len(dropped))

    def _every_second(self, keys: list[str]) -> list[str]:
        """Return every second key of the transaction that has the most of these."""
        groups = Counter(self._entries[key].group for key in keys)
        most = max(groups, key=groups.__getitem__, default=None)
        return [key for key in keys if self._entries[key].group == most][0::2]
