"""Flows and their bounds: margins, both directions, and what each sample changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.safety.excess import Excess, Highest, Lag, weigh
from v2g.safety.flow import DIRECT, LINE, Flow

T = 1_000_000
FOLLOW_US = 750_000

SAMPLES = st.lists(
    st.tuples(
        st.sampled_from((0, 50_000, 100_000, 900_000, 5_000_000, 90_000_000)),
        st.sampled_from((0, 0, 20_000, 50_000, -20_000, -50_000)),
        st.sampled_from((0, 20_000, 50_000)),
        st.sampled_from((0, 20_000, 50_000)),
    ),
    max_size=30,
)
"""µs since the last sample, what flows, and its bounds in both directions."""


@pytest.mark.parametrize(
    ("declared_ma", "control_ma"), [(0, 2_500), (2_500, 2_500), (3_000, 3_000), (10_000, 10_000), (50_000, 10_000)]
)
def test_a_charger_declares_a_wider_accuracy_of_control_up_to_a_maximum(declared_ma: int, control_ma: int) -> None:
    assert DIRECT.declared(declared_ma).of(20_000) == 1_000 + control_ma
    assert DIRECT.declared(declared_ma).of(0) == 1_000


@pytest.mark.parametrize(("bound_ma", "margin_ma"), [(0, 650), (6_000, 1_150), (10_000, 1_150), (32_000, 2_250)])
def test_a_conductor_has_half_an_ampere_of_control_or_a_twentieth(bound_ma: int, margin_ma: int) -> None:
    assert LINE.of(bound_ma) == margin_ma


@given(SAMPLES)
def test_each_sample_changes_what_it_is_of_and_nothing_else(samples: list[tuple[int, int, int, int]]) -> None:
    flow, now = Flow(), T
    up, down, excess, charge, discharge = Highest(), Highest(), Excess(), Lag(), Lag()
    for passed, ma, most, least in samples:
        now += passed
        into_margin, out_margin = DIRECT.of(most), DIRECT.of(least)
        up, down = up.then(most, now, FOLLOW_US), down.then(least, now, FOLLOW_US)
        charge = charge.then(ma, most, up.most, margin=into_margin, follow_us=FOLLOW_US, now_us=now)
        discharge = discharge.then(-ma, least, down.most, margin=out_margin, follow_us=FOLLOW_US, now_us=now)
        into = most if charge.used_up(FOLLOW_US) else up.most
        out = least if discharge.used_up(FOLLOW_US) else down.most
        weight = max(weigh(ma - into, DIRECT.of(into)), weigh(-ma - out, DIRECT.of(out)))
        excess = excess.then(weight, now)
        flow = flow.then(ma, most, least, margin=DIRECT, follow_us=FOLLOW_US, now_us=now)
        assert flow == Flow(up, down, excess, charge, discharge)


@given(SAMPLES)
def test_both_directions_are_treated_alike(samples: list[tuple[int, int, int, int]]) -> None:
    flow, mirrored, now = Flow(), Flow(), T
    for passed, ma, most, least in samples:
        now += passed
        flow = flow.then(ma, most, least, margin=DIRECT, follow_us=FOLLOW_US, now_us=now)
        mirrored = mirrored.then(-ma, least, most, margin=DIRECT, follow_us=FOLLOW_US, now_us=now)
        assert mirrored == Flow(flow.least, flow.most, flow.excess, flow.discharge, flow.charge)


@pytest.mark.parametrize(("most", "least"), [(20_000, 0), (20_000, 20_000), (0, 20_000)])
def test_nothing_new_is_made_while_nothing_changes(most: int, least: int) -> None:
    flow = Flow().then(most, most, least, margin=DIRECT, follow_us=FOLLOW_US, now_us=T)
    for ma in (most + DIRECT.sensor, 0, -least - DIRECT.sensor):
        assert flow.then(ma, most, least, margin=DIRECT, follow_us=FOLLOW_US, now_us=T + 100_000) is flow
