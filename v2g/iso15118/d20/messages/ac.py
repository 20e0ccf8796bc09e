"""ISO 15118-20 AC messages, in one and in both directions (BPT).

Field names follow the schema. A value without suffix is that of phase 1, or of all phases if there is no L2 and L3.
"""

from typing import Annotated, Final

from msgspec import field

from v2g.exi.declare import Element, Ref, global_elements
from v2g.iso15118.d20.messages import common_types
from v2g.iso15118.d20.schemas import AC

SCHEMA: Final = AC


class AC_CPDReqEnergyTransferMode(Element, frozen=True, kw_only=True, tag=True):
    """The vehicle's charging limits: power in W, per phase where phases differ."""

    ev_maximum_charge_power: common_types.RationalNumber
    ev_maximum_charge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_charge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_charge_power: common_types.RationalNumber
    ev_minimum_charge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_charge_power_l3: common_types.RationalNumber | None = None


class BPT_AC_CPDReqEnergyTransferMode(AC_CPDReqEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """The vehicle's charging and discharging limits."""

    ev_maximum_discharge_power: common_types.RationalNumber
    ev_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_discharge_power: common_types.RationalNumber
    ev_minimum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l3: common_types.RationalNumber | None = None


class AC_ChargeParameterDiscoveryReq(common_types.ChargeParameterDiscoveryReq, frozen=True, kw_only=True):
    """The limits of the vehicle's on-board charger."""

    ac_cpd_req_energy_transfer_mode: Annotated[
        AC_CPDReqEnergyTransferMode | BPT_AC_CPDReqEnergyTransferMode, Ref(AC_CPDReqEnergyTransferMode)
    ] = field(name="AC_CPDReqEnergyTransferMode")


class AC_CPDResEnergyTransferMode(Element, frozen=True, kw_only=True, tag=True):
    """The charger's output limits: power in W, frequency in Hz, ramp in W/s."""

    evse_maximum_charge_power: common_types.RationalNumber
    evse_maximum_charge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_charge_power_l3: common_types.RationalNumber | None = None
    evse_minimum_charge_power: common_types.RationalNumber
    evse_minimum_charge_power_l2: common_types.RationalNumber | None = None
    evse_minimum_charge_power_l3: common_types.RationalNumber | None = None
    evse_nominal_frequency: common_types.RationalNumber
    maximum_power_asymmetry: common_types.RationalNumber | None = None
    evse_power_ramp_limitation: common_types.RationalNumber | None = None
    evse_present_active_power: common_types.RationalNumber | None = None
    evse_present_active_power_l2: common_types.RationalNumber | None = None
    evse_present_active_power_l3: common_types.RationalNumber | None = None


class BPT_AC_CPDResEnergyTransferMode(AC_CPDResEnergyTransferMode, frozen=True, kw_only=True, tag=True):
    """The charger's limits in both directions."""

    evse_maximum_discharge_power: common_types.RationalNumber
    evse_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    evse_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    evse_minimum_discharge_power: common_types.RationalNumber
    evse_minimum_discharge_power_l2: common_types.RationalNumber | None = None
    evse_minimum_discharge_power_l3: common_types.RationalNumber | None = None


class AC_ChargeParameterDiscoveryRes(common_types.ChargeParameterDiscoveryRes, frozen=True, kw_only=True):
    """The charger's limits."""

    ac_cpd_res_energy_transfer_mode: Annotated[
        AC_CPDResEnergyTransferMode | BPT_AC_CPDResEnergyTransferMode, Ref(AC_CPDResEnergyTransferMode)
    ] = field(name="AC_CPDResEnergyTransferMode")


class Dynamic_AC_CLReqControlMode(common_types.Dynamic_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Present powers, and limits within which the charger decides: W and VAr."""

    ev_maximum_charge_power: common_types.RationalNumber
    ev_maximum_charge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_charge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_charge_power: common_types.RationalNumber
    ev_minimum_charge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_charge_power_l3: common_types.RationalNumber | None = None
    ev_present_active_power: common_types.RationalNumber
    ev_present_active_power_l2: common_types.RationalNumber | None = None
    ev_present_active_power_l3: common_types.RationalNumber | None = None
    ev_present_reactive_power: common_types.RationalNumber
    ev_present_reactive_power_l2: common_types.RationalNumber | None = None
    ev_present_reactive_power_l3: common_types.RationalNumber | None = None


class BPT_Dynamic_AC_CLReqControlMode(Dynamic_AC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Limits within which the charger decides in both directions; V2X energies in Wh."""

    ev_maximum_discharge_power: common_types.RationalNumber
    ev_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_discharge_power: common_types.RationalNumber
    ev_minimum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_maximum_v2x_energy_request: common_types.RationalNumber | None = None
    ev_minimum_v2x_energy_request: common_types.RationalNumber | None = None


class Scheduled_AC_CLReqControlMode(common_types.Scheduled_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Present powers and limits of a vehicle that follows a schedule: W and VAr."""

    ev_maximum_charge_power: common_types.RationalNumber | None = None
    ev_maximum_charge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_charge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_charge_power: common_types.RationalNumber | None = None
    ev_minimum_charge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_charge_power_l3: common_types.RationalNumber | None = None
    ev_present_active_power: common_types.RationalNumber
    ev_present_active_power_l2: common_types.RationalNumber | None = None
    ev_present_active_power_l3: common_types.RationalNumber | None = None
    ev_present_reactive_power: common_types.RationalNumber | None = None
    ev_present_reactive_power_l2: common_types.RationalNumber | None = None
    ev_present_reactive_power_l3: common_types.RationalNumber | None = None


class BPT_Scheduled_AC_CLReqControlMode(Scheduled_AC_CLReqControlMode, frozen=True, kw_only=True, tag=True):
    """Present powers and limits of a vehicle that follows a schedule, with limits for discharging."""

    ev_maximum_discharge_power: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_maximum_discharge_power_l3: common_types.RationalNumber | None = None
    ev_minimum_discharge_power: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l2: common_types.RationalNumber | None = None
    ev_minimum_discharge_power_l3: common_types.RationalNumber | None = None


class AC_ChargeLoopReq(common_types.ChargeLoopReq, frozen=True, kw_only=True):
    """The vehicle's powers and limits; repeated while energy flows."""

    cl_req_control_mode: Annotated[
        common_types.CLReqControlMode
        | BPT_Dynamic_AC_CLReqControlMode
        | BPT_Scheduled_AC_CLReqControlMode
        | Dynamic_AC_CLReqControlMode
        | Scheduled_AC_CLReqControlMode,
        Ref(common_types.CLReqControlMode),
    ]


class Dynamic_AC_CLResControlMode(common_types.Dynamic_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Targets that the charger sets: W and VAr."""

    evse_target_active_power: common_types.RationalNumber
    evse_target_active_power_l2: common_types.RationalNumber | None = None
    evse_target_active_power_l3: common_types.RationalNumber | None = None
    evse_target_reactive_power: common_types.RationalNumber | None = None
    evse_target_reactive_power_l2: common_types.RationalNumber | None = None
    evse_target_reactive_power_l3: common_types.RationalNumber | None = None
    evse_present_active_power: common_types.RationalNumber | None = None
    evse_present_active_power_l2: common_types.RationalNumber | None = None
    evse_present_active_power_l3: common_types.RationalNumber | None = None


class BPT_Dynamic_AC_CLResControlMode(Dynamic_AC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """The same in both directions."""


class Scheduled_AC_CLResControlMode(common_types.Scheduled_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """Targets and present powers of a charger that follows a schedule: W and VAr."""

    evse_target_active_power: common_types.RationalNumber | None = None
    evse_target_active_power_l2: common_types.RationalNumber | None = None
    evse_target_active_power_l3: common_types.RationalNumber | None = None
    evse_target_reactive_power: common_types.RationalNumber | None = None
    evse_target_reactive_power_l2: common_types.RationalNumber | None = None
    evse_target_reactive_power_l3: common_types.RationalNumber | None = None
    evse_present_active_power: common_types.RationalNumber | None = None
    evse_present_active_power_l2: common_types.RationalNumber | None = None
    evse_present_active_power_l3: common_types.RationalNumber | None = None


class BPT_Scheduled_AC_CLResControlMode(Scheduled_AC_CLResControlMode, frozen=True, kw_only=True, tag=True):
    """The same in both directions."""


class AC_ChargeLoopRes(common_types.ChargeLoopRes, frozen=True, kw_only=True):
    """The vehicle's targets, and the meter; target frequency in Hz."""

    evse_target_frequency: common_types.RationalNumber | None = None
    cl_res_control_mode: Annotated[
        common_types.CLResControlMode
        | BPT_Dynamic_AC_CLResControlMode
        | BPT_Scheduled_AC_CLResControlMode
        | Dynamic_AC_CLResControlMode
        | Scheduled_AC_CLResControlMode,
        Ref(common_types.CLResControlMode),
    ]


ELEMENTS: Final = global_elements(__name__)
