"""The script that shows cases beside the text of what they cite: it finds the text, and what is not in it."""

from pathlib import Path

import pytest

from tests.testkit.ocpp.citations import Published, main, missing, published, texts_of
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES

PAGE = """# H01
<table><tr><td>ID</td><td>Precondition</td></tr>
<tr><td>{first}</td><td>When asked</td><td>It SHALL &lt;answer&gt;.</td></tr>
<tr><td>001.FR.04 (2.1)</td><td></td><td>Ids are unique.</td></tr></table>
"""


PART_6 = """<table><tr><td>Test case name</td><td colspan="2">Occupied &amp; reserved</td></tr><tr><td>Test case Id</td>
<td colspan="2">TC_H_04_CS</td></tr><tr><td>Requirement(s)</td><td colspan="2">H01.FR.11, 001.FR.02</td></tr><tr>
<td>Purpose</td><td colspan="2">To verify it.</td></tr><tr><td>Prerequisite(s)</td><td colspan="2">N/a</td></tr></table>
"""


def written(folder: Path, first: str) -> Path:
    for version in ("2.0.1", "2.1"):
        (folder / f"OCPP-{version}_part2.md").write_text(PAGE.replace("{first}", first))
    return folder


def test_requirements_are_found_by_their_ids(tmp_path: Path) -> None:
    found = texts_of(written(tmp_path, "H01.FR.11"), "2.0.1")
    assert found == {"H01.FR.11": "When asked | It SHALL <answer>.", "O01.FR.04": "Ids are unique."}


def test_cases_are_found_in_part_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "OCPP-2.0.1_part6.md").write_text(PART_6)
    (known,) = published(tmp_path).items()
    assert known == ("TC_H_04_CS", Published("Occupied & reserved", "To verify it.", ("H01.FR.11", "O01.FR.02")))
    main([str(written(tmp_path, "H01.FR.11")), "TC_H_04_CS"])
    assert "part 6: Occupied & reserved" in capsys.readouterr().out


def test_what_is_cited_and_not_in_the_text_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(written(tmp_path, "H01.FR.11")), "TC_H_04_CS"]) == 1
    shown = capsys.readouterr().out
    assert "TC_H_04_CS: Reserve an EVSE that charges" in shown
    assert "H01.FR.11 (2.0.1): When asked | It SHALL <answer>." in shown
    assert "TC_H_04_CS" not in shown.partition("Cited, but not in the text:")[2]
    cited = {each: "" for case in (*STATION_CASES, *CSMS_CASES) for each in case.requirements}
    assert not list(missing({"2.0.1": cited, "2.1": cited}))
