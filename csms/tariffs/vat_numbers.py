"""Forms of VAT numbers: European Union, United Kingdom, Norway and Switzerland."""

import re
from typing import Final

from v2g.tables import table

_FORMS: Final = table("csms.tariffs", "vat_numbers.toml", dict[str, str])


def vat_number_fits(number: str) -> bool:
    """Return whether a number has its country's form; points, spaces and hyphens are ignored."""
    text = re.sub(r"[ .-]", "", number).upper()
    form = _FORMS.get(text[:2])
    return form is not None and re.fullmatch(form, text[2:], re.ASCII) is not None
