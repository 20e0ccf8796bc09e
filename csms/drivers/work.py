"""Addresses of drivers' pages, whose codes show that this back end has made them."""

import base64
import hmac
from typing import Final
from urllib.parse import quote

from csms.services import Services

_PURPOSE: Final = "pages of drivers"
_OCTETS: Final = 10


def evse_address(services: Services, station_id: str, evse_id: int) -> str:
    """Return the path that an EVSE's QR code opens."""
    return f"/q/{quote(station_id, safe='')}/{evse_id}/{code_for(services, 'evse', station_id, str(evse_id))}"


def opens(services: Services, code: str, *parts: str) -> bool:
    """Return whether a code opens the page of an EVSE (`evse`, station, number) or session (`session`, station, id),
    or payment (`payment`, number)."""
    return hmac.compare_digest(code.encode(), code_for(services, *parts).encode())


def code_for(services: Services, *parts: str) -> str:
    """Return the code that opens the page of these parts and no others: 16 letters and digits."""
    said = "\0".join(f"{len(each)}:{each}" for each in parts)
    key = services.store_key.derive(_PURPOSE).encode()
    return base64.b32encode(hmac.digest(key, said.encode(), "sha256")[:_OCTETS]).decode().lower()
