"""Addresses of drivers' pages, whose codes show that this back end has made them."""

import base64
import hmac
from typing import Final
from urllib.parse import quote

from csms.services import Services

_PURPOSE: Final = "pages of drivers"
_OCTETS: Final = 10


def code_of(key: str, *parts: str) -> str:
    """Return the code of an address: 16 letters and digits, of these parts and no others."""
    said = "\0".join(f"{len(each)}:{each}" for each in parts)
    return base64.b32encode(hmac.digest(key.encode(), said.encode(), "sha256")[:_OCTETS]).decode().lower()


def is_code(key: str, code: str, *parts: str) -> bool:
    """Return whether a code is that of an address."""
    return hmac.compare_digest(code.encode(), code_of(key, *parts).encode())


def evse_address(services: Services, station_id: str, evse_id: int) -> str:
    """Return the path that an EVSE's QR code opens."""
    return f"/q/{quote(station_id, safe='')}/{evse_id}/{code_for(services, 'evse', station_id, str(evse_id))}"


def session_code(services: Services, station_id: str, transaction_id: str) -> str:
    """Return the code of a session's page."""
    return code_for(services, "session", station_id, transaction_id)


def opens(services: Services, code: str, *parts: str) -> bool:
    """Return whether a code opens the page of an EVSE (`evse`, station, number) or session (`session`, station, id),
    or payment (`payment`, number)."""
    return is_code(services.store_key.derive(_PURPOSE), code, *parts)


def code_for(services: Services, *parts: str) -> str:
    """Return the code that opens the page of these parts."""
    return code_of(services.store_key.derive(_PURPOSE), *parts)
