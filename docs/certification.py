"""The tables of certification cases: which have a test here, and why the others have none."""

import ast
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from docs.markdown import table as markdown
from tests.testkit.ocpp.rig import ABSENT, OF_OTHER
from v2g_testkit.ocpp.case import OcppCase
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.csms_cases.catalogue import MISSING as BACK_ENDS_WITHOUT
from v2g_testkit.ocpp.driver import SENTENCES, VEHICLES, Step
from v2g_testkit.ocpp.station_cases.catalogue import MISSING as STATIONS_WITHOUT
from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES

ROOT: Final = Path(__file__).resolve().parent.parent
CASES: Final = ROOT / "tests" / "vectors" / "ocpp" / "certification_cases.json"
MISSING: Final = ROOT / "tests" / "vectors" / "ocpp" / "untested_cases.json"
"""Id -> why it has no test, for each role."""

OUR_STATION: Final = "test_station_cases.py"
"""Runs the cases of v2g_testkit/ocpp/station_cases against our station."""
OUR_BACK_END: Final = "test_csms_cases.py"
"""Runs those of csms_cases against our back end."""
FOLDERS: Final[Mapping[str, str]] = {"csms": "csms/ocpp", "cs": "station/blocks"}
_NAME: Final = re.compile(r"test_(tc_[a-z]+_\d+_(?:csms|cs))(?:_|$)")
_UNKNOWN: Final = "no test yet"


@cache
def cases(role: str) -> list[dict[str, Any]]:
    """Return the cases of `csms` or `cs`: `id`, `name`, `profiles`."""
    found: list[dict[str, Any]] = json.loads(CASES.read_text())[role]
    return found


def reasons(role: str) -> dict[str, str]:
    """Return why cases of a role have no test."""
    found: dict[str, str] = json.loads(MISSING.read_text())[role]
    return found


@cache
def tested(role: str) -> dict[str, list[str]]:
    """Return the files that have tests of each case, by id; a test that is always skipped is none."""
    found: dict[str, list[str]]
    if role == "cs":
        known = {case.id for case in STATION_CASES if case.id.startswith("TC_")}
        found = {each: [OUR_STATION] for each in known - ABSENT.keys() | known & {*OF_OTHER}}
    else:
        found = {case.id: [OUR_BACK_END] for case in CSMS_CASES if case.id.startswith("TC_")}
    folder = ROOT / "tests" / FOLDERS[role]
    for path in sorted(folder.rglob("test_*.py")):
        for name in functions(path):
            if match := _NAME.match(name):
                files = found.setdefault(match[1].upper(), [])
                if path.name not in files:
                    files.append(path.name)
    return found


def lab(role: str) -> tuple[OcppCase[Any], ...]:
    """Return the cases with which third-party devices, and ours, are tested."""
    return STATION_CASES if role == "cs" else CSMS_CASES


def without(role: str) -> dict[str, str]:
    """Return why the command does not have a case, by its id. Raises ValueError for an entry that is of no case."""
    found: dict[str, str] = {}
    known = {case["id"]: case for case in cases(role)}
    for reason, places in (STATIONS_WITHOUT if role == "cs" else BACK_ENDS_WITHOUT).items():
        for place in places:
            block, numbers = place.split("_")
            first, _, last = numbers.partition("-")
            ids = (f"TC_{block}_{number:02}_{role.upper()}" for number in range(int(first), int(last or first) + 1))
            named = [each for each in ids if each in known]
            if not named:
                raise ValueError(f"{place}: no such case")
            found |= {each: reason for each in named if each not in {case.id for case in lab(role)}}
    return found


def lab_missing(role: str) -> str:
    """Return the table of the cases that the command does not have."""
    why = without(role)
    rows = ((f"`{case['id']}`", case["name"] or "", why[case["id"]]) for case in cases(role) if case["id"] in why)
    return markdown(("Case", "Name", "Why the command does not have it"), rows)


def lab_table(role: str) -> str:
    """Return how many of each profile's cases the command has, then each of its cases."""
    known = {case.id: case for case in lab(role)}
    rows = [
        (
            f"`{case.id}`",
            case.title,
            case.required,
            " ".join(case.requirements),
            ", ".join(case.profiles),
            ", ".join((*(f"OCPP {each}" for each in case.versions if len(case.versions) == 1), *case.needs)),
        )
        for case in sorted(known.values(), key=lambda each: each.id)
    ]
    header = (
        "Case",
        "What is done",
        "Required",
        "Requirements",
        "Profile",
        f"For {'stations' if role == 'cs' else 'back ends'} with",
    )
    return f"{_summary(role, known, 'In the command')}\n{markdown(header, rows)}"


def steps() -> str:
    """Return the steps of drivers: the line for a program, and the sentence for a person."""
    token = {"token": "0A1B2C3D", "type": "ISO14443"}
    example = {
        "present": token,
        "choose": token,
        "choose-all": token,
        "schedule": {"value": "7000/120/4000"},
        "settlements": {"value": "Failed"},
        "frequency": {"value": "49.8"},
        "vat": {"value": "NL123456789B01"},
        "most-cost": {"value": "12.5"},
    }
    done = [
        Step(action, **example.get(action, {"value": "6000"} if "{value}" in sentence else {}))
        for action, sentence in SENTENCES.items()
    ]
    done += [Step("vehicle", value=kind) for kind in VEHICLES]
    rows = [(f"`{step.line}`", step.sentence) for step in done]
    return markdown(("Line", "What is done"), rows)


def table(role: str) -> str:
    """Return the page's part for `csms` or `cs`: how many of each profile have a test, then every case."""
    there, why = tested(role), reasons(role)
    rows = []
    for case in cases(role):
        status = "tested" if case["id"] in there else "missing"
        reason = ", ".join(f"`{name}`" for name in there.get(case["id"], [])) or why.get(case["id"], _UNKNOWN)
        rows.append((f"`{case['id']}`", case["name"], "; ".join(case["profiles"]), status, reason))
    header = ("Case", "Name", "Profiles", "Status", "Test, or why there is none")
    return f"{_summary(role, there)}\n{markdown(header, rows)}"


def _summary(role: str, there: Collection[str], counted: str = "Tested") -> str:
    total, done = Counter[str](), Counter[str]()
    for case in cases(role):
        for profile in case["profiles"] or ["in no profile"]:
            total[profile] += 1
            done[profile] += case["id"] in there
    total["all cases"] = len(cases(role))
    done["all cases"] = sum(case["id"] in there for case in cases(role))
    return markdown(("Profile", "Cases", counted), ((name, str(total[name]), str(done[name])) for name in total))


def functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            skipped = any("mark.skip" in ast.unparse(each).split("(")[0] for each in node.decorator_list)
            if not skipped or any("skipif" in ast.unparse(each) for each in node.decorator_list):
                yield node.name
