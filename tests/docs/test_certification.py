"""The pages of certification cases speak of every case, and of tests that exist."""

import pytest

from docs import certification

pytestmark = pytest.mark.requirement("R16")

ROLES = ["csms", "cs"]


@pytest.mark.parametrize("role", ROLES)
def test_every_test_of_a_case_is_of_one_that_exists(role: str) -> None:
    known = {case["id"] for case in certification.cases(role)}
    assert set(certification.tested(role)) - known == set()


@pytest.mark.parametrize("role", ROLES)
def test_each_case_has_either_a_test_or_a_reason_for_none(role: str) -> None:
    known = {case["id"] for case in certification.cases(role)}
    why = set(certification.reasons(role))
    assert why & set(certification.tested(role)) == set()
    assert why | set(certification.tested(role)) == known


@pytest.mark.parametrize("role", ROLES)
def test_every_case_is_in_the_command_or_has_a_reason_why_not(role: str) -> None:
    known = {case["id"] for case in certification.cases(role)}
    there = {case.id for case in certification.lab(role)}
    assert set(certification.without(role)) == known - there


def test_a_test_that_is_always_skipped_is_none(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "@pytest.mark.skip(reason='x')\ndef test_tc_a_01_csms_x(): ...\ndef test_tc_a_02_csms(): ...\n"
    monkeypatch.setattr("docs.certification.Path.read_text", lambda _self: source)
    assert list(certification.functions(certification.CASES)) == ["test_tc_a_02_csms"]
