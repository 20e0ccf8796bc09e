"""ISO 15118-20 Amendment 1, AC_DER_SAE: a vehicle that supports the grid by North American rules. DRAFT, not verified.

The facts are those of a draft of Amendment 1, read from schema files in a public third-party repository
(OpenChargingCloud/WWCP_ISO15118). They may change, and have not been compared with an official schema file.

The four messages are those of AC, in its namespace. Their classes here have more members in their substitution groups,
and so other event codes than those of `v2g.iso15118.d20.messages.ac`.
"""

from enum import Enum
from typing import Annotated, ClassVar, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import Element, Ref, Schema, UnsignedInt, UnsignedLong, UnsignedShort
from v2g.iso15118.d20.messages.ac import (
    AC_CPDReqEnergyTransferMode,
    AC_CPDResEnergyTransferMode,
    BPT_AC_CPDReqEnergyTransferMode,
    BPT_AC_CPDResEnergyTransferMode,
    BPT_Dynamic_AC_CLReqControlMode,
    BPT_Dynamic_AC_CLResControlMode,
    BPT_Scheduled_AC_CLReqControlMode,
    BPT_Scheduled_AC_CLResControlMode,
    Dynamic_AC_CLReqControlMode,
    Dynamic_AC_CLResControlMode,
    Scheduled_AC_CLReqControlMode,
    Scheduled_AC_CLResControlMode,
)
from v2g.iso15118.d20.messages.common_types import (
    ChargeLoopReq,
    ChargeLoopRes,
    ChargeParameterDiscoveryReq,
    ChargeParameterDiscoveryRes,
    CLReqControlMode,
    CLResControlMode,
    EVSEStatus,
    Processing,
    RationalNumber,
)
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
    """Whether the vehicle supports the grid now (derOperationalStateType)."""

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
    """Whether the vehicle shall follow the grid or form it (requiredDEROperatingModeType)."""

    GridFollowing = "GridFollowing"
    GridForming = "GridForming"


class GridConnectionMode(Enum):
    """Whether there is a grid around (gridConnectionModeType)."""

    GridConnected = "GridConnected"
    GridIslanded = "GridIslanded"


class DataTuple(Element, frozen=True, kw_only=True):
    """A point of a curve."""

    x_value: RationalNumber = field(name="xValue")
    y_value: RationalNumber = field(name="yValue")


class CurveDataPointsList(Element, frozen=True, kw_only=True):
    """The points of a curve."""

    curve_data_point: Annotated[tuple[DataTuple, ...], Meta(min_length=2, max_length=10)] = field(name="CurveDataPoint")


class DERCurve(Element, frozen=True, kw_only=True):
    """A curve of limits."""

    enable: bool = field(name="Enable")
    priority: UnsignedShort | None = field(name="Priority", default=None)
    x_unit: DerUnit = field(name="xUnit")
    y_unit: DerUnit = field(name="yUnit")
    curve_data_points: CurveDataPointsList = field(name="CurveDataPoints")
    curve_data_points_l2: CurveDataPointsList | None = field(name="CurveDataPoints_L2", default=None)
    curve_data_points_l3: CurveDataPointsList | None = field(name="CurveDataPoints_L3", default=None)


class VoltVar(Element, frozen=True, kw_only=True):
    """Reactive power by voltage."""

    enable: bool = field(name="Enable")
    priority: UnsignedShort | None = field(name="Priority", default=None)
    x_unit: DerUnit = field(name="xUnit")
    y_unit: DerUnit = field(name="yUnit")
    curve_data_points: CurveDataPointsList = field(name="CurveDataPoints")
    curve_data_points_l2: CurveDataPointsList | None = field(name="CurveDataPoints_L2", default=None)
    curve_data_points_l3: CurveDataPointsList | None = field(name="CurveDataPoints_L3", default=None)
    open_loop_response_time: RationalNumber = field(name="OpenLoopResponseTime")
    time_constant_pt1: UnsignedInt | None = field(name="TimeConstantPT1", default=None)
    reference_voltage: RationalNumber = field(name="ReferenceVoltage")
    autonomous_reference_voltage_adjustment_enable: bool = field(name="AutonomousReferenceVoltageAdjustmentEnable")
    reference_voltage_adjustment_time_constant: UnsignedInt = field(name="ReferenceVoltageAdjustmentTimeConstant")


class WattVar(Element, frozen=True, kw_only=True):
    """Reactive power by active power."""

    enable: bool = field(name="Enable")
    priority: UnsignedShort | None = field(name="Priority", default=None)
    x_unit: DerUnit = field(name="xUnit")
    y_unit: DerUnit = field(name="yUnit")
    curve_data_points: CurveDataPointsList = field(name="CurveDataPoints")
    curve_data_points_l2: CurveDataPointsList | None = field(name="CurveDataPoints_L2", default=None)
    curve_data_points_l3: CurveDataPointsList | None = field(name="CurveDataPoints_L3", default=None)
    open_loop_response_time: RationalNumber | None = field(name="OpenLoopResponseTime", default=None)
    time_constant_pt1: UnsignedInt | None = field(name="TimeConstantPT1", default=None)


class VoltWatt(Element, frozen=True, kw_only=True):
    """Active power by voltage."""

    enable: bool = field(name="Enable")
    priority: UnsignedShort | None = field(name="Priority", default=None)
    x_unit: DerUnit = field(name="xUnit")
    y_unit: DerUnit = field(name="yUnit")
    curve_data_points: CurveDataPointsList = field(name="CurveDataPoints")
    curve_data_points_l2: CurveDataPointsList | None = field(name="CurveDataPoints_L2", default=None)
    curve_data_points_l3: CurveDataPointsList | None = field(name="CurveDataPoints_L3", default=None)
    open_loop_response_time: RationalNumber = field(name="OpenLoopResponseTime")
    time_constant_pt1: UnsignedInt | None = field(name="TimeConstantPT1", default=None)


class ConstantPowerFactor(Element, frozen=True, kw_only=True):
    """A fixed power factor."""

    enable: bool = field(name="Enable")
    priority: UnsignedShort | None = field(name="Priority", default=None)
    power_factor_value: RationalNumber = field(name="PowerFactorValue")
    power_factor_value_l2: RationalNumber | None = field(name="PowerFactorValue_L2", default=None)
    power_factor_value_l3: RationalNumber | None = field(name="PowerFactorValue_L3", default=None)
    power_factor_excitation: PowerFactorExcitation = field(name="PowerFactorExcitation")
    power_factor_excitation_l2: PowerFactorExcitation | None = field(name="PowerFactorExcitation_L2", default=None)
    power_factor_excitation_l3: PowerFactorExcitation | None = field(name="PowerFactorExcitation_L3", default=None)


class ConstantVar(Element, frozen=True, kw_only=True):
    """A fixed reactive power."""

    enable: bool = field(name="Enable")
    priority: UnsignedShort | None = field(name="Priority", default=None)
    var_setpoint: RationalNumber = field(name="VarSetpoint")
    var_setpoint_l2: RationalNumber | None = field(name="VarSetpoint_L2", default=None)
    var_setpoint_l3: RationalNumber | None = field(name="VarSetpoint_L3", default=None)
    unit: DerUnit = field(name="Unit")


class ConstantWatt(Element, frozen=True, kw_only=True):
    """A fixed active power."""

    enable: bool = field(name="Enable")
    priority: UnsignedShort | None = field(name="Priority", default=None)
    watt_setpoint: RationalNumber = field(name="WattSetpoint")
    watt_setpoint_l2: RationalNumber | None = field(name="WattSetpoint_L2", default=None)
    watt_setpoint_l3: RationalNumber | None = field(name="WattSetpoint_L3", default=None)
    unit: DerUnit = field(name="Unit")


class LimitMaxDischargePower(Element, frozen=True, kw_only=True):
    """An upper limit of discharge, as a percentage."""

    enable: bool = field(name="Enable")
    priority: UnsignedShort | None = field(name="Priority", default=None)
    percentage_value: UnsignedShort = field(name="PercentageValue")
    percentage_value_l2: UnsignedShort | None = field(name="PercentageValue_L2", default=None)
    percentage_value_l3: UnsignedShort | None = field(name="PercentageValue_L3", default=None)
    open_loop_response_time: RationalNumber | None = field(name="OpenLoopResponseTime", default=None)


class FrequencyDroopSettings(Element, frozen=True, kw_only=True):
    """How active power follows frequency on one side."""

    db: RationalNumber = field(name="db")
    droop_factor: RationalNumber = field(name="DroopFactor")
    droop_factor_l2: RationalNumber | None = field(name="DroopFactor_L2", default=None)
    droop_factor_l3: RationalNumber | None = field(name="DroopFactor_L3", default=None)
    power_reference: PowerReference = field(name="PowerReference")
    power_reference_l2: PowerReference | None = field(name="PowerReference_L2", default=None)
    power_reference_l3: PowerReference | None = field(name="PowerReference_L3", default=None)
    open_loop_response_time: RationalNumber = field(name="OpenLoopResponseTime")


class FrequencyDroop(Element, frozen=True, kw_only=True):
    """Active power by frequency."""

    enable: bool = field(name="Enable")
    priority: UnsignedShort | None = field(name="Priority", default=None)
    over_frequency_droop: FrequencyDroopSettings | None = field(name="OverFrequencyDroop", default=None)
    under_frequency_droop: FrequencyDroopSettings | None = field(name="UnderFrequencyDroop", default=None)


class VoltageTrip(Element, frozen=True, kw_only=True):
    """Voltages at which the vehicle must or may disconnect."""

    over_voltage_must_trip_curve: DERCurve = field(name="OverVoltageMustTripCurve")
    under_voltage_must_trip_curve: DERCurve = field(name="UnderVoltageMustTripCurve")
    over_voltage_momentary_cessation_trip_curve: DERCurve | None = field(
        name="OverVoltageMomentaryCessationTripCurve", default=None
    )
    under_voltage_momentary_cessation_trip_curve: DERCurve | None = field(
        name="UnderVoltageMomentaryCessationTripCurve", default=None
    )
    over_voltage_may_trip_curve: DERCurve | None = field(name="OverVoltageMayTripCurve", default=None)
    under_voltage_may_trip_curve: DERCurve | None = field(name="UnderVoltageMayTripCurve", default=None)


class FrequencyTrip(Element, frozen=True, kw_only=True):
    """Frequencies at which the vehicle must or may disconnect."""

    over_frequency_must_trip_curve: DERCurve = field(name="OverFrequencyMustTripCurve")
    under_frequency_must_trip_curve: DERCurve = field(name="UnderFrequencyMustTripCurve")
    over_frequency_may_trip_curve: DERCurve | None = field(name="OverFrequencyMayTripCurve", default=None)
    under_frequency_may_trip_curve: DERCurve | None = field(name="UnderFrequencyMayTripCurve", default=None)


class EnterServiceCPDRes(Element, frozen=True, kw_only=True):
    """When the vehicle may begin to feed."""

    permit_service: bool = field(name="PermitService")
    enter_service_voltage_high: RationalNumber = field(name="EnterServiceVoltageHigh")
    enter_service_voltage_low: RationalNumber = field(name="EnterServiceVoltageLow")
    enter_service_frequency_high: RationalNumber = field(name="EnterServiceFrequencyHigh")
    enter_service_frequency_low: RationalNumber = field(name="EnterServiceFrequencyLow")
    enter_service_delay: RationalNumber | None = field(name="EnterServiceDelay", default=None)
    enter_service_randomized_delay: RationalNumber | None = field(name="EnterServiceRandomizedDelay", default=None)
    enter_service_ramp_time: RationalNumber | None = field(name="EnterServiceRampTime", default=None)


class EnterServiceCLRes(Element, frozen=True, kw_only=True):
    """When the vehicle may begin to feed, as far as it has changed."""

    permit_service: bool = field(name="PermitService")
    enter_service_voltage_high: RationalNumber | None = field(name="EnterServiceVoltageHigh", default=None)
    enter_service_voltage_low: RationalNumber | None = field(name="EnterServiceVoltageLow", default=None)
    enter_service_frequency_high: RationalNumber | None = field(name="EnterServiceFrequencyHigh", default=None)
    enter_service_frequency_low: RationalNumber | None = field(name="EnterServiceFrequencyLow", default=None)
    enter_service_delay: RationalNumber | None = field(name="EnterServiceDelay", default=None)
    enter_service_randomized_delay: RationalNumber | None = field(name="EnterServiceRandomizedDelay", default=None)
    enter_service_ramp_time: RationalNumber | None = field(name="EnterServiceRampTime", default=None)


class ReactivePowerSupportCPDRes(Element, frozen=True, kw_only=True):
    """Reactive power in support of the grid."""

    constant_power_factor: ConstantPowerFactor = field(name="ConstantPowerFactor")
    volt_var: VoltVar = field(name="VoltVar")
    watt_var: WattVar = field(name="WattVar")
    constant_var: ConstantVar = field(name="ConstantVar")


class ReactivePowerSupportCLRes(Element, frozen=True, kw_only=True):
    """Reactive power in support of the grid, as far as it has changed."""

    constant_power_factor: ConstantPowerFactor | None = field(name="ConstantPowerFactor", default=None)
    volt_var: VoltVar | None = field(name="VoltVar", default=None)
    watt_var: WattVar | None = field(name="WattVar", default=None)
    constant_var: ConstantVar | None = field(name="ConstantVar", default=None)


class ActivePowerSupportCPDRes(Element, frozen=True, kw_only=True):
    """Active power in support of the grid."""

    frequency_droop: FrequencyDroop = field(name="FrequencyDroop")
    volt_watt: VoltWatt = field(name="VoltWatt")
    constant_watt: ConstantWatt = field(name="ConstantWatt")
    limit_max_discharge_power: LimitMaxDischargePower = field(name="LimitMaxDischargePower")


class ActivePowerSupportCLRes(Element, frozen=True, kw_only=True):
    """Active power in support of the grid, as far as it has changed."""

    frequency_droop: FrequencyDroop | None = field(name="FrequencyDroop", default=None)
    volt_watt: VoltWatt | None = field(name="VoltWatt", default=None)
    constant_watt: ConstantWatt | None = field(name="ConstantWatt", default=None)
    limit_max_discharge_power: LimitMaxDischargePower | None = field(name="LimitMaxDischargePower", default=None)


class DERControlCPDRes(Element, frozen=True, kw_only=True):
    """How the vehicle shall support the grid."""

    voltage_trip: VoltageTrip = field(name="VoltageTrip")
    frequency_trip: FrequencyTrip = field(name="FrequencyTrip")
    enter_service_cpd_res: EnterServiceCPDRes = field(name="EnterServiceCPDRes")
    reactive_power_support_cpd_res: ReactivePowerSupportCPDRes = field(name="ReactivePowerSupportCPDRes")
    active_power_support_cpd_res: ActivePowerSupportCPDRes = field(name="ActivePowerSupportCPDRes")


class DERControlCLRes(Element, frozen=True, kw_only=True):
    """How the vehicle shall support the grid, as far as it has changed."""

    voltage_trip: VoltageTrip | None = field(name="VoltageTrip", default=None)
    frequency_trip: FrequencyTrip | None = field(name="FrequencyTrip", default=None)
    enter_service_cl_res: EnterServiceCLRes = field(name="EnterServiceCLRes")
    reactive_power_support_cl_res: ReactivePowerSupportCLRes | None = field(
        name="ReactivePowerSupportCLRes", default=None
    )
    active_power_support_cl_res: ActivePowerSupportCLRes | None = field(name="ActivePowerSupportCLRes", default=None)


class EVApparentPowerLimits(Element, frozen=True, kw_only=True):
    """Apparent power that the vehicle can take or give."""

    ev_maximum_apparent_power_during_charging_and_var_absorption: RationalNumber = field(
        name="EVMaximumApparentPowerDuringChargingAndVarAbsorption"
    )
    ev_maximum_apparent_power_during_charging_and_var_absorption_l2: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringChargingAndVarAbsorption_L2", default=None
    )
    ev_maximum_apparent_power_during_charging_and_var_absorption_l3: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringChargingAndVarAbsorption_L3", default=None
    )
    ev_maximum_apparent_power_during_charging_and_var_injection: RationalNumber = field(
        name="EVMaximumApparentPowerDuringChargingAndVarInjection"
    )
    ev_maximum_apparent_power_during_charging_and_var_injection_l2: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringChargingAndVarInjection_L2", default=None
    )
    ev_maximum_apparent_power_during_charging_and_var_injection_l3: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringChargingAndVarInjection_L3", default=None
    )
    ev_maximum_apparent_power_during_discharging_and_var_absorption: RationalNumber = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarAbsorption"
    )
    ev_maximum_apparent_power_during_discharging_and_var_absorption_l2: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarAbsorption_L2", default=None
    )
    ev_maximum_apparent_power_during_discharging_and_var_absorption_l3: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarAbsorption_L3", default=None
    )
    ev_maximum_apparent_power_during_discharging_and_var_injection: RationalNumber = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarInjection"
    )
    ev_maximum_apparent_power_during_discharging_and_var_injection_l2: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarInjection_L2", default=None
    )
    ev_maximum_apparent_power_during_discharging_and_var_injection_l3: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarInjection_L3", default=None
    )


class EVApparentPower(Element, frozen=True, kw_only=True):
    """Apparent power that the vehicle can take or give now."""

    ev_maximum_apparent_power_during_charging_and_var_absorption: RationalNumber = field(
        name="EVMaximumApparentPowerDuringChargingAndVarAbsorption"
    )
    ev_maximum_apparent_power_during_charging_and_var_absorption_l2: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringChargingAndVarAbsorption_L2", default=None
    )
    ev_maximum_apparent_power_during_charging_and_var_absorption_l3: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringChargingAndVarAbsorption_L3", default=None
    )
    ev_maximum_apparent_power_during_charging_and_var_injection: RationalNumber = field(
        name="EVMaximumApparentPowerDuringChargingAndVarInjection"
    )
    ev_maximum_apparent_power_during_charging_and_var_injection_l2: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringChargingAndVarInjection_L2", default=None
    )
    ev_maximum_apparent_power_during_charging_and_var_injection_l3: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringChargingAndVarInjection_L3", default=None
    )
    ev_maximum_apparent_power_during_discharging_and_var_absorption: RationalNumber = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarAbsorption"
    )
    ev_maximum_apparent_power_during_discharging_and_var_absorption_l2: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarAbsorption_L2", default=None
    )
    ev_maximum_apparent_power_during_discharging_and_var_absorption_l3: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarAbsorption_L3", default=None
    )
    ev_maximum_apparent_power_during_discharging_and_var_injection: RationalNumber = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarInjection"
    )
    ev_maximum_apparent_power_during_discharging_and_var_injection_l2: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarInjection_L2", default=None
    )
    ev_maximum_apparent_power_during_discharging_and_var_injection_l3: RationalNumber | None = field(
        name="EVMaximumApparentPowerDuringDischargingAndVarInjection_L3", default=None
    )


class EVReactivePowerLimits(Element, frozen=True, kw_only=True):
    """Reactive power that the vehicle can absorb or inject."""

    ev_maximum_var_absorption_during_charging: RationalNumber = field(name="EVMaximumVarAbsorptionDuringCharging")
    ev_maximum_var_absorption_during_charging_l2: RationalNumber | None = field(
        name="EVMaximumVarAbsorptionDuringCharging_L2", default=None
    )
    ev_maximum_var_absorption_during_charging_l3: RationalNumber | None = field(
        name="EVMaximumVarAbsorptionDuringCharging_L3", default=None
    )
    ev_minimum_var_absorption_during_charging: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringCharging", default=None
    )
    ev_minimum_var_absorption_during_charging_l2: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringCharging_L2", default=None
    )
    ev_minimum_var_absorption_during_charging_l3: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringCharging_L3", default=None
    )
    ev_maximum_var_injection_during_charging: RationalNumber = field(name="EVMaximumVarInjectionDuringCharging")
    ev_maximum_var_injection_during_charging_l2: RationalNumber | None = field(
        name="EVMaximumVarInjectionDuringCharging_L2", default=None
    )
    ev_maximum_var_injection_during_charging_l3: RationalNumber | None = field(
        name="EVMaximumVarInjectionDuringCharging_L3", default=None
    )
    ev_minimum_var_injection_during_charging: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringCharging", default=None
    )
    ev_minimum_var_injection_during_charging_l2: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringCharging_L2", default=None
    )
    ev_minimum_var_injection_during_charging_l3: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringCharging_L3", default=None
    )
    ev_maximum_var_absorption_during_discharging: RationalNumber = field(name="EVMaximumVarAbsorptionDuringDischarging")
    ev_maximum_var_absorption_during_discharging_l2: RationalNumber | None = field(
        name="EVMaximumVarAbsorptionDuringDischarging_L2", default=None
    )
    ev_maximum_var_absorption_during_discharging_l3: RationalNumber | None = field(
        name="EVMaximumVarAbsorptionDuringDischarging_L3", default=None
    )
    ev_minimum_var_absorption_during_discharging: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringDischarging", default=None
    )
    ev_minimum_var_absorption_during_discharging_l2: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringDischarging_L2", default=None
    )
    ev_minimum_var_absorption_during_discharging_l3: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringDischarging_L3", default=None
    )
    ev_maximum_var_injection_during_discharging: RationalNumber = field(name="EVMaximumVarInjectionDuringDischarging")
    ev_maximum_var_injection_during_discharging_l2: RationalNumber | None = field(
        name="EVMaximumVarInjectionDuringDischarging_L2", default=None
    )
    ev_maximum_var_injection_during_discharging_l3: RationalNumber | None = field(
        name="EVMaximumVarInjectionDuringDischarging_L3", default=None
    )
    ev_minimum_var_injection_during_discharging: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringDischarging", default=None
    )
    ev_minimum_var_injection_during_discharging_l2: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringDischarging_L2", default=None
    )
    ev_minimum_var_injection_during_discharging_l3: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringDischarging_L3", default=None
    )
    ev_reactive_susceptance: RationalNumber = field(name="EVReactiveSusceptance")
    ev_reactive_susceptance_l2: RationalNumber | None = field(name="EVReactiveSusceptance_L2", default=None)
    ev_reactive_susceptance_l3: RationalNumber | None = field(name="EVReactiveSusceptance_L3", default=None)


class EVReactivePower(Element, frozen=True, kw_only=True):
    """Reactive power that the vehicle can absorb or inject now."""

    ev_maximum_var_absorption_during_charging: RationalNumber = field(name="EVMaximumVarAbsorptionDuringCharging")
    ev_maximum_var_absorption_during_charging_l2: RationalNumber | None = field(
        name="EVMaximumVarAbsorptionDuringCharging_L2", default=None
    )
    ev_maximum_var_absorption_during_charging_l3: RationalNumber | None = field(
        name="EVMaximumVarAbsorptionDuringCharging_L3", default=None
    )
    ev_minimum_var_absorption_during_charging: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringCharging", default=None
    )
    ev_minimum_var_absorption_during_charging_l2: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringCharging_L2", default=None
    )
    ev_minimum_var_absorption_during_charging_l3: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringCharging_L3", default=None
    )
    ev_maximum_var_injection_during_charging: RationalNumber = field(name="EVMaximumVarInjectionDuringCharging")
    ev_maximum_var_injection_during_charging_l2: RationalNumber | None = field(
        name="EVMaximumVarInjectionDuringCharging_L2", default=None
    )
    ev_maximum_var_injection_during_charging_l3: RationalNumber | None = field(
        name="EVMaximumVarInjectionDuringCharging_L3", default=None
    )
    ev_minimum_var_injection_during_charging: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringCharging", default=None
    )
    ev_minimum_var_injection_during_charging_l2: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringCharging_L2", default=None
    )
    ev_minimum_var_injection_during_charging_l3: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringCharging_L3", default=None
    )
    ev_maximum_var_absorption_during_discharging: RationalNumber = field(name="EVMaximumVarAbsorptionDuringDischarging")
    ev_maximum_var_absorption_during_discharging_l2: RationalNumber | None = field(
        name="EVMaximumVarAbsorptionDuringDischarging_L2", default=None
    )
    ev_maximum_var_absorption_during_discharging_l3: RationalNumber | None = field(
        name="EVMaximumVarAbsorptionDuringDischarging_L3", default=None
    )
    ev_minimum_var_absorption_during_discharging: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringDischarging", default=None
    )
    ev_minimum_var_absorption_during_discharging_l2: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringDischarging_L2", default=None
    )
    ev_minimum_var_absorption_during_discharging_l3: RationalNumber | None = field(
        name="EVMinimumVarAbsorptionDuringDischarging_L3", default=None
    )
    ev_maximum_var_injection_during_discharging: RationalNumber = field(name="EVMaximumVarInjectionDuringDischarging")
    ev_maximum_var_injection_during_discharging_l2: RationalNumber | None = field(
        name="EVMaximumVarInjectionDuringDischarging_L2", default=None
    )
    ev_maximum_var_injection_during_discharging_l3: RationalNumber | None = field(
        name="EVMaximumVarInjectionDuringDischarging_L3", default=None
    )
    ev_minimum_var_injection_during_discharging: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringDischarging", default=None
    )
    ev_minimum_var_injection_during_discharging_l2: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringDischarging_L2", default=None
    )
    ev_minimum_var_injection_during_discharging_l3: RationalNumber | None = field(
        name="EVMinimumVarInjectionDuringDischarging_L3", default=None
    )


class EVExcitationLimits(Element, frozen=True, kw_only=True):
    """Power factors of the vehicle, and the discharge powers at which they hold."""

    ev_specified_over_excited_power_factor: RationalNumber = field(name="EVSpecifiedOverExcitedPowerFactor")
    ev_specified_over_excited_power_factor_l2: RationalNumber | None = field(
        name="EVSpecifiedOverExcitedPowerFactor_L2", default=None
    )
    ev_specified_over_excited_power_factor_l3: RationalNumber | None = field(
        name="EVSpecifiedOverExcitedPowerFactor_L3", default=None
    )
    ev_specified_over_excited_discharge_power: RationalNumber = field(name="EVSpecifiedOverExcitedDischargePower")
    ev_specified_over_excited_discharge_power_l2: RationalNumber | None = field(
        name="EVSpecifiedOverExcitedDischargePower_L2", default=None
    )
    ev_specified_over_excited_discharge_power_l3: RationalNumber | None = field(
        name="EVSpecifiedOverExcitedDischargePower_L3", default=None
    )
    ev_specified_under_excited_power_factor: RationalNumber = field(name="EVSpecifiedUnderExcitedPowerFactor")
    ev_specified_under_excited_power_factor_l2: RationalNumber | None = field(
        name="EVSpecifiedUnderExcitedPowerFactor_L2", default=None
    )
    ev_specified_under_excited_power_factor_l3: RationalNumber | None = field(
        name="EVSpecifiedUnderExcitedPowerFactor_L3", default=None
    )
    ev_specified_under_excited_discharge_power: RationalNumber = field(name="EVSpecifiedUnderExcitedDischargePower")
    ev_specified_under_excited_discharge_power_l2: RationalNumber | None = field(
        name="EVSpecifiedUnderExcitedDischargePower_L2", default=None
    )
    ev_specified_under_excited_discharge_power_l3: RationalNumber | None = field(
        name="EVSpecifiedUnderExcitedDischargePower_L3", default=None
    )


class EVExcitation(Element, frozen=True, kw_only=True):
    """Power factors of the vehicle now, and the discharge powers at which they hold."""

    ev_specified_over_excited_power_factor: RationalNumber | None = field(
        name="EVSpecifiedOverExcitedPowerFactor", default=None
    )
    ev_specified_over_excited_power_factor_l2: RationalNumber | None = field(
        name="EVSpecifiedOverExcitedPowerFactor_L2", default=None
    )
    ev_specified_over_excited_power_factor_l3: RationalNumber | None = field(
        name="EVSpecifiedOverExcitedPowerFactor_L3", default=None
    )
    ev_specified_over_excited_discharge_power: RationalNumber = field(name="EVSpecifiedOverExcitedDischargePower")
    ev_specified_over_excited_discharge_power_l2: RationalNumber | None = field(
        name="EVSpecifiedOverExcitedDischargePower_L2", default=None
    )
    ev_specified_over_excited_discharge_power_l3: RationalNumber | None = field(
        name="EVSpecifiedOverExcitedDischargePower_L3", default=None
    )
    ev_specified_under_excited_power_factor: RationalNumber | None = field(
        name="EVSpecifiedUnderExcitedPowerFactor", default=None
    )
    ev_specified_under_excited_power_factor_l2: RationalNumber | None = field(
        name="EVSpecifiedUnderExcitedPowerFactor_L2", default=None
    )
    ev_specified_under_excited_power_factor_l3: RationalNumber | None = field(
        name="EVSpecifiedUnderExcitedPowerFactor_L3", default=None
    )
    ev_specified_under_excited_discharge_power: RationalNumber = field(name="EVSpecifiedUnderExcitedDischargePower")
    ev_specified_under_excited_discharge_power_l2: RationalNumber | None = field(
        name="EVSpecifiedUnderExcitedDischargePower_L2", default=None
    )
    ev_specified_under_excited_discharge_power_l3: RationalNumber | None = field(
        name="EVSpecifiedUnderExcitedDischargePower_L3", default=None
    )


class EVInverterDetails(Element, frozen=True, kw_only=True):
    """Make and versions of the inverter."""

    ev_inverter_sw_version: InverterText = field(name="EVInverterSwVersion")
    ev_inverter_hw_version: InverterText | None = field(name="EVInverterHwVersion", default=None)
    ev_inverter_manufacturer: InverterText = field(name="EVInverterManufacturer")
    ev_inverter_model: InverterText = field(name="EVInverterModel")
    ev_inverter_serial_number: InverterText = field(name="EVInverterSerialNumber")


class EVSEReactivePowerLimits(Element, frozen=True, kw_only=True):
    """Reactive power that the charger allows."""

    evse_maximum_var_absorption_during_charging: RationalNumber = field(name="EVSEMaximumVarAbsorptionDuringCharging")
    evse_maximum_var_absorption_during_charging_l2: RationalNumber | None = field(
        name="EVSEMaximumVarAbsorptionDuringCharging_L2", default=None
    )
    evse_maximum_var_absorption_during_charging_l3: RationalNumber | None = field(
        name="EVSEMaximumVarAbsorptionDuringCharging_L3", default=None
    )
    evse_maximum_var_injection_during_charging: RationalNumber = field(name="EVSEMaximumVarInjectionDuringCharging")
    evse_maximum_var_injection_during_charging_l2: RationalNumber | None = field(
        name="EVSEMaximumVarInjectionDuringCharging_L2", default=None
    )
    evse_maximum_var_injection_during_charging_l3: RationalNumber | None = field(
        name="EVSEMaximumVarInjectionDuringCharging_L3", default=None
    )
    evse_maximum_var_absorption_during_discharging: RationalNumber = field(
        name="EVSEMaximumVarAbsorptionDuringDischarging"
    )
    evse_maximum_var_absorption_during_discharging_l2: RationalNumber | None = field(
        name="EVSEMaximumVarAbsorptionDuringDischarging_L2", default=None
    )
    evse_maximum_var_absorption_during_discharging_l3: RationalNumber | None = field(
        name="EVSEMaximumVarAbsorptionDuringDischarging_L3", default=None
    )
    evse_maximum_var_injection_during_discharging: RationalNumber = field(
        name="EVSEMaximumVarInjectionDuringDischarging"
    )
    evse_maximum_var_injection_during_discharging_l2: RationalNumber | None = field(
        name="EVSEMaximumVarInjectionDuringDischarging_L2", default=None
    )
    evse_maximum_var_injection_during_discharging_l3: RationalNumber | None = field(
        name="EVSEMaximumVarInjectionDuringDischarging_L3", default=None
    )


class GridLimits(Element, frozen=True, kw_only=True):
    """Voltages and frequencies of the grid."""

    grid_nominal_frequency: RationalNumber = field(name="GridNominalFrequency")
    grid_nominal_voltage: RationalNumber = field(name="GridNominalVoltage")
    grid_nominal_voltage_offset: RationalNumber = field(name="GridNominalVoltageOffset")
    grid_min_frequency: RationalNumber | None = field(name="GridMinFrequency", default=None)
    grid_max_frequency: RationalNumber | None = field(name="GridMaxFrequency", default=None)
    grid_maximum_voltage: RationalNumber = field(name="GridMaximumVoltage")
    grid_minimum_voltage: RationalNumber = field(name="GridMinimumVoltage")


class DER_AC_CPDReqEnergyTransferMode(AC_CPDReqEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """What the vehicle can take, give back and do for the grid."""

    ev_processing: Processing = field(name="EVProcessing")
    ev_maximum_discharge_power: RationalNumber = field(name="EVMaximumDischargePower")
    ev_maximum_discharge_power_l2: RationalNumber | None = field(name="EVMaximumDischargePower_L2", default=None)
    ev_maximum_discharge_power_l3: RationalNumber | None = field(name="EVMaximumDischargePower_L3", default=None)
    ev_minimum_discharge_power: RationalNumber | None = field(name="EVMinimumDischargePower", default=None)
    ev_minimum_discharge_power_l2: RationalNumber | None = field(name="EVMinimumDischargePower_L2", default=None)
    ev_minimum_discharge_power_l3: RationalNumber | None = field(name="EVMinimumDischargePower_L3", default=None)
    ev_session_total_discharge_energy_available: RationalNumber | None = field(
        name="EVSessionTotalDischargeEnergyAvailable", default=None
    )
    ev_apparent_power_limits: EVApparentPowerLimits = field(name="EVApparentPowerLimits")
    ev_reactive_power_limits: EVReactivePowerLimits = field(name="EVReactivePowerLimits")
    ev_excitation_limits: EVExcitationLimits = field(name="EVExcitationLimits")
    ev_inverter_details: EVInverterDetails = field(name="EVInverterDetails")
    ieee1547_normal_category: Ieee1547NormalCategory = field(name="IEEE1547NormalCategory")
    ieee1547_abnormal_category: Ieee1547AbnormalCategory = field(name="IEEE1547AbnormalCategory")
    ev_nominal_voltage: RationalNumber = field(name="EVNominalVoltage")
    ev_maximum_voltage: RationalNumber = field(name="EVMaximumVoltage")
    ev_minimum_voltage: RationalNumber = field(name="EVMinimumVoltage")
    ev_nominal_voltage_offset: RationalNumber = field(name="EVNominalVoltageOffset")
    j3072_certified: bool = field(name="J3072Certified")
    j3072_certification_date: UnsignedLong = field(name="J3072CertificationDate")
    ev_useable_watt_hours: UnsignedInt = field(name="EVUseableWattHours")
    ev_update_time: UnsignedLong = field(name="EVUpdateTime")
    supported_modes: UnsignedInt = field(name="SupportedModes")
    enabled_modes: UnsignedInt = field(name="EnabledModes")


class DER_AC_CPDResEnergyTransferMode(AC_CPDResEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """What the charger can deliver and take back, and what the grid asks for."""

    evse_processing: Processing = field(name="EVSEProcessing")
    evse_status: EVSEStatus | None = field(name="EVSEStatus", default=None)
    der_control_cpd_res: DERControlCPDRes = field(name="DERControlCPDRes")
    evse_nominal_charge_power: RationalNumber | None = field(name="EVSENominalChargePower", default=None)
    evse_nominal_charge_power_l2: RationalNumber | None = field(name="EVSENominalChargePower_L2", default=None)
    evse_nominal_charge_power_l3: RationalNumber | None = field(name="EVSENominalChargePower_L3", default=None)
    evse_nominal_discharge_power: RationalNumber | None = field(name="EVSENominalDischargePower", default=None)
    evse_nominal_discharge_power_l2: RationalNumber | None = field(name="EVSENominalDischargePower_L2", default=None)
    evse_nominal_discharge_power_l3: RationalNumber | None = field(name="EVSENominalDischargePower_L3", default=None)
    evse_maximum_discharge_power: RationalNumber = field(name="EVSEMaximumDischargePower")
    evse_maximum_discharge_power_l2: RationalNumber | None = field(name="EVSEMaximumDischargePower_L2", default=None)
    evse_maximum_discharge_power_l3: RationalNumber | None = field(name="EVSEMaximumDischargePower_L3", default=None)
    evse_reactive_power_limits: EVSEReactivePowerLimits = field(name="EVSEReactivePowerLimits")
    grid_limits: GridLimits = field(name="GridLimits")
    required_der_operating_mode: RequiredDEROperatingMode = field(name="RequiredDEROperatingMode")
    grid_connection_mode: GridConnectionMode = field(name="GridConnectionMode")
    evse_update_time: UnsignedLong = field(name="EVSEUpdateTime")


class DER_Scheduled_AC_CLReqControlMode(Scheduled_AC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits of a vehicle that follows a schedule."""

    ev_present_voltage: RationalNumber = field(name="EVPresentVoltage")
    ev_present_frequency: RationalNumber = field(name="EVPresentFrequency")
    ev_maximum_discharge_power: RationalNumber | None = field(name="EVMaximumDischargePower", default=None)
    ev_maximum_discharge_power_l2: RationalNumber | None = field(name="EVMaximumDischargePower_L2", default=None)
    ev_maximum_discharge_power_l3: RationalNumber | None = field(name="EVMaximumDischargePower_L3", default=None)
    ev_minimum_discharge_power: RationalNumber | None = field(name="EVMinimumDischargePower", default=None)
    ev_minimum_discharge_power_l2: RationalNumber | None = field(name="EVMinimumDischargePower_L2", default=None)
    ev_minimum_discharge_power_l3: RationalNumber | None = field(name="EVMinimumDischargePower_L3", default=None)
    der_operational_state: DerOperationalState = field(name="DEROperationalState")
    der_connection_status: DerConnectionStatus = field(name="DERConnectionStatus")
    ev_apparent_power: EVApparentPower | None = field(name="EVApparentPower", default=None)
    ev_reactive_power: EVReactivePower | None = field(name="EVReactivePower", default=None)
    ev_excitation: EVExcitation | None = field(name="EVExcitation", default=None)
    ev_update_time: UnsignedLong = field(name="EVUpdateTime")
    ev_minimum_charging_duration: UnsignedInt | None = field(name="EVMinimumChargingDuration", default=None)
    ev_duration_maximum_charge_rate: UnsignedInt | None = field(name="EVDurationMaximumChargeRate", default=None)
    ev_duration_maximum_discharge_rate: UnsignedInt | None = field(name="EVDurationMaximumDischargeRate", default=None)
    der_alarm_status: UnsignedInt = field(name="DERAlarmStatus")
    enabled_modes: UnsignedInt = field(name="EnabledModes")


class DER_Scheduled_AC_CLResControlMode(Scheduled_AC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Limits and set points of a charger that follows a schedule."""

    der_control_cl_res: DERControlCLRes = field(name="DERControlCLRes")
    evse_maximum_charge_power: RationalNumber | None = field(name="EVSEMaximumChargePower", default=None)
    evse_maximum_charge_power_l2: RationalNumber | None = field(name="EVSEMaximumChargePower_L2", default=None)
    evse_maximum_charge_power_l3: RationalNumber | None = field(name="EVSEMaximumChargePower_L3", default=None)
    evse_maximum_discharge_power: RationalNumber | None = field(name="EVSEMaximumDischargePower", default=None)
    evse_maximum_discharge_power_l2: RationalNumber | None = field(name="EVSEMaximumDischargePower_L2", default=None)
    evse_maximum_discharge_power_l3: RationalNumber | None = field(name="EVSEMaximumDischargePower_L3", default=None)
    required_der_operating_mode: RequiredDEROperatingMode | None = field(name="RequiredDEROperatingMode", default=None)
    grid_connection_mode: GridConnectionMode | None = field(name="GridConnectionMode", default=None)


class DER_Dynamic_AC_CLReqControlMode(Dynamic_AC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits within which the charger decides."""

    ev_maximum_discharge_power: RationalNumber = field(name="EVMaximumDischargePower")
    ev_maximum_discharge_power_l2: RationalNumber | None = field(name="EVMaximumDischargePower_L2", default=None)
    ev_maximum_discharge_power_l3: RationalNumber | None = field(name="EVMaximumDischargePower_L3", default=None)
    ev_minimum_discharge_power: RationalNumber = field(name="EVMinimumDischargePower")
    ev_minimum_discharge_power_l2: RationalNumber | None = field(name="EVMinimumDischargePower_L2", default=None)
    ev_minimum_discharge_power_l3: RationalNumber | None = field(name="EVMinimumDischargePower_L3", default=None)
    ev_present_voltage: RationalNumber = field(name="EVPresentVoltage")
    ev_present_frequency: RationalNumber = field(name="EVPresentFrequency")
    ev_session_total_discharge_energy_available: RationalNumber | None = field(
        name="EVSessionTotalDischargeEnergyAvailable", default=None
    )
    ev_apparent_power: EVApparentPower | None = field(name="EVApparentPower", default=None)
    ev_reactive_power: EVReactivePower | None = field(name="EVReactivePower", default=None)
    ev_excitation: EVExcitation | None = field(name="EVExcitation", default=None)
    ev_maximum_v2x_energy_request: RationalNumber | None = field(name="EVMaximumV2XEnergyRequest", default=None)
    ev_minimum_v2x_energy_request: RationalNumber | None = field(name="EVMinimumV2XEnergyRequest", default=None)
    der_operational_state: DerOperationalState = field(name="DEROperationalState")
    der_connection_status: DerConnectionStatus = field(name="DERConnectionStatus")
    ev_update_time: UnsignedLong = field(name="EVUpdateTime")
    ev_minimum_charging_duration: UnsignedInt = field(name="EVMinimumChargingDuration")
    ev_duration_maximum_charge_rate: UnsignedInt = field(name="EVDurationMaximumChargeRate")
    ev_duration_maximum_discharge_rate: UnsignedInt = field(name="EVDurationMaximumDischargeRate")
    der_alarm_status: UnsignedInt = field(name="DERAlarmStatus")
    enabled_modes: UnsignedInt = field(name="EnabledModes")


class DER_Dynamic_AC_CLResControlMode(Dynamic_AC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Targets, limits and set points of a charger that decides."""

    der_control_cl_res: DERControlCLRes = field(name="DERControlCLRes")
    evse_maximum_charge_power: RationalNumber | None = field(name="EVSEMaximumChargePower", default=None)
    evse_maximum_charge_power_l2: RationalNumber | None = field(name="EVSEMaximumChargePower_L2", default=None)
    evse_maximum_charge_power_l3: RationalNumber | None = field(name="EVSEMaximumChargePower_L3", default=None)
    evse_maximum_discharge_power: RationalNumber | None = field(name="EVSEMaximumDischargePower", default=None)
    evse_maximum_discharge_power_l2: RationalNumber | None = field(name="EVSEMaximumDischargePower_L2", default=None)
    evse_maximum_discharge_power_l3: RationalNumber | None = field(name="EVSEMaximumDischargePower_L3", default=None)
    required_der_operating_mode: RequiredDEROperatingMode | None = field(name="RequiredDEROperatingMode", default=None)
    grid_connection_mode: GridConnectionMode | None = field(name="GridConnectionMode", default=None)


class AC_ChargeParameterDiscoveryReq(ChargeParameterDiscoveryReq, frozen=True, kw_only=True):
    """The vehicle tells the limits of its on-board charger, here possibly as a distributed energy resource."""

    namespace: ClassVar[Schema] = AC
    ac_cpd_req_energy_transfer_mode: Annotated[
        AC_CPDReqEnergyTransferMode | BPT_AC_CPDReqEnergyTransferMode | DER_AC_CPDReqEnergyTransferMode,
        Ref(AC_CPDReqEnergyTransferMode),
    ] = field(name="AC_CPDReqEnergyTransferMode")


class AC_ChargeParameterDiscoveryRes(ChargeParameterDiscoveryRes, frozen=True, kw_only=True):
    """The charger tells its limits and how the vehicle shall support the grid."""

    namespace: ClassVar[Schema] = AC
    ac_cpd_res_energy_transfer_mode: Annotated[
        AC_CPDResEnergyTransferMode | BPT_AC_CPDResEnergyTransferMode | DER_AC_CPDResEnergyTransferMode,
        Ref(AC_CPDResEnergyTransferMode),
    ] = field(name="AC_CPDResEnergyTransferMode")


class AC_ChargeLoopReq(ChargeLoopReq, frozen=True, kw_only=True):
    """The vehicle's powers and limits; repeated as long as energy flows."""

    namespace: ClassVar[Schema] = AC
    cl_req_control_mode: Annotated[
        CLReqControlMode
        | BPT_Dynamic_AC_CLReqControlMode
        | BPT_Scheduled_AC_CLReqControlMode
        | DER_Dynamic_AC_CLReqControlMode
        | DER_Scheduled_AC_CLReqControlMode
        | Dynamic_AC_CLReqControlMode
        | Scheduled_AC_CLReqControlMode,
        Ref(CLReqControlMode),
    ] = field(name="CLReqControlMode")


class AC_ChargeLoopRes(ChargeLoopRes, frozen=True, kw_only=True):
    """What the vehicle shall do now, and the meter; target frequency in Hz."""

    namespace: ClassVar[Schema] = AC
    evse_target_frequency: RationalNumber | None = field(name="EVSETargetFrequency", default=None)
    cl_res_control_mode: Annotated[
        CLResControlMode
        | BPT_Dynamic_AC_CLResControlMode
        | BPT_Scheduled_AC_CLResControlMode
        | DER_Dynamic_AC_CLResControlMode
        | DER_Scheduled_AC_CLResControlMode
        | Dynamic_AC_CLResControlMode
        | Scheduled_AC_CLResControlMode,
        Ref(CLResControlMode),
    ] = field(name="CLResControlMode")


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
