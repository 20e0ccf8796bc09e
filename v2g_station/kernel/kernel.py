"""What all functional blocks share: clock, timers, stored documents, device model, and the connection to the CSMS.

Blocks are objects that hold a `Kernel`. Their output is a list of actions, in order; the shell commits all `Keep`s of a
batch in one transaction before it sends or commands anything of that batch, so that nothing already reported can be
lost.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from v2g import typed_json
from v2g.errors import OcppError, TimeoutExpired, TransportError, V2GError
from v2g.iso15118.engine.session import Fact
from v2g.observe import Callbacks, Observe, Scalar, defect
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g.ocpp.routes import Version
from v2g.text import redacted
from v2g_station.kernel.device_model import DeviceModel
from v2g_station.kernel.layout import StationLayout, Variable, station_variables

T = TypeVar("T", bound=msgspec.Struct)

CLOCK_SET_MS: Final = 1000
"""Change of the difference between both clocks from which the time of day counts as set."""

MOST_REPORTED: Final = 200
AGAIN_S: Final = 60.0
"""Seconds until a timer whose work has failed gets its next turn, and between two events of the same defect."""

_OFFLINE: Final = "offline"

Registration = Literal["Accepted", "Pending", "Rejected", "Unknown"]

SavedDocuments = Mapping[str, Mapping[str, bytes]]
"""Documents that survive a restart: collection -> key -> JSON."""


class Keep(msgspec.Struct, frozen=True):
    """Store a body under a key of a collection, or delete it (None). Without `durable` a power failure may undo it."""

    collection: str
    key: str
    body: bytes | None
    durable: bool = True


class SendToCsms(msgspec.Struct, frozen=True):
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


class Ping(msgspec.Struct, frozen=True):
    """Ping the CSMS at this interval from now on, s; never if 0."""

    interval_s: float


class StationCommand(Fact, frozen=True, kw_only=True):
    """Base of commands to the hardware, which are facts for the charger's own cores."""


Action = Keep | SendToCsms | Connect | Disconnect | Ping | StationCommand | Observe

Answer = Message | V2GError
Then = Callable[[Answer], None]
Handler = Callable[[Any], Message]
"""Answers one action; the table of a block defines the request type."""


class Deferred(Message, frozen=True):
    """Placeholder for a later answer: its creator calls `resolve` once."""

    sinks: list[Callable[[Message], None]] = msgspec.field(default_factory=list)

    def resolve(self, answer: Message) -> None:
        """Give the answer."""
        for sink in self.sinks:
            sink(answer)
        self.sinks.clear()


class Moment(NamedTuple):
    """A time: `now` in s on a monotonic clock, `utc_ms` the time of day."""

    now: float
    utc_ms: int


class CsmsConnection(Protocol):
    """The connection to the CSMS."""

    def call(
        self, request: Message, then: Then | None = None, *, always: bool = False, timeout: float | None = None
    ) -> None:
        """Send a request. `then` gets the answer or the error; before registration only `always` requests are sent.

        `timeout` (s, from sending) is for what is of use no longer than that: others wait until it is over.
        """

    def notify(self, message: Message) -> None:
        """Send a message without a response, when registered."""

    def boot(self, *, triggered: bool = False) -> None:
        """Send a boot notification (B01); `triggered` by the CSMS (F06)."""

    def reconnect(self) -> None:
        """Close the connection and open a new one at once, e.g. after a change of security or network (B10)."""


class Timer(NamedTuple):
    """A timer: `due` on the clock of `now`, and not before `utc_ms` if it is set for a time of day."""

    due: float
    do: Callable[[], object]
    utc_ms: int | None = None


class Kernel:
    """Shared by all blocks of one station."""

    def __init__(
        self,
        layout: StationLayout,
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
        """The version that the blocks speak: 2.0.1 over 1.6."""
        self.bridged = False
        """Whether the connection, or the last one, is of 1.6."""
        self.registers = False
        """Whether the beginning and the end of a transaction report its register in any case, as 1.6 needs it."""
        self.registration: Registration = "Unknown"
        away_ms = self.utc_ms - int(saved.get(_OFFLINE, {}).get("since_ms", b"%d" % self.utc_ms))
        self.offline_since = self.now - max(0, away_ms) / 1000 / scale
        """When the CSMS became unreachable, also before a restart, on the clock of `now`; -inf once it has accepted
        another boot."""
        self.actions: list[Action] = []
        self._saved = saved
        self._timers: dict[str, Timer] = {}
        self.on_clock_set: list[Callable[[int], None]] = []
        """Called with the ms by which the time of day was set."""
        self.defects = 0
        """How many exceptions `contain` has caught."""
        self._reported: dict[str, float] = {}
        self.watch: Final = Callbacks[Variable, str, str]()
        """Subscribe to all changes of the device model: variable, old value, new value."""
        self._connection: CsmsConnection | None = None
        stored = dict(values) | {key: body.decode() for key, body in saved.get("variables", {}).items()}
        self.model: Final = DeviceModel(
            station_variables(layout),
            stored,
            keep=lambda key, value: self.keep_text("variables", key, value),
            changed=self._changed,
        )

    # -- time

    def at(self, moment: Moment) -> None:
        """Set the current time; notify listeners if the time of day was set, e.g. by a first NTP answer."""
        jump_ms = moment.utc_ms - self.utc_ms - (moment.now - self.now) * 1000 * self.scale
        self.now, self.utc_ms = moment
        if abs(jump_ms) < CLOCK_SET_MS * max(1.0, self.scale):
            return
        for name, timer in list(self._timers.items()):
            if timer.utc_ms is not None:
                self.at_utc(name, timer.utc_ms, timer.do)
        for listener in self.on_clock_set:
            self.contain("clock set", lambda listener=listener: listener(round(jump_ms)))  # type: ignore[misc]

    def after(self, name: str, seconds: float, do: Callable[[], object]) -> None:
        """Call `do` after some time; replaces the timer of that name."""
        self._timers[name] = Timer(self.now + max(0.0, seconds), do)

    def at_utc(self, name: str, utc_ms: int, do: Callable[[], object]) -> None:
        """Call `do` at a time of day, even if the clock is set meanwhile; replaces the timer of that name."""
        seconds = (utc_ms - self.utc_ms) / 1000 / self.scale
        self._timers[name] = Timer(self.now + min(max(0.0, seconds), 86_400.0), do, utc_ms)

    def cancel(self, name: str) -> None:
        """Cancel a timer."""
        self._timers.pop(name, None)

    def planned(self, name: str) -> bool:
        """Return whether a timer is set."""
        return name in self._timers

    def deadline(self) -> float | None:
        """Return when `run_timers` is due, on the clock of `now`."""
        return min((timer.due for timer in self._timers.values()), default=None)

    def run_timers(self) -> None:
        """Run the timers that are due, in order."""
        for name, timer in sorted(self._timers.items(), key=lambda item: item[1].due):
            if timer.due <= self.now and self._timers.get(name) is timer:
                del self._timers[name]
                if timer.utc_ms is not None and timer.utc_ms > self.utc_ms:
                    self.at_utc(name, timer.utc_ms, timer.do)
                elif not self.contain(f"timer {name}", timer.do) and name not in self._timers:
                    self.after(name, AGAIN_S, timer.do)

    # -- defects

    def contain(self, where: str, work: Callable[[], object]) -> bool:
        """Run one part of a step. A defect in it costs that part only: it is counted and reported, and the station goes
        on. Return whether there was none."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - no message, timer or answer may end the station
            self.report_defect(where, error)
            return False
        return True

    def report_defect(self, where: str, error: Exception) -> None:
        """Count an unexpected exception, and report it unless it is the same as within AGAIN_S."""
        if (event := self.defect_event(where, error)) is not None:
            self.actions.append(event)

    def defect_event(self, where: str, error: Exception) -> Observe | None:
        """Count an unexpected exception; return the event that reports it, None if the same was within AGAIN_S."""
        self.defects += 1
        kind = f"{where} {type(error).__name__}"
        if self.now - self._reported.get(kind, float("-inf")) < AGAIN_S:
            return None
        if len(self._reported) > MOST_REPORTED:
            self._reported.clear()
        self._reported[kind] = self.now
        return Observe("ocpp", "station_defect", {"where": where[:100], "count": self.defects, **defect(error)})

    # -- stored documents

    def keep(self, collection: str, key: str, value: msgspec.Struct, *, durable: bool = True) -> None:
        """Store a value across restarts."""
        self.actions.append(Keep(collection, key, msgspec.json.encode(value), durable))

    def keep_text(self, collection: str, key: str, text: str) -> None:
        """Store a text across restarts."""
        self.actions.append(Keep(collection, key, text.encode()))

    def forget(self, collection: str, key: str, *, durable: bool = True) -> None:
        """Delete a stored document."""
        self.actions.append(Keep(collection, key, None, durable))

    def stored(self, collection: str, type_: type[T]) -> dict[str, T]:
        """Return a collection as of the start, in order of keys; unreadable documents are observed and left out."""
        found: dict[str, T] = {}
        for key, body in sorted(self._saved.get(collection, {}).items()):
            try:
                found[key] = typed_json.decode_kept(body, type_)
            except msgspec.DecodeError as error:
                self.note("memory_unreadable", collection=collection, key=key, reason=str(error)[:200])
                self.forget(collection, key)
        return found

    def stored_text(self, collection: str) -> dict[str, str]:
        """Return the texts of a collection as of the start."""
        return {key: body.decode(errors="replace") for key, body in self._saved.get(collection, {}).items()}

    def started(self) -> None:
        """Release the documents read at the start: every block has loaded its part."""
        self._saved = {}

    # -- the CSMS

    def use(self, connection: CsmsConnection) -> None:
        """Set the connection to the CSMS."""
        self._connection = connection

    @property
    def connection(self) -> CsmsConnection:
        """The connection to the CSMS, once the blocks are assembled."""
        assert self._connection is not None
        return self._connection

    def call(
        self, request: Message, then: Then | None = None, *, always: bool = False, timeout: float | None = None
    ) -> None:
        self.connection.call(request, then, always=always, timeout=timeout)

    def notify(self, message: Message) -> None:
        self.connection.notify(message)

    # -- commands and observation

    def do(self, command: StationCommand | Connect | Disconnect | Ping | SendToCsms) -> None:
        """Add an action."""
        self.actions.append(command)

    def went_offline(self) -> None:
        """Handle the loss of a CSMS that had accepted this station."""
        self.offline_since = self.now
        self.keep_text(_OFFLINE, "since_ms", str(self.utc_ms))

    def went_online(self, *, booted: bool) -> None:
        """Handle a CSMS that accepts this station; if it has just `booted`, all states are reported (B01.FR.05)."""
        self.forget(_OFFLINE, "since_ms")
        if booted:
            self.offline_since = float("-inf")

    def note(self, name: str, **data: Scalar) -> None:
        """Report an observation."""
        self.actions.append(Observe("ocpp", name, data))

    def put(self, key: str, value: str) -> None:
        """Change a variable internally, if the station has it."""
        if self.model.has(key):
            self.model.put(key, value)

    @property
    def online(self) -> bool:
        """Whether the CSMS has accepted this station and is reachable."""
        return self.registration == "Accepted" and self.reachable

    reachable: bool = False
    """Whether there is a connection."""

    @property
    def offline_since_ms(self) -> int | None:
        """UTC ms since when the CSMS is unreachable, None while it is reachable. Setting the clock shifts it."""
        away = self.now - self.offline_since
        return None if self.online or away == float("inf") else self.utc_ms - round(away * 1000 * self.scale)

    def _changed(self, variable: Variable, old: str, new: str) -> None:
        self.watch.tell(variable, old, new)


def status_info(code: str, text: str = "") -> StatusInfo:
    """Return a StatusInfo; codes are those of appendix 5 where one fits. A text, which may quote what was received, is
    cut to the length that 2.0.1 allows: a longer one would leave the request without its answer."""
    return StatusInfo(reason_code=code, additional_info=text[:512] or None)


def is_refused(answer: Answer) -> bool:
    """Return whether the CSMS, not the network, has failed a request."""
    return isinstance(answer, OcppError)


def is_unreachable(answer: Answer) -> bool:
    """Return whether no answer came."""
    return isinstance(answer, TimeoutExpired | TransportError)
