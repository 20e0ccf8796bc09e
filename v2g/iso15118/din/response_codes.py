"""The response codes of DIN 70121: where each has its place, and when the charger sends it.

The schema also has codes of contracts, whose messages no session uses.
"""

from collections.abc import Mapping
from typing import Final

from v2g.iso15118.engine.response_codes import CodeUse
from v2g.tables import table

USES: Final = table("v2g.iso15118.din", "response_codes.toml", dict[str, CodeUse])
"""Code -> its use, in the order of the schema."""

NAMES_OF_2: Final[Mapping[str, str]] = {
    "FAILED_WrongEnergyTransferMode": "FAILED_WrongEnergyTransferType",
    "FAILED_NoChargeServiceSelected": "FAILED_ServiceSelectionInvalid",
    "FAILED_ContactorError": "FAILED_PowerDeliveryNotApplied",
}
"""Code of ISO 15118-2 that DIN 70121 lacks -> the one that says it here."""
