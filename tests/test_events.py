"""Every event that the product reports is declared, with its fields and programs, and every declaration is used."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from csms.cluster.feed import LOST, WANTED
from csms.events.work import KINDS
from tests.emissions import Emission, emissions, kinds, other_files
from v2g.events import EVENTS, REPORTS, STAGES
from v2g.telemetry.local_events import DROPPED

pytestmark = pytest.mark.one_worker("events")  # the whole source is searched for them, which takes seconds

FROM_ELSEWHERE = {
    "telemetry.records_dropped": {"priority", "records", "first_ms", "last_ms"},  # of the gateway's own record
    **{
        f"ocpp.{name}": {"station"}  # the back end adds whose connection it is
        for name in (
            "answer_ignored",
            "answer_invalid",
            "call_result_error",
            "frame_refused",
            "message_type_ignored",
            "price_not_shown",
            "report_refused",
            "send_dropped",
            "send_ignored",
            "transaction_message_refused",
        )
    },
}
"""Fields that are not in the source of the event itself."""


@cache
def reported() -> dict[str, list[Emission]]:
    found = defaultdict(list)
    for each in emissions():
        found[f"{each.stage}.{each.name}"].append(each)
    return found


def test_events_are_made_only_where_they_are_looked_for() -> None:
    assert not other_files()


def test_every_event_is_declared_and_every_declaration_used() -> None:
    assert reported().keys() == EVENTS.keys()


def test_events_have_declared_fields_only_and_all_of_them() -> None:
    for name, found in reported().items():
        declared = {field.name for field in EVENTS[name].fields}
        used = FROM_ELSEWHERE.get(name, set()).union(*(each.fields for each in found))
        for each in found:
            assert each.fields <= declared | {"..."}, f"{each.where}: {name} has no field {each.fields - declared}"
        assert "..." in used or used == declared, f"{name}: no {declared - used}"


def test_a_vehicle_s_failed_session_has_declared_details() -> None:
    """They are arguments of `_fail`, which passes them on."""
    declared = {field.name for field in EVENTS["session.failed"].fields}
    given = set[str]()
    for path in (Path(__file__).parents[1] / "evcc" / "session").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="_fail"), keywords=keywords):
                    given.update(each.arg for each in keywords if each.arg is not None)
    assert {"message", "code", "inlet_mv"} <= given <= declared


def test_programs_are_those_that_report_it() -> None:
    programs = {each.name: set(names.split()) for names, events in REPORTS.items() for each in events}
    for name, found in reported().items():
        assert programs[name] == set().union(*(each.programs for each in found)), name


def test_the_feed_has_what_its_declaration_says() -> None:
    between_nodes = {WANTED}
    assert kinds() - between_nodes | {LOST} == set(KINDS)


def test_a_declaration_is_well_formed() -> None:
    assert len(EVENTS) == sum(map(len, REPORTS.values())), "an event is declared twice"
    assert EVENTS.keys() >= {DROPPED}
    for each in EVENTS.values():
        assert each.key[0] in STAGES
        assert {field.type for field in each.fields} <= {"text", "int", "float", "bool"}, each.name
        assert not each.code or each.is_warning, each.name
