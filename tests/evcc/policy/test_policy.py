"""The discharge policy: every rule that forbids giving energy back is named, and the first one wins."""

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcc.policy import policy
from evcc.policy.battery import Battery, BatteryConfig
from evcc.policy.policy import Compensation, DischargeTerms, OwnerSettings, Permit, Situation
from evcc.session.ports import BatteryState
from evcc.session.settings import DischargeConfig
from tests.together import together

NOW = 1_700_000_000_000
HOUR = 3_600_000
DEPARTURE = NOW + 8 * HOUR
CONFIG = DischargeConfig(minimum_soc=40, minimum_compensation=Decimal("0.20"), max_power_w=9_000)
TERMS = DischargeTerms(
    currency="EUR",
    compensation=(
        Compensation(NOW - HOUR, NOW + HOUR, 150_000),
        Compensation(NOW + HOUR, NOW + 2 * HOUR, 250_000),
    ),
    max_discharge_w=7_000,
    valid_until_ms=NOW + 4 * HOUR,
)
BATTERY = Battery(BatteryConfig(soc=70.0), at_ms=NOW).state


def at(hours: float) -> int:
    return NOW + int(hours * HOUR)


def judge(
    terms: DischargeTerms = TERMS, battery: BatteryState = BATTERY, config: DischargeConfig = CONFIG, **more: object
) -> Permit:
    facts = {"utc_ms": NOW, "departure_ms": DEPARTURE, "charges_first": False, **more}
    return policy.judge(config, terms, battery, **facts)  # type: ignore[arg-type]


def changed(value: msgspec.Struct, **changes: object) -> msgspec.Struct:
    return msgspec.structs.replace(value, **changes)


def test_an_offer_that_pays_at_some_time_before_departure_is_accepted_up_to_both_limits() -> None:
    assert judge() == Permit(7_000)
    assert judge(config=changed(CONFIG, max_power_w=3_000)) == Permit(3_000)  # type: ignore[arg-type]


@pytest.mark.requirement("R30")
@together(
    ("reason", "asked"),
    [
        (policy.DISABLED, lambda: judge(config=changed(CONFIG, enabled=False))),
        (policy.BATTERY_FAULT, lambda: judge(battery=changed(BATTERY, fault="isolation"))),
        (policy.TOO_COLD, lambda: judge(battery=changed(BATTERY, temperature_c=-0.1))),
        (policy.TOO_HOT, lambda: judge(battery=changed(BATTERY, temperature_c=45.1))),
        (policy.CURRENCY, lambda: judge(changed(TERMS, currency="USD"))),
        (policy.EXPIRED, lambda: judge(utc_ms=TERMS.valid_until_ms)),
        (policy.DEPARTURE, lambda: judge(departure_ms=at(0.25))),
        (policy.COMPENSATION, lambda: judge(departure_ms=at(1.25))),  # the paying slot lies behind the reserve
        (policy.COMPENSATION, lambda: judge(config=changed(CONFIG, minimum_compensation=Decimal("0.251")))),
        (policy.AT_MINIMUM_SOC, lambda: judge(battery=changed(BATTERY, soc=40.0))),
        (policy.NO_POWER, lambda: judge(changed(TERMS, max_discharge_w=0))),
    ],
)
def test_an_offer_is_refused_with_the_reason(reason: str, asked: Callable[[], Permit]) -> None:
    assert asked() == Permit(0, reason)


def test_a_battery_that_will_be_charged_first_may_be_empty_when_the_offer_comes() -> None:
    assert judge(battery=changed(BATTERY, soc=10.0), charges_first=True) == Permit(7_000)  # type: ignore[arg-type]


def permit(
    battery: object = BATTERY,
    terms: object = TERMS,
    config: object = CONFIG,
    utc_ms: int = at(1.5),
    until: int = DEPARTURE,
) -> Permit:
    return policy.permit(config, terms, battery, utc_ms=utc_ms, departure_ms=until)  # type: ignore[arg-type]


def test_power_is_the_least_of_policy_terms_and_battery() -> None:
    assert permit() == Permit(7_000)
    assert permit(terms=None) == Permit(9_000)
    assert permit(changed(BATTERY, max_discharge_w=500)) == Permit(500)
    assert permit(changed(BATTERY, max_discharge_w=1)) == Permit(1)
    owner = OwnerSettings(policy=lambda _: Permit(1))
    assert judge(owner=owner) == Permit(1)


@together(
    "asked",
    [
        lambda: judge(utc_ms=at(1.5), departure_ms=at(1.75) + 1),  # 15 min are kept for the departure
        lambda: judge(config=changed(CONFIG, minimum_compensation=Decimal("0.25"))),
        lambda: judge(utc_ms=at(1), terms=changed(TERMS, valid_until_ms=at(1) + 1)),
        lambda: judge(battery=changed(BATTERY, soc=40.1)),
        lambda: permit(until=at(1.75) + 1),
        lambda: permit(utc_ms=at(1)),
        lambda: permit(utc_ms=at(2) - 1),
        lambda: permit(changed(BATTERY, soc=40.1)),
        lambda: permit(changed(BATTERY, temperature_c=0.0)),
        lambda: permit(changed(BATTERY, temperature_c=45.0)),
    ],
)
def test_up_to_each_bound_energy_is_given_back(asked: Callable[[], Permit]) -> None:
    assert asked() == Permit(7_000)


@pytest.mark.requirement("R30")
@together(
    ("reason", "asked"),
    [
        (policy.COMPENSATION, lambda: permit(utc_ms=at(1) - 1)),
        (policy.COMPENSATION, lambda: permit(utc_ms=at(2))),
        (policy.EXPIRED, lambda: permit(utc_ms=at(4))),
        (policy.AT_MINIMUM_SOC, lambda: permit(changed(BATTERY, soc=40.0))),
        (policy.TOO_HOT, lambda: permit(changed(BATTERY, temperature_c=50.0))),
        (policy.DISABLED, lambda: permit(config=changed(CONFIG, enabled=False))),
        (policy.NO_POWER, lambda: permit(changed(BATTERY, max_discharge_w=0))),
        (policy.DEPARTURE, lambda: permit(until=at(1.75))),
    ],
)
def test_power_is_denied_at_a_moment_with_the_reason(reason: str, asked: Callable[[], Permit]) -> None:
    assert asked() == Permit(0, reason)


def test_discharging_stops_while_there_is_still_time_to_recharge_for_the_journey() -> None:
    config = changed(CONFIG, departure_soc=90.0, departure_reserve_s=0)
    missing_wh = 60_000 * 0.20
    needed = int(missing_wh / BATTERY.max_charge_w * HOUR)
    assert permit(config=config, until=at(1.5) + needed + 1).power_w == 7_000
    assert permit(config=config, until=at(1.5) + needed) == Permit(0, policy.DEPARTURE)
    assert policy.recharge_ms(CONFIG, BATTERY) == 0
    assert permit(changed(BATTERY, max_charge_w=0), config=config) == Permit(0, policy.DEPARTURE)


def test_a_paying_slot_still_to_come_is_seen() -> None:
    assert policy.pays_later(CONFIG, TERMS, utc_ms=NOW, departure_ms=DEPARTURE)
    assert not policy.pays_later(CONFIG, TERMS, utc_ms=at(2), departure_ms=DEPARTURE)
    assert not policy.pays_later(CONFIG, TERMS, utc_ms=NOW, departure_ms=at(1.25))
    assert policy.pays_later(CONFIG, TERMS, utc_ms=NOW, departure_ms=at(1.25) + 1)
    short = msgspec.structs.replace(TERMS, valid_until_ms=at(1))
    assert not policy.pays_later(CONFIG, short, utc_ms=NOW, departure_ms=DEPARTURE)


@pytest.mark.parametrize(
    ("reason", "config", "owner"),
    [
        (policy.NO_CONSENT, {"consent": "ask"}, OwnerSettings()),
        (policy.CYCLES_SPENT, {"cycle_budget": 0.5}, OwnerSettings(fed_back_wh=30_000)),
        (policy.OWN_POLICY, {}, OwnerSettings(policy=lambda _: Permit(0))),
        ("guests", {}, OwnerSettings(policy=lambda _: Permit(0, "guests"))),
    ],
)
def test_the_owner_refuses_with_a_reason(reason: str, config: dict[str, object], owner: OwnerSettings) -> None:
    settings = changed(CONFIG, **config)
    assert judge(config=settings, owner=owner) == Permit(0, reason)  # type: ignore[arg-type]
    assert policy.permit(settings, TERMS, BATTERY, utc_ms=at(1.5), departure_ms=DEPARTURE, owner=owner) == Permit(  # type: ignore[arg-type]
        0, reason
    )


def test_the_owners_consent_and_cycles_left_permit_discharge() -> None:
    settings = changed(CONFIG, consent="ask", cycle_budget=0.5)
    owner = OwnerSettings(consents=True, fed_back_wh=29_999)
    assert judge(config=settings, owner=owner) == Permit(7_000)  # type: ignore[arg-type]


def test_a_policy_of_ones_own_is_asked_about_an_offer_and_about_each_moment() -> None:
    asked: list[Situation] = []

    def decide(situation: Situation) -> Permit:
        asked.append(situation)
        return Permit(2_000)

    owner = OwnerSettings(fed_back_wh=5.0, policy=decide)
    assert judge(utc_ms=at(1.5), owner=owner) == Permit(2_000)
    assert policy.permit(CONFIG, TERMS, BATTERY, utc_ms=at(1.5), departure_ms=DEPARTURE, owner=owner) == Permit(2_000)
    known = {"battery": BATTERY, "terms": TERMS, "utc_ms": at(1.5), "departure_ms": DEPARTURE, "fed_back_wh": 5.0}
    assert asked == [Situation(permitted_w=7_000, offered=offered, **known) for offered in (True, False)]  # type: ignore[arg-type]


@pytest.mark.requirement("R30")
@given(
    soc=st.floats(0, 100), temperature=st.floats(-40, 70), answer=st.integers(-(10**7), 10**7),
    hours=st.floats(0, 8), floor=st.floats(0, 100),
)  # fmt: skip
def test_no_policy_of_ones_own_discharges_below_the_floor_or_outside_the_temperatures(
    soc: float, temperature: float, answer: int, hours: float, floor: float
) -> None:
    asked: list[Situation] = []

    def decide(situation: Situation) -> Permit:
        asked.append(situation)
        return Permit(answer)

    battery = changed(BATTERY, soc=soc, temperature_c=temperature)
    config = changed(CONFIG, minimum_soc=floor)
    owner = OwnerSettings(policy=decide)
    found = policy.permit(config, None, battery, utc_ms=at(hours), departure_ms=DEPARTURE, owner=owner)  # type: ignore[arg-type]
    without = policy.permit(config, None, battery, utc_ms=at(hours), departure_ms=DEPARTURE)  # type: ignore[arg-type]
    assert found.power_w == max(0, min(without.power_w, answer if asked else 0))
    if soc <= floor or not 0 <= temperature <= 45:
        assert (found, asked) == (without, [])
        assert found.reason in (policy.AT_MINIMUM_SOC, policy.TOO_COLD, policy.TOO_HOT)


def test_a_policy_reads_prices_in_units_of_the_currency() -> None:
    assert str(Compensation(0, 1, 350_001).per_kwh) == "0.350001"


def test_reasons_have_the_names_that_events_show_and_nobody_consents_unasked() -> None:
    names = (
        policy.DISABLED, policy.NO_CONSENT, policy.CYCLES_SPENT, policy.OWN_POLICY, policy.POLICY_FAILED,
        policy.BATTERY_FAULT, policy.TOO_COLD, policy.TOO_HOT, policy.AT_MINIMUM_SOC, policy.DEPARTURE,
        policy.COMPENSATION, policy.CURRENCY, policy.NO_POWER, policy.EXPIRED, policy.NOT_BIDIRECTIONAL,
    )  # fmt: skip
    assert names == (
        "disabled", "no_consent", "cycles_spent", "own_policy", "policy_failed", "battery_fault", "battery_too_cold",
        "battery_too_hot", "soc_at_minimum", "departure_too_soon", "compensation_too_low", "wrong_currency",
        "no_power_offered", "terms_expired", "not_bidirectional",
    )  # fmt: skip
    assert OwnerSettings() == OwnerSettings(consents=False, fed_back_wh=0.0, policy=None)
    moment = Situation(permitted_w=1, battery=BATTERY, terms=None, utc_ms=2, departure_ms=3, fed_back_wh=4.0)
    assert (moment.offered, Permit(1).reason) == (False, "")
