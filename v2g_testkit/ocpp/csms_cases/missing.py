"""Certification cases for back ends that the command does not have, by the reason: `H_07`, or `A_01-19` for a range."""

from collections.abc import Mapping
from typing import Final

MISSING: Final[Mapping[str, tuple[str, ...]]] = {
    "of OCPP 2.1, and not written yet": ("B_58", "B_105", "K_101", "K_109", "N_107", "Q_124"),
    "published without a title or steps": ("M_101", "N_104", "O_100-101", "Q_111-112"),
    "of stations that swap batteries": ("S_102-103",),
}  # fmt: skip
