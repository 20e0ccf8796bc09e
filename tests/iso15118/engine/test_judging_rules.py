"""The table of rules by which one side judges the other is whole: each reason to end a session is in it, or is none."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from v2g.iso15118.engine.judging_rules import RULES

pytestmark = pytest.mark.requirement("R197")
ROOT = Path(__file__).parents[3]
OWN = {
    # the vehicle's own state, wishes and offers, not what the charger does
    *("unplugged", "no_contract", "no_authorization_possible", "program_pauses", "contactor_welded"),
    *("contactor_dropped", "battery_silent", "inlet_silent", "secc_vanished", "more_discharged_than_agreed"),
}
OF_20 = {
    # by the letter of ISO 15118-20, without a recording of real devices: services, positioning and control modes
    *("wrong_service", "no_usable_service", "no_usable_parameter_set", "out_of_place", "other_charger", "misaligned"),
    *("incompatible_clearance", "wrong_control_mode", "installation_endless", "evse_asked_to_pause"),
    *("evse_asked_for_other_service", "device_not_connected", "device_not_home"),
}
ENDS = {"Implausible": 0, "Ending": 0, "_fail": 0, "fail": 1}
"""Calls that end a session, and which argument is the reason."""


def reasons() -> Iterator[str]:
    for path in (ROOT / "evcc" / "session").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            at = ENDS.get(name)
            if at is not None and len(node.args) > at:
                reason = node.args[at]
                if isinstance(reason, ast.Constant) and isinstance(reason.value, str):
                    yield reason.value


def test_each_reason_by_which_a_vehicle_judges_has_a_rule() -> None:
    named = {each.name for each in RULES if each.judge == "vehicle"}
    found = set(reasons())
    assert {"evse_voltage_out_of_range", "insulation_fault", "wrong_session_id"} <= found
    assert found - OWN - OF_20 <= named
    assert not named & (OWN | OF_20)


def test_each_rule_states_its_tolerance_and_source_once() -> None:
    assert len({(each.judge, each.name) for each in RULES}) == len(RULES)
    for each in RULES:
        assert each.judge in ("vehicle", "charger")
        assert each.what
        assert each.tolerance
        assert each.source
