"""The vehicle's requests of DIN 70121, and what differs in its responses: see `Vocabulary`."""

from typing import Final

from evcc.session.context import EvseLimits
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.requests import DcRequests
from evcc.session.v2g_message.schedule import agree
from evcc.session.v2g_message.stages import Ending, Plan
from v2g.exi.declare import Element
from v2g.iso15118.din.charts import ENERGY, STRICT
from v2g.iso15118.din.messages import charging, common, parameters
from v2g.iso15118.din.messages.data_types import ServiceCategory
from v2g.iso15118.din.quantities import VALUES
from v2g.iso15118.din.schedules import is_capped, power_schedules
from v2g.iso15118.engine import evse_id
from v2g.iso15118.engine.physical_values import MOST, watts_int16
from v2g.iso15118.engine.power_schedule import PowerSchedule, Step
from v2g.iso15118.engine.quirks import EVSEID_TEXT, Quirk
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe


class DinVocabulary(DcRequests):
    """See Vocabulary."""

    delivering: Final = ENERGY | {state for state, ways in STRICT.items() if "PowerDeliveryReq" in ways}

    def __init__(self) -> None:
        super().__init__(charging, parameters, VALUES)

    def evse_id(self, response: common.SessionSetupRes) -> tuple[str, tuple[Quirk, ...]]:
        """See Vocabulary."""
        text, as_text = evse_id.from_bytes(response.evse_id)
        return text, (EVSEID_TEXT,) if as_text else ()

    def session_setup(self, context: MessageContext) -> Element:
        """See Vocabulary."""
        return common.SessionSetupReq(evcc_id=context.config.vehicle.mac)

    def discover(self, context: MessageContext) -> Element:
        """See Vocabulary."""
        return common.ServiceDiscoveryReq(service_category=ServiceCategory.EVCharging)

    def authorize(self, context: MessageContext) -> Element:
        """See Vocabulary."""
        return common.ContractAuthenticationReq()

    def parameters(self, context: MessageContext) -> Element:
        """See Vocabulary."""
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
        """See Vocabulary."""
        return self.current_demand(plan, context, power_w), ()

    def power_start(self, plan: Plan, context: MessageContext) -> Element:
        """See Vocabulary."""
        return common.PowerDeliveryReq(
            ready_to_charge_state=True,
            charging_profile=_profile(plan),
            ev_power_delivery_parameter=self.delivery_parameter(context, ready=True),
        )

    def power_stop(self, context: MessageContext) -> Element:
        """See Vocabulary."""
        return common.PowerDeliveryReq(
            ready_to_charge_state=False, ev_power_delivery_parameter=self.delivery_parameter(context, ready=False)
        )

    def session_stop(self, ending: Ending) -> Element:
        """See Vocabulary."""
        return common.SessionStopReq()


def _uncapped(offer: PowerSchedule) -> PowerSchedule:
    steps = (Step(each.start_s, MOST if is_capped(each.power_w) else each.power_w) for each in offer.steps)
    return PowerSchedule(tuple(steps), offer.end_s)


def _profile(plan: Plan) -> parameters.ChargingProfile | None:
    if plan.schedule is None:
        return None
    return parameters.ChargingProfile(
        sa_schedule_tuple_id=plan.schedule.tuple_id,
        profile_entry=tuple(
            parameters.ProfileEntry(
                charging_profile_entry_start=step.start_s, charging_profile_entry_max_power=watts_int16(step.power_w)
            )
            for step in plan.schedule.power.steps
        ),
    )


VOCABULARY: Final = DinVocabulary()
