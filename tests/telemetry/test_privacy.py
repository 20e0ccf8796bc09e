"""Pseudonyms, positions and consent."""

import hashlib
import hmac
import itertools
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import ConfigError
from v2g.telemetry.privacy import (
    GROUPS,
    HIDDEN,
    SCORES,
    WITHOUT_CONSENT,
    Consent,
    PositionBlur,
    group_of,
    pseudonym,
    without_vins,
)
from v2g.telemetry.signals import SIGNALS

KEY = bytes(range(32))
VIN = "WVWZZZ1KZAW123456"
HERE = (48.137154, 11.576124)


def distance_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the distance of two positions (latitude, longitude in degrees) by the haversine formula, m."""
    north, south, east = math.radians(one[0]), math.radians(other[0]), math.radians(other[1] - one[1])
    haversine = math.sin((south - north) / 2) ** 2 + math.cos(north) * math.cos(south) * math.sin(east / 2) ** 2
    return 2 * 6_378_137 * math.asin(math.sqrt(haversine))


def position(latitude: float, longitude: float) -> dict[str, float]:
    return {"location.latitude": latitude, "location.longitude": longitude}


@pytest.mark.requirement("R143")
def test_a_pseudonym_is_keyed_and_the_same_for_every_spelling() -> None:
    found = pseudonym(VIN, KEY)
    assert found == "ev-" + hmac.digest(KEY, VIN.encode(), "sha256").hex()[:32]
    assert pseudonym(f" {VIN.lower()}\n", KEY) == found
    assert pseudonym(VIN, bytes(32)) != found  # nobody without the key can try all VINs
    assert hashlib.sha256(VIN.encode()).hexdigest()[:32] not in found
    for vin, key in ((VIN[:-1], KEY), (VIN[:-1] + "O", KEY), ("", KEY), (VIN, b"short")):
        with pytest.raises(ConfigError):
            pseudonym(vin, key)


@pytest.mark.requirement("R143")
def test_vins_are_hidden_in_texts_and_nothing_else_is() -> None:
    assert without_vins(f"vehicle {VIN} left, {VIN.lower()}") == f"vehicle {HIDDEN} left, {HIDDEN}"
    for harmless in (
        "12345678901234567",
        "a" * 17,
        VIN + "7",
        "ev-0123456789abcdef0123456789abcdef",
        "2026-11-22T00:00:00Z",
    ):
        assert without_vins(harmless) == harmless


def shown(blur: PositionBlur, latitude: float, longitude: float) -> tuple[float, float]:
    found = blur.blurred(position(latitude, longitude))
    return found["location.latitude"], found["location.longitude"]


def near(place: tuple[float, float], north_m: float, east_m: float) -> tuple[float, float]:
    east = east_m / math.cos(math.radians(place[0]))
    return place[0] + north_m / 111_320, place[1] + east / 111_320


@pytest.mark.requirement("R143")
@pytest.mark.parametrize("mean_m", [50.0, 500.0])
def test_the_noise_has_its_mean_in_every_direction(mean_m: float) -> None:
    chance = random.Random(7)
    distances, bearings = [], []
    for _ in range(4000):
        there = shown(PositionBlur(mean_m, chance.randbytes(32)), *HERE)
        distances.append(distance_m(HERE, there))
        bearings.append(math.atan2(there[0] - HERE[0], (there[1] - HERE[1]) * math.cos(math.radians(HERE[0]))))
    assert statistics.mean(distances) == pytest.approx(mean_m, rel=0.05)
    assert abs(statistics.mean(map(math.sin, bearings))) < 0.05
    assert abs(statistics.mean(map(math.cos, bearings))) < 0.05


@pytest.mark.long
@pytest.mark.requirement("R143")
def test_a_thousand_evenings_reveal_no_more_of_a_home_than_one() -> None:
    """The mean of all last positions of trips, of 25 vehicles: with noise for each trip it was 28 m after 60."""
    chance = random.Random(3)
    errors = []
    for _ in range(25):
        blur, ends = PositionBlur(200.0, chance.randbytes(32)), []
        for _ in range(1000):
            bearing = chance.uniform(0, 2 * math.pi)
            for metres in (3000.0, 800.0, 300.0, 100.0):  # the way home, from everywhere
                shown(blur, *near(HERE, metres * math.cos(bearing), metres * math.sin(bearing)))
            ends.append(shown(blur, *near(HERE, chance.gauss(0, 5), chance.gauss(0, 5))))
        assert len(set(ends)) <= 4, "a receiver's errors reach the cells beside at most"
        middle = statistics.mean(each for each, _ in ends), statistics.mean(each for _, each in ends)
        errors.append(distance_m(HERE, middle))
    assert statistics.mean(errors) > 150


@pytest.mark.requirement("R143")
@given(st.floats(-85, 85), st.floats(-179, 179), st.binary(min_size=32, max_size=32))
def test_a_report_has_the_cell_and_nothing_finer(latitude: float, longitude: float, key: bytes) -> None:
    """Over 3 km to the north each point is that of 300 m, but at both ends: who has all points knows the cells."""
    blur = PositionBlur(200.0, key)
    way = (shown(blur, latitude + metres / 111_320, longitude) for metres in range(0, 3000, 10))
    lengths = [len(list(same)) for _, same in itertools.groupby(way)]
    assert all(29 <= each <= 31 for each in lengths[1:-1])
    assert 10 <= len(lengths) <= 12


@pytest.mark.requirement("R143")
def test_without_the_key_nobody_computes_the_point_of_a_place() -> None:
    points = {shown(PositionBlur(200.0, bytes([n]) * 32), *HERE) for n in range(50)}
    assert len(points) == 50
    assert len({shown(PositionBlur(200.0, KEY), *HERE) for _ in range(50)}) == 1


def test_half_a_position_is_not_shown_and_other_signals_pass() -> None:
    blur = PositionBlur(100.0, KEY)
    assert blur.blurred({"location.latitude": 48.0, "battery.soc": 50.0}) == {"battery.soc": 50.0}
    assert set(blur.blurred({"location.longitude": 11.0})) == {"location.latitude", "location.longitude"}
    assert blur.blurred({"battery.soc": 51.0}) == {"battery.soc": 51.0}
    assert PositionBlur(0, KEY).blurred(position(*HERE)) == position(*HERE)


@given(st.floats(-90, 90), st.floats(-180, 180), st.binary(min_size=32, max_size=32))
def test_a_blurred_position_is_one(latitude: float, longitude: float, key: bytes) -> None:
    for name, value in PositionBlur(1000.0, key).blurred(position(latitude, longitude)).items():
        assert SIGNALS[name].minimum <= value <= SIGNALS[name].maximum


@pytest.mark.requirement("R144")
def test_signals_are_withheld_by_group() -> None:
    assert {group_of(name) for name in SIGNALS} == set(GROUPS) - {SCORES}
    values = {"battery.soc": 50.0, "battery.cell_voltage.min": 3.7, "motor.speed": 900.0, **position(*HERE)}
    assert set(Consent(["battery"]).permitted(values)) == {"battery.soc"}
    assert set(Consent(["cells", "location"]).permitted(values)) == values.keys() - {"battery.soc", "motor.speed"}
    assert Consent([]).permitted(values) == {}
    assert not {"location", "driving", SCORES} & set(WITHOUT_CONSENT)
    with pytest.raises(ConfigError, match="'postion'"):
        Consent(["postion"])
