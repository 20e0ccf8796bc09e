"""Service ids of ISO 15118-20 (Table 204), and those of Amendment 1 as other implementations use them."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final, Literal

import msgspec

from v2g.energy.grid_support import Function
from v2g.exi.declare import Schema
from v2g.iso15118.d20 import schemas
from v2g.iso15118.d20.charts import Family


class ServiceId(IntEnum):
    """Values of serviceIDType. 8 to 11 are Amendment 1's, not verified against its published text."""

    AC = 1
    DC = 2
    WPT = 3
    DC_ACDP = 4
    AC_BPT = 5
    DC_BPT = 6
    DC_ACDP_BPT = 7
    MCS = 8
    MCS_BPT = 9
    AC_DER_IEC = 10
    AC_DER_SAE = 11
    INTERNET = 65
    PARKING_STATUS = 66


class EnergyTransfer(msgspec.Struct, frozen=True):
    """An energy service: its set of messages, and whether energy may flow back."""

    family: Family
    bidirectional: bool = False


ENERGY_TRANSFER: Final[Mapping[int, EnergyTransfer]] = {
    ServiceId.AC: EnergyTransfer(Family.AC),
    ServiceId.AC_BPT: EnergyTransfer(Family.AC, bidirectional=True),
    ServiceId.DC: EnergyTransfer(Family.DC),
    ServiceId.DC_BPT: EnergyTransfer(Family.DC, bidirectional=True),
    ServiceId.MCS: EnergyTransfer(Family.DC),
    ServiceId.MCS_BPT: EnergyTransfer(Family.DC, bidirectional=True),
    ServiceId.AC_DER_IEC: EnergyTransfer(Family.AC, bidirectional=True),
    ServiceId.AC_DER_SAE: EnergyTransfer(Family.AC, bidirectional=True),
    ServiceId.WPT: EnergyTransfer(Family.WPT),
    ServiceId.DC_ACDP: EnergyTransfer(Family.ACDP),
    ServiceId.DC_ACDP_BPT: EnergyTransfer(Family.ACDP, bidirectional=True),
}
"""Supported energy services, by id."""

Flavour = Literal["iec", "sae"]
"""The two rules by which AC DER supports the grid: those of IEC (Annex L) and of SAE (Annex M)."""
AC_DER: Final[Mapping[Flavour, ServiceId]] = {"iec": ServiceId.AC_DER_IEC, "sae": ServiceId.AC_DER_SAE}
"""Flavour -> its service."""
DER_SCHEMAS: Final[Mapping[int, Schema]] = {
    ServiceId.AC_DER_IEC: schemas.AC_DER_IEC,
    ServiceId.AC_DER_SAE: schemas.AC_DER_SAE,
}
"""Service of AC DER -> schema of its messages."""

DER_FUNCTIONS: Final[Mapping[int, Function]] = {
    0: "over_frequency_watt",
    1: "under_frequency_watt",
    2: "volt_watt",
    3: "volt_var",
    4: "watt_var",
    5: "watt_cos_phi",
    6: "q_setpoint",
    7: "cos_phi_setpoint",
    8: "dc_injection",
    9: "zero_current",
    10: "over_ride_through",
    11: "under_ride_through",
}
"""Bit of the parameter DERControlFunctions -> the function that the charger demands. By EVerest only."""

DER_MODES: Final[Mapping[Function, tuple[int, ...]]] = {
    "cos_phi_setpoint": (4, 5),
    "q_setpoint": (6,),
    "over_frequency_watt": (8,),
    "under_frequency_watt": (8,),
    "volt_var": (23,),
    "volt_watt": (24,),
    "watt_var": (26,),
}
"""Function -> its bits in SupportedModes and EnabledModes of AC DER by SAE. By EVerest only."""

DER_PARAMETER: Final = "DERControlFunctions"
DER_PARAMETERS: Final = (DER_PARAMETER, "DERControlFunctionsBitmap")
"""Names of that parameter: EVerest's, which is sent, and that of a heading in the amendment, as quoted by Vedecom."""

PARAMETERS: Final = frozenset(
    {
        *("Connector", "ControlMode", "EVSENominalVoltage", "MobilityNeedsMode", "Pricing", *DER_PARAMETERS),
        *("BPTChannel", "GeneratorMode", "GridCodeIslandingDetectionMethod", "DetectionMethodGridCodeIslanding"),
    }
)
"""Parameters of energy services that have a meaning here."""


def der_mask(functions: Iterable[str]) -> int:
    """Return functions as DERControlFunctions."""
    asked = frozenset(functions)
    return sum(1 << bit for bit, function in DER_FUNCTIONS.items() if function in asked)


def der_functions(mask: int) -> tuple[frozenset[Function], bool]:
    """Return the functions of DERControlFunctions, and whether that is all: no bit is unknown."""
    found = {bit: function for bit, function in DER_FUNCTIONS.items() if mask >> bit & 1}
    return frozenset(found.values()), mask == sum(1 << bit for bit in found)
