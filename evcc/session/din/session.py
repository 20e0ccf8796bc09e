"""The vehicle's session of DIN 70121."""

from collections.abc import Mapping
from typing import Final

from evcc.session.context import EvseLimits
from evcc.session.edition import Connection
from evcc.session.settings import SessionConfig
from evcc.session.steps import Handlers, seen
from evcc.session.v2g_message.context import COMMON, MessageContext
from evcc.session.v2g_message.loop import agree
from evcc.session.v2g_message.requests import DcRequests
from evcc.session.v2g_message.safety import V2gMessages
from evcc.session.v2g_message.session import MessageVehicle
from evcc.session.v2g_message.stages import Choice, Discovering, Ending, Plan, Selecting, Step
from evcc.session.v2g_message.stop import stop
from v2g.exi.declare import Element
from v2g.iso15118.din.charts import ENERGY, STRICT, SessionDin
from v2g.iso15118.din.messages import common, data_types
from v2g.iso15118.din.messages import common as iso
from v2g.iso15118.din.messages.data_types import ServiceCategory
from v2g.iso15118.din.schedules import VALUES, is_capped, power_schedules
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.din.timing import MESSAGES
from v2g.iso15118.engine import identifiers
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.physical_values import MOST, watts_int16
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.power_schedule import Step as ScheduleStep
from v2g.iso15118.engine.quirks import EVSEID_TEXT, SERVICE_ID, Quirk
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe


class DinVocabulary(DcRequests):
    """See Vocabulary."""

    delivering: Final = ENERGY | {state for state, ways in STRICT.items() if "PowerDeliveryReq" in ways}

    def __init__(self) -> None:
        super().__init__(common, data_types, VALUES)

    def evse_id(self, response: common.SessionSetupRes) -> tuple[str, tuple[Quirk, ...]]:
        text, as_text = identifiers.from_bytes(response.evse_id)
        return text, (EVSEID_TEXT,) if as_text else ()

    def session_setup(self, context: MessageContext) -> Element:
        return common.SessionSetupReq(evcc_id=context.config.vehicle.mac)

    def discover(self, context: MessageContext) -> Element:
        return common.ServiceDiscoveryReq(service_category=ServiceCategory.EVCharging)

    def authorize(self, context: MessageContext) -> Element:
        return common.ContractAuthenticationReq()

    def parameters(self, context: MessageContext) -> Element:
        assert context.choice is not None
        return common.ChargeParameterDiscoveryReq(
            ev_requested_energy_transfer_type=context.choice.mode, ev_charge_parameter=self.charge_parameter(context)
        )

    def agree(
        self, response: common.ChargeParameterDiscoveryRes, limits: EvseLimits, context: MessageContext
    ) -> tuple[Plan, tuple[Observe, ...]]:
        """See Vocabulary. What int16 does not hold is left to the other limits."""
        offers = {each: _uncapped(offer) for each, offer in power_schedules(response.sa_schedules).items()}
        return agree(offers, limits, context), ()

    def charge_loop(self, plan: Plan, context: MessageContext, power_w: int) -> tuple[Element, tuple[Command, ...]]:
        return self.current_demand(plan, context, power_w), ()

    def power_start(self, plan: Plan, context: MessageContext) -> Element:
        return common.PowerDeliveryReq(
            ready_to_charge_state=True,
            charging_profile=_profile(plan),
            ev_power_delivery_parameter=self.delivery_parameter(context, ready=True),
        )

    def power_stop(self, context: MessageContext) -> Element:
        return common.PowerDeliveryReq(
            ready_to_charge_state=False, ev_power_delivery_parameter=self.delivery_parameter(context, ready=False)
        )

    def session_stop(self, ending: Ending) -> Element:
        return common.SessionStopReq()


def _uncapped(offer: PowerSchedule) -> PowerSchedule:
    steps = (ScheduleStep(each.start_s, MOST if is_capped(each.power_w) else each.power_w) for each in offer.steps)
    return PowerSchedule(tuple(steps), offer.end_s)


def _profile(plan: Plan) -> data_types.ChargingProfile | None:
    if plan.schedule is None:
        return None
    return data_types.ChargingProfile(
        sa_schedule_tuple_id=plan.schedule.tuple_id,
        profile_entry=tuple(
            data_types.ProfileEntry(
                charging_profile_entry_start=step.start_s, charging_profile_entry_max_power=watts_int16(step.power_w)
            )
            for step in plan.schedule.power.steps
        ),
    )


VOCABULARY: Final = DinVocabulary()


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
        return V2gMessages(config, config.timers_din, DIN)
