"""Prices that a CSMS sends: each field as ISO 15118-20 has it, and numbers and times that do not fit there."""

from typing import Any

import msgspec
import pytest

from tests.together import together
from v2g.errors import RefusedError
from v2g.iso15118.d20.messages import schedules as iso
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.ocpp.messages.charging_profiles import ChargingSchedule
from v2g.translate.csms_prices import read_csms_prices

NOON_S = 1_780_315_200
NOON = "2026-06-01T12:00:00Z"
LONGEST_S = 2**31 - 1
"""The greatest integer of OCPP."""


def number(value: int, exponent: int = 0) -> dict[str, int]:
    return {"value": value, "exponent": exponent}


FREE: dict[str, Any] = {"energyFee": number(0), "powerRangeStart": number(0)}
PRICES: dict[str, Any] = {
    "timeAnchor": NOON,
    "priceScheduleID": 7,
    "currency": "EUR",
    "language": "en",
    "priceAlgorithm": "urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power",
    "priceRuleStacks": [{"duration": 3600, "priceRule": [FREE]}],
}
TAX: dict[str, Any] = {
    "taxRuleID": 4, "taxRate": number(19), "appliesToEnergyFee": False, "appliesToParkingFee": False,
    "appliesToOverstayFee": False, "appliesToMinimumMaximumCost": False,
}  # fmt: skip


def read(begin_ms: int = 0, **fields: Any) -> Any:
    """What the charger makes of a schedule's JSON."""
    document = {
        "id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 11_000}], **fields,
    }  # fmt: skip
    return read_csms_prices(msgspec.convert(document, ChargingSchedule), begin_ms)


def absolute(**fields: Any) -> iso.AbsolutePriceSchedule:
    found = read(absolutePriceSchedule=PRICES | fields)
    assert isinstance(found, iso.AbsolutePriceSchedule)
    return found


def rule(**fields: Any) -> iso.PriceRule:
    """The only price rule of a schedule that has it."""
    (stack,) = absolute(
        priceRuleStacks=[{"duration": 3600, "priceRule": [FREE | fields]}]
    ).price_rule_stacks.price_rule_stack
    (found,) = stack.price_rule
    return found


def test_a_schedule_without_prices_has_none() -> None:
    assert read() is None


def test_a_schedule_of_few_fields_has_no_others() -> None:
    zero = RationalNumber(exponent=0, value=0)
    assert absolute() == iso.AbsolutePriceSchedule(
        time_anchor=NOON_S,
        price_schedule_id=1,
        currency="EUR",
        language="en",
        price_algorithm="urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power",
        price_rule_stacks=iso.PriceRuleStackList(
            price_rule_stack=(
                iso.PriceRuleStack(duration=3600, price_rule=(iso.PriceRule(energy_fee=zero, power_range_start=zero),)),
            )
        ),
    )


def test_each_field_arrives() -> None:
    found = absolute(
        priceScheduleDescription="city",
        language="en-GB",
        minimumCost=number(1),
        maximumCost=number(95, -1),
        taxRules=[
            TAX | {"taxRuleName": "VAT", "taxIncludedInPrice": True, "appliesToEnergyFee": True},
            TAX | {"taxRuleID": 5, "appliesToParkingFee": True},
            TAX | {"taxRuleID": 6, "appliesToOverstayFee": True, "taxIncludedInPrice": False},
            TAX | {"taxRuleID": 7, "appliesToMinimumMaximumCost": True},
        ],
        overstayRuleList={
            "overstayTimeThreshold": 900,
            "overstayPowerThreshold": number(2, 2),
            "overstayRule": [
                {"startTime": 0, "overstayFee": number(6), "overstayFeePeriod": 3600, "overstayRuleDescription": ""},
                {"startTime": 60, "overstayFee": number(7), "overstayFeePeriod": 1800, "overstayRuleDescription": "x"},
            ],
        },
        additionalSelectedServices=[{"serviceName": "wash", "serviceFee": number(8)}],
    )
    assert (found.price_schedule_description, found.language) == ("city", "en")
    assert (found.minimum_cost, found.maximum_cost) == (
        RationalNumber(exponent=0, value=1),
        RationalNumber(exponent=-1, value=95),
    )
    assert found.tax_rules is not None
    assert [
        (
            each.tax_rule_id, each.tax_rule_name, each.tax_included_in_price, each.applies_to_energy_fee,
            each.applies_to_parking_fee, each.applies_to_overstay_fee, each.applies_minimum_maximum_cost,
        )
        for each in found.tax_rules.tax_rule
    ] == [
        (4, "VAT", True, True, False, False, False),
        (5, None, None, False, True, False, False),
        (6, None, False, False, False, True, False),
        (7, None, None, False, False, False, True),
    ]  # fmt: skip
    assert {each.tax_rate for each in found.tax_rules.tax_rule} == {RationalNumber(exponent=0, value=19)}
    assert found.overstay_rules == iso.OverstayRuleList(
        overstay_time_threshold=900,
        overstay_power_threshold=RationalNumber(exponent=2, value=2),
        overstay_rule=(
            iso.OverstayRule(
                start_time=0, overstay_fee=RationalNumber(exponent=0, value=6), overstay_fee_period=3600
            ),
            iso.OverstayRule(
                start_time=60, overstay_fee=RationalNumber(exponent=0, value=7), overstay_fee_period=1800,
                overstay_rule_description="x",
            ),
        ),
    )  # fmt: skip
    assert found.additional_selected_services == iso.AdditionalServiceList(
        additional_service=(
            iso.AdditionalService(service_name="wash", service_fee=RationalNumber(exponent=0, value=8)),
        )
    )


def test_staying_may_have_neither_threshold() -> None:
    stay = {"overstayRule": [{"startTime": 0, "overstayFee": number(6), "overstayFeePeriod": 3600}]}
    found = absolute(overstayRuleList=stay).overstay_rules
    assert found is not None
    assert (found.overstay_time_threshold, found.overstay_power_threshold) == (None, None)


def test_a_rule_has_its_parking_emission_and_share() -> None:
    found = rule(
        energyFee=number(40, -2), powerRangeStart=number(11, 3), parkingFee=number(5, -1), parkingFeePeriod=1800,
        carbonDioxideEmission=65_534, renewableGenerationPercentage=80,
    )  # fmt: skip
    assert found == iso.PriceRule(
        energy_fee=RationalNumber(exponent=-2, value=40),
        power_range_start=RationalNumber(exponent=3, value=11),
        parking_fee=RationalNumber(exponent=-1, value=5),
        parking_fee_period=1800,
        carbon_dioxide_emission=65_534,
        renewable_generation_percentage=80,
    )
    assert rule(carbonDioxideEmission=65_536).carbon_dioxide_emission == 65_535, "16 bits"


@together(
    ("start", "fee", "expected"),
    [
        (0, (32_767, 127), (32_767, 127)),
        (0, (-32_768, -128), (-32_768, -128)),
        (0, (32_768, -6), (3_276, -5)),  # what is paid is not more
        (-1, (32_768, -6), (3_277, -5)),  # what is received is not less
        (-1, (40_001, -4), (4_001, -3)),
        (-1, (32_761, -6), (32_761, -6)),
        (-1, (327_670, -6), (32_767, -5)),
        (-1, (327_671, -6), (3_277, -4)),  # 32,768 does not fit
        (0, (-32_769, -6), (-3_277, -5)),
        (0, (2**31 - 1, 0), (21_474, 5)),
        (0, (2**31 - 1, -30), (0, 0)),
        (0, (40_000, 30), (4_000, 31)),
    ],
)
def test_a_number_is_exact_or_has_fewer_digits(start: int, fee: tuple[int, int], expected: tuple[int, int]) -> None:
    found = rule(powerRangeStart=number(start), energyFee=number(*fee)).energy_fee
    assert (found.value, found.exponent) == expected


def test_bounds_rates_and_fees_of_time_are_rounded_down() -> None:
    """Also those of a rule for what is fed back."""
    many, few = number(32_768, -6), RationalNumber(value=3_276, exponent=-5)
    found = absolute(minimumCost=many, maximumCost=many, taxRules=[TAX | {"taxRate": many}])
    assert found.tax_rules is not None
    assert {found.minimum_cost, found.maximum_cost, found.tax_rules.tax_rule[0].tax_rate} == {few}
    assert rule(powerRangeStart=number(-1), parkingFee=many).parking_fee == few


@pytest.mark.parametrize("fee", [(32_768, 31), (-32_769, -31)])
def test_a_number_beyond_all_reason_is_refused(fee: tuple[int, int]) -> None:
    with pytest.raises(RefusedError) as refused:
        rule(energyFee=number(*fee))
    assert refused.value.reason == "bad_prices"


@pytest.mark.parametrize(("given", "rule_id"), [(0, 1), (1, 1), (2, 2), (2**32 - 1, 2**32 - 1)])
def test_a_tax_has_a_number_of_32_bits_above_0(given: int, rule_id: int) -> None:
    rules = absolute(taxRules=[TAX | {"taxRuleID": given, "taxRate": number(0)}]).tax_rules
    assert rules is not None
    (found,) = rules.tax_rule
    assert found.tax_rule_id == rule_id


@pytest.mark.parametrize(("given", "name"), [("", None), ("x" * 80, "x" * 80), ("x" * 81, "x" * 80)])
def test_the_name_of_a_tax_is_cut(given: str, name: str | None) -> None:
    rules = absolute(taxRules=[TAX | {"taxRuleName": given}], priceScheduleDescription="").tax_rules
    assert rules is not None
    assert rules.tax_rule[0].tax_rule_name == name


@pytest.mark.parametrize(("given", "language"), [("deu", "deu"), ("fr-CH", "fr"), ("english", "eng")])
def test_a_language_has_three_letters_at_most(given: str, language: str) -> None:
    assert absolute(language=given).language == language


def test_an_algorithm_has_the_characters_of_an_identifier() -> None:
    """Longer ones made a ScheduleExchangeRes that could not be sent."""
    assert absolute(priceAlgorithm="x" * 255).price_algorithm == "x" * 255
    with pytest.raises(RefusedError) as refused:
        absolute(priceAlgorithm="x" * 256)
    assert refused.value.reason == "bad_prices"


def test_a_tax_is_not_negative() -> None:
    with pytest.raises(RefusedError) as refused:
        absolute(taxRules=[TAX | {"taxRate": number(-1, -3)}])
    assert refused.value.reason == "bad_prices"


@pytest.mark.parametrize(("given", "text"), [({}, None), ("", None), ("city", "city")])
def test_a_description_arrives_unless_it_is_empty(given: Any, text: str | None) -> None:
    named = {} if given == {} else {"priceScheduleDescription": given}
    assert absolute(**named).price_schedule_description == text
    entries = [{"duration": 60, "priceLevel": 0}]
    by_level = {
        "timeAnchor": NOON, "priceScheduleId": 3, "numberOfPriceLevels": 1, "priceLevelScheduleEntries": entries,
    }  # fmt: skip
    assert read(priceLevelSchedule=by_level | named).price_schedule_description == text
    tariff = {"id": 1, "salesTariffEntry": [{"relativeTimeInterval": {"start": 0}}]}
    named = {} if given == {} else {"salesTariffDescription": given}
    assert read(salesTariff=tariff | named).price_schedule_description == text


def test_some_intervals_may_have_no_length_but_not_all() -> None:
    none, hour = ({"duration": seconds, "priceRule": [FREE]} for seconds in (0, LONGEST_S))
    found = absolute(priceRuleStacks=[none, hour]).price_rule_stacks.price_rule_stack
    assert [each.duration for each in found] == [0, LONGEST_S]
    for stacks in ([none], [none, none], [hour, hour | {"duration": -1}]):
        with pytest.raises(RefusedError) as refused:
            absolute(priceRuleStacks=stacks)
        assert refused.value.reason == "bad_prices"


@pytest.mark.parametrize(
    ("anchor", "seconds"), [("1970-01-01T00:00:00Z", 0), ("2200-01-01T00:00:00.999Z", 7_258_118_400)]
)
def test_prices_begin_in_a_whole_second_since_1970(anchor: str, seconds: int) -> None:
    assert absolute(timeAnchor=anchor).time_anchor == seconds
    with pytest.raises(RefusedError):
        absolute(timeAnchor="1969-12-31T23:59:59Z")


def levels(found: Any) -> tuple[int, int, list[tuple[int, int]]]:
    """When levels begin, how many there are, and (seconds, level)."""
    assert isinstance(found, iso.PriceLevelSchedule)
    entries = found.price_level_schedule_entries.price_level_schedule_entry
    assert found.price_schedule_id == 1
    pairs = [(each.duration, each.price_level) for each in entries]
    return found.time_anchor, found.number_of_price_levels, pairs


@together(
    ("given", "count", "expected", "number_of"),
    [
        ([(3600, 0), (1800, 1)], 2, [(3600, 0), (1800, 1)], 2),
        ([(3600, 1), (1800, 1), (0, 0), (60, 1)], 2, [(5400, 1), (60, 1)], 2),  # equal neighbours are one
        ([(3600, 2)], 1, [(3600, 2)], 3),  # there are at least as many as are used
        ([(3600, 2)], 9, [(3600, 2)], 9),
        ([(3600, 253)], 1, [(3600, 253)], 254),
        ([(3600, 256), (60, 0)], 300, [(3600, 255), (60, 0)], 255),  # 8 bits
    ],
)
def test_levels_follow_each_other(
    given: list[tuple[int, int]], count: int, expected: list[tuple[int, int]], number_of: int
) -> None:
    entries = [{"duration": seconds, "priceLevel": level} for seconds, level in given]
    schedule = {
        "timeAnchor": NOON, "priceScheduleId": 3, "numberOfPriceLevels": count, "priceLevelScheduleEntries": entries,
    }  # fmt: skip
    assert levels(read(priceLevelSchedule=schedule)) == (NOON_S, number_of, expected)


def sales(*entries: tuple[int, int | None, int | None], count: int | None = None, **fields: Any) -> Any:
    """Of (start, duration, level), at noon and some ms."""
    made = [
        {"relativeTimeInterval": {"start": start} | ({} if duration is None else {"duration": duration})}
        | ({} if level is None else {"ePriceLevel": level})
        for start, duration, level in entries
    ]
    tariff = {"id": 1, "salesTariffEntry": made} | ({} if count is None else {"numEPriceLevels": count})
    return levels(read(NOON_S * 1000 + 999, salesTariff=tariff, **fields))


def test_levels_of_no_time_are_none() -> None:
    entries = [{"duration": 0, "priceLevel": level} for level in (0, 1)]
    schedule = {
        "timeAnchor": NOON, "priceScheduleId": 3, "numberOfPriceLevels": 2, "priceLevelScheduleEntries": entries,
    }  # fmt: skip
    with pytest.raises(RefusedError) as refused:
        read(priceLevelSchedule=schedule)
    assert refused.value.reason == "bad_prices"


@pytest.mark.parametrize(
    ("lasts", "end"),
    [({}, 86_400), ({"duration": 7200}, 7200), ({"duration": 4000}, 4000), ({"duration": 60}, 3601)],
)
def test_the_last_entry_of_a_sales_tariff_lasts_as_long_as_its_schedule(lasts: dict[str, int], end: int) -> None:
    """A day, if that does not say how long it is; a second at least."""
    expected = (NOON_S, 2, [(3600, 0), (end - 3600, 1)])
    assert sales((0, None, 1), (3600, None, 2), **lasts) == expected
    assert sales((3600, None, 2), (0, None, 1), **lasts) == expected, "in any order"


def test_a_sales_tariff_counts_from_its_first_entry_and_from_level_1() -> None:
    assert sales((600, 60, 3), (1200, 300, 1), count=5) == (NOON_S + 600, 5, [(600, 2), (300, 0)])
    assert sales((0, 60, None)) == (NOON_S, 1, [(60, 0)])
    assert sales((0, 60, 0)) == (NOON_S, 1, [(60, 0)])
