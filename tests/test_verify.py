"""`make verify`: its parts have everything, and what passed long ago is named."""

import re
import shlex

import pytest

from tests.verify.__main__ import PARTS, ROOT, main, split, stale

_LONG = re.compile(r"mark\.(long|some)\b")


def test_every_long_test_is_in_one_part() -> None:
    folders = [folder for part in PARTS.values() for folder in part.folders]
    chosen = [
        path
        for folder in folders
        for each in ROOT.glob(folder)
        for path in ([each] if each.is_file() else each.rglob("*.py"))
    ]
    assert len(chosen) == len(set(chosen))
    long = {path for path in (ROOT / "tests").rglob("test_*.py") if _LONG.search(path.read_text())}
    assert long - set(chosen) == {path for path in long if path.parent.name == "stream"}, "`make stream` runs the last"


def test_every_target_of_a_part_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [
        shlex.split(command)[1] for part in PARTS.values() for command in part.commands if command.startswith("make")
    ]
    assert named
    assert set(named) <= targets


def test_every_file_and_folder_of_a_part_exists() -> None:
    """pytest would run nothing."""
    words = [word for part in PARTS.values() for command in part.commands for word in split(command)]
    named = [word for word in words if word.startswith("tests/")]
    assert "tests/test_verify.py" in named
    assert [word for word in named if not (ROOT / word).exists()] == []


def test_a_part_that_passed_long_ago_or_never_is_named() -> None:
    assert stale({"walks": None, "lab": 101, "test": 100}) == [
        "make verify PART=walks: it never passed",
        "make verify PART=lab: it passed 101 commits ago",
    ]


def test_only_parts_that_exist_are_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "no such part: nothing" in capsys.readouterr().err
