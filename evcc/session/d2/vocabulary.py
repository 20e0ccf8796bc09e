"""The vehicle's requests of ISO 15118-2, and what differs in its responses: see `Vocabulary`."""

from typing import Final

from evcc.session.context import EvseLimits, departure_s, energy_up_to
from evcc.session.d2 import tariffs
from evcc.session.ports import SetAcPower
from evcc.session.settings import NOMINAL_V
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.requests import DcRequests
from evcc.session.v2g_message.stages import Ending, Plan
from v2g.energy.conductors import line_current_ma
from v2g.exi.declare import Element
from v2g.iso15118.d2.charts import ENERGY, STRICT
from v2g.iso15118.d2.messages import common, data_types
from v2g.iso15118.d2.messages.data_types import ChargeProgress, ChargingProfile, ChargingSession
from v2g.iso15118.d2.schedules import VALUES, charging_profile
from v2g.iso15118.engine.identifiers import UNKNOWN
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.power_schedule import USUAL_ENTRIES
from v2g.iso15118.engine.quirks import Quirk
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe


class Vocabulary2(DcRequests):
    """See Vocabulary."""

    delivering: Final = ENERGY | {
        state for chart in STRICT.values() for state, ways in chart.items() if "PowerDeliveryReq" in ways
    }

    def __init__(self) -> None:
        super().__init__(common, data_types, VALUES)

    def evse_id(self, response: common.SessionSetupRes) -> tuple[str, tuple[Quirk, ...]]:
        return "" if response.evse_id == UNKNOWN else response.evse_id, ()

    def session_setup(self, context: MessageContext) -> Element:
        return common.SessionSetupReq(evcc_id=context.config.vehicle.mac)

    def discover(self, context: MessageContext) -> Element:
        """See Vocabulary. Services of all kinds."""
        return common.ServiceDiscoveryReq()

    def authorize(self, context: MessageContext) -> Element:
        return common.AuthorizationReq()

    def parameters(self, context: MessageContext) -> Element:
        assert context.choice is not None
        departure = departure_s(context)
        parameter: data_types.EVChargeParameter
        if context.choice.phases:
            assert context.choice is not None
            on_board, phases = context.config.on_board_charger, context.choice.phases
            most_ma = min(on_board.line_ma, line_current_ma(context.max_charge_w, NOMINAL_V, phases))
            least_ma = min(most_ma, line_current_ma(on_board.min_charge_w, NOMINAL_V, phases))  # nearly full
            wanted_wh = max(0, energy_up_to(context.config.needs.target_soc, context))
            parameter = data_types.AC_EVChargeParameter(
                departure_time=departure,
                e_amount=VALUES.energy(wanted_wh, Rounding.NEAREST),
                ev_max_voltage=VALUES.voltage(NOMINAL_V * 1000, Rounding.NEAREST),
                ev_max_current=VALUES.current(most_ma, Rounding.DOWN),
                ev_min_current=VALUES.current(least_ma, Rounding.UP),
            )
        else:
            parameter = self.charge_parameter(context, departure_time=departure)
        return common.ChargeParameterDiscoveryReq(
            max_entries_sa_schedule_tuple=USUAL_ENTRIES,
            requested_energy_transfer_mode=context.choice.mode,
            ev_charge_parameter=parameter,
        )

    def agree(
        self, response: common.ChargeParameterDiscoveryRes, limits: EvseLimits, context: MessageContext
    ) -> tuple[Plan, tuple[Observe, ...]]:
        return tariffs.agree(response, limits, context)

    def charge_loop(self, plan: Plan, context: MessageContext, power_w: int) -> tuple[Element, tuple[Command, ...]]:
        """See Vocabulary. The on-board charger draws what it may."""
        if context.choice is not None and context.choice.phases:
            return common.ChargingStatusReq(), (SetAcPower(power_w),)
        return self.current_demand(plan, context, power_w), ()

    def power_start(self, plan: Plan, context: MessageContext) -> Element:
        steps = plan.schedule.power.steps if plan.schedule is not None else ()
        return self._delivery(ChargeProgress.Start, plan, context, charging_profile(steps))

    def power_stop(self, context: MessageContext) -> Element:
        return self._delivery(ChargeProgress.Stop, context.plan, context)

    def renegotiate(self, context: MessageContext) -> Element:
        """Return PowerDeliveryReq that asks for other parameters."""
        return self._delivery(ChargeProgress.Renegotiate, context.plan, context)

    def session_stop(self, ending: Ending) -> Element:
        mode = ChargingSession.Pause if ending.pause else ChargingSession.Terminate
        return common.SessionStopReq(charging_session=mode)

    def _delivery(
        self,
        progress: ChargeProgress,
        plan: Plan | None,
        context: MessageContext,
        profile: ChargingProfile | None = None,
    ) -> Element:
        direct = context.choice is None or not context.choice.phases
        ready = progress is not ChargeProgress.Stop
        return common.PowerDeliveryReq(
            charge_progress=progress,
            sa_schedule_tuple_id=tuple_id(plan),
            ev_power_delivery_parameter=self.delivery_parameter(context, ready=ready) if direct else None,
            charging_profile=profile,
        )


def tuple_id(plan: Plan | None) -> int:
    """Return the id of the agreed schedule; the first possible one where there is none."""
    return plan.schedule.tuple_id if plan is not None and plan.schedule is not None else 1


VOCABULARY: Final = Vocabulary2()
