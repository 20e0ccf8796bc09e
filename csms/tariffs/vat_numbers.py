"""Forms of VAT numbers: European Union, United Kingdom, Norway and Switzerland."""

import re
from typing import Final

_BRITISH: Final = r"\d{9}(\d{3})?|(GD|HA)\d{3}"
"""Also of branches, government departments and health authorities; those of Northern Ireland have the same forms."""

_FORMS: Final = {
    "AT": r"U\d{8}",
    "BE": r"[01]\d{9}",
    "BG": r"\d{9,10}",
    "CH": r"E\d{9}(MWST|TVA|IVA)?",
    "CY": r"\d{8}[A-Z]",
    "CZ": r"\d{8,10}",
    "DE": r"\d{9}",
    "DK": r"\d{8}",
    "EE": r"\d{9}",
    "EL": r"\d{9}",
    "ES": r"[A-Z0-9]\d{7}[A-Z0-9]",
    "FI": r"\d{8}",
    "FR": r"[A-Z0-9]{2}\d{9}",
    "GB": _BRITISH,
    "HR": r"\d{11}",
    "HU": r"\d{8}",
    "IE": r"\d[A-Z0-9+*]\d{5}[A-Z]{1,2}",
    "IT": r"\d{11}",
    "LT": r"\d{9}(\d{3})?",
    "LU": r"\d{8}",
    "LV": r"\d{11}",
    "MT": r"\d{8}",
    "NL": r"\d{9}B\d{2}",
    "NO": r"\d{9}(MVA)?",
    "PL": r"\d{10}",
    "PT": r"\d{9}",
    "RO": r"\d{2,10}",
    "SE": r"\d{10}01",
    "SI": r"\d{8}",
    "SK": r"\d{10}",
    "XI": _BRITISH,
}


def vat_number_fits(number: str) -> bool:
    """Return whether a number has its country's form; points, spaces and hyphens are ignored."""
    text = re.sub(r"[ .-]", "", number).upper()
    form = _FORMS.get(text[:2])
    return form is not None and re.fullmatch(form, text[2:], re.ASCII) is not None
