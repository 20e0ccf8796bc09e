"""Clauses of rules for updates, and published attacks: each says who does what, and the tests that it names exist."""

import ast
import re
from functools import cache

import pytest

from docs import update_rules
from docs.threats import ROOT

pytestmark = pytest.mark.requirement("R153", "R183")

TUF = """Arbitrary installation, Endless data, Extraneous dependencies, Fast-forward, Indefinite freeze, Malicious
mirrors preventing updates, Mix-and-match, Rollback, Slow retrieval, Vulnerability to key compromises, Wrong software
installation"""
"""Specification of TUF, 1.5.2."""

UPTANE = """Eavesdrop, Drop-request, Slow retrieval, Freeze, Partial bundle installation, Denial of service, Rollback,
Endless data, Mixed bundles, Mix-and-match, Arbitrary software"""
"""Standard of Uptane 2.1.0, 4.3, and its early drafts."""


def test_each_clause_says_who_does_what_or_what_is_missing_and_names_tests_that_exist() -> None:
    rules = update_rules.read().rules
    assert {each.rule for each in rules} == {"R155", "R156", "ISO/SAE 21434", "ISO 24089"}
    assert len({(each.rule, each.clause) for each in rules}) == len(rules)
    for each in rules:
        assert each.software or each.operator or each.missing, each.clause
        assert each.software or not each.tests, each.clause
        for named in each.tests:
            assert "def test_" in (ROOT / "tests" / named).read_text(), named


@cache
def cases(file: str) -> frozenset[str]:
    """Return the tests of a file, and the functions that are cases of one."""
    tree = ast.parse((ROOT / "tests" / file).read_text())
    functions = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    tests = {name for name in functions if name.startswith("test_")}
    named = {
        each.id
        for name in tests
        for decorator in functions[name].decorator_list
        for each in ast.walk(decorator)
        if isinstance(each, ast.Name)
    }
    return frozenset(tests | (named & functions.keys()))


@pytest.mark.requirement("R139", "R140")
def test_each_published_attack_is_listed_once_with_cases_that_exist_or_the_reason_why_it_has_none() -> None:
    attacks = update_rules.read().attacks
    assert sorted(each.tuf for each in attacks if each.tuf) == sorted(re.split(r",\s", TUF.replace("\n", " ")))
    assert sorted(each.uptane for each in attacks if each.uptane) == sorted(re.split(r",\s", UPTANE.replace("\n", " ")))
    for each in attacks:
        assert each.tests or len(each.here.split()) > 5, each
        assert len(set(each.tests)) == len(each.tests), each
        for named in each.tests:
            file, _, case = named.partition("::")
            assert case in cases(file), named
