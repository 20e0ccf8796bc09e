"""ISO 15118-20 Amendment 1, AC_DER_SAE: a vehicle that supports the grid by North American rules.

By the published schema of the amendment, as copied in OpenChargingCloud/WWCP_ISO15118: names, order, optionality and
types equal those of two other codecs, and their messages are read and written octet by octet
(`tests/vectors/exi/README.md`).

The four messages are those of AC, in its namespace. Their classes here have more members in their substitution groups,
and so other event codes than those of `v2g.iso15118.d20.messages.ac`, which they extend.
"""

from enum import Enum
from typing import Annotated, ClassVar, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import Element, Ref, Schema, UnsignedInt, UnsignedLong, UnsignedShort
from v2g.iso15118.d20.messages import ac, common_types
from v2g.iso15118.d20.schemas import AC, AC_DER_SAE

SCHEMA: Final = AC_DER_SAE

InverterText: TypeAlias = Annotated[str, Meta(max_length=32)]


class DerUnit(Enum):
    """Unit of a value, or of one axis of a curve (derUnitType)."""

    V = "V"
    Hz = "Hz"
    W = "W"
    s = "s"
    var = "var"
    PercentageEVMaximumConfiguredActivePower = "PercentageEVMaximumConfiguredActivePower"
    PercentageEVMaximumConfiguredReactivePower = "PercentageEVMaximumConfiguredReactivePower"
    PercentageEVMaximumConfiguredApparentPower = "PercentageEVMaximumConfiguredApparentPower"
    PercentageEVMaximumAvailableActivePower = "PercentageEVMaximumAvailableActivePower"
    PercentageEVMaximumAvailableReactivePower = "PercentageEVMaximumAvailableReactivePower"
    PercentageV = "PercentageV"


class Ieee1547NormalCategory(Enum):
    """Category of normal operation (ieee1547NormalCategoryType)."""

    CategoryA = "CategoryA"
    CategoryB = "CategoryB"


class Ieee1547AbnormalCategory(Enum):
    """Category of abnormal operation (ieee1547AbnormalCategoryType)."""

    CategoryI = "CategoryI"
    CategoryII = "CategoryII"
    CategoryIII = "CategoryIII"


class DerOperationalState(Enum):
    """Whether the vehicle supports the grid at present (derOperationalStateType)."""

    On = "On"
    Off = "Off"


class DerConnectionStatus(Enum):
    """Whether the vehicle is connected to the grid (derConnectionStatusType)."""

    Disconnected = "Disconnected"
    Connected = "Connected"


class PowerFactorExcitation(Enum):
    """Whether reactive power is injected or absorbed (powerFactorExcitationType)."""

    OverExcited = "OverExcited"
    UnderExcited = "UnderExcited"


class PowerReference(Enum):
    """The power that a droop refers to (powerReferenceType)."""

    MaximumActivePower = "MaximumActivePower"
    MomentaryPower = "MomentaryPower"


class RequiredDEROperatingMode(Enum):
    """Whether the vehicle must follow the grid or form it (requiredDEROperatingModeType)."""

    GridFollowing = "GridFollowing"
    GridForming = "GridForming"


class GridConnectionMode(Enum):
    """Whether a grid is present (gridConnectionModeType)."""

    GridConnected = "GridConnected"
    GridIslanded = "GridIslanded"


class DataTuple(Element, frozen=True, kw_only=True):
    """A point of a curve."""

    x_value: common_types.RationalNumber = field(name="xValue")
    y_value: common_types.RationalNumber = field(name="yValue")


class CurveDataPointsList(Element, frozen=True, kw_only=True):
    """The points of a curve."""

    curve_data_point: Annotated[tuple[DataTuple, ...], Meta(min_length=2, max_length=10)]


class DERCurve(Element, frozen=True, kw_only=True):
    """A curve of limits."""

    enable: bool
    priority: UnsignedShort | None = None
    x_unit: DerUnit = field(name="xUnit")
    y_unit: DerUnit = field(name="yUnit")
    curve_data_points: CurveDataPointsList
    curve_data_points_l2: CurveDataPointsList | None = None
    curve_data_points_l3: CurveDataPointsList | None = None


class VoltVar(DERCurve, frozen=True, kw_only=True):
    """Reactive power by voltage."""

    open_loop_response_time: common_types.RationalNumber
    time_constant_pt1: UnsignedInt | None = None
    reference_voltage: common_types.RationalNumber
    autonomous_reference_voltage_adjustment_enable: bool
    reference_voltage_adjustment_time_constant: UnsignedInt


class WattVar(DERCurve, frozen=True, kw_only=True):
    """Reactive power by active power."""

    open_loop_response_time: common_types.RationalNumber | None = None
    time_constant_pt1: UnsignedInt | None = None


class VoltWatt(DERCurve, frozen=True, kw_only=True):
    """Active power by voltage."""

    open_loop_response_time: common_types.RationalNumber
    time_constant_pt1: UnsignedInt | None = None


class ConstantPowerFactor(Element, frozen=True, kw_only=True):
    """A fixed power factor."""

    enable: bool
    priority: UnsignedShort | None = None
    power_factor_value: common_types.RationalNumber
    power_factor_value_l2: common_types.RationalNumber | None = None
    power_factor_value_l3: common_types.RationalNumber | None = None
    power_factor_excitation: PowerFactorExcitation
    power_factor_excitation_l2: PowerFactorExcitation | None = None
    power_factor_excitation_l3: PowerFactorExcitation | None = None


class ConstantVar(Element, frozen=True, kw_only=True):
    """A fixed reactive power."""

    enable: bool
    priority: UnsignedShort | None = None
    var_setpoint: common_types.RationalNumber
    var_setpoint_l2: common_types.RationalNumber | None = None
    var_setpoint_l3: common_types.RationalNumber | None = None
    unit: DerUnit


class ConstantWatt(Element, frozen=True, kw_only=True):
    """A fixed active power."""

    enable: bool
    priority: UnsignedShort | None = None
    watt_setpoint: common_types.RationalNumber
    watt_setpoint_l2: common_types.RationalNumber | None = None
    watt_setpoint_l3: common_types.RationalNumber | None = None
    unit: DerUnit


class LimitMaxDischargePower(Element, frozen=True, kw_only=True):
    """An upper limit of discharge, as a percentage."""

    enable: bool
    priority: UnsignedShort | None = None
    percentage_value: UnsignedShort
    percentage_value_l2: UnsignedShort | None = None
    percentage_value_l3: UnsignedShort | None = None
    open_loop_response_time: common_types.RationalNumber | None = None


class FrequencyDroopSettings(Element, frozen=True, kw_only=True):
    """How active power follows frequency on one side."""

    db: common_types.RationalNumber = field(name="db")
    droop_factor: common_types.RationalNumber
    droop_factor_l2: common_types.RationalNumber | None = None
    droop_factor_l3: common_types.RationalNumber | None = None
    power_reference: PowerReference
    power_reference_l2: PowerReference | None = None
    power_reference_l3: PowerReference | None = None
    open_loop_response_time: common_types.RationalNumber


class FrequencyDroop(Element, frozen=True, kw_only=True):
    """Active power by frequency."""

    enable: bool
    priority: UnsignedShort | None = None
    over_frequency_droop: FrequencyDroopSettings | None = None
    under_frequency_droop: FrequencyDroopSettings | None = None


class VoltageTrip(Element, frozen=True, kw_only=True):
    """Voltages at which the vehicle must or may disconnect."""

    over_voltage_must_trip_curve: DERCurve
    under_voltage_must_trip_curve: DERCurve
    over_voltage_momentary_cessation_trip_curve: DERCurve | None = None
    under_voltage_momentary_cessation_trip_curve: DERCurve | None = None
    over_voltage_may_trip_curve: DERCurve | None = None
    under_voltage_may_trip_curve: DERCurve | None = None


class FrequencyTrip(Element, frozen=True, kw_only=True):
    """Frequencies at which the vehicle must or may disconnect."""

    over_frequency_must_trip_curve: DERCurve
    under_frequency_must_trip_curve: DERCurve
    over_frequency_may_trip_curve: DERCurve | None = None
    under_frequency_may_trip_curve: DERCurve | None = None


class EnterServiceCPDRes(Element, frozen=True, kw_only=True):
    """Conditions for the vehicle to begin feeding."""

    permit_service: bool
    enter_service_voltage_high: common_types.RationalNumber
    enter_service_voltage_low: common_types.RationalNumber
    enter_service_frequency_high: common_types.RationalNumber
    enter_service_frequency_low: common_types.RationalNumber
    enter_service_delay: common_types.RationalNumber | None = None
    enter_service_randomized_delay: common_types.RationalNumber | None = None
    enter_service_ramp_time: common_types.RationalNumber | None = None


class EnterServiceCLRes(Element, frozen=True, kw_only=True):
    """Changed conditions for the vehicle to begin feeding."""

    permit_service: bool
    enter_service_voltage_high: common_types.RationalNumber | None = None
    enter_service_voltage_low: common_types.RationalNumber | None = None
    enter_service_frequency_high: common_types.RationalNumber | None = None
    enter_service_frequency_low: common_types.RationalNumber | None = None
    enter_service_delay: common_types.RationalNumber | None = None
    enter_service_randomized_delay: common_types.RationalNumber | None = None
    enter_service_ramp_time: common_types.RationalNumber | None = None


class ReactivePowerSupportCPDRes(Element, frozen=True, kw_only=True):
    """Reactive power in support of the grid."""

    constant_power_factor: ConstantPowerFactor
    volt_var: VoltVar
    watt_var: WattVar
    constant_var: ConstantVar


class ReactivePowerSupportCLRes(Element, frozen=True, kw_only=True):
    """Changed reactive power support of the grid."""

    constant_power_factor: ConstantPowerFactor | None = None
    volt_var: VoltVar | None = None
    watt_var: WattVar | None = None
    constant_var: ConstantVar | None = None


class ActivePowerSupportCPDRes(Element, frozen=True, kw_only=True):
    """Active power in support of the grid."""

    frequency_droop: FrequencyDroop
    volt_watt: VoltWatt
    constant_watt: ConstantWatt
    limit_max_discharge_power: LimitMaxDischargePower


class ActivePowerSupportCLRes(Element, frozen=True, kw_only=True):
    """Changed active power support of the grid."""

    frequency_droop: FrequencyDroop | None = None
    volt_watt: VoltWatt | None = None
    constant_watt: ConstantWatt | None = None
    limit_max_discharge_power: LimitMaxDischargePower | None = None


class DERControlCPDRes(Element, frozen=True, kw_only=True):
    """Required grid support of the vehicle."""

    voltage_trip: VoltageTrip
    frequency_trip: FrequencyTrip
    enter_service_cpd_res: EnterServiceCPDRes
    reactive_power_support_cpd_res: ReactivePowerSupportCPDRes
    active_power_support_cpd_res: ActivePowerSupportCPDRes


class DERControlCLRes(Element, frozen=True, kw_only=True):
    """Changed grid support of the vehicle."""

    voltage_trip: VoltageTrip | None = None
    frequency_trip: FrequencyTrip | None = None
    enter_service_cl_res: EnterServiceCLRes
    reactive_power_support_cl_res: ReactivePowerSupportCLRes | None = None
    active_power_support_cl_res: ActivePowerSupportCLRes | None = None


class EVApparentPowerLimits(Element, frozen=True, kw_only=True):
    """Apparent power limits of the vehicle."""

    ev_maximum_apparent_power_during_charging_and_var_absorption: common_types.RationalNumber
    ev_maximum_apparent_power_during_charging_and_var_absorption_l2: common_types.RationalNumber | None = None
    ev_maximum_apparent_power_during_charging_and_var_absorption_l3: common_types.RationalNumber | None = None
    ev_maximum_apparent_power_during_charging_and_var_injection: common_types.RationalNumber
    ev_maximum_apparent_power_during_charging_and_var_injection_l2: common_types.RationalNumber | None = None
    ev_maximum_apparent_power_during_charging_and_var_injection_l3: common_types.RationalNumber | None = None
    ev_maximum_apparent_power_during_discharging_and_var_absorption: common_types.RationalNumber
    ev_maximum_apparent_power_during_discharging_and_var_absorption_l2: common_types.RationalNumber | None = None
    ev_maximum_apparent_power_during_discharging_and_var_absorption_l3: common_types.RationalNumber | None = None
    ev_maximum_apparent_power_during_discharging_and_var_injection: common_types.RationalNumber
    ev_maximum_apparent_power_during_discharging_and_var_injection_l2: common_types.RationalNumber | None = None
    ev_maximum_apparent_power_during_discharging_and_var_injection_l3: common_types.RationalNumber | None = None


class EVApparentPower(EVApparentPowerLimits, frozen=True, kw_only=True):
    """Present apparent power limits of the vehicle."""


class EVReactivePower(Element, frozen=True, kw_only=True):
    """Reactive power that the vehicle can absorb or inject now."""

    ev_maximum_var_absorption_during_charging: common_types.RationalNumber
    ev_maximum_var_absorption_during_charging_l2: common_types.RationalNumber | None = None
    ev_maximum_var_absorption_during_charging_l3: common_types.RationalNumber | None = None
    ev_minimum_var_absorption_during_charging: common_types.RationalNumber | None = None
    ev_minimum_var_absorption_during_charging_l2: common_types.RationalNumber | None = None
    ev_minimum_var_absorption_during_charging_l3: common_types.RationalNumber | None = None
    ev_maximum_var_injection_during_charging: common_types.RationalNumber
    ev_maximum_var_injection_during_charging_l2: common_types.RationalNumber | None = None
    ev_maximum_var_injection_during_charging_l3: common_types.RationalNumber | None = None
    ev_minimum_var_injection_during_charging: common_types.RationalNumber | None = None
    ev_minimum_var_injection_during_charging_l2: common_types.RationalNumber | None = None
    ev_minimum_var_injection_during_charging_l3: common_types.RationalNumber | None = None
    ev_maximum_var_absorption_during_discharging: common_types.RationalNumber
    ev_maximum_var_absorption_during_discharging_l2: common_types.RationalNumber | None = None
    ev_maximum_var_absorption_during_discharging_l3: common_types.RationalNumber | None = None
    ev_minimum_var_absorption_during_discharging: common_types.RationalNumber | None = None
    ev_minimum_var_absorption_during_discharging_l2: common_types.RationalNumber | None = None
    ev_minimum_var_absorption_during_discharging_l3: common_types.RationalNumber | None = None
    ev_maximum_var_injection_during_discharging: common_types.RationalNumber
    ev_maximum_var_injection_during_discharging_l2: common_types.RationalNumber | None = None
    ev_maximum_var_injection_during_discharging_l3: common_types.RationalNumber | None = None
    ev_minimum_var_injection_during_discharging: common_types.RationalNumber | None = None
    ev_minimum_var_injection_during_discharging_l2: common_types.RationalNumber | None = None
    ev_minimum_var_injection_during_discharging_l3: common_types.RationalNumber | None = None


class EVReactivePowerLimits(EVReactivePower, frozen=True, kw_only=True):
    """Reactive power that the vehicle can absorb or inject."""

    ev_reactive_susceptance: common_types.RationalNumber
    ev_reactive_susceptance_l2: common_types.RationalNumber | None = None
    ev_reactive_susceptance_l3: common_types.RationalNumber | None = None


class EVExcitationLimits(Element, frozen=True, kw_only=True):
    """Power factors of the vehicle, and the discharge powers at which they hold."""

    ev_specified_over_excited_power_factor: common_types.RationalNumber
    ev_specified_over_excited_power_factor_l2: common_types.RationalNumber | None = None
    ev_specified_over_excited_power_factor_l3: common_types.RationalNumber | None = None
    ev_specified_over_excited_discharge_power: common_types.RationalNumber
    ev_specified_over_excited_discharge_power_l2: common_types.RationalNumber | None = None
    ev_specified_over_excited_discharge_power_l3: common_types.RationalNumber | None = None
    ev_specified_under_excited_power_factor: common_types.RationalNumber
    ev_specified_under_excited_power_factor_l2: common_types.RationalNumber | None = None
    ev_specified_under_excited_power_factor_l3: common_types.RationalNumber | None = None
    ev_specified_under_excited_discharge_power: common_types.RationalNumber
    ev_specified_under_excited_discharge_power_l2: common_types.RationalNumber | None = None
    ev_specified_under_excited_discharge_power_l3: common_types.RationalNumber | None = None


class EVExcitation(Element, frozen=True, kw_only=True):
    """Power factors of the vehicle now, and the discharge powers at which they hold."""

    ev_specified_over_excited_power_factor: common_types.RationalNumber | None = None
    ev_specified_over_excited_power_factor_l2: common_types.RationalNumber | None = None
    ev_specified_over_excited_power_factor_l3: common_types.RationalNumber | None = None
    ev_specified_over_excited_discharge_power: common_types.RationalNumber
    ev_specified_over_excited_discharge_power_l2: common_types.RationalNumber | None = None
    ev_specified_over_excited_discharge_power_l3: common_types.RationalNumber | None = None
    ev_specified_under_excited_power_factor: common_types.RationalNumber | None = None
    ev_specified_under_excited_power_factor_l2: common_types.RationalNumber | None = None
    ev_specified_under_excited_power_factor_l3: common_types.RationalNumber | None = None
    ev_specified_under_excited_discharge_power: common_types.RationalNumber
    ev_specified_under_excited_discharge_power_l2: common_types.RationalNumber | None = None
    ev_specified_under_excited_discharge_power_l3: common_types.RationalNumber | None = None


class EVInverterDetails(Element, frozen=True, kw_only=True):
    """Vendor and versions of the inverter."""

    ev_inverter_sw_version: InverterText
    ev_inverter_hw_version: InverterText | None = None
    ev_inverter_manufacturer: InverterText
    ev_inverter_model: InverterText
    ev_inverter_serial_number: InverterText


class EVSEReactivePowerLimits(Element, frozen=True, kw_only=True):
    """Reactive power that the charger allows."""

    evse_maximum_var_absorption_during_charging: common_types.RationalNumber
    evse_maximum_var_absorption_during_charging_l2: common_types.RationalNumber | None = None
    evse_maximum_var_absorption_during_charging_l3: common_types.RationalNumber | None = None
    evse_maximum_var_injection_during_charging: common_types.RationalNumber
    evse_maximum_var_injection_during_charging_l2: common_types.RationalNumber | None = None
    evse_maximum_var_injection_during_charging_l3: common_types.RationalNumber | None = None
    evse_maximum_var_absorption_during_discharging: common_types.RationalNumber
    evse_maximum_var_absorption_during_discharging_l2: common_types.RationalNumber | None = None
    evse_maximum_var_absorption_during_discharging_l3: common_types.RationalNumber | None = None
    evse_maximum_var_injection_during_discharging: common_types.RationalNumber
    evse_maximum_var_injection_during_discharging_l2: common_types.RationalNumber | None = None
    evse_maximum_var_injection_during_discharging_l3: common_types.RationalNumber | None = None


class GridLimits(Element, frozen=True, kw_only=True):
    """Voltages and frequencies of the grid."""

    grid_nominal_frequency: common_types.RationalNumber
    grid_nominal_voltage: common_types.RationalNumber
    grid_nominal_voltage_offset: common_types.RationalNumber
    grid_min_frequency: common_types.RationalNumber | None = None
    grid_max_frequency: common_types.RationalNumber | None = None
    grid_maximum_voltage: common_types.RationalNumber
    grid_minimum_voltage: common_types.RationalNumber


class DER_AC_CPDReqEnergyTransferMode(ac.AC_CPDReqEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """The vehicle's limits and grid support capabilities."""

    ev_processing: common_types.Processing
    ev_maximum_discharge_power: common_types.RationalNumber
    ev_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_discharge_power: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_session_total_discharge_energy_available: common_types.RationalNumber | None = None
    ev_apparent_power_limits: EVApparentPowerLimits
    ev_reactive_power_limits: EVReactivePowerLimits
    ev_excitation_limits: EVExcitationLimits
    ev_inverter_details: EVInverterDetails
    ieee1547_normal_category: Ieee1547NormalCategory
    ieee1547_abnormal_category: Ieee1547AbnormalCategory
    ev_nominal_voltage: common_types.RationalNumber
    ev_maximum_voltage: common_types.RationalNumber
    ev_minimum_voltage: common_types.RationalNumber
    ev_nominal_voltage_offset: common_types.RationalNumber
    j3072_certified: bool
    j3072_certification_date: UnsignedLong
    ev_useable_watt_hours: UnsignedInt
    ev_update_time: UnsignedLong
    supported_modes: UnsignedInt
    enabled_modes: UnsignedInt


class DER_AC_CPDResEnergyTransferMode(ac.AC_CPDResEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """The charger's limits, and the grid's requirements."""

    evse_processing: common_types.Processing
    evse_status: common_types.EVSEStatus | None = None
    der_control_cpd_res: DERControlCPDRes
    evse_nominal_charge_power: common_types.RationalNumber | None = None
    evse_nominal_charge_power_l2: common_types.RationalNumber | None = None
    evse_nominal_charge_power_l3: common_types.RationalNumber | None = None
    evse_nominal_discharge_power: common_types.RationalNumber | None = None
    evse_nominal_discharge_power_l2: common_types.RationalNumber | None = None
    evse_nominal_discharge_power_l3: common_types.RationalNumber | None = None
    evse_maximum_discharge_power: common_types.RationalNumber
    evse_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    evse_reactive_power_limits: EVSEReactivePowerLimits
    grid_limits: GridLimits
    required_der_operating_mode: RequiredDEROperatingMode
    grid_connection_mode: GridConnectionMode
    evse_update_time: UnsignedLong


class DER_Scheduled_AC_CLReqControlMode(ac.Scheduled_AC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits of a vehicle that follows a schedule."""

    ev_present_voltage: common_types.RationalNumber
    ev_present_frequency: common_types.RationalNumber
    ev_maximum_discharge_power: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_discharge_power: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l3: common_types.RationalNumber | None = None
    der_operational_state: DerOperationalState
    der_connection_status: DerConnectionStatus
    ev_apparent_power: EVApparentPower | None = None
    ev_reactive_power: EVReactivePower | None = None
    ev_excitation: EVExcitation | None = None
    ev_update_time: UnsignedLong
    ev_minimum_charging_duration: UnsignedInt | None = None
    ev_duration_maximum_charge_rate: UnsignedInt | None = None
    ev_duration_maximum_discharge_rate: UnsignedInt | None = None
    der_alarm_status: UnsignedInt
    enabled_modes: UnsignedInt


class DER_Scheduled_AC_CLResControlMode(ac.Scheduled_AC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Limits and set points of a charger that follows a schedule."""

    der_control_cl_res: DERControlCLRes
    evse_maximum_charge_power: common_types.RationalNumber | None = None
    evse_maximum_charge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_charge_power_l3: common_types.RationalNumber | None = None
    evse_maximum_discharge_power: common_types.RationalNumber | None = None
    evse_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    required_der_operating_mode: RequiredDEROperatingMode | None = None
    grid_connection_mode: GridConnectionMode | None = None


class DER_Dynamic_AC_CLReqControlMode(ac.Dynamic_AC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits within which the charger decides."""

    ev_maximum_discharge_power: common_types.RationalNumber
    ev_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_discharge_power: common_types.RationalNumber
    ev_minimum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_present_voltage: common_types.RationalNumber
    ev_present_frequency: common_types.RationalNumber
    ev_session_total_discharge_energy_available: common_types.RationalNumber | None = None
    ev_apparent_power: EVApparentPower | None = None
    ev_reactive_power: EVReactivePower | None = None
    ev_excitation: EVExcitation | None = None
    ev_maximum_v2x_energy_request: common_types.RationalNumber | None = None
    ev_minimum_v2x_energy_request: common_types.RationalNumber | None = None
    der_operational_state: DerOperationalState
    der_connection_status: DerConnectionStatus
    ev_update_time: UnsignedLong
    ev_minimum_charging_duration: UnsignedInt
    ev_duration_maximum_charge_rate: UnsignedInt
    ev_duration_maximum_discharge_rate: UnsignedInt
    der_alarm_status: UnsignedInt
    enabled_modes: UnsignedInt


class DER_Dynamic_AC_CLResControlMode(ac.Dynamic_AC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Targets, limits and set points of a charger that decides."""

    der_control_cl_res: DERControlCLRes
    evse_maximum_charge_power: common_types.RationalNumber | None = None
    evse_maximum_charge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_charge_power_l3: common_types.RationalNumber | None = None
    evse_maximum_discharge_power: common_types.RationalNumber | None = None
    evse_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    required_der_operating_mode: RequiredDEROperatingMode | None = None
    grid_connection_mode: GridConnectionMode | None = None


class AC_ChargeParameterDiscoveryReq(ac.AC_ChargeParameterDiscoveryReq, frozen=True, kw_only=True):
    """The limits of the vehicle's on-board charger, possibly as a distributed energy resource."""

    namespace: ClassVar[Schema] = AC
    ac_cpd_req_energy_transfer_mode: Annotated[
        ac.AC_CPDReqEnergyTransferMode | ac.BPT_AC_CPDReqEnergyTransferMode | DER_AC_CPDReqEnergyTransferMode,
        Ref(ac.AC_CPDReqEnergyTransferMode),
    ] = field(name="AC_CPDReqEnergyTransferMode")


class AC_ChargeParameterDiscoveryRes(ac.AC_ChargeParameterDiscoveryRes, frozen=True, kw_only=True):
    """The charger's limits and the required grid support."""

    namespace: ClassVar[Schema] = AC
    ac_cpd_res_energy_transfer_mode: Annotated[
        ac.AC_CPDResEnergyTransferMode | ac.BPT_AC_CPDResEnergyTransferMode | DER_AC_CPDResEnergyTransferMode,
        Ref(ac.AC_CPDResEnergyTransferMode),
    ] = field(name="AC_CPDResEnergyTransferMode")


class AC_ChargeLoopReq(ac.AC_ChargeLoopReq, frozen=True, kw_only=True):
    """The vehicle's powers and limits; repeated while energy flows."""

    namespace: ClassVar[Schema] = AC
    cl_req_control_mode: Annotated[
        common_types.CLReqControlMode
        | ac.BPT_Dynamic_AC_CLReqControlMode
        | ac.BPT_Scheduled_AC_CLReqControlMode
        | DER_Dynamic_AC_CLReqControlMode
        | DER_Scheduled_AC_CLReqControlMode
        | ac.Dynamic_AC_CLReqControlMode
        | ac.Scheduled_AC_CLReqControlMode,
        Ref(common_types.CLReqControlMode),
    ]


class AC_ChargeLoopRes(ac.AC_ChargeLoopRes, frozen=True, kw_only=True):
    """The vehicle's targets, and the meter; target frequency in Hz."""

    namespace: ClassVar[Schema] = AC
    cl_res_control_mode: Annotated[
        common_types.CLResControlMode
        | ac.BPT_Dynamic_AC_CLResControlMode
        | ac.BPT_Scheduled_AC_CLResControlMode
        | DER_Dynamic_AC_CLResControlMode
        | DER_Scheduled_AC_CLResControlMode
        | ac.Dynamic_AC_CLResControlMode
        | ac.Scheduled_AC_CLResControlMode,
        Ref(common_types.CLResControlMode),
    ]


ELEMENTS: Final = {
    each.__name__: each
    for each in (
        AC_ChargeParameterDiscoveryReq,
        AC_ChargeParameterDiscoveryRes,
        AC_ChargeLoopReq,
        AC_ChargeLoopRes,
        DER_AC_CPDReqEnergyTransferMode,
        DER_AC_CPDResEnergyTransferMode,
        DER_Dynamic_AC_CLReqControlMode,
        DER_Dynamic_AC_CLResControlMode,
        DER_Scheduled_AC_CLReqControlMode,
        DER_Scheduled_AC_CLResControlMode,
        FrequencyDroop,
    )
}
"""The messages are in the namespace of AC, the others in that of this module."""
