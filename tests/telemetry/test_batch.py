"""Delta, batch and reconstruction of telemetry."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.telemetry.batch import Batcher, Mirror
from v2g.telemetry.signals import Record

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


@pytest.mark.requirement("R66")
@given(STEPS, st.integers(1, 7))
def test_a_receiver_rebuilds_the_exact_state(steps: list[tuple[float, dict[str, float]]], keyframes: int) -> None:
    mirror, truth = Mirror(), {}
    for _, record in run(steps, Batcher("EV", 1, keyframe_every=keyframes)):
        mirror.apply(record)
    for _, values in steps:
        truth.update(values)
    assert mirror.complete
    assert mirror.state == truth


@pytest.mark.requirement("R66")
@given(STEPS, st.sets(st.integers(2, 40)))
def test_after_a_loss_the_state_is_incomplete_until_the_next_keyframe(
    steps: list[tuple[float, dict[str, float]]], lost: set[int]
) -> None:
    mirror, whole = Mirror(), Mirror()
    for _, record in run(steps, Batcher("EV", 1, keyframe_every=5)):
        whole.apply(record)
        if record.seq not in lost:
            mirror.apply(record)
            mirror.apply(record)  # delivered twice: QoS 1 may
        if mirror.complete and record.seq not in lost:
            assert mirror.state == whole.state


@pytest.mark.requirement("R87")
@given(STEPS)
def test_no_change_waits_longer_than_half_a_second(steps: list[tuple[float, dict[str, float]]]) -> None:
    batcher, now = Batcher("EV", 1), 0.0
    for pause, values in steps:
        now += pause
        while (due := batcher.deadline()) is not None and due <= now:
            batcher.flush(due)
        batcher.offer(values, now, 0)
        due = batcher.deadline()
        assert due is None or due <= now + 0.5


@pytest.mark.requirement("R87")
def test_one_percent_goes_at_once_and_less_waits() -> None:
    batcher = Batcher("EV", 1)
    batcher.offer({"battery.voltage": 400.0}, 0.0, 0)
    assert batcher.flush(0.0) is not None
    batcher.offer({"battery.voltage": 403.9}, 1.0, 1000)
    assert batcher.deadline() == 1.5
    batcher.offer({"battery.voltage": 404.0}, 1.1, 1100)
    record = batcher.flush(1.1)
    assert record is not None
    assert record.signals == {"battery.voltage": 404.0}
    assert not record.keyframe


@pytest.mark.requirement("R66")
def test_unchanged_signals_are_left_out_and_sequence_numbers_have_no_gaps() -> None:
    batcher = Batcher("EV", 3, keyframe_every=100)
    batcher.offer({"battery.voltage": 400.0, "battery.soc": 50.0}, 0.0, 0)
    first = batcher.flush(0.0)
    batcher.offer({"battery.voltage": 400.0, "battery.soc": 52.0}, 1.0, 1000)
    second = batcher.flush(1.0)
    assert first is not None
    assert second is not None
    assert (first.seq, second.seq, second.boot) == (1, 2, 3)
    assert second.signals == {"battery.soc": 52.0}


@pytest.mark.requirement("R88", "R92")
def test_the_minimum_interval_bounds_the_rate_even_when_everything_jumps() -> None:
    batcher = Batcher("EV", 1, min_interval=0.1)
    steps = [(0.01, {"battery.voltage": float(n % 2 * 500)}) for n in range(200)]
    times = [t for t, _ in run(steps, batcher)]
    assert all(b - a >= 0.1 - 1e-9 for a, b in itertools.pairwise(times[:-1]))


@pytest.mark.requirement("R75")
def test_a_new_context_is_told_at_once() -> None:
    batcher = Batcher("EV", 1)
    batcher.offer({"battery.soc": 50.0}, 0.0, 0)
    batcher.flush(0.0)
    batcher.offer({"battery.soc": 50.0}, 1.0, 1000, "charging")
    record = batcher.flush(1.0)
    assert record is not None
    assert record.context == "charging"
