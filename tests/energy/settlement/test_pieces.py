"""A transaction is cut where a rate may change, and nowhere else; each piece knows what conditions look at."""

from datetime import datetime

import msgspec
import pytest

from v2g.energy.price_plan import Charge, PricePlan, Rate, Use, When
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.pieces import Piece, Progress, Usage, begin, cut, zone_of

T0 = 2_000_000_000_000


def plan(*whens: When) -> PricePlan:
    return PricePlan(
        id="p", currency="EUR", fixed=Charge(rates=tuple(Rate(price="0.000001", when=when) for when in whens))
    )


def at(second: int, import_mwh: int = 5_000, export_mwh: int = 7_000, basis: str = "metered") -> Registers:
    return Registers(T0 + second * 1000, import_mwh, export_mwh, basis)  # type: ignore[arg-type]


def usage(*readings: Registers, end: int = 100, **more: object) -> Usage:
    return Usage(start_ms=T0, end_ms=T0 + end * 1000, readings=readings, **more)  # type: ignore[arg-type]


def cut_up(what: Usage, *whens: When) -> tuple[list[Piece], Progress]:
    return cut([(what.start_ms, plan(*(whens or (When(),))))], [zone_of("UTC")], what, begin(what))


def seconds(pieces: list[Piece]) -> list[float]:
    return [(piece.begin.utc_ms - T0) / 1000 for piece in pieces]


def states(*changes: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((T0 + second * 1000, state) for second, state in changes)


def test_energy_is_cut_at_the_very_mwh_of_a_bound() -> None:
    """Counted from the first register, on the line between two readings; a reading at a bound is cut enough."""
    whens = [
        When(max_energy_wh=4),
        When(min_energy_wh=6, max_energy_wh=9),
        When(max_energy_wh=10),
        When(min_energy_wh=11),
    ]
    pieces, progress = cut_up(usage(at(0), at(60, 11_000, 10_000), at(100, 15_000, 18_000)), *whens)
    assert [piece.begin for piece in pieces] == [
        at(0),
        at(40, 9_000, 9_000, "interpolated"),
        at(60, 11_000, 10_000),
        at(90, 14_000, 16_000, "interpolated"),
    ]
    assert [piece.use.energy_mwh for piece in pieces] == [0, 4_000, 6_000, 9_000]
    assert [(piece.energy_mwh, piece.export_mwh) for piece in pieces] == [
        (4_000, 2_000),
        (2_000, 1_000),
        (3_000, 6_000),
        (1_000, 2_000),
    ]
    assert (pieces[-1].end, progress.last) == (at(100, 15_000, 18_000),) * 2
    later = usage(at(100, 15_000, 18_000), at(200, 17_000, 18_000), end=200)
    later = msgspec.structs.replace(later, start_ms=T0 + 100_000)
    (first, second), _ = cut([(T0, plan(*whens))], [zone_of("UTC")], later, progress)
    assert (first.use.energy_mwh, second.use.energy_mwh, second.begin) == (
        10_000,
        11_000,
        at(150, 16_000, 18_000, "interpolated"),
    )


def test_runs_are_cut_where_they_have_lasted_as_long_as_a_bound() -> None:
    """Charging altogether, each pause by itself; the time of the whole transaction besides."""
    what = usage(at(0), at(150), end=150, charging=states((0, 1), (30, 0), (50, 1), (100, 0)))
    whens = [When(max_charging_s=60, min_idle_s=15), When(min_charging_s=30, max_idle_s=20, min_time_s=130)]
    pieces, progress = cut_up(what, *whens)
    assert seconds(pieces) == [0, 30, 45, 50, 80, 100, 115, 120, 130]
    assert [piece.use.charging_ms // 1000 for piece in pieces] == [0, 30, 30, 30, 60, 80, 80, 80, 80]
    assert [piece.use.idle_ms // 1000 for piece in pieces] == [0, 0, 15, 0, 0, 0, 15, 20, 30]
    assert [piece.use.time_ms // 1000 for piece in pieces] == seconds(pieces)
    assert [piece.charging for piece in pieces] == [True, False, False, True, True, False, False, False, False]
    assert sum(piece.length_ms for piece in pieces) == 150_000
    assert (progress.charged_ms, progress.idle_ms) == (80_000, 50_000)
    assert (begin(what).charged_ms, begin(what).idle_ms) == (0, 0)
    more = msgspec.structs.replace(usage(at(150), at(300), end=300), start_ms=T0 + 150_000)
    whens = [When(min_idle_s=60, max_idle_s=50), When(min_charging_s=90, max_charging_s=80)]
    plans, zones = [(T0, plan(*whens))], [zone_of("UTC")]
    pieces, _ = cut(plans, zones, more, progress)
    assert seconds(pieces) == [150, 160]
    charging = msgspec.structs.replace(more, charging=states((160, 1)))
    pieces, after = cut(plans, zones, charging, progress)
    assert seconds(pieces) == [150, 160, 170]
    assert (after.charged_ms, after.idle_ms) == (220_000, 0)


def test_a_pause_that_is_said_twice_goes_on() -> None:
    pieces, progress = cut_up(usage(at(0), at(100), charging=states((0, 0), (20, 0))), When(min_idle_s=30))
    assert (seconds(pieces), progress.idle_ms) == ([0, 20, 30], 100_000)


def test_the_clock_cuts_too() -> None:
    """T0 is 03:33:20 UTC."""
    pieces, _ = cut_up(usage(at(0), at(100)), When(from_minute=3 * 60 + 34))
    assert seconds(pieces) == [0, 40]


def test_power_is_the_mean_between_readings_and_current_what_was_last_said() -> None:
    """10 MW, so that every W shows; before the first word on currents there is none."""
    readings = (at(0), at(36, 5_000 + 100_000_000), at(36, 5_000 + 100_000_001), at(72, 5_000 + 100_000_001))
    pieces, _ = cut_up(usage(*readings, end=72, currents=states((10, 16), (20, 32), (36, 8))))
    assert [((p.begin.utc_ms - T0) // 1000, p.use.power_w, p.use.current_a) for p in pieces] == [
        (0, 10_000_000, 0),
        (10, 10_000_000, 16),
        (20, 10_000_000, 32),
        (36, 0, 8),
        (36, 0, 8),
    ]
    assert [p.length_ms for p in pieces] == [10_000, 10_000, 16_000, 0, 36_000]


@pytest.mark.parametrize(
    ("readings", "points"),
    [
        ((), [at(0, 0, 0), at(100, 0, 0)]),
        ((at(-1, 1, 1), at(101, 9, 9)), [at(0, 0, 0), at(100, 0, 0)]),
        ((at(0), at(100, 6_000)), [at(0), at(100, 6_000)]),
        ((at(10), at(90, 6_000, 8_000)), [
            at(0, basis="interpolated"), at(10), at(90, 6_000, 8_000), at(100, 6_000, 8_000, "interpolated"),
        ]),
        ((at(50),), [at(0, basis="interpolated"), at(50), at(100, basis="interpolated")]),
    ],
)  # fmt: skip
def test_a_transaction_has_registers_at_its_start_and_its_end(
    readings: tuple[Registers, ...], points: list[Registers]
) -> None:
    """Those of the nearest reading in it; readings outside are of another transaction."""
    pieces, progress = cut_up(usage(*readings))
    assert [pieces[0].begin, *(piece.end for piece in pieces)] == points
    assert progress.first_mwh == points[0].import_mwh
    assert begin(usage(*readings)).last == points[0]


def test_a_transaction_that_has_only_begun_is_a_piece_without_length() -> None:
    pieces, _ = cut_up(usage(at(0), end=0))
    assert [(piece.begin.import_mwh, piece.length_ms) for piece in pieces] == [(5_000, 0)]


def test_plans_cut_where_they_begin_and_conditions_of_all_of_them_count() -> None:
    what = usage(at(0), at(100), charging=states((0, 1)), evse_kind="DC", payment_brand="B", payment_recognition="R")
    plans = [(T0, plan(When(max_time_s=20))), (T0 + 60_000, plan(When(min_charging_s=80)))]
    pieces, _ = cut(plans, [zone_of("UTC")] * 2, what, begin(what))
    assert seconds(pieces) == [0, 20, 60, 80]
    for piece in pieces:
        said = piece.use
        assert (said.evse_kind, said.payment_brand, said.payment_recognition) == ("DC", "B", "R")
    assert pieces[0].use == Use(evse_kind="DC", payment_brand="B", payment_recognition="R")


@pytest.mark.parametrize(("name", "hours"), [("UTC", 0), ("+05:30", 5.5), ("-03:00", -3), ("Asia/Tokyo", 9)])
def test_a_zone_has_a_name_or_an_offset(name: str, hours: float) -> None:
    offset = datetime(2030, 1, 1, tzinfo=zone_of(name)).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == hours * 3600


@pytest.mark.parametrize("name", ["Mars/Base", "+99:99", "-", "", "../UTC"])
def test_what_is_neither_is_no_zone(name: str) -> None:
    with pytest.raises(ValueError, match="unknown time zone"):
        zone_of(name)
