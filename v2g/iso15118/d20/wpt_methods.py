"""Methods of positioning, pairing and alignment check of a wireless vehicle, and their negotiation.

The charger's preference decides; the pairing method determines which side observes the other.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from v2g.iso15118.d20.messages import wpt_positioning as iso

PositioningMethod = Literal["Manual", "LF_TxEV", "LF_TxPrimaryDevice", "LPE", "Proprietary"]
PairingMethod = Literal["External confirmation", "LPE", "LF_TxEV", "LF_TxPrimaryDevice", "Optical", "Proprietary"]
AlignmentMethod = Literal["PowerCheck", "LPE", "Proprietary"]

OBSERVED_BY_VEHICLE: Final = frozenset({"LPE", "Optical", "LF_TxPrimaryDevice", "Proprietary"})
"""Methods of pairing in which the vehicle observes the device and sends its id."""

OBSERVED_BY_DEVICE: Final = "LF_TxEV"
"""The method of pairing in which the device observes the vehicle and sends its id."""

BY_PERSON: Final = "Manual"
"""The method of positioning by the driver or vehicle alone."""


class MethodLists(msgspec.Struct, frozen=True):
    """One side's methods, as sent to the other."""

    positioning: iso.WPT_FinePositioningMethodList
    pairing: iso.WPT_PairingMethodList
    alignment: iso.WPT_AlignmentCheckMethodList


class Methods(msgspec.Struct, frozen=True):
    """The agreed methods, by the names of the schema; None if there is no common one."""

    positioning: str | None
    pairing: str | None
    alignment: str | None

    @property
    def missing(self) -> str:
        """The kind without a common method, or empty."""
        return next((name for name in self.__struct_fields__ if getattr(self, name) is None), "")


def method_lists(positioning: Sequence[str], pairing: Sequence[str], alignment: Sequence[str]) -> MethodLists:
    """Return methods in the form of messages, in the same order. Raises ValueError for an unknown name."""
    return MethodLists(
        iso.WPT_FinePositioningMethodList(
            wpt_fine_positioning_method=tuple(iso.WPT_FinePositioningMethod(each) for each in positioning)
        ),
        iso.WPT_PairingMethodList(wpt_pairing_method=tuple(iso.WPT_PairingMethod(each) for each in pairing)),
        iso.WPT_AlignmentCheckMethodList(
            wpt_alignment_check_method=tuple(iso.WPT_AlignmentCheckMethod(each) for each in alignment)
        ),
    )


def agree(charger: MethodLists, vehicle: MethodLists) -> Methods:
    """Return the first of the charger's methods that the vehicle supports, too, of each kind."""
    return Methods(
        _common(charger.positioning.wpt_fine_positioning_method, vehicle.positioning.wpt_fine_positioning_method),
        _common(charger.pairing.wpt_pairing_method, vehicle.pairing.wpt_pairing_method),
        _common(charger.alignment.wpt_alignment_check_method, vehicle.alignment.wpt_alignment_check_method),
    )


_AnyMethod = iso.WPT_FinePositioningMethod | iso.WPT_PairingMethod | iso.WPT_AlignmentCheckMethod


def _common(charger: Sequence[_AnyMethod], vehicle: Sequence[_AnyMethod]) -> str | None:
    return next((each.value for each in charger if each in vehicle), None)
