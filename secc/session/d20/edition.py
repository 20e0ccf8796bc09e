"""ISO 15118-20 as served by a charger: see `secc.session.edition.Edition`."""

from collections.abc import Callable

from secc.session.config import SeccConfig
from secc.session.d20 import setup
from secc.session.d20.safety import Iso20Requests
from secc.session.d20.session import SeccSession
from v2g.exi.declare import Element
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.safety import Request


class Iso20:
    """See Edition."""

    session = SeccSession

    def serves(self, protocol: AppProtocol, config: SeccConfig) -> bool:
        """See Edition."""
        return setup.serves(protocol, config)

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Element, int], Request]:
        """See Edition."""
        return Iso20Requests(config, interop=interop).read
