"""QR codes of payment: decoding of their addresses, and verification of one-time passwords (C25)."""

import hmac
import re
from urllib.parse import parse_qs, unquote

import msgspec

from v2g.errors import RefusedError
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.ocpp.web_payment import LIMITS, PLACES, VERSION, QrCode, check_template, totp


class Scanned(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded address; `evse_id` if it names one, `limit` the driver's choice at the station (C25.FR.59).

    `totp` is empty for an address without one.
    """

    station_id: str
    evse_id: int | None
    totp: str
    limit: TransactionLimit | None


def decode(url: str, template: str) -> Scanned:
    """Return a decoded address (C25.FR.09). Raises RefusedError for one that does not match the template."""
    bare, _, query = url.partition("#")[0].partition("?")
    parts = re.split(r"\{(\w+)\}", template.removesuffix("/"))
    text = "".join(
        (f"(?P<{part}>[^/?#]+)" if part in PLACES else "[^/?#]*") if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )
    match = re.compile(text).fullmatch(bare.removesuffix("/"))
    if match is None:
        raise RefusedError("the address does not match the station's template", reason="address")
    found = {name: unquote(value) for name, value in match.groupdict().items()}
    if found.get("version", VERSION) != VERSION:
        raise RefusedError(f"unknown version {found['version'][:10]!r} of one-time passwords", reason="version")
    evse = found.get("evse")
    if evse is not None and (not evse.isdecimal() or len(evse) > 10 or not 0 < int(evse) < 2**31):
        raise RefusedError(f"invalid EVSE {evse[:10]!r}", reason="address")
    return Scanned(
        station_id=found["chargingstationid"],
        evse_id=int(evse) if evse else None,
        totp=found.get("totp", ""),
        limit=_limit(parse_qs(query)),
    )


def check_own_template(template: str, *, static: bool = False) -> None:
    """Raise RefusedError for a template that `decode` could not parse (C25.FR.50).

    It must name the station, since addresses with a roaming EVSE id lead to another service, and all in the path.
    """
    check_template(template, static=static)
    if "{chargingstationid}" not in template:
        raise RefusedError("the template must contain {chargingstationid} once", reason="template")
    if "?" in template or "#" in template:
        raise RefusedError("the template must not contain ? or #: stations add the query", reason="template")


def is_valid(given: str, code: QrCode, at_ms: int) -> bool:
    """Return whether a one-time password is that of the present, previous or next interval (C25.FR.07).

    A static code has none, so there is nothing to check.
    """
    if code.is_static:
        return True
    near = (totp(code, at_ms, intervals=each) for each in (-1, 0, 1))
    return sum(hmac.compare_digest(given.encode(), each.encode()) for each in near) > 0


def _limit(query: dict[str, list[str]]) -> TransactionLimit | None:
    """Return the limits in an address; invalid numbers and unknown parameters are ignored (C25.FR.60)."""
    given = {name: query[name][-1] for name in LIMITS if name in query}
    numbers = {name: float(text) for name, text in given.items() if re.fullmatch(r"\d{1,9}(\.\d{1,4})?", text)}
    if not numbers:
        return None
    time = numbers.get("maxtime")
    return TransactionLimit(
        max_energy=numbers.get("maxenergy"),
        max_time=None if time is None else int(time),
        max_cost=numbers.get("maxcost"),
    )
