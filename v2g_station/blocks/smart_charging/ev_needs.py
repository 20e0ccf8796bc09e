"""A vehicle's charging needs in OCPP (K15)."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from v2g.energy.grid_support import Function
from v2g.energy.needs import DerNeeds, EnergyOffer, EvNeeds, Service
from v2g.ocpp.messages import ev_charging as ocpp
from v2g.ocpp.messages.base import EnergyTransferMode
from v2g.ocpp.messages.charging_profiles import ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time
from v2g.units import MICRO

CONTROL_OF: Final[Mapping[Function, ocpp.DERControl]] = {
    **dict.fromkeys(("over_frequency_watt", "under_frequency_watt"), "FreqDroop"),
    "volt_watt": "VoltWatt",
    "volt_var": "VoltVar",
    "watt_var": "WattVar",
    "watt_cos_phi": "WattPF",
    "q_setpoint": "FixedVar",
    "cos_phi_setpoint": "FixedPFInject",
}
"""Function of a vehicle's inverter -> the control that it stands for; the others have none."""


def needs_request(evse_id: int, needs: EvNeeds, utc_ms: int, version: Version) -> ocpp.NotifyEVChargingNeedsRequest:
    """Return a vehicle's needs as an OCPP request (K15). OCPP 2.0.1 has no discharging and only plain AC and DC: other
    modes are sent as those."""
    departure = None if needs.departure_ms is None else format_time(needs.departure_ms // 1000 * 1000)
    if version == "2.0.1" or needs.older:  # K15.FR.06
        ac = needs.service.startswith("AC")
        return ocpp.NotifyEVChargingNeedsRequest(
            evse_id=evse_id,
            max_schedule_tuples=needs.max_points,
            timestamp=None if version == "2.0.1" else format_time(utc_ms),
            charging_needs=ocpp.ChargingNeeds(
                requested_energy_transfer=_phases(needs) if ac else "DC",
                departure_time=departure,
                ac_charging_parameters=_ac_parameters(needs) if ac else None,
                dc_charging_parameters=None if ac else _dc_parameters(needs),
            ),
        )
    charge = _lines(needs.max_charge_w, needs.line_charge_w)
    discharge: tuple[int | None, ...] = (None, None, None)
    if both_ways := needs.service.endswith(("BPT", "DER_IEC", "DER_SAE")):
        discharge = _lines(needs.max_discharge_w, needs.line_discharge_w)
    return ocpp.NotifyEVChargingNeedsRequest(
        evse_id=evse_id,
        max_schedule_tuples=needs.max_points,
        timestamp=format_time(utc_ms),
        charging_needs=ocpp.ChargingNeeds(
            requested_energy_transfer=_transfer(needs.service, needs),
            available_energy_transfer=tuple(dict.fromkeys(_transfer(each, needs) for each in needs.available)),
            departure_time=departure,
            control_mode="DynamicControl" if needs.control_mode == "dynamic" else "ScheduledControl",
            mobility_needs_mode="EVCC_SECC" if needs.needs_by_secc else "EVCC",
            ev_energy_offer=None if needs.offer is None else _offer(needs.offer),
            der_charging_parameters=None if needs.der is None else _der(needs.der),
            v2x_charging_parameters=ocpp.V2XChargingParameters(
                min_charge_power=needs.min_charge_w or None,
                max_charge_power=charge[0],
                max_charge_power_l2=charge[1],
                max_charge_power_l3=charge[2],
                min_discharge_power=needs.min_discharge_w or None if both_ways else None,
                max_discharge_power=discharge[0],
                max_discharge_power_l2=discharge[1],
                max_discharge_power_l3=discharge[2],
                max_charge_current=needs.max_current_ma / 1000,
                max_voltage=needs.max_voltage_mv / 1000,
                ev_target_energy_request=needs.target_energy_wh,
                ev_max_energy_request=needs.max_energy_wh,
                ev_min_energy_request=needs.min_energy_wh,
                ev_min_v2x_energy_request=needs.min_v2x_energy_wh,
                target_soc=needs.target_soc,
            ),
        ),
    )


def _der(der: DerNeeds) -> ocpp.DERChargingParameters:
    """Return a vehicle's inverter: the controls that it follows, by its functions."""

    return ocpp.DERChargingParameters(
        ev_supported_der_control=tuple(sorted({CONTROL_OF[each] for each in der.functions if each in CONTROL_OF})),
        max_charge_reactive_power=der.charge_var,
        max_discharge_reactive_power=der.discharge_var,
        ev_session_total_discharge_energy_available=der.discharge_wh,
    )


def lines_of(needs: EvNeeds) -> tuple[int, int]:
    """Return of how many conductors a vehicle has sent powers, of charging and of discharging."""
    return max(1, len(needs.line_charge_w)), max(1, len(needs.line_discharge_w))


def _lines(watts: int, lines: Sequence[int]) -> tuple[int | None, ...]:
    """Return a power as the three fields of a message: of all conductors in the first, or of each where the vehicle has
    sent them (K01.FR.142)."""
    return (*(lines or (watts,)), None, None)[:3]


def plan_schedule(steps: Sequence[tuple[int, int]], duration_s: int) -> ChargingSchedule:
    """Return a vehicle's plan as an OCPP schedule: discharging becomes a limit of 0 and a discharge limit."""
    return ChargingSchedule(
        id=1,
        duration=duration_s,
        charging_rate_unit="W",
        charging_schedule_period=tuple(
            ChargingSchedulePeriod(
                start_period=start, limit=float(max(0, watts)), discharge_limit=float(watts) if watts < 0 else None
            )
            for start, watts in steps
        ),
    )


def _offer(offer: EnergyOffer) -> ocpp.EVEnergyOffer:
    """Return an offer as an OCPP 2.1 type: discharging power is negative."""
    return ocpp.EVEnergyOffer(
        ev_power_schedule=ocpp.EVPowerSchedule(
            time_anchor=format_time(offer.power_from_s * 1000),
            ev_power_schedule_entries=tuple(
                ocpp.EVPowerScheduleEntry(duration=each.duration_s, power=-each.power_w) for each in offer.powers
            ),
        ),
        ev_absolute_price_schedule=ocpp.EVAbsolutePriceSchedule(
            time_anchor=format_time(offer.price_from_s * 1000),
            currency=offer.currency,
            price_algorithm=offer.algorithm,
            ev_absolute_price_schedule_entries=tuple(
                ocpp.EVAbsolutePriceScheduleEntry(
                    duration=each.duration_s,
                    ev_price_rule=tuple(
                        ocpp.EVPriceRule(energy_fee=rule.micro_per_kwh / MICRO, power_range_start=rule.from_w)
                        for rule in each.rules
                    ),
                )
                for each in offer.prices
            ),
        ),
    )


def _transfer(service: Service, needs: EvNeeds) -> EnergyTransferMode:
    """Return OCPP 2.1's mode for a service; megawatt charging counts as direct current."""
    match service:
        case "AC":
            return _phases(needs)
        case "MCS":
            return "DC"
        case "MCS_BPT":
            return "DC_BPT"
        case "AC_DER_IEC" | "AC_DER_SAE":
            return "AC_DER"
        case _:
            return service


def _phases(needs: EvNeeds) -> Literal["AC_single_phase", "AC_three_phase"]:
    """Return the number of phases that a vehicle uses: three if one cannot carry its power."""
    one_w = needs.max_voltage_mv * needs.max_current_ma / 1_000_000
    return "AC_three_phase" if needs.max_charge_w > 1.5 * one_w else "AC_single_phase"


def _ac_parameters(needs: EvNeeds) -> ocpp.ACChargingParameters:
    of_1_a = max(1, needs.max_voltage_mv) * (3 if _phases(needs) == "AC_three_phase" else 1)
    return ocpp.ACChargingParameters(
        energy_amount=needs.target_energy_wh or 0,
        ev_min_current=-(-needs.min_charge_w * 1000 // of_1_a),
        ev_max_current=needs.max_current_ma // 1000,
        ev_max_voltage=needs.max_voltage_mv // 1000,
    )


def _dc_parameters(needs: EvNeeds) -> ocpp.DCChargingParameters:
    return ocpp.DCChargingParameters(
        ev_max_current=needs.max_current_ma // 1000,
        ev_max_voltage=needs.max_voltage_mv // 1000,
        ev_max_power=needs.max_charge_w,
        energy_amount=needs.target_energy_wh,
        state_of_charge=needs.soc,
    )
