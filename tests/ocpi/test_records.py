"""CDRs that are split and credited by agreement: what both cost together stays, and each is taken once."""

import base64
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.energy.meter_records.signed_records import KEY, READING, der_of
from tests.energy.meter_records.signed_records import record as meter_record
from tests.ocpi.sessions import FACTS, T0, journal
from v2g.energy.settlement.settle import settle
from v2g.energy.settlement.taxes import VatRate
from v2g.ocpi import wire
from v2g.ocpi.objects import CdrSignedData, CdrSignedValue, OcpiCdr, OcpiPrice
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
    assert total([*parts, back]) == total([*parts, back], net=False) == 0
    assert is_taken_back(parts[0], [*parts, back])
    assert judge_credit(back, parts[0], [*parts[1:], back]) or not back.total_cost.before_taxes  # once
    assert judge_credit(back, None)


def test_a_credit_that_takes_back_something_else_is_found() -> None:
    cdr = record([(30, 3_000_000, 0), (30, 0, 1_000_000)], vat=False)
    main, credit = split_of(cdr, "UTC")
    for changes, word in (
        ({"currency": "USD"}, "currency"),
        ({"total_cost": OcpiPrice(before_taxes=Decimal(3))}, "above zero"),
        ({"total_energy": main.total_energy}, "not that of the CDR"),
    ):
        (said,) = judge_credit(replace(credit, **changes), main)
        assert word in said
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
    ("begin", "end", "more", "doubt"),
    [
        (0, 2.5, {}, []),
        (2.5, 0, {}, ["signed data: the meter marks an error in 1-0:1.8.0, or it fell"]),
        (0, 2.5, {"EF": "E"}, ["signed data: the meter marks an error in 1-0:1.8.0, or it fell"]),
        (0, 4, {}, ["signed data: 4 kWh taken and 0 kWh fed back are proved"]),
    ],
)
def test_energy_that_the_meter_doubts_is_no_proof(
    begin: float, end: float, more: dict[str, str], doubt: list[str]
) -> None:
    readings = {**READING, "RV": begin}, {**READING, **more, "TX": "E", "RV": end}
    text = meter_record(*readings).decode()
    signed = CdrSignedData(
        encoding_method="OCMF", public_key=base64.b64encode(der_of(KEY.public_key())).decode(),
        signed_values=(CdrSignedValue(
            nature="End", plain_data="", signed_data=base64.b64encode(text.encode()).decode()
        ),),
    )  # fmt: skip
    cdr = record([(40, 2_500_000, 0)], vat=False)
    assert judge_cdr(replace(cdr, signed_data=signed), {}, "Europe/Berlin", T0 + 10**9) == doubt
