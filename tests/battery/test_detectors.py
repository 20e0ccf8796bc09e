"""All detectors together: which of them see what, and when findings are."""

import math

import pytest

from csms.domain.diagnostics.alerts import Alert, Evidence, Report, follow
from v2g.battery import detectors, health
from v2g.battery.cell import Pack
from v2g.battery.finding import Finding
from v2g.battery.sample import Sample

HOT = "battery.temperature.max"


def play(*samples: Sample, settings: detectors.Settings = detectors.Settings()) -> list[Finding]:  # noqa: B008
    state, found = detectors.State(), list[Finding]()
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

    settings = detectors.Settings(health=health.Settings(pack=Pack("nmc", 300.0, 96)))
    own = detectors.Settings(twin=settings.twin)
    driven = samples(-225.0, 3.35, 22.5)
    assert not play(*driven, settings=settings)
    assert {each.kind for each in play(*driven, settings=own)} == {"twin_voltage", "twin_temperature"}
    assert [each.kind for each in play(*samples(0.0, 3.7, 22.5), settings=settings)] == ["twin_temperature"]
