"""Charging profiles and schedules. Limits and set points are in W or A, by the schedule's unit."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages.base import (
    REQUIRED_201,
    V21,
    Datatype,
    DateTime,
    Decimal,
    Identifier,
    Integer,
    NonNegative,
    NotPositive,
    OneOrMore,
    OperationMode,
    String36,
    String88,
    String256,
    since_21,
)
from v2g.ocpp.messages.price_schedules import AbsolutePriceSchedule, PriceLevelSchedule, SalesTariff

ChargingProfileKind = Annotated[Literal["Absolute", "Recurring", "Relative", "Dynamic"], since_21("Dynamic")]
ChargingProfilePurpose = Annotated[
    Literal[
        "ChargingStationExternalConstraints",
        "ChargingStationMaxProfile",
        "TxDefaultProfile",
        "TxProfile",
        "PriorityCharging",
        "LocalGeneration",
    ],
    since_21("PriorityCharging", "LocalGeneration"),
]
ChargingRateUnit = Literal["W", "A"]


class V2XFreqWattPoint(Datatype, frozen=True, kw_only=True):
    """A point of a frequency (Hz) to power (W) curve. 2.1 only."""

    frequency: Decimal
    power: Decimal


class V2XSignalWattPoint(Datatype, frozen=True, kw_only=True):
    """A point of a signal to power (W) curve. 2.1 only."""

    signal: Integer
    power: Decimal


class ChargingSchedulePeriod(Datatype, frozen=True, kw_only=True):
    """Limits and set points from `start_period` (s after the schedule's start); discharging is negative."""

    start_period: Integer
    limit: Annotated[Decimal | None, REQUIRED_201] = None
    limit_l2: Annotated[Decimal | None, V21] = field(default=None, name="limit_L2")
    limit_l3: Annotated[Decimal | None, V21] = field(default=None, name="limit_L3")
    number_phases: Annotated[int, Meta(ge=0, le=3)] | None = None
    phase_to_use: Annotated[int, Meta(ge=0, le=3)] | None = None
    discharge_limit: Annotated[NotPositive | None, V21] = None
    discharge_limit_l2: Annotated[NotPositive | None, V21] = field(default=None, name="dischargeLimit_L2")
    discharge_limit_l3: Annotated[NotPositive | None, V21] = field(default=None, name="dischargeLimit_L3")
    setpoint: Annotated[Decimal | None, V21] = None
    setpoint_l2: Annotated[Decimal | None, V21] = field(default=None, name="setpoint_L2")
    setpoint_l3: Annotated[Decimal | None, V21] = field(default=None, name="setpoint_L3")
    setpoint_reactive: Annotated[Decimal | None, V21] = None
    setpoint_reactive_l2: Annotated[Decimal | None, V21] = field(default=None, name="setpointReactive_L2")
    setpoint_reactive_l3: Annotated[Decimal | None, V21] = field(default=None, name="setpointReactive_L3")
    preconditioning_request: Annotated[bool | None, V21] = None
    evse_sleep: Annotated[bool | None, V21] = None
    v2x_baseline: Annotated[Decimal | None, V21] = None
    operation_mode: Annotated[OperationMode | None, V21] = None
    v2x_freq_watt_curve: Annotated[OneOrMore[V2XFreqWattPoint], Meta(max_length=20), V21] = ()
    v2x_signal_watt_curve: Annotated[OneOrMore[V2XSignalWattPoint], Meta(max_length=20), V21] = ()


class LimitAtSoC(Datatype, frozen=True, kw_only=True):
    """A limit that applies from a state of charge (%) on. 2.1 only."""

    soc: Annotated[int, Meta(ge=0, le=100)]
    limit: Decimal


class ChargingSchedule(Datatype, frozen=True, kw_only=True):
    """Consecutive periods, `duration` s in total."""

    id: Identifier
    limit_at_soc: Annotated[LimitAtSoC | None, V21] = field(default=None, name="limitAtSoC")
    start_schedule: DateTime | None = None
    duration: Integer | None = None
    charging_rate_unit: ChargingRateUnit
    min_charging_rate: Decimal | None = None
    power_tolerance: Annotated[Decimal | None, V21] = None
    signature_id: Annotated[NonNegative | None, V21] = None
    digest_value: Annotated[String88 | None, V21] = None
    use_local_time: Annotated[bool | None, V21] = None
    charging_schedule_period: Annotated[OneOrMore[ChargingSchedulePeriod], Meta(max_length=1024)]
    randomized_delay: Annotated[NonNegative | None, V21] = None
    sales_tariff: SalesTariff | None = None
    absolute_price_schedule: Annotated[AbsolutePriceSchedule | None, V21] = None
    price_level_schedule: Annotated[PriceLevelSchedule | None, V21] = None


RecurrencyKind = Literal["Daily", "Weekly"]


class ChargingProfile(Datatype, frozen=True, kw_only=True):
    """A charging schedule with its purpose, stack level and validity (K01)."""

    id: Identifier
    stack_level: NonNegative
    charging_profile_purpose: ChargingProfilePurpose
    charging_profile_kind: ChargingProfileKind
    recurrency_kind: RecurrencyKind | None = None
    valid_from: DateTime | None = None
    valid_to: DateTime | None = None
    transaction_id: String36 | None = None
    max_offline_duration: Annotated[Integer | None, V21] = None
    charging_schedule: Annotated[OneOrMore[ChargingSchedule], Meta(max_length=3)]
    invalid_after_offline_duration: Annotated[bool | None, V21] = None
    dyn_update_interval: Annotated[Integer | None, V21] = None
    dyn_update_time: Annotated[DateTime | None, V21] = None
    price_schedule_signature: Annotated[String256 | None, V21] = None
