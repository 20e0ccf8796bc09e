"""Service ids of ISO 15118-20 (Table 204), and those of Amendment 1 as public implementations of its draft use them."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

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
    ServiceId.WPT: EnergyTransfer(Family.WPT),
    ServiceId.DC_ACDP: EnergyTransfer(Family.ACDP),
    ServiceId.DC_ACDP_BPT: EnergyTransfer(Family.ACDP, bidirectional=True),
}
"""Supported energy services, by id."""
