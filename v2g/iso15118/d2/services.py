"""Services of ISO 15118-2 with a fixed ServiceID."""

from typing import Final

CHARGE_SERVICE: Final = 1
"""AC_DC_Charging, which every session has."""

CONTRACT_SERVICE: Final = 2
"""Certificate: installation and update of contracts."""

INTERNET_SERVICE: Final = 3
"""InternetAccess."""
