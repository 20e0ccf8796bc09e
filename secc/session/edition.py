"""An edition served by a charger, and the choice among several by the vehicle's protocols.

An edition has messages, a sequence chart and handlers; journal, limits, hardware, authorisation and the engine are
shared. `secc.app` lists those that are served.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from secc.session.config import SeccConfig
from secc.session.facts import SessionFacts
from secc.session.identity import Connection
from secc.session.limits import SessionLimits
from secc.session.ports import Paused
from v2g.energy.limits import LimitsOverTime
from v2g.exi.declare import Element
from v2g.iso15118.engine.app_protocol import AppProtocol, SupportedAppProtocolReq
from v2g.iso15118.engine.core import Conversation
from v2g.iso15118.engine.negotiated import Negotiated
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.session import OnMessage, decode_padded, ignored
from v2g.iso15118.engine.v2gtp import Frame
from v2g.iso15118.select import NAMESPACES, best_ranked
from v2g.safety import Request


class SessionStart(msgspec.Struct, frozen=True, kw_only=True):
    """What a session begins with, in any edition.

    `limits` begins with the charger's rating for its first service, `facts` with the meter's reading at the start.
    `paused` is the session that the vehicle may join. `time_scale` is how many (simulated) seconds of UTC pass in one
    of the monotonic clock; `on_message` is called with each message of the vehicle.
    """

    config: SeccConfig
    connection: Connection
    limits: SessionLimits
    facts: SessionFacts
    paused: Paused | None = None
    time_scale: float = 1.0
    on_message: OnMessage = ignored


class EditionSession(Conversation, Protocol):
    """A session of one edition: a core, and what an EVSE reads from it."""

    def schedule_limits(self, utc_ms: int) -> LimitsOverTime:
        """Return the limits that a schedule would be made of now, if the vehicle has one; nothing else."""

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back by the selected services."""


class Edition(Protocol):
    """What each edition provides."""

    def serves(self, protocol: AppProtocol, config: SeccConfig) -> bool:
        """Return whether this charger supports a protocol that a vehicle offers."""

    def session(self, start: SessionStart) -> EditionSession:
        """Return a session that begins with the handshake."""

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Element, int], Request]:
        """Return the function that translates a message, by its V2GTP payload type, for the safety monitor."""


def served(editions: Sequence[Edition], config: SeccConfig) -> tuple[str, ...]:
    """Return the namespaces of the protocols that a charger supports by these editions."""

    def protocol(uri: str, major: int) -> AppProtocol:
        return AppProtocol(
            protocol_namespace=uri, version_number_major=major, version_number_minor=0, schema_id=0, priority=1
        )

    protocols = (protocol(uri, major) for uri in NAMESPACES for major in (1, 2))
    return tuple(
        each.protocol_namespace for each in protocols if any(edition.serves(each, config) for edition in editions)
    )


class NegotiatedSession(Negotiated[EditionSession]):
    """One connection: served by the first edition until the vehicle has named its protocols, then by the chosen one.

    `begin` returns a session of an edition in the present state.
    """

    def __init__(
        self, editions: Sequence[Edition], config: SeccConfig, begin: Callable[[Edition], EditionSession]
    ) -> None:
        super().__init__(begin(editions[0]), chooses=len(editions) > 1)
        self._editions, self._config, self._session_of = editions, config, begin

    def schedule_limits(self, utc_ms: int) -> LimitsOverTime:
        return self.session.schedule_limits(utc_ms)

    @property
    def bidirectional(self) -> bool:
        return self.session.bidirectional

    def _chosen(self, first: Frame, now: float) -> EditionSession | None:
        """Continue with the edition of the vehicle's best-ranked protocol that the charger serves."""
        request, _ = decode_padded(first.payload, APP_PROTOCOL)
        if not isinstance(request, SupportedAppProtocolReq):
            return None
        best = best_ranked(request.app_protocol, lambda each: self._serving(each) is not None)
        edition = None if best is None else self._serving(best)
        return None if edition is None or edition is self._editions[0] else self._session_of(edition)

    def _serving(self, protocol: AppProtocol) -> Edition | None:
        return next((each for each in self._editions if each.serves(protocol, self._config)), None)
