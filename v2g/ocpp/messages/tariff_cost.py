"""Tariffs and running cost (functional block I). Money is in the tariff's currency, energy in kWh, time in s."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages.base import (
    Datatype,
    DateTime,
    Decimal,
    Integer,
    Message,
    MessageContent,
    NonNegative,
    OneOrMore,
    StatusInfo,
    String3,
    String20,
    String36,
    String60,
    String255,
    String500,
)


class TaxRate(Datatype, frozen=True, kw_only=True):
    """A tax on a price, in percent. 2.1 only."""

    type: String20
    tax: Decimal
    stack: NonNegative | None = None


class Price(Datatype, frozen=True, kw_only=True):
    """A price with and without taxes. 2.1 only."""

    excl_tax: Decimal | None = None
    incl_tax: Decimal | None = None
    tax_rates: Annotated[OneOrMore[TaxRate], Meta(max_length=5)] = ()


DayOfWeek = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
EvseKind = Literal["AC", "DC"]


class TariffConditions(Datatype, frozen=True, kw_only=True):
    """When a price applies. Times are local `HH:MM`, dates `YYYY-MM-DD`, energy Wh, power W, current A. 2.1 only."""

    start_time_of_day: str | None = None
    end_time_of_day: str | None = None
    day_of_week: Annotated[OneOrMore[DayOfWeek], Meta(max_length=7)] = ()
    valid_from_date: str | None = None
    valid_to_date: str | None = None
    evse_kind: EvseKind | None = None
    min_energy: Decimal | None = None
    max_energy: Decimal | None = None
    min_current: Decimal | None = None
    max_current: Decimal | None = None
    min_power: Decimal | None = None
    max_power: Decimal | None = None
    min_time: Integer | None = None
    max_time: Integer | None = None
    min_charging_time: Integer | None = None
    max_charging_time: Integer | None = None
    min_idle_time: Integer | None = None
    max_idle_time: Integer | None = None


class TariffEnergyPrice(Datatype, frozen=True, kw_only=True):
    """A price for one kWh. 2.1 only."""

    price_kwh: Decimal
    conditions: TariffConditions | None = None


class TariffEnergy(Datatype, frozen=True, kw_only=True):
    """Prices for energy. 2.1 only."""

    prices: OneOrMore[TariffEnergyPrice]
    tax_rates: Annotated[OneOrMore[TaxRate], Meta(max_length=5)] = ()


class TariffConditionsFixed(Datatype, frozen=True, kw_only=True):
    """When a fixed fee applies. 2.1 only."""

    start_time_of_day: str | None = None
    end_time_of_day: str | None = None
    day_of_week: Annotated[OneOrMore[DayOfWeek], Meta(max_length=7)] = ()
    valid_from_date: str | None = None
    valid_to_date: str | None = None
    evse_kind: EvseKind | None = None
    payment_brand: String20 | None = None
    payment_recognition: String20 | None = None


class TariffFixedPrice(Datatype, frozen=True, kw_only=True):
    """A fixed fee. 2.1 only."""

    conditions: TariffConditionsFixed | None = None
    price_fixed: Decimal


class TariffFixed(Datatype, frozen=True, kw_only=True):
    """Fixed fees. 2.1 only."""

    prices: OneOrMore[TariffFixedPrice]
    tax_rates: Annotated[OneOrMore[TaxRate], Meta(max_length=5)] = ()


class TariffTimePrice(Datatype, frozen=True, kw_only=True):
    """A price for one minute. 2.1 only."""

    price_minute: Decimal
    conditions: TariffConditions | None = None


class TariffTime(Datatype, frozen=True, kw_only=True):
    """Prices for time. 2.1 only."""

    prices: OneOrMore[TariffTimePrice]
    tax_rates: Annotated[OneOrMore[TaxRate], Meta(max_length=5)] = ()


class Tariff(Datatype, frozen=True, kw_only=True):
    """A tariff of one currency (ISO 4217). 2.1 only."""

    tariff_id: String60
    description: Annotated[OneOrMore[MessageContent], Meta(max_length=10)] = ()
    currency: String3
    energy: TariffEnergy | None = None
    valid_from: DateTime | None = None
    charging_time: TariffTime | None = None
    idle_time: TariffTime | None = None
    fixed_fee: TariffFixed | None = None
    reservation_time: TariffTime | None = None
    reservation_fixed: TariffFixed | None = None
    min_cost: Price | None = None
    max_cost: Price | None = None


CostDimensionKind = Literal["Energy", "MaxCurrent", "MinCurrent", "MaxPower", "MinPower", "IdleTIme", "ChargingTime"]


class CostDimension(Datatype, frozen=True, kw_only=True):
    """A volume in a charging period. 2.1 only."""

    type: CostDimensionKind
    volume: Decimal


class ChargingPeriod(Datatype, frozen=True, kw_only=True):
    """A period with one set of prices. 2.1 only."""

    dimensions: OneOrMore[CostDimension] = ()
    tariff_id: String60 | None = None
    start_period: DateTime


TariffCost = Literal["NormalCost", "MinCost", "MaxCost"]


class TotalPrice(Datatype, frozen=True, kw_only=True):
    """Totals with and without taxes. 2.1 only."""

    excl_tax: Decimal | None = None
    incl_tax: Decimal | None = None


class TotalCost(Datatype, frozen=True, kw_only=True):
    """Cost of a transaction by kind. 2.1 only."""

    currency: String3
    type_of_cost: TariffCost
    fixed: Price | None = None
    energy: Price | None = None
    charging_time: Price | None = None
    idle_time: Price | None = None
    reservation_time: Price | None = None
    reservation_fixed: Price | None = None
    total: TotalPrice


class TotalUsage(Datatype, frozen=True, kw_only=True):
    """Energy (Wh) and times (s) of a transaction. 2.1 only."""

    energy: Decimal
    charging_time: Integer
    idle_time: Integer
    reservation_time: Integer | None = None


class CostDetails(Datatype, frozen=True, kw_only=True):
    """Cost of a transaction as calculated by the station. 2.1 only."""

    charging_periods: OneOrMore[ChargingPeriod] = ()
    total_cost: TotalCost
    total_usage: TotalUsage
    failure_to_calculate: bool | None = None
    failure_reason: String500 | None = None


class CostUpdatedRequest(Message, frozen=True, kw_only=True):
    """CSMS sends the running cost (I02)."""

    total_cost: Decimal
    transaction_id: String36


class CostUpdatedResponse(Message, frozen=True, kw_only=True):
    """Answer to CostUpdated."""


class SetDefaultTariffRequest(Message, frozen=True, kw_only=True):
    """CSMS sets the tariff of an EVSE, or as EVSE 0 of all, for drivers without their own (I07). 2.1 only."""

    evse_id: NonNegative
    tariff: Tariff


TariffSetStatus = Literal["Accepted", "Rejected", "TooManyElements", "ConditionNotSupported", "DuplicateTariffId"]


class SetDefaultTariffResponse(Message, frozen=True, kw_only=True):
    """Answer to SetDefaultTariff. 2.1 only."""

    status: TariffSetStatus
    status_info: StatusInfo | None = None


class GetTariffsRequest(Message, frozen=True, kw_only=True):
    """CSMS requests the tariffs of an EVSE, or as EVSE 0 of the station (I09). 2.1 only."""

    evse_id: NonNegative


TariffGetStatus = Literal["Accepted", "Rejected", "NoTariff"]
TariffKind = Literal["DefaultTariff", "DriverTariff"]


class TariffAssignment(Datatype, frozen=True, kw_only=True):
    """A tariff and its EVSEs or drivers. 2.1 only."""

    tariff_id: String60
    tariff_kind: TariffKind
    valid_from: DateTime | None = None
    evse_ids: OneOrMore[NonNegative] = ()
    id_tokens: OneOrMore[String255] = ()


class GetTariffsResponse(Message, frozen=True, kw_only=True):
    """Answer to GetTariffs. 2.1 only."""

    status: TariffGetStatus
    status_info: StatusInfo | None = None
    tariff_assignments: OneOrMore[TariffAssignment] = ()


class ClearTariffsRequest(Message, frozen=True, kw_only=True):
    """CSMS clears tariffs, all of an EVSE or of the station (I10). 2.1 only."""

    tariff_ids: OneOrMore[String60] = ()
    evse_id: NonNegative | None = None


TariffClearStatus = Literal["Accepted", "Rejected", "NoTariff"]


class ClearTariffsResult(Datatype, frozen=True, kw_only=True):
    """Result for one tariff. 2.1 only."""

    status_info: StatusInfo | None = None
    tariff_id: String60 | None = None
    status: TariffClearStatus


class ClearTariffsResponse(Message, frozen=True, kw_only=True):
    """Answer to ClearTariffs. 2.1 only."""

    clear_tariffs_result: OneOrMore[ClearTariffsResult]


class ChangeTransactionTariffRequest(Message, frozen=True, kw_only=True):
    """CSMS changes the tariff of a running transaction (I11). 2.1 only."""

    tariff: Tariff
    transaction_id: String36


TariffChangeStatus = Literal[
    "Accepted", "Rejected", "TooManyElements", "ConditionNotSupported", "TxNotFound", "NoCurrencyChange"
]


class ChangeTransactionTariffResponse(Message, frozen=True, kw_only=True):
    """Answer to ChangeTransactionTariff. 2.1 only."""

    status: TariffChangeStatus
    status_info: StatusInfo | None = None
