"""Every benchmark runs and prints its figures; how large they are is nobody's business here."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.__main__ import NAMES
from benchmarks.figures import Figure, percentile

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = ("decision", "session", "sessions", "charging", "editions", "grid")
"""They start the three programs."""
SLOW = (
    *PROCESSES, "books", "broker", "csms", "exi", "gateway", "links", "settlement", "station", "telemetry", "tls",
    "trust", "uplink",
)  # fmt: skip
"""They take several seconds even when quick."""
MARKS = {"e2e": PROCESSES, "long": SLOW}


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, env=environment
    )


def figures_of(name: str) -> list[Figure]:
    done = run(name, "--quick", "--json")
    assert done.returncode == 0, done.stderr
    return [msgspec.json.decode(line, type=Figure) for line in done.stdout.splitlines()]


@pytest.mark.some(2)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[getattr(pytest.mark, mark) for mark, names in MARKS.items() if name in names])
        for name in NAMES
    ],
)
def test_it_runs_and_prints_its_figures(name: str) -> None:
    figures = figures_of(name)
    assert figures
    assert {figure.name for figure in figures} == {name}
    assert all(figure.value >= 0 and figure.unit for figure in figures)  # records that are lost are none
    assert len({figure.figure for figure in figures}) == len(figures)
    for figure in figures:
        assert figure.peer_value is None or (figure.peer and figure.peer_value > 0)
        assert figure.peer_value is not None or not figure.peer or figure.note, "a missing peer has a stated reason"
    if name == "exi" and shutil.which("java"):
        assert [figure.note for figure in figures if figure.peer_value is None] == []


@pytest.mark.long
def test_for_people_there_is_a_line_for_each_figure_and_the_machine_above() -> None:
    done = run("journal", "--quick")
    machine, *lines = done.stdout.splitlines()
    assert "cores of" in machine
    assert lines
    assert all(line.startswith("journal\t") for line in lines)


@pytest.mark.long
def test_the_list_names_all() -> None:
    listed = [json.loads(line) for line in run("--list", "--json").stdout.splitlines()]
    assert tuple(each["name"] for each in listed) == NAMES
    assert all(each["about"] for each in listed)


def test_an_unknown_name_is_refused_with_a_hint() -> None:
    done = run("exit")
    assert done.returncode == 2
    assert "--list" in done.stderr


def test_percentiles_are_values_that_were_measured() -> None:
    assert [percentile([4, 1, 3, 2], share) for share in (0.0, 0.5, 0.75, 0.99, 1.0)] == [1, 2, 3, 4, 4]
