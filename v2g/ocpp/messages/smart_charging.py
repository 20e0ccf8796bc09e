"""Charging profiles set, cleared and reported (functional block K), and discharging (block Q, 2.1 only)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages import base, charging_profiles


class SetChargingProfileRequest(base.Message, frozen=True, kw_only=True):
    """CSMS sets a charging profile on an EVSE, or on the station as EVSE 0 (K01)."""

    evse_id: base.NonNegative
    charging_profile: charging_profiles.ChargingProfile


ChargingProfileStatus = Literal["Accepted", "Rejected"]


class SetChargingProfileResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SetChargingProfile."""

    status: ChargingProfileStatus
    status_info: base.StatusInfo | None = None


class ClearChargingProfile(base.Datatype, frozen=True, kw_only=True):
    """Criteria of profiles to clear."""

    evse_id: base.NonNegative | None = None
    charging_profile_purpose: charging_profiles.ChargingProfilePurpose | None = None
    stack_level: base.NonNegative | None = None


class ClearChargingProfileRequest(base.Message, frozen=True, kw_only=True):
    """CSMS clears charging profiles (K10)."""

    charging_profile_id: base.Identifier | None = None
    charging_profile_criteria: ClearChargingProfile | None = None


ClearChargingProfileStatus = Literal["Accepted", "Unknown"]


class ClearChargingProfileResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ClearChargingProfile."""

    status: ClearChargingProfileStatus
    status_info: base.StatusInfo | None = None


ChargingLimitSource = Annotated[str, Meta(max_length=20), base.values_201("EMS", "Other", "SO", "CSO")]


class ChargingProfileCriterion(base.Datatype, frozen=True, kw_only=True):
    """Criteria of profiles to report."""

    charging_profile_purpose: charging_profiles.ChargingProfilePurpose | None = None
    stack_level: base.NonNegative | None = None
    charging_profile_id: base.OneOrMore[base.Identifier] = ()
    charging_limit_source: Annotated[base.OneOrMore[ChargingLimitSource], Meta(max_length=4)] = ()


class GetChargingProfilesRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests profiles, sent as ReportChargingProfiles (K09)."""

    request_id: base.Identifier
    evse_id: base.NonNegative | None = None
    charging_profile: ChargingProfileCriterion


GetChargingProfileStatus = Literal["Accepted", "NoProfiles"]


class GetChargingProfilesResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetChargingProfiles."""

    status: GetChargingProfileStatus
    status_info: base.StatusInfo | None = None


class ReportChargingProfilesRequest(base.Message, frozen=True, kw_only=True):
    """Station reports profiles that it holds (K09)."""

    request_id: base.Identifier
    charging_limit_source: ChargingLimitSource
    charging_profile: base.OneOrMore[charging_profiles.ChargingProfile]
    tbc: bool = False
    evse_id: base.NonNegative


class ReportChargingProfilesResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ReportChargingProfiles."""


class GetCompositeScheduleRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests the composite schedule for the next `duration` s (K08)."""

    duration: base.Integer
    charging_rate_unit: charging_profiles.ChargingRateUnit | None = None
    evse_id: base.NonNegative


class CompositeSchedule(base.Datatype, frozen=True, kw_only=True):
    """The composite schedule."""

    evse_id: base.NonNegative
    duration: base.Integer
    schedule_start: base.DateTime
    charging_rate_unit: charging_profiles.ChargingRateUnit
    charging_schedule_period: base.OneOrMore[charging_profiles.ChargingSchedulePeriod]


class GetCompositeScheduleResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetCompositeSchedule."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None
    schedule: CompositeSchedule | None = None


class ChargingLimit(base.Datatype, frozen=True, kw_only=True):
    """Source of an external limit."""

    charging_limit_source: ChargingLimitSource
    is_local_generation: Annotated[bool | None, base.V21] = None
    is_grid_critical: bool | None = None


class NotifyChargingLimitRequest(base.Message, frozen=True, kw_only=True):
    """Station reports an external limit (K12)."""

    charging_schedule: base.OneOrMore[charging_profiles.ChargingSchedule] = ()
    evse_id: base.NonNegative | None = None
    charging_limit: ChargingLimit


class NotifyChargingLimitResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyChargingLimit."""


class ClearedChargingLimitRequest(base.Message, frozen=True, kw_only=True):
    """Station reports that an external limit ended (K13)."""

    charging_limit_source: ChargingLimitSource
    evse_id: base.NonNegative | None = None


class ClearedChargingLimitResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ClearedChargingLimit."""


class ChargingScheduleUpdate(base.Datatype, frozen=True, kw_only=True):
    """New values, W or A by the schedule's unit, of the one period of a dynamic profile; discharging is negative.

    2.1 only.
    """

    limit: base.Decimal | None = None
    limit_l2: base.Decimal | None = field(default=None, name="limit_L2")
    limit_l3: base.Decimal | None = field(default=None, name="limit_L3")
    discharge_limit: base.NotPositive | None = None
    discharge_limit_l2: base.NotPositive | None = field(default=None, name="dischargeLimit_L2")
    discharge_limit_l3: base.NotPositive | None = field(default=None, name="dischargeLimit_L3")
    setpoint: base.Decimal | None = None
    setpoint_l2: base.Decimal | None = field(default=None, name="setpoint_L2")
    setpoint_l3: base.Decimal | None = field(default=None, name="setpoint_L3")
    setpoint_reactive: base.Decimal | None = None
    setpoint_reactive_l2: base.Decimal | None = field(default=None, name="setpointReactive_L2")
    setpoint_reactive_l3: base.Decimal | None = field(default=None, name="setpointReactive_L3")


class UpdateDynamicScheduleRequest(base.Message, frozen=True, kw_only=True):
    """CSMS changes a dynamic profile (K28). 2.1 only."""

    charging_profile_id: base.Identifier
    schedule_update: ChargingScheduleUpdate


class UpdateDynamicScheduleResponse(base.Message, frozen=True, kw_only=True):
    """Answer to UpdateDynamicSchedule. 2.1 only."""

    status: ChargingProfileStatus
    status_info: base.StatusInfo | None = None


class PullDynamicScheduleUpdateRequest(base.Message, frozen=True, kw_only=True):
    """Station requests the values of a dynamic profile, at its update interval (K28). 2.1 only."""

    charging_profile_id: base.Identifier


class PullDynamicScheduleUpdateResponse(base.Message, frozen=True, kw_only=True):
    """Answer to PullDynamicScheduleUpdate. 2.1 only."""

    schedule_update: ChargingScheduleUpdate | None = None
    status: ChargingProfileStatus
    status_info: base.StatusInfo | None = None


class UsePriorityChargingRequest(base.Message, frozen=True, kw_only=True):
    """CSMS turns priority charging of a transaction on or off (K21, K22). 2.1 only."""

    transaction_id: base.String36
    activate: bool


PriorityChargingStatus = Literal["Accepted", "Rejected", "NoProfile"]


class UsePriorityChargingResponse(base.Message, frozen=True, kw_only=True):
    """Answer to UsePriorityCharging. 2.1 only."""

    status: PriorityChargingStatus
    status_info: base.StatusInfo | None = None


class NotifyPriorityChargingRequest(base.Message, frozen=True, kw_only=True):
    """Station reports that the driver turned priority charging on or off (K21, K22). 2.1 only."""

    transaction_id: base.String36
    activated: bool


class NotifyPriorityChargingResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyPriorityCharging. 2.1 only."""


class AFRRSignalRequest(base.Message, frozen=True, kw_only=True):
    """CSMS forwards a frequency restoration signal, which the V2X signal-watt curve converts to W (Q07)."""

    timestamp: base.DateTime
    signal: base.Integer


class AFRRSignalResponse(base.Message, frozen=True, kw_only=True):
    """Answer to AFRRSignal."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None


class NotifyAllowedEnergyTransferRequest(base.Message, frozen=True, kw_only=True):
    """CSMS sets the energy transfer modes allowed for a transaction (Q01, Q02)."""

    transaction_id: base.String36
    allowed_energy_transfer: base.OneOrMore[base.EnergyTransferMode]


NotifyAllowedEnergyTransferStatus = Literal["Accepted", "Rejected"]


class NotifyAllowedEnergyTransferResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyAllowedEnergyTransfer."""

    status: NotifyAllowedEnergyTransferStatus
    status_info: base.StatusInfo | None = None
