"""The mirror of the bridge: a station of 2.0.1 at a back end of 1.6 (R199), by the same tables.

Pure, as `bridge`. From the station's request a translation yields requests of 1.6, and questions that the station
answers; from the back end's it yields requests of 2.0.1 to the station. What 1.6 does not have is answered here, with
the reason, and is not sent.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import IdToken, IdTokenInfo
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.provisioning import NetworkConnectionProfile
from v2g.ocpp.routes import action_of
from v2g.ocpp.times import format_time
from v2g.ocpp.v16.bridge import LONGEST_ID_TAG, Question, Steps, Translation, registers
from v2g.ocpp.v16.messages import ChargePointErrorCode, ChargePointStatus, IdTagInfo


class StateOf(Question, frozen=True):
    """What is the charging state of this EVSE's transaction, "" without one, and of the station (0) its availability?
    The answer is a text."""

    evse_id: int


class BegunAs(Question, frozen=True):
    """How has this transaction begun, whose beginning was not reported over 1.6? The answer is NumberedHere or None."""

    transaction_id: str


class NetworkNow(Question, frozen=True):
    """Over which network profile is this connection? The answer is a NetworkInUse, None where
    that is not for this back end to change."""


class NetworkInUse(msgspec.Struct, frozen=True):
    """The active profile, its slot, and a slot that may be overwritten."""

    slot: int
    profile: NetworkConnectionProfile
    spare: int


class NumberedHere(msgspec.Struct, kw_only=True):
    """A transaction of this station, and the number that the back end gave it; it survives restarts."""

    connector_id: int
    began: str
    meter_start: int | None = None
    id_tag: str | None = None
    reservation_id: int | None = None
    number: int | None = None
    refused: int | None = None
    """By the number of which event the back end was told the start and refused it: with the next one it is given up."""
    last_wh: int | None = None
    """The last register, Wh."""
    soft_reset: bool = False
    """Whether the last reset that the back end has asked for in it was soft."""
    unlocked: bool = False
    """Whether the back end has unlocked its connector."""


FROM_OUR_STATION: Final[dict[type[Message], Translation["Mirror"]]] = {}
FROM_BACK_END: Final[dict[type[Message], Translation["Mirror"]]] = {}

to_back_end = registers(FROM_OUR_STATION)
"""Registers the translation of a station's request of 2.0.1."""
from_back_end = registers(FROM_BACK_END)
"""Registers the translation of a back end's request of 1.6."""


class Mirror:
    """One station. `connectors` is the number of its EVSEs, `most` what numbers of things it can hold, by the variable
    that counts them; `stored` and `keep` are its memory of transactions, by their own ids (None: forget)."""

    def __init__(
        self,
        connectors: int,
        most: Mapping[str, int],
        stored: Mapping[str, NumberedHere],
        keep: Callable[[str, NumberedHere | None], None],
    ) -> None:
        self.connectors = connectors
        self.most: Final = most
        self.transactions: Final = dict(stored)
        self._keep = keep
        self.now_ms = 0
        self.types: Final[dict[str, str]] = {}
        """idTag, in one case -> type under which the station has read it."""
        self.statuses: Final[dict[tuple[int, int], ConnectorStatus]] = {}
        self.errors: Final[dict[int, ChargePointErrorCode]] = {}
        self.told: Final[dict[int, ChargePointStatus]] = {}
        """What the back end was told last of each connector."""
        self.finishing: Final[set[int]] = set()
        self.by_whitepaper = False
        """Whether the last trigger of the back end was one of the security whitepaper."""
        self.after: Final[list[Steps[Message]]] = []
        """What follows the answer to the back end's request."""
        self._asked = 0

    def upward(self, request: Message, now_ms: int) -> Steps[Message]:
        """Translate a station's request, and the back end's answer. Raises OcppError (`NotSupported`) for what 1.6 has
        not."""
        self.now_ms = now_ms
        translation = FROM_OUR_STATION.get(type(request))
        if translation is None:
            raise OcppError(f"OCPP 1.6, which this back end speaks, has no {action_of(request)}", answer="NotSupported")
        return translation(self, request)

    def downward(self, request: Message, now_ms: int) -> Steps[Message]:
        """Translate a back end's request, and the station's answer. Raises OcppError."""
        self.now_ms = now_ms
        return FROM_BACK_END[type(request)](self, request)

    # -- shared by translations

    @property
    def now(self) -> str:
        """The time."""
        return format_time(self.now_ms)

    def keep(self, transaction_id: str, found: NumberedHere) -> None:
        """Remember a transaction; of too many the oldest, whose end was given up, is forgotten."""
        self.transactions[transaction_id] = found
        self._keep(transaction_id, found)
        if len(self.transactions) > _MOST_TRANSACTIONS:
            self.forget(next(iter(self.transactions)))

    def forget(self, transaction_id: str) -> None:
        """Forget a transaction whose end is reported."""
        if self.transactions.pop(transaction_id, None) is not None:
            self._keep(transaction_id, None)

    def named(self, number: int) -> str | None:
        """Return our id of the transaction with a number of the back end."""
        return next((name for name, found in self.transactions.items() if found.number == number), None)

    def at(self, connector_id: int) -> tuple[str, NumberedHere] | None:
        """Return the last transaction of a connector that is not reported as ended."""
        here = [(name, found) for name, found in self.transactions.items() if found.connector_id == connector_id]
        return here[-1] if here else None

    def request_id(self) -> int:
        """Return a new number of a request that has none in 1.6: below 0, so that its reports are known by it, for
        ever."""
        self._asked = max(self._asked + 1, self.now_ms // 1000 % 2**31)
        return -self._asked

    def id_tag(self, token: IdToken) -> str:
        """Return a token as an idTag, and remember its type."""
        tag = token.id_token[:LONGEST_ID_TAG]
        self.types[tag.casefold()] = token.type
        if len(self.types) > _MOST_TRANSACTIONS:
            del self.types[next(iter(self.types))]
        return tag

    def token(self, id_tag: str) -> IdToken:
        """Return an idTag as the token that the station would read: of a known type, else of a contract or a card."""
        guess = "eMAID" if _EMAID.fullmatch(id_tag) else "ISO15693" if _LONG_CARD.fullmatch(id_tag) else "ISO14443"
        return IdToken(id_token=id_tag, type=self.types.get(id_tag.casefold(), guess))

    def token_info(self, info: IdTagInfo) -> IdTokenInfo:
        """Return what the back end says of an idTag."""
        parent = info.parent_id_tag
        return IdTokenInfo(
            status=info.status,
            cache_expiry_date_time=info.expiry_date,
            group_id_token=None if parent is None else self.token(parent),
        )


_MOST_TRANSACTIONS: Final = 1000
_EMAID: Final = re.compile(r"[A-Za-z]{2}-?[A-Za-z0-9]{3}-?[A-Za-z0-9]{9}(-?[A-Za-z0-9])?")
_LONG_CARD: Final = re.compile(r"[0-9A-Fa-f]{16}")
