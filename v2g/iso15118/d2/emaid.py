"""Comparison of eMAIDs in ISO 15118-2: vehicles write hyphens, lower case, and the check digit or not."""

from typing import Final

from v2g.pki.certificates import normalize_emaid

_WITHOUT_CHECK_DIGIT: Final = 14


def is_same_contract(emaid: str, other: str) -> bool:
    """Return whether two eMAIDs name one contract; a check digit counts only where both have one."""
    first, second = sorted((normalize_emaid(emaid), normalize_emaid(other)), key=len)
    checked = len(first) == _WITHOUT_CHECK_DIGIT and len(second) == _WITHOUT_CHECK_DIGIT + 1
    return first == (second[:_WITHOUT_CHECK_DIGIT] if checked else second)
