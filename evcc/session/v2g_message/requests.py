"""Requests of direct current, whose classes and fields are named alike in ISO 15118-2 and DIN 70121."""

from types import ModuleType
from typing import Any, Final

from evcc.session.context import energy_up_to
from evcc.session.v2g_message.context import MessageContext
from evcc.session.v2g_message.stages import Plan
from v2g.exi.declare import Element
from v2g.iso15118.engine.physical_values import Rounding, Writer, percent

PRE_CHARGE_MA: Final = 2_000
"""Maximum current of pre-charge (IEC 61851-23)."""

_LONGEST_S: Final = 7 * 24 * 3600


class DcRequests:
    """The part of a Vocabulary that builds requests from an edition's modules of charging and of parameters."""

    def __init__(self, charging: ModuleType, parameters: ModuleType, values: Writer[Element]) -> None:
        self._charging, self._parameters, self._values = charging, parameters, values

    def status(self, context: MessageContext, *, ready: bool) -> Any:
        """Return DC_EVStatus."""
        codes = self._parameters.DC_EVErrorCode
        return self._parameters.DC_EVStatus(
            ev_ready=ready,
            ev_error_code=codes.FAILED_EVRESSMalfunction if context.battery.fault else codes[context.ev_error],
            ev_ress_soc=percent(round(context.battery.soc)),
        )

    def charge_parameter(self, context: MessageContext, **more: object) -> Any:
        """Return DC_EVChargeParameter with all its fields: some chargers reject gaps."""
        values, battery, needs = self._values, context.battery, context.config.needs
        return self._parameters.DC_EVChargeParameter(
            dc_ev_status=self.status(context, ready=False),
            ev_maximum_current_limit=values.current(battery.max_charge_ma, Rounding.DOWN),
            ev_maximum_power_limit=values.power(battery.max_charge_w, Rounding.DOWN),
            ev_maximum_voltage_limit=values.voltage(battery.max_voltage_mv, Rounding.DOWN),
            ev_energy_capacity=values.energy(battery.capacity_wh, Rounding.NEAREST),
            ev_energy_request=values.energy(max(0, energy_up_to(needs.target_soc, context)), Rounding.NEAREST),
            full_soc=100,
            bulk_soc=round(needs.target_soc),
            **more,
        )

    def cable_check(self, context: MessageContext) -> Any:
        return self._charging.CableCheckReq(dc_ev_status=self.status(context, ready=True))

    def pre_charge(self, plan: Plan, context: MessageContext) -> Any:
        limits, values = plan.limits, self._values
        target_mv = min(context.battery.voltage_mv, limits.voltage_mv)
        return self._charging.PreChargeReq(
            dc_ev_status=self.status(context, ready=True),
            ev_target_voltage=values.voltage(target_mv, Rounding.NEAREST),
            ev_target_current=values.current(min(PRE_CHARGE_MA, limits.charge_ma), Rounding.DOWN),
        )

    def delivery_parameter(self, context: MessageContext, *, ready: bool) -> Any:
        """Return DC_EVPowerDeliveryParameter."""
        return self._parameters.DC_EVPowerDeliveryParameter(
            dc_ev_status=self.status(context, ready=ready), **self._complete(context)
        )

    def current_demand(self, plan: Plan, context: MessageContext, power_w: int) -> Any:
        """Return CurrentDemandReq for at most `power_w`, within the limits of battery and charger."""
        battery, limits, values = context.battery, plan.limits, self._values
        return self._charging.CurrentDemandReq(
            dc_ev_status=self.status(context, ready=True),
            ev_target_current=values.current(target_ma(plan, context, power_w), Rounding.DOWN),
            ev_maximum_voltage_limit=values.voltage(battery.max_voltage_mv, Rounding.DOWN),
            ev_maximum_current_limit=values.current(battery.max_charge_ma, Rounding.DOWN),
            ev_maximum_power_limit=values.power(battery.max_charge_w, Rounding.DOWN),
            **self._complete(context),
            remaining_time_to_full_soc=self._time_to(100.0, context, power_w),
            remaining_time_to_bulk_soc=self._time_to(context.config.needs.target_soc, context, power_w),
            ev_target_voltage=values.voltage(min(battery.max_voltage_mv, limits.voltage_mv), Rounding.DOWN),
        )

    def welding_detection(self, context: MessageContext) -> Any:
        return self._charging.WeldingDetectionReq(dc_ev_status=self.status(context, ready=False))

    def _complete(self, context: MessageContext) -> dict[str, bool]:
        soc = context.battery.soc
        return {"bulk_charging_complete": soc >= context.config.needs.target_soc, "charging_complete": soc >= 100}

    def _time_to(self, soc: float, context: MessageContext, power_w: int) -> Element:
        left_wh = max(0, energy_up_to(soc, context))
        return self._values.time(min(_LONGEST_S, left_wh * 3600 // power_w if power_w else _LONGEST_S))


def target_ma(plan: Plan, context: MessageContext, power_w: int) -> int:
    """Return the target current (mA) for at most `power_w` at the present voltage."""
    voltage_mv = max(context.battery.voltage_mv, context.inlet.voltage_mv, 1)
    return max(0, min(context.battery.max_charge_ma, plan.limits.charge_ma, power_w * 1_000_000 // voltage_mv))
