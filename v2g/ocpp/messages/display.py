"""Messages on the station's display (functional block O)."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages import base

MessagePriority = Literal["AlwaysFront", "InFront", "NormalCycle"]
MessageState = Annotated[
    Literal["Charging", "Faulted", "Idle", "Unavailable", "Suspended", "Discharging"],
    base.since_21("Suspended", "Discharging"),
]


class MessageInfo(base.Datatype, frozen=True, kw_only=True):
    """A message, and when it is shown: from `start_date_time` to `end_date_time`, in a state, during a transaction."""

    display: base.Component | None = None
    id: base.NonNegativeId
    priority: MessagePriority
    state: MessageState | None = None
    start_date_time: base.DateTime | None = None
    end_date_time: base.DateTime | None = None
    transaction_id: base.String36 | None = None
    message: base.MessageContent
    message_extra: Annotated[base.OneOrMore[base.MessageContent], Meta(max_length=4), base.V21] = ()


class SetDisplayMessageRequest(base.Message, frozen=True, kw_only=True):
    """CSMS adds a message, or replaces the one with its id (O01, O02, O06)."""

    message: MessageInfo


DisplayMessageStatus = Annotated[
    Literal[
        "Accepted",
        "NotSupportedMessageFormat",
        "Rejected",
        "NotSupportedPriority",
        "NotSupportedState",
        "UnknownTransaction",
        "LanguageNotSupported",
    ],
    base.since_21("LanguageNotSupported"),
]


class SetDisplayMessageResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SetDisplayMessage."""

    status: DisplayMessageStatus
    status_info: base.StatusInfo | None = None


class GetDisplayMessagesRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests messages, sent as NotifyDisplayMessages: all of them, or some (O03, O04)."""

    id: base.OneOrMore[base.NonNegativeId] = ()
    request_id: base.Identifier
    priority: MessagePriority | None = None
    state: MessageState | None = None


GetDisplayMessagesStatus = Literal["Accepted", "Unknown"]


class GetDisplayMessagesResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetDisplayMessages."""

    status: GetDisplayMessagesStatus
    status_info: base.StatusInfo | None = None


class NotifyDisplayMessagesRequest(base.Message, frozen=True, kw_only=True):
    """Station sends a part of the messages; `tbc` when more follows (O03, O04)."""

    message_info: base.OneOrMore[MessageInfo] = ()
    request_id: base.Identifier
    tbc: bool = False


class NotifyDisplayMessagesResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyDisplayMessages."""


class ClearDisplayMessageRequest(base.Message, frozen=True, kw_only=True):
    """CSMS removes a message (O05)."""

    id: base.NonNegativeId


ClearMessageStatus = Annotated[Literal["Accepted", "Unknown", "Rejected"], base.since_21("Rejected")]


class ClearDisplayMessageResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ClearDisplayMessage."""

    status: ClearMessageStatus
    status_info: base.StatusInfo | None = None
