"""ISO 15118-2 as served by a charger: see `secc.session.edition.Edition`."""

from collections.abc import Callable

from secc.session.config import SeccConfig
from secc.session.d2 import setup
from secc.session.d2.session import Iso2Session
from secc.session.v2g_message.safety import V2gMessageRequests
from v2g.exi.declare import Element
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.safety import Request


class Iso2:
    """See Edition."""

    session = Iso2Session

    def serves(self, protocol: AppProtocol, config: SeccConfig) -> bool:
        """See Edition."""
        return setup.serves(protocol, config)

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Element, int], Request]:
        """See Edition."""
        return V2gMessageRequests(config, config.iso2.timing).read
