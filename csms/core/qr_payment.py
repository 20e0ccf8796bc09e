"""QR codes of payment: the address in them is decoded, and its one-time password checked (C25)."""

import hashlib
import hmac
import re
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from v2g.errors import RefusedError
from v2g.ocpp.messages.transactions import TransactionLimit

ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VERSION: Final = "v1"
"""The only algorithm that OCPP 2.1 defines."""

_PLACES: Final = ("chargingstationid", "evse", "roamingevseid", "totp", "version")
_LIMITS: Final = ("maxenergy", "maxtime", "maxcost")


class QrCode(msgspec.Struct, frozen=True, kw_only=True):
    """How a station makes the addresses that it shows; `shared_secret` is known to it and to us alone.

    `template` as in WebPaymentsCtrlr.URLTemplate; each password is good for `validity_s` and has `length` characters.
    """

    template: str
    shared_secret: str
    validity_s: int = 30
    length: int = 8


class Scanned(msgspec.Struct, frozen=True, kw_only=True):
    """What an address says; `evse_id` when it names one, `limit` what the driver chose at the station (C25.FR.59)."""

    station_id: str
    evse_id: int | None
    totp: str
    limit: TransactionLimit | None


def decode(url: str, template: str) -> Scanned:
    """Return what a scanned address says (C25.FR.09). Raises RefusedError for one that the template does not make."""
    pattern = _pattern(template)
    try:
        address = urlsplit(url)
    except ValueError as error:
        raise RefusedError(f"this is no address: {error}"[:200], reason="address") from None
    bare = url.split("?", 1)[0].split("#", 1)[0].rstrip("/")
    match = pattern.fullmatch(bare)
    if match is None:
        raise RefusedError("this is no address that the station shows", reason="address")
    found = {name: unquote(value) for name, value in match.groupdict().items()}
    if found.get("version", VERSION) != VERSION:
        raise RefusedError(f"one-time passwords of version {found['version'][:10]!r} are not known", reason="version")
    evse = found.get("evse")
    if evse is not None and (not evse.isdecimal() or len(evse) > 10 or not 0 < int(evse) < 2**31):
        raise RefusedError(f"{evse[:10]!r} is no EVSE", reason="address")
    return Scanned(
        station_id=found["chargingstationid"],
        evse_id=int(evse) if evse else None,
        totp=found["totp"],
        limit=_limit(parse_qs(address.query)),
    )


def check_template(template: str) -> None:
    """Raise RefusedError for a template that does not name station, password and its version (C25.FR.50)."""
    if not template.startswith("https://"):
        raise RefusedError("a template begins with https://", reason="template")
    for name in ("chargingstationid", "totp", "version"):
        if template.count(f"{{{name}}}") != 1:
            raise RefusedError(f"the template needs {{{name}}} once", reason="template")


def totp(code: QrCode, at_ms: int, *, intervals: int = 0) -> str:
    """Return the one-time password at a time (UTC), or so many intervals later."""
    interval = at_ms // 1000 // code.validity_s + intervals
    digest = hmac.digest(code.shared_secret.encode(), interval.to_bytes(8, "big"), hashlib.sha256)
    offset = digest[-1] & 0x0F
    return "".join(ALPHABET[digest[(offset + place) % len(digest)] % len(ALPHABET)] for place in range(code.length))


def is_valid(given: str, code: QrCode, at_ms: int) -> bool:
    """Say whether a one-time password is that of now, or of the interval before or after (C25.FR.07)."""
    near = (totp(code, at_ms, intervals=each) for each in (-1, 0, 1))
    return sum(hmac.compare_digest(given.encode(), each.encode()) for each in near) > 0


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template.rstrip("/"))
    text = "".join(
        (f"(?P<{part}>[^/?#]+)" if part in _PLACES else "[^/?#]*") if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )
    return re.compile(text)


def _limit(query: dict[str, list[str]]) -> TransactionLimit | None:
    """Return the limits in an address; those that are no number are ignored, as is everything else (C25.FR.60)."""
    given = {name: query[name][-1] for name in _LIMITS if name in query}
    numbers = {name: float(text) for name, text in given.items() if re.fullmatch(r"\d{1,9}(\.\d{1,4})?", text)}
    if not numbers:
        return None
    time = numbers.get("maxtime")
    return TransactionLimit(
        max_energy=numbers.get("maxenergy"),
        max_time=None if time is None else int(time),
        max_cost=numbers.get("maxcost"),
    )
