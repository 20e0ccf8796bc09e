"""Postings sum to zero in energy and money, reversals cancel them, and a period's digest names its postings."""

import hashlib
from collections import Counter
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.settlement.conftest import Session
from tests.together import together
from v2g.energy.settlement.bookkeeping import (
    Digest,
    Entry,
    Posting,
    end_of,
    is_balanced,
    next_period,
    period_of,
    posting_of,
    reversal_of,
)
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.pricing import NO_CURRENCY, Total
from v2g.energy.settlement.settle import BatteryUse, Settlement, Times, settle
from v2g.energy.settlement.taxes import Tax

MWH = st.integers(0, 10**12)
MONEY = st.integers(-(10**15), 10**15)


def settlement(begin: tuple[int, int] = (10, 20), end: tuple[int, int] = (1_010, 520), *totals: Total) -> Settlement:
    return Settlement(
        format="v2g-settlement/1", state="closed", station_id="CS", evse_id="E", session_id="01", emaid="DEV2GC1",
        begin=Registers(1_000, *begin), end=Registers(5_000, *end), reason="vehicle", intervals=(), lines=(),
        totals=totals, battery=BatteryUse(capacity_wh=60_000, throughput_mwh=0, full_cycles=7, v2g_cycles=3),
        times=Times(charging_ms=1, discharging_ms=2, idle_ms=3997), journal_entries=9, journal_head="ab",
    )  # fmt: skip


@pytest.mark.requirement("R36", "R194")
@together(
    ("capacity_wh", "net_wh", "throughput_wh", "hours", "known"),
    [
        (60_000, 75_000, 75_000, 1, True),
        (60_000, 75_001, 75_001, 1, False),
        (60_000, -75_000, 75_000, 1, True),
        (60_000, -75_001, 75_001, 1, False),
        (60_000, 0, 600_000, 1, True),
        (60_000, 0, 600_001, 1, False),
        (60_000, 0, 600_001, 2, True),
        (1, 20_000, 20_000, 1, False),
    ],
)
def test_a_capacity_that_cannot_be_adds_no_cycles(
    capacity_wh: int, net_wh: int, throughput_wh: int, hours: int, known: bool
) -> None:
    """A vehicle that states 1 Wh would have more cycles than all others together."""
    into = (throughput_wh + net_wh) * 500
    stated = msgspec.structs.replace(
        settlement((0, 0), (into, into - net_wh * 1000)),
        battery=BatteryUse(
            capacity_wh=capacity_wh, throughput_mwh=throughput_wh * 1000, full_cycles=10**9, v2g_cycles=10**9
        ),
        times=Times(charging_ms=hours * 1_800_000, discharging_ms=hours * 1_800_000, idle_ms=9),
    )
    cycles = 10**9 if known else None
    use = posting_of(stated).use
    assert (use.full_cycles, use.v2g_cycles) == (cycles, cycles)


def total(currency: str, cost: int, credit: int) -> Total:
    return Total(
        currency=currency, import_mwh=0, export_mwh=0, import_cost=cost, export_credit=credit, balance=cost - credit
    )


def amounts(posting: Posting) -> dict[tuple[str, str], int]:
    return {(each.account, each.unit): each.amount for each in posting.entries}


@pytest.mark.requirement("R32", "R33", "R36", "R37")
def test_energy_and_money_of_a_settlement_move_between_accounts() -> None:
    posting = posting_of(settlement((10, 20), (1_010, 520), total("EUR", 300, 450), total(NO_CURRENCY, 0, 0)))
    assert amounts(posting) == {
        ("grid", "mWh"): -500, ("vehicle", "mWh"): 500,
        ("sales", "EUR"): -300, ("purchases", "EUR"): 450, ("driver", "EUR"): -150,
    }  # fmt: skip
    assert (posting.kind, posting.vehicle, posting.journal_head) == ("settlement", "DEV2GC1", "ab")
    assert (posting.begin_ms, posting.end_ms) == (1_000, 5_000)
    use = posting.use
    assert (use.import_mwh, use.export_mwh, use.full_cycles, use.v2g_cycles) == (1_000, 500, 7, 3)
    assert (use.charging_ms, use.discharging_ms, use.idle_ms) == (1, 2, 3997)


@pytest.mark.requirement("R32", "R33", "R35")
def test_wear_and_vat_move_between_the_driver_and_their_accounts() -> None:
    """The driver pays VAT on what it buys, and is owed it on what it sells; wear is owed to it."""
    euros = msgspec.structs.replace(total("EUR", 3_000, 4_500), wear_credit=700)
    taxes = [
        Tax(currency="EUR", percent=Decimal(19), net=3_000, vat=570),
        Tax(currency="EUR", percent=Decimal(10), net=-4_500, vat=-450),
        Tax(currency="JPY", percent=Decimal(10), net=200, vat=20),
    ]
    posting = posting_of(settlement((5, 5), (5, 5), euros, total("JPY", 200, 0)), taxes)
    assert amounts(posting) == {
        ("sales", "EUR"): -3_000, ("purchases", "EUR"): 4_500, ("wear", "EUR"): 700, ("vat", "EUR"): -120,
        ("driver", "EUR"): 3_000 - 4_500 - 700 + 120,
        ("sales", "JPY"): -200, ("vat", "JPY"): -20, ("driver", "JPY"): 220,
    }  # fmt: skip
    assert is_balanced(posting.entries)


def test_what_is_nothing_is_not_posted_and_an_unknown_vehicle_has_no_name() -> None:
    bare = msgspec.structs.replace(
        settlement((5, 5), (5, 5)),
        emaid=None,
        battery=BatteryUse(capacity_wh=None, throughput_mwh=0, full_cycles=None, v2g_cycles=None),
    )
    posting = posting_of(bare)
    assert (posting.entries, posting.vehicle) == ((), "")
    assert (posting.use.full_cycles, posting.use.v2g_cycles) == (None, None), "unknown is not 0"
    assert reversal_of(posting).use.v2g_cycles is None


@pytest.mark.requirement("R32")
@given(MWH, MWH, st.lists(st.tuples(st.sampled_from(["EUR", "JPY", "KWD"]), MONEY, MONEY), max_size=3))
def test_every_posting_sums_to_zero_and_its_reversal_cancels_it(
    into: int, out: int, totals: list[tuple[str, int, int]]
) -> None:
    posting = posting_of(settlement((10, 20), (10 + into, 20 + out), *(total(*each) for each in totals)))
    assert is_balanced(posting.entries)
    reversal = reversal_of(posting)
    assert reversal.kind == "reversal"
    sums: Counter[tuple[str, str]] = Counter()
    for each in (*posting.entries, *reversal.entries):
        sums[each.account, each.unit] += each.amount
    assert not any(sums.values())
    for name in posting.use.__struct_fields__:
        used = getattr(posting.use, name)
        assert getattr(reversal.use, name) == (None if used is None else -used)
    assert msgspec.structs.replace(reversal_of(reversal), kind="settlement") == posting


def test_the_posting_of_a_real_session_is_its_settlement(finished: Session) -> None:
    settled = settle(verify_lines(finished.journal))
    found = amounts(posting_of(settled))
    (its,) = settled.totals
    assert found["driver", its.currency] == its.balance
    assert found["vehicle", "mWh"] == its.import_mwh - its.export_mwh


def test_an_unbalanced_set_of_entries_is_seen() -> None:
    one = Entry(account="driver", unit="EUR", amount=5)
    assert not is_balanced([one])
    assert not is_balanced([one, Entry(account="sales", unit="USD", amount=-5)])
    assert is_balanced([one, Entry(account="sales", unit="EUR", amount=-5)])
    assert is_balanced([])


def test_a_period_is_a_month_of_the_operators_zone() -> None:
    last_second = 1_798_757_999_000  # 2026-12-31T22:59:59Z
    assert period_of(last_second) == "2026-12"
    berlin = ZoneInfo("Europe/Berlin")
    assert (period_of(last_second, berlin), period_of(last_second + 1_000, berlin)) == ("2026-12", "2027-01")
    assert end_of("2026-12", berlin) == last_second + 1_000


@pytest.mark.parametrize(("period", "after"), [("2026-11", "2026-12"), ("2026-12", "2027-01"), ("2027-01", "2027-02")])
def test_periods_follow_each_other(period: str, after: str) -> None:
    assert next_period(period) == after


def test_a_digest_depends_on_every_posting_their_order_and_the_period_before() -> None:
    one, other = posting_of(settlement()), posting_of(settlement((0, 0), (7, 7)))

    def digest(*postings: Posting, previous: str = "") -> str:
        found = Digest(previous)
        for each in postings:
            found.add(each)
        return found.hex

    assert len({digest(), digest(one), digest(one, other), digest(other, one), digest(one, previous="ab")}) == 5
    assert digest(one, other) == digest(one, other)
    assert Digest().hex == digest() == hashlib.sha512(b"").hexdigest()
