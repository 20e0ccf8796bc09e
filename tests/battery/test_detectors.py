"""All detectors together: which of them see what, and when findings are."""

import math

import pytest

from csms.alerts.rules import Alert, Evidence, Report, follow
from v2g.battery import detectors, health
from v2g.battery.cell import PackModel
from v2g.battery.sample import Finding, Sample

HOT = "battery.temperature.max"


def play(*samples: Sample, settings: detectors.DetectorSettings = detectors.DetectorSettings()) -> list[Finding]:  # noqa: B008
    state, found = detectors.DetectorState(), list[Finding]()
    for each in samples:
        state, new = detectors.step(settings, state, each)
        found += new
    return found


@pytest.mark.requirement("R120", "R125")
def test_what_begins_and_ends_in_one_millisecond_is_no_alert_any_more() -> None:
    found = play(*(Sample(5000, {HOT: each}) for each in (54.0, 56.0)), Sample(6000, {HOT: 50.0}))
    assert [(each.at_ms, each.raised) for each in found] == [(5001, True), (6000, False)]
    found = play(*(Sample(5000, {HOT: each}) for each in (56.0, 50.0)))
    assert [(each.at_ms, each.raised) for each in found] == [(5000, True), (5001, False)]
    alert: Alert | None = None
    for each in found:
        report = Report("vehicle", "EV-1", "over_temperature", "error", each.at_ms, each.raised, Evidence())
        alert = follow(alert, report, 9000)
    assert alert is not None
    assert not alert.active


@pytest.mark.requirement("R129")
def test_the_twin_trusts_a_capacity_that_measurements_confirm_and_heat_without_a_current() -> None:
    """A pack of 150 Ah that is described as one of 300: driven, its voltage and heat would be those of a weak one."""

    def samples(current_a: float, cell_v: float, rise_c: float) -> list[Sample]:
        return [
            Sample(
                second * 1000,
                {
                    "battery.current": current_a if second > 60 else 0.0,
                    "battery.voltage": 96 * (cell_v if second > 60 else 3.7),
                    HOT: 25.0 + rise_c * (1 - math.exp(-max(0, second - 60) / 3000)),
                    "battery.temperature.coolant": 25.0,
                },
            )
            for second in range(0, 4000, 10)
        ]

    settings = detectors.DetectorSettings(health=health.HealthSettings(pack=PackModel("nmc", 300.0, 96)))
    own = detectors.DetectorSettings(twin=settings.twin)
    driven = samples(-225.0, 3.35, 22.5)
    assert not play(*driven, settings=settings)
    assert {each.kind for each in play(*driven, settings=own)} == {"twin_voltage", "twin_temperature"}
    assert [each.kind for each in play(*samples(0.0, 3.7, 22.5), settings=settings)] == ["twin_temperature"]


CELLS = {f"battery.cell_voltage.{number}": 3.7 for number in range(1, 13)}
PACK = detectors.DetectorSettings(health=health.HealthSettings(pack=PackModel("nmc", 150.0, 96)))
MEASURED = {"battery.current": 0.0, "battery.voltage": 355.2, HOT: 25.0, "battery.temperature.coolant": 25.0}


@pytest.mark.requirement("R117", "R120", "R126")
def test_a_gateway_runs_those_that_need_the_cells_and_a_back_end_all() -> None:
    for which, kept in ((detectors.EDGE, ()), (detectors.BACK_END, ("health", "twin", "drift"))):
        state = detectors.DetectorState()
        for at_ms in (0, 10_000):
            values = CELLS | MEASURED | {"battery.soh": 99.0}
            state, found = detectors.step(PACK, state, Sample(at_ms, values), which)
            assert not found
        changed = {
            name for name in state.__struct_fields__ if getattr(state, name) != getattr(detectors.DetectorState(), name)
        }
        assert changed == {"data", "limits", "runaway", "imbalance", *kept}
        names = {"soc_percent", "soc_deviation_percent", "cycles", "twin_residual_v", "twin_residual_c"}
        assert detectors.estimates(state).keys() == (names if kept else set())


@pytest.mark.requirement("R126")
def test_a_runaway_does_not_wait_whether_a_jump_stays_and_limits_do() -> None:
    state, sound = detectors.DetectorState(), MEASURED | {"battery.pressure": 101.3}
    for at_ms in range(0, 20_000, 100):
        state, found = detectors.step(PACK, state, Sample(at_ms, sound))
        assert not found
    kinds = []
    for at_ms in range(20_000, 21_000, 100):  # a sensor that burns
        values = sound | {HOT: 90.0 if at_ms % 200 else 120.0, "battery.pressure": 120.0}
        state, found = detectors.step(PACK, state, Sample(at_ms, values))
        kinds += [each.kind for each in found]
    assert kinds == ["data_jump", "thermal_runaway"]


@pytest.mark.requirement("R117", "R120")
def test_samples_taken_together_are_as_those_taken_one_by_one() -> None:
    samples = [
        Sample(second // 2 * 1000, CELLS | MEASURED | {"battery.current": 7.0 * (second % 5), HOT: hot})
        for second, hot in enumerate([25.0] * 40 + [math.nan, 60.0, 60.0, 61.0, 30.0, 500.0] + [25.0] * 40)
    ]
    alone, state = list[tuple[detectors.DetectorState, tuple[Finding, ...]]](), detectors.DetectorState()
    for each in samples:
        alone.append(detectors.step(PACK, state, each))
        state = alone[-1][0]
    assert {each.kind for _, found in alone for each in found} >= {"data_jump", "data_number", "over_temperature"}
    assert repr(detectors.steps(PACK, detectors.DetectorState(), samples)) == repr(alone)  # NaN is not itself
