"""Weather on the line: as much of it as was asked for, the same for the same seed, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.config import parse_config
from v2g.errors import ConfigError
from v2g.io.plc.link import HELD_S, MAX_FLIPS, DelayLine, Impairment, ImpairmentConfig, PlcConfig

pytestmark = pytest.mark.requirement("R21")

FRAMES = 4000
FRAME = bytes(range(60))


def _arrivals(config: ImpairmentConfig) -> list[list[tuple[float, bytes]]]:
    impairment = Impairment(config, "sent")
    return [impairment.arrivals(FRAME) for _ in range(FRAMES)]


@pytest.mark.some(1)
@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.2])
def test_each_kind_of_harm_comes_as_often_as_asked_and_alone(share: float) -> None:
    def near(found: int) -> bool:  # five standard deviations
        return abs(found - share * FRAMES) < 5 * (FRAMES * share * (1 - share)) ** 0.5

    lost = _arrivals(ImpairmentConfig(loss=share))
    assert near(lost.count([]))
    assert all(each in ([], [(0.0, FRAME)]) for each in lost)
    twice = _arrivals(ImpairmentConfig(duplicate=share))
    assert near(sum(len(each) == 2 for each in twice))
    assert all(arrival == (0.0, FRAME) for each in twice for arrival in each)
    late = _arrivals(ImpairmentConfig(reorder=share))
    assert near(late.count([(HELD_S, FRAME)]))
    assert late.count([(0.0, FRAME)]) + late.count([(HELD_S, FRAME)]) == FRAMES
    damaged = [frame for ((_, frame),) in _arrivals(ImpairmentConfig(bit_error=share)) if frame != FRAME]
    assert abs(len(damaged) - share * FRAMES) < 0.35 * share * FRAMES  # two flips may undo each other
    for frame in damaged:
        flipped = sum((one ^ other).bit_count() for one, other in zip(frame, FRAME, strict=True))
        assert 1 <= flipped <= MAX_FLIPS


def test_delays_lie_between_their_bounds() -> None:
    delays = [delay for ((delay, _),) in _arrivals(ImpairmentConfig(delay_ms=5, jitter_ms=10))]
    assert min(delays) >= 0.005
    assert max(delays) <= 0.015
    assert max(delays) - min(delays) > 0.009


@given(st.integers(0, 2**63), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_same_seed_is_the_same_weather(seed: int, loss: float, duplicate: float, bit_error: float) -> None:
    config = ImpairmentConfig(seed=seed, loss=loss, duplicate=duplicate, bit_error=bit_error, jitter_ms=3)
    first, again = Impairment(config, "sent"), Impairment(config, "sent")
    frames = [bytes((number,)) * 60 for number in range(20)]
    assert [first.arrivals(frame) for frame in frames] == [again.arrivals(frame) for frame in frames]


def test_what_a_frame_holds_does_not_change_the_lot_of_the_next() -> None:
    config = ImpairmentConfig(seed=3, loss=0.2, duplicate=0.2, bit_error=0.2, jitter_ms=3)
    one, other = Impairment(config, "sent"), Impairment(config, "sent")
    for number in range(200):
        first, second = one.arrivals(bytes(60)), other.arrivals(bytes(60 + number))
        assert len(first) == len(second)
        assert [delay for delay, _ in first][:1] == [delay for delay, _ in second][:1]


def test_both_directions_have_weather_of_their_own() -> None:
    config = ImpairmentConfig(loss=0.2)
    sent, received = Impairment(config, "sent"), Impairment(config, "received")
    assert [sent.arrivals(FRAME) for _ in range(99)] != [received.arrivals(FRAME) for _ in range(99)]


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1))))
def test_a_delay_line_gives_each_frame_once_in_the_order_of_arrival(plan: list[tuple[float, float]]) -> None:
    line, now, got = DelayLine(), 0.0, []
    expected = []
    for number, (delay, pause) in enumerate(plan):
        line.put(now + delay, str(number).encode())
        expected.append((now + delay, number))
        now += pause
        got += line.due(now)
        assert line.deadline is None or line.deadline > now
    got += line.due(float("inf"))
    assert got == [str(number).encode() for _, number in sorted(expected)]


def test_idle_is_what_changes_nothing() -> None:
    assert ImpairmentConfig().idle
    assert ImpairmentConfig(seed=9).idle
    assert not ImpairmentConfig(jitter_ms=1).idle


def test_shares_are_shares() -> None:
    with pytest.raises(ConfigError, match="must be at most 1"):
        parse_config("[impairment]\nloss = 20", PlcConfig, name="x.toml")
