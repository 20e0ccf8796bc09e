"""Charging profiles set, cleared and reported (functional block K), and discharging (block Q, 2.1 only)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages.base import (
    V21,
    Datatype,
    DateTime,
    Decimal,
    EnergyTransferMode,
    GenericStatus,
    Identifier,
    Integer,
    Message,
    NonNegative,
    NotPositive,
    OneOrMore,
    StatusInfo,
    String36,
    values_201,
)
from v2g.ocpp.messages.charging_profiles import (
    ChargingProfile,
    ChargingProfilePurpose,
    ChargingRateUnit,
    ChargingSchedule,
    ChargingSchedulePeriod,
)


class SetChargingProfileRequest(Message, frozen=True, kw_only=True):
    """CSMS sets a charging profile on an EVSE, or on the station as EVSE 0 (K01)."""

    evse_id: NonNegative
    charging_profile: ChargingProfile


ChargingProfileStatus = Literal["Accepted", "Rejected"]


class SetChargingProfileResponse(Message, frozen=True, kw_only=True):
    """Answer to SetChargingProfile."""

    status: ChargingProfileStatus
    status_info: StatusInfo | None = None


class ClearChargingProfile(Datatype, frozen=True, kw_only=True):
    """Criteria of profiles to clear."""

    evse_id: NonNegative | None = None
    charging_profile_purpose: ChargingProfilePurpose | None = None
    stack_level: NonNegative | None = None


class ClearChargingProfileRequest(Message, frozen=True, kw_only=True):
    """CSMS clears charging profiles (K10)."""

    charging_profile_id: Identifier | None = None
    charging_profile_criteria: ClearChargingProfile | None = None


ClearChargingProfileStatus = Literal["Accepted", "Unknown"]


class ClearChargingProfileResponse(Message, frozen=True, kw_only=True):
    """Answer to ClearChargingProfile."""

    status: ClearChargingProfileStatus
    status_info: StatusInfo | None = None


ChargingLimitSource = Annotated[str, Meta(max_length=20), values_201("EMS", "Other", "SO", "CSO")]


class ChargingProfileCriterion(Datatype, frozen=True, kw_only=True):
    """Criteria of profiles to report."""

    charging_profile_purpose: ChargingProfilePurpose | None = None
    stack_level: NonNegative | None = None
    charging_profile_id: OneOrMore[Identifier] = ()
    charging_limit_source: Annotated[OneOrMore[ChargingLimitSource], Meta(max_length=4)] = ()


class GetChargingProfilesRequest(Message, frozen=True, kw_only=True):
    """CSMS requests profiles, sent as ReportChargingProfiles (K09)."""

    request_id: Identifier
    evse_id: NonNegative | None = None
    charging_profile: ChargingProfileCriterion


GetChargingProfileStatus = Literal["Accepted", "NoProfiles"]


class GetChargingProfilesResponse(Message, frozen=True, kw_only=True):
    """Answer to GetChargingProfiles."""

    status: GetChargingProfileStatus
    status_info: StatusInfo | None = None


class ReportChargingProfilesRequest(Message, frozen=True, kw_only=True):
    """Station reports profiles that it holds (K09)."""

    request_id: Identifier
    charging_limit_source: ChargingLimitSource
    charging_profile: OneOrMore[ChargingProfile]
    tbc: bool = False
    evse_id: NonNegative


class ReportChargingProfilesResponse(Message, frozen=True, kw_only=True):
    """Answer to ReportChargingProfiles."""


class GetCompositeScheduleRequest(Message, frozen=True, kw_only=True):
    """CSMS requests the composite schedule for the next `duration` s (K08)."""

    duration: Integer
    charging_rate_unit: ChargingRateUnit | None = None
    evse_id: NonNegative


class CompositeSchedule(Datatype, frozen=True, kw_only=True):
    """The composite schedule."""

    evse_id: NonNegative
    duration: Integer
    schedule_start: DateTime
    charging_rate_unit: ChargingRateUnit
    charging_schedule_period: OneOrMore[ChargingSchedulePeriod]


class GetCompositeScheduleResponse(Message, frozen=True, kw_only=True):
    """Answer to GetCompositeSchedule."""

    status: GenericStatus
    status_info: StatusInfo | None = None
    schedule: CompositeSchedule | None = None


class ChargingLimit(Datatype, frozen=True, kw_only=True):
    """Source of an external limit."""

    charging_limit_source: ChargingLimitSource
    is_local_generation: Annotated[bool | None, V21] = None
    is_grid_critical: bool | None = None


class NotifyChargingLimitRequest(Message, frozen=True, kw_only=True):
    """Station reports an external limit (K12)."""

    charging_schedule: OneOrMore[ChargingSchedule] = ()
    evse_id: NonNegative | None = None
    charging_limit: ChargingLimit


class NotifyChargingLimitResponse(Message, frozen=True, kw_only=True):
    """Answer to NotifyChargingLimit."""


class ClearedChargingLimitRequest(Message, frozen=True, kw_only=True):
    """Station reports that an external limit ended (K13)."""

    charging_limit_source: ChargingLimitSource
    evse_id: NonNegative | None = None


class ClearedChargingLimitResponse(Message, frozen=True, kw_only=True):
    """Answer to ClearedChargingLimit."""


class ChargingScheduleUpdate(Datatype, frozen=True, kw_only=True):
    """New values, W or A by the schedule's unit, of the one period of a dynamic profile; discharging is negative.

    2.1 only.
    """

    limit: Decimal | None = None
    limit_l2: Decimal | None = field(default=None, name="limit_L2")
    limit_l3: Decimal | None = field(default=None, name="limit_L3")
    discharge_limit: NotPositive | None = None
    discharge_limit_l2: NotPositive | None = field(default=None, name="dischargeLimit_L2")
    discharge_limit_l3: NotPositive | None = field(default=None, name="dischargeLimit_L3")
    setpoint: Decimal | None = None
    setpoint_l2: Decimal | None = field(default=None, name="setpoint_L2")
    setpoint_l3: Decimal | None = field(default=None, name="setpoint_L3")
    setpoint_reactive: Decimal | None = None
    setpoint_reactive_l2: Decimal | None = field(default=None, name="setpointReactive_L2")
    setpoint_reactive_l3: Decimal | None = field(default=None, name="setpointReactive_L3")


class UpdateDynamicScheduleRequest(Message, frozen=True, kw_only=True):
    """CSMS changes a dynamic profile (K28). 2.1 only."""

    charging_profile_id: Identifier
    schedule_update: ChargingScheduleUpdate


class UpdateDynamicScheduleResponse(Message, frozen=True, kw_only=True):
    """Answer to UpdateDynamicSchedule. 2.1 only."""

    status: ChargingProfileStatus
    status_info: StatusInfo | None = None


class PullDynamicScheduleUpdateRequest(Message, frozen=True, kw_only=True):
    """Station requests the values of a dynamic profile, at its update interval (K28). 2.1 only."""

    charging_profile_id: Identifier


class PullDynamicScheduleUpdateResponse(Message, frozen=True, kw_only=True):
    """Answer to PullDynamicScheduleUpdate. 2.1 only."""

    schedule_update: ChargingScheduleUpdate | None = None
    status: ChargingProfileStatus
    status_info: StatusInfo | None = None


class UsePriorityChargingRequest(Message, frozen=True, kw_only=True):
    """CSMS turns priority charging of a transaction on or off (K21, K22). 2.1 only."""

    transaction_id: String36
    activate: bool


PriorityChargingStatus = Literal["Accepted", "Rejected", "NoProfile"]


class UsePriorityChargingResponse(Message, frozen=True, kw_only=True):
    """Answer to UsePriorityCharging. 2.1 only."""

    status: PriorityChargingStatus
    status_info: StatusInfo | None = None


class NotifyPriorityChargingRequest(Message, frozen=True, kw_only=True):
    """Station reports that the driver turned priority charging on or off (K21, K22). 2.1 only."""

    transaction_id: String36
    activated: bool


class NotifyPriorityChargingResponse(Message, frozen=True, kw_only=True):
    """Answer to NotifyPriorityCharging. 2.1 only."""


class AFRRSignalRequest(Message, frozen=True, kw_only=True):
    """CSMS forwards a frequency restoration signal, which the V2X signal-watt curve converts to W (Q07)."""

    timestamp: DateTime
    signal: Integer


class AFRRSignalResponse(Message, frozen=True, kw_only=True):
    """Answer to AFRRSignal."""

    status: GenericStatus
    status_info: StatusInfo | None = None


class NotifyAllowedEnergyTransferRequest(Message, frozen=True, kw_only=True):
    """CSMS sets the energy transfer modes allowed for a transaction (Q01, Q02)."""

    transaction_id: String36
    allowed_energy_transfer: OneOrMore[EnergyTransferMode]


NotifyAllowedEnergyTransferStatus = Literal["Accepted", "Rejected"]


class NotifyAllowedEnergyTransferResponse(Message, frozen=True, kw_only=True):
    """Answer to NotifyAllowedEnergyTransfer."""

    status: NotifyAllowedEnergyTransferStatus
    status_info: StatusInfo | None = None
