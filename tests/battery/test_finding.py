"""When a finding begins and ends."""

import math

import pytest

from v2g.battery.sample import Finding, Sample, judge

SAMPLE = Sample(7, {"battery.voltage": 400.0})


@pytest.mark.parametrize(
    ("limit", "clear", "good", "between", "bad"),
    [(10.0, 8.0, 8.0, 8.1, 10.1), (2.0, 3.0, 3.0, 2.9, 1.9), (1.0, 1.0, 1.0, 1.0, 1.1), (-1.0, 0.5, 0.5, 0.4, -1.1)],
)
def test_a_finding_begins_beyond_its_limit_and_ends_at_the_other_one(
    limit: float, clear: float, good: float, between: float, bad: float
) -> None:
    def after(value: float, *, active: bool) -> tuple[bool, tuple[Finding, ...]]:
        return judge("hot", "error", active, value, limit, clear, SAMPLE)

    def found(value: float, *, raised: bool) -> tuple[bool, tuple[Finding, ...]]:
        return raised, (Finding("hot", "error", 7, raised, value, limit, SAMPLE.values),)

    for value in (good, between, limit, math.nan):
        assert after(value, active=False) == (False, ())
    assert after(bad, active=False) == found(bad, raised=True)
    for value in (bad, math.nan) if limit == clear else (bad, between, limit, math.nan):
        assert after(value, active=True) == (True, ())
    assert after(good, active=True) == found(good, raised=False)


def test_evidence_is_the_sample_or_what_is_given() -> None:
    for given, shown in ((None, SAMPLE.values), ({}, {}), ({"mean_v": 3.0}, {"mean_v": 3.0})):
        _, (found,) = judge(
            "hot", "error", active=False, value=2.0, limit=1.0, clear=1.0, sample=SAMPLE, evidence=given
        )
        assert found.evidence == shown
