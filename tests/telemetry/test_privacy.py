"""Pseudonyms, positions and consent."""

import hashlib
import hmac
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
    WITHOUT_CONSENT,
    Consent,
    PositionBlur,
    distance_m,
    group_of,
    pseudonym,
    without_vins,
)
from v2g.telemetry.signals import SIGNALS

KEY = bytes(range(32))
VIN = "WVWZZZ1KZAW123456"
HERE = (48.137154, 11.576124)


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
    assert without_vins(f"vehicle {VIN} left, {VIN}") == f"vehicle {HIDDEN} left, {HIDDEN}"
    for harmless in (
        "12345678901234567",
        "a" * 17,
        VIN + "7",
        "ev-0123456789abcdef0123456789abcdef",
        "2026-11-22T00:00:00Z",
    ):
        assert without_vins(harmless) == harmless


@pytest.mark.requirement("R143")
@pytest.mark.parametrize("mean_m", [50.0, 500.0])
def test_the_noise_has_its_mean_in_every_direction(mean_m: float) -> None:
    """The distance of the planar Laplace distribution: mean 2 s, variance 2 s^2."""
    chance = random.Random(7)
    distances, bearings = [], []
    for _ in range(4000):
        shown = PositionBlur(mean_m, chance.random).blurred(position(*HERE))
        there = shown["location.latitude"], shown["location.longitude"]
        distances.append(distance_m(HERE, there))
        bearings.append(math.atan2(there[0] - HERE[0], (there[1] - HERE[1]) * math.cos(math.radians(HERE[0]))))
    assert statistics.mean(distances) == pytest.approx(mean_m, rel=0.05)
    assert statistics.stdev(distances) == pytest.approx(mean_m / math.sqrt(2), rel=0.08)
    assert abs(statistics.mean(map(math.sin, bearings))) < 0.05
    assert abs(statistics.mean(map(math.cos, bearings))) < 0.05


@pytest.mark.requirement("R143")
def test_many_reports_of_a_parked_vehicle_do_not_reveal_where_it_is() -> None:
    chance = random.Random(3)
    blur = PositionBlur(100.0, chance.random)
    jitter = [(HERE[0] + chance.gauss(0, 1e-5), HERE[1] + chance.gauss(0, 1e-5)) for _ in range(1000)]
    shown = {tuple(blur.blurred(position(*each)).values()) for each in jitter}
    assert len(shown) == 1
    far = blur.blurred(position(HERE[0] + 0.01, HERE[1]))
    assert tuple(far.values()) not in shown


def test_half_a_position_is_not_shown_and_other_signals_pass() -> None:
    blur = PositionBlur(100.0, random.Random(1).random)
    assert blur.blurred({"location.latitude": 48.0, "battery.soc": 50.0}) == {"battery.soc": 50.0}
    assert set(blur.blurred({"location.longitude": 11.0})) == {"location.latitude", "location.longitude"}
    assert blur.blurred({"battery.soc": 51.0}) == {"battery.soc": 51.0}
    assert PositionBlur(0, random.random).blurred(position(*HERE)) == position(*HERE)


@given(st.floats(-90, 90), st.floats(-180, 180), st.integers())
def test_a_blurred_position_is_one(latitude: float, longitude: float, seed: int) -> None:
    shown = PositionBlur(1000.0, random.Random(seed).random).blurred(position(latitude, longitude))
    for name, value in shown.items():
        assert SIGNALS[name].minimum <= value <= SIGNALS[name].maximum


@pytest.mark.requirement("R144")
def test_signals_are_withheld_by_group() -> None:
    assert {group_of(name) for name in SIGNALS} == set(GROUPS)
    values = {"battery.soc": 50.0, "battery.cell_voltage.min": 3.7, "motor.speed": 900.0, **position(*HERE)}
    assert set(Consent(["battery"]).permitted(values)) == {"battery.soc"}
    assert set(Consent(["cells", "location"]).permitted(values)) == values.keys() - {"battery.soc", "motor.speed"}
    assert Consent([]).permitted(values) == {}
    assert not {"location", "driving"} & set(WITHOUT_CONSENT)
    with pytest.raises(ConfigError, match="'postion'"):
        Consent(["postion"])
