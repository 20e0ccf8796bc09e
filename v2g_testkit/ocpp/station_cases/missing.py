"""Certification cases for stations that the command does not have, by the reason: `B_47`; a range: `B_100-113`."""

from collections.abc import Mapping
from typing import Final

MISSING: Final[Mapping[str, tuple[str, ...]]] = {
    "needs a vehicle with ISO 15118 that follows the case": (
        "C_50-55", "E_46", "K_53-58", "K_113-117", "M_24-29", "N_63", "Q_100-130",
    ),
    "of OCPP 2.1, and not written yet": (
        "B_100-113", "C_100", "C_127-130", "E_100-116", "F_100", "I_101", "I_107-108", "I_112", "I_118-119", "K_112",
        "K_118-123", "N_100-109", "R_100-108",
    ),
    "needs a payment terminal that follows the case": ("C_103-124",),
    "needs an external system that limits the station": ("K_52", "K_124-125"),
    "needs the key of the back end's root in use, and a station that replaces it (AdditionalRootCertificateCheck)": (
        "B_47", "M_30-31",
    ),
    "needs a person who chooses transactions at the station": ("C_47-48",),
    "needs a station whose transactions start with a signed value": ("E_11",),
    "needs a lock that fails": ("G_20",),
    "asks for a value that the official schema does not allow": ("N_04", "N_07"),
    "needs a hard-wired monitor that can be triggered": ("N_21", "N_44"),
    "needs a station without logs": ("N_34",),
    "published without a readable title or steps": ("M_100-101", "N_61"),
    "needs a station that swaps batteries": ("S_102-105",),
}  # fmt: skip
