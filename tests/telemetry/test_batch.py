"""Delta, batch and reconstruction of telemetry."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.telemetry.mirror import BatchMirror
from tests.together import together
from v2g.telemetry.batch import CONTEXT_S, PROMPT_S, Band, Bands, Batcher
from v2g.telemetry.mapping import normalised
from v2g.telemetry.priority import Prioritiser, Priority
from v2g.telemetry.signals import CONTEXTS, LATITUDE, LONGITUDE, SIGNALS, Record, decode_record, encode_record

NAMES = st.sampled_from(["battery.voltage", "battery.soc", "battery.current"])
STEPS = st.lists(
    st.tuples(st.floats(0.001, 0.4), st.dictionaries(NAMES, st.integers(0, 1000).map(lambda n: n / 10), min_size=1)),
    min_size=1,
    max_size=60,
)


def run(steps: list[tuple[float, dict[str, float]]], batcher: Batcher) -> list[tuple[float, Record]]:
    """Feed samples at their times; flush whenever the batcher's deadline has come, as the gateway does."""
    now, out = 0.0, []
    for pause, values in steps:
        end = now + pause
        while (due := batcher.deadline()) is not None and due <= end:
            record = batcher.flush(due)
            assert record is not None
            out.append((due, record))
        now = end
        batcher.offer(values, now, int(now * 1000))
    record = batcher.flush(float("inf"))
    if record is not None:
        out.append((now, record))
    return out


FREE = Band(0.0)
UNBOUNDED = Bands(parked=FREE, driving=FREE, charging=FREE, fast_charging=FREE)


@pytest.mark.requirement("R66")
@given(STEPS, st.floats(0.1, 10))
def test_a_receiver_rebuilds_the_exact_state(steps: list[tuple[float, dict[str, float]]], keyframe_s: float) -> None:
    mirror, truth = BatchMirror(), {}
    for _, record in run(steps, Batcher("EV", 1, keyframe_s=keyframe_s)):
        mirror.apply(record)
    for _, values in steps:
        truth.update(values)
    assert mirror.complete
    assert mirror.state == truth


@pytest.mark.requirement("R66")
@given(STEPS, st.sets(st.integers(1, 40)))
def test_a_receiver_knows_whether_it_is_complete(steps: list[tuple[float, dict[str, float]]], lost: set[int]) -> None:
    mirror, whole = BatchMirror(), BatchMirror()
    for _, record in run(steps, Batcher("EV", 1, keyframe_s=1.0, bands=UNBOUNDED)):
        whole.apply(record)
        if record.seq not in lost:
            mirror.apply(record)
            mirror.apply(record)  # delivered twice: QoS 1 may
        if mirror.complete and record.seq not in lost:
            assert mirror.state == whole.state


@pytest.mark.requirement("R66")
@given(STEPS, st.sets(st.integers(1, 200)), st.sampled_from(CONTEXTS))
def test_a_lost_record_heals_within_a_keyframe_even_if_nothing_changes(
    steps: list[tuple[float, dict[str, float]]], lost: set[int], context: str
) -> None:
    """However many records are lost: once one interval of keyframes comes through, the state is exact."""
    batcher, mirror, truth, now = Batcher("EV", 1, keyframe_s=2.0), BatchMirror(), dict[str, float](), 0.0

    def sample(values: dict[str, float], without: set[int]) -> None:
        batcher.offer(values, now, int(now * 1000), context)
        while (due := batcher.deadline()) is not None and due <= now:
            record = batcher.flush(now)
            if record is not None and record.seq not in without:
                mirror.apply(record)

    for pause, values in steps:
        now += pause
        truth.update(values)
        sample(values, lost)
    over = now
    while now < over + 3.5:  # the bus goes on with the same values
        now += 0.1
        sample(truth, set())
    assert mirror.complete
    assert mirror.state == truth


@pytest.mark.requirement("R87")
@given(STEPS, st.sampled_from(["city", "highway", "charging", "discharging"]))
def test_no_change_waits_longer_than_half_a_second(steps: list[tuple[float, dict[str, float]]], context: str) -> None:
    batcher, mirror, truth, now = Batcher("EV", 1), BatchMirror(), dict[str, float](), 0.0
    batcher.offer({}, 0.0, 0, context)
    for pause, values in steps:
        now += pause
        while (due := batcher.deadline()) is not None and due <= now:
            record = batcher.flush(due)
            assert record is not None
            mirror.apply(record)
        truth.update(values)
        batcher.offer(values, now, 0)
        due = batcher.deadline()
        assert mirror.state == truth or (due is not None and due <= now + 0.5)


BANDS = {
    ("parked", 0.0): (1.0, 0.5),
    ("city", 0.0): (0.5, 0.5),
    ("highway", 0.0): (0.5, 0.5),
    ("charging", 11_000.0): (0.5, 0.5),
    ("discharging", -11_000.0): (0.5, 0.5),
    ("charging", 150_000.0): (0.02, 0.05),
    ("discharging", -60_000.0): (0.02, 0.05),
}
"""Minimum interval and maximum age (s) of each mode, as docs/reference/telemetry.md has them."""


@pytest.mark.requirement("R87", "R210")
@pytest.mark.parametrize(("mode", "limits"), BANDS.items())
@given(change=st.sampled_from([-40.0, -0.5, 0.5, 40.0]), pause=st.integers(0, 3000))
def test_a_change_of_the_dead_band_is_due_at_once_in_each_mode(
    mode: tuple[str, float], limits: tuple[float, float], change: float, pause: int
) -> None:
    (context, power_w), (min_interval, _) = mode, limits
    batcher = Batcher("EV", 1)
    batcher.offer({"battery.voltage": 400.0, "charging.power": power_w}, 0.0, 0, context)
    assert batcher.flush(0.0) is not None
    now = pause / 1000
    batcher.offer({"battery.voltage": 400.0 + change}, now, pause)
    due = max(now, min(min_interval, PROMPT_S))
    assert batcher.deadline() == due
    record = batcher.flush(due)
    assert record is not None
    assert record.signals == {"battery.voltage": 400.0 + change}
    assert not record.keyframe
    assert batcher.prompt


@pytest.mark.requirement("R87", "R210")
@pytest.mark.parametrize(("mode", "limits"), BANDS.items())
@given(pause=st.integers(0, 3000))
def test_a_smaller_change_waits_no_longer_than_the_mode_says(
    mode: tuple[str, float], limits: tuple[float, float], pause: int
) -> None:
    (context, power_w), (min_interval, max_age) = mode, limits
    batcher = Batcher("EV", 1)
    batcher.offer({"battery.voltage": 400.0, "charging.power": power_w}, 0.0, 0, context)
    assert batcher.flush(0.0) is not None
    now = pause / 1000
    batcher.offer({"battery.voltage": 400.4}, now, pause)
    due = max(now + max_age, min_interval)
    assert batcher.deadline() == due
    assert batcher.flush(due) is not None
    assert not batcher.prompt


def is_reported(before: dict[str, float], after: dict[str, float], **options: Any) -> bool:
    """Return whether a change makes a record due at once."""
    batcher = Batcher("EV", 1, **options)
    batcher.offer(before, 0.0, 0)
    batcher.flush(0.0)
    batcher.offer(after, 10.0, 10_000)
    return batcher.deadline() == 10.0


@pytest.mark.requirement("R210")
@together("name", [name for name, each in SIGNALS.items() if not name.startswith("location.")])
def test_each_signal_has_a_dead_band_in_its_unit(name: str) -> None:
    signal = SIGNALS[name]
    assert signal.resolution <= signal.dead_band <= (signal.maximum - signal.minimum)
    before = max(0.0, signal.minimum)
    more, less = (normalised({name: before + part * signal.dead_band})[name] for part in (1.0, 0.4))
    assert is_reported({name: before}, {name: more}) is not signal.derived
    assert not is_reported({name: before}, {name: less})
    assert is_reported({name: before}, {name: less}, dead_bands={name: 0.0}) is not (signal.derived or less == before)


@pytest.mark.requirement("R210")
@pytest.mark.parametrize(
    ("name", "before", "after", "expected"),
    [
        ("grid.frequency", 50.0, 50.01, True),
        ("grid.frequency", 50.0, 49.991, False),
        ("battery.temperature.max", 25.0, 25.5, True),
        ("battery.temperature.max", -0.1, 0.3, False),
        ("battery.voltage", 398.4, 398.9, True),
    ],
)
def test_dead_bands_do_not_depend_on_the_value(name: str, before: float, after: float, expected: bool) -> None:
    assert is_reported({name: before}, {name: after}) is expected


@pytest.mark.requirement("R210")
@pytest.mark.parametrize("at", [(48.137, 11.575), (-33.9, 18.4), (0.0, 179.99999), (64.1, -21.9)])
@given(bearing=st.floats(0, 2 * math.pi), metres=st.sampled_from([4.0, 6.0, 100.0]))
def test_a_way_of_five_metres_is_reported_in_any_direction(
    at: tuple[float, float], bearing: float, metres: float
) -> None:
    before = dict(zip((LATITUDE, LONGITUDE), at, strict=True))
    north, east = metres * math.cos(bearing), metres * math.sin(bearing)
    longitude = at[1] + math.degrees(east / 6_371_000 / math.cos(math.radians(at[0])))
    after = {LATITUDE: at[0] + math.degrees(north / 6_371_000), LONGITUDE: (longitude + 180) % 360 - 180}
    assert is_reported(before, after) is (metres > 5)


@pytest.mark.requirement("R210")
def test_a_thousand_moves_wait_for_nobody() -> None:
    """Beside a signal that changes all the time by less than its dead band."""
    batcher, waits = Batcher("EV", 1), []
    batcher.offer({LATITUDE: 48.0, LONGITUDE: 11.0, "battery.voltage": 400.0}, 0.0, 0, "city")
    batcher.flush(0.0)
    moved, at = None, 0
    for tick in range(1, 30_000):
        now = tick / 100
        values = {"battery.voltage": 400.0 + tick % 3 / 10}
        if tick % 29 == 0:
            moved, at = tick, at + 1
            values |= {LATITUDE: 48.0 + at * 5e-5}
        batcher.offer(values, now, tick * 10)
        while (due := batcher.deadline()) is not None and due <= now + 1e-9:
            record = batcher.flush(max(due, now))
            assert record is not None
            if LATITUDE in record.signals and moved is not None:
                waits.append(max(due, now) - moved / 100)
                moved = None
    assert len(waits) >= 1000
    assert max(waits) <= PROMPT_S


@pytest.mark.requirement("R75")
def test_the_first_record_waits_for_the_context_for_a_limited_time() -> None:
    """Before, each start said `parked`, whatever the vehicle did."""
    batcher = Batcher("EV", 1, awaits_context=True)
    batcher.offer({"battery.voltage": 400.0}, 10.0, 0)
    assert batcher.deadline() == 10.0 + CONTEXT_S
    assert batcher.reports_due(10.1) == 10.1 + CONTEXT_S
    assert batcher.flush(10.2) is None
    batcher.offer({}, 10.5, 500, "city")
    assert batcher.reports_due(10.5) == 10.5
    record = batcher.flush(10.5)
    assert record is not None
    assert (record.seq, record.context, record.trip, record.keyframe) == (1, "city", "1-1", True)
    silent = Batcher("EV", 1, awaits_context=True)
    silent.offer({"battery.voltage": 400.0}, 10.0, 0)
    assert silent.flush(10.0 + CONTEXT_S) is not None, "a vehicle that never reports its context is not silent for it"
    silent.offer({"battery.voltage": 500.0}, 20.0, 0)
    assert silent.deadline() == 20.0


@pytest.mark.requirement("R66")
def test_unchanged_signals_are_left_out_and_sequence_numbers_have_no_gaps() -> None:
    batcher = Batcher("EV", 3)
    batcher.offer({"battery.voltage": 400.0, "battery.soc": 50.0}, 0.0, 0)
    first = batcher.flush(0.0)
    batcher.offer({"battery.voltage": 400.0, "battery.soc": 52.0}, 1.0, 1000)
    second = batcher.flush(1.0)
    assert first is not None
    assert second is not None
    assert (first.seq, second.seq, second.boot) == (1, 2, 3)
    assert second.signals == {"battery.soc": 52.0}


def rate(context: str, power_w: float, wave: Callable[[int], float], seconds: int = 60) -> float:
    """Return records per second of a vehicle whose battery's voltage is sampled at 100 Hz, in the mean."""
    batcher, count = Batcher("EV", 1, bands=Bands(burst=0)), 0
    for tick in range(100 * seconds):
        now = tick / 100
        values = {"battery.voltage": wave(tick), "charging.power": power_w}
        batcher.offer(values, now, tick * 10, context)
        while (due := batcher.deadline()) is not None and due <= now + 1e-9:
            count += batcher.flush(max(due, now)) is not None
    return count / seconds


WAVES: dict[str, Callable[[int], float]] = {
    "drifts": lambda tick: round(400 + tick / 20, 1),
    "jitters": lambda tick: 400.0 + 50 * (tick % 2),
}


@pytest.mark.requirement("R76", "R92")
@pytest.mark.parametrize("wave", WAVES.values(), ids=WAVES)
@pytest.mark.parametrize(
    ("context", "power_w", "least", "most"),
    [
        ("parked", 0.0, 0.0, 1.0),
        ("city", 0.0, 1.0, 2.0),
        ("highway", 0.0, 1.0, 2.0),
        ("charging", 11_000.0, 0.0, 2.0),
        ("charging", 150_000.0, 10.0, 50.0),
        ("discharging", -60_000.0, 10.0, 50.0),
    ],
)
def test_each_mode_has_its_rate_whatever_the_signal_does(
    wave: Callable[[int], float], context: str, power_w: float, least: float, most: float
) -> None:
    one_more = 1 / 60  # the first record is at once
    assert least - one_more <= rate(context, power_w, wave) <= most + one_more


@pytest.mark.requirement("R76", "R210")
@pytest.mark.parametrize("wave", WAVES.values(), ids=WAVES)
def test_what_goes_beyond_the_mean_rate_is_bounded(wave: Callable[[int], float]) -> None:
    batcher, times = Batcher("EV", 1, bands=Bands(burst=100)), []
    for tick in range(100 * 300):
        batcher.offer({"battery.voltage": wave(tick)}, tick / 100, tick * 10, "city")
        while (due := batcher.deadline()) is not None and due <= tick / 100 + 1e-9:
            assert batcher.flush(max(due, tick / 100)) is not None
            times.append(max(due, tick / 100))
    assert len(times) <= 2 * 300 + 100 + 2
    assert all(after - before >= PROMPT_S - 1e-9 for before, after in pairwise(times[1:]))
    assert sum(each >= 200 for each in times) <= 2 * 100 + 1


@pytest.mark.requirement("R88")
@pytest.mark.parametrize("context", ["parked", "city", "charging"])
def test_at_100_hz_there_are_at_least_20_times_fewer_records_than_samples(context: str) -> None:
    for wave in WAVES.values():
        assert rate(context, 0.0, wave) <= 100 / 20


@pytest.mark.requirement("R108")
def test_records_have_trip_ambient_temperature_and_charging_power() -> None:
    batcher = Batcher("EV", 7)
    records = []
    for now, context in enumerate(["parked", "charging", "city", "highway", "parked", "city"]):
        power = {} if now == 0 else {"charging.power": 1000.0 * now, "ambient.temperature": 20.5}
        batcher.offer({"battery.soc": 50.0 + now, **power}, now, now * 1000, context)
        records.append(batcher.flush(now))
    assert [each.trip for each in records if each] == ["7-0", "7-0", "7-1", "7-1", "7-1", "7-2"]
    assert [each.charging_w for each in records if each] == [None, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0]
    assert [each.ambient_c for each in records if each] == [None, 20.5, 20.5, 20.5, 20.5, 20.5]
    for each in records:
        assert each is not None
        assert decode_record(encode_record(each)) == each


@pytest.mark.requirement("R75")
def test_a_new_context_is_reported_at_once() -> None:
    batcher = Batcher("EV", 1)
    batcher.offer({"battery.soc": 50.0}, 0.0, 0)
    batcher.flush(0.0)
    batcher.offer({"battery.soc": 50.0}, 1.0, 1000, "charging")
    record = batcher.flush(1.0)
    assert record is not None
    assert record.context == "charging"


def test_records_have_the_right_time_once_a_wrong_clock_is_set() -> None:
    batcher, prioritiser = Batcher("EV-1", 1, bands=UNBOUNDED, keyframe_s=1.0), Prioritiser(summary_s=1.0)
    found = []
    for now, utc_ms in ((0.0, 4_000_000_000_000), (2.0, 1_800_000_000_000), (2.1, 1_799_999_999_950)):
        batcher.offer({"battery.soc": 50.0 + 10 * now}, now, utc_ms)
        record = batcher.flush(now + 0.01)
        assert record is not None
        found.append((record.utc_ms, prioritiser.priority(record)))
    assert found == [
        (4_000_000_000_000, Priority.SUMMARY),
        (1_800_000_000_000, Priority.SUMMARY),
        (1_800_000_000_000, Priority.LIVE),
    ]
