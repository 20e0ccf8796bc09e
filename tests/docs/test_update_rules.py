"""Clauses of rules for updates: each says who does what, and the tests that it names exist."""

import pytest

from docs import update_rules
from docs.threats import ROOT

pytestmark = pytest.mark.requirement("R153", "R183")


def test_each_clause_says_who_does_what_or_what_is_missing_and_names_tests_that_exist() -> None:
    rules = update_rules.read()
    assert {each.rule for each in rules} == {"R155", "R156", "ISO/SAE 21434", "ISO 24089"}
    assert len({(each.rule, each.clause) for each in rules}) == len(rules)
    for each in rules:
        assert each.software or each.operator or each.missing, each.clause
        assert each.software or not each.tests, each.clause
        for named in each.tests:
            assert "def test_" in (ROOT / "tests" / named).read_text(), named
