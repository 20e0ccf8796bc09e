"""ISO 15118-20 WPT: methods of positioning, pairing and alignment, and data of low-frequency (LF) antennas."""

from enum import Enum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import Choice, Element, Short, UnsignedByte, UnsignedShort
from v2g.iso15118.d20.messages.common_types import Identifier, NumericID, RationalNumber
from v2g.iso15118.d20.schemas import WPT

SCHEMA: Final = WPT

BSSID: TypeAlias = Annotated[str, Meta(max_length=12)]
IPAddress: TypeAlias = Annotated[str, Meta(max_length=39)]


class WPT_FinePositioningMethod(Enum):
    """Positioning method of the vehicle (WPT_FinePositioningMethodType)."""

    Manual = "Manual"
    LF_TxEV = "LF_TxEV"
    LF_TxPrimaryDevice = "LF_TxPrimaryDevice"
    LPE = "LPE"
    Proprietary = "Proprietary"


class WPT_PairingMethod(Enum):
    """Method by which vehicle and primary device identify each other (WPT_PairingMethodType)."""

    External_confirmation = "External confirmation"
    LPE = "LPE"
    LF_TxEV = "LF_TxEV"
    LF_TxPrimaryDevice = "LF_TxPrimaryDevice"
    Optical = "Optical"
    Proprietary = "Proprietary"


class WPT_AlignmentCheckMethod(Enum):
    """Method of the alignment check (WPT_AlignmentCheckMethodType)."""

    PowerCheck = "PowerCheck"
    LPE = "LPE"
    Proprietary = "Proprietary"


class WPT_FinePositioningMethodList(Element, frozen=True, kw_only=True):
    """Methods that are supported."""

    wpt_fine_positioning_method: Annotated[tuple[WPT_FinePositioningMethod, ...], Meta(min_length=1, max_length=8)] = (
        field(name="WPT_FinePositioningMethod")
    )


class WPT_PairingMethodList(Element, frozen=True, kw_only=True):
    """Methods that are supported."""

    wpt_pairing_method: Annotated[tuple[WPT_PairingMethod, ...], Meta(min_length=1, max_length=8)] = field(
        name="WPT_PairingMethod"
    )


class WPT_AlignmentCheckMethodList(Element, frozen=True, kw_only=True):
    """Methods that are supported."""

    wpt_alignment_check_method: Annotated[tuple[WPT_AlignmentCheckMethod, ...], Meta(min_length=1, max_length=8)] = (
        field(name="WPT_AlignmentCheckMethod")
    )


class WPT_CoordinateXYZ(Element, frozen=True, kw_only=True):
    """A position or a direction in space."""

    coord_x: Short = field(name="Coord_X")
    coord_y: Short = field(name="Coord_Y")
    coord_z: Short = field(name="Coord_Z")


class WPT_TxRxSpecData(Element, frozen=True, kw_only=True):
    """One low-frequency antenna: position and direction."""

    tx_rx_identifier: NumericID
    tx_rx_position: WPT_CoordinateXYZ
    tx_rx_orientation: WPT_CoordinateXYZ


class WPT_TxRxPulseOrder(Element, frozen=True, kw_only=True):
    """The place of an antenna in a pulse sequence."""

    index_number: UnsignedShort
    tx_rx_identifier: NumericID


class WPT_TxRxPackageSpecData(Element, frozen=True, kw_only=True):
    """Order and timing of the pulses in a package."""

    pulse_sequence_order: Annotated[tuple[WPT_TxRxPulseOrder, ...], Meta(min_length=2, max_length=255)]
    pulse_separation_time: UnsignedShort
    pulse_duration: UnsignedShort
    package_separation_time: UnsignedShort


class WPT_LF_TransmitterData(Element, frozen=True, kw_only=True):
    """The transmitting side of a low-frequency positioning system; signal frequency in Hz."""

    number_of_transmitters: UnsignedByte
    signal_frequency: RationalNumber
    tx_spec_data: Annotated[tuple[WPT_TxRxSpecData, ...], Meta(min_length=2, max_length=255)]
    tx_package_spec_data: WPT_TxRxPackageSpecData | None = None


class WPT_LF_ReceiverData(Element, frozen=True, kw_only=True):
    """The receiving side of a low-frequency positioning system."""

    number_of_receivers: UnsignedByte
    rx_spec_data: Annotated[tuple[WPT_TxRxSpecData, ...], Meta(min_length=2, max_length=255)]


class WPT_LF_SystemSetupData(Element, frozen=True, kw_only=True):
    """Set-up of a low-frequency positioning system: transmitter or receiver."""

    lf_transmitter_setup_data: Annotated[WPT_LF_TransmitterData | None, Choice("data")] = field(
        name="LF_TransmitterSetupData", default=None
    )
    lf_receiver_setup_data: Annotated[WPT_LF_ReceiverData | None, Choice("data")] = field(
        name="LF_ReceiverSetupData", default=None
    )


class WPT_LF_TxData(Element, frozen=True, kw_only=True):
    """Radiated power of one transmitter."""

    tx_identifier: NumericID
    eirp: RationalNumber = field(name="EIRP")


class WPT_LF_TxDataList(Element, frozen=True, kw_only=True):
    """Data of the transmitter."""

    wpt_lf_tx_data_list: WPT_LF_TxData = field(name="WPT_LF_TxDataList")


class WPT_LF_RxRSSI(Element, frozen=True, kw_only=True):
    """Received strength of one transmitter."""

    tx_identifier: NumericID
    rssi: RationalNumber


class WPT_LF_RxRSSIList(Element, frozen=True, kw_only=True):
    """Strengths at one receiver."""

    rssi_data_list: WPT_LF_RxRSSI


class WPT_LF_RxData(Element, frozen=True, kw_only=True):
    """Measurements of one receiver."""

    rx_identifier: NumericID
    rssi_data: WPT_LF_RxRSSIList


class WPT_LF_RxDataList(Element, frozen=True, kw_only=True):
    """Data of the receiver."""

    wpt_lf_rx_data_list: WPT_LF_RxData = field(name="WPT_LF_RxDataList")


class WPT_LF_DataPackage(Element, frozen=True, kw_only=True):
    """One package of positioning data: sent or received."""

    package_index: UnsignedByte
    lf_tx_data: Annotated[WPT_LF_TxDataList | None, Choice("data")] = field(name="LF_TxData", default=None)
    lf_rx_data: Annotated[WPT_LF_RxDataList | None, Choice("data")] = field(name="LF_RxData", default=None)


class WPT_LF_DataPackageList(Element, frozen=True, kw_only=True):
    """Packages of positioning data."""

    num_packages: UnsignedByte
    wpt_lf_data_package: WPT_LF_DataPackage = field(name="WPT_LF_DataPackage")


class AlternativeSECC(Element, frozen=True, kw_only=True):
    """Another charger; MAC and IPv6 address of its network in upper-case hexadecimal."""

    ssid: Identifier | None = None
    bssid: BSSID | None = None
    ip_address: IPAddress | None = field(name="IPAddress", default=None)
    port: UnsignedShort | None = None


class AlternativeSECCList(Element, frozen=True, kw_only=True):
    """Alternative chargers."""

    alternative_secc: Annotated[tuple[AlternativeSECC, ...], Meta(min_length=1, max_length=8)]


ELEMENTS: Final[dict[str, type[Element]]] = {}
