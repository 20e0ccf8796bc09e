"""`make verify`: its parts have everything, and what passed long ago is named."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.repeats import REPEATABLE
from tests.verify import __main__ as verify
from tests.verify.__main__ import PARTS, ROOT, Part, main, split, stale

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
    makefile = (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv")
    targets = set(re.findall(r"^([a-z./-]+):", makefile, re.MULTILINE))
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


def test_what_failed_of_a_part_and_what_came_after_end_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A part that was stopped, or that has not run, is run whole."""
    codes, ran = list[int](), list[Sequence[str]]()
    tests = f"{verify.PYTEST} --share 3 --turn {{turn}} tests/pki"
    whole = [*split(tests.format(turn=0)), "-o", f"cache_dir={tmp_path / 'failures' / 'some'}"]
    left = [*whole, *verify.FAILED]
    monkeypatch.setattr(verify, "PARTS", {"some": Part("", ("make first", tests, "make last"), turns=3)})
    monkeypatch.setattr(verify, "LEDGER", tmp_path / "passed.json")
    monkeypatch.setattr(verify, "FAILURES", tmp_path / "failures")

    def end(words: Sequence[str]) -> int:
        ran.append(words)
        return codes.pop(0)

    monkeypatch.setattr(verify, "execute", end)

    def ended(*found: int, failed: bool) -> list[Sequence[str]]:
        codes[:], ran[:] = found, []
        assert main(["some", *(["--failed"] if failed else [])]) == (1 if not found or found[-1] else 0)
        return list(ran)

    assert ended(failed=True) == []
    assert ended(0, 1, failed=False) == [["make", "first"], whole]
    assert ended(1, failed=True) == [left]
    assert ended(pytest.ExitCode.INTERRUPTED, failed=True) == [left]
    assert ended(failed=True) == []
    assert ended(0, REPEATABLE, 1, failed=False) == [["make", "first"], whole, [*whole, *verify.ALONE]]
    assert ended(0, 2, failed=True) == [left, ["make", "last"]]
    assert verify.read() == {}
    assert ended(0, failed=True) == [["make", "last"]]
    assert verify.read()["some"].number == 1
