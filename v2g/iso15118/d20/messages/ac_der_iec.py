"""ISO 15118-20 Amendment 1, AC_DER_IEC: a vehicle that supports the grid by European rules.

By the published schema of the amendment, as copied in OpenChargingCloud/WWCP_ISO15118: names, order, optionality and
types equal those of two other codecs, and their messages are read and written octet by octet
(`tests/vectors/exi/README.md`).

The four messages are those of AC, in its namespace. Their classes here have more members in their substitution groups,
and so other event codes than those of `v2g.iso15118.d20.messages.ac`, which they extend.
"""

from enum import Enum
from typing import Annotated, ClassVar, Final

from msgspec import Meta, field

from v2g.exi.declare import Choice, Element, Ref, Schema, UnsignedByte, UnsignedInt, UnsignedShort, global_elements
from v2g.iso15118.d20.messages import ac, common_types
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
    """Whether a grid is present (gridConnectionModeType)."""

    GridConnected = "GridConnected"
    GridIslanded = "GridIslanded"


class SetpointExcitation(Element, frozen=True, kw_only=True):
    """A value of a curve and, for a power factor, its side."""

    setpoint_value: common_types.RationalNumber
    excitation: PowerFactorExcitation | None = None


class DataTuple(Element, frozen=True, kw_only=True):
    """A point of a curve."""

    x_value: common_types.RationalNumber = field(name="xValue")
    y_value: SetpointExcitation = field(name="yValue")


class CurveDataPointsList(Element, frozen=True, kw_only=True):
    """The points of a curve."""

    curve_data_point: Annotated[tuple[DataTuple, ...], Meta(min_length=2, max_length=10)]


class DERCurve(Element, frozen=True, kw_only=True):
    """A curve, and its response time."""

    x_unit: CurveDataPointsUnit = field(name="xUnit")
    y_unit: CurveDataPointsUnit = field(name="yUnit")
    curve_data_points: CurveDataPointsList
    min_cos_phi: common_types.RationalNumber | None = None
    lock_value_unit: LockValueUnit | None = None
    lock_in_value: common_types.RationalNumber | None = None
    lock_out_value: common_types.RationalNumber | None = None
    pt1_response_reactive_power: bool
    step_response_time_constant_reactive_power: common_types.RationalNumber
    intentional_delay: common_types.RationalNumber | None = None


class FrequencyWatt(Element, frozen=True, kw_only=True):
    """Active power by frequency."""

    fstart: common_types.RationalNumber
    fstop: common_types.RationalNumber
    intentional_delay_fstop: UnsignedShort | None = None
    slope: common_types.RationalNumber
    deactivation_time: UnsignedShort | None = None
    intentional_delay_power_control: UnsignedShort | None = None
    power_reference: PowerReference
    hysteresis_control: bool
    power_up_ramp: UnsignedShort | None = None
    pt1_response_active_power: bool
    step_response_time_constant_active_power: common_types.RationalNumber


class VoltWatt(Element, frozen=True, kw_only=True):
    """Active power by voltage."""

    power_reference: PowerReference
    u_start: common_types.RationalNumber
    u_stop: common_types.RationalNumber
    pt1_response_active_power: bool
    step_response_time_constant_active_power: common_types.RationalNumber
    intentional_delay_power_control: UnsignedInt | None = None


class FaultRideThrough(Element, frozen=True, kw_only=True):
    """Ride-through of over- and undervoltage."""

    voltage_limit_start_frt: common_types.RationalNumber
    voltage_limit_stop_frt: common_types.RationalNumber | None = None
    voltage_recovery_limit: common_types.RationalNumber | None = None
    voltage_ride_through_positive_curve_k_factor: common_types.RationalNumber | None = None
    voltage_ride_through_negative_curve_k_factor: common_types.RationalNumber | None = None
    pt1_response_active_power: bool
    step_response_time_constant_active_power: common_types.RationalNumber
    pt1_response_reactive_power: bool
    step_response_time_constant_reactive_power: common_types.RationalNumber


class ZeroCurrent(Element, frozen=True, kw_only=True):
    """Voltages beyond which no current may flow."""

    over_voltage_limit: common_types.RationalNumber | None = None
    under_voltage_limit: common_types.RationalNumber | None = None
    over_voltage_recovery_limit: common_types.RationalNumber | None = None
    under_voltage_recovery_limit: common_types.RationalNumber | None = None
    pt1_response_active_power: bool
    step_response_time_constant_active_power: common_types.RationalNumber
    pt1_response_reactive_power: bool
    step_response_time_constant_reactive_power: common_types.RationalNumber


class ReactivePowerSupport(Element, frozen=True, kw_only=True):
    """Reactive power by one curve."""

    volt_var: Annotated[DERCurve | None, Choice("curve")] = None
    watt_var: Annotated[DERCurve | None, Choice("curve")] = None
    watt_cos_phi: Annotated[DERCurve | None, Choice("curve")] = None


class ActivePowerSupport(Element, frozen=True, kw_only=True):
    """Active power by frequency and voltage."""

    under_frequency_watt: FrequencyWatt | None = None
    over_frequency_watt: FrequencyWatt | None = None
    volt_watt: VoltWatt | None = None


class DERControl(Element, frozen=True, kw_only=True):
    """Required grid support of the vehicle."""

    overvoltage_fault_ride_through: FaultRideThrough | None = None
    undervoltage_fault_ride_through: FaultRideThrough | None = None
    zero_current: ZeroCurrent | None = None
    reactive_power_support: ReactivePowerSupport | None = None
    active_power_support: ActivePowerSupport | None = None
    maximum_level_dc_injection: common_types.RationalNumber | None = None


class EVReactivePowerLimits(Element, frozen=True, kw_only=True):
    """Reactive power that the vehicle can absorb or inject."""

    ev_maximum_charge_reactive_power: common_types.RationalNumber
    ev_maximum_charge_reactive_power_l2: common_types.RationalNumber | None = None
    ev_maximum_charge_reactive_power_l3: common_types.RationalNumber | None = None
    ev_minimum_charge_reactive_power: common_types.RationalNumber | None = None
    ev_minimum_charge_reactive_power_l2: common_types.RationalNumber | None = None
    ev_minimum_charge_reactive_power_l3: common_types.RationalNumber | None = None
    ev_maximum_discharge_reactive_power: common_types.RationalNumber
    ev_maximum_discharge_reactive_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_reactive_power_l3: common_types.RationalNumber | None = None
    ev_minimum_discharge_reactive_power: common_types.RationalNumber | None = None
    ev_minimum_discharge_reactive_power_l2: common_types.RationalNumber | None = None
    ev_minimum_discharge_reactive_power_l3: common_types.RationalNumber | None = None


class DSOQSetpoint(Element, frozen=True, kw_only=True):
    """Reactive power that the grid operator sets."""

    dso_q_setpoint_value: common_types.RationalNumber
    dso_q_setpoint_value_l2: common_types.RationalNumber | None = None
    dso_q_setpoint_value_l3: common_types.RationalNumber | None = None
    pt1_response_reactive_power: bool
    step_response_time_constant_reactive_power: common_types.RationalNumber


class DSOCosPhiSetpoint(Element, frozen=True, kw_only=True):
    """Power factor that the grid operator sets."""

    dso_cos_phi_setpoint_value: common_types.RationalNumber
    dso_cos_phi_setpoint_value_l2: common_types.RationalNumber | None = None
    dso_cos_phi_setpoint_value_l3: common_types.RationalNumber | None = None
    excitation: PowerFactorExcitation
    pt1_response_reactive_power: bool
    step_response_time_constant_reactive_power: common_types.RationalNumber


class DER_AC_CPDReqEnergyTransferMode(ac.AC_CPDReqEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """The vehicle's limits and grid support capabilities."""

    ev_processing: common_types.Processing
    ev_maximum_discharge_power: common_types.RationalNumber
    ev_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_discharge_power: common_types.RationalNumber
    ev_minimum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_session_total_discharge_energy_available: common_types.RationalNumber | None = None
    ev_reactive_power_limits: EVReactivePowerLimits | None = None


class DER_AC_CPDResEnergyTransferMode(ac.AC_CPDResEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """The charger's limits, and the grid's requirements."""

    evse_nominal_charge_power: common_types.RationalNumber
    evse_nominal_charge_power_l2: common_types.RationalNumber | None = None
    evse_nominal_charge_power_l3: common_types.RationalNumber | None = None
    evse_nominal_discharge_power: common_types.RationalNumber
    evse_nominal_discharge_power_l2: common_types.RationalNumber | None = None
    evse_nominal_discharge_power_l3: common_types.RationalNumber | None = None
    evse_maximum_discharge_power: common_types.RationalNumber
    evse_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_operating_mode: EvOperatingMode
    grid_connection_mode: GridConnectionMode
    der_control: DERControl


class DER_Dynamic_AC_CLReqControlMode(ac.Dynamic_AC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits within which the charger decides."""

    ev_maximum_discharge_power: common_types.RationalNumber
    ev_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_discharge_power: common_types.RationalNumber
    ev_minimum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_maximum_charge_reactive_power: common_types.RationalNumber | None = None
    ev_maximum_charge_reactive_power_l2: common_types.RationalNumber | None = None
    ev_maximum_charge_reactive_power_l3: common_types.RationalNumber | None = None
    ev_maximum_discharge_reactive_power: common_types.RationalNumber | None = None
    ev_maximum_discharge_reactive_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_reactive_power_l3: common_types.RationalNumber | None = None
    grid_event_condition: UnsignedByte
    ev_maximum_v2x_energy_request: common_types.RationalNumber | None = None
    ev_minimum_v2x_energy_request: common_types.RationalNumber | None = None
    ev_session_total_discharge_energy_available: common_types.RationalNumber | None = None


class DER_Dynamic_AC_CLResControlMode(ac.Dynamic_AC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Targets, limits and set points of a charger that decides."""

    evse_maximum_charge_power: common_types.RationalNumber
    evse_maximum_charge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_charge_power_l3: common_types.RationalNumber | None = None
    evse_maximum_discharge_power: common_types.RationalNumber
    evse_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    dso_maximum_discharge_power: common_types.RationalNumber | None = None
    dso_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    dso_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    dso_q_setpoint: DSOQSetpoint | None = None
    dso_cos_phi_setpoint: DSOCosPhiSetpoint | None = None


class DER_Scheduled_AC_CLReqControlMode(ac.Scheduled_AC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits of a vehicle that follows a schedule."""

    ev_maximum_discharge_power: common_types.RationalNumber
    ev_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_discharge_power: common_types.RationalNumber
    ev_minimum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_maximum_charge_reactive_power: common_types.RationalNumber | None = None
    ev_maximum_charge_reactive_power_l2: common_types.RationalNumber | None = None
    ev_maximum_charge_reactive_power_l3: common_types.RationalNumber | None = None
    ev_maximum_discharge_reactive_power: common_types.RationalNumber | None = None
    ev_maximum_discharge_reactive_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_reactive_power_l3: common_types.RationalNumber | None = None
    grid_event_condition: UnsignedByte


class DER_Scheduled_AC_CLResControlMode(ac.Scheduled_AC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Limits and set points of a charger that follows a schedule."""

    evse_maximum_charge_power: common_types.RationalNumber
    evse_maximum_charge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_charge_power_l3: common_types.RationalNumber | None = None
    evse_maximum_discharge_power: common_types.RationalNumber
    evse_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    dso_maximum_discharge_power: common_types.RationalNumber | None = None
    dso_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    dso_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    dso_q_setpoint: DSOQSetpoint | None = None
    dso_cos_phi_setpoint: DSOCosPhiSetpoint | None = None


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


ELEMENTS: Final = global_elements(__name__)
