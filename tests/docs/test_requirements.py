"""No row of the requirements is claimed without a test or a benchmark that shows it."""

import ast

import pytest

from docs import requirements
from tests.evidence import always, programs, runs_a_program, seldom

pytestmark = pytest.mark.one_worker("pages")  # what pages are made of takes seconds, and is kept for all of them

ROWS = requirements.rows()


def test_rows_have_ids_without_gaps() -> None:
    assert list(ROWS) == [f"R{number}" for number in range(1, len(ROWS) + 1)]


def test_tests_and_benchmarks_name_rows_that_exist() -> None:
    assert set(requirements.shown()) - set(ROWS) == set()


def test_what_is_claimed_is_shown_and_what_is_shown_is_claimed() -> None:
    claimed = {row for row, each in ROWS.items() if each.state in ("done", "part")}
    assert claimed == set(requirements.shown())


def test_what_is_done_is_shown_through_a_program() -> None:
    """A library that no program uses would show it as well."""
    assert {row for row, each in ROWS.items() if each.state == "done"} - set(programs()) == set()


def test_what_is_done_is_shown_through_a_program_by_what_runs_always() -> None:
    """If only by one small case: `make test` would not notice where a row is lost in what it leaves out."""
    assert {row for row, each in ROWS.items() if each.state == "done"} - set(always()) == set()


@pytest.mark.parametrize(
    ("source", "left_out"),
    [
        ("@pytest.mark.long\ndef test_it(): ...\ndef test_other(): ...", {"test_it"}),
        ("@pytest.mark.hours\n@mark.requirement('R1')\nasync def test_it(): ...", {"test_it"}),
        ("pytestmark = [mark.e2e, mark.long]\ndef test_it(): ...\nclass TestIt: ...", {"test_it", "TestIt"}),
        ("pytestmark = mark.e2e\ndef test_it(): ...", set()),
        ("@mark.parametrize('n', [1, param(3, marks=mark.long)])\ndef test_it(): ...", set()),
        ("@mark.some(1)\ndef test_it(): ...", set()),
        ("@mark.long\nclass TestIt:\n    def test_it(self): ...", {"TestIt"}),
        ("class TestIt:\n    @mark.long\n    def test_a(self): ...\n    def test_b(self): ...", set()),
    ],
)
def test_tests_that_are_left_out_are_known_by_their_source(source: str, left_out: set[str]) -> None:
    assert seldom(ast.parse(source)) - {requirements.CONSTANT} - {""} == left_out


def test_what_is_not_whole_says_what_is_missing() -> None:
    assert {row for row, each in ROWS.items() if each.missing and each.state in ("done", "open")} == set()
    assert {row for row, each in ROWS.items() if not each.missing and each.state in ("part", "outside")} == set()


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("pytestmark = [mark.long, mark.requirement('R1', 'R2')]\ndef test_it(): ...", {"test_it": {"R1", "R2"}}),
        ('@pytest.mark.requirement("R3")\ndef test_it(): ...', {"test_it": {"R3"}}),
        ('class TestIt:\n    @mark.requirement("R4")\n    async def test_it(self): ...', {"TestIt": {"R4"}}),
        ('REQUIREMENTS = ("R5",)', {"REQUIREMENTS": {"R5"}}),
        ("def test_it(): ...", {"test_it": set()}),
        ("WORDS = 'mark.requirement(\"R6\")'", {}),
    ],
)
def test_rows_are_found_in_a_module(source: str, rows: dict[str, set[str]]) -> None:
    assert requirements.marks(ast.parse(source)) == rows


@pytest.mark.parametrize(
    ("source", "runs"),
    [
        ("import subprocess\ndef test_it(): subprocess.run(['v2g'])", True),
        ("from csms.app import running\nasync def test_it():\n    async with running(config): ...", True),
        ("from csms.domain import money\ndef test_it(): money.total()", False),
        ("import subprocess\ndef start(): subprocess.run([])\ndef test_it(): ...", False),
        ("import subprocess\ndef start(): subprocess.run([])\ndef test_it(): start()", True),
        ("from tests.csms.program import Program\nasync def test_it(): await Program.start(1, 2, 3)", True),
        ("import pytest\n@pytest.mark.usefixtures('server')\ndef test_it(): ...", True),
        ("def test_it(server): ...", True),
        ("def test_it(pki): ...", False),
        ("import pytest\npytestmark = pytest.mark.usefixtures('server')\ndef test_it(): ...", True),
        ("from csms.app import running\nSTART = running\nclass TestIt:\n    def test_it(self): START()", True),
    ],
)
def test_tests_that_run_a_program_are_known_by_their_source(
    tmp_path_factory: pytest.TempPathFactory, source: str, runs: bool
) -> None:
    path = tmp_path_factory.mktemp("tests") / "csms" / "test_it.py"
    path.parent.mkdir()
    path.write_text(source)
    (path.parents[1] / "conftest.py").write_text("import subprocess\ndef server():\n    yield subprocess.Popen([])")
    name = "TestIt" if "class" in source else "test_it"
    assert runs_a_program(path, name) is runs
