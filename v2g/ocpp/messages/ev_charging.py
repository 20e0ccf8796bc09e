"""The vehicle's needs and plans (K15 to K18, ISO 15118)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages import base
from v2g.ocpp.messages.charging_profiles import ChargingSchedule


class ACChargingParameters(base.Datatype, frozen=True, kw_only=True):
    """AC needs: energy Wh, current A per phase, voltage V."""

    energy_amount: base.WholeIn201
    ev_min_current: base.WholeIn201
    ev_max_current: base.WholeIn201
    ev_max_voltage: base.WholeIn201


ControlMode = Literal["ScheduledControl", "DynamicControl"]


class DCChargingParameters(base.Datatype, frozen=True, kw_only=True):
    """DC needs: current A, voltage V, energy and capacity Wh, power W, states of charge %."""

    ev_max_current: base.WholeIn201
    ev_max_voltage: base.WholeIn201
    ev_max_power: base.WholeIn201 | None = None
    ev_energy_capacity: base.WholeIn201 | None = None
    energy_amount: base.WholeIn201 | None = None
    state_of_charge: Annotated[int, Meta(ge=0, le=100)] | None = None
    full_soc: Annotated[int, Meta(ge=0, le=100)] | None = field(default=None, name="fullSoC")
    bulk_soc: Annotated[int, Meta(ge=0, le=100)] | None = field(default=None, name="bulkSoC")


DERControl = Literal[
    "EnterService",
    "FreqDroop",
    "FreqWatt",
    "FixedPFAbsorb",
    "FixedPFInject",
    "FixedVar",
    "Gradients",
    "HFMustTrip",
    "HFMayTrip",
    "HVMustTrip",
    "HVMomCess",
    "HVMayTrip",
    "LimitMaxDischarge",
    "LFMustTrip",
    "LVMustTrip",
    "LVMomCess",
    "LVMayTrip",
    "PowerMonitoringMustTrip",
    "VoltVar",
    "VoltWatt",
    "WattPF",
    "WattVar",
]
IslandingDetection = Literal[
    "NoAntiIslandingSupport",
    "RoCoF",
    "UVP_OVP",
    "UFP_OFP",
    "VoltageVectorShift",
    "ZeroCrossingDetection",
    "OtherPassive",
    "ImpedanceMeasurement",
    "ImpedanceAtFrequency",
    "SlipModeFrequencyShift",
    "SandiaFrequencyShift",
    "SandiaVoltageShift",
    "FrequencyJump",
    "RCLQFactor",
    "OtherActive",
]


class DERChargingParameters(base.Datatype, frozen=True, kw_only=True):
    """Grid-support capabilities of a vehicle with an inverter: power W or var or VA, voltage V, energy Wh. 2.1 only."""

    ev_supported_der_control: base.OneOrMore[DERControl] = field(default=(), name="evSupportedDERControl")
    ev_over_excited_max_discharge_power: base.Decimal | None = None
    ev_over_excited_power_factor: base.Decimal | None = None
    ev_under_excited_max_discharge_power: base.Decimal | None = None
    ev_under_excited_power_factor: base.Decimal | None = None
    max_apparent_power: base.Decimal | None = None
    max_charge_apparent_power: base.Decimal | None = None
    max_charge_apparent_power_l2: base.Decimal | None = field(default=None, name="maxChargeApparentPower_L2")
    max_charge_apparent_power_l3: base.Decimal | None = field(default=None, name="maxChargeApparentPower_L3")
    max_discharge_apparent_power: base.Decimal | None = None
    max_discharge_apparent_power_l2: base.Decimal | None = field(default=None, name="maxDischargeApparentPower_L2")
    max_discharge_apparent_power_l3: base.Decimal | None = field(default=None, name="maxDischargeApparentPower_L3")
    max_charge_reactive_power: base.Decimal | None = None
    max_charge_reactive_power_l2: base.Decimal | None = field(default=None, name="maxChargeReactivePower_L2")
    max_charge_reactive_power_l3: base.Decimal | None = field(default=None, name="maxChargeReactivePower_L3")
    min_charge_reactive_power: base.Decimal | None = None
    min_charge_reactive_power_l2: base.Decimal | None = field(default=None, name="minChargeReactivePower_L2")
    min_charge_reactive_power_l3: base.Decimal | None = field(default=None, name="minChargeReactivePower_L3")
    max_discharge_reactive_power: base.Decimal | None = None
    max_discharge_reactive_power_l2: base.Decimal | None = field(default=None, name="maxDischargeReactivePower_L2")
    max_discharge_reactive_power_l3: base.Decimal | None = field(default=None, name="maxDischargeReactivePower_L3")
    min_discharge_reactive_power: base.Decimal | None = None
    min_discharge_reactive_power_l2: base.Decimal | None = field(default=None, name="minDischargeReactivePower_L2")
    min_discharge_reactive_power_l3: base.Decimal | None = field(default=None, name="minDischargeReactivePower_L3")
    nominal_voltage: base.Decimal | None = None
    nominal_voltage_offset: base.Decimal | None = None
    max_nominal_voltage: base.Decimal | None = None
    min_nominal_voltage: base.Decimal | None = None
    ev_inverter_manufacturer: base.String50 | None = None
    ev_inverter_model: base.String50 | None = None
    ev_inverter_serial_number: base.String50 | None = None
    ev_inverter_sw_version: base.String50 | None = None
    ev_inverter_hw_version: base.String50 | None = None
    ev_islanding_detection_method: base.OneOrMore[IslandingDetection] = ()
    ev_islanding_trip_time: base.Decimal | None = None
    ev_maximum_level1_dc_injection: base.Decimal | None = field(default=None, name="evMaximumLevel1DCInjection")
    ev_duration_level1_dc_injection: base.Decimal | None = field(default=None, name="evDurationLevel1DCInjection")
    ev_maximum_level2_dc_injection: base.Decimal | None = field(default=None, name="evMaximumLevel2DCInjection")
    ev_duration_level2_dc_injection: base.Decimal | None = field(default=None, name="evDurationLevel2DCInjection")
    ev_reactive_susceptance: base.Decimal | None = None
    ev_session_total_discharge_energy_available: base.Decimal | None = None


class EVPriceRule(base.Datatype, frozen=True, kw_only=True):
    """The vehicle's price from a power (W) on. 2.1 only."""

    energy_fee: base.Decimal
    power_range_start: base.Decimal


class EVAbsolutePriceScheduleEntry(base.Datatype, frozen=True, kw_only=True):
    """Price rules for `duration` s. 2.1 only."""

    duration: base.Integer
    ev_price_rule: Annotated[base.OneOrMore[EVPriceRule], Meta(max_length=8)]


class EVAbsolutePriceSchedule(base.Datatype, frozen=True, kw_only=True):
    """The vehicle's prices. 2.1 only."""

    time_anchor: base.DateTime
    currency: base.String3
    ev_absolute_price_schedule_entries: Annotated[base.OneOrMore[EVAbsolutePriceScheduleEntry], Meta(max_length=1024)]
    price_algorithm: base.String2000


class EVPowerScheduleEntry(base.Datatype, frozen=True, kw_only=True):
    """Power (W) for `duration` s; discharging is negative. 2.1 only."""

    duration: base.Integer
    power: base.Decimal


class EVPowerSchedule(base.Datatype, frozen=True, kw_only=True):
    """Power over time on offer by the vehicle. 2.1 only."""

    ev_power_schedule_entries: Annotated[base.OneOrMore[EVPowerScheduleEntry], Meta(max_length=1024)]
    time_anchor: base.DateTime


class EVEnergyOffer(base.Datatype, frozen=True, kw_only=True):
    """The vehicle's offer: power and prices. 2.1 only."""

    ev_absolute_price_schedule: EVAbsolutePriceSchedule | None = None
    ev_power_schedule: EVPowerSchedule


MobilityNeedsMode = Literal["EVCC", "EVCC_SECC"]


class V2XChargingParameters(base.Datatype, frozen=True, kw_only=True):
    """Limits of a vehicle that can discharge: power W, current A, voltage V, energy Wh. 2.1 only."""

    min_charge_power: base.Decimal | None = None
    min_charge_power_l2: base.Decimal | None = field(default=None, name="minChargePower_L2")
    min_charge_power_l3: base.Decimal | None = field(default=None, name="minChargePower_L3")
    max_charge_power: base.Decimal | None = None
    max_charge_power_l2: base.Decimal | None = field(default=None, name="maxChargePower_L2")
    max_charge_power_l3: base.Decimal | None = field(default=None, name="maxChargePower_L3")
    min_discharge_power: base.Decimal | None = None
    min_discharge_power_l2: base.Decimal | None = field(default=None, name="minDischargePower_L2")
    min_discharge_power_l3: base.Decimal | None = field(default=None, name="minDischargePower_L3")
    max_discharge_power: base.Decimal | None = None
    max_discharge_power_l2: base.Decimal | None = field(default=None, name="maxDischargePower_L2")
    max_discharge_power_l3: base.Decimal | None = field(default=None, name="maxDischargePower_L3")
    min_charge_current: base.Decimal | None = None
    max_charge_current: base.Decimal | None = None
    min_discharge_current: base.Decimal | None = None
    max_discharge_current: base.Decimal | None = None
    min_voltage: base.Decimal | None = None
    max_voltage: base.Decimal | None = None
    ev_target_energy_request: base.Decimal | None = None
    ev_min_energy_request: base.Decimal | None = None
    ev_max_energy_request: base.Decimal | None = None
    ev_min_v2x_energy_request: base.Decimal | None = field(default=None, name="evMinV2XEnergyRequest")
    ev_max_v2x_energy_request: base.Decimal | None = field(default=None, name="evMaxV2XEnergyRequest")
    target_soc: Annotated[int, Meta(ge=0, le=100)] | None = field(default=None, name="targetSoC")


class ChargingNeeds(base.Datatype, frozen=True, kw_only=True):
    """The vehicle's charge parameters."""

    ac_charging_parameters: ACChargingParameters | None = None
    der_charging_parameters: Annotated[DERChargingParameters | None, base.V21] = None
    ev_energy_offer: Annotated[EVEnergyOffer | None, base.V21] = None
    requested_energy_transfer: base.EnergyTransferMode
    dc_charging_parameters: DCChargingParameters | None = None
    v2x_charging_parameters: Annotated[V2XChargingParameters | None, base.V21] = None
    available_energy_transfer: Annotated[base.OneOrMore[base.EnergyTransferMode], base.V21] = ()
    control_mode: Annotated[ControlMode | None, base.V21] = None
    mobility_needs_mode: Annotated[MobilityNeedsMode | None, base.V21] = None
    departure_time: base.DateTime | None = None


class NotifyEVChargingNeedsRequest(base.Message, frozen=True, kw_only=True):
    """Station forwards the vehicle's needs (K15)."""

    evse_id: base.Positive
    max_schedule_tuples: base.NonNegative | None = None
    charging_needs: ChargingNeeds
    timestamp: Annotated[base.DateTime | None, base.V21] = None


NotifyEVChargingNeedsStatus = Annotated[
    Literal["Accepted", "Rejected", "Processing", "NoChargingProfile"], base.since_21("NoChargingProfile")
]


class NotifyEVChargingNeedsResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyEVChargingNeeds."""

    status: NotifyEVChargingNeedsStatus
    status_info: base.StatusInfo | None = None


class NotifyEVChargingScheduleRequest(base.Message, frozen=True, kw_only=True):
    """Station forwards the vehicle's plan (K15, K17)."""

    time_base: base.DateTime
    charging_schedule: ChargingSchedule
    evse_id: base.Positive
    selected_charging_schedule_id: Annotated[base.NonNegative | None, base.V21] = None
    power_tolerance_acceptance: Annotated[bool | None, base.V21] = None


class NotifyEVChargingScheduleResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyEVChargingSchedule."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None
