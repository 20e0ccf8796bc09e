"""The tables of docs/explanation/safety.md: hazards, from `hazards.toml`; what a fault at each input of the monitors
leads to, from runs (`tests/safety/injected.py`); reaction times of processes, from `reaction-times.toml`;
promised times, from `promised-times.toml`.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec

from docs.markdown import table as markdown

ROOT: Final = Path(__file__).resolve().parent.parent
ROWS: Final = ROOT / "docs" / "hazards.toml"
TIMES: Final = ROOT / "docs" / "reaction-times.toml"
PROMISED: Final = ROOT / "docs" / "promised-times.toml"

Role = Literal["charger", "vehicle"]


class Hazard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hazard: what the first line and the monitor do, and when; empty: nothing. `tests` show it."""

    hazard: str
    tests: tuple[str, ...]
    first: str = ""
    monitor: str = ""


class Process(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to a process, and the test that measures it."""

    what: str
    test: str


class Hazards(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file. `unnoticed`: why a fault at a monitor's input is noticed by no monitor, by role, and input or input and
    failure."""

    charger: tuple[Hazard, ...]
    vehicle: tuple[Hazard, ...]
    processes: tuple[Process, ...]
    unnoticed: dict[Role, dict[str, str]]


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measured reaction times: by test and what ended, s, of each run. `load` is the machine's before them, in words
    for figures that were measured beside other work."""

    date: str
    cores: int
    load: float | str
    runs: int
    seconds: dict[str, dict[str, list[float]]]


@cache
def read() -> Hazards:
    """Return the file."""
    return msgspec.convert(tomllib.loads(ROWS.read_text()), Hazards)


def processes() -> tuple[Process, ...]:
    """Return what is measured of processes."""
    return read().processes


def read_times() -> Mapping[str, Run]:
    """Return the measured times."""
    return msgspec.convert(tomllib.loads(TIMES.read_text()), dict[str, Run])


def tests_of(hazards: Hazards) -> Iterator[str]:
    """Yield the tests that rows name: FILE::TEST, below `tests`."""
    for each in (*hazards.charger, *hazards.vehicle):
        yield from each.tests
    for process in hazards.processes:
        yield f"safety/test_processes.py::{process.test.partition('[')[0]}"


def table(role: str) -> str:
    """Return the hazards of a role."""
    rows = ((each.hazard, each.first, each.monitor, links(each.tests)) for each in getattr(read(), role))
    return markdown(("Hazard", "First line", "Monitor, at the latest", "Tests"), rows)


def links(tests: Iterable[str]) -> str:
    """Return links to the files of tests, from a page in a folder of `docs`."""
    files = dict.fromkeys(each.partition("::")[0] for each in tests)
    return ", ".join(f"[{Path(each).stem.removeprefix('test_')}](../../tests/{each})" for each in files)


def reason(role: Role, name: str, failure: str) -> tuple[str, str] | None:
    """Return why a failure of an input is not noticed, with the key in `unnoticed`; None if nobody says."""
    reasons = read().unnoticed[role]
    return next(((key, reasons[key]) for key in (f"{name} {failure}", failure, name) if key in reasons), None)


def injected(role: Role) -> str:
    """Return what follows a fault at each input of a monitor: the longest time until a verdict, or none."""
    from tests.safety.injected import FAILURES, coverage

    rows = []
    for (method, argument), failures in coverage(role).items():
        name = f"{method}.{argument}" if argument else method
        cells, reasons = [], dict[str, None]()
        for failure in FAILURES:
            outcomes = failures.get(failure, ())
            said = [each.seconds for each in outcomes if each.said]
            silent = len(said) < len(outcomes)
            cells.append(", ".join(([f"{max(said):.2f}"] if said else []) + (["none"] if silent else [])))
            if silent and failure != "repeated":
                _, why = reason(role, name, failure) or ("", "")
                reasons[why] = None
        if failures:
            rows.append((f"`{name}`", *cells, "; ".join(reasons)))
    return markdown(("Input", *(each.capitalize() for each in FAILURES), "Where no verdict follows"), rows)


def covered() -> str:
    """Return how many faults of how many inputs are noticed."""
    from tests.safety.injected import ROLES, coverage

    rows = []
    for role in ROLES:
        found = [each for failures in coverage(role).values() for each in failures.values()]
        outcomes = [each for outcomes in found for each in outcomes]
        noticed = sum(bool(each.said) for each in outcomes)
        rows.append((role, str(len(coverage(role))), str(len(outcomes)), str(noticed), str(len(outcomes) - noticed)))
    return markdown(("Monitor", "Inputs", "Faults injected", "A verdict follows", "None, with its reason"), rows)


def read_promised() -> dict[str, dict[str, dict[str, float]]]:
    """Return the promised times, s: role -> what happens -> edition and kind of power -> time."""
    return msgspec.convert(tomllib.loads(PROMISED.read_text()), dict[str, dict[str, dict[str, float]]])


def promised(role: str) -> str:
    """Return the times that a role promises, s."""
    rows = read_promised()[role]
    ways = max(map(tuple, rows.values()), key=len)
    heads = (f"{'ISO 15118-' if way[0] == '2' else ''}{way.upper().replace('BASIC', 'Basic')}" for way in ways)
    cells = ((what, *(f"{each[way]:g}" if way in each else "" for way in ways)) for what, each in rows.items())
    return markdown(("What happens", *heads), cells)


HOWS: Final = {"idle": "Idle machine", "busy": "All cores busy", "weak": "Charger with 5 % of a core"}


def reactions() -> str:
    """Return the reaction times of processes, and how they were measured."""
    times = read_times()
    heads, measured = [], []
    for how, name in HOWS.items():
        run = times.get(how)
        heads.append(
            name if run is None else f"{name}: {run.cores} cores, load {run.load} before, {run.runs} x, {run.date}"
        )
        measured.append({} if run is None else run.seconds)
    rows = ((each.what, *(_seconds(seconds.get(each.test, {})) for seconds in measured)) for each in read().processes)
    return markdown(("What happens", *heads), rows)


ENDS: Final = {"charger": "charger open", "vehicle": "vehicle open", "current": "no current", "voltage": "below 60 V"}


def _seconds(measured: Mapping[str, list[float]]) -> str:
    parts = []
    for what, values in measured.items():
        least, most = min(values), max(values)
        span = f"{least:.2f}" if f"{least:.2f}" == f"{most:.2f}" else f"{least:.2f} to {most:.2f}"
        parts.append(f"{ENDS[what]} {span} s")
    return ", ".join(parts) or "not measured"
