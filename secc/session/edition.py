"""An edition served by a charger, and the choice among several by the vehicle's protocols.

An edition has messages, a sequence chart and handlers; journal, limits, hardware, authorisation and the engine are
shared. `secc.editions` lists those that are served.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from secc.session.config import SeccConfig
from secc.session.facts import SessionFacts
from secc.session.identity import Connection
from secc.session.limits import SessionLimits
from secc.session.paused import Paused
from v2g import exi
from v2g.errors import CodecError
from v2g.iso15118.engine.app_protocol import AppProtocol, SupportedAppProtocolReq
from v2g.iso15118.engine.core import Conversation
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Action, Fact, OnMessage, Received, decode_padded
from v2g.iso15118.engine.v2gtp import Frame, Framer
from v2g.iso15118.select import best_ranked
from v2g.safety import Request


class EditionSession(Conversation, Protocol):
    """A session of one edition: a core, and what an EVSE reads from it."""

    @property
    def scheduled(self) -> bool:
        """Whether the vehicle follows a schedule, which new limits and prices make obsolete."""

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back by the selected services."""


class Edition(Protocol):
    """What each edition provides."""

    def serves(self, protocol: AppProtocol, config: SeccConfig) -> bool:
        """Return whether this charger supports a protocol that a vehicle offers."""

    def session(
        self,
        config: SeccConfig,
        connection: Connection,
        limits: SessionLimits,
        facts: SessionFacts,
        *,
        paused: Paused | None,
        time_scale: float,
        on_message: OnMessage,
    ) -> EditionSession:
        """Return a session that begins with the handshake.

        `limits` begins with the charger's rating for its first service, `facts` with the meter's reading at the
        start. `paused` is the session that the vehicle may join. `time_scale` is how many (simulated) seconds of UTC
        pass in one of the monotonic clock; `on_message` is called with each message of the vehicle.
        """

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Any, int], Request]:
        """Return the function that translates a message, by its V2GTP payload type, for the safety monitor."""


class NegotiatedSession:
    """One connection: served by the first edition until the vehicle has named its protocols, then by the chosen one.

    See `v2g.iso15118.engine.core.Conversation`. `begin` returns a session of an edition in the present state.
    """

    def __init__(
        self, editions: Sequence[Edition], config: SeccConfig, begin: Callable[[Edition], EditionSession]
    ) -> None:
        self._editions, self._config, self._begin = editions, config, begin
        self.session = begin(editions[0])
        """The current session."""
        self._handshake = Framer() if len(editions) > 1 else None
        self._received = b""
        self._facts: list[Fact] = []

    @property
    def scheduled(self) -> bool:
        """See EditionSession."""
        return self.session.scheduled

    @property
    def bidirectional(self) -> bool:
        """See EditionSession."""
        return self.session.bidirectional

    @property
    def closed(self) -> bool:
        """See Core."""
        return self.session.closed

    @property
    def reason(self) -> str:
        """See Core."""
        return self.session.reason

    @property
    def state(self) -> State:
        """See Conversation."""
        return self.session.state

    @property
    def session_id(self) -> bytes:
        """See Conversation."""
        return self.session.session_id

    @property
    def newest(self) -> Received:
        """See Conversation."""
        return self.session.newest

    def decode(self, payload_type: int, payload: bytes) -> tuple[Any, int]:
        """See Conversation."""
        return self.session.decode(payload_type, payload)

    def start(self, now: float, utc_ms: int) -> None:
        """See Core."""
        self.session.start(now, utc_ms)

    def receive(self, data: bytes, now: float, utc_ms: int) -> None:
        """See Core. Data before the end of the handshake is buffered."""
        if self._handshake is not None:
            data = self._negotiate(self._handshake, data, now, utc_ms)
        if data:
            self.session.receive(data, now, utc_ms)

    def receive_eof(self, now: float, utc_ms: int) -> None:
        """See Core."""
        self.session.receive_eof(now, utc_ms)

    def fact(self, fact: Fact, now: float, utc_ms: int) -> None:
        """See Core."""
        if self._handshake is not None:
            self._facts.append(fact)
        self.session.fact(fact, now, utc_ms)

    def tick(self, now: float, utc_ms: int) -> None:
        """See Core."""
        self.session.tick(now, utc_ms)

    def abort(self, reason: str, now: float, utc_ms: int) -> None:
        """See Core."""
        self.session.abort(reason, now, utc_ms)

    def deadline(self) -> float | None:
        """See Core."""
        return self.session.deadline()

    def actions(self) -> list[Action]:
        """See Core."""
        return self.session.actions()

    def _negotiate(self, framer: Framer, data: bytes, now: float, utc_ms: int) -> bytes:
        """Continue with the edition that the vehicle chooses; return all received data, nothing until it is known."""
        self._received += data
        try:
            first = next(framer.feed(data), None)
            if first is None:
                return b""
            edition = self._edition_of(first)
        except CodecError:
            edition = self._editions[0]
        if edition is not self._editions[0]:
            self.session = self._begin(edition)
            self.session.start(now, utc_ms)
            for fact in self._facts:
                self.session.fact(fact, now, utc_ms)
        self._handshake = None
        self._facts.clear()
        return self._received

    def _edition_of(self, first: Frame) -> Edition:
        """Return the edition that the vehicle's first frame asks for. Raises ExiDecodeError."""
        if first.payload_type == APP_PROTOCOL.payload_type:
            request, _ = decode_padded(lambda octets: exi.decode(octets, APP_PROTOCOL), first.payload)
            if isinstance(request, SupportedAppProtocolReq):
                best = best_ranked(request.app_protocol, lambda each: self._serving(each) is not None)
                return (self._serving(best) if best is not None else None) or self._editions[0]
        return self._editions[0]

    def _serving(self, protocol: AppProtocol) -> Edition | None:
        return next((each for each in self._editions if each.serves(protocol, self._config)), None)
