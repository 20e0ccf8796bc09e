"""Immediate commands of the CSMS to a station (functional block F)."""

from typing import Annotated, Literal

from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import (
    EVSE,
    V21,
    Identifier,
    Message,
    NonNegative,
    Positive,
    StatusInfo,
    String36,
    String50,
    since_21,
)
from v2g.ocpp.messages.charging_profiles import ChargingProfile


class RequestStartTransactionRequest(Message, frozen=True, kw_only=True):
    """CSMS starts a transaction (F01, F02)."""

    evse_id: Positive | None = None
    group_id_token: IdToken | None = None
    id_token: IdToken
    remote_start_id: Identifier
    charging_profile: ChargingProfile | None = None


RequestStartStopStatus = Literal["Accepted", "Rejected"]


class RequestStartTransactionResponse(Message, frozen=True, kw_only=True):
    """Answer to RequestStartTransaction."""

    status: RequestStartStopStatus
    status_info: StatusInfo | None = None
    transaction_id: String36 | None = None


class RequestStopTransactionRequest(Message, frozen=True, kw_only=True):
    """CSMS stops a transaction (F03)."""

    transaction_id: String36


class RequestStopTransactionResponse(Message, frozen=True, kw_only=True):
    """Answer to RequestStopTransaction."""

    status: RequestStartStopStatus
    status_info: StatusInfo | None = None


MessageTrigger = Annotated[
    Literal[
        "BootNotification",
        "LogStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "MeterValues",
        "SignChargingStationCertificate",
        "SignV2GCertificate",
        "SignV2G20Certificate",
        "StatusNotification",
        "TransactionEvent",
        "SignCombinedCertificate",
        "PublishFirmwareStatusNotification",
        "CustomTrigger",
    ],
    since_21("SignV2G20Certificate", "CustomTrigger"),
]


class TriggerMessageRequest(Message, frozen=True, kw_only=True):
    """CSMS triggers a message (F06)."""

    evse: EVSE | None = None
    requested_message: MessageTrigger
    custom_trigger: Annotated[String50 | None, V21] = None


TriggerMessageStatus = Literal["Accepted", "Rejected", "NotImplemented"]


class TriggerMessageResponse(Message, frozen=True, kw_only=True):
    """Answer to TriggerMessage."""

    status: TriggerMessageStatus
    status_info: StatusInfo | None = None


class UnlockConnectorRequest(Message, frozen=True, kw_only=True):
    """CSMS unlocks a connector (F05)."""

    evse_id: NonNegative
    connector_id: NonNegative


UnlockStatus = Literal["Unlocked", "UnlockFailed", "OngoingAuthorizedTransaction", "UnknownConnector"]


class UnlockConnectorResponse(Message, frozen=True, kw_only=True):
    """Answer to UnlockConnector."""

    status: UnlockStatus
    status_info: StatusInfo | None = None
