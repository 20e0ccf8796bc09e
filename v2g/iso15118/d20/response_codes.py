"""The response codes of ISO 15118-20: where each has its place, and when the charger sends it."""

from typing import Final

from v2g.iso15118.engine.response_codes import CodeUse
from v2g.tables import table

USES: Final = table("v2g.iso15118.d20", "response_codes.toml", dict[str, CodeUse])
"""Code -> its use, in the order of the schema."""
