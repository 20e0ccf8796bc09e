"""Metrics of OVMS as signals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.telemetry.mapping import Mapped
from v2g.telemetry.ovms import CHARGING, LOCK, METRICS, ON, SPEED, OvmsMetrics
from v2g.telemetry.signals import CONTEXTS, LATITUDE, LONGITUDE, SIGNALS

pytestmark = pytest.mark.requirement("R212")


def test_each_metric_is_a_signal_of_the_registry_and_each_signal_has_one_metric() -> None:
    signals = [signal for signal, _ in METRICS.values()]
    assert set(signals) <= SIGNALS.keys()
    assert len(signals) == len(set(signals))


def test_units_and_signs_are_ours() -> None:
    """The module's example of a vehicle that charges: current and power flow into the battery."""
    metrics = OvmsMetrics()
    assert metrics.receive("v.b.current", b"-32.5") == Mapped({"battery.current": 32.5})
    assert metrics.receive("v.b.power", b"-11.2") == Mapped({"battery.power": 11_200})
    assert metrics.receive("v.b.soc", b"") == Mapped({}, absent=("battery.soc",))
    assert metrics.receive("v.t.pressure", b"206.8,216.5") is None
    assert metrics.malformed == 0


def test_the_context_is_that_of_switches_and_speed() -> None:
    metrics, found = OvmsMetrics(), []
    for metric, value in ((ON, b"yes"), (SPEED, b"50"), (SPEED, b"110"), (ON, b"no"), (CHARGING, b"yes")):
        mapped = metrics.receive(metric, value)
        found.append(mapped and mapped.context)
    assert found == ["city", "city", "highway", "parked", "charging"]


def test_without_a_lock_there_is_no_position() -> None:
    lost = OvmsMetrics().receive(LOCK, b"no")
    assert lost is not None
    assert {LATITUDE, LONGITUDE} < set(lost.absent)
    assert lost.values == {"location.quality": 0}


@given(
    st.sampled_from([*METRICS, LOCK, ON, CHARGING]), st.binary(max_size=40) | st.floats().map(lambda n: str(n).encode())
)
def test_any_payload_is_finite_values_or_counted(metric: str, payload: bytes) -> None:
    metrics = OvmsMetrics()
    mapped = metrics.receive(metric, payload)
    assert (mapped is None) == (metrics.malformed == 1)
    if mapped is not None:
        assert mapped.values.keys() <= SIGNALS.keys()
        assert mapped.context is None or mapped.context in CONTEXTS
