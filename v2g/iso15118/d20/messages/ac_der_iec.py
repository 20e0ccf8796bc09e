"""ISO 15118-20 Amendment 1, AC_DER_IEC: a vehicle that supports the grid by European rules. DRAFT, not verified.

The facts are those of a draft of Amendment 1, read from schema files in a public third-party repository
(OpenChargingCloud/WWCP_ISO15118). They may change, and have not been compared with an official schema file.

The four messages are those of AC, in its namespace. Their classes here have more members in their substitution groups,
and so other event codes than those of `v2g.iso15118.d20.messages.ac`.
"""

from enum import Enum
from typing import Annotated, ClassVar, Final

from msgspec import Meta, field

from v2g.exi.declare import Choice, Element, Ref, Schema, UnsignedByte, UnsignedInt, UnsignedShort
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
    Processing,
    RationalNumber,
)
from v2g.iso15118.d20.schemas import AC, AC_DER_IEC

SCHEMA: Final = AC_DER_IEC


class CurveDataPointsUnit(Enum):
    """Unit of one axis of a curve (curveDataPointsUnitType)."""

    V = "V"
    Hz = "Hz"
    W = "W"
    s = "s"
    var = "var"


class LockValueUnit(Enum):
    """Unit of the values between which a curve holds (lockValueUnitType)."""

    V = "V"
    Hz = "Hz"
    W = "W"
    s = "s"
    var = "var"


class PowerFactorExcitation(Enum):
    """Whether reactive power is injected or absorbed (powerFactorExcitationType)."""

    OverExcited = "OverExcited"
    UnderExcited = "UnderExcited"


class PowerReference(Enum):
    """The power that a slope refers to (powerReferenceType)."""

    MaximumDischargePower = "MaximumDischargePower"
    MomentaryPower = "MomentaryPower"


class EvOperatingMode(Enum):
    """Whether the vehicle follows the grid or forms it (evOperatingModeType)."""

    GridFollowing = "GridFollowing"
    GridForming = "GridForming"


class GridConnectionMode(Enum):
    """Whether there is a grid around (gridConnectionModeType)."""

    GridConnected = "GridConnected"
    GridIslanded = "GridIslanded"


class SetpointExcitation(Element, frozen=True, kw_only=True):
    """A value of a curve and, for a power factor, its side."""

    setpoint_value: RationalNumber = field(name="SetpointValue")
    excitation: PowerFactorExcitation | None = field(name="Excitation", default=None)


class DataTuple(Element, frozen=True, kw_only=True):
    """A point of a curve."""

    x_value: RationalNumber = field(name="xValue")
    y_value: SetpointExcitation = field(name="yValue")


class CurveDataPointsList(Element, frozen=True, kw_only=True):
    """The points of a curve."""

    curve_data_point: Annotated[tuple[DataTuple, ...], Meta(min_length=2, max_length=10)] = field(name="CurveDataPoint")


class DERCurve(Element, frozen=True, kw_only=True):
    """A curve, and how fast it is followed."""

    x_unit: CurveDataPointsUnit = field(name="xUnit")
    y_unit: CurveDataPointsUnit = field(name="yUnit")
    curve_data_points: CurveDataPointsList = field(name="CurveDataPoints")
    min_cos_phi: RationalNumber | None = field(name="MinCosPhi", default=None)
    lock_value_unit: LockValueUnit | None = field(name="LockValueUnit", default=None)
    lock_in_value: RationalNumber | None = field(name="LockInValue", default=None)
    lock_out_value: RationalNumber | None = field(name="LockOutValue", default=None)
    pt1_response_reactive_power: bool = field(name="PT1ResponseReactivePower")
    step_response_time_constant_reactive_power: RationalNumber = field(name="StepResponseTimeConstantReactivePower")
    intentional_delay: RationalNumber | None = field(name="IntentionalDelay", default=None)


class FrequencyWatt(Element, frozen=True, kw_only=True):
    """Active power by frequency."""

    fstart: RationalNumber = field(name="Fstart")
    fstop: RationalNumber = field(name="Fstop")
    intentional_delay_fstop: UnsignedShort | None = field(name="IntentionalDelayFstop", default=None)
    slope: RationalNumber = field(name="Slope")
    deactivation_time: UnsignedShort | None = field(name="DeactivationTime", default=None)
    intentional_delay_power_control: UnsignedShort | None = field(name="IntentionalDelayPowerControl", default=None)
    power_reference: PowerReference = field(name="PowerReference")
    hysteresis_control: bool = field(name="HysteresisControl")
    power_up_ramp: UnsignedShort | None = field(name="PowerUpRamp", default=None)
    pt1_response_active_power: bool = field(name="PT1ResponseActivePower")
    step_response_time_constant_active_power: RationalNumber = field(name="StepResponseTimeConstantActivePower")


class VoltWatt(Element, frozen=True, kw_only=True):
    """Active power by voltage."""

    power_reference: PowerReference = field(name="PowerReference")
    u_start: RationalNumber = field(name="UStart")
    u_stop: RationalNumber = field(name="UStop")
    pt1_response_active_power: bool = field(name="PT1ResponseActivePower")
    step_response_time_constant_active_power: RationalNumber = field(name="StepResponseTimeConstantActivePower")
    intentional_delay_power_control: UnsignedInt | None = field(name="IntentionalDelayPowerControl", default=None)


class FaultRideThrough(Element, frozen=True, kw_only=True):
    """How to go on through a voltage that is too high or too low."""

    voltage_limit_start_frt: RationalNumber = field(name="VoltageLimitStartFRT")
    voltage_limit_stop_frt: RationalNumber | None = field(name="VoltageLimitStopFRT", default=None)
    voltage_recovery_limit: RationalNumber | None = field(name="VoltageRecoveryLimit", default=None)
    voltage_ride_through_positive_curve_k_factor: RationalNumber | None = field(
        name="VoltageRideThroughPositiveCurveKFactor", default=None
    )
    voltage_ride_through_negative_curve_k_factor: RationalNumber | None = field(
        name="VoltageRideThroughNegativeCurveKFactor", default=None
    )
    pt1_response_active_power: bool = field(name="PT1ResponseActivePower")
    step_response_time_constant_active_power: RationalNumber = field(name="StepResponseTimeConstantActivePower")
    pt1_response_reactive_power: bool = field(name="PT1ResponseReactivePower")
    step_response_time_constant_reactive_power: RationalNumber = field(name="StepResponseTimeConstantReactivePower")


class ZeroCurrent(Element, frozen=True, kw_only=True):
    """Voltages beyond which no current may flow."""

    over_voltage_limit: RationalNumber | None = field(name="OverVoltageLimit", default=None)
    under_voltage_limit: RationalNumber | None = field(name="UnderVoltageLimit", default=None)
    over_voltage_recovery_limit: RationalNumber | None = field(name="OverVoltageRecoveryLimit", default=None)
    under_voltage_recovery_limit: RationalNumber | None = field(name="UnderVoltageRecoveryLimit", default=None)
    pt1_response_active_power: bool = field(name="PT1ResponseActivePower")
    step_response_time_constant_active_power: RationalNumber = field(name="StepResponseTimeConstantActivePower")
    pt1_response_reactive_power: bool = field(name="PT1ResponseReactivePower")
    step_response_time_constant_reactive_power: RationalNumber = field(name="StepResponseTimeConstantReactivePower")


class ReactivePowerSupport(Element, frozen=True, kw_only=True):
    """Reactive power by one curve."""

    volt_var: Annotated[DERCurve | None, Choice("curve")] = field(name="VoltVar", default=None)
    watt_var: Annotated[DERCurve | None, Choice("curve")] = field(name="WattVar", default=None)
    watt_cos_phi: Annotated[DERCurve | None, Choice("curve")] = field(name="WattCosPhi", default=None)


class ActivePowerSupport(Element, frozen=True, kw_only=True):
    """Active power by frequency and voltage."""

    under_frequency_watt: FrequencyWatt | None = field(name="UnderFrequencyWatt", default=None)
    over_frequency_watt: FrequencyWatt | None = field(name="OverFrequencyWatt", default=None)
    volt_watt: VoltWatt | None = field(name="VoltWatt", default=None)


class DERControl(Element, frozen=True, kw_only=True):
    """How the vehicle shall support the grid."""

    overvoltage_fault_ride_through: FaultRideThrough | None = field(name="OvervoltageFaultRideThrough", default=None)
    undervoltage_fault_ride_through: FaultRideThrough | None = field(name="UndervoltageFaultRideThrough", default=None)
    zero_current: ZeroCurrent | None = field(name="ZeroCurrent", default=None)
    reactive_power_support: ReactivePowerSupport | None = field(name="ReactivePowerSupport", default=None)
    active_power_support: ActivePowerSupport | None = field(name="ActivePowerSupport", default=None)
    maximum_level_dc_injection: RationalNumber | None = field(name="MaximumLevelDCInjection", default=None)


class EVReactivePowerLimits(Element, frozen=True, kw_only=True):
    """Reactive power that the vehicle can absorb or inject."""

    ev_maximum_charge_reactive_power: RationalNumber = field(name="EVMaximumChargeReactivePower")
    ev_maximum_charge_reactive_power_l2: RationalNumber | None = field(
        name="EVMaximumChargeReactivePower_L2", default=None
    )
    ev_maximum_charge_reactive_power_l3: RationalNumber | None = field(
        name="EVMaximumChargeReactivePower_L3", default=None
    )
    ev_minimum_charge_reactive_power: RationalNumber | None = field(name="EVMinimumChargeReactivePower", default=None)
    ev_minimum_charge_reactive_power_l2: RationalNumber | None = field(
        name="EVMinimumChargeReactivePower_L2", default=None
    )
    ev_minimum_charge_reactive_power_l3: RationalNumber | None = field(
        name="EVMinimumChargeReactivePower_L3", default=None
    )
    ev_maximum_discharge_reactive_power: RationalNumber = field(name="EVMaximumDischargeReactivePower")
    ev_maximum_discharge_reactive_power_l2: RationalNumber | None = field(
        name="EVMaximumDischargeReactivePower_L2", default=None
    )
    ev_maximum_discharge_reactive_power_l3: RationalNumber | None = field(
        name="EVMaximumDischargeReactivePower_L3", default=None
    )
    ev_minimum_discharge_reactive_power: RationalNumber | None = field(
        name="EVMinimumDischargeReactivePower", default=None
    )
    ev_minimum_discharge_reactive_power_l2: RationalNumber | None = field(
        name="EVMinimumDischargeReactivePower_L2", default=None
    )
    ev_minimum_discharge_reactive_power_l3: RationalNumber | None = field(
        name="EVMinimumDischargeReactivePower_L3", default=None
    )


class DSOQSetpoint(Element, frozen=True, kw_only=True):
    """Reactive power that the grid operator sets."""

    dso_q_setpoint_value: RationalNumber = field(name="DSOQSetpointValue")
    dso_q_setpoint_value_l2: RationalNumber | None = field(name="DSOQSetpointValue_L2", default=None)
    dso_q_setpoint_value_l3: RationalNumber | None = field(name="DSOQSetpointValue_L3", default=None)
    pt1_response_reactive_power: bool = field(name="PT1ResponseReactivePower")
    step_response_time_constant_reactive_power: RationalNumber = field(name="StepResponseTimeConstantReactivePower")


class DSOCosPhiSetpoint(Element, frozen=True, kw_only=True):
    """Power factor that the grid operator sets."""

    dso_cos_phi_setpoint_value: RationalNumber = field(name="DSOCosPhiSetpointValue")
    dso_cos_phi_setpoint_value_l2: RationalNumber | None = field(name="DSOCosPhiSetpointValue_L2", default=None)
    dso_cos_phi_setpoint_value_l3: RationalNumber | None = field(name="DSOCosPhiSetpointValue_L3", default=None)
    excitation: PowerFactorExcitation = field(name="Excitation")
    pt1_response_reactive_power: bool = field(name="PT1ResponseReactivePower")
    step_response_time_constant_reactive_power: RationalNumber = field(name="StepResponseTimeConstantReactivePower")


class DER_AC_CPDReqEnergyTransferMode(AC_CPDReqEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """What the vehicle can take, give back and do for the grid."""

    ev_processing: Processing = field(name="EVProcessing")
    ev_maximum_discharge_power: RationalNumber = field(name="EVMaximumDischargePower")
    ev_maximum_discharge_power_l2: RationalNumber | None = field(name="EVMaximumDischargePower_L2", default=None)
    ev_maximum_discharge_power_l3: RationalNumber | None = field(name="EVMaximumDischargePower_L3", default=None)
    ev_minimum_discharge_power: RationalNumber = field(name="EVMinimumDischargePower")
    ev_minimum_discharge_power_l2: RationalNumber | None = field(name="EVMinimumDischargePower_L2", default=None)
    ev_minimum_discharge_power_l3: RationalNumber | None = field(name="EVMinimumDischargePower_L3", default=None)
    ev_session_total_discharge_energy_available: RationalNumber | None = field(
        name="EVSessionTotalDischargeEnergyAvailable", default=None
    )
    ev_reactive_power_limits: EVReactivePowerLimits | None = field(name="EVReactivePowerLimits", default=None)


class DER_AC_CPDResEnergyTransferMode(AC_CPDResEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """What the charger can deliver and take back, and what the grid asks for."""

    evse_nominal_charge_power: RationalNumber = field(name="EVSENominalChargePower")
    evse_nominal_charge_power_l2: RationalNumber | None = field(name="EVSENominalChargePower_L2", default=None)
    evse_nominal_charge_power_l3: RationalNumber | None = field(name="EVSENominalChargePower_L3", default=None)
    evse_nominal_discharge_power: RationalNumber = field(name="EVSENominalDischargePower")
    evse_nominal_discharge_power_l2: RationalNumber | None = field(name="EVSENominalDischargePower_L2", default=None)
    evse_nominal_discharge_power_l3: RationalNumber | None = field(name="EVSENominalDischargePower_L3", default=None)
    evse_maximum_discharge_power: RationalNumber = field(name="EVSEMaximumDischargePower")
    evse_maximum_discharge_power_l2: RationalNumber | None = field(name="EVSEMaximumDischargePower_L2", default=None)
    evse_maximum_discharge_power_l3: RationalNumber | None = field(name="EVSEMaximumDischargePower_L3", default=None)
    ev_operating_mode: EvOperatingMode = field(name="EVOperatingMode")
    grid_connection_mode: GridConnectionMode = field(name="GridConnectionMode")
    der_control: DERControl = field(name="DERControl")


class DER_Dynamic_AC_CLReqControlMode(Dynamic_AC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits within which the charger decides."""

    ev_maximum_discharge_power: RationalNumber = field(name="EVMaximumDischargePower")
    ev_maximum_discharge_power_l2: RationalNumber | None = field(name="EVMaximumDischargePower_L2", default=None)
    ev_maximum_discharge_power_l3: RationalNumber | None = field(name="EVMaximumDischargePower_L3", default=None)
    ev_minimum_discharge_power: RationalNumber = field(name="EVMinimumDischargePower")
    ev_minimum_discharge_power_l2: RationalNumber | None = field(name="EVMinimumDischargePower_L2", default=None)
    ev_minimum_discharge_power_l3: RationalNumber | None = field(name="EVMinimumDischargePower_L3", default=None)
    ev_maximum_charge_reactive_power: RationalNumber | None = field(name="EVMaximumChargeReactivePower", default=None)
    ev_maximum_charge_reactive_power_l2: RationalNumber | None = field(
        name="EVMaximumChargeReactivePower_L2", default=None
    )
    ev_maximum_charge_reactive_power_l3: RationalNumber | None = field(
        name="EVMaximumChargeReactivePower_L3", default=None
    )
    ev_maximum_discharge_reactive_power: RationalNumber | None = field(
        name="EVMaximumDischargeReactivePower", default=None
    )
    ev_maximum_discharge_reactive_power_l2: RationalNumber | None = field(
        name="EVMaximumDischargeReactivePower_L2", default=None
    )
    ev_maximum_discharge_reactive_power_l3: RationalNumber | None = field(
        name="EVMaximumDischargeReactivePower_L3", default=None
    )
    grid_event_condition: UnsignedByte = field(name="GridEventCondition")
    ev_maximum_v2x_energy_request: RationalNumber | None = field(name="EVMaximumV2XEnergyRequest", default=None)
    ev_minimum_v2x_energy_request: RationalNumber | None = field(name="EVMinimumV2XEnergyRequest", default=None)
    ev_session_total_discharge_energy_available: RationalNumber | None = field(
        name="EVSessionTotalDischargeEnergyAvailable", default=None
    )


class DER_Dynamic_AC_CLResControlMode(Dynamic_AC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Targets, limits and set points of a charger that decides."""

    evse_maximum_charge_power: RationalNumber = field(name="EVSEMaximumChargePower")
    evse_maximum_charge_power_l2: RationalNumber | None = field(name="EVSEMaximumChargePower_L2", default=None)
    evse_maximum_charge_power_l3: RationalNumber | None = field(name="EVSEMaximumChargePower_L3", default=None)
    evse_maximum_discharge_power: RationalNumber = field(name="EVSEMaximumDischargePower")
    evse_maximum_discharge_power_l2: RationalNumber | None = field(name="EVSEMaximumDischargePower_L2", default=None)
    evse_maximum_discharge_power_l3: RationalNumber | None = field(name="EVSEMaximumDischargePower_L3", default=None)
    dso_maximum_discharge_power: RationalNumber | None = field(name="DSOMaximumDischargePower", default=None)
    dso_maximum_discharge_power_l2: RationalNumber | None = field(name="DSOMaximumDischargePower_L2", default=None)
    dso_maximum_discharge_power_l3: RationalNumber | None = field(name="DSOMaximumDischargePower_L3", default=None)
    dso_q_setpoint: DSOQSetpoint | None = field(name="DSOQSetpoint", default=None)
    dso_cos_phi_setpoint: DSOCosPhiSetpoint | None = field(name="DSOCosPhiSetpoint", default=None)


class DER_Scheduled_AC_CLReqControlMode(Scheduled_AC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits of a vehicle that follows a schedule."""

    ev_maximum_discharge_power: RationalNumber = field(name="EVMaximumDischargePower")
    ev_maximum_discharge_power_l2: RationalNumber | None = field(name="EVMaximumDischargePower_L2", default=None)
    ev_maximum_discharge_power_l3: RationalNumber | None = field(name="EVMaximumDischargePower_L3", default=None)
    ev_minimum_discharge_power: RationalNumber = field(name="EVMinimumDischargePower")
    ev_minimum_discharge_power_l2: RationalNumber | None = field(name="EVMinimumDischargePower_L2", default=None)
    ev_minimum_discharge_power_l3: RationalNumber | None = field(name="EVMinimumDischargePower_L3", default=None)
    ev_maximum_charge_reactive_power: RationalNumber | None = field(name="EVMaximumChargeReactivePower", default=None)
    ev_maximum_charge_reactive_power_l2: RationalNumber | None = field(
        name="EVMaximumChargeReactivePower_L2", default=None
    )
    ev_maximum_charge_reactive_power_l3: RationalNumber | None = field(
        name="EVMaximumChargeReactivePower_L3", default=None
    )
    ev_maximum_discharge_reactive_power: RationalNumber | None = field(
        name="EVMaximumDischargeReactivePower", default=None
    )
    ev_maximum_discharge_reactive_power_l2: RationalNumber | None = field(
        name="EVMaximumDischargeReactivePower_L2", default=None
    )
    ev_maximum_discharge_reactive_power_l3: RationalNumber | None = field(
        name="EVMaximumDischargeReactivePower_L3", default=None
    )
    grid_event_condition: UnsignedByte = field(name="GridEventCondition")


class DER_Scheduled_AC_CLResControlMode(Scheduled_AC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Limits and set points of a charger that follows a schedule."""

    evse_maximum_charge_power: RationalNumber = field(name="EVSEMaximumChargePower")
    evse_maximum_charge_power_l2: RationalNumber | None = field(name="EVSEMaximumChargePower_L2", default=None)
    evse_maximum_charge_power_l3: RationalNumber | None = field(name="EVSEMaximumChargePower_L3", default=None)
    evse_maximum_discharge_power: RationalNumber = field(name="EVSEMaximumDischargePower")
    evse_maximum_discharge_power_l2: RationalNumber | None = field(name="EVSEMaximumDischargePower_L2", default=None)
    evse_maximum_discharge_power_l3: RationalNumber | None = field(name="EVSEMaximumDischargePower_L3", default=None)
    dso_maximum_discharge_power: RationalNumber | None = field(name="DSOMaximumDischargePower", default=None)
    dso_maximum_discharge_power_l2: RationalNumber | None = field(name="DSOMaximumDischargePower_L2", default=None)
    dso_maximum_discharge_power_l3: RationalNumber | None = field(name="DSOMaximumDischargePower_L3", default=None)
    dso_q_setpoint: DSOQSetpoint | None = field(name="DSOQSetpoint", default=None)
    dso_cos_phi_setpoint: DSOCosPhiSetpoint | None = field(name="DSOCosPhiSetpoint", default=None)


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
    )
}
"""The messages are in the namespace of AC, the others in that of this module."""
