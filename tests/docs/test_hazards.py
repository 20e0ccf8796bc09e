"""Hazards, the tests that show them, and the faults at the monitors' inputs."""

from pathlib import Path

import pytest

from docs import hazards
from tests.safety.injected import FAILURES, ROLES, Failure, Role, coverage, inputs, outcomes
from v2g.safety import ChargerMonitor, VehicleMonitor

pytestmark = pytest.mark.xdist_group("pages")  # what pages are made of takes seconds, and is kept for all of them

TESTS = Path(__file__).parents[1]
MONITORS = {"charger": ChargerMonitor, "vehicle": VehicleMonitor}
RESULTS = {"closed", "live", "verdicts"}


def test_each_hazard_names_tests_that_exist() -> None:
    named = set(hazards.tests_of(hazards.read()))
    assert all(each.tests for each in (*hazards.read().charger, *hazards.read().vehicle))
    for each in named:
        file, _, test = each.partition("::")
        assert (TESTS / file).exists(), each
        assert f"def {test}(" in (TESTS / file).read_text() or not test, each


@pytest.mark.parametrize("role", ROLES)
def test_faults_are_injected_at_every_input_of_a_monitor(role: Role) -> None:
    methods = {name for name in dir(MONITORS[role]) if not name.startswith("_")} - RESULTS
    assert {method for method, _ in inputs(role)} == methods


@pytest.mark.parametrize("role", ROLES)
def test_a_sound_session_gives_a_monitor_nothing_to_say(role: Role) -> None:
    session, make, tell = ROLES[role]
    monitor = make()
    for event in session():
        tell(monitor, event)
        assert monitor.verdicts() == [], event


@pytest.mark.long
@pytest.mark.parametrize("role", ROLES)
def test_each_fault_is_noticed_or_has_its_reason_and_each_reason_is_needed(role: Role) -> None:
    needed, missing = set(), []
    reasons = hazards.read().unnoticed[role]
    for (method, argument), failures in coverage(role).items():
        name = f"{method}.{argument}" if argument else method
        for failure in FAILURES:
            if all(each.said for each in failures.get(failure, ())):
                continue
            found = hazards.reason(role, name, failure)
            if found is None:
                missing.append(f"{name} {failure}")
            else:
                needed.add(found[0])
    assert missing == []
    assert reasons.keys() - needed == set()


def test_the_monitors_notice_what_they_are_for() -> None:
    faults: tuple[tuple[Role, str, str, Failure, float], ...] = (
        ("charger", "request", "", "missing", 1.0),
        ("charger", "drive", "charge_w", "maximum", 0.0),
        ("charger", "measured", "current_ma", "wrong sign", 1.1),
        ("vehicle", "ask", "", "missing", 0.85),
        ("vehicle", "battery", "", "missing", 1.45),
        ("vehicle", "inlet", "current_ma", "wrong sign", 2.35),
    )
    for role, method, argument, failure, seconds in faults:
        found = outcomes(role, method, argument, failure)
        assert found, (method, argument)
        assert all(each.said and each.seconds <= seconds + 1e-6 for each in found), (method, argument, failure)
