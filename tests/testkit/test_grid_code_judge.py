"""The judge of recordings at a grid code: by curves that a few lines of arithmetic make, and by any text (R209)."""

import contextlib
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.frequency_trace import GridTrace
from v2g.energy.grid_code import presets
from v2g.errors import CodecError
from v2g_testkit.cases.case import Verdict
from v2g_testkit.cases.grid_code import Energy, GridCodeCase, Sample, cases_of, parse_samples, samples_csv, verdict

pytestmark = pytest.mark.requirement("R209")

VDE = presets()["vde-ar-n-4105-2018"]
RATING_W = 7_000.0


def case(name: str) -> GridCodeCase:
    (found,) = (each for each in cases_of(VDE, "DC") if each.id == name)
    return found


def recorded(one: GridCodeCase, share: Callable[[float, float], float]) -> list[Sample]:
    """Return a recording of a unit that feeds back a share of its rating, by time and frequency."""
    found, s = list[Sample](), one.plug_s
    while s < one.ends_s:
        hz, volts = one.signal_at(s)
        found.append(Sample(s, hz, volts, -share(s, hz) * RATING_W, 0.0))
        s = round(s + 0.05, 3)
    return found


@together(
    ("slope", "settles_s", "right"),
    [(40, 0.3, True), (41, 1.5, True), (33, 0.3, False), (48, 0.3, False), (40, 3.0, False), (0, 0, False)],
)
def test_a_droop_is_judged_by_its_slope_and_how_fast_it_settles(slope: float, settles_s: float, *, right: bool) -> None:
    one = case("LFSM-O-100")
    above = [(s, hz) for s, hz, _ in one.points if hz > 50.2]
    first_s, last_s = above[0][0], above[-1][0]

    def share(s: float, _: float) -> float:
        if s < first_s:
            return 1.0
        if s > last_s:  # back by ten percent a minute, from where 50.3 Hz had left it
            return min(1.0, 1 - slope / 100 * 0.1 + (s - last_s) / 600)
        return 1 - slope / 100 * max(0.0, one.signal_at(s - settles_s)[0] - 50.2)

    found = verdict(one, recorded(one, share), RATING_W, 0.0)
    assert found.verdict is (Verdict.PASS if right else Verdict.FAIL), found.found


@pytest.mark.parametrize(("after_s", "right"), [(0.12, True), (0.35, True), (0.01, False), (0.6, False)])
def test_a_trip_is_judged_by_its_time(after_s: float, *, right: bool) -> None:
    one = case("TRIP-5")
    step_s = next(s for s, hz, _ in one.points if hz < 47.5)
    found = verdict(one, recorded(one, lambda s, _: 0.2 if s < step_s + after_s else 0.0), RATING_W, 0.0)
    assert found.verdict is (Verdict.PASS if right else Verdict.FAIL), found.found


def test_without_power_before_the_signal_nobody_passes() -> None:
    one = case("TRIP-5")
    found = verdict(one, recorded(one, lambda _s, _hz: 0.0), RATING_W, 0.0)
    assert (found.verdict, found.found) == (Verdict.FAIL, "no power flowed before the signal began")


def judged_as(one: GridCodeCase, samples: list[Sample]) -> tuple[Verdict, str]:
    found = verdict(one, samples, RATING_W, 0.0)
    return found.verdict, found.found


@pytest.mark.parametrize("name", ["RIDE-UNDER", "SWEEP-UNDER", "SWING-V"])
def test_a_recording_proves_nothing_if_the_grid_was_another_one(name: str) -> None:
    one = case(name)
    right = [each._replace(s=each.s + 0.15) for each in recorded(one, lambda _s, _hz: 0.15)]  # a clock beside it
    assert "grid had" not in judged_as(one, right)[1]
    still = [each._replace(hz=50.0, volts=230.0) for each in right]
    assert judged_as(one, still)[0] is Verdict.INCONCLUSIVE
    assert "the grid had 230.0 V" in judged_as(one, still)[1] or "the grid had 50.000 Hz" in judged_as(one, still)[1]


def test_a_recording_with_gaps_proves_nothing() -> None:
    one = case("SWEEP-UNDER")
    whole = recorded(one, lambda _s, _hz: 0.15)
    assert judged_as(one, whole)[0] is Verdict.PASS
    gap = [each for each in whole if not 210 < each.s < 214]
    for some in (gap, whole[: len(whole) // 2], whole[len(whole) // 2 :]):
        found, why = judged_as(one, some)
        assert (found, why.partition(" from ")[0]) == (Verdict.INCONCLUSIVE, "nothing was measured")


@pytest.mark.parametrize("s", ["1e15", "-1e300", "1e6001"])
def test_times_that_no_signal_has_are_refused(s: str) -> None:
    with pytest.raises(CodecError, match="line 1"):
        parse_samples(f"{s},50,230,0,0\n")


@pytest.mark.parametrize("energy", ["DC", "AC"])
@pytest.mark.parametrize("code", presets().values(), ids=lambda each: each.title)
def test_signals_of_each_preset_are_traces_of_the_grid_and_each_id_is_unique(code: object, energy: Energy) -> None:
    cases = cases_of(code, energy)  # type: ignore[arg-type]
    assert len({each.id for each in cases}) == len(cases) >= 15
    for each in cases:
        trace = GridTrace.parse(each.csv)
        assert trace.frequency.length_s == pytest.approx(each.ends_s, abs=0.001)
        assert each.plug_s < each.ends_s
        hz, volts = trace.at(each.plug_s)
        assert (hz, volts) == pytest.approx(each.signal_at(each.plug_s), abs=0.001)
        assert all(math.isfinite(check.at_s if hasattr(check, "at_s") else check.end_s) for check in each.checks)


SAMPLE = st.builds(
    Sample,
    s=st.just(0.0),
    hz=st.floats(40, 70),
    volts=st.floats(0, 1000),
    watts=st.floats(-1e6, 1e6),
    var=st.floats(-1e6, 1e6),
)


@given(st.lists(SAMPLE, min_size=1, max_size=20))
def test_what_was_measured_is_read_as_it_was_written(samples: list[Sample]) -> None:
    samples = [each._replace(s=number / 10) for number, each in enumerate(samples)]
    for written, read in zip(samples, parse_samples(samples_csv(samples)), strict=True):
        assert tuple(read) == pytest.approx(tuple(written), abs=0.06)


@given(st.one_of(st.text(), st.text("0123456789.,-e#\nnanif"), st.lists(st.floats()).map(str)))
def test_any_text_is_a_recording_or_the_one_error(text: str) -> None:
    with contextlib.suppress(CodecError):
        found = parse_samples(text)
        assert verdict(case("TRIP-5"), found, RATING_W, 0.0).verdict in Verdict
