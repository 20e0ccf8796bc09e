"""The editions that a vehicle offers, and the session that continues with the charger's choice.

A vehicle lists protocols by priority in SupportedAppProtocolReq, the charger selects one. Engine, monitoring, ports,
program and policies are shared by all editions. `evcc.app` lists those that a vehicle may offer.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from evcc.policy.policy import OwnPolicy
from evcc.session.contracts import Contract, Provisioning
from evcc.session.paused import Paused
from evcc.session.ports import BatteryState
from evcc.session.settings import SessionConfig
from v2g.errors import CodecError, ConfigError
from v2g.exi.declare import Element
from v2g.iso15118.engine.app_protocol import AppProtocol, SupportedAppProtocolRes
from v2g.iso15118.engine.core import Conversation
from v2g.iso15118.engine.negotiated import Negotiated
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.session import Entropy, decode_padded
from v2g.iso15118.engine.signature import INTEROP
from v2g.iso15118.engine.v2gtp import Frame
from v2g.pki.keys import Algorithm
from v2g.safety import Ask


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """One connection to a charger, and what the vehicle brings to it; each edition uses its part.

    `battery` is its present state. `secc_certificate` is the leaf (DER) that the charger presented in TLS, empty
    without TLS; `stopwatch` measures decisions (s). `resume` is `paused` of an earlier session, which an edition takes
    if it is its own; where the vehicle `stays` plugged in since then, its program goes on also in a new session.
    `price_signers` are certificates (DER) of permitted signers of tariffs beside the CAs of the
    contracts. `discharged_before_mwh` is the battery's register when the vehicle was plugged in (None: now).
    `refused` are the leaves (DER) of contracts that chargers have refused, each with the time (UTC, ms) until which
    others come first in ISO 15118-2. `signs` are the algorithms with which a contract may pay in -20. `time_scale` is
    how many (simulated) seconds of UTC pass in one of the monotonic clock.
    """

    battery: BatteryState
    entropy: Entropy
    secc_certificate: bytes = b""
    contracts: tuple[Contract, ...] = ()
    refused: Mapping[bytes, int] = msgspec.field(default_factory=dict)
    signs: Collection[Algorithm] = INTEROP
    provisioning: Provisioning | None = None
    stopwatch: Callable[[], float] | None = None
    resume: Paused | None = None
    stays: bool = False
    price_signers: tuple[bytes, ...] = ()
    own_policy: OwnPolicy | None = None
    discharged_before_mwh: int | None = None
    time_scale: float = 1.0


class EditionSession(Conversation, Protocol):
    """A vehicle's session of one edition."""

    @property
    def paused(self) -> Paused | None:
        """The state to resume the session, None if it has not paused."""


class MessageReader(Protocol):
    """Translates the messages of one session, in their order; each edition has its own."""

    def decode(self, payload_type: int, payload: bytes) -> Element | None:
        """Return the message of a V2GTP payload, None if it is invalid."""

    def sent(self, message: Element, payload_type: int) -> Ask:
        """Return the meaning of a message sent by the vehicle."""

    def received(self, message: Element, payload_type: int) -> Ask:
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


class NegotiatedSession(Negotiated[EditionSession]):
    """One connection: a session of the first edition until the charger has selected one, then of that edition.

    A Core. Raises ConfigError if no edition has a protocol for the connection.
    """

    def __init__(
        self, editions: Sequence[Edition], config: SessionConfig, connection: Connection, *, connected_for: float = 0.0
    ) -> None:
        tls = bool(connection.secc_certificate)
        offers = [(edition, each) for edition in editions for each in edition.protocols(config, tls=tls)]
        if not offers:
            transport = "with" if tls else "without"
            hint = "see editions, authorization.allow_eim and sdp.without_tls"
            raise ConfigError(f"no edition to offer {transport} TLS", hint=hint)
        self._editions = {rank: edition for rank, (edition, _) in enumerate(offers, start=1)}
        self._protocols = tuple(
            msgspec.structs.replace(each, schema_id=rank, priority=rank)
            for rank, (_, each) in enumerate(offers, start=1)
        )
        self._config, self._connection, self._connected_for = config, connection, connected_for
        self._started = 0.0
        self._first = offers[0][0]
        others = any(edition is not self._first for edition, _ in offers)
        super().__init__(self._session_of(self._first, 0.0), chooses=others)

    def _session_of(self, edition: Edition, elapsed: float) -> EditionSession:
        return edition.session(self._config, self._connection, self._protocols, self._connected_for + elapsed)

    def reader(self) -> MessageReader:
        """Return what reads this connection's messages for the safety monitor."""
        return _NegotiatedReader(self._editions, self._config)

    @property
    def paused(self) -> Paused | None:
        return self.session.paused

    def start(self, now: float, utc_ms: int) -> None:
        self._started = now
        super().start(now, utc_ms)

    def _chosen(self, first: Frame, now: float) -> EditionSession | None:
        """Continue with the edition that the charger has selected."""
        response, _ = decode_padded(first.payload, APP_PROTOCOL)
        if self.closed or not isinstance(response, SupportedAppProtocolRes) or response.schema_id is None:
            return None
        edition = self._editions.get(response.schema_id, self._first)
        return None if edition is self._first else self._session_of(edition, now - self._started)

    def _begin(self, session: EditionSession, now: float, utc_ms: int) -> None:
        super()._begin(session, now, utc_ms)
        session.actions()  # the same request, which the first session has sent


class _NegotiatedReader:
    """MessageReader: as the first edition does until the charger has selected one, then as that one."""

    def __init__(self, editions: Mapping[int, Edition], config: SessionConfig) -> None:
        self._editions, self._config = editions, config
        self._reader = editions[1].reader(config)
        self._selected = False

    def decode(self, payload_type: int, payload: bytes) -> Element | None:
        if not self._selected and payload_type == APP_PROTOCOL.payload_type:
            self._select(payload)
        return self._reader.decode(payload_type, payload)

    def _select(self, payload: bytes) -> None:
        try:
            message, _ = decode_padded(payload, APP_PROTOCOL)
        except CodecError:
            return
        if isinstance(message, SupportedAppProtocolRes):
            self._selected = True
            edition = self._editions.get(message.schema_id or 1)
            if edition is not None and edition is not self._editions[1]:
                self._reader = edition.reader(self._config)

    def sent(self, message: Element, payload_type: int) -> Ask:
        return self._reader.sent(message, payload_type)

    def received(self, message: Element, payload_type: int) -> Ask:
        return self._reader.received(message, payload_type)
