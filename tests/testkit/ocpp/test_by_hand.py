"""What is said before a run of how many cases are lost without a driver is what then happens."""

import pytest

from tests.testkit.ocpp.rig import cases_of, in_virtual_time, station_under_test
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.csms_tester import CsmsTest
from v2g_testkit.ocpp.driver import NoDriver, by_hand
from v2g_testkit.ocpp.station_tester import StationTest


@pytest.mark.parametrize("block", ["E", "F", "J"])
def test_cases_that_come_to_a_step_are_those_that_are_lost(block: str) -> None:
    lost: set[str] = set()
    expected = {each.id for each in cases_of(block) if by_hand(each.script, StationTest, "Step")}

    async def run() -> None:
        async with station_under_test() as tester:
            tester.driver = NoDriver()
            for case in cases_of(block):
                result = await tester.run(case)
                if "needs a step at the station" in result.found:
                    lost.add(case.id)
                elif case.id in expected:  # not for this station at all, or ended before
                    expected.discard(case.id)

    in_virtual_time(run())
    assert lost == expected
    assert lost


def test_operators_of_back_ends_are_needed_for_requests() -> None:
    needed = {each.id for each in CSMS_CASES if by_hand(each.script, CsmsTest, "OperatorStep")}
    assert 0 < len(needed) < len(CSMS_CASES)
    assert not by_hand(None, CsmsTest, "OperatorStep"), "a rule over the whole run has no script"
