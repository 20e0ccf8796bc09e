"""Immediate commands of the CSMS to a station (functional block F)."""

from typing import Annotated, Literal

from v2g.ocpp.messages import base
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.charging_profiles import ChargingProfile


class RequestStartTransactionRequest(base.Message, frozen=True, kw_only=True):
    """CSMS starts a transaction (F01, F02)."""

    evse_id: base.Positive | None = None
    group_id_token: IdToken | None = None
    id_token: IdToken
    remote_start_id: base.Identifier
    charging_profile: ChargingProfile | None = None


RequestStartStopStatus = Literal["Accepted", "Rejected"]


class RequestStartTransactionResponse(base.Message, frozen=True, kw_only=True):
    """Answer to RequestStartTransaction."""

    status: RequestStartStopStatus
    status_info: base.StatusInfo | None = None
    transaction_id: base.String36 | None = None


class RequestStopTransactionRequest(base.Message, frozen=True, kw_only=True):
    """CSMS stops a transaction (F03)."""

    transaction_id: base.String36


class RequestStopTransactionResponse(base.Message, frozen=True, kw_only=True):
    """Answer to RequestStopTransaction."""

    status: RequestStartStopStatus
    status_info: base.StatusInfo | None = None


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
    base.since_21("SignV2G20Certificate", "CustomTrigger"),
]


class TriggerMessageRequest(base.Message, frozen=True, kw_only=True):
    """CSMS triggers a message (F06)."""

    evse: base.EVSE | None = None
    requested_message: MessageTrigger
    custom_trigger: Annotated[base.String50 | None, base.V21] = None


TriggerMessageStatus = Literal["Accepted", "Rejected", "NotImplemented"]


class TriggerMessageResponse(base.Message, frozen=True, kw_only=True):
    """Answer to TriggerMessage."""

    status: TriggerMessageStatus
    status_info: base.StatusInfo | None = None


class UnlockConnectorRequest(base.Message, frozen=True, kw_only=True):
    """CSMS unlocks a connector (F05)."""

    evse_id: base.NonNegative
    connector_id: base.NonNegative


UnlockStatus = Literal["Unlocked", "UnlockFailed", "OngoingAuthorizedTransaction", "UnknownConnector"]


class UnlockConnectorResponse(base.Message, frozen=True, kw_only=True):
    """Answer to UnlockConnector."""

    status: UnlockStatus
    status_info: base.StatusInfo | None = None
