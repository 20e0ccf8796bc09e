"""The vehicle's session of DIN 70121."""

from collections.abc import Mapping
from typing import Final

from evcc.session.din.vocabulary import VOCABULARY
from evcc.session.edition import Connection
from evcc.session.settings import SessionConfig
from evcc.session.steps import Handlers, seen
from evcc.session.v2g_message.context import COMMON, MessageContext
from evcc.session.v2g_message.safety import V2gMessages
from evcc.session.v2g_message.session import MessageVehicle
from evcc.session.v2g_message.stages import Choice, Discovering, Ending, Selecting, Step
from evcc.session.v2g_message.stop import stop
from v2g.exi.declare import Element
from v2g.iso15118.din.messages import common as iso
from v2g.iso15118.din.messages import data_types
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.din.session import SessionDin
from v2g.iso15118.din.timing import MESSAGES
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.quirks import SERVICE_ID

# -- The choice of payment and charge service in DIN 70121

_USUAL_ID: Final = 1
"""ServiceID of the charge service."""

_OFFERS, _REQUESTS = data_types.EVSESupportedEnergyTransferType, data_types.EVRequestedEnergyTransferType

MODES: Final[Mapping[data_types.EVSESupportedEnergyTransferType, data_types.EVRequestedEnergyTransferType]] = {
    _OFFERS.DC_core: _REQUESTS.DC_core,
    _OFFERS.DC_extended: _REQUESTS.DC_extended,
    _OFFERS.DC_combo_core: _REQUESTS.DC_combo_core,
    _OFFERS.DC_dual: _REQUESTS.DC_extended,
    _OFFERS.AC_core1p_DC_extended: _REQUESTS.DC_extended,
    _OFFERS.AC_single_DC_core: _REQUESTS.DC_core,
    _OFFERS.AC_single_phase_three_phase_core_DC_extended: _REQUESTS.DC_extended,
    _OFFERS.AC_core3p_DC_extended: _REQUESTS.DC_extended,
}
"""Type on offer -> the vehicle's request; types without direct current are missing."""

HANDLERS: Final = Handlers(COMMON)


@HANDLERS.on_response(Discovering)
def on_services(
    stage: Discovering, request: iso.ServiceDiscoveryReq, response: iso.ServiceDiscoveryRes, context: MessageContext
) -> Step:
    """Select the charge service and external payment [V2G-DC-252], or end the session without them."""
    service = response.charge_service
    mode = MODES.get(service.energy_transfer_type)
    if mode is None:
        return stop(stage, context, Ending("no_energy_service", failed=True))
    if data_types.PaymentOption.ExternalPayment not in response.payment_options.payment_option:
        return stop(stage, context, Ending("no_payment_option", failed=True))
    service_id = service.service_tag.service_id
    return Step(
        stage=Selecting(),
        request=iso.ServicePaymentSelectionReq(
            selected_payment_option=data_types.PaymentOption.ExternalPayment,
            selected_service_list=data_types.SelectedServiceList(
                selected_service=(data_types.SelectedService(service_id=service_id),)
            ),
        ),
        choice=Choice(service_id, mode),
        observed=(seen("service", "selected", service_id=service_id, mode=mode.value),),
        quirks=() if service_id == _USUAL_ID else (SERVICE_ID,),
    )


PROTOCOL: Final = AppProtocol(
    protocol_namespace=DIN.uri, version_number_major=2, version_number_minor=0, schema_id=1, priority=1
)
"""The edition in the handshake, where it is the only one."""

_READY: Final = "ready_to_charge"


class DinVehicle(MessageVehicle, SessionDin):
    """See MessageVehicle; its timers are those of `config.timers_din`."""

    timing = MESSAGES
    vocabulary = VOCABULARY
    handlers = HANDLERS

    paused: None = None

    def __init__(
        self,
        config: SessionConfig,
        connection: Connection,
        protocols: tuple[AppProtocol, ...] = (PROTOCOL,),
        connected_for: float = 0.0,
    ) -> None:
        super().__init__(config, config.timers_din, connection, protocols, connected_for)

    def _session_begun(self, session_id: bytes) -> None:
        super()._session_begun(session_id)
        self._arm(_READY, self._config.timers_din.evcc_ready_to_charge)

    def _transmit(self, request: Element) -> None:
        if isinstance(request, iso.PowerDeliveryReq | iso.SessionStopReq):
            self._disarm(_READY)
        super()._transmit(request)


# -- DIN 70121 as a vehicle offers it: see `evcc.session.edition.Edition`


class Din:
    """See Edition. It has no TLS [V2G-DC-618]; its only payment is external."""

    session = DinVehicle

    def protocols(self, config: SessionConfig, *, tls: bool) -> tuple[AppProtocol, ...]:
        """See Edition. A vehicle for direct current by a plug offers it."""
        direct = any(each in ("DC", "DC_BPT") for each in config.services.energy)
        return (PROTOCOL,) if direct and not tls else ()

    def reader(self, config: SessionConfig) -> V2gMessages:
        """See Edition."""
        return V2gMessages(config, config.timers_din, DIN)
