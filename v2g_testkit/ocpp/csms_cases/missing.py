"""Certification cases for back ends that the command does not have, by the reason: `M_101`, or a range: `O_100-101`."""

from collections.abc import Mapping
from typing import Final

MISSING: Final[Mapping[str, tuple[str, ...]]] = {
    "published without a title or steps": ("M_101", "N_104", "O_100-101", "Q_111-112"),
    "of stations that swap batteries": ("S_102-103",),
}  # fmt: skip
