"""ISO 15118-2 as served by a charger: see `secc.session.edition.Edition`."""

from collections.abc import Callable
from typing import Any

from secc.session.config import SeccConfig
from secc.session.d2 import setup
from secc.session.d2.session import Iso2Session
from secc.session.facts import SessionFacts
from secc.session.identity import Connection
from secc.session.limits import SessionLimits
from secc.session.paused import Paused
from secc.session.v2g_message.safety import V2gMessageRequests
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.session import OnMessage
from v2g.safety import Request


class Iso2:
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
    ) -> Iso2Session:
        """See Edition."""
        return Iso2Session(
            config, connection, limits, facts, paused=paused, time_scale=time_scale, on_message=on_message
        )

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Any, int], Request]:
        """See Edition."""
        return V2gMessageRequests(config, config.iso2.timing).read
