"""Hazards, the tests that show them, and the faults at the monitors' inputs."""

from pathlib import Path

import pytest

from docs import hazards
from tests.safety.injected import FAILURES, ROLES, Failure, Role, inputs, outcomes
from v2g.safety import ChargerMonitor, VehicleMonitor

pytestmark = pytest.mark.one_worker("pages")  # what pages are made of takes seconds, and is kept for all of them

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


def unnoticed(role: Role, method: str, argument: str) -> list[tuple[str, Failure]]:
    """Return the faults of an input that in at least one moment no verdict follows, with the input's name."""
    name = f"{method}.{argument}" if argument else method
    found = {failure: outcomes(role, method, argument, failure) for failure in FAILURES}
    return [(name, failure) for failure, each in found.items() if not all(outcome.said for outcome in each)]


@pytest.mark.some(8)
@pytest.mark.parametrize(("role", "method", "argument"), [(role, *each) for role in ROLES for each in inputs(role)])
def test_each_fault_is_noticed_or_has_its_reason(role: Role, method: str, argument: str) -> None:
    assert [each for each in unnoticed(role, method, argument) if hazards.reason(role, *each) is None] == []


@pytest.mark.long
@pytest.mark.parametrize("role", ROLES)
def test_each_reason_is_needed(role: Role) -> None:
    found = [hazards.reason(role, *each) for given in inputs(role) for each in unnoticed(role, *given)]
    assert hazards.read().unnoticed[role].keys() - {each[0] for each in found if each is not None} == set()


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
