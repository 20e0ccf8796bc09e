"""What all functional blocks of a station stand on: its clock, timers, memory, device model, and way to the CSMS.

Blocks are objects that hold a `Kernel`. Everything they want done leaves as actions, in order; the shell commits the
`Keep`s of a batch in one go before it sends or commands anything of it, so that nothing told
can be forgotten.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from v2g import typed_json
from v2g.errors import OcppError, TimeoutExpired, TransportError, V2GError
from v2g.observe import Observe
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.routes import Version
from v2g.text import redacted
from v2g_station.kernel.device_model import DeviceModel
from v2g_station.kernel.layout import Layout, Variable, station_variables

T = TypeVar("T", bound=msgspec.Struct)

CLOCK_SET_MS: Final = 1000
"""A difference between both clocks from which the time of day counts as having been set."""

Registration = Literal["Accepted", "Pending", "Rejected", "Unknown"]

SavedDocuments = Mapping[str, Mapping[str, bytes]]
"""What survives a restart: drawer -> key -> JSON."""


class Keep(msgspec.Struct, frozen=True):
    """Store a body under a key of a drawer, or forget it (None). Without `durable` a power cut may undo it."""

    collection: str
    key: str
    body: bytes | None
    durable: bool = True


class Send(msgspec.Struct, frozen=True):
    """Send this text frame to the CSMS."""

    text: str


class Connect(msgspec.Struct, frozen=True, kw_only=True):
    """Connect to the CSMS; `opened` or `failed` follows. `slot` is the network profile's (B09)."""

    slot: int
    url: str
    versions: tuple[Version, ...]
    security_profile: int
    timeout_s: float
    ping_interval_s: float
    password: str | None = None
    identity: str = ""

    def __repr__(self) -> str:
        return f"Connect(slot={self.slot}, url={redacted(self.url)!r}, security_profile={self.security_profile})"


class Disconnect(msgspec.Struct, frozen=True):
    """Close the connection."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is wanted of the hardware."""


Action = Keep | Send | Connect | Disconnect | Command | Observe

Answer = Message | V2GError
Then = Callable[[Answer], None]
Handler = Callable[[Any], Message]
"""Answers one action; the table of a block says which type of request it gets."""


class Deferred(Message, frozen=True):
    """Stands for an answer that comes later: whoever made it calls `resolve`, once."""

    sinks: list[Callable[[Message], None]] = msgspec.field(default_factory=list)

    def resolve(self, answer: Message) -> None:
        """Give the answer."""
        for sink in self.sinks:
            sink(answer)
        self.sinks.clear()


class Moment(NamedTuple):
    """A time: `now` in s on a monotonic clock, `utc_ms` as the world counts."""

    now: float
    utc_ms: int


class Connection(Protocol):
    """The way to the CSMS."""

    def call(self, request: Message, then: Then | None = None, *, always: bool = False) -> None:
        """Send a request. `then` gets the answer or the error; without registration only what is `always` passes."""

    def notify(self, message: Message) -> None:
        """Send a message that nobody answers, when registered."""

    def boot(self) -> None:
        """Send a boot notification (B01)."""

    def reconnect(self) -> None:
        """Close the connection and make a new one at once, as after a change of security or network (B10)."""


class Timer(NamedTuple):
    """What happens when: `due` on the clock of `now`, and not before `utc_ms` where a time of day is meant."""

    due: float
    do: Callable[[], None]
    utc_ms: int | None = None


class Kernel:
    """Shared by all blocks of one station."""

    def __init__(
        self,
        layout: Layout,
        saved: SavedDocuments,
        moment: Moment,
        entropy: Callable[[int], bytes],
        *,
        scale: float = 1.0,
        values: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.scale: Final = scale
        self.layout: Final = layout
        self.entropy: Final = entropy
        self.now, self.utc_ms = moment
        self.version: Version = "2.1"
        self.registration: Registration = "Unknown"
        self.offline_since = self.now
        """Since when the CSMS was last out of reach, on the clock of `now`; -inf when it has accepted another boot."""
        self.actions: list[Action] = []
        self._saved = saved
        self._timers: dict[str, Timer] = {}
        self.on_clock_set: list[Callable[[int], None]] = []
        """Told by how many ms the time of day was set."""
        self._watchers: list[Callable[[Variable, str, str], None]] = []
        self._connection: Connection | None = None
        stored = dict(values) | {key: body.decode() for key, body in saved.get("variables", {}).items()}
        self.model: Final = DeviceModel(
            station_variables(layout),
            stored,
            keep=lambda key, value: self.keep_text("variables", key, value),
            changed=self._changed,
        )

    # -- time

    def at(self, moment: Moment) -> None:
        """Let it be this time; tell whoever goes by the time of day when that was set, as at a first NTP answer."""
        jump_ms = moment.utc_ms - self.utc_ms - (moment.now - self.now) * 1000 * self.scale
        self.now, self.utc_ms = moment
        if abs(jump_ms) < CLOCK_SET_MS * max(1.0, self.scale):
            return
        for name, timer in list(self._timers.items()):
            if timer.utc_ms is not None:
                self.at_utc(name, timer.utc_ms, timer.do)
        for listener in self.on_clock_set:
            listener(round(jump_ms))

    def after(self, name: str, seconds: float, do: Callable[[], None]) -> None:
        """Do something after some time, in place of what was planned under this name."""
        self._timers[name] = Timer(self.now + max(0.0, seconds), do)

    def at_utc(self, name: str, utc_ms: int, do: Callable[[], None]) -> None:
        """Do something at a time of day, also when the clock is set meanwhile."""
        seconds = (utc_ms - self.utc_ms) / 1000 / self.scale
        self._timers[name] = Timer(self.now + min(max(0.0, seconds), 86_400.0), do, utc_ms)

    def cancel(self, name: str) -> None:
        """Forget what was planned."""
        self._timers.pop(name, None)

    def planned(self, name: str) -> bool:
        """Return whether something is planned under a name."""
        return name in self._timers

    def deadline(self) -> float | None:
        """Return when `run_timers` is due, on the clock of `now`."""
        return min((timer.due for timer in self._timers.values()), default=None)

    def run_timers(self) -> None:
        """Do what is due, in order."""
        for name, timer in sorted(self._timers.items(), key=lambda item: item[1].due):
            if timer.due <= self.now and self._timers.get(name) is timer:
                del self._timers[name]
                if timer.utc_ms is not None and timer.utc_ms > self.utc_ms:
                    self.at_utc(name, timer.utc_ms, timer.do)
                else:
                    timer.do()

    # -- memory

    def keep(self, collection: str, key: str, value: msgspec.Struct, *, durable: bool = True) -> None:
        """Store a value over restarts."""
        self.actions.append(Keep(collection, key, msgspec.json.encode(value), durable))

    def keep_text(self, collection: str, key: str, text: str) -> None:
        """Store a text over restarts."""
        self.actions.append(Keep(collection, key, text.encode()))

    def forget(self, collection: str, key: str, *, durable: bool = True) -> None:
        """Forget what was stored."""
        self.actions.append(Keep(collection, key, None, durable))

    def stored(self, collection: str, type_: type[T]) -> dict[str, T]:
        """Return what a drawer held at the start, in order of keys; what cannot be read is observed and left out."""
        found: dict[str, T] = {}
        for key, body in sorted(self._saved.get(collection, {}).items()):
            try:
                found[key] = typed_json.decode(body, type_)
            except msgspec.DecodeError as error:
                self.note("memory_unreadable", drawer=collection, key=key, reason=str(error)[:200])
                self.forget(collection, key)
        return found

    def stored_text(self, collection: str) -> dict[str, str]:
        """Return the texts that a drawer held at the start."""
        return {key: body.decode(errors="replace") for key, body in self._saved.get(collection, {}).items()}

    def started(self) -> None:
        """Let go of what the memory held at the start: every block has read its part."""
        self._saved = {}

    # -- the CSMS

    def use(self, connection: Connection) -> None:
        """Let this be the way to the CSMS."""
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """The way to the CSMS, once the blocks are there."""
        assert self._connection is not None
        return self._connection

    def call(self, request: Message, then: Then | None = None, *, always: bool = False) -> None:
        """See Connection."""
        self.connection.call(request, then, always=always)

    def notify(self, message: Message) -> None:
        """See Connection."""
        self.connection.notify(message)

    # -- the world

    def do(self, command: Command | Connect | Disconnect | Send) -> None:
        """Want something done."""
        self.actions.append(command)

    def note(self, name: str, **data: Any) -> None:
        """Tell whoever looks on."""
        self.actions.append(Observe("ocpp", name, data))

    def watch(self, watcher: Callable[[Variable, str, str], None]) -> None:
        """Be told of every change of the device model: variable, old text, new text."""
        self._watchers.append(watcher)

    def put(self, key: str, value: str) -> None:
        """Change a variable from inside, where the station has it."""
        if self.model.has(key):
            self.model.put(key, value)

    @property
    def online(self) -> bool:
        """Whether the CSMS has accepted this station and can be reached."""
        return self.registration == "Accepted" and self.reachable

    reachable: bool = False
    """Whether there is a connection."""

    @property
    def offline_since_ms(self) -> int | None:
        """UTC ms since when the CSMS is out of reach, None while it is not. Setting the clock moves it along."""
        away = self.now - self.offline_since
        return None if self.online or away == float("inf") else self.utc_ms - round(away * 1000 * self.scale)

    def _changed(self, variable: Variable, old: str, new: str) -> None:
        for watcher in self._watchers:
            watcher(variable, old, new)


def status_info(code: str, text: str = "") -> StatusInfo:
    """Return a StatusInfo; codes are those of appendix 5 where one fits."""
    return StatusInfo(reason_code=code, additional_info=text or None)


def is_refused(answer: Answer) -> bool:
    """Return whether the CSMS, and not the network, has failed a request."""
    return isinstance(answer, OcppError)


def is_unreachable(answer: Answer) -> bool:
    """Return whether no answer came."""
    return isinstance(answer, TimeoutExpired | TransportError)
