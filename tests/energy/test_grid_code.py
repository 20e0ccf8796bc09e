"""Grid codes as data, against the tables that their values were read from."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.grid_code import GridCode, parse_code, preset_texts, presets
from v2g.errors import ConfigError

pytestmark = pytest.mark.requirement("R209")

DIGEST = "0c3107f34e4b2016b34ae1dbb35f4b26668b9b33c2fa97e7bc6c47f7d7c7ffd8"
"""Of VDE-AR-N 4105:2018 since its preset exists."""
CODES = pytest.mark.parametrize("code", presets().values(), ids=presets())


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        (
            "vde-ar-n-4105-2018",
            {"U<<": (103.5, 0.3), "U<": (184.0, 3.0), "U> 10 min": (253.0, 0.1), "U>>": (287.5, 0.1), "f<": (47.5, 0.1),
             "f>": (51.5, 0.1)},
        ),
        ("g98", {"U<": (184.0, 2.5), "U>": (262.2, 1.0), "U>>": (273.7, 0.5), "f<": (47.5, 20), "f<<": (47.0, 0.5),
                 "f>": (52.0, 0.5), "df/dt": (1.0, 0.5)}),
        ("cei-0-21", {"59.S1 10 min": (253.0, 3.0), "59.S2": (264.5, 0.2), "27.S1": (195.5, 1.5), "27.S2": (34.5, 0.2),
                      "81>.S2": (51.5, 0.1), "81<.S2": (47.5, 0.1)}),
        ("ieee-1547-2018-b-iii", {"OV2": (332.4, 0.16), "OV1": (304.7, 13), "UV1": (243.76, 21), "UV2": (138.5, 2),
                                  "OF2": (62, 0.16), "OF1": (61.2, 300), "UF1": (58.5, 300), "UF2": (56.5, 0.16)}),
    ],
)  # fmt: skip
def test_stages_are_those_of_the_tables_in_volts_and_hertz(name: str, stages: dict[str, tuple[float, float]]) -> None:
    code = presets()[name]
    found = {
        each.name: (each.limit * (code.nominal_v if "voltage" in each.of else 1), each.seconds)
        for each in code.protection
    }
    assert found.keys() == stages.keys()
    for stage, expected in stages.items():
        assert found[stage] == pytest.approx(expected)


@CODES
def test_each_value_has_a_source_with_a_reference_and_a_date(code: GridCode) -> None:
    assert code.read >= "2026-11-26"
    assert all(len(text) > 10 for text in code.references.values())
    assert "K" not in code.references or "check" in code.references["K"]
    named = {each.name: each.source for each in code.protection} | dict(code.sources)
    named |= {"connection": code.connection.source, "reconnection": code.reconnection.source}
    named |= {} if code.short_interruption is None else {"short_interruption": code.short_interruption.source}
    assert set(code.unverified) == {name for name, source in named.items() if source == "K"}


def test_what_other_codes_lack_leaves_their_digests_and_the_narrow_stages_of_italy_have_a_source() -> None:
    """A charger's file names the digest of its code: a newer program must read it."""
    assert presets()["vde-ar-n-4105-2018"].digest == DIGEST
    code = presets()["cei-0-21"]
    assert [(each.name, each.limit, each.source) for each in code.narrow_stages] == [
        ("81>.S1", 50.2, "S"), ("81<.S1", 49.8, "S"),
    ]  # fmt: skip
    text = preset_texts()["cei-0-21"]
    with pytest.raises(ConfigError, match="references lack Z"):
        parse_code(text.replace('seconds = 0.1\nsource = "S"', 'seconds = 0.1\nsource = "Z"', 1))
    with pytest.raises(ConfigError, match="nominal frequency is beyond it"):
        parse_code(text.replace("limit = 50.2", "limit = 49.9"))
    with pytest.raises(ConfigError, match="return_band does not have 50 Hz"):
        parse_code(text.replace("[49.9, 50.1]", "[50.0, 50.1]", 1))
    assert set(parse_code(text.replace('0.1\nsource = "S"', '0.1\nsource = "K"')).unverified) >= {"81>.S1", "81<.S1"}


def test_functions_of_a_unit_are_in_volts_watts_and_var() -> None:
    found = presets()["vde-ar-n-4105-2018"].functions_for(volts=230, watts=10_000, reactive="volt_var")
    assert found.volt_var is not None
    assert [x for x, _ in found.volt_var.points] == pytest.approx([213.9, 223.1, 236.9, 246.1])
    assert [y for _, y in found.volt_var.points] == pytest.approx([4360, 0, 0, -4360])
    rule_21 = presets()["rule-21"].functions_for(volts=240, watts=10_000, reactive=None)
    assert rule_21.volt_watt is not None
    assert (rule_21.volt_watt.start_v, rule_21.volt_watt.stop_v) == pytest.approx((254.4, 264.0))
    locked = presets()["cei-0-21"].functions_for(volts=230, watts=5_000, reactive="watt_cos_phi").watt_cos_phi
    assert locked is not None
    assert (locked.lock_in, locked.lock_out) == pytest.approx((241.5, 225.4))
    assert locked.points == ((2500, 1), (5000, -0.9))
    by_watt = presets()["cei-0-21"].functions_for(volts=230, watts=5_000, reactive="volt_var").volt_var
    assert by_watt is not None
    assert (by_watt.lock_in, by_watt.lock_out) == pytest.approx((1000, 250))


def test_a_curve_that_a_code_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(ConfigError, match="has no watt_var") as caught:
        presets()["vde-ar-n-4105-2018"].functions_for(volts=230, watts=1, reactive="watt_var")
    assert caught.value.hint is not None
    assert "volt_var, watt_cos_phi" in caught.value.hint


@CODES
def test_digests_tell_codes_apart(code: GridCode) -> None:
    assert sum(each.digest == code.digest for each in presets().values()) == 1


TEXT = """
name = "Mine"
edition = "1"
read = "2026-11-26"
nominal_hz = 50
nominal_v = 230
references = {O = "the operator's letter"}
sources = {over_frequency_watt = "O"}
protection = [{name = "f>", of = "frequency", limit = 51.5, seconds = 0.1, source = "O"}]
connection = {low_v = 0.85, high_v = 1.1, low_hz = 47.5, high_hz = 50.1, wait_s = 60, source = "O"}
reconnection = {low_v = 0.85, high_v = 1.1, low_hz = 47.5, high_hz = 50.1, wait_s = 60, source = "O"}
support = {over_frequency_watt = {start_hz = 50.2, stop_hz = 51.5}}
"""


@together(
    ("change", "why"),
    [
        (("", ""), ""),
        (("limit = 51.5", "limit = 49"), "nominal frequency is beyond it"),
        (("limit = 51.5", "limit = 151.5"), "limit"),
        (('of = "frequency"', 'of = "voltage"'), "per unit"),
        (('of = "frequency"', 'of = "rocof", side = "under"'), "side over only"),
        (('source = "O"}]', 'source = "Z"}]'), "references lack Z"),
        (("{over_frequency_watt = ", "{volt_var = "), "sources must name"),
        (("start_hz = 50.2", "start_hz = 60.2, stop_hz = 61"), "duplicate|Cannot overwrite|stop_hz"),
        (("start_hz = 50.2, stop_hz = 51.5", "start_hz = 60.2, stop_hz = 61"), "in a grid of 50 Hz"),
        (("low_v = 0.85, high_v = 1.1, low_hz = 47.5", "low_v = 1.2, high_v = 1.1, low_hz = 47.5"), "must be below"),
        (("high_hz = 50.1", "high_hz = 49.9"), "must be within"),
        (("wait_s = 60", "wait_s = nan"), "wait_s"),
        (("limit = 51.5", "limit = 70"), ""),
        (("limit = 51.5", "limit = 70.1"), "from 40 to 70"),
        (("limit = 51.5", 'side = "under", limit = 40'), ""),
        (("limit = 51.5", 'side = "under", limit = 39.9'), "from 40 to 70"),
        (("limit = 51.5", 'side = "under", limit = 51.5'), "nominal frequency is beyond it"),
        (("limit = 51.5", "limit = 50"), "nominal frequency is beyond it"),
        (('of = "frequency", limit = 51.5', 'of = "voltage", limit = 2'), ""),
        (('of = "frequency", limit = 51.5', 'of = "voltage", limit = 2.1'), "per unit"),
        (('of = "frequency", limit = 51.5', 'of = "mean_voltage", limit = 2.1'), "per unit"),
        (('of = "frequency", limit = 51.5', 'of = "frequency", rms = true, limit = 51.5'), "rms is of mean_voltage"),
        (('of = "frequency", limit = 51.5', 'of = "mean_voltage", side = "under", limit = 0.9'), "side over only"),
        (('of = "frequency", limit = 51.5', 'of = "voltage", limit = 0.9'), "nominal voltage is beyond it"),
        (('of = "frequency", limit = 51.5', 'of = "voltage", limit = 1'), "nominal voltage is beyond it"),
        (('of = "frequency", limit = 51.5', 'of = "mean_voltage", limit = 0.9'), "nominal voltage is beyond it"),
        (("high_v = 1.1, low_hz", "high_v = 0.85, low_hz"), "must be below"),
        (("low_hz = 47.5, high_hz = 50.1", "low_hz = 50.1, high_hz = 50.1"), "must be below"),
        (("low_hz = 47.5", "low_hz = 50"), "must be within"),
        (("low_hz = 47.5, high_hz = 50.1", "low_hz = 47.5, high_hz = 50"), "must be within"),
        (('wait_s = 60, source = "O"', 'wait_s = 60, source = "Z"'), "references lack Z"),
        (
            ('name = "Mine"', 'name = "Mine"\nshort_interruption = {lasting_s = 3, wait_s = 5, source = "Z"}'),
            "references lack Z",
        ),
        (
            ("support = ", "reactive = "),
            "reactive has volt_var",
        ),
    ],
)
def test_a_code_of_ones_own_is_read_and_a_wrong_one_refused_with_its_place(change: tuple[str, str], why: str) -> None:
    text = TEXT.replace(*change, 1) if change[0] else TEXT
    if not why:
        assert parse_code(text).title == "Mine:1"
        return
    with pytest.raises(ConfigError, match=why):
        parse_code(text)


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda octets: TEXT + octets.decode("latin-1")))
def test_any_text_is_a_code_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_code(text).protection


def test_a_curve_of_reactive_power_is_none_of_the_functions_that_always_act() -> None:
    curve = "volt_var = {points = [[0.9, 0.4], [1.1, -0.4]]}"
    text = TEXT.replace("support = {", f"support = {{{curve}, ").replace("sources = {", 'sources = {volt_var = "O", ')
    with pytest.raises(ConfigError, match="support none of them"):
        parse_code(text)
    with pytest.raises(ConfigError) as caught:
        presets()["g98"].functions_for(volts=230, watts=1, reactive="volt_var")
    assert caught.value.hint == "curves of reactive power: none"


def test_a_code_has_an_end() -> None:
    assert parse_code(TEXT + "#" * (100_000 - len(TEXT))).about == ""
    with pytest.raises(ConfigError, match="too long"):
        parse_code(TEXT + "#" * (100_001 - len(TEXT)))
