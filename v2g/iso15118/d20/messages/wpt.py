"""ISO 15118-20 WPT messages: wireless power transfer between a primary device in the ground and a secondary one.

Names follow the schema, misspellings included (SDMaxGroundClearence).
"""

from enum import Enum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import Element, UnsignedShort, global_elements
from v2g.iso15118.d20.messages import common_types, wpt_positioning
from v2g.iso15118.d20.schemas import WPT

SCHEMA: Final = WPT

WPT_DataContainer: TypeAlias = Annotated[bytes, Meta(max_length=256)]


class WPT_EVPCChargeDiagnostics(Enum):
    """State of the vehicle's power circuit (WPT_EVPCChargeDiagnosticsType)."""

    EVPCNoIssue = "EVPCNoIssue"
    EVPCTempOverheatDetected = "EVPCTempOverheatDetected"
    EVPCPowerTransferAnomalyDetected = "EVPCPowerTransferAnomalyDetected"
    EVPCAnomalyDetected = "EVPCAnomalyDetected"


class WPT_SPCChargeDiagnostics(Enum):
    """State of the supply power circuit (WPT_SPCChargeDiagnosticsType)."""

    SPCNoIssue = "SPCNoIssue"
    SPCFODDetected = "SPCFODDetected"
    SPCLOPDetected = "SPCLOPDetected"
    SPCTempOverheatDetected = "SPCTempOverheatDetected"
    SPCPowerTransferAnomalyDetected = "SPCPowerTransferAnomalyDetected"
    SPCAnomalyDetected = "SPCAnomalyDetected"


class WPT_PowerClass(Enum):
    """Power class of the primary device (WPT_PowerClassType)."""

    MF_WPT1 = "MF-WPT1"
    MF_WPT2 = "MF-WPT2"
    MF_WPT3 = "MF-WPT3"
    MF_WPT4 = "MF-WPT4"


class WPT_EVResult(Enum):
    """The vehicle's result (WPT_EVResultType)."""

    EVResultUnknown = "EVResultUnknown"
    EVResultSuccess = "EVResultSuccess"
    EVResultFailed = "EVResultFailed"


class WPT_FinePositioningSetupReq(common_types.V2GRequest, frozen=True, kw_only=True):
    """The vehicle's methods."""

    ev_processing: common_types.Processing
    ev_device_fine_positioning_method_list: wpt_positioning.WPT_FinePositioningMethodList
    ev_device_pairing_method_list: wpt_positioning.WPT_PairingMethodList
    ev_device_alignment_check_method_list: wpt_positioning.WPT_AlignmentCheckMethodList
    natural_offset: UnsignedShort
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()
    lf_system_setup_data: wpt_positioning.WPT_LF_SystemSetupData | None = field(name="LF_SystemSetupData", default=None)


class WPT_FinePositioningSetupRes(common_types.V2GResponse, frozen=True, kw_only=True):
    """The charger's methods."""

    primary_device_fine_positioning_method_list: wpt_positioning.WPT_FinePositioningMethodList
    primary_device_pairing_method_list: wpt_positioning.WPT_PairingMethodList
    primary_device_alignment_check_method_list: wpt_positioning.WPT_AlignmentCheckMethodList
    natural_offset: UnsignedShort
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()
    lf_system_setup_data: wpt_positioning.WPT_LF_SystemSetupData | None = field(name="LF_SystemSetupData", default=None)


class WPT_FinePositioningReq(common_types.V2GRequest, frozen=True, kw_only=True):
    """The vehicle's progress; repeated until it is in position."""

    ev_processing: common_types.Processing
    ev_result_code: WPT_EVResult
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()
    wpt_lf_data_package_list: wpt_positioning.WPT_LF_DataPackageList | None = field(
        name="WPT_LF_DataPackageList", default=None
    )


class WPT_FinePositioningRes(common_types.V2GResponse, frozen=True, kw_only=True):
    """The charger's progress."""

    evse_processing: common_types.Processing
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()
    wpt_lf_data_package_list: wpt_positioning.WPT_LF_DataPackageList | None = field(
        name="WPT_LF_DataPackageList", default=None
    )


class WPT_PairingReq(common_types.V2GRequest, frozen=True, kw_only=True):
    """The vehicle's observation of the primary device."""

    ev_processing: common_types.Processing
    observed_id_code: common_types.NumericID | None = None
    ev_result_code: WPT_EVResult
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()


class WPT_PairingRes(common_types.V2GResponse, frozen=True, kw_only=True):
    """Result of the pairing, or an alternative charger."""

    evse_processing: common_types.Processing
    observed_id_code: common_types.NumericID | None = None
    alternative_secc_list: wpt_positioning.AlternativeSECCList | None = None
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()


class WPT_ChargeParameterDiscoveryReq(common_types.ChargeParameterDiscoveryReq, frozen=True, kw_only=True):
    """Power (W), natural frequency (Hz) and ground clearances of the vehicle's device."""

    evpc_max_receivable_power: common_types.RationalNumber
    sd_max_ground_clearence: UnsignedShort
    sd_min_ground_clearence: UnsignedShort
    evpc_natural_frequency: common_types.RationalNumber
    evpc_device_local_control: bool
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()


class WPT_ChargeParameterDiscoveryRes(common_types.ChargeParameterDiscoveryRes, frozen=True, kw_only=True):
    """Power (W), coil currents (A) and ground clearances of the charger's device."""

    pd_input_power_class: WPT_PowerClass
    sd_min_output_power: common_types.RationalNumber
    sd_max_output_power: common_types.RationalNumber
    sd_max_ground_clearance_support: UnsignedShort
    sd_min_ground_clearance_support: UnsignedShort
    pd_min_coil_current: common_types.RationalNumber
    pd_max_coil_current: common_types.RationalNumber
    sd_manufacturer_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()


class WPT_AlignmentCheckReq(common_types.V2GRequest, frozen=True, kw_only=True):
    """Coil current in A requested for the alignment check."""

    ev_processing: common_types.Processing
    target_coil_current: common_types.RationalNumber | None = None
    ev_result_code: WPT_EVResult
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()


class WPT_AlignmentCheckRes(common_types.V2GResponse, frozen=True, kw_only=True):
    """Power sent (W) and current (A) of the primary device."""

    evse_processing: common_types.Processing
    power_transmitted: common_types.RationalNumber | None = None
    supply_device_current: common_types.RationalNumber | None = None
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()


class WPT_EVPCPowerControlParameter(Element, frozen=True, kw_only=True):
    """Coil current, output current (A) and output voltage (V) of the vehicle."""

    evpc_coil_current_request: common_types.RationalNumber
    evpc_coil_current_information: common_types.RationalNumber
    evpc_current_output_information: common_types.RationalNumber
    evpc_voltage_output_information: common_types.RationalNumber


class WPT_ChargeLoopReq(common_types.ChargeLoopReq, frozen=True, kw_only=True):
    """Requested and received power in W; repeated while energy flows."""

    evpc_power_request: common_types.RationalNumber
    evpc_power_output: common_types.RationalNumber
    evpc_charge_diagnostics: WPT_EVPCChargeDiagnostics
    evpc_operating_frequency: common_types.RationalNumber | None = None
    evpc_power_control_parameter: WPT_EVPCPowerControlParameter | None = None
    manufacturer_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()


class WPT_SPCPowerControlParameter(Element, frozen=True, kw_only=True):
    """Coil current of the primary device in A."""

    spc_primary_device_coil_current_information: common_types.RationalNumber


class WPT_ChargeLoopRes(common_types.ChargeLoopRes, frozen=True, kw_only=True):
    """Power taken from the grid and limits of the output in W."""

    evpc_power_request: common_types.RationalNumber
    sd_power_input: common_types.RationalNumber | None = None
    spc_max_output_power_limit: common_types.RationalNumber
    spc_min_output_power_limit: common_types.RationalNumber
    spc_charge_diagnostics: WPT_SPCChargeDiagnostics
    spc_operating_frequency: common_types.RationalNumber | None = None
    spc_power_control_parameter: WPT_SPCPowerControlParameter | None = None
    manufacturer_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = ()


ELEMENTS: Final = global_elements(__name__)
