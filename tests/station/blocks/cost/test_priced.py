"""One transaction's cost as the station counts it: clocks that are set, restarts, meters that fail (I12)."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from v2g.energy.price_plan import Bound, Charge, PricePlan, Rate, When
from v2g.ocpp.messages.authorization import AdditionalInfo, IdToken
from v2g.units import MICRO
from v2g_station.blocks.cost.priced import Priced, PricedState, PricedTerms, priced_from_now, stored_prices
from v2g_station.blocks.transaction_records import MeterSample, TransactionRecord
from v2g_station.kernel.kernel import Kernel, Moment
from v2g_station.kernel.layout import ConnectorLayout, EvseLayout, StationLayout

START = datetime(2026, 5, 28, 20, 30, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)
TOKEN = IdToken(id_token="T", type="Central")


def price(text: str, **when: Any) -> Charge:
    """One price, perhaps with a condition."""
    return Charge(rates=(Rate(price=text, when=When(**when)),))


BY_ENERGY = PricePlan(id="E", currency="EUR", energy=price("0.50"))
BY_TIME = PricePlan(id="T", currency="EUR", charging_time=price("0.06"), idle_time=price("0.03"))
"""A tenth and a twentieth of a cent per second."""
BOTH = PricePlan(id="B", currency="EUR", energy=price("0.50"), charging_time=price("0.06"), idle_time=price("0.03"))


class Count:
    """A transaction whose cost is counted, a meter and a clock."""

    def __init__(
        self,
        plan: PricePlan,
        *,
        wh: int | None = 1000,
        charging: bool = True,
        before_s: int = 0,
        reserved_s: int | None = None,
        fees: bool = True,
        scale: float = 1.0,
        amperes: int = 0,
        token: IdToken = TOKEN,
    ) -> None:
        self.now, self.utc_ms, self.wh, self.out_wh, self.amperes = 100.0, START_MS, wh, 0, amperes
        self.scale = scale
        record = TransactionRecord(
            transaction_id="tx", reference="s", evse_id=1, connector_id=1, started_ms=START_MS - before_s * 1000,
            id_token="T", id_token_type="Central", charging_state="Charging" if charging else "EVConnected",
        )  # fmt: skip
        terms = PricedTerms(evse_id=1, id_token=token, own=False, plans=((START_MS, plan),), evse_kind="DC")
        reserved_ms = None if reserved_s is None else record.started_ms - reserved_s * 1000
        self.priced = priced_from_now(
            record, terms, self.moment, self.sample, amperes, reserved_ms=reserved_ms, fees=fees, scale=scale
        )

    @property
    def moment(self) -> Moment:
        return Moment(self.now, self.utc_ms)

    @property
    def sample(self) -> MeterSample | None:
        if self.wh is None:
            return None
        return MeterSample(utc_ms=self.utc_ms, import_mwh=self.wh * 1000, export_mwh=self.out_wh * 1000)

    def goes_on(self, seconds: float, wh: int = 0, *, clock_set_ms: int = 0) -> bool:
        """Let time pass and energy flow; return whether the clock was set by what was counted."""
        self.now += seconds
        self.utc_ms += round(seconds * 1000 * self.scale) + clock_set_ms
        if self.wh is not None:
            self.wh += wh
        return self.priced.advance(self.moment, self.sample, self.amperes)

    @property
    def cents(self) -> float:
        """The cost so far."""
        return self.priced.bill().incl_tax * 100 / MICRO


def restarted(count: Count) -> Count:
    """The same after the program has been started again."""
    layout = StationLayout(evses=(EvseLayout(connectors=(ConnectorLayout(),)),))
    saved = {
        "terms": {"tx": msgspec.json.encode(count.priced.terms), "other": msgspec.json.encode(count.priced.terms)},
        "costs": {"tx": msgspec.json.encode(count.priced.state), "third": msgspec.json.encode(count.priced.state)},
    }
    kernel = Kernel(layout, saved, count.moment, bytes, scale=count.scale)
    (count.priced,) = stored_prices(kernel).values()
    return count


def test_energy_and_time_cost_what_the_plan_says() -> None:
    count = Count(BOTH)
    assert (count.priced.name, count.priced.reported_at, count.priced.shown) == ("tx", 0.0, None)
    assert count.goes_on(600, 2000) is False
    assert count.cents == 100 + 60
    count.priced.flows(charging=False)
    count.goes_on(300)
    assert count.cents == 160 + 15
    count.priced.flows(charging=True)
    count.goes_on(10)
    assert count.cents == 175 + 1


def test_a_transaction_that_does_not_charge_yet_is_idle() -> None:
    count = Count(BY_TIME, charging=False)
    count.goes_on(20)
    assert count.cents == 1


def test_the_time_before_is_free_and_counts_for_conditions() -> None:
    """The fees are those of the start (I12.FR.06)."""
    plan = msgspec.structs.replace(
        BY_TIME, fixed=price("1.00", to_minute=20 * 60 + 30), charging_time=price("0.06", min_time_s=60)
    )
    count = Count(plan, before_s=50)
    assert count.cents == 100
    count.goes_on(10)
    assert count.cents == 100
    count.goes_on(10)
    assert count.cents == 101
    assert Count(plan).cents == 0
    assert Count(plan, before_s=50, fees=False).cents == 0
    count = Count(plan, before_s=-60)  # the clock was set back: begun now
    count.goes_on(60)
    count.goes_on(10)
    assert count.cents == 1


def test_a_reservation_costs_from_its_start_to_that_of_the_transaction() -> None:
    plan = msgspec.structs.replace(BY_TIME, reservation_time=price("0.60"), reservation_fixed=price("2.00"))
    assert Count(plan, before_s=30, reserved_s=20).cents == 220
    assert Count(plan, before_s=30).cents == 0


def test_registers_that_fall_or_cannot_be_read_keep_their_value() -> None:
    plan = msgspec.structs.replace(BY_ENERGY, export=price("0.10"))
    count = Count(plan)
    count.out_wh = 500
    count.goes_on(10, 2000)
    assert count.cents == 100 - 5
    count.out_wh = 0
    count.goes_on(10, -2900)
    assert count.cents == 95
    count.wh, kept = None, count.wh
    count.goes_on(10)
    assert count.cents == 95
    count.wh, count.out_wh = 3500, 600
    count.goes_on(10)
    assert (kept, count.cents) == (100, 95 + 25 - 1)


def test_use_at_one_moment_is_counted_as_well() -> None:
    count = Count(BOTH)
    count.goes_on(0, 2000)
    assert count.cents == 100


@pytest.mark.parametrize("by_ms", [1000, 3_600_000, -1000, -3_600_000])
def test_a_clock_that_is_set_takes_no_time_and_moves_all_of_the_transaction(by_ms: int) -> None:
    plan = msgspec.structs.replace(BY_TIME, charging_time=price("0.06", min_time_s=20))
    count = Count(plan)
    count.goes_on(10)
    assert count.goes_on(10, clock_set_ms=by_ms) is True
    assert count.priced.terms.plans == ((START_MS + by_ms, plan),)
    assert count.cents == 0
    assert count.goes_on(10) is False
    assert count.cents == 1
    (period, other) = count.priced.bill().periods
    assert (other.start_ms, period.charging_ms + other.charging_ms) == (START_MS + 20_000 + by_ms, 30_000)


def test_a_clock_that_is_a_little_off_is_followed_and_never_back() -> None:
    count = Count(BY_TIME)
    assert count.goes_on(10, clock_set_ms=999) is False
    assert count.cents == 1.0999
    assert count.goes_on(0.5, clock_set_ms=-999) is False
    assert count.cents == 1.0999
    assert count.goes_on(0.5) is False
    assert count.cents == 1.1
    assert count.priced.terms.plans == ((START_MS, BY_TIME),)


@pytest.mark.parametrize(("scale", "least_ms"), [(60.0, 60_000), (0.5, 1000)])
def test_where_time_is_simulated_the_clock_is_set_by_more_of_it(scale: float, least_ms: int) -> None:
    count = Count(BY_TIME, scale=scale)
    count.goes_on(10)
    assert count.cents == scale
    assert count.goes_on(10, clock_set_ms=least_ms - 1) is False
    count = Count(BY_TIME, scale=scale)
    count.goes_on(10)
    assert count.goes_on(10, clock_set_ms=least_ms) is True
    assert count.cents == 2 * scale


def test_after_a_restart_energy_is_priced_and_the_time_is_not() -> None:
    """However the clock was set meanwhile."""
    count = Count(BOTH)
    count.goes_on(10, 1000)
    assert count.cents == 50 + 1
    restarted(count)
    assert count.goes_on(600, 1000, clock_set_ms=10_000) is False
    assert count.cents == 50 + 1 + 50
    assert count.goes_on(20) is False
    assert count.cents == 101 + 1, "idle, until it is known to charge"
    restarted(count)
    assert count.goes_on(1, clock_set_ms=-10_000) is False
    assert count.cents == 102
    assert count.goes_on(20) is True, "a clock that was set back meanwhile is followed from then on"
    assert count.cents == 103


def test_after_a_restart_nothing_is_known_to_have_been_reported() -> None:
    priced = restarted(Count(BOTH)).priced
    assert (priced.name, priced.reported_at, priced.shown, priced.state.charging) == ("tx", 0.0, None, False)


def test_simulated_time_goes_on_as_fast_after_a_restart() -> None:
    count = restarted(Count(BY_TIME, scale=60.0))
    count.goes_on(1)
    count.goes_on(10)
    assert count.cents == 30
    assert count.goes_on(10, clock_set_ms=59_999) is False


def test_without_a_first_reading_energy_counts_from_the_next_one_and_the_cost_is_unknown_until_then() -> None:
    count = Count(BOTH, wh=None)
    count.goes_on(10)
    assert count.priced.failure() == "the meter could not be read"
    details = count.priced.details(ended=True)
    assert (details.failure_to_calculate, details.failure_reason) == (True, "the meter could not be read")
    count.wh, count.out_wh = 5000, 70
    count.goes_on(10)
    assert count.priced.failure() == ""
    assert count.cents == 2
    assert not count.priced.details(ended=True).failure_to_calculate
    count.goes_on(10, 1000)
    assert count.cents == 3 + 50
    assert count.priced.bill().export_mwh == 0


def test_a_plan_that_is_for_energy_later_needs_a_reading_and_one_for_time_alone_none() -> None:
    count = Count(BY_TIME, wh=None)
    assert count.priced.failure() == ""
    count.priced.change(BY_ENERGY)
    assert count.priced.failure() == "the meter could not be read"


def test_conditions_of_energy_count_from_the_first_reading() -> None:
    count = Count(msgspec.structs.replace(BY_ENERGY, energy=price("0.50", min_energy_wh=1000)), wh=7000)
    count.goes_on(10, 1000)
    assert count.cents == 0
    count.goes_on(10, 1000)
    assert count.cents == 50
    count = Count(msgspec.structs.replace(BY_ENERGY, energy=price("0.50", min_energy_wh=1000)), wh=None)
    count.wh = 7000
    count.goes_on(10)
    count.goes_on(10, 1000)
    assert count.cents == 0


def test_what_cannot_be_calculated_says_why_and_stays_so() -> None:
    """A zone that a new program no longer knows."""
    count = Count(BOTH)
    known = count.priced.terms
    gone = msgspec.structs.replace(BOTH, zone="Atlantis/" + "x" * 300)
    count.priced.terms = msgspec.structs.replace(known, plans=((START_MS, gone),))
    count.goes_on(10)
    why = count.priced.failure()
    assert "Atlantis" in why
    assert len(why) == 200
    count.priced.terms = known
    count.goes_on(10)
    assert count.priced.failure() == why
    assert count.priced.details(ended=False).failure_reason == why


def test_another_plan_counts_from_the_last_reading_on() -> None:
    """I11.FR.08."""
    count = Count(BY_TIME)
    assert (count.priced.terms.own, count.priced.terms.plan) == (False, BY_TIME)
    count.goes_on(10)
    dear = msgspec.structs.replace(BY_TIME, id="D", charging_time=price("0.60"))
    count.priced.change(dear)
    assert count.priced.terms.plan == dear
    assert count.priced.terms.plans == ((START_MS, BY_TIME), (START_MS + 10_000, dear))
    assert count.priced.terms.own is True
    count.goes_on(10)
    assert count.cents == 1 + 10


def test_conditions_know_how_it_is_paid_and_the_kind_of_evse() -> None:
    paid = (
        AdditionalInfo(additional_id_token="4711", type="CardBin"),
        AdditionalInfo(additional_id_token="Visa", type="PaymentBrand"),
        AdditionalInfo(additional_id_token="CC", type="PaymentRecognition"),
    )
    token = msgspec.structs.replace(TOKEN, additional_info=paid)
    for when in ({"payment_brand": "Visa"}, {"payment_recognition": "CC"}, {"evse_kind": "DC"}):
        count = Count(msgspec.structs.replace(BY_TIME, charging_time=price("0.06", **when)), token=token)
        count.goes_on(10)
        assert count.cents == 1, when
    for when in ({"payment_brand": "CC"}, {"payment_recognition": "Visa"}, {"evse_kind": "AC"}):
        count = Count(msgspec.structs.replace(BY_TIME, charging_time=price("0.06", **when)), token=token)
        count.goes_on(10)
        assert count.cents == 0, when


def test_the_current_that_flowed_counts_until_the_next_look() -> None:
    plan = msgspec.structs.replace(BY_TIME, charging_time=price("0.06", min_current_a=16))
    count = Count(plan, amperes=16)
    count.amperes = 15
    count.goes_on(10)
    assert count.cents == 1
    count.amperes = 16
    count.goes_on(10)
    assert count.cents == 1
    count.goes_on(10)
    assert count.cents == 2


def test_the_least_cost_counts_at_the_end_and_periods_are_sent_only_there() -> None:
    count = Count(msgspec.structs.replace(BY_TIME, least=Bound(incl_tax="5.00")))
    count.goes_on(10)
    assert count.priced.bill().incl_tax == 10_000
    assert count.priced.bill(ended=True).incl_tax == 5 * MICRO
    running, last = count.priced.details(ended=False), count.priced.details(ended=True)
    assert (running.total_cost.total.incl_tax, last.total_cost.total.incl_tax) == (0.01, 5.0)
    assert (len(running.charging_periods or ()), len(last.charging_periods or ())) == (0, 1)


def test_at_most_200_periods_are_sent_and_the_cost_is_that_of_all() -> None:
    rates = Charge(rates=(Rate(price="0.12", when=When(min_current_a=16)), Rate(price="0.06")))
    count = Count(msgspec.structs.replace(BY_TIME, charging_time=rates))
    for number in range(210):
        count.amperes = 0 if number % 2 else 16
        count.goes_on(10)
    assert len(count.priced.details(ended=True).charging_periods or ()) == 200
    assert count.cents == 105 + 105 * 2


def test_a_state_that_was_stored_without_more_has_a_reading_and_does_not_charge() -> None:
    tally = Count(BOTH).priced.state.tally
    assert PricedState(tally=tally) == PricedState(tally=tally, charging=False, current_a=0, metered=True, failure="")
    assert isinstance(Priced("x", Count(BOTH).priced.terms, PricedState(tally=tally), scale=1.0), Priced)
