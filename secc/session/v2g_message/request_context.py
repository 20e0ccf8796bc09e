"""What these editions add to the context of a request and to the result of its handler."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from secc.session import request_context, stages
from secc.session.identity import Contract
from secc.session.ports import Paused
from secc.session.request_context import Handlers
from secc.session.stages import AfterSetup, JournalOpening, Opened
from v2g.exi.declare import Element
from v2g.iso15118.engine.dc_status import DcStatus, Stop
from v2g.iso15118.engine.physical_values import Writer
from v2g.iso15118.engine.quirks import Quirk
from v2g.iso15118.engine.response_codes import CodeUse
from v2g.iso15118.engine.xmldsig import Signature


class MessageSet(msgspec.Struct, frozen=True, kw_only=True):
    """An edition's responses, by which handlers of both editions write them."""

    protocol: str
    """Its name, such as "ISO 15118-2"."""
    responses: Mapping[str, type[Element]]
    """Its messages by name."""
    codes: type[Enum]
    processing: type[Enum]
    values: Writer[Element]
    dc_status: Callable[[DcStatus, int], Any]
    """Makes DC_EVSEStatus with this NotificationMaxDelay, s."""
    voltage_error: str
    """Code for a start although the output has not the requested voltage."""
    uses: Mapping[str, CodeUse]
    """Its response codes."""

    def response(self, name: str, code: str = "OK", /, **fields: object) -> Element:
        return self.responses[name](**{"response_code": self.codes(code), **fields})


class RequestContext(request_context.RequestContext, frozen=True, kw_only=True):
    """The present state of everything outside the session."""

    messages: MessageSet
    stop: Stop | None
    """Why the charger ends the session, if it does."""
    signs_last: bool
    """Whether the last reading of the session has to be signed, before or while it stops."""
    strict: bool
    """Whether to refuse what vehicles in the field do beyond the edition's text."""
    pilot_s: float
    """How long the control pilot may take to reach the state that a request requires."""
    ongoing_s: float
    """Maximum duration of our own Ongoing."""
    joined: Paused | None
    """The stored state of the session that this one continues, if it was paused."""
    signature: Signature | None
    """The signature in the request's header."""
    asked_session: bytes
    """The SessionID in the request's header."""

    @property
    def renegotiate(self) -> bool:
        """Whether the vehicle is asked to negotiate its schedule again."""
        return self.notice is not None and self.notice.notification == "ScheduleRenegotiation"

    @property
    def delay_s(self) -> int:
        """NotificationMaxDelay: how long the vehicle may take to follow the notification, s; 0 without one, also where
        only a receipt is required."""
        notified = self.stop is not None or self.renegotiate
        if self.notice is None or not notified or self.stop in (Stop.EMERGENCY, Stop.MALFUNCTION):
            return 0
        return max(0, int(self.notice.until - self.now))


class Step(request_context.Step, frozen=True):
    """See `request_context.Step`; `quirks` are those that the request shows."""

    quirks: tuple[Quirk, ...] = ()
    signature: Signature | None = None


# -- The stages of these editions before the charge parameters, beside those of all editions


class Discovered(AfterSetup, frozen=True):
    """Services were listed, with these ids."""

    services: frozenset[int]


class Paying(AfterSetup, frozen=True):
    """Payment and services are selected."""


class Presenting(AfterSetup, frozen=True):
    """Payment by contract is selected; the vehicle presents it next."""


class Challenged(AfterSetup, frozen=True):
    """The contract's chain is valid; `challenge` waits to be signed, that of `opening` unless the journal is open."""

    contract: Contract
    challenge: bytes
    opening: JournalOpening | None = None


class Authorizing(stages.Authorizing, frozen=True, kw_only=True):
    """An external decision is pending."""

    opened: Opened


ISO2_HANDLERS: Final = Handlers[RequestContext]()
DIN_HANDLERS: Final = Handlers[RequestContext]()
"""Requests of contracts and alternating current are out of order in DIN 70121."""
