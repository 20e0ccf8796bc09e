"""CDRs that are split and credited by agreement: what both cost together stays, and each is taken once."""

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.energy.meter_records.signed_records import FOLDER, KEY, READING, der_of
from tests.energy.meter_records.signed_records import record as meter_record
from tests.ocpi.sessions import FACTS, T0, journal
from tests.together import together
from v2g.energy.meter_records.container import find_records
from v2g.energy.settlement.settle import settle
from v2g.energy.settlement.taxes import VatRate
from v2g.ocpi import wire
from v2g.ocpi.objects import (
    CdrDimension,
    CdrPeriod,
    CdrSignedData,
    CdrSignedValue,
    OcpiCdr,
    OcpiPrice,
    TaxAmount,
)
from v2g.ocpi.records import credit_of, credits_in, is_taken_back, judge_cdr, judge_credit, price_of, split_of
from v2g.ocpi.settled import charge_detail_record

pytestmark = pytest.mark.requirement("R203")

readings = st.lists(
    st.tuples(st.integers(5, 40), st.sampled_from((0, 3_000_000)), st.integers(0, 2000).map(lambda wh: wh * 1000)),
    min_size=1,
    max_size=6,
)


def record(found: list[tuple[int, int, int]], vat: bool) -> OcpiCdr:
    entries = journal([(float(minutes), taken, back) for minutes, taken, back in found])
    facts = replace(FACTS, vat=(VatRate(percent="19", feed_in=True),)) if vat else FACTS
    return charge_detail_record(entries, settle(entries), None, facts=facts, created_ms=T0)


def total(cdrs: list[OcpiCdr], *, net: bool = True) -> Decimal:
    prices = [each.total_cost for each in cdrs]
    return sum((each.before_taxes if net else each.total or each.before_taxes for each in prices), Decimal(0))


@given(found=readings, vat=st.booleans())
def test_both_parts_cost_what_the_whole_costs_and_are_credited_together(
    found: list[tuple[int, int, int]], vat: bool
) -> None:
    cdr = record(found, vat)
    parts = split_of(cdr, "Europe/Berlin")
    for net in (True, False):
        assert total(parts, net=net) == total([cdr], net=net)
    assert len(parts) == 1 + any(back for _, _, back in found)
    assert all(part.charging_periods for part in parts)  # also where nothing was taken: a CDR has one at least
    assert all(each.volume >= 0 for part in parts for p in part.charging_periods for each in p.dimensions)
    assert judge_cdr(parts[0], {}, "Europe/Berlin", T0 + 10**9) == []
    assert sum((each.total_energy * (-1 if each.credit else 1) for each in parts), Decimal(0)) == cdr.total_energy
    if parts[1:]:
        assert judge_credit(parts[1], parts[0]) == []
    back = credit_of(parts[0], credits_in(parts, parts[0]))
    assert judge_credit(back, parts[0], parts[1:]) == []
    whole = credit_of(cdr)
    assert (back.total_cost.total, back.total_energy) == (whole.total_cost.total, whole.total_energy)
    for one, other in ((back.total_cost, whole.total_cost), (back.total_energy_cost, whole.total_energy_cost)):
        assert (one and one.before_taxes) == (other and other.before_taxes)
    assert credit_of(replace(parts[0], total_energy_cost=None), parts[1:]).total_energy_cost is None
    assert total([*parts, back]) == total([*parts, back], net=False) == 0
    assert is_taken_back(parts[0], [*parts, back])
    assert judge_credit(back, parts[0], [*parts[1:], back]) or not back.total_cost.before_taxes  # once
    assert judge_credit(back, None)


def test_energy_fed_back_for_nothing_takes_no_price_from_the_rest() -> None:
    cdr = record([(30, 0, 1_000_000), (30, 0, 1_000_000)], vat=False)
    first, *others = cdr.charging_periods
    half = replace(cdr, charging_periods=(replace(first, tariff_id=None), *others))
    whole, priced = (split_of(each, "UTC")[1].total_cost.before_taxes for each in (cdr, half))
    assert priced * len(cdr.charging_periods) == whole * len(others) != 0


def test_energy_fed_back_without_a_tariff_is_no_credit() -> None:
    cdr = record([(10, 3_000_000, 0), (5, 0, 1_000_000)], vat=True)
    taken, fed_back = cdr.charging_periods
    free = replace(cdr, charging_periods=(taken, replace(fed_back, tariff_id=None)), tariffs=cdr.tariffs[-1:])
    main, credit = split_of(free, "UTC")
    assert (credit.total_cost.before_taxes, credit.total_cost.total) == (0, 0)
    assert (main.total_cost.before_taxes, main.total_cost.total) == (cdr.total_cost.before_taxes, cdr.total_cost.total)


def test_a_credit_that_takes_back_something_else_is_found() -> None:
    cdr = record([(30, 3_000_000, 0), (30, 0, 1_000_000)], vat=False)
    main, credit = split_of(cdr, "UTC")
    for changes, word in (
        ({"currency": "USD"}, "currency"),
        ({"total_cost": price("0.01")}, "above zero"),
        ({"total_energy": main.total_energy}, "not that of the CDR"),
    ):
        (said,) = judge_credit(replace(credit, **changes), main)
        assert word in said
    free = OcpiPrice(before_taxes=Decimal(0))
    assert judge_credit(replace(credit, total_cost=free), main) == [], "energy fed back for nothing"
    (again,) = judge_credit(replace(credit, id="second"), main, [credit])
    assert credit.id in again


def test_a_period_without_a_tariff_is_free() -> None:
    """Also where others have one: OCPI says that no tariff is relevant then (charging period)."""
    cdr = record([(30, 3_000_000, 0), (30, 0, 0), (30, 0, 1_000_000)], vat=False)
    assert [each.tariff_id is None for each in cdr.charging_periods].count(True) == 1
    assert len(cdr.tariffs) > 1
    assert price_of(cdr, {}, "UTC").before_taxes == pytest.approx(cdr.total_cost.before_taxes, abs=Decimal("0.01"))


def test_a_cdr_in_another_currency_than_its_tariffs_is_disputed() -> None:
    """0.50 EUR/kWh are not 0.50 KWD/kWh: the sum was right, and the bill seven times as much."""
    cdr = record([(30, 3_000_000, 0)], vat=False)
    assert judge_cdr(cdr, {}, "UTC", T0 + 10**9) == []
    for said in (replace(cdr, currency="KWD"), replace(cdr, currency="KWD", tariffs=())):
        tariffs = {each.id: each for each in cdr.tariffs}
        assert f"price: tariff {cdr.tariffs[0].id} is in EUR, not KWD" in judge_cdr(said, tariffs, "UTC", T0 + 10**9)


def test_a_cdr_is_read_despite_long_descriptions_and_records() -> None:
    """A remark of 300 characters, or a meter's record in XML, refused the whole bill."""
    value = CdrSignedValue(nature="End", plain_data="<x/>" * 2000, signed_data="PHgvPg==" * 2000)
    signed = CdrSignedData(encoding_method="EDL", public_key="A" * 800, signed_values=(value,))
    cdr = replace(record([(30, 3_000_000, 0)], vat=False), signed_data=signed)
    place = replace(cdr.cdr_location, name="n" * 300)
    sent = wire.decode(wire.encode(replace(cdr, remark="r" * 300, meter_id="m" * 300, cdr_location=place)))
    found = wire.read(sent, OcpiCdr)
    assert found == replace(cdr, meter_id=None, cdr_location=replace(place, name=None))


def test_a_cdr_that_would_take_minutes_to_price_is_disputed_at_once() -> None:
    """Thousands of periods, each of another tariff of hundreds of prices: pricing them would stop the back end."""
    cdr = record([(30, 3_000_000, 0)], vat=False)
    tariff, period = cdr.tariffs[0], cdr.charging_periods[0]
    tariffs = tuple(replace(tariff, id=name, elements=tariff.elements * 500) for name in ("a", "b"))
    periods = tuple(replace(period, tariff_id="ab"[number % 2]) for number in range(10_000))
    found = judge_cdr(replace(cdr, tariffs=tariffs, charging_periods=periods), {}, "UTC", T0 + 10**9)
    assert "price: 1000 prices and 10000 periods are too many to be checked" in found


@pytest.mark.parametrize(
    ("after_ms", "periods", "too_many"),
    [(0, 2_990, False), (0, 2_991, True), (1, 2_990, True)],
)
def test_what_prices_take_grows_with_their_periods_and_days(after_ms: int, periods: int, too_many: bool) -> None:
    """500 prices over a day: two parts of a day for each, and 10 at its edges, are tried with each price."""
    cdr = record([(30, 3_000_000, 0)], vat=False)
    unknown = replace(cdr.charging_periods[0], tariff_id="unknown")  # found at once where prices are looked at
    others = (replace(unknown, start_date_time=moment(DAY_S)),) * (periods - 1)
    tariff = replace(cdr.tariffs[0], elements=cdr.tariffs[0].elements[:1] * 500)
    long = replace(cdr, tariffs=(tariff,), charging_periods=(unknown, *others))
    long = replace(long, end_date_time=moment(DAY_S + after_ms / 1000))
    many = f"price: 500 prices and {periods} periods are too many to be checked"
    price = many if too_many else "price: tariff unknown is not known"
    assert [each for each in judge_cdr(long, {}, "UTC", T0 + 10**9) if each.startswith("price: ")] == [price]


DAY_S = 86_400


def moment(seconds: float) -> datetime:
    return wire.moment(T0) + timedelta(seconds=seconds)


def volumes(cdr: OcpiCdr, *changes: dict[str, str]) -> tuple[CdrPeriod, ...]:
    """Return the periods of a CDR with other dimensions."""
    made = [
        tuple(CdrDimension(type=kind, volume=Decimal(volume)) for kind, volume in each.items())  # type: ignore[arg-type]
        for each in changes
    ]
    pairs = zip(cdr.charging_periods, made, strict=True)
    return tuple(replace(period, dimensions=dimensions) for period, dimensions in pairs)


def price(net: str, *taxes: str) -> OcpiPrice:
    """Return a price, whose taxes are not known without any."""
    known = tuple(TaxAmount(name="VAT", amount=Decimal(each)) for each in taxes)
    return OcpiPrice(before_taxes=Decimal(net), taxes=known or None)


HALF_HOUR = record([(30, 3_000_000, 0)], vat=True)
"""3 kWh in two quarters of an hour from T0: 0.90 EUR, 1.07 EUR with 19 %."""


@together(
    ("now_s", "changes", "found"),
    [
        (1_200, {}, False),  # ten minutes ahead
        (1_199.999, {}, True),
        (DAY_S, {"end_date_time": moment(0)}, False),
        (DAY_S, {"end_date_time": moment(-1)}, True),
        (DAY_S, {"start_date_time": moment(1_800 - 40 * DAY_S)}, False),
        (DAY_S, {"start_date_time": moment(1_799 - 40 * DAY_S)}, True),
    ],
)
def test_a_cdr_ends_after_its_start_in_40_days_and_not_in_the_future(
    now_s: float, changes: dict[str, Any], found: bool
) -> None:
    wrong = judge_cdr(replace(HALF_HOUR, **changes), {}, "UTC", T0 + round(now_s * 1000))
    assert ("times: it ends before it starts, in the future, or after 40 days" in wrong) is found


@together(
    ("changes", "found"),
    [
        ({"start_date_time": moment(1)}, False),
        ({"start_date_time": moment(1.001)}, True),
        ({"end_date_time": moment(899)}, False),
        ({"end_date_time": moment(898.999)}, True),
        ({"charging_periods": HALF_HOUR.charging_periods[::-1]}, True),
        ({"charging_periods": (*HALF_HOUR.charging_periods, *HALF_HOUR.charging_periods)}, True),
    ],
)
def test_periods_of_a_cdr_are_in_order_within_it_to_the_second(changes: dict[str, Any], found: bool) -> None:
    wrong = judge_cdr(replace(HALF_HOUR, **changes), {}, "UTC", T0 + 10**9)
    assert ("times: its periods are not in order within it" in wrong) is found


@together(
    ("changes", "wrong"),
    [
        ({}, []),
        ({"total_energy": Decimal("3.003")}, []),
        ({"total_energy": Decimal("2.997")}, []),
        ({"total_energy": Decimal("3.0031")}, ["energy: 3.0031 kWh in all, 3.0000 in its periods"]),
        ({"total_energy": Decimal("2.9969")}, ["energy: 2.9969 kWh in all, 3.0000 in its periods"]),
        ({"total_time": Decimal("0.52")}, []),
        ({"total_time": Decimal("0.48")}, []),
        ({"total_time": Decimal("0.5201")}, ["times: 0.5201 h in all, 0.5000 h from start to end"]),
        ({"total_time": Decimal("0.4799")}, ["times: 0.4799 h in all, 0.5000 h from start to end"]),
        ({"total_cost": price("0.91")}, []),
        ({"total_cost": price("0.89")}, []),
        ({"total_cost": price("0.92")},
         ["price: 0.92 EUR without taxes, by its periods and tariff 0.90"]),
        ({"total_cost": price("0.88")},
         ["price: 0.88 EUR without taxes, by its periods and tariff 0.90"]),
        ({"total_cost": price("0.90", "0.18")},
         []),
        ({"total_cost": price("0.90", "0.19")},
         ["price: 1.09 EUR with taxes, by its periods and tariff 1.07"]),
        ({"tariffs": HALF_HOUR.tariffs[1:]}, ["price: tariff energy-0.300000-vat-19 is not known"]),
    ],
)  # fmt: skip
def test_a_cdr_says_what_its_periods_say(changes: dict[str, Any], wrong: list[str]) -> None:
    """To a cent, a Wh for each period and once, and 72 s."""
    assert judge_cdr(replace(HALF_HOUR, **changes), {}, "UTC", T0 + 10**9) == wrong


NET, GROSS = "without taxes, by its periods and tariff", "with taxes, by its periods and tariff"


@together(
    ("included", "cost", "wrong"),
    [
        ("NO", price("0.90", "0.045", "0.089775"), []),
        ("NO", price("0.90"), []),
        ("NO", price("0.92", "0.10"), [f"price: 0.92 EUR {NET} 0.90"]),
        ("NO", price("0.90", "0.46"), ["price: taxes of 0.46 EUR on 0.90"]),
        ("NO", price("0.90", "-0.01"), ["price: taxes of -0.01 EUR on 0.90"]),
        ("YES", price("0.80", "0.10"), []),
        ("YES", price("0.85", "0.10"), [f"price: 0.95 EUR {GROSS} 0.90"]),
        ("YES", price("0.50", "0.40"), ["price: taxes of 0.40 EUR on 0.50"]),
        ("YES", price("0.92"), [f"price: 0.92 EUR {NET} 0.90"]),
        ("N/A", price("0.90", "0.10"), [f"price: 1.00 EUR {GROSS} 0.90"]),
        (None, price("0.90", "0.10"), [f"price: 1.00 EUR {GROSS} 0.90"]),
    ],
)
def test_taxes_that_a_tariff_does_not_say_are_those_of_the_cdr(
    included: str | None, cost: OcpiPrice, wrong: list[str]
) -> None:
    """As in North America: whether they are included is said, their rates are not (tariffs 19 and 20 of 2.3.0)."""
    plain = record([(30, 3_000_000, 0)], vat=False)
    tariffs = tuple(replace(each, tax_included=included) for each in plain.tariffs)
    cdr = replace(plain, tariffs=tariffs, total_cost=cost)
    assert judge_cdr(cdr, {}, "UTC", T0 + 10**9) == wrong


@pytest.mark.parametrize(
    ("first", "second", "total_time", "found"),
    [
        ({"RESERVATION_TIME": "0.25", "TIME": "0.4"}, {}, "0.25", False),  # without what was reserved
        ({"RESERVATION_TIME": "0.25", "TIME": "0.4"}, {}, "0.28", True),
        ({"TIME": "0.1"}, {"TIME": "0.1"}, "0.2", False),
        ({"TIME": "0.1"}, {"TIME": "0.1"}, "0.23", True),
    ],
)
def test_the_time_of_a_cdr_may_be_that_of_charging(
    first: dict[str, str], second: dict[str, str], total_time: str, found: bool
) -> None:
    cdr = replace(HALF_HOUR, charging_periods=volumes(HALF_HOUR, first, second), total_time=Decimal(total_time))
    wrong = judge_cdr(cdr, {}, "UTC", T0 + 10**9)
    assert (f"times: {total_time} h in all, 0.5000 h from start to end" in wrong) is found


@together(
    ("first", "second", "most_kw", "end_s", "found"),
    [
        ("1.425", "1.425", "5", 1_800, False),  # 5 kW and a tenth for half an hour, and 0.1 kWh
        ("1.425", "1.4251", "5", 1_800, True),
        ("1.425", "-1.425", "5", 1_800, False),
        ("1.425", "-1.4251", "5", 1_800, True),
        ("412.55", "412.55", None, 1_800, False),
        ("412.55", "412.56", None, 1_800, True),
        ("0.05", "0.0515", "5", 0, False),  # of a second at least
        ("0.05", "0.051528", "5", 0, True),
    ],
)
def test_a_cdr_has_no_more_power_than_its_connector(
    first: str, second: str, most_kw: str | None, end_s: int, found: bool
) -> None:
    periods = volumes(HALF_HOUR, {"ENERGY": first}, {"ENERGY": second})
    cdr = replace(HALF_HOUR, charging_periods=periods, end_date_time=moment(end_s))
    wrong = judge_cdr(cdr, {}, "UTC", T0 + 10**9, most_kw=None if most_kw is None else Decimal(most_kw))
    assert (
        any(each.startswith("power: ") and each.endswith(f"more than {most_kw or 1500} kW") for each in wrong) is found
    )


def test_a_cdrs_only_tariff_is_that_of_its_periods_if_they_name_none() -> None:
    first, second = HALF_HOUR.tariffs
    nameless = replace(
        HALF_HOUR, charging_periods=tuple(replace(p, tariff_id=None) for p in HALF_HOUR.charging_periods)
    )
    assert price_of(replace(nameless, tariffs=(first,)), {}, "UTC").before_taxes == Decimal("0.9")
    assert price_of(replace(nameless, tariffs=()), {first.id: first}, "UTC").before_taxes == Decimal("0.9")
    assert price_of(nameless, {}, "UTC").before_taxes == 0
    half = replace(HALF_HOUR, charging_periods=(nameless.charging_periods[0], HALF_HOUR.charging_periods[1]))
    assert price_of(replace(half, tariffs=(second,)), {}, "UTC").before_taxes == Decimal("0.4500015")
    loud = {each.id.upper(): replace(each, id=each.id.upper()) for each in (first, second)}
    assert price_of(replace(HALF_HOUR, tariffs=()), loud, "UTC") == price_of(HALF_HOUR, {}, "UTC")


@together(
    ("prices", "taken"),
    [
        ([], False),
        (["-0.90 -0.17"], True),
        (["-0.90"], True),  # without its taxes
        (["-0.90 -0.16"], False),
        (["-0.89 -0.17"], False),
        (["-0.50 -0.10", "-0.40 -0.07"], True),
    ],
)
def test_a_cdr_is_taken_back_by_credits_that_come_to_all_of_it(prices: list[str], taken: bool) -> None:
    credit = replace(HALF_HOUR, credit=True, credit_reference_id=HALF_HOUR.id.upper())
    back = [replace(credit, total_cost=price(*each.split())) for each in prices]
    none = [
        replace(HALF_HOUR, credit_reference_id=HALF_HOUR.id),
        *(replace(credit, credit_reference_id=each) for each in ("another", None)),
    ]
    assert is_taken_back(HALF_HOUR, [HALF_HOUR, *none, *back]) is taken
    free = replace(HALF_HOUR, total_cost=OcpiPrice(before_taxes=Decimal(0)))
    assert not is_taken_back(free, [free]), "nobody has taken it back"


def taxes_of(said: str | None) -> tuple[TaxAmount, ...] | None:
    """Read taxes such as "VAT 19 0.17", None for unknown ones; `?` is not a percentage."""
    if said is None:
        return None
    found = [each.split() for each in said.split(", ") if each]
    return tuple(
        TaxAmount(name=name, percentage=None if percent == "?" else Decimal(percent), amount=Decimal(amount))
        for name, percent, amount in found
    )


@together(
    ("one", "other", "back"),
    [
        ("VAT 19 0.17", "VAT 19 -0.05", "VAT 19 -0.12"),
        ("VAT 19 0.17", "VAT 7 -0.05", "VAT ? -0.12"),
        ("VAT 19 0.17", "GST 7 -0.05", "VAT 19 -0.17, GST 7 0.05"),
        ("VAT 19 0.17", "VAT 19 -0.17", ""),
        ("VAT 19 0.17", "", "VAT 19 -0.17"),
        ("VAT 19 0.17", None, None),
        (None, "VAT 19 -0.05", None),
    ],
)
def test_taxes_are_taken_back_by_name(one: str | None, other: str | None, back: str | None) -> None:
    """With their percentage where it is one; all are unknown where some are."""
    cdr, credited = (
        replace(HALF_HOUR, total_cost=OcpiPrice(before_taxes=Decimal(net), taxes=taxes_of(taxes)))
        for net, taxes in (("0.90", one), ("-0.25", other))
    )
    found = credit_of(cdr, [credited]).total_cost
    assert (found.before_taxes, found.taxes) == (Decimal("-0.65"), taxes_of(back))


def test_a_credit_is_of_a_known_cdr_of_its_driver() -> None:
    back = credit_of(HALF_HOUR)
    assert judge_credit(back, None) == [f"credit: no CDR {HALF_HOUR.id} is known"]
    assert judge_credit(replace(back, credit_reference_id=None), None) == ["credit: no CDR  is known"]
    assert judge_credit(back, replace(HALF_HOUR, credit=True)) == [f"credit: {HALF_HOUR.id} is a credit CDR"]
    assert judge_credit(back, HALF_HOUR) == []
    token = replace(HALF_HOUR.cdr_token, uid="another")
    assert judge_credit(replace(back, cdr_token=token), HALF_HOUR) == ["credit: it is of another token or currency"]
    owed = replace(HALF_HOUR, total_cost=price("-0.90"))
    assert judge_credit(credit_of(owed), owed) == [], "what is above zero takes back what is below"


@pytest.mark.parametrize(
    ("value", "doubt"),
    [("?", "signed data: value 1: "), ("AAAA", "signed data: value 1: ")],
)
def test_signed_data_that_nobody_can_verify_is_doubted(value: str, doubt: str) -> None:
    signed = CdrSignedData(
        encoding_method="OCMF", signed_values=(CdrSignedValue(nature="End", plain_data="", signed_data=value),)
    )
    (found,) = judge_cdr(replace(HALF_HOUR, signed_data=signed), {}, "UTC", T0 + 10**9)
    assert found.startswith(doubt)


def proved(*readings: dict[str, Any]) -> CdrSignedData:
    """Return a meter's record of these readings, the first half at the begin."""
    half = len(readings) // 2
    ends = ({**READING, **each, "TX": "BE"[at >= half]} for at, each in enumerate(readings))
    data = base64.b64encode(meter_record(*ends)).decode()
    return CdrSignedData(
        encoding_method="OCMF", public_key=base64.b64encode(der_of(KEY.public_key())).decode(),
        signed_values=(CdrSignedValue(nature="End", plain_data="", signed_data=data),),
    )  # fmt: skip


@together(
    ("begin", "end", "more", "doubt"),
    [
        (0, 2.5, {}, []),
        (4, 0, {}, ["signed data: the meter marks an error in 1-0:1.8.0, or it fell"]),
        (0, 2.5, {"EF": "E"}, ["signed data: the meter marks an error in 1-0:1.8.0, or it fell"]),
        (0, 4, {}, ["signed data: 4 kWh taken and 0 kWh fed back are proved"]),
        (0, 2.52, {}, []),
        (0, 2.53, {}, ["signed data: 2.53 kWh taken and 0 kWh fed back are proved"]),
        (0, 2.47, {}, ["signed data: 2.47 kWh taken and 0 kWh fed back are proved"]),
        (0, 0.9, {}, ["signed data: 0.9 kWh taken and 0 kWh fed back are proved"]),
        (0, 4, {"RI": "1-0:16.7.0", "RU": "kW"}, []),  # of no energy
    ],
)
def test_energy_that_the_meter_doubts_is_no_proof(
    begin: float, end: float, more: dict[str, str], doubt: list[str]
) -> None:
    cdr = replace(
        record([(40, 2_500_000, 0)], vat=False), signed_data=proved({**more, "RV": begin}, {**more, "RV": end})
    )
    assert judge_cdr(cdr, {}, "Europe/Berlin", T0 + 10**9) == doubt


@pytest.mark.parametrize("written", [bytes.decode, bytes.hex, lambda data: base64.encodebytes(data).decode()])
def test_signed_data_is_read_plain_in_hex_and_in_lines_of_base64(written: Callable[[bytes], str]) -> None:
    """As partners send it, who do not follow OCPI to the letter: it is the signature that proves."""
    signed = proved({"RV": 0}, {"RV": 4})
    (value,) = signed.signed_values
    value = replace(value, signed_data=written(base64.b64decode(value.signed_data)))
    cdr = replace(record([(40, 2_500_000, 0)], vat=False), signed_data=replace(signed, signed_values=(value,)))
    doubt = ["signed data: 4 kWh taken and 0 kWh fed back are proved"]
    assert judge_cdr(cdr, {}, "Europe/Berlin", T0 + 10**9) == doubt


def test_signed_data_without_its_key_is_no_doubt() -> None:
    """OCPI leaves the key to choice: such a CDR was disputed, where one without signed data is booked."""
    cdr, signed = record([(40, 2_500_000, 0)], vat=False), proved({"RV": 0}, {"RV": 4})
    for key, doubt in ((None, []), ("", []), ("?", ["signed data: value 1: no public key"])):
        said = replace(cdr, signed_data=replace(signed, public_key=key))
        assert judge_cdr(said, {}, "Europe/Berlin", T0 + 10**9) == doubt


def test_natures_mark_begin_and_end_of_records_that_do_not() -> None:
    """Those of EDL40 proved nothing: 142 Wh were booked as 2.5 kWh."""
    found = find_records((FOLDER / "mennekes.xml").read_bytes())
    values = tuple(
        CdrSignedValue(nature=nature, plain_data="", signed_data=base64.b64encode(each.data).decode())
        for nature, each in zip(("Start", "End"), found, strict=True)
    )
    signed = CdrSignedData(encoding_method="EDL40", signed_values=values)
    cdr = replace(record([(40, 2_500_000, 0)], vat=False), signed_data=signed)
    doubt = ["signed data: 0.1419 kWh taken and 0 kWh fed back are proved"]
    assert judge_cdr(cdr, {}, "Europe/Berlin", T0 + 10**9) == doubt


def test_a_meters_greatest_register_of_a_direction_is_its_proof() -> None:
    """Others have a part of its energy, such as that of a tariff."""
    both = [{"RI": code, "RV": value} for value in (0, 1) for code in ("1-0:1.8.0", "1-0:1.8.1")]
    cdr = record([(40, 2_500_000, 0)], vat=False)
    both[2]["RV"] = 2.5
    assert judge_cdr(replace(cdr, signed_data=proved(*both)), {}, "Europe/Berlin", T0 + 10**9) == []
