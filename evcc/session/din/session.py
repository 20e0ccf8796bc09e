"""The vehicle's session of DIN 70121."""

from typing import Final

from evcc.session.din import services
from evcc.session.din.vocabulary import VOCABULARY
from evcc.session.ports import BatteryState
from evcc.session.settings import SessionConfig
from evcc.session.v2g_message import handlers, stages
from evcc.session.v2g_message.handlers import Handlers
from evcc.session.v2g_message.session import MessageVehicle
from v2g.exi.declare import Element
from v2g.iso15118.din.messages.common import PowerDeliveryReq, SessionStopReq
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.din.session import SessionDin
from v2g.iso15118.din.timing import MESSAGES
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.session import Entropy

PROTOCOL: Final = AppProtocol(
    protocol_namespace=DIN.uri, version_number_major=2, version_number_minor=0, schema_id=1, priority=1
)
"""The edition in the handshake, where it is the only one."""

_READY: Final = "ready_to_charge"


class DinVehicle(MessageVehicle, SessionDin):
    """See MessageVehicle; its timers are those of `config.timers_din`."""

    timing = MESSAGES
    vocabulary = VOCABULARY
    handlers = Handlers(
        {**handlers.ON_RESPONSE, stages.Discovering: services.on_services}, handlers.ON_WAKE, handlers.ON_FACT
    )

    paused: None = None

    def __init__(
        self,
        config: SessionConfig,
        *,
        battery: BatteryState,
        entropy: Entropy,
        protocols: tuple[AppProtocol, ...] = (PROTOCOL,),
        connected_for: float = 0.0,
    ) -> None:
        super().__init__(
            config, config.timers_din, protocols, battery=battery, entropy=entropy, connected_for=connected_for
        )

    def _session_begun(self, session_id: bytes) -> None:
        super()._session_begun(session_id)
        self._arm(_READY, self._config.timers_din.evcc_ready_to_charge)

    def _transmit(self, request: Element) -> None:
        if isinstance(request, PowerDeliveryReq | SessionStopReq):
            self._disarm(_READY)
        super()._transmit(request)
