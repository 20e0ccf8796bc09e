"""Many vehicles start at once behind one transformer: its rating is never exceeded, and all get power in the end."""

import math
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.energy.dispatch.split import level
from v2g.energy.dispatch.transformer import Transformer, raise_steps

RATED = Transformer(rated_va=2_500_000, power_factor=0.98)


@given(
    st.integers(1, 5_000_000), st.floats(0.5, 1.0), st.integers(-2_000_000, 3_000_000), st.integers(-1_000_000, 10**6)
)
def test_the_limit_is_the_most_that_apparent_power_allows(va: int, factor: float, base_w: int, base_var: int) -> None:
    limit_w = Transformer(rated_va=va, power_factor=factor).limit_w(base_w=base_w, base_var=base_var)

    def apparent(vehicles_w: float) -> float:
        reactive = abs(base_var) + vehicles_w * math.tan(math.acos(factor))
        return math.hypot(base_w + vehicles_w, reactive)

    if limit_w:
        assert apparent(limit_w) <= va * (1 + 1e-9)
    if apparent(0) <= va:
        assert apparent(limit_w + 1) > va * (1 - 1e-9)


watts = st.integers(-20, 50)


@given(
    st.integers(0, 200),
    st.dictionaries(st.sampled_from("abcdefgh"), watts),
    st.dictionaries(st.sampled_from("abcdefgh"), watts),
    st.integers(0, 100),
    st.integers(0, 10),
)
def test_no_step_takes_more_than_is_free(
    limit: int, granted: dict[str, int], wanted: dict[str, int], step: int, least: int
) -> None:
    found = raise_steps(limit, granted, wanted, step_w=step, least_w=least)
    assert found.keys() == wanted.keys()
    used = sum(max(0, each) for each in granted.values())
    at_most = sum(max(0, granted.get(name, 0), found.get(name, 0)) for name in {*granted, *wanted})
    assert at_most <= max(used, min(limit, used + step))
    for name, power in found.items():
        assert min(wanted[name], 0) <= power <= max(0, wanted[name])
        if granted.get(name, 0) <= 0 < power:
            assert power >= least
        if wanted[name] <= 0:
            assert power == wanted[name]


@together(
    ("limit", "granted", "wanted", "found"),
    [
        (100, {}, {"a": 10, "b": 10}, {"a": 10, "b": 10}),  # exactly the least power
        (10, {}, {"a": 10, "b": 10}, {"a": 10, "b": 0}),  # room for one, the first
        (100, {}, {"a": 9}, {"a": 0}),  # less than it can take
        (100, {"a": 40}, {"a": 20, "b": 70}, {"a": 20, "b": 60}),  # 40 until it has fallen
        (100, {"a": 20, "b": 60}, {"a": 20, "b": 70}, {"a": 20, "b": 70}),
        (100, {"a": -50}, {"a": -20, "b": 90}, {"a": -20, "b": 90}),  # what is fed back does not count
        (100, {"a": -50}, {"a": 30}, {"a": 30}),
        (100, {"b": 80}, {"a": 30}, {"a": 20}),  # one that is not asked about
        (20, {"a": 40, "b": 30}, {"a": 40, "b": 40}, {"a": 40, "b": 30}),  # nothing is free; lowering is the plan's
    ],
)
def test_limits_fall_at_once_and_rise_into_what_is_free(
    limit: int, granted: dict[str, int], wanted: dict[str, int], found: dict[str, int]
) -> None:
    assert raise_steps(limit, granted, wanted, step_w=1_000, least_w=10) == found


def test_one_call_raises_by_no_more_than_a_step() -> None:
    assert raise_steps(100, {"a": 5}, {"a": 50, "b": 50}, step_w=30) == {"a": 20, "b": 15}


@dataclass
class Car:
    """A simulated vehicle: it follows a limit after some seconds, and a lower one at half the ramp."""

    random: random.Random
    limit_w: int = 0
    power_w: float = 0.0
    queue: list[tuple[int, int]] = field(default_factory=list)

    def send(self, now_s: int, limit_w: int) -> None:
        self.queue.append((now_s + self.random.randint(1, 8), limit_w))

    def tick(self, now_s: int) -> None:
        while self.queue and self.queue[0][0] <= now_s:
            self.limit_w = self.queue.pop(0)[1]
        ramp = 2_000 if self.power_w < self.limit_w else 1_000
        self.power_w += max(-ramp, min(ramp, self.limit_w - self.power_w))


@pytest.mark.long
@pytest.mark.requirement("R55")
def test_of_1000_vehicles_that_plug_in_at_once_no_sample_exceeds_the_transformer_and_all_charge() -> None:
    """11 kW each behind 2,500 kVA that also feed a load, which rises by 400 kW after five minutes."""
    numbers = random.Random(55)
    cars = {f"car {n}": Car(numbers) for n in range(1000)}
    last = dict.fromkeys(cars, 0)
    highest, before, rises, used = 0.0, 0.0, [], 0.0
    for now in range(900):
        base_w = 300_000 if now < 300 else 700_000
        limit_w = RATED.limit_w(
            base_w=base_w + 20_000, base_var=60_000
        )  # 20 kW for what the load may rise by in a step
        announced = RATED.limit_w(base_w=720_000, base_var=60_000)  # forecast: lowered in time, in a minute
        for each in cars.values():
            each.tick(now)
        drawn = sum(each.power_w for each in cars.values())
        tan = math.tan(math.acos(RATED.power_factor))
        apparent = math.hypot(base_w + drawn, 60_000 + drawn * tan)
        assert apparent <= RATED.rated_va, f"after {now} s"
        highest, used = max(highest, apparent), drawn
        rises.append(drawn - before)
        before = drawn
        if now % 5 == 0:
            room = limit_w if now < 240 else min(limit_w, announced)
            granted = {name: max(last[name], each.limit_w, round(each.power_w)) for name, each in cars.items()}
            granted = {name: max([power, *(limit for _, limit in cars[name].queue)]) for name, power in granted.items()}
            shared = level(room, dict.fromkeys(cars, 11_000).items())  # the plan: all alike
            for name, power in raise_steps(room, granted, shared, step_w=100_000, least_w=1_380).items():
                if power != last[name]:
                    cars[name].send(now, power)
                    last[name] = power
    assert highest > 0.97 * RATED.rated_va, "what the transformer can carry is used"
    assert max(rises) <= 100_000, "W in a second: no step for the voltage"
    assert all(each.power_w >= 1_380 for each in cars.values())
    assert used > 0.95 * RATED.limit_w(base_w=720_000, base_var=60_000)
