"""Tariffs and running cost (functional block I). Money is in the tariff's currency, energy in kWh, time in s."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages import base


class TaxRate(base.Datatype, frozen=True, kw_only=True):
    """A tax on a price, in percent. 2.1 only."""

    type: base.String20
    tax: base.Decimal
    stack: base.NonNegative | None = None


class Price(base.Datatype, frozen=True, kw_only=True):
    """A price with and without taxes. 2.1 only."""

    excl_tax: base.Decimal | None = None
    incl_tax: base.Decimal | None = None
    tax_rates: Annotated[base.OneOrMore[TaxRate], Meta(max_length=5)] = ()


DayOfWeek = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
EvseKind = Literal["AC", "DC"]


class TariffConditions(base.Datatype, frozen=True, kw_only=True):
    """When a price applies. Times are local `HH:MM`, dates `YYYY-MM-DD`, energy Wh, power W, current A. 2.1 only."""

    start_time_of_day: str | None = None
    end_time_of_day: str | None = None
    day_of_week: Annotated[base.OneOrMore[DayOfWeek], Meta(max_length=7)] = ()
    valid_from_date: str | None = None
    valid_to_date: str | None = None
    evse_kind: EvseKind | None = None
    min_energy: base.Decimal | None = None
    max_energy: base.Decimal | None = None
    min_current: base.Decimal | None = None
    max_current: base.Decimal | None = None
    min_power: base.Decimal | None = None
    max_power: base.Decimal | None = None
    min_time: base.Integer | None = None
    max_time: base.Integer | None = None
    min_charging_time: base.Integer | None = None
    max_charging_time: base.Integer | None = None
    min_idle_time: base.Integer | None = None
    max_idle_time: base.Integer | None = None


class TariffEnergyPrice(base.Datatype, frozen=True, kw_only=True):
    """A price for one kWh. 2.1 only."""

    price_kwh: base.Decimal
    conditions: TariffConditions | None = None


class TariffEnergy(base.Datatype, frozen=True, kw_only=True):
    """Prices for energy. 2.1 only."""

    prices: base.OneOrMore[TariffEnergyPrice]
    tax_rates: Annotated[base.OneOrMore[TaxRate], Meta(max_length=5)] = ()


class TariffConditionsFixed(base.Datatype, frozen=True, kw_only=True):
    """When a fixed fee applies. 2.1 only."""

    start_time_of_day: str | None = None
    end_time_of_day: str | None = None
    day_of_week: Annotated[base.OneOrMore[DayOfWeek], Meta(max_length=7)] = ()
    valid_from_date: str | None = None
    valid_to_date: str | None = None
    evse_kind: EvseKind | None = None
    payment_brand: base.String20 | None = None
    payment_recognition: base.String20 | None = None


class TariffFixedPrice(base.Datatype, frozen=True, kw_only=True):
    """A fixed fee. 2.1 only."""

    conditions: TariffConditionsFixed | None = None
    price_fixed: base.Decimal


class TariffFixed(base.Datatype, frozen=True, kw_only=True):
    """Fixed fees. 2.1 only."""

    prices: base.OneOrMore[TariffFixedPrice]
    tax_rates: Annotated[base.OneOrMore[TaxRate], Meta(max_length=5)] = ()


class TariffTimePrice(base.Datatype, frozen=True, kw_only=True):
    """A price for one minute. 2.1 only."""

    price_minute: base.Decimal
    conditions: TariffConditions | None = None


class TariffTime(base.Datatype, frozen=True, kw_only=True):
    """Prices for time. 2.1 only."""

    prices: base.OneOrMore[TariffTimePrice]
    tax_rates: Annotated[base.OneOrMore[TaxRate], Meta(max_length=5)] = ()


class Tariff(base.Datatype, frozen=True, kw_only=True):
    """A tariff of one currency (ISO 4217). 2.1 only."""

    tariff_id: base.String60
    description: Annotated[base.OneOrMore[base.MessageContent], Meta(max_length=10)] = ()
    currency: base.String3
    energy: TariffEnergy | None = None
    valid_from: base.DateTime | None = None
    charging_time: TariffTime | None = None
    idle_time: TariffTime | None = None
    fixed_fee: TariffFixed | None = None
    reservation_time: TariffTime | None = None
    reservation_fixed: TariffFixed | None = None
    min_cost: Price | None = None
    max_cost: Price | None = None


CostDimensionKind = Literal["Energy", "MaxCurrent", "MinCurrent", "MaxPower", "MinPower", "IdleTIme", "ChargingTime"]


class CostDimension(base.Datatype, frozen=True, kw_only=True):
    """A volume in a charging period. 2.1 only."""

    type: CostDimensionKind
    volume: base.Decimal


class ChargingPeriod(base.Datatype, frozen=True, kw_only=True):
    """A period with one set of prices. 2.1 only."""

    dimensions: base.OneOrMore[CostDimension] = ()
    tariff_id: base.String60 | None = None
    start_period: base.DateTime


TariffCost = Literal["NormalCost", "MinCost", "MaxCost"]


class TotalPrice(base.Datatype, frozen=True, kw_only=True):
    """Totals with and without taxes. 2.1 only."""

    excl_tax: base.Decimal | None = None
    incl_tax: base.Decimal | None = None


class TotalCost(base.Datatype, frozen=True, kw_only=True):
    """Cost of a transaction by kind. 2.1 only."""

    currency: base.String3
    type_of_cost: TariffCost
    fixed: Price | None = None
    energy: Price | None = None
    charging_time: Price | None = None
    idle_time: Price | None = None
    reservation_time: Price | None = None
    reservation_fixed: Price | None = None
    total: TotalPrice


class TotalUsage(base.Datatype, frozen=True, kw_only=True):
    """Energy (Wh) and times (s) of a transaction. 2.1 only."""

    energy: base.Decimal
    charging_time: base.Integer
    idle_time: base.Integer
    reservation_time: base.Integer | None = None


class CostDetails(base.Datatype, frozen=True, kw_only=True):
    """Cost of a transaction as calculated by the station. 2.1 only."""

    charging_periods: base.OneOrMore[ChargingPeriod] = ()
    total_cost: TotalCost
    total_usage: TotalUsage
    failure_to_calculate: bool | None = None
    failure_reason: base.String500 | None = None


class CostUpdatedRequest(base.Message, frozen=True, kw_only=True):
    """CSMS sends the running cost (I02)."""

    total_cost: base.Decimal
    transaction_id: base.String36


class CostUpdatedResponse(base.Message, frozen=True, kw_only=True):
    """Answer to CostUpdated."""


class SetDefaultTariffRequest(base.Message, frozen=True, kw_only=True):
    """CSMS sets the tariff of an EVSE, or as EVSE 0 of all, for drivers without their own (I07). 2.1 only."""

    evse_id: base.NonNegative
    tariff: Tariff


TariffSetStatus = Literal["Accepted", "Rejected", "TooManyElements", "ConditionNotSupported", "DuplicateTariffId"]


class SetDefaultTariffResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SetDefaultTariff. 2.1 only."""

    status: TariffSetStatus
    status_info: base.StatusInfo | None = None


class GetTariffsRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests the tariffs of an EVSE, or as EVSE 0 of the station (I09). 2.1 only."""

    evse_id: base.NonNegative


TariffGetStatus = Literal["Accepted", "Rejected", "NoTariff"]
TariffKind = Literal["DefaultTariff", "DriverTariff"]


class TariffAssignment(base.Datatype, frozen=True, kw_only=True):
    """A tariff and its EVSEs or drivers. 2.1 only."""

    tariff_id: base.String60
    tariff_kind: TariffKind
    valid_from: base.DateTime | None = None
    evse_ids: base.OneOrMore[base.NonNegative] = ()
    id_tokens: base.OneOrMore[base.String255] = ()


class GetTariffsResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetTariffs. 2.1 only."""

    status: TariffGetStatus
    status_info: base.StatusInfo | None = None
    tariff_assignments: base.OneOrMore[TariffAssignment] = ()


class ClearTariffsRequest(base.Message, frozen=True, kw_only=True):
    """CSMS clears tariffs, all of an EVSE or of the station (I10). 2.1 only."""

    tariff_ids: base.OneOrMore[base.String60] = ()
    evse_id: base.NonNegative | None = None


TariffClearStatus = Literal["Accepted", "Rejected", "NoTariff"]


class ClearTariffsResult(base.Datatype, frozen=True, kw_only=True):
    """Result for one tariff. 2.1 only."""

    status_info: base.StatusInfo | None = None
    tariff_id: base.String60 | None = None
    status: TariffClearStatus


class ClearTariffsResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ClearTariffs. 2.1 only."""

    clear_tariffs_result: base.OneOrMore[ClearTariffsResult]


class ChangeTransactionTariffRequest(base.Message, frozen=True, kw_only=True):
    """CSMS changes the tariff of a running transaction (I11). 2.1 only."""

    tariff: Tariff
    transaction_id: base.String36


TariffChangeStatus = Literal[
    "Accepted", "Rejected", "TooManyElements", "ConditionNotSupported", "TxNotFound", "NoCurrencyChange"
]


class ChangeTransactionTariffResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ChangeTransactionTariff. 2.1 only."""

    status: TariffChangeStatus
    status_info: base.StatusInfo | None = None
