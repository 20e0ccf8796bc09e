"""ISO 15118-20 DC messages, in one and in both directions (BPT).

Field names follow the schema. Powers, currents and voltages are unsigned limits or targets; only EVSEPresentCurrent
is signed, positive from charger to vehicle (V2G20-1034).
"""

from typing import Annotated, Final

from msgspec import field

from v2g.exi.declare import Element, Ref, global_elements
from v2g.iso15118.d20.messages import common_types
from v2g.iso15118.d20.schemas import DC

SCHEMA: Final = DC


class DC_CPDReqEnergyTransferMode(Element, frozen=True, kw_only=True, tag=True):
    """The vehicle's charging limits: power in W, current in A, voltage in V, state of charge in %."""

    ev_maximum_charge_power: common_types.RationalNumber
    ev_minimum_charge_power: common_types.RationalNumber
    ev_maximum_charge_current: common_types.RationalNumber
    ev_minimum_charge_current: common_types.RationalNumber
    ev_maximum_voltage: common_types.RationalNumber
    ev_minimum_voltage: common_types.RationalNumber
    target_soc: common_types.PercentValue | None = None


class BPT_DC_CPDReqEnergyTransferMode(DC_CPDReqEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """The vehicle's charging and discharging limits."""

    ev_maximum_discharge_power: common_types.RationalNumber
    ev_minimum_discharge_power: common_types.RationalNumber
    ev_maximum_discharge_current: common_types.RationalNumber
    ev_minimum_discharge_current: common_types.RationalNumber


class DC_ChargeParameterDiscoveryReq(common_types.ChargeParameterDiscoveryReq, frozen=True, kw_only=True):
    """The limits of the vehicle's battery."""

    dc_cpd_req_energy_transfer_mode: Annotated[
        DC_CPDReqEnergyTransferMode | BPT_DC_CPDReqEnergyTransferMode, Ref(DC_CPDReqEnergyTransferMode)
    ] = field(name="DC_CPDReqEnergyTransferMode")


class DC_CPDResEnergyTransferMode(Element, frozen=True, kw_only=True, tag=True):
    """The charger's output limits: power in W, current in A, voltage in V, ramp in W/s."""

    evse_maximum_charge_power: common_types.RationalNumber
    evse_minimum_charge_power: common_types.RationalNumber
    evse_maximum_charge_current: common_types.RationalNumber
    evse_minimum_charge_current: common_types.RationalNumber
    evse_maximum_voltage: common_types.RationalNumber
    evse_minimum_voltage: common_types.RationalNumber
    evse_power_ramp_limitation: common_types.RationalNumber | None = None


class BPT_DC_CPDResEnergyTransferMode(DC_CPDResEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """The charger's limits in both directions."""

    evse_maximum_discharge_power: common_types.RationalNumber
    evse_minimum_discharge_power: common_types.RationalNumber
    evse_maximum_discharge_current: common_types.RationalNumber
    evse_minimum_discharge_current: common_types.RationalNumber


class DC_ChargeParameterDiscoveryRes(common_types.ChargeParameterDiscoveryRes, frozen=True, kw_only=True):
    """The charger's limits."""

    dc_cpd_res_energy_transfer_mode: Annotated[
        DC_CPDResEnergyTransferMode | BPT_DC_CPDResEnergyTransferMode, Ref(DC_CPDResEnergyTransferMode)
    ] = field(name="DC_CPDResEnergyTransferMode")


class DC_CableCheckReq(common_types.V2GRequest, frozen=True, kw_only=True):
    """The vehicle requests the insulation test of the cable; repeated until it is done."""


class DC_CableCheckRes(common_types.V2GResponse, frozen=True, kw_only=True):
    """Whether the insulation test is done."""

    evse_processing: common_types.Processing


class DC_PreChargeReq(common_types.V2GRequest, frozen=True, kw_only=True):
    """The vehicle requests a voltage near that of its battery, so that its contactor may close."""

    ev_processing: common_types.Processing
    ev_present_voltage: common_types.RationalNumber
    ev_target_voltage: common_types.RationalNumber


class DC_PreChargeRes(common_types.V2GResponse, frozen=True, kw_only=True):
    """The voltage at the charger's output."""

    evse_present_voltage: common_types.RationalNumber


class Scheduled_DC_CLReqControlMode(common_types.Scheduled_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Targets of a vehicle that follows a schedule: A, V and W."""

    ev_target_current: common_types.RationalNumber
    ev_target_voltage: common_types.RationalNumber
    ev_maximum_charge_power: common_types.RationalNumber | None = None
    ev_minimum_charge_power: common_types.RationalNumber | None = None
    ev_maximum_charge_current: common_types.RationalNumber | None = None
    ev_maximum_voltage: common_types.RationalNumber | None = None
    ev_minimum_voltage: common_types.RationalNumber | None = None


class BPT_Scheduled_DC_CLReqControlMode(Scheduled_DC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Targets of a vehicle that follows a schedule, with limits for discharging."""

    ev_maximum_discharge_power: common_types.RationalNumber | None = None
    ev_minimum_discharge_power: common_types.RationalNumber | None = None
    ev_maximum_discharge_current: common_types.RationalNumber | None = None


class Dynamic_DC_CLReqControlMode(common_types.Dynamic_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits within which the charger decides: W, A and V."""

    ev_maximum_charge_power: common_types.RationalNumber
    ev_minimum_charge_power: common_types.RationalNumber
    ev_maximum_charge_current: common_types.RationalNumber
    ev_maximum_voltage: common_types.RationalNumber
    ev_minimum_voltage: common_types.RationalNumber


class BPT_Dynamic_DC_CLReqControlMode(Dynamic_DC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits within which the charger decides in both directions; V2X energies in Wh."""

    ev_maximum_discharge_power: common_types.RationalNumber
    ev_minimum_discharge_power: common_types.RationalNumber
    ev_maximum_discharge_current: common_types.RationalNumber
    ev_maximum_v2x_energy_request: common_types.RationalNumber | None = None
    ev_minimum_v2x_energy_request: common_types.RationalNumber | None = None


class DC_ChargeLoopReq(common_types.ChargeLoopReq, frozen=True, kw_only=True):
    """The vehicle's targets or limits; repeated while energy flows."""

    ev_present_voltage: common_types.RationalNumber
    cl_req_control_mode: Annotated[
        common_types.CLReqControlMode
        | BPT_Dynamic_DC_CLReqControlMode
        | BPT_Scheduled_DC_CLReqControlMode
        | Dynamic_DC_CLReqControlMode
        | Scheduled_DC_CLReqControlMode,
        Ref(common_types.CLReqControlMode),
    ]


class Scheduled_DC_CLResControlMode(common_types.Scheduled_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Limits of a charger that follows a schedule: W, A and V."""

    evse_maximum_charge_power: common_types.RationalNumber | None = None
    evse_minimum_charge_power: common_types.RationalNumber | None = None
    evse_maximum_charge_current: common_types.RationalNumber | None = None
    evse_maximum_voltage: common_types.RationalNumber | None = None


class BPT_Scheduled_DC_CLResControlMode(Scheduled_DC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Limits of a charger that follows a schedule, with limits for discharging."""

    evse_maximum_discharge_power: common_types.RationalNumber | None = None
    evse_minimum_discharge_power: common_types.RationalNumber | None = None
    evse_maximum_discharge_current: common_types.RationalNumber | None = None
    evse_minimum_voltage: common_types.RationalNumber | None = None


class Dynamic_DC_CLResControlMode(common_types.Dynamic_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Limits of a charger that decides: W, A and V."""

    evse_maximum_charge_power: common_types.RationalNumber
    evse_minimum_charge_power: common_types.RationalNumber
    evse_maximum_charge_current: common_types.RationalNumber
    evse_maximum_voltage: common_types.RationalNumber


class BPT_Dynamic_DC_CLResControlMode(Dynamic_DC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Limits of a charger that decides, with limits for discharging."""

    evse_maximum_discharge_power: common_types.RationalNumber
    evse_minimum_discharge_power: common_types.RationalNumber
    evse_maximum_discharge_current: common_types.RationalNumber
    evse_minimum_voltage: common_types.RationalNumber


class DC_ChargeLoopRes(common_types.ChargeLoopRes, frozen=True, kw_only=True):
    """Present output (A and V, positive towards the vehicle), reached limits, and the meter."""

    evse_present_current: common_types.RationalNumber
    evse_present_voltage: common_types.RationalNumber
    evse_power_limit_achieved: bool
    evse_current_limit_achieved: bool
    evse_voltage_limit_achieved: bool
    cl_res_control_mode: Annotated[
        common_types.CLResControlMode
        | BPT_Dynamic_DC_CLResControlMode
        | BPT_Scheduled_DC_CLResControlMode
        | Dynamic_DC_CLResControlMode
        | Scheduled_DC_CLResControlMode,
        Ref(common_types.CLResControlMode),
    ]


class DC_WeldingDetectionReq(common_types.V2GRequest, frozen=True, kw_only=True):
    """The vehicle checks that its contactors have opened; repeated until it is satisfied."""

    ev_processing: common_types.Processing


class DC_WeldingDetectionRes(common_types.V2GResponse, frozen=True, kw_only=True):
    """The voltage at the charger's output."""

    evse_present_voltage: common_types.RationalNumber


ELEMENTS: Final = global_elements(__name__)
