"""The editions that a vehicle offers, and the session that continues with the charger's choice.

A vehicle lists protocols by priority in SupportedAppProtocolReq, the charger selects one. Engine, monitoring, ports,
program and policies are shared by all editions. `evcc.editions` lists those that a vehicle may offer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from evcc.policy.policy import OwnPolicy
from evcc.session.contracts import Contract, Provisioning
from evcc.session.paused import Paused
from evcc.session.ports import BatteryState
from evcc.session.settings import SessionConfig
from v2g import exi
from v2g.errors import CodecError, ConfigError
from v2g.iso15118.engine.app_protocol import AppProtocol, SupportedAppProtocolRes
from v2g.iso15118.engine.core import Conversation
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Action, Entropy, Fact, Received, decode_padded
from v2g.iso15118.engine.v2gtp import Framer
from v2g.safety import Ask


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """One connection to a charger, and what the vehicle brings to it; each edition uses its part.

    `secc_certificate` is the leaf (DER) that the charger presented in TLS, empty without TLS; `stopwatch` measures
    decisions (s). `discharged_before_mwh` is the battery's register when the vehicle was plugged in (None: now).
    """

    battery: BatteryState
    secc_certificate: bytes
    entropy: Entropy
    contracts: tuple[Contract, ...] = ()
    provisioning: Provisioning | None = None
    stopwatch: Callable[[], float] | None = None
    resume: Paused | None = None
    price_signers: tuple[bytes, ...] = ()
    own_policy: OwnPolicy | None = None
    discharged_before_mwh: int | None = None


class EditionSession(Conversation, Protocol):
    """A vehicle's session of one edition."""

    @property
    def paused(self) -> Paused | None:
        """The state to resume the session, None if it has not paused."""


class MessageReader(Protocol):
    """Translates the messages of one session, in their order; each edition has its own."""

    def decode(self, payload_type: int, payload: bytes) -> Any:
        """Return the message of a V2GTP payload, None if it is invalid."""

    def sent(self, message: Any, payload_type: int) -> Ask:
        """Return the meaning of a message sent by the vehicle."""

    def received(self, message: Any, payload_type: int) -> Ask:
        """Return the meaning of a message sent by the charger."""


class Edition(Protocol):
    """What each edition provides."""

    def protocols(self, config: SessionConfig, *, tls: bool) -> tuple[AppProtocol, ...]:
        """Return what the vehicle offers on a connection with or without TLS, best first; ids do not count yet."""

    def session(
        self, config: SessionConfig, connection: Connection, protocols: tuple[AppProtocol, ...], connected_for: float
    ) -> EditionSession:
        """Return a session that begins with the handshake, in which it offers these protocols.

        `connected_for` is the time (s) since the data link was matched.
        """

    def reader(self, config: SessionConfig) -> MessageReader:
        """Return what reads the messages of a session for the safety monitor."""


class NegotiatedSession:
    """One connection: a session of the first edition until the charger has selected one, then of that edition.

    See `v2g.iso15118.engine.core.Conversation`. Raises ConfigError if no edition has a protocol for the connection.
    """

    def __init__(
        self, editions: Sequence[Edition], config: SessionConfig, connection: Connection, *, connected_for: float = 0.0
    ) -> None:
        tls = bool(connection.secc_certificate)
        offers = [(edition, each) for edition in editions for each in edition.protocols(config, tls=tls)]
        if not offers:
            transport = "with" if tls else "without"
            raise ConfigError(f"no edition to offer {transport} TLS", hint="see editions and sdp.without_tls")
        self._editions = {rank: edition for rank, (edition, _) in enumerate(offers, start=1)}
        self._protocols = tuple(
            msgspec.structs.replace(each, schema_id=rank, priority=rank)
            for rank, (_, each) in enumerate(offers, start=1)
        )
        self._config, self._connection, self._connected_for = config, connection, connected_for
        self.session = self._begin(offers[0][0], 0.0)
        """The current session."""
        self._first = offers[0][0]
        self._handshake = Framer() if len(set(map(id, self._editions.values()))) > 1 else None
        self._received = b""
        self._facts: list[Fact] = []
        self._started = 0.0

    def _begin(self, edition: Edition, elapsed: float) -> EditionSession:
        return edition.session(self._config, self._connection, self._protocols, self._connected_for + elapsed)

    def reader(self) -> MessageReader:
        """Return what reads this connection's messages for the safety monitor."""
        return _NegotiatedReader(self._editions, self._config)

    @property
    def paused(self) -> Paused | None:
        """See EditionSession."""
        return self.session.paused

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
        self._started = now
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
        """Continue with the charger's choice; return all received data, nothing until it is known."""
        self._received += data
        try:
            first = next(framer.feed(data), None)
            if first is None:
                return b""
            response, _ = decode_padded(lambda octets: exi.decode(octets, APP_PROTOCOL), first.payload)
        except CodecError:
            response = None
        edition = self._first
        if isinstance(response, SupportedAppProtocolRes) and response.schema_id is not None:
            edition = self._editions.get(response.schema_id, edition)
        if edition is not self._first and not self.session.closed:
            self.session = self._begin(edition, now - self._started)
            self.session.start(now, utc_ms)
            self.session.actions()  # the same request, which the first session has sent
            for fact in self._facts:
                self.session.fact(fact, now, utc_ms)
        self._handshake = None
        self._facts.clear()
        return self._received


class _NegotiatedReader:
    """Reads messages as the first edition does until the charger has selected one, then as that one."""

    def __init__(self, editions: Mapping[int, Edition], config: SessionConfig) -> None:
        self._editions, self._config = editions, config
        self._reader = editions[1].reader(config)
        self._selected = False

    def decode(self, payload_type: int, payload: bytes) -> Any:
        """See MessageReader."""
        if not self._selected and payload_type == APP_PROTOCOL.payload_type:
            self._select(payload)
        return self._reader.decode(payload_type, payload)

    def _select(self, payload: bytes) -> None:
        try:
            message, _ = decode_padded(lambda octets: exi.decode(octets, APP_PROTOCOL), payload)
        except CodecError:
            return
        if isinstance(message, SupportedAppProtocolRes):
            self._selected = True
            edition = self._editions.get(message.schema_id or 1)
            if edition is not None and edition is not self._editions[1]:
                self._reader = edition.reader(self._config)

    def sent(self, message: Any, payload_type: int) -> Ask:
        """See MessageReader."""
        return self._reader.sent(message, payload_type)

    def received(self, message: Any, payload_type: int) -> Ask:
        """See MessageReader."""
        return self._reader.received(message, payload_type)
