"""The lab for OCPI at our own back end, as operator and provider (R204)."""

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from tests.testkit.ocpi.rig import under_test
from v2g.io.http.client import HttpAnswer, request
from v2g.ocpi.wire import Version
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpi.cases import CASES
from v2g_testkit.ocpi.partner import LabPartner


@pytest.mark.requirement("R204")
@pytest.mark.parametrize("version", [pytest.param("2.2.1", marks=pytest.mark.long), "2.3.0"])
async def test_our_back_end_passes(tmp_path: Path, pki: PkiTree, empty_database: Path, version: Version) -> None:
    async with under_test(tmp_path, pki, empty_database, version) as rig:
        results = await rig.run()
    assert [f"{each.case}: {each.found}" for each in results.values() if each.verdict is not Verdict.PASS] == []


async def test_a_platform_that_limits_requests_is_waited_for(
    tmp_path: Path, pki: PkiTree, empty_database: Path
) -> None:
    statuses = []

    async def send(method: str, url: str, **options: Any) -> HttpAnswer:
        answer = await request(method, url, **options)
        statuses.append(answer.status)
        return answer

    limits = {"requests_per_s": 5, "requests_at_once": 2}
    async with under_test(tmp_path, pki, empty_database, lab_of=partial(LabPartner, send=send), **limits) as rig:
        results = await rig.run([case for case in CASES if case.id.startswith("CPO-LOCATIONS")])
    assert 429 in statuses
    found = {each.verdict for name, each in results.items() if name.startswith("CPO")}
    assert found == {Verdict.PASS}


@pytest.mark.requirement("R204")
@pytest.mark.e2e
@pytest.mark.long
async def test_the_command_reports_what_it_finds(tmp_path: Path, pki: PkiTree, empty_database: Path) -> None:
    """A platform that the lab may register at once: the second run has no token."""
    async with under_test(tmp_path, pki, empty_database) as rig:
        bench = rig.lab.bench
        options = ["--ca", str(pki.path("csms/root.pem")), "--seconds", "5", "--junit", "report.xml", "--html", "pages"]
        command = [sys.executable, "-m", "v2g_cli", "conform", "ocpi", bench.versions_url, *options, "--json"]
        for code, verdict in ((0, "pass"), (1, "fail")):
            process = await asyncio.create_subprocess_exec(
                *command, "--only", "REG", "--only", "RUN-TOKENS", cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
                env=os.environ | {"V2G_OCPI_TOKEN": bench.token},
            )  # fmt: skip
            printed, _ = await process.communicate()
            *cases, last = [json.loads(line) for line in printed.splitlines()]
            found = {each["case"]: each for each in cases}
            assert (process.returncode, found["REG-VERSIONS"]["verdict"]) == (code, verdict)
            assert (found["RUN-TOKENS"]["verdict"] == "pass") == (code == 0)
            assert last["totals"][verdict] >= 1
            assert bench.token not in printed.decode()
    assert "REG-VERSIONS" in (tmp_path / "report.xml").read_text()
    assert "/ocpi/versions" in (tmp_path / "pages" / "REG-VERSIONS.html").read_text()
