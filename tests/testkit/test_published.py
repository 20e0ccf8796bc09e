"""Published ids of ISO 15118-4: each is tested or listed as left, and cases of every edition are found by them."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.together import together
from v2g.iso15118.d20.charts import Family
from v2g_cli.conform.report import write_pages
from v2g_testkit.cases.case import Case, Result, Verdict
from v2g_testkit.cases.editions import CHARGERS, Edition
from v2g_testkit.cases.published import LEFT, published
from v2g_testkit.cases.report import chosen, junit


def charger_cases(edition: Edition) -> tuple[Case, ...]:
    test = CHARGERS[edition]
    return tuple(case for family in test.families for case in test.cases(family))


def test_every_published_case_is_tested_or_listed_as_left() -> None:
    tested = {name for case in charger_cases(Edition.ISO2) for name in case.published}
    left = {name for each in LEFT for name in each.ids()}
    assert not tested & left
    assert tested | left == set(published())
    assert all((case.id,) == case.published for case in charger_cases(Edition.ISO2) if case.id.startswith("TC_"))


def test_cases_are_in_the_same_order_in_every_process() -> None:
    """Pages of them, and releases with these, have the same octets if made again."""
    listing = (
        "from v2g_testkit.cases.editions import CHARGERS, VEHICLES\n"
        "print([[c.id for f in t.families for c in t.cases(f)] for t in (*CHARGERS.values(), *VEHICLES.values())])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", listing], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "12"
    }
    assert len(found) == 1


@pytest.mark.parametrize("edition", [Edition.DIN, Edition.ISO20])
def test_cases_of_other_editions_repeat_published_ones_and_keep_their_names(edition: Edition) -> None:
    cases = charger_cases(edition)
    assert not any(case.id.startswith("TC_") for case in cases)
    repeated = {name for case in cases for name in case.published}
    assert repeated <= set(published())
    assert len(repeated) > 60


@together(
    ("edition", "published_id", "found"),
    [
        (Edition.ISO2, "CableCheck_003", {"TC_SECC_DC_VTB_CableCheck_003"}),
        (Edition.DIN, "CableCheck_003", {"SECC-CableCheck-DIN-sequence"}),
        (Edition.ISO20, "TC_SECC_DC_VTB_CableCheck_003", {"SECC-SEQ-DC-dc_cable_check-ServiceDiscoveryReq"}),
        (Edition.ISO20, "CableCheck_004", {"SECC-SID-DC-dc_cable_check"}),
        (Edition.ISO20, "CableCheck_005", {"SECC-SIL-DC-dc_cable_check"}),
        (Edition.ISO20, "CableCheck_001", {"SECC-TIM-DC-DC_CableCheckReq"}),
        (Edition.ISO20, "SessionStop_002", set()),  # it is sent in the state of the welding detection
        (Edition.ISO20, "PowerDelivery_005", set()),  # the case sends DC_PreChargeReq there
        (Edition.ISO20, "*SupportedAppProtocol_006", {"SECC-SAP-DC-minor"}),
    ],
)
def test_cases_are_found_by_published_ids(edition: Edition, published_id: str, found: set[str]) -> None:
    cases = CHARGERS[edition].cases(Family.DC)
    assert {case.id for case in chosen(cases, [published_id])} == found


def test_reports_name_the_published_ids(tmp_path: Path) -> None:
    cases = chosen(CHARGERS[Edition.ISO20].cases(Family.DC), ["CableCheck_004"])
    results = [Result(case=case.id, verdict=Verdict.PASS, found="x") for case in cases]
    (property_,) = ElementTree.fromstring(junit("x", {}, cases, results)).findall("testcase/properties/property")
    assert property_.attrib == {"name": "ISO 15118-4", "value": "TC_SECC_DC_VTB_CableCheck_004"}
    write_pages(tmp_path, "secc", {}, cases, results, lambda case, title: None)
    assert "<small>TC_SECC_DC_VTB_CableCheck_004</small>" in (tmp_path / "index.html").read_text()
