"""The table of peers: its tests are there, and a run notes what passed."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from docs import tried_with
from docs.tried_with import Meeting, Peer, peers
from tests.together import together
from tests.tried import Tried, installed_version

ROOT = Path(__file__).resolve().parent.parent


@together("peer", peers(), ids=lambda each: each.key)
def test_the_tests_of_a_peer_are_there_and_install_what_the_table_says(peer: Peer) -> None:
    texts = [(ROOT / file).read_text() for file in peer.tests]
    name, version = peer.named
    helpers = [each.read_text() for file in peer.tests for each in (ROOT / file).parent.glob("*.py")]
    assert texts
    assert not version or any(name in text and version in text for text in helpers)


def test_each_row_has_a_name_of_its_own() -> None:
    assert len({each.key for each in peers()}) == len(peers())


def test_notes_belong_to_rows() -> None:
    assert set(tried_with.read()) <= {each.key for each in peers()}


@pytest.fixture
def peer() -> Peer:
    return Peer("P", "pytest", "PyPI", "a peer", ("tests/a.py", "tests/b.py"))


def _report(nodeid: str, outcome: str, when: str = "call") -> pytest.TestReport:
    return pytest.TestReport(nodeid, ("", 0, ""), {}, outcome, None, when)  # type: ignore[arg-type]


def test_a_peer_whose_tests_passed_is_noted(peer: Peer, tmp_path: Path) -> None:
    noted = tmp_path / "tried.json"
    noted.write_text('{"gone: x": {"version": "1", "on": "2026-01-01", "tests": 3}}')
    run = Tried((peer,), noted)
    for nodeid in ("tests/a.py::test_1", "tests/b.py::test_2[x]", "tests/c.py::test_3"):
        run.pytest_runtest_logreport(_report(nodeid, "passed", "setup"))
        run.pytest_runtest_logreport(_report(nodeid, "passed"))
    run.pytest_sessionfinish(SimpleNamespace(config=object()))  # type: ignore[arg-type]
    assert {key: each.tests for key, each in tried_with.read(noted).items()} == {"P: pytest": 2}
    assert tried_with.read(noted)["P: pytest"].version == pytest.__version__


@pytest.mark.parametrize("outcomes", [("passed", "failed"), ("skipped", "skipped")], ids=["one failed", "nothing ran"])
def test_a_peer_is_not_noted_when(outcomes: tuple[str, str], peer: Peer) -> None:
    run = Tried((peer,))
    for file, outcome in zip(peer.tests, outcomes, strict=True):
        run.pytest_runtest_logreport(_report(f"{file}::test", outcome))
    assert run.met(peer, "2026-11-27") is None


def test_the_version_is_the_one_that_a_test_names() -> None:
    assert installed_version(Peer("P", "x@1.2", "npm", "", ())) == "1.2"


def test_the_table_says_when_a_peer_was_not_met(tmp_path: Path) -> None:
    noted = tmp_path / "tried.json"
    first = peers()[0]
    assert f"| {first.protocol} | iso15118 0.28.5 (PyPI) | {first.role} | not noted |" in tried_with.table(noted)
    tried_with.note({first.key: Meeting("0.28.5", "2026-11-27", 7)}, peers(), noted)
    assert f"| {first.role} | 2026-11-27, 7 tests |" in tried_with.table(noted)
