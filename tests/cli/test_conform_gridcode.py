"""`v2g conform gridcode`: signals, reports that can be judged again, and exit codes (R209)."""

import csv
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from tests.cli.conftest import Run

pytestmark = pytest.mark.requirement("R209")
WORDS = ("conform", "gridcode", "vde-ar-n-4105-2018")


@pytest.mark.long
def test_a_charger_is_tested_and_what_was_measured_is_judged_again(v2g: Run, tmp_path: Path) -> None:
    pages, measured, edited = tmp_path / "report", tmp_path / "measured", tmp_path / "mine.toml"
    done = v2g(*WORDS, "--only", "TRIP-5", "--html", str(pages), "--csv", str(measured), "--json")
    record, totals = map(msgspec.json.decode, done.output.splitlines())
    assert (done.code, record["verdict"], totals["totals"]["pass"]) == (0, "pass", 1)
    page = ET.fromstring((pages / "TRIP-5.html").read_text().partition("\n")[2])
    space = {"h": "http://www.w3.org/1999/xhtml", "s": "http://www.w3.org/2000/svg"}
    assert len(page.findall(".//h:tbody/h:tr", space)) == 3
    lines = page.findall(".//s:polyline", space)
    assert {each.get("class") for each in lines} == {"blue", "red"}
    assert (measured / "TRIP-5-points.csv").read_text().count("True") == 3

    again = v2g(*WORDS, "--only", "TRIP", "--recorded", str(measured))
    assert again.code == 0
    assert "pass\tTRIP-5\t" in again.output
    assert again.output.count("was not recorded") == 5
    late = (measured / "TRIP-5.csv").read_text().replace(",0.0,0.0\n", ",-2000.0,0.0\n")
    (measured / "TRIP-5.csv").write_text(late)
    assert v2g(*WORDS, "--only", "TRIP-5", "--recorded", str(measured)).code == 1
    (measured / "TRIP-5.csv").write_text("".join(late.splitlines(keepends=True)[:100]))
    half = v2g(*WORDS, "--only", "TRIP-5", "--recorded", str(measured), "--csv", str(tmp_path / "half"))
    assert (half.code, "nothing was measured from" in half.output) == (3, True)
    with (tmp_path / "half" / "TRIP-5-points.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert [each["right"] for each in points if "not measured" in each["unit"]] == ["False"] * 2
    (measured / "TRIP-5.csv").write_text("1,2\n")
    wrong = v2g(*WORDS, "--only", "TRIP-5", "--recorded", str(measured))
    assert wrong.code == 2
    assert "line 1 is not s,hz,v,w,var" in wrong.errors

    text = v2g("grid-code", "show", WORDS[-1], "--toml").output
    edited.write_text(text.replace("limit = 47.5", "limit = 47.2"))
    failed = v2g(*WORDS, "--only", "TRIP-5", "--installed", str(edited))
    assert failed.code == 1
    assert "f< trips: inf s (right: 0.05 to 0.4)" in failed.output


def test_signals_are_written_for_a_grid_simulator(v2g: Run, tmp_path: Path) -> None:
    done = v2g(*WORDS, "--energy", "ac", "--quick", "--signals", str(tmp_path))
    assert done.code == 0
    listed = v2g(*WORDS, "--energy", "ac", "--quick", "--list").output.splitlines()
    assert sorted(each.stem for each in tmp_path.iterdir()) == sorted(line.split("\t")[0] for line in listed)
    head, names, first, *_ = (tmp_path / "TRIP-6.csv").read_text().splitlines()
    assert head == "# TRIP-6: at 151 s plug in a vehicle that charges 100% of the rating"
    assert (names, first) == ("# s,hz,v", "0.000,50.0000,230.000")


def test_wrong_words_are_named(v2g: Run, tmp_path: Path) -> None:
    assert "neither a preset nor a file" in v2g("conform", "gridcode", "nothing").errors
    assert "dc or ac" in v2g(*WORDS, "--energy", "wpt").errors
    assert "no such case" in v2g(*WORDS, "--only", "QQQ").errors
    assert v2g(*WORDS, "--only", "TRIP-5", "--recorded", str(tmp_path)).code == 3
