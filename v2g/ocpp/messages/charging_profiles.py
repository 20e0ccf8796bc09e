"""Charging profiles and schedules. Limits and set points are in W or A, by the schedule's unit."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages import base
from v2g.ocpp.messages.price_schedules import AbsolutePriceSchedule, PriceLevelSchedule, SalesTariff

ChargingProfileKind = Annotated[Literal["Absolute", "Recurring", "Relative", "Dynamic"], base.since_21("Dynamic")]
ChargingProfilePurpose = Annotated[
    Literal[
        "ChargingStationExternalConstraints",
        "ChargingStationMaxProfile",
        "TxDefaultProfile",
        "TxProfile",
        "PriorityCharging",
        "LocalGeneration",
    ],
    base.since_21("PriorityCharging", "LocalGeneration"),
]
ChargingRateUnit = Literal["W", "A"]


class V2XFreqWattPoint(base.Datatype, frozen=True, kw_only=True):
    """A point of a frequency (Hz) to power (W) curve. 2.1 only."""

    frequency: base.Decimal
    power: base.Decimal


class V2XSignalWattPoint(base.Datatype, frozen=True, kw_only=True):
    """A point of a signal to power (W) curve. 2.1 only."""

    signal: base.Integer
    power: base.Decimal


class ChargingSchedulePeriod(base.Datatype, frozen=True, kw_only=True):
    """Limits and set points from `start_period` (s after the schedule's start); discharging is negative."""

    start_period: base.Integer
    limit: Annotated[base.Decimal | None, base.REQUIRED_201] = None
    limit_l2: Annotated[base.Decimal | None, base.V21] = field(default=None, name="limit_L2")
    limit_l3: Annotated[base.Decimal | None, base.V21] = field(default=None, name="limit_L3")
    number_phases: Annotated[int, Meta(ge=0, le=3)] | None = None
    phase_to_use: Annotated[int, Meta(ge=0, le=3)] | None = None
    discharge_limit: Annotated[base.NotPositive | None, base.V21] = None
    discharge_limit_l2: Annotated[base.NotPositive | None, base.V21] = field(default=None, name="dischargeLimit_L2")
    discharge_limit_l3: Annotated[base.NotPositive | None, base.V21] = field(default=None, name="dischargeLimit_L3")
    setpoint: Annotated[base.Decimal | None, base.V21] = None
    setpoint_l2: Annotated[base.Decimal | None, base.V21] = field(default=None, name="setpoint_L2")
    setpoint_l3: Annotated[base.Decimal | None, base.V21] = field(default=None, name="setpoint_L3")
    setpoint_reactive: Annotated[base.Decimal | None, base.V21] = None
    setpoint_reactive_l2: Annotated[base.Decimal | None, base.V21] = field(default=None, name="setpointReactive_L2")
    setpoint_reactive_l3: Annotated[base.Decimal | None, base.V21] = field(default=None, name="setpointReactive_L3")
    preconditioning_request: Annotated[bool | None, base.V21] = None
    evse_sleep: Annotated[bool | None, base.V21] = None
    v2x_baseline: Annotated[base.Decimal | None, base.V21] = None
    operation_mode: Annotated[base.OperationMode | None, base.V21] = None
    v2x_freq_watt_curve: Annotated[base.OneOrMore[V2XFreqWattPoint], Meta(max_length=20), base.V21] = ()
    v2x_signal_watt_curve: Annotated[base.OneOrMore[V2XSignalWattPoint], Meta(max_length=20), base.V21] = ()


class LimitAtSoC(base.Datatype, frozen=True, kw_only=True):
    """A limit that applies from a state of charge (%) on. 2.1 only."""

    soc: Annotated[int, Meta(ge=0, le=100)]
    limit: base.Decimal


class ChargingSchedule(base.Datatype, frozen=True, kw_only=True):
    """Consecutive periods, `duration` s in total."""

    id: base.Identifier
    limit_at_soc: Annotated[LimitAtSoC | None, base.V21] = field(default=None, name="limitAtSoC")
    start_schedule: base.DateTime | None = None
    duration: base.Integer | None = None
    charging_rate_unit: ChargingRateUnit
    min_charging_rate: base.Decimal | None = None
    power_tolerance: Annotated[base.Decimal | None, base.V21] = None
    signature_id: Annotated[base.NonNegative | None, base.V21] = None
    digest_value: Annotated[base.String88 | None, base.V21] = None
    use_local_time: Annotated[bool | None, base.V21] = None
    charging_schedule_period: Annotated[base.OneOrMore[ChargingSchedulePeriod], Meta(max_length=1024)]
    randomized_delay: Annotated[base.NonNegative | None, base.V21] = None
    sales_tariff: SalesTariff | None = None
    absolute_price_schedule: Annotated[AbsolutePriceSchedule | None, base.V21] = None
    price_level_schedule: Annotated[PriceLevelSchedule | None, base.V21] = None


RecurrencyKind = Literal["Daily", "Weekly"]


class ChargingProfile(base.Datatype, frozen=True, kw_only=True):
    """A charging schedule with its purpose, stack level and validity (K01)."""

    id: base.Identifier
    stack_level: base.NonNegative
    charging_profile_purpose: ChargingProfilePurpose
    charging_profile_kind: ChargingProfileKind
    recurrency_kind: RecurrencyKind | None = None
    valid_from: base.DateTime | None = None
    valid_to: base.DateTime | None = None
    transaction_id: base.String36 | None = None
    max_offline_duration: Annotated[base.Integer | None, base.V21] = None
    charging_schedule: Annotated[base.OneOrMore[ChargingSchedule], Meta(max_length=3)]
    invalid_after_offline_duration: Annotated[bool | None, base.V21] = None
    dyn_update_interval: Annotated[base.Integer | None, base.V21] = None
    dyn_update_time: Annotated[base.DateTime | None, base.V21] = None
    price_schedule_signature: Annotated[base.String256 | None, base.V21] = None
