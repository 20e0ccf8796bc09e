"""The lab for OCPI at a platform that we did not write: extrawest-ocpi, above a storage of ours (R204)."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from tests.csms.roaming.foreign_partner import foreign
from tests.csms.roaming.registered import TOKEN
from v2g.io.tls.files import server_context
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpi.cases import CASES, run_case
from v2g_testkit.ocpi.judge import judge_run
from v2g_testkit.ocpi.partner import LabPartner, OcpiBench

pytestmark = [pytest.mark.requirement("R204"), pytest.mark.interop, pytest.mark.long]

WRONG = {
    "REG-NO-TOKEN": "HTTP 403 instead of HTTP 401",
    "REG-ENDPOINTS": "had to be refused",
    "MSP-AUTHORIZE": "AuthorizationInfo is not an object",
    "MSP-AUTHORIZE-UNKNOWN": "instead of status_code 2004",
    "CPO-TOKEN-PATCH": "had to be refused",
    "RUN-ENVELOPE": "status_code is missing",
    "RUN-SAME-IDS": "without the x-request-id",
    "RUN-OWN-IDS": "no X-Request-ID",
}
"""What this version does against the specification, which was read for each."""
RIGHT = {
    "REG-VERSIONS", "REG-VERSION", "REG-UNREACHABLE", "REG-AGAIN", "CPO-LOCATIONS-LIST", "CPO-TOKEN-FIELD",
    "CPO-TOKEN-ZONE", "MSP-LOCATION-TIME", "MSP-CDR-COST", "RUN-NO-DEFECT", "RUN-TOKENS", "RUN-ROUTING",
}  # fmt: skip


async def test_a_foreign_platform_is_judged(pki: PkiTree, tmp_path: Path) -> None:
    known: dict[str, Any] = {}
    async with foreign(pki, tmp_path) as partner:
        await partner.ask("POST", "/own/tokens", {**TOKEN, "party_id": "XTW", "last_updated": "2026-01-01T00:00:00Z"})
        files = [pki.path(f"csms/server/{name}") for name in ("chain.pem", "leaf.key")]
        bench = OcpiBench(versions_url=partner.versions, token="token-a", seconds=5)
        lab = LabPartner(bench, server_context(*files), ssl.create_default_context(cafile=pki.path("csms/root.pem")))
        lab.open()
        try:
            results = [await run_case(lab, case, known) for case in CASES] + judge_run(lab)
        finally:
            lab.close()
    found = {each.case: each for each in results}
    for case, text in WRONG.items():
        assert found[case].verdict is Verdict.FAIL
        assert text in found[case].found
    assert {case for case in RIGHT if found[case].verdict is not Verdict.PASS} == set()
    vague = {each.case: each.found for each in results if each.verdict is Verdict.INCONCLUSIVE}
    assert set(vague) <= {"HUB-CLIENT"}, vague
    assert found["CPO-START"].verdict is Verdict.NOT_EXERCISED
    assert found["HUB-ROUTE"].verdict is Verdict.NOT_APPLICABLE
