"""Voltages of a feeder, against pandapower's load flow and the closed form of a line with one load."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from v2g.energy.feeder import Feeder, FeederNode

pytestmark = pytest.mark.requirement("R46")
VECTORS = Path(__file__).parents[1] / "vectors/feeder/pandapower.jsonl"
LINES = [json.loads(line) for line in VECTORS.read_text().splitlines()]


@pytest.mark.parametrize("vector", LINES, ids=range(len(LINES)))
def test_voltages_are_those_of_pandapower(vector: dict[str, Any]) -> None:
    feeder = msgspec.convert({"nodes": vector["nodes"]}, Feeder)
    found = feeder.voltages({name: complex(*drawn) for name, drawn in vector["draws"].items()}, vector["head_v"])
    assert found == pytest.approx(vector["volts"], abs=1e-5)


@given(
    st.floats(0.001, 2.0), st.floats(0.0, 2.0), st.floats(-30_000, 30_000), st.floats(-10_000, 10_000),
    st.floats(200, 260), st.sampled_from((1, 3)),
)  # fmt: skip
def test_one_line_has_the_voltage_of_the_closed_form(
    r_ohm: float, x_ohm: float, watts: float, var: float, head_v: float, phases: Any
) -> None:
    """|V|^4 + (2(RP + XQ) - V0^2) |V|^2 + (R^2 + X^2)(P^2 + Q^2) = 0: the greater root."""
    p, q = watts / phases, var / phases
    b, c = 2 * (r_ohm * p + x_ohm * q) - head_v**2, (r_ohm**2 + x_ohm**2) * (p**2 + q**2)
    assume(b < 0 and b * b > 4 * c * 1.1)  # not next to the collapse, where sweeps take forever
    feeder = Feeder(nodes=(FeederNode(name="a", r_ohm=r_ohm, x_ohm=x_ohm),), phases=phases)
    expected = math.sqrt((-b + math.sqrt(b * b - 4 * c)) / 2)
    assert feeder.voltages({"a": complex(watts, var)}, head_v)["a"] == pytest.approx(expected, abs=1e-3)


def test_a_power_that_the_line_cannot_carry_is_a_collapse() -> None:
    feeder = Feeder(nodes=(FeederNode(name="a", r_ohm=1.0), FeederNode(name="b", parent="a", r_ohm=1.0)))
    assert feeder.voltages({"b": 200_000}, 230.0) == {"a": 0.0, "b": 0.0}
    assert feeder.voltages({}, 230.0) == {"a": 230.0, "b": 230.0}


@pytest.mark.parametrize(
    "nodes",
    [[], [{"name": "a", "parent": "b", "r_ohm": 1}], [{"name": "a", "r_ohm": 1}] * 2, [{"name": "a", "r_ohm": -1}]],
)
def test_nodes_that_are_no_tree_are_refused(nodes: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"nodes": nodes}, Feeder)
