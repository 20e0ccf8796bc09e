"""Authorization of contracts and tokens for Authorize and TransactionEvent (use cases C01, C07, E02)."""

import enum
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, get_args

import msgspec

from v2g import typed_json
from v2g.errors import ConfigError, OcppError
from v2g.ocpp.messages.authorization import AuthorizationData, IdToken, SendLocalListRequest, UpdateType
from v2g.ocpp.messages.base import EnergyTransferMode
from v2g.ocpp.routes import Version
from v2g.ocpp.versions import write_payload
from v2g.pki.certificates import contract_of, is_emaid
from v2g.units import DAY_MS, PositiveDecimals, UtcMs, micro_of

CONTRACT: Final = "eMAID"
"""The token type of plug and charge."""

TokenKind = Literal[
    "Central", "DirectPayment", "eMAID", "EVCCID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress",
    "NoAuthorization", "VIN",
]  # fmt: skip
"""The types of OCPP 2.1 (IdTokenEnumStringType)."""

_FORMS: Final = {
    "ISO14443": r"([0-9A-Fa-f]{8}|[0-9A-Fa-f]{14}|[0-9A-Fa-f]{20})",
    "ISO15693": r"[0-9A-Fa-f]{16}",
    "MacAddress": r"[0-9A-Fa-f]{12}",
}
"""UIDs of cards, of 4, 7 or 10 and of 8 bytes, and addresses of 6, in hex (OCPP IdTokenEnumStringType)."""


Period = Literal["day", "week", "month", "total"]


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A station where a token may charge."""

    station_id: str
    """Identity of the station."""
    evses: tuple[Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)], ...] = ()
    """Its EVSEs to which that applies, by number; empty: all of them."""


class Allowance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An allowance per period; once it is used up the status is NoCredit."""

    period: Period
    """The period, in UTC; weeks begin on Monday."""
    energy_wh: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    """Energy; None is unlimited."""
    cost: PositiveDecimals | None = None
    """Cost with taxes; None is unlimited. Sessions in several currencies are not added up: the greatest sum counts."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Further terms of a token."""

    group_id: Annotated[str, msgspec.Meta(max_length=36)] = ""
    """Group whose members may stop each other's transactions (C09); empty: none."""
    expires_ms: UtcMs | None = None
    """Expiry, ms since 1970; none: never."""
    cache_s: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None
    """How long a station may cache an answer; none: without limit."""
    places: tuple[Place, ...] = ()
    """Where charging is allowed; empty: everywhere."""
    allowances: tuple[Allowance, ...] = ()
    """Allowances."""
    one_at_a_time: bool = False
    """Whether a second transaction elsewhere is answered ConcurrentTx, unless it was offline."""
    several_at_once: bool = False
    """Whether a contract's sessions at several EVSEs at once are booked: without, those are held that no vehicle has
    signed."""
    priority: Annotated[int, msgspec.Meta(ge=-9, le=9)] | None = None
    """Priority in smart charging for stations (chargingPriority); none sends none."""
    language1: Annotated[str, msgspec.Meta(max_length=8)] = ""
    """Language of messages to the driver (RFC 5646)."""
    language2: Annotated[str, msgspec.Meta(max_length=8)] = ""
    """The next best language (RFC 5646)."""
    message: Annotated[str, msgspec.Meta(max_length=512)] = ""
    """Message to the driver (C01)."""


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A group of tokens: fleets, families."""

    group_id: Annotated[str, msgspec.Meta(min_length=1, max_length=36)]
    """Id of the group, as members name it in their terms."""
    name: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """Display name."""
    blocked: bool = False
    """Blocks all its members."""
    master_pass: bool = False
    """Whether its members may stop every transaction, and charge nowhere (C16)."""
    allowances: tuple[Allowance, ...] = ()
    """Allowances of all members together."""


class Token(msgspec.Struct, frozen=True):
    """A known token: `status` is an OCPP AuthorizationStatusEnumType, `id_token` normalised."""

    type: str
    id_token: str
    status: str
    energy_transfer: tuple[str, ...] = ()
    terms: Terms = Terms()


class Used(msgspec.Struct, frozen=True):
    """Usage of an allowance's period, or of a session: Wh, and cost in micro-units; `currency` is that of a session's
    cost, "" an unknown one."""

    energy_wh: int = 0
    cost: int = 0
    currency: str = ""


def together(uses: Iterable[Used]) -> Used:
    """Return the usage of sessions: of costs in several currencies the greatest sum, with those in unknown ones."""
    energy_wh, costs = 0, Counter[str]()
    for each in uses:
        energy_wh += each.energy_wh
        costs[each.currency] += each.cost
    unknown = costs.pop("", 0)
    return Used(energy_wh, unknown + max(costs.values(), default=0))


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A token with everything that decides about it: its group, the usage of each allowance, and whether
    it has another transaction."""

    token: Token
    group: Group | None = None
    used: tuple[tuple[Allowance, Used], ...] = ()
    elsewhere: bool = False

    @property
    def is_tracked(self) -> bool:
        """Whether its transactions must be stored with it."""
        return bool(self.used) or self.token.terms.one_at_a_time


class Where(msgspec.Struct, frozen=True):
    """A station, one of its EVSEs (None: not known yet), and a time."""

    station_id: str
    evse_id: int | None
    at_ms: int


class ChainVerdict(enum.Enum):
    """Result of verifying the contract certificate of a token."""

    VALID = enum.auto()
    EXPIRED = enum.auto()
    REVOKED = enum.auto()
    BROKEN = enum.auto()  # unknown root, bad signature or profile, other eMAID, unknown revocation status
    ABSENT = enum.auto()  # neither certificate nor hash data


class TokenAnswer(msgspec.Struct, frozen=True):
    """`status` for idTokenInfo, and `certificate_status`, None where no contract is involved.

    `terms`: those of a known token. `evses`: the only allowed ones at this station. `remaining_wh`, `remaining_cost`
    (micro-units): the rest of the tightest allowances; `until_ms`: how long a station may cache this.
    """

    status: str
    certificate_status: str | None = None
    energy_transfer: tuple[str, ...] = ()
    terms: Terms = Terms()
    evses: tuple[int, ...] = ()
    remaining_wh: int | None = None
    remaining_cost: int | None = None
    until_ms: int | None = None


_CERTIFICATE_ANSWERS: Final = {
    ChainVerdict.EXPIRED: TokenAnswer("Expired", "CertificateExpired"),  # C07.FR.15
    ChainVerdict.REVOKED: TokenAnswer("Invalid", "CertificateRevoked"),  # C07.FR.16
    ChainVerdict.BROKEN: TokenAnswer("Invalid", "CertChainError"),  # C07.FR.17
    ChainVerdict.ABSENT: TokenAnswer("Invalid", "NoCertificateAvailable"),
}

_CANCELLED: Final = frozenset({"Blocked", "Expired", "Invalid", "Unknown"})
"""With these a valid certificate belongs to a cancelled contract (C07.FR.13)."""


def check_form(token_type: str, id_token: str) -> None:
    """Raise ConfigError for an identifier that no token of its type has, and for a type of OCPP in another case."""
    known = {each.casefold(): each for each in get_args(TokenKind)}.get(token_type.casefold(), token_type)
    if known != token_type:
        raise ConfigError(f"{token_type!r} is not a type of tokens", hint=f"did you mean {known!r}?")
    form = _FORMS.get(token_type)
    if token_type == CONTRACT and not is_emaid(id_token):
        raise ConfigError(f"{id_token!r} is not an EMAID", hint="such as DEV2GC00000001: 14 or 15 characters")
    if form is not None and not re.fullmatch(form, id_token):
        raise ConfigError(f"{id_token!r} is not of {token_type}", hint="its bytes in hex, such as 04A1B2C3")


def normalise(token_type: str, id_token: str) -> str:
    """Return the normalised form of a token.

    An eMAID may be written with or without its hyphens and check digit and in any case (ISO 15118-20 Annex C); other
    identifiers are compared without case, as OCPP's idToken is.
    """
    text = id_token.strip()
    return contract_of(text) if token_type == CONTRACT else text.upper()


def answer_known(known: Known | None, where: Where, *, starts: bool = True) -> TokenAnswer:
    """Return the answer for a token at a place; `starts` is false to stop a transaction only."""
    if known is None:
        return TokenAnswer("Unknown")
    token, group = known.token, known.group
    prepaid = any(allowance.cost is not None for allowance, _ in known.used)
    until_ms = where.at_ms if prepaid else _remembered(token.terms, where.at_ms)  # C17.FR.01, C17.FR.02
    status, evses = _status(known, where, starts=starts)
    if status != "Accepted":
        return TokenAnswer(status, terms=token.terms, until_ms=until_ms)
    left = [each.energy_wh - used.energy_wh for each, used in known.used if each.energy_wh is not None]
    money = [micro_of(each.cost) - used.cost for each, used in known.used if each.cost is not None]
    return TokenAnswer(
        status,
        energy_transfer=() if group is not None and group.master_pass else token.energy_transfer,
        terms=token.terms,
        evses=evses,
        remaining_wh=min(left, default=None),
        remaining_cost=min(money, default=None),
        until_ms=until_ms,
    )


def lasting(answer: TokenAnswer) -> TokenAnswer:
    """Return an answer for a local list: it expires only with the token itself."""
    return msgspec.structs.replace(answer, until_ms=answer.terms.expires_ms)


def _status(known: Known, where: Where, *, starts: bool) -> tuple[str, tuple[int, ...]]:
    token, group = known.token, known.group
    terms = token.terms
    if token.status != "Accepted":
        return token.status, ()
    if group is not None and group.blocked:
        return "Blocked", ()
    if terms.expires_ms is not None and terms.expires_ms <= where.at_ms:
        return "Expired", ()
    if group is not None and group.master_pass:
        return ("Invalid" if starts and where.evse_id is not None else "Accepted"), ()  # C16: it may only stop
    here = [place for place in terms.places if place.station_id == where.station_id]
    if terms.places and not here:
        return "NotAtThisLocation", ()
    whole = any(not place.evses for place in here)
    evses = () if whole else tuple(sorted({each for place in here for each in place.evses}))
    if evses and where.evse_id is not None and where.evse_id not in evses:
        return "NotAtThisLocation", ()
    if not starts:
        return "Accepted", evses
    if known.elsewhere:
        return "ConcurrentTx", ()
    if any(_is_used_up(allowance, used) for allowance, used in known.used):
        return "NoCredit", ()
    return "Accepted", evses


def _is_used_up(allowance: Allowance, used: Used) -> bool:
    energy = allowance.energy_wh is not None and used.energy_wh >= allowance.energy_wh
    return energy or (allowance.cost is not None and used.cost >= micro_of(allowance.cost))


def _remembered(terms: Terms, at_ms: int) -> int | None:
    ends = [
        end
        for end in (terms.expires_ms, None if terms.cache_s is None else at_ms + terms.cache_s * 1000)
        if end is not None
    ]
    return min(ends, default=None)


def period_start(period: Period, at_ms: int) -> int:
    """Return the start of the period that contains a time, in ms since 1970 (0 for `total`)."""
    if period == "total":
        return 0
    day = datetime.fromtimestamp(at_ms // DAY_MS * DAY_MS / 1000, UTC)
    if period == "week":
        day -= timedelta(days=day.weekday())
    elif period == "month":
        day = day.replace(day=1)
    return int(day.timestamp() * 1000)


def answer_contract(chain: ChainVerdict, known: Known | None, where: Where) -> TokenAnswer:
    """Return the answer for an eMAID, given its certificate chain and, when that is valid, its token."""
    if chain is not ChainVerdict.VALID:
        return _CERTIFICATE_ANSWERS[chain]
    answer = answer_known(known, where)
    certificate_status = "ContractCancelled" if answer.status in _CANCELLED else "Accepted"  # C07.FR.13, .14
    return msgspec.structs.replace(answer, certificate_status=certificate_status)


Key = tuple[str, str]
"""Type and normalised identifier of a token: the unique key of list entries (D01.FR.06)."""

Entries = Mapping[Key, AuthorizationData]

MAX_ENTRIES: Final = 50
"""Entries in one message, when the station has not reported its ItemsPerMessageSendLocalList (D01.FR.11)."""


def key_of(token: IdToken) -> Key:
    """Return a token's key in a list."""
    return token.type, normalise(token.type, token.id_token)


def entries_of(data: Iterable[AuthorizationData], version: Version) -> dict[Key, AuthorizationData]:
    """Return entries by key, without those that a station of this version does not support (a longer identifier)."""
    return {key_of(each.id_token): each for each in data if _fits(each, version)}


def removal(key: Key) -> AuthorizationData:
    """Return the entry that removes a token from the list (D01.FR.17)."""
    return AuthorizationData(id_token=IdToken(type=key[0], id_token=key[1]))


def difference(held: Entries, wanted: Entries) -> tuple[AuthorizationData, ...]:
    """Return the changes from `held` to `wanted`: new and changed entries, then removals."""
    changed = [entry for key, entry in wanted.items() if held.get(key) != entry]
    return (*changed, *(removal(key) for key in held if key not in wanted))


def apply(held: Entries, request: SendLocalListRequest) -> dict[Key, AuthorizationData]:
    """Return the list after an accepted request (D01.FR.04, .15 to .17)."""
    entries = {} if request.update_type == "Full" else dict(held)
    for entry in request.local_authorization_list:
        if entry.id_token_info is None:
            entries.pop(key_of(entry.id_token), None)
        else:
            entries[key_of(entry.id_token)] = entry
    return entries


def full(entries: Iterable[AuthorizationData], version_number: int, limit: int) -> list[SendLocalListRequest]:
    """Return the messages that replace a list: one Full, then Differential ones for the rest (D01.FR.15).

    Their versions count up from `version_number`, since a station rejects one that it has (D01.FR.19).
    """
    return _requests(tuple(entries), version_number, limit, "Full") or [
        SendLocalListRequest(version_number=max(version_number, 1), update_type="Full")  # D01.FR.04
    ]


def differential(entries: Iterable[AuthorizationData], version_number: int, limit: int) -> list[SendLocalListRequest]:
    """Return the messages that change a list; none for no entries."""
    return _requests(tuple(entries), version_number, limit, "Differential")


def _requests(
    entries: tuple[AuthorizationData, ...], version_number: int, limit: int, first: UpdateType
) -> list[SendLocalListRequest]:
    return [
        SendLocalListRequest(
            local_authorization_list=entries[begin : begin + limit],
            version_number=max(version_number, 1) + number,  # D01.FR.18
            update_type="Differential" if number else first,
        )
        for number, begin in enumerate(range(0, len(entries), limit))
    ]


def _fits(entry: AuthorizationData, version: Version) -> bool:
    try:
        write_payload(full((entry,), 1, 1)[0], version)
    except OcppError:
        return False
    return True


def read_entries(text: str) -> dict[Key, AuthorizationData]:
    """Return entries from JSON text."""
    return {key_of(each.id_token): each for each in typed_json.decode(text, tuple[AuthorizationData, ...])}


def write_entries(entries: Entries) -> str:
    """Return entries as JSON text."""
    return msgspec.json.encode(tuple(entries.values())).decode()


class TokenEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A token that may charge."""

    id_token: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    """The identifier, such as an eMAID or a card number."""
    type: TokenKind = CONTRACT
    """Kind of identifier (OCPP IdTokenType)."""
    status: Literal[
        "Accepted", "Blocked", "Expired", "Invalid", "NoCredit", "NotAllowedTypeEVSE", "NotAtThisLocation",
        "NotAtThisTime", "Unknown",
    ] = "Accepted"  # fmt: skip
    """Status in Authorize responses (OCPP AuthorizationStatusEnumType)."""
    energy_transfer: tuple[EnergyTransferMode, ...] = ()
    """Modes of energy transfer that the token allows (OCPP 2.1 EnergyTransferModeEnumType); empty: any."""
    terms: Terms = Terms()
    """Group, expiry, places, allowances, and text for the driver."""
