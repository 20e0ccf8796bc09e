"""Every case for back ends against our own back end; the frames are judged on the way.

Those of security profiles: `test_csms_security`.
"""

import pytest

from tests.certification.conftest import Start
from tests.testkit.ocpp.csms_rig import SECURED, csms_under_test
from v2g.ocpp.routes import Version
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize("block", sorted({case.group for case in CSMS_CASES}))
async def test_our_back_end_passes(backend: Start, block: str, version: Version, subtests: pytest.Subtests) -> None:
    async with csms_under_test(backend, version) as tester:
        for case in CSMS_CASES:
            if case.group != block:
                continue
            with subtests.test(case.id):
                result = await tester.run(case)
                absent = version not in case.versions or case.id in SECURED
                assert result.verdict is (Verdict.NOT_APPLICABLE if absent else Verdict.PASS), result.found


def test_ids_are_unique() -> None:
    ids = [case.id for case in CSMS_CASES]
    assert len(set(ids)) == len(ids)
