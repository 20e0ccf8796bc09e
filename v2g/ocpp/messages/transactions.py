"""Transactions (functional block E)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages import base
from v2g.ocpp.messages.authorization import IdToken, IdTokenInfo
from v2g.ocpp.messages.metering import MeterValue
from v2g.ocpp.messages.tariff_cost import CostDetails

PreconditioningStatus = Literal["Unknown", "Ready", "NotReady", "Preconditioning"]
TransactionEventType = Literal["Ended", "Started", "Updated"]
ChargingState = Literal["EVConnected", "Charging", "SuspendedEV", "SuspendedEVSE", "Idle"]
Reason = Annotated[
    Literal[
        "DeAuthorized",
        "EmergencyStop",
        "EnergyLimitReached",
        "EVDisconnected",
        "GroundFault",
        "ImmediateReset",
        "MasterPass",
        "Local",
        "LocalOutOfCredit",
        "Other",
        "OvercurrentFault",
        "PowerLoss",
        "PowerQuality",
        "Reboot",
        "Remote",
        "SOCLimitReached",
        "StoppedByEV",
        "TimeLimitReached",
        "Timeout",
        "ReqEnergyTransferRejected",
    ],
    base.since_21("ReqEnergyTransferRejected"),
]


class TransactionLimit(base.Datatype, frozen=True, kw_only=True):
    """Limits of cost, energy (Wh), time (s) and state of charge (%) of a transaction. 2.1 only."""

    max_cost: base.Decimal | None = None
    max_energy: base.Decimal | None = None
    max_time: base.Integer | None = None
    max_soc: Annotated[int, Meta(ge=0, le=100)] | None = field(default=None, name="maxSoC")


class Transaction(base.Datatype, frozen=True, kw_only=True):
    """The transaction an event belongs to."""

    transaction_id: base.String36
    charging_state: ChargingState | None = None
    time_spent_charging: base.Integer | None = None
    stopped_reason: Reason | None = None
    remote_start_id: base.Identifier | None = None
    operation_mode: Annotated[base.OperationMode | None, base.V21] = None
    tariff_id: Annotated[base.String60 | None, base.V21] = None
    transaction_limit: Annotated[TransactionLimit | None, base.V21] = None


TriggerReason = Annotated[
    Literal[
        "AbnormalCondition",
        "Authorized",
        "CablePluggedIn",
        "ChargingRateChanged",
        "ChargingStateChanged",
        "CostLimitReached",
        "Deauthorized",
        "EnergyLimitReached",
        "EVCommunicationLost",
        "EVConnectTimeout",
        "EVDeparted",
        "EVDetected",
        "LimitSet",
        "MeterValueClock",
        "MeterValuePeriodic",
        "OperationModeChanged",
        "RemoteStart",
        "RemoteStop",
        "ResetCommand",
        "RunningCost",
        "SignedDataReceived",
        "SoCLimitReached",
        "StopAuthorized",
        "TariffChanged",
        "TariffNotAccepted",
        "TimeLimitReached",
        "Trigger",
        "TxResumed",
        "UnlockCommand",
    ],
    base.since_21(
        "CostLimitReached",
        "LimitSet",
        "OperationModeChanged",
        "RunningCost",
        "SoCLimitReached",
        "TariffChanged",
        "TariffNotAccepted",
        "TxResumed",
    ),
]


class TransactionEventRequest(base.Message, frozen=True, kw_only=True):
    """Station reports start, progress or end; `seq_no` counts from 0 without gaps (E01 to E15)."""

    cost_details: Annotated[CostDetails | None, base.V21] = None
    event_type: TransactionEventType
    meter_value: base.OneOrMore[MeterValue] = ()
    timestamp: base.DateTime
    trigger_reason: TriggerReason
    seq_no: base.NonNegative
    offline: bool = False
    number_of_phases_used: Annotated[int, Meta(ge=0, le=3)] | None = None
    cable_max_current: base.Integer | None = None
    reservation_id: base.NonNegativeId | None = None
    preconditioning_status: Annotated[PreconditioningStatus | None, base.V21] = None
    evse_sleep: Annotated[bool | None, base.V21] = None
    transaction_info: Transaction
    evse: base.EVSE | None = None
    id_token: IdToken | None = None


class TransactionEventResponse(base.Message, frozen=True, kw_only=True):
    """An invalid `id_token_info.status` asks the station to stop the transaction (E05)."""

    total_cost: base.Decimal | None = None
    charging_priority: base.Integer | None = None
    id_token_info: IdTokenInfo | None = None
    transaction_limit: Annotated[TransactionLimit | None, base.V21] = None
    updated_personal_message: base.MessageContent | None = None
    updated_personal_message_extra: Annotated[base.OneOrMore[base.MessageContent], Meta(max_length=4), base.V21] = ()


class GetTransactionStatusRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests whether a transaction runs and whether messages are queued (E14)."""

    transaction_id: base.String36 | None = None


class GetTransactionStatusResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetTransactionStatus."""

    ongoing_indicator: bool | None = None
    messages_in_queue: bool
