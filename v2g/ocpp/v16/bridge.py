"""The bridge between a station of 1.6 and a back end of 2.0.1 (R198): what each says, in the words of the other.

Pure. A translation is a generator: it yields requests, gets their answers, and returns its own. From the station it
yields requests of 2.0.1 (and questions of `Question`, which the store of its program answers); to the station it yields
requests of 1.6. A CALLERROR is thrown into it as OcppError. Each translation registers itself by the request that it
takes (`from_station`, `to_station`).

What 1.6 does not have is refused as NotSupported. The bridge remembers, for one connection, what names things there:
transactions by number and connector, starts that the back end has asked for, requests whose reports carry no number.
"""

import hashlib
import inspect
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec

from v2g import typed_json
from v2g.errors import NOT_THERE, OcppError, TimeoutExpired
from v2g.ocpp.messages.authorization import IdToken, IdTokenInfo
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.charging_profiles import ChargingProfile
from v2g.ocpp.messages.data_transfer import VENDOR
from v2g.ocpp.messages.provisioning import NotifyReportRequest
from v2g.ocpp.messages.transactions import ChargingState, TransactionEventRequest
from v2g.ocpp.quirks import STRICT
from v2g.ocpp.routes import action_of
from v2g.ocpp.times import parse_time
from v2g.ocpp.v16.messages import IdTagInfo, IdTagStatus, MeterValue16


class Question(msgspec.Struct, frozen=True):
    """What a translation needs to know of whoever carries it out."""


class NumberOf(Question, frozen=True, kw_only=True, omit_defaults=True):
    """What is the number of the transaction that this start is of, the same whenever it is sent again? The answer is
    Numbered."""

    connector_id: int
    id_tag: str
    meter_start: int
    timestamp: str
    timed: bool = True
    """False where the clock was never set: an equal start after the end is that of another transaction."""


class Numbered(msgspec.Struct, kw_only=True):
    """A transaction of the station, by the number that its back end gave it. `next_seq` 0: its start is not stored;
    `active`: its end is not."""

    number: int
    connector_id: int
    next_seq: int = 0
    active: bool = True
    charging_state: ChargingState = "EVConnected"
    import_wh: int | None = None
    """The last register that is known, Wh."""
    import_ms: int | None = None
    """When this connection reported that register (UTC ms), None for an earlier one."""
    id_tag: str = ""
    """The idTag that began it, empty where it is not known."""
    latest: tuple[MeterValue16, ...] = ()
    """The last values of this connection, which stations repeat."""


class TransactionOf(Question, frozen=True):
    """Which transaction of the station has this number? The answer is Numbered or None."""

    number: int


class OngoingAt(Question, frozen=True):
    """Which transactions of the station had begun at this time, and not ended? The answer is a tuple of Numbered."""

    at_ms: int


class IsStored(Question, frozen=True):
    """Is there an event of this transaction with the same time, trigger and values? The answer is a bool."""

    event: TransactionEventRequest


class EventOf(Question, frozen=True):
    """Which event has begun, or ended, the transaction of this number? The answer is what was stored, or None."""

    number: int
    kind: Literal["Started", "Ended"]


class TypeOf(Question, frozen=True):
    """Of which type is this idTag? The answer is a type of 2.x."""

    id_tag: str


class TokenOf(Question, frozen=True):
    """Which token that is too long for 1.6 was the station given by this `short_id_tag`? The answer is an IdToken or
    None."""

    id_tag: str


class RemoteOf(Question, frozen=True):
    """Which start that the back end has asked for, and not seen begin, does this idTag begin at a connector at this
    time (UTC ms)? The answer is a Remote or None."""

    id_tag: str
    connector_id: int
    at_ms: int


class Remote(msgspec.Struct, frozen=True):
    """A start that the back end has asked for."""

    token: IdToken
    remote_start_id: int
    connector_id: int | None


class Held(msgspec.Struct, frozen=True):
    """A profile that a station was given, at one of its EVSEs, or all (0)."""

    evse_id: int
    profile: ChargingProfile


class HeldProfiles(Question, frozen=True):
    """Which profiles of back ends has the station accepted, and not lost? The answer is a tuple of Held."""


T = TypeVar("T")
Steps: TypeAlias = Generator[Message | Question, Any, T]
"""A translation, or a part of one: what it yields is answered by who carries it out."""
Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)
Side = TypeVar("Side")
Translation: TypeAlias = Callable[[Side, Any], Steps[Message]]

FROM_STATION: Final[dict[type[Message], Translation["Bridge"]]] = {}
TO_STATION: Final[dict[type[Message], Translation["Bridge"]]] = {}


def registers(
    table: dict[type[Message], Translation[Side]],
) -> Callable[[Callable[[Side, Request], Steps[Answer]]], Callable[[Side, Request], Steps[Answer]]]:
    """Return the decorator that enters a translation in a table, by the request that it takes."""

    def enter(translation: Callable[[Side, Request], Steps[Answer]]) -> Callable[[Side, Request], Steps[Answer]]:
        _, request, *_ = inspect.get_annotations(translation).values()
        assert isinstance(request, type)
        table[request] = translation
        return translation

    return enter


from_station = registers(FROM_STATION)
"""Registers the translation of a station's request."""
to_station = registers(TO_STATION)
"""Registers the translation of a request to a station."""


class Bridge:
    """One connection of a station. `connected_ms`: when it began."""

    def __init__(self, connected_ms: int) -> None:
        self.connected_ms: Final = connected_ms
        self.now_ms = connected_ms
        self.transactions: Final[dict[int, Numbered]] = {}
        self.states: Final[dict[int, ChargingState]] = {}
        """Connector -> what was last reported of its vehicle: some stations report Charging before the start."""
        self.remotes: Final[dict[str, Remote]] = {}
        self.tokens: Final[dict[str, IdToken]] = {}
        """idTag, in one case -> token as the back end has named it here."""
        self.log_request: int | None = None
        self.firmware_request: int | None = None
        self.reports: Final[list[NotifyReportRequest]] = []
        """Reports that follow the answer to a request for them."""
        self.after: Final[list[Steps[Message]]] = []
        """What the station is asked once its request is answered."""
        self.shows_prices: bool | None = None
        """Whether the station says that it shows prices, None before it was asked."""
        self.lacks: Final[set[str]] = set()
        """What the station has refused as not supported since its boot: it is not asked again."""
        self.tolerated: Final[Counter[str]] = Counter()
        """What was left out of its messages, or read otherwise, by the name of its deviation."""
        self.kilowatts = 0
        """So many times in a row its registers said that powers without a unit are in kW."""
        self.quirks = STRICT
        """What is done for its make."""

    def upward(self, request: Message, now_ms: int) -> Steps[Message]:
        """Translate a station's request, and what the back end answers. Raises OcppError."""
        self.now_ms = now_ms
        return FROM_STATION[type(request)](self, request)

    def downward(self, request: Message, now_ms: int) -> Steps[Message]:
        """Translate a request of the back end, and what the station answers. Raises OcppError."""
        self.now_ms = now_ms
        translation = TO_STATION.get(type(request))
        if translation is None:
            raise OcppError(f"OCPP 1.6, which this station speaks, has no {action_of(request)}", answer="NotSupported")
        return self._unless_refused(translation(self, request))

    def _unless_refused(self, steps: Steps[Message]) -> Steps[Message]:
        """Carry out a translation without the requests that the station does not support whatever it claims."""
        answer: Message | None = None
        error: Exception | None = None
        while True:
            try:
                step = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                result: Message = end.value
                return result
            answer = error = None
            feature = _feature(step) if isinstance(step, Message) else ""
            if feature in self.lacks:
                error = OcppError(
                    f"{feature}: the station said at its first use that it has none", answer="NotSupported"
                )
                continue
            try:
                answer = yield step
            except (OcppError, TimeoutExpired) as refused:
                error = refused
            status = error.answer if isinstance(error, OcppError) else getattr(answer, "status", "")
            if feature and status in NOT_THERE:
                self.lacks.add(feature)

    # -- shared by translations

    def time(self, text: str | None) -> str | None:
        """Return a station's time, None where it has none that can be meant: its clock was never set."""
        if text is None:
            return None
        try:
            return text if parse_time(text) >= _EARLIEST_MS else None
        except OcppError:
            return None

    def offline(self, at: str) -> bool:
        """Return whether something happened before this connection."""
        return parse_time(at) < self.connected_ms

    def find(self, number: int | None) -> Steps[Numbered | None]:
        """Find a transaction by its number."""
        if number is None or number <= 0:
            return None
        if number not in self.transactions:
            found: Numbered | None = yield TransactionOf(number)
            return None if found is None else self.remember(found)
        return self.transactions[number]

    def ongoing(self, connector_id: int) -> Steps[Numbered | None]:
        """Find the last transaction that runs at a connector, which may have begun before this connection."""
        known = self.transactions.values()
        found = [each for each in known if each.active and each.connector_id == connector_id]
        if not found:
            stored: tuple[Numbered, ...] = yield OngoingAt(self.now_ms)
            found = [self.remember(each) for each in stored if each.connector_id == connector_id]
        return found[-1] if found else None

    def remote(self, id_tag: str, connector_id: int, at: str) -> Steps[Remote | None]:
        """Find the start that the back end has asked for; its station may have been away since."""
        known = self.remotes.get(id_tag.casefold())
        if known is not None and known.connector_id in (None, connector_id):
            return self.remotes.pop(id_tag.casefold())
        at_ms = parse_time(at) if self.offline(at) else self.now_ms
        found: Remote | None = yield RemoteOf(id_tag, connector_id, at_ms)
        return found

    def token(self, id_tag: str) -> Steps[IdToken]:
        """Find out what an idTag is in 2.x: its type is the one that the back end knows."""
        known = self.tokens.get(id_tag.casefold())
        if known is None and id_tag.upper().startswith(_SHORTENED):
            known = yield TokenOf(id_tag)
        if known is not None and len(known.id_token) > LONGEST_ID_TAG:
            return known
        return IdToken(id_token=id_tag, type=(yield TypeOf(id_tag)) if known is None else known.type)

    def remember(self, found: Numbered) -> Numbered:
        """Return what is remembered of a transaction; of too many those that ended are forgotten, else all."""
        if len(self.transactions) >= _MOST_TRANSACTIONS:
            ended = [each.number for each in self.transactions.values() if not each.active]
            for number in ended or list(self.transactions):
                del self.transactions[number]
        return self.transactions.setdefault(found.number, found)

    def id_tag(self, token: IdToken) -> str:
        """Return a token as an idTag, and remember it."""
        found = short_id_tag(token.id_token)
        self.tokens[found.casefold()] = token
        return found


_OPTIONAL: Final = frozenset({
    "CancelReservation", "ClearChargingProfile", "ExtendedTriggerMessage", "GetCompositeSchedule",
    "GetLocalListVersion", "GetLog", "ReserveNow", "SendLocalList", "SetChargingProfile", "TriggerMessage",
    "UnlockConnector",
})  # fmt: skip


def _feature(step: Message) -> str:
    """Return what a request needs that stations may lack; a Heartbeat is triggered to learn whether one is there."""
    action, message = type(step).__name__.removesuffix("Req"), getattr(step, "requested_message", "")
    return f"{action} {message}".rstrip() if action in _OPTIONAL and message != "Heartbeat" else ""


def number_in(transaction_id: str) -> int | None:
    """Return the number of a transaction; one that began again after a boot has more behind it."""
    text = transaction_id.split("#", 1)[0]
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= len("2147483647") else None


def short_id_tag(id_token: str) -> str:
    """Return what stands for an identifier in 1.6: itself, or for one that is too long, as apps have (UUIDs), the same
    idTag whenever it is named."""
    if len(id_token) <= LONGEST_ID_TAG:
        return id_token
    return (_SHORTENED + hashlib.sha256(id_token.casefold().encode()).hexdigest().upper())[:LONGEST_ID_TAG]


LONGEST_ID_TAG: Final = 20
_SHORTENED: Final = "V2G"
_MOST_TRANSACTIONS: Final = 1000
"""Kept in mind for one connection; what is forgotten is asked for again."""
_EARLIEST_MS: Final = 1_262_304_000_000
"""2010-01-01: OCPP 1.6 is of 2015."""


def text_of(data: object) -> str | None:
    """Return the data of a DataTransfer as the text that it is in 1.6."""
    return data if data is None or isinstance(data, str) else msgspec.json.encode(data).decode()


def data_in(text: str | None, vendor_id: str) -> object:
    """Return the data of a DataTransfer in 2.x: this project's own messages are objects there."""
    try:
        return text if text is None or vendor_id != VENDOR else typed_json.decode(text, object)
    except (msgspec.DecodeError, RecursionError):
        return text


NO_READING: Final = -(2**31)
"""`meterStop` where what the station sent cannot be read."""
_STATUS: Final[dict[str, IdTagStatus]] = {
    each: each for each in ("Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx")
}


def id_tag_info(info: IdTokenInfo | None) -> IdTagInfo:
    """Return what a back end says of a token; each reason that 1.6 does not have is Invalid there."""
    if info is None:
        return IdTagInfo(status="Accepted")
    group = info.group_id_token
    parent = None if group is None else short_id_tag(group.id_token)
    return IdTagInfo(
        status=_STATUS.get(info.status, "Invalid"), expiry_date=info.cache_expiry_date_time, parent_id_tag=parent
    )
