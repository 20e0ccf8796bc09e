"""Shows each case of the OCPP lab beside the text of the requirements that it cites, and beside the published case.

    python -m tests.testkit.ocpp.citations FOLDER [PART OF AN ID ...]

FOLDER has OCPP part 2 of 2.0.1 and 2.1, and their errata, and part 6 of 2.0.1, as Markdown with tables in HTML: file
names contain the version, and `part2`, `errata` or `part6`. Requirements that part 6 does not have for a case are
marked. What is cited and not in the text comes last, and makes the exit code 1.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any, Final, NamedTuple

from v2g_testkit.cases.report import chosen
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.run_judge import RULES
from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES

_ROW: Final = re.compile(r"<tr>\s*<td[^>]*>\s*([A-Z0]\d\d\.FR\.\d+)\s*(?:\([^)]*\))?\s*</td>(.*?)</tr>", re.DOTALL)
_CASE: Final = re.compile(
    r"<td>Test case name</td>\s*<td[^>]*>([^<]*)</td></tr>\s*<tr><td>Test case [Il]d</td>\s*<td[^>]*>([^<]*)</td>"
    r"(.*?)<td>Prerequisite",
    re.DOTALL,
)
_ID: Final = re.compile(r"[A-Z]\d\d\.FR\.\d+")


def texts_of(folder: Path, version: str) -> dict[str, str]:
    """Return the requirements of a version by their ids: precondition, then what is required."""
    found: dict[str, str] = {}
    files = [*sorted(folder.glob(f"*{version}*part2*.md")), *sorted(folder.glob(f"*{version}*errata*.md"))]
    for file in files:
        for name, cells in _ROW.findall(file.read_text(encoding="utf-8")):
            shown = " | ".join(each for each in re.findall(r"<td>(.*?)</td>", cells, re.DOTALL) if each)
            found.setdefault(name.replace("0", "O", 1) if name[0] == "0" else name, " ".join(unescape(shown).split()))
        for name in _ID.findall(file.read_text(encoding="utf-8")) if "errata" in file.name else ():
            found.setdefault(name, "is in the errata, in a table that cannot be read")
    return found


class Published(NamedTuple):
    """A case of part 6."""

    name: str
    purpose: str
    requirements: tuple[str, ...]


def published(folder: Path) -> dict[str, Published]:
    """Return the cases of part 6 by their ids; its text confuses 0 and O, and I and l."""
    found: dict[str, Published] = {}
    for file in sorted(folder.glob("*2.0.1*part6*.md")):
        for name, case, rest in _CASE.findall(file.read_text(encoding="utf-8")):
            cells = dict(re.findall(r"<td>(Requirement|Purpose)[^<]*</td><td[^>]*>(.*?)</td>", rest, re.DOTALL))
            shown = {key: " ".join(unescape(text).split()) for key, text in cells.items()}
            ids = re.findall(r"[A-Z0]\s?\d\d[._]\s?FR[._]\s?\d+", shown.get("Requirement", ""))
            plain = (re.sub(r"^0", "O", each.replace(" ", "").replace("_", ".")) for each in ids)
            known = Published(" ".join(unescape(name).split()), shown.get("Purpose", ""), tuple(plain))
            found[case.replace(" ", "").replace("TC_0_", "TC_O_")] = known
    return found


def missing(texts: dict[str, dict[str, str]]) -> Iterator[str]:
    """Yield what is cited of a version in whose text it is not."""
    for case in (*STATION_CASES, *CSMS_CASES):
        for version in case.versions:
            wrong = [each for each in case.requirements if _ID.fullmatch(each) and each not in texts[version]]
            if wrong and not (version == "2.0.1" and len(case.versions) == 2 and set(wrong) <= texts["2.1"].keys()):
                yield f"{case.id} ({version}): {', '.join(wrong)}"


def main(words: Sequence[str]) -> int:
    """Print cases and texts; return 1 if a citation is not in the text."""
    folder, only = Path(words[0]), words[1:]
    texts = {version: texts_of(folder, version) for version in ("2.0.1", "2.1")}
    there = published(folder)
    cases: list[Any] = chosen([*STATION_CASES, *CSMS_CASES, *RULES], only)
    for case in cases:
        print(f"\n{case.id}: {case.title}\n    {case.required}")  # noqa: T201 - it is what the script is for
        known = there.get(case.id)
        if known is not None:
            print(f"  part 6: {known.name}\n    {known.purpose}\n    {', '.join(known.requirements)}")  # noqa: T201
        for name in case.requirements:
            own = " (not in part 6)" if known is not None and name not in known.requirements else ""
            for version in getattr(case, "versions", ("2.0.1",)):
                print(f"  {name} ({version}){own}: {texts[version].get(name, 'NOT THERE')}")  # noqa: T201
    wrong = list(missing(texts))
    print("\n".join(["", "Cited, but not in the text:", *wrong]) if wrong else "\nEvery citation is in the text.")  # noqa: T201
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
