"""Certification cases for stations that the command does not have, by the reason: `B_47`; a range: `B_100-113`."""

from collections.abc import Mapping
from typing import Final

MISSING: Final[Mapping[str, tuple[str, ...]]] = {
    "needs the key of the back end's root in use, and a station that replaces it (AdditionalRootCertificateCheck)": (
        "B_47", "M_30-31",
    ),
    "asks for a value that the official schema does not allow": ("N_04", "N_07"),
    "needs a station without logs": ("N_34",),
    "published without a readable title or steps": ("M_100-101", "N_61"),
    "needs a station that swaps batteries": ("S_102-105",),
}  # fmt: skip
