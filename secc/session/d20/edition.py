"""ISO 15118-20 as served by a charger: see `secc.session.edition.Edition`."""

from collections.abc import Callable
from typing import Any

from secc.session.config import SeccConfig
from secc.session.d20 import setup
from secc.session.d20.safety import Iso20Requests
from secc.session.d20.session import SeccSession
from secc.session.facts import SessionFacts
from secc.session.identity import Connection
from secc.session.limits import SessionLimits
from secc.session.paused import Paused
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.session import OnMessage
from v2g.safety import Request


class Iso20:
    """See Edition."""

    def serves(self, protocol: AppProtocol, config: SeccConfig) -> bool:
        """See Edition."""
        return setup.serves(protocol, config)

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
    ) -> SeccSession:
        """See Edition."""
        return SeccSession(
            config, connection, limits, facts, paused=paused, time_scale=time_scale, on_message=on_message
        )

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Any, int], Request]:
        """See Edition."""
        return Iso20Requests(config, interop=interop).read
