"""Receivers of satellites: their sentences and reports, and what is wrong with their fixes."""

import json
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.telemetry.receiver import Place, apart_m, drive, epoch, sentence, track
from tests.together import together
from v2g.observe import Observe
from v2g.telemetry.gnss import MAX_REPORT, MAX_SENTENCE, Fix, FixReader, PositionWatch
from v2g.telemetry.signals import LATITUDE, LONGITUDE

pytestmark = pytest.mark.requirement("R211")


def read(data: bytes, kind: str = "nmea") -> list[Fix]:
    return list(FixReader(kind).receive(data))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "expected"),
    [  # the examples of gpsd.io/NMEA.html, and of receivers of other systems
        (
            b"$GNGGA,001043.00,4404.14036,N,12118.85961,W,1,12,0.98,1113.0,M,-21.3,M,,*47",
            (1, 44.069, -121.31433, 0.98),
        ),
        (b"$GPGGA,123519,4807.038,N,01131.000,E,2,08,0.9,545.4,M,46.9,M,,*44", (2, 48.1173, 11.51667, 0.9)),
        (
            b"$GNGNS,014035.00,4332.69262,S,17235.48549,E,RR,13,0.9,25.63,11.24,,*70",
            (4, -43.54488, 172.59142, 0.9),
        ),
        (b"$GNRMC,001031.00,A,4404.13993,N,12118.86023,W,0.146,,100117,,,A*7B", (1, 44.069, -121.31434, None)),
        (b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A", (1, 48.1173, 11.51667, None)),
    ],
)
def test_sentences_of_receivers_are_fixes(line: bytes, expected: tuple[int, float, float, float | None]) -> None:
    (fix,) = read(line + b"\r\n")
    assert (fix.quality, fix.hdop) == (expected[0], expected[3])
    assert apart_m((fix.latitude, fix.longitude), expected[1:3]) < 2


def test_dilution_and_time_are_kept_and_a_fix_is_not_told_twice() -> None:
    (fix,) = read(epoch(3661.5, (48.0, 11.0), quality=4, hdop=1.25))
    assert (fix.quality, fix.hdop, fix.time_s) == (4, 1.25, 3661.5)
    gsa = b"GPGSA,A,3,19,28,14,18,27,22,31,39,,,,,1.7,1.0,1.3"
    (only,) = read(sentence(gsa.decode()) + sentence("GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,,,D"))
    assert (only.quality, only.hdop) == (2, 1.0)


@together(
    "line",
    [
        sentence("GPGGA,123519,4867.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"),  # 67 minutes
        sentence("GPGGA,123519,9100.000,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"),
        sentence("GPGGA,123519,4807.038,X,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"),
        sentence("GPGGA,123519,4807.038,N,01131.000,E,9,08,0.9,545.4,M,46.9,M,,"),
        sentence("GPGGA,123519"),
        sentence("GNGNS,014035.00,4332.69262,S,17235.48549,E,Q,13,0.9,25.63,11.24,,"),
        b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*00\r\n",
        b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,\r\n",  # without the sum
        b"A" * 1000 + b"\r\n",
    ],
)
def test_what_is_damaged_is_counted_and_the_next_one_read(line: bytes) -> None:
    reader = FixReader("nmea")
    assert [each.quality for each in reader.receive(line + epoch(1, (48.0, 11.0)))] == [1]
    assert reader.malformed == 1


@given(st.lists(st.binary(max_size=400)), st.sampled_from(["nmea", "gpsd"]))
def test_arbitrary_octets_are_fixes_or_counted_and_memory_is_bounded(parts: list[bytes], kind: str) -> None:
    reader = FixReader(kind)  # type: ignore[arg-type]
    for part in parts:
        for fix in reader.receive(part):
            assert 0 <= fix.quality <= 8
    most = MAX_SENTENCE if kind == "nmea" else MAX_REPORT
    assert list(reader.receive(b"$" * 2 * most + b"\n")) == []


@given(st.lists(st.integers(1, 60), max_size=40))
def test_how_octets_are_cut_changes_nothing(cuts: list[int]) -> None:
    data, parts = b"".join(track(drive(5))), []
    whole = read(data)
    for cut in cuts:
        parts.append(data[:cut])
        data = data[cut:]
    reader = FixReader("nmea")
    assert [fix for part in (*parts, data) for fix in reader.receive(part)] == whole
    assert len(whole) == 5


def report(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\r\n"


def test_reports_of_gpsd_are_fixes() -> None:
    sky = report(**{"class": "SKY", "hdop": 1.1, "satellites": []})
    there = {"class": "TPV", "mode": 3, "time": "2024-06-27T12:00:01.250Z", "lat": 48.1, "lon": -11.5}
    fixes = read(sky + report(**there) + report(**there, status=3) + report(**{"class": "TPV", "mode": 1}), "gpsd")
    assert fixes[0] == Fix(1, 48.1, -11.5, 1.1, 43_201.25)
    assert [each.quality for each in fixes] == [1, 4, 0]
    reader = FixReader("gpsd")
    wrong = (b"[]\n", b"{}\n", b"\xff\n", report(**there | {"lat": 91}), report(**there | {"mode": "3"}))
    assert [list(reader.receive(each)) for each in wrong] == [[]] * 5
    assert reader.malformed == 5


# -- What is wrong with fixes ------------------------------------------------------------------------------------------


def watched(places: Iterable[Place | None], watch: PositionWatch) -> tuple[list[Place], list[Observe]]:
    """Return the positions that are shown of places, one a second, and what is found."""
    shown, events = list[Place](), list[Observe]()
    for second, place in enumerate(places):
        fix = Fix(0) if place is None else Fix(1, *place, 0.9, 86_390.0 + second - 86_400.0 * (second >= 10))
        mapped, found = watch.fix(fix, float(second))
        events += found
        if LATITUDE in mapped.values:
            shown.append((mapped.values[LATITUDE], mapped.values[LONGITUDE]))
    return shown, events


def test_a_tunnel_has_a_name_a_begin_and_an_end() -> None:
    places: list[Place | None] = list(drive(60))
    places[20:40] = [None] * 20
    watch = PositionWatch(5.0)
    shown, events = watched(places, watch)
    assert len(shown) == 40
    assert [(each.name, each.data) for each in events] == [
        ("position_lost", {"after_s": 5.0}),
        ("position_found", {"after_s": 21.0, "moved_m": pytest.approx(21 * 15, rel=0.1)}),
    ]
    mapped, _ = watch.poll(58.0 + 5)
    assert mapped.values == {}
    mapped, (lost,) = watch.poll(59.0 + 5)
    assert (mapped.values, lost.name) == ({"location.quality": 0.0}, "position_lost")
    assert {LATITUDE, LONGITUDE} <= set(mapped.absent)
    assert watch.poll(90.0) == (type(mapped)({}), [])


def test_one_fix_that_no_vehicle_reaches_is_left_out() -> None:
    places = drive(30)
    wrong = [*places[:15], (places[15][0] + 0.05, places[15][1]), *places[16:]]
    shown, (jump,) = watched(wrong, PositionWatch(5.0))
    assert shown == [*places[:15], *places[16:]]
    assert (jump.name, jump.data["kept"]) == ("position_jumped", False)
    assert jump.data["moved_m"] == pytest.approx(0.05 * 111_320, rel=0.01)


def test_a_jump_that_lasts_is_a_new_place() -> None:
    places = drive(40)
    moved = [*places[:20], *((a + 1, b) for a, b in places[20:])]
    shown, (jump,) = watched(moved, PositionWatch(5.0))
    assert shown == [*moved[:20], *moved[21:]]
    assert jump.data["kept"] is True


def way(watch: PositionWatch, *shares: float, begin_s: float = 0.0) -> list[Observe]:
    """Drive 15 km for each share, with an odometer in 0.1 km that counts that share of the way."""
    events, counted_m = [], 0.0
    for second, (before, place) in enumerate(pairwise(drive(1000 * len(shares)))):
        counted_m += apart_m(before, place) * shares[second // 1000]
        events += watch.fix(Fix(1, *place), begin_s + second)[1]
        events += watch.odometer(100.0 + round(counted_m / 100) / 10)
    return events


@pytest.mark.parametrize("share", [0.98, 1.0, 1.02])
def test_an_odometer_that_agrees_is_no_finding(share: float) -> None:
    assert way(PositionWatch(5.0), share) == []


@pytest.mark.parametrize("share", [0.8, 1.2])
def test_an_odometer_that_contradicts_the_way_is_found_once_and_ends(share: float) -> None:
    found, ended = way(PositionWatch(5.0), share, 1.0)
    assert (found.name, found.data["raised"]) == ("odometer_apart", True)
    assert float(found.data["odometer_m"] or 0) / float(found.data["way_m"] or 1) == pytest.approx(share, rel=0.1)
    assert ended.data["raised"] is False


def test_without_any_fix_an_odometer_contradicts_nothing() -> None:
    watch = PositionWatch(5.0)
    assert [found for km in range(10) for found in watch.odometer(float(km))] == []


def test_the_scatter_of_a_parked_vehicle_is_no_way() -> None:
    latitude, longitude = drive(1)[0]
    watch = PositionWatch(5.0)
    watch.odometer(99.8)
    watch.odometer(99.9)
    watched([(latitude + (second % 3) * 3e-5, longitude) for second in range(5000)], watch)
    assert way(watch, 1.0, begin_s=5000.0) == []
