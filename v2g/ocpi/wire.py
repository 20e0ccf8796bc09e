"""The transport of OCPI, and one inner form of its objects with a reader and a writer for each version.

The inner form is that of 2.3.0 as plain JSON values, numbers as int or Decimal. Readers are tolerant, as partners are
not strict: unknown fields and values stay, numbers may be text, times may lack their zone (then they are UTC).
"""

import base64
import binascii
import codecs
import contextlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final, Literal, TypeVar, cast
from urllib.parse import parse_qsl, urlencode

import msgspec

from v2g import typed_json
from v2g.errors import OcpiError
from v2g.ocpi.objects import OpenEnum

T = TypeVar("T")
Version = Literal["2.3.0", "2.2.1"]
VERSIONS: Final[tuple[Version, ...]] = ("2.3.0", "2.2.1")
"""The best one first."""

MOST_LISTED: Final = 200
"""Objects in an answer."""

_GREATEST: Final = 10
"""Powers of ten: sums of less than 10^11, and their millionths, are integers of databases."""
_LEAST: Final = -30
_DEEPEST: Final = 50
"""Levels of values within values; OCPI has ten."""

_ONLY_230: Final = frozenset({"tax_included", "help_phone", "parking_places", "hub_party_id", "parking",
                              "accepted_service_providers", "nuts", "parking_spaces", "disabled_spaces"})  # fmt: skip
"""Members that older partners do not know; those of our own come last."""

_DESCRIBES: Final = frozenset({"energy_mix", "help_phone", "meter_id", "name", "opening_times", "operator",
                               "parking_restrictions", "postal_code", "remark", "state"})  # fmt: skip
"""Members without which a place is still known, and a CDR is still billed."""

_LIMITS: Final = ("min_price", "max_price")
_PARKING_221: Final = frozenset({"EV_ONLY", "PLUGGED", "DISABLED", "CUSTOMERS", "MOTORCYCLES"})
_PLAIN_221: Final = 512


_encoder: Final = msgspec.json.Encoder(decimal_format="number")
_X: Final = rb"[0-9a-fA-F]"
_ESCAPED: Final = re.compile(
    rb"(\\u[dD][89abAB]%b{2}\\u[dD][c-fC-F]%b{2}|\\[^u])|\\u(?:0000|[dD][89a-fA-F]%b{2})" % (_X, _X, _X)
)
"""Escapes in JSON; without a group those of no text: NUL, and half a character, as of one that was cut off."""


def decode(data: bytes) -> object:
    """Return JSON as plain values, numbers exact. Raises OcpiError (HTTP 400).

    What is no text is replaced: databases and decoders refuse it, and all that comes with it. A byte order mark, which
    some servers send, is ignored (RFC 8259, 8.1).
    """
    data = _ESCAPED.sub(lambda found: found[1] or b"\\ufffd", data.removeprefix(codecs.BOM_UTF8))
    try:
        return typed_json.decode_exact(data)
    except msgspec.DecodeError as error:
        raise OcpiError(f"the body is not JSON: {error}", code=2001, http=400) from None


def encode(value: object) -> bytes:
    """Return plain values or objects as JSON, Decimals as numbers."""
    return _encoder.encode(value)


def read(value: object, kind: type[T]) -> T:
    """Return plain values of the inner form as an object, also one that a partner has put into a list. Raises OcpiError
    (2001), which names the field."""
    if isinstance(value, list) and len(value) == 1 and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        value = value[0]
    try:
        try:
            found = typed_json.convert(value, kind, strict=False)
        except msgspec.ValidationError:
            found = typed_json.convert(_meant(value, kind), kind, strict=False)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise OcpiError(str(error), code=2001) from None
    _check(found)
    return found


def _meant(value: object, hint: object) -> object:
    """Return a value of a field of this type as what its partner means by it: numbers for texts, parts of an A, enums
    and currencies in small letters, empty texts for what is left out, and no description that cannot be read."""
    parts = list(typed_json.parts(hint))
    struct = next(typed_json.structs_in(hint), None)
    match value:
        case list() if struct is not None:
            return [_meant(each, struct) for each in value]
        case dict() if struct is not None:
            found = {}
            for field in msgspec.structs.fields(struct):
                if field.encode_name not in value or (value[field.encode_name] == "" and not field.required):
                    continue
                meant = _meant(value[field.encode_name], field.type)
                if field.required or field.encode_name not in _DESCRIBES or _reads(meant, field.type):
                    found[field.encode_name] = meant
            return found
        case list() if OpenEnum in parts:
            return [each.upper() if isinstance(each, str) else each for each in value]
        case str() if not _reads(value, hint) and _reads(value.upper(), hint):
            return value.upper()
        case str() if datetime in parts:
            return value.strip().replace(",", ".")
        case int() | Decimal() if str in parts and not isinstance(value, bool):
            return format(value, "f") if isinstance(value, Decimal) else str(value)
        case Decimal() if int in parts and value.is_finite():
            return int(value)
    return value


def _reads(value: object, hint: object) -> bool:
    try:
        typed_json.convert(value, hint, strict=False)
    except (msgspec.ValidationError, ValueError):
        return False
    return True


def read_kept(document: str, kind: type[T]) -> T:
    """Return a partner's object as it is stored: as it was sent, so maybe with numbers as text. Raises OcpiError."""
    return read(typed_json.decode_exact(document.encode()), kind)


def _check(value: object) -> None:
    """Raise OcpiError (2001) for a text such as `NaN` or `1e999` that was read as a number, or a time that is none."""
    if isinstance(value, Decimal):
        exact(value)
    elif isinstance(value, datetime):
        try:
            moment(utc_ms(value))
        except (ValueError, OverflowError):
            raise OcpiError(f"{value} is not a time", code=2001) from None
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _check(getattr(value, name))
    elif isinstance(value, tuple):
        for each in value:
            _check(each)


def plain(value: object) -> object:
    """Return an object as plain values; Decimals and datetimes stay."""
    return cast(object, msgspec.to_builtins(value, builtin_types=(Decimal, datetime)))


def inner(value: object, key: str = "", depth: int = 0) -> object:
    """Return plain values of any version in the inner form. Raises OcpiError (2001) where they are nested too deep.

    A price that is not a number stays text, for `read` to refuse the object that has it.
    """
    if depth > _DEEPEST:
        raise OcpiError("it is nested too deep", code=2001)
    if isinstance(value, list):
        return [inner(each, key, depth + 1) for each in value]
    if not isinstance(value, dict):
        return value
    if "excl_vat" in value:
        net, gross = _price(value["excl_vat"]), _price(value.get("incl_vat"))
        if key in _LIMITS:
            return {"before_taxes": net} | ({} if gross is None else {"after_taxes": gross})
        amount = gross - net if isinstance(gross, Decimal) and isinstance(net, Decimal) else gross
        return {"before_taxes": net} | ({} if gross is None else {"taxes": [{"name": "VAT", "amount": amount}]})
    return {name: inner(each, name, depth + 1) for name, each in value.items() if each is not None}


def _price(value: object) -> object:
    with contextlib.suppress(OcpiError):
        return value if value is None else exact(value)
    return str(value)


def outer(value: object, version: Version, key: str = "") -> object:
    """Return plain values of the inner form in that of a version: older partners fail on what they do not know."""
    if version == "2.3.0":
        return value
    if isinstance(value, list | tuple):
        found = [outer(each, version, key) for each in value]
        return [each for each in found if each is not None]
    if not isinstance(value, dict):
        return value
    if "before_taxes" in value:
        net, taxes = value["before_taxes"], value.get("taxes")
        gross = value.get("after_taxes") if key in _LIMITS else None
        if taxes is not None:
            gross = exact(net) + sum((exact(each["amount"]) for each in taxes), Decimal(0))
        return {"excl_vat": net} | ({} if gross is None else {"incl_vat": gross})
    fields = {name: outer(each, version, name) for name, each in value.items() if name not in _ONLY_230}
    if "standard" in value and "power_type" in value:
        if value["standard"] == "MCS":  # 2.2.1 has no name for it
            return None
        fields.pop("capabilities", None)
    for name in fields.keys() & {"standard", "connector_standard"}:
        fields[name] = "TESLA_S" if value[name] == "SAE_J3400" else value[name]
    if "parking_restrictions" in fields:
        fields["parking_restrictions"] = [each for each in value["parking_restrictions"] if each in _PARKING_221]
    if key == "evses" and not fields.get("connectors"):
        return None
    if "contract_id" in value and value.get("type") == "EMAID":
        fields["type"] = "OTHER"
    if "plain_data" in value:
        fields["plain_data"] = str(value["plain_data"])[:_PLAIN_221]
    return fields


def exact(value: object) -> Decimal:
    """Return a number, also one written as text. Raises OcpiError (2001)."""
    try:
        found = Decimal(value) if isinstance(value, int | str | Decimal) else Decimal("NaN")
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not _LEAST <= found.adjusted() <= _GREATEST:
        raise OcpiError(f"{str(value)[:40]!r} is not a number", code=2001)
    return found


def merged(known: object, changes: object) -> dict[str, object]:
    """Return an object after a PATCH: its top-level fields are replaced, nested objects whole."""
    if not isinstance(changes, dict) or not changes.get("last_updated"):
        raise OcpiError("PATCH needs last_updated", code=2001)
    return {**cast("dict[str, object]", known), **changes}


# -- times


def utc_ms(moment: datetime) -> int:
    """Return a time as ms since 1970; without a zone it is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def moment(ms: int) -> datetime:
    """Return a time in whole seconds, as OCPI's 25 characters have room for."""
    return datetime.fromtimestamp(ms // 1000, UTC)


def read_time(value: object) -> int:
    """Return a time of plain values as ms since 1970. Raises OcpiError (2001)."""
    return utc_ms(read(value, datetime))


# -- envelope


def envelope(data: object, now_ms: int, *, code: int = 1000, message: str = "") -> bytes:
    """Return the body of an answer."""
    body = {} if data is None else {"data": data}
    said = message[:255] or ("Success" if code < 2000 else "Error")
    return encode({**body, "status_code": code, "status_message": said, "timestamp": moment(now_ms)})


def opened(body: bytes) -> tuple[object, int | None]:
    """Return the data of an answer, and its time by the partner's clock (ms since 1970), if it says one. Raises
    OcpiError: with the partner's code where that reports an error."""
    found = decode(body)
    code = found.get("status_code") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not re.fullmatch(r"[0-9]{1,9}", str(code)):
        raise OcpiError("the answer has no status_code", code=3001)
    if not 1000 <= int(str(code)) < 2000:
        raise OcpiError(f"{code} {str(found.get('status_message') or '')[:200]}".strip(), code=int(str(code)))
    at_ms = None
    with contextlib.suppress(OcpiError):  # nothing else depends on it
        at_ms = read_time(found.get("timestamp"))
    return inner(found.get("data")), at_ms


# -- credentials tokens


def authorization(token: str, *, bare: bool) -> str:
    """Return the header of a token: base64, or `bare` for partners that expect it so."""
    return f"Token {token if bare else base64.b64encode(token.encode()).decode()}"


def tokens_in(header: str) -> list[str]:
    """Return the tokens that a header may mean: decoded from base64, and as it is written."""
    scheme, _, said = header.strip().partition(" ")
    said = said.strip()
    if scheme.lower() != "token" or not 1 <= len(said) <= 1000:
        return []
    found = [said]
    with contextlib.suppress(binascii.Error, ValueError):  # some leave the padding out
        whole = said.rstrip("=") + "=" * (-len(said.rstrip("=")) % 4)
        found.insert(0, base64.b64decode(whole, validate=True).decode("ascii"))
    return [each for each in found if re.fullmatch(r"[!-~]{1,512}", each)]


# -- lists


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which objects are asked for: by `last_updated` (ms, the second exclusive), from `offset` or after a position;
    `total` as the first page of a crawl has counted."""

    offset: int = 0
    limit: int = MOST_LISTED
    from_ms: int | None = None
    to_ms: int | None = None
    after: tuple[int, str] | None = None
    total: int | None = None


def list_query(query: Mapping[str, str]) -> ListQuery:
    """Return what a list's query parameters ask for. Raises OcpiError (2001)."""
    numbers = {name: query.get(name, "").strip() for name in ("offset", "limit")}
    for name, text in numbers.items():
        if text and not re.fullmatch(r"[0-9]{1,12}", text):
            raise OcpiError(f"{name} is not a number", code=2001)
    times = {name: query.get(name, "").strip() for name in ("date_from", "date_to")}
    for name, text in times.items():
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            times[name] = f"{text}T00:00:00Z"
        else:  # a plus sign that was not encoded, but for one between date and time
            times[name] = text[:11] + text[11:].replace(" ", "+")
    at_ms, _, key = query.get("after", "").partition("~")
    total = query.get("total", "")
    return ListQuery(
        offset=int(numbers["offset"] or 0),
        limit=max(1, min(int(numbers["limit"] or MOST_LISTED), MOST_LISTED)),
        from_ms=read_time(times["date_from"]) if times["date_from"] else None,
        to_ms=read_time(times["date_to"]) if times["date_to"] else None,
        after=(int(at_ms), key) if re.fullmatch(r"[0-9]{1,15}", at_ms) and key else None,
        total=int(total) if re.fullmatch(r"[0-9]{1,12}", total) else None,
    )


def next_link(url: str, query: Mapping[str, str], asked: ListQuery, last: tuple[int, str], total: int) -> str:
    """Return the header `Link` of the next page: all filters stay, and `after` keeps it stable while objects change.

    The `total` is not counted again for each page.
    """
    more = {"offset": str(asked.offset + asked.limit), "limit": str(asked.limit), "after": f"{last[0]}~{last[1]}",
            "total": str(total)}  # fmt: skip
    return f'<{url}?{urlencode({**query, **more})}>; rel="next"'


def page_url(url: str, query: Mapping[str, str], offset: int, limit: int) -> str:
    """Return the URL of a page of a list."""
    more = urlencode({**query, "offset": str(offset), "limit": str(limit)})
    return f"{url}{'&' if '?' in url else '?'}{more}"


def link_of(header: str) -> str | None:
    """Return the URL of the next page from a header `Link`."""
    for target, parameters in re.findall(r"<([^<>]{1,4000})>([^,<]*)", header):
        if re.search(r"""rel\s*=\s*"?next\b""", parameters, re.IGNORECASE):
            return str(target)
    return None


def query_of(text: str) -> dict[str, str]:
    """Return the parameters of a query, the last of each name. Raises OcpiError (2001) for too many."""
    try:
        return dict(parse_qsl(text, max_num_fields=50))
    except ValueError as error:
        raise OcpiError(str(error), code=2001) from None
