"""Messages on the station's display (functional block O)."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages.base import (
    V21,
    Component,
    Datatype,
    DateTime,
    Identifier,
    Message,
    MessageContent,
    NonNegativeId,
    OneOrMore,
    StatusInfo,
    String36,
    since_21,
)

MessagePriority = Literal["AlwaysFront", "InFront", "NormalCycle"]
MessageState = Annotated[
    Literal["Charging", "Faulted", "Idle", "Unavailable", "Suspended", "Discharging"],
    since_21("Suspended", "Discharging"),
]


class MessageInfo(Datatype, frozen=True, kw_only=True):
    """A message, and when it is shown: from `start_date_time` to `end_date_time`, in a state, during a transaction."""

    display: Component | None = None
    id: NonNegativeId
    priority: MessagePriority
    state: MessageState | None = None
    start_date_time: DateTime | None = None
    end_date_time: DateTime | None = None
    transaction_id: String36 | None = None
    message: MessageContent
    message_extra: Annotated[OneOrMore[MessageContent], Meta(max_length=4), V21] = ()


class SetDisplayMessageRequest(Message, frozen=True, kw_only=True):
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
    since_21("LanguageNotSupported"),
]


class SetDisplayMessageResponse(Message, frozen=True, kw_only=True):
    """Answer to SetDisplayMessage."""

    status: DisplayMessageStatus
    status_info: StatusInfo | None = None


class GetDisplayMessagesRequest(Message, frozen=True, kw_only=True):
    """CSMS requests messages, sent as NotifyDisplayMessages: all of them, or some (O03, O04)."""

    id: OneOrMore[NonNegativeId] = ()
    request_id: Identifier
    priority: MessagePriority | None = None
    state: MessageState | None = None


GetDisplayMessagesStatus = Literal["Accepted", "Unknown"]


class GetDisplayMessagesResponse(Message, frozen=True, kw_only=True):
    """Answer to GetDisplayMessages."""

    status: GetDisplayMessagesStatus
    status_info: StatusInfo | None = None


class NotifyDisplayMessagesRequest(Message, frozen=True, kw_only=True):
    """Station sends a part of the messages; `tbc` when more follows (O03, O04)."""

    message_info: OneOrMore[MessageInfo] = ()
    request_id: Identifier
    tbc: bool = False


class NotifyDisplayMessagesResponse(Message, frozen=True, kw_only=True):
    """Answer to NotifyDisplayMessages."""


class ClearDisplayMessageRequest(Message, frozen=True, kw_only=True):
    """CSMS removes a message (O05)."""

    id: NonNegativeId


ClearMessageStatus = Annotated[Literal["Accepted", "Unknown", "Rejected"], since_21("Rejected")]


class ClearDisplayMessageResponse(Message, frozen=True, kw_only=True):
    """Answer to ClearDisplayMessage."""

    status: ClearMessageStatus
    status_info: StatusInfo | None = None
