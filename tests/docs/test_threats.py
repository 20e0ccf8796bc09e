"""Threats, their ratings, the tests that show them, and the events that tell of an attack."""

import re
import tomllib
from pathlib import Path

import pytest

from docs import threats
from v2g.events import REPORTS

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent

pytestmark = pytest.mark.requirement("R149", "R153", "R183")


def test_each_threat_has_a_known_asset_and_tests_that_are_collected() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert options["testpaths"] == ["tests"]
    analysis = threats.read()
    assert len({each.id for each in analysis.threats}) == len(analysis.threats)
    assert {each.asset for each in analysis.threats} == analysis.assets.keys()
    for each in analysis.threats:
        assert each.tests, each.id
        for named in each.tests:
            file, _, test = named.partition("::")
            assert Path(file).name.startswith("test_"), named
            source = (TESTS / file).read_text()
            assert re.search(rf"^(    )?(async )?def {test or 'test_'}", source, re.MULTILINE), named


def test_a_treatment_makes_an_attack_no_easier_and_what_is_left_is_said() -> None:
    for each in threats.read().threats:
        assert threats.points(each.after) >= threats.points(each.before), each.id
        if each.risk(each.after) >= threats.TREATED:
            assert each.remains or each.risk(each.after) < each.risk(each.before), each.id


def test_ratings_are_those_of_the_method() -> None:
    assert threats.points(("day", "layman", "public", "unlimited", "standard")) == 0
    assert threats.points(("longer", "experts", "strict", "difficult", "several")) == 57
    assert [threats.FEASIBILITY[number][0] for number in range(4)] == [25, 20, 14, 0]
    assert threats.feasibility(("half_year", "proficient", "public", "unlimited", "standard")) == "low"
    assert threats.RISK["severe"]["high"] == 5


def test_each_event_of_an_attack_is_one_that_the_programs_write() -> None:
    known = {
        f"{program} {each.name.replace('.', ' ')}"
        for programs, events in REPORTS.items()
        for program in programs.split()
        for each in events
    }
    named = [event for each in threats.read().detection for event in each.events]
    assert [event for event in named if event not in known] == []


def test_each_alert_that_is_named_is_one_of_prometheus() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (ROOT / "deploy" / "monitoring" / "alerts.yaml").read_text()))
    named = {word for each in threats.read().detection for word in re.findall(r"V2g\w+", each.seen)}
    assert named <= alerts
