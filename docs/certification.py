"""The tables of certification cases: which have a test here, and why the others have none."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
CASES: Final = ROOT / "tests" / "vectors" / "ocpp" / "certification_cases.json"
MISSING: Final = ROOT / "tests" / "certification" / "missing.json"
"""Id -> why it has no test, for each role."""

FOLDERS: Final[Mapping[str, str]] = {"csms": "csms", "cs": "station"}
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
    found: dict[str, list[str]] = {}
    folder = ROOT / "tests" / "certification" / FOLDERS[role]
    for path in sorted(folder.glob("test_*.py")):
        for name in functions(path):
            if match := _NAME.match(name):
                files = found.setdefault(match[1].upper(), [])
                if path.name not in files:
                    files.append(path.name)
    return found


def table(role: str) -> str:
    """Return the page's part for `csms` or `cs`: how many of each profile have a test, then every case."""
    from docs.generate import table as markdown

    there, why = tested(role), reasons(role)
    rows = []
    for case in cases(role):
        status = "tested" if case["id"] in there else "missing"
        reason = ", ".join(f"`{name}`" for name in there.get(case["id"], [])) or why.get(case["id"], _UNKNOWN)
        rows.append((f"`{case['id']}`", case["name"], "; ".join(case["profiles"]), status, reason))
    header = ("Case", "Name", "Profiles", "Status", "Test, or why there is none")
    return f"{_summary(role, there)}\n{markdown(header, rows)}"


def _summary(role: str, there: Mapping[str, list[str]]) -> str:
    from docs.generate import table as markdown

    total, done = Counter[str](), Counter[str]()
    for case in cases(role):
        for profile in case["profiles"] or ["in no profile"]:
            total[profile] += 1
            done[profile] += case["id"] in there
    total["all cases"] = len(cases(role))
    done["all cases"] = sum(case["id"] in there for case in cases(role))
    return markdown(("Profile", "Cases", "Tested"), ((name, str(total[name]), str(done[name])) for name in total))


def functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            skipped = any("mark.skip" in ast.unparse(each).split("(")[0] for each in node.decorator_list)
            if not skipped or any("skipif" in ast.unparse(each) for each in node.decorator_list):
                yield node.name
