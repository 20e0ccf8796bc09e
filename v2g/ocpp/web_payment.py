"""Web payment by QR code (C25): the address in the code and its one-time password, shared by station and
CSMS."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final
from urllib.parse import quote

import msgspec

from v2g.errors import RefusedError
from v2g.ocpp.messages.transactions import TransactionLimit

ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VERSION: Final = "v1"
"""The only algorithm that OCPP 2.1 defines."""

PLACES: Final = ("chargingstationid", "evse", "roamingevseid", "totp", "version")
LIMITS: Final[Mapping[str, str]] = {"maxenergy": "max_energy", "maxtime": "max_time", "maxcost": "max_cost"}
"""Query parameter -> limit of a transaction chosen by the driver (C25.FR.56 to .58)."""


class QrCode(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of addresses in QR codes; only station and CSMS know `shared_secret`, empty for a static code.

    `template` as in WebPaymentsCtrlr.URLTemplate; each password is valid for `validity_s` and has `length` characters.
    """

    template: str
    shared_secret: str
    validity_s: int = 30
    length: int = 8

    @property
    def is_static(self) -> bool:
        """Whether it is printed, without a one-time password."""
        return not self.shared_secret


def totp(code: QrCode, at_ms: int, *, intervals: int = 0) -> str:
    """Return the one-time password at a time (UTC), or some intervals later."""
    interval = at_ms // 1000 // code.validity_s + intervals
    digest = hmac.digest(code.shared_secret.encode(), interval.to_bytes(8, "big"), hashlib.sha256)
    offset = digest[-1] & 0x0F
    return "".join(ALPHABET[digest[(offset + place) % len(digest)] % len(ALPHABET)] for place in range(code.length))


def address(code: QrCode, places: Mapping[str, str], at_ms: int, limit: TransactionLimit | None = None) -> str:
    """Return the address at a time, with the driver's choices (C25.FR.51 to .58).

    `places` has values of `chargingstationid`, `evse`, `roamingevseid`; missing ones are left empty.
    """
    values = dict(places)
    if not code.is_static:
        values |= {"totp": totp(code, at_ms), "version": VERSION}
    url = re.sub(r"\{(\w+)\}", lambda found: quote(values.get(found[1], ""), safe="*"), code.template)
    given = [(name, getattr(limit, field)) for name, field in LIMITS.items()] if limit is not None else []
    query = "&".join(f"{name}={_plain(value)}" for name, value in given if value is not None)
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


def check_template(template: str, *, static: bool = False) -> None:
    """Raise RefusedError for a template without station, password or version (C25.FR.50).

    One of a static code contains the station alone.
    """
    if not template.startswith("https://"):
        raise RefusedError("a template must begin with https://", reason="template")
    if any(template.count(f"{{{name}}}") > 1 for name in PLACES):
        raise RefusedError("the template must not repeat a placeholder", reason="template")
    ids = template.count("{chargingstationid}"), template.count("{roamingevseid}")
    if sorted(ids) != [0, 1]:
        raise RefusedError("the template must contain {chargingstationid} or {roamingevseid} once", reason="template")
    for name in ("totp", "version"):
        if template.count(f"{{{name}}}") != (not static):
            wanted = "no" if static else "once"
            raise RefusedError(f"the template needs {{{name}}} {wanted}", reason="template")


def _plain(value: float) -> str:
    """Return a number without exponent or trailing zeros, four decimals at most."""
    return format(round(Decimal(str(value)), 4).normalize(), "f")
