"""ISO 15118-20 WPT messages: wireless power transfer between a primary device in the ground and a secondary one.

Names follow the schema, misspellings included (SDMaxGroundClearence).
"""

from enum import Enum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import Element, UnsignedShort
from v2g.iso15118.d20.messages.common_types import (
    ChargeLoopReq,
    ChargeLoopRes,
    ChargeParameterDiscoveryReq,
    ChargeParameterDiscoveryRes,
    NumericID,
    Processing,
    RationalNumber,
    V2GRequest,
    V2GResponse,
)
from v2g.iso15118.d20.messages.wpt_positioning import (
    AlternativeSECCList,
    WPT_AlignmentCheckMethodList,
    WPT_FinePositioningMethodList,
    WPT_LF_DataPackageList,
    WPT_LF_SystemSetupData,
    WPT_PairingMethodList,
)
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
    """What the vehicle found (WPT_EVResultType)."""

    EVResultUnknown = "EVResultUnknown"
    EVResultSuccess = "EVResultSuccess"
    EVResultFailed = "EVResultFailed"


class WPT_FinePositioningSetupReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle tells which methods it knows."""

    ev_processing: Processing = field(name="EVProcessing")
    ev_device_fine_positioning_method_list: WPT_FinePositioningMethodList = field(
        name="EVDeviceFinePositioningMethodList"
    )
    ev_device_pairing_method_list: WPT_PairingMethodList = field(name="EVDevicePairingMethodList")
    ev_device_alignment_check_method_list: WPT_AlignmentCheckMethodList = field(name="EVDeviceAlignmentCheckMethodList")
    natural_offset: UnsignedShort = field(name="NaturalOffset")
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="VendorSpecificDataContainer", default=()
    )
    lf_system_setup_data: WPT_LF_SystemSetupData | None = field(name="LF_SystemSetupData", default=None)


class WPT_FinePositioningSetupRes(V2GResponse, frozen=True, kw_only=True):
    """The charger tells which methods it knows."""

    primary_device_fine_positioning_method_list: WPT_FinePositioningMethodList = field(
        name="PrimaryDeviceFinePositioningMethodList"
    )
    primary_device_pairing_method_list: WPT_PairingMethodList = field(name="PrimaryDevicePairingMethodList")
    primary_device_alignment_check_method_list: WPT_AlignmentCheckMethodList = field(
        name="PrimaryDeviceAlignmentCheckMethodList"
    )
    natural_offset: UnsignedShort = field(name="NaturalOffset")
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="VendorSpecificDataContainer", default=()
    )
    lf_system_setup_data: WPT_LF_SystemSetupData | None = field(name="LF_SystemSetupData", default=None)


class WPT_FinePositioningReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle reports its progress; repeated until it is in place."""

    ev_processing: Processing = field(name="EVProcessing")
    ev_result_code: WPT_EVResult = field(name="EVResultCode")
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="VendorSpecificDataContainer", default=()
    )
    wpt_lf_data_package_list: WPT_LF_DataPackageList | None = field(name="WPT_LF_DataPackageList", default=None)


class WPT_FinePositioningRes(V2GResponse, frozen=True, kw_only=True):
    """The charger reports its progress."""

    evse_processing: Processing = field(name="EVSEProcessing")
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="VendorSpecificDataContainer", default=()
    )
    wpt_lf_data_package_list: WPT_LF_DataPackageList | None = field(name="WPT_LF_DataPackageList", default=None)


class WPT_PairingReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle tells what it has observed of the primary device."""

    ev_processing: Processing = field(name="EVProcessing")
    observed_id_code: NumericID | None = field(name="ObservedIDCode", default=None)
    ev_result_code: WPT_EVResult = field(name="EVResultCode")
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="VendorSpecificDataContainer", default=()
    )


class WPT_PairingRes(V2GResponse, frozen=True, kw_only=True):
    """Whether the pairing is done, or which charger to try instead."""

    evse_processing: Processing = field(name="EVSEProcessing")
    observed_id_code: NumericID | None = field(name="ObservedIDCode", default=None)
    alternative_secc_list: AlternativeSECCList | None = field(name="AlternativeSECCList", default=None)
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="VendorSpecificDataContainer", default=()
    )


class WPT_ChargeParameterDiscoveryReq(ChargeParameterDiscoveryReq, frozen=True, kw_only=True):
    """The vehicle tells power (W), natural frequency (Hz) and ground clearances of its device."""

    evpc_max_receivable_power: RationalNumber = field(name="EVPCMaxReceivablePower")
    sd_max_ground_clearence: UnsignedShort = field(name="SDMaxGroundClearence")
    sd_min_ground_clearence: UnsignedShort = field(name="SDMinGroundClearence")
    evpc_natural_frequency: RationalNumber = field(name="EVPCNaturalFrequency")
    evpc_device_local_control: bool = field(name="EVPCDeviceLocalControl")
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="VendorSpecificDataContainer", default=()
    )


class WPT_ChargeParameterDiscoveryRes(ChargeParameterDiscoveryRes, frozen=True, kw_only=True):
    """The charger tells power (W), coil currents (A) and ground clearances of its device."""

    pd_input_power_class: WPT_PowerClass = field(name="PDInputPowerClass")
    sd_min_output_power: RationalNumber = field(name="SDMinOutputPower")
    sd_max_output_power: RationalNumber = field(name="SDMaxOutputPower")
    sd_max_ground_clearance_support: UnsignedShort = field(name="SDMaxGroundClearanceSupport")
    sd_min_ground_clearance_support: UnsignedShort = field(name="SDMinGroundClearanceSupport")
    pd_min_coil_current: RationalNumber = field(name="PDMinCoilCurrent")
    pd_max_coil_current: RationalNumber = field(name="PDMaxCoilCurrent")
    sd_manufacturer_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="SDManufacturerSpecificDataContainer", default=()
    )


class WPT_AlignmentCheckReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle asks for a coil current in A to check the alignment with."""

    ev_processing: Processing = field(name="EVProcessing")
    target_coil_current: RationalNumber | None = field(name="TargetCoilCurrent", default=None)
    ev_result_code: WPT_EVResult = field(name="EVResultCode")
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="VendorSpecificDataContainer", default=()
    )


class WPT_AlignmentCheckRes(V2GResponse, frozen=True, kw_only=True):
    """Power sent (W) and current (A) of the primary device."""

    evse_processing: Processing = field(name="EVSEProcessing")
    power_transmitted: RationalNumber | None = field(name="PowerTransmitted", default=None)
    supply_device_current: RationalNumber | None = field(name="SupplyDeviceCurrent", default=None)
    vendor_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="VendorSpecificDataContainer", default=()
    )


class WPT_EVPCPowerControlParameter(Element, frozen=True, kw_only=True):
    """Coil current, output current (A) and output voltage (V) of the vehicle."""

    evpc_coil_current_request: RationalNumber = field(name="EVPCCoilCurrentRequest")
    evpc_coil_current_information: RationalNumber = field(name="EVPCCoilCurrentInformation")
    evpc_current_output_information: RationalNumber = field(name="EVPCCurrentOutputInformation")
    evpc_voltage_output_information: RationalNumber = field(name="EVPCVoltageOutputInformation")


class WPT_ChargeLoopReq(ChargeLoopReq, frozen=True, kw_only=True):
    """Power wanted and received in W; repeated as long as energy flows."""

    evpc_power_request: RationalNumber = field(name="EVPCPowerRequest")
    evpc_power_output: RationalNumber = field(name="EVPCPowerOutput")
    evpc_charge_diagnostics: WPT_EVPCChargeDiagnostics = field(name="EVPCChargeDiagnostics")
    evpc_operating_frequency: RationalNumber | None = field(name="EVPCOperatingFrequency", default=None)
    evpc_power_control_parameter: WPT_EVPCPowerControlParameter | None = field(
        name="EVPCPowerControlParameter", default=None
    )
    manufacturer_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="ManufacturerSpecificDataContainer", default=()
    )


class WPT_SPCPowerControlParameter(Element, frozen=True, kw_only=True):
    """Coil current of the primary device in A."""

    spc_primary_device_coil_current_information: RationalNumber = field(name="SPCPrimaryDeviceCoilCurrentInformation")


class WPT_ChargeLoopRes(ChargeLoopRes, frozen=True, kw_only=True):
    """Power taken from the grid and limits of the output in W."""

    evpc_power_request: RationalNumber = field(name="EVPCPowerRequest")
    sd_power_input: RationalNumber | None = field(name="SDPowerInput", default=None)
    spc_max_output_power_limit: RationalNumber = field(name="SPCMaxOutputPowerLimit")
    spc_min_output_power_limit: RationalNumber = field(name="SPCMinOutputPowerLimit")
    spc_charge_diagnostics: WPT_SPCChargeDiagnostics = field(name="SPCChargeDiagnostics")
    spc_operating_frequency: RationalNumber | None = field(name="SPCOperatingFrequency", default=None)
    spc_power_control_parameter: WPT_SPCPowerControlParameter | None = field(
        name="SPCPowerControlParameter", default=None
    )
    manufacturer_specific_data_container: Annotated[tuple[WPT_DataContainer, ...], Meta(max_length=16)] = field(
        name="ManufacturerSpecificDataContainer", default=()
    )


ELEMENTS: Final = {
    each.__name__: each
    for each in (
        WPT_FinePositioningSetupReq,
        WPT_FinePositioningSetupRes,
        WPT_FinePositioningReq,
        WPT_FinePositioningRes,
        WPT_PairingReq,
        WPT_PairingRes,
        WPT_ChargeParameterDiscoveryReq,
        WPT_ChargeParameterDiscoveryRes,
        WPT_AlignmentCheckReq,
        WPT_AlignmentCheckRes,
        WPT_ChargeLoopReq,
        WPT_ChargeLoopRes,
    )
}
