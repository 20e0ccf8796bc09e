"""DIN 70121 as served by a charger: see `secc.session.edition.Edition`."""

from collections.abc import Callable

from secc.session.config import SeccConfig
from secc.session.din import setup
from secc.session.din.session import DinSession
from secc.session.v2g_message.safety import V2gMessageRequests
from v2g.exi.declare import Element
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.safety import Request


class Din:
    """See Edition."""

    session = DinSession

    def serves(self, protocol: AppProtocol, config: SeccConfig) -> bool:
        """See Edition."""
        return setup.serves(protocol, config)

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Element, int], Request]:
        """See Edition."""
        return V2gMessageRequests(config, config.din.timing).read
