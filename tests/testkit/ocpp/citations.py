"""Shows each case of the OCPP lab beside the text of the requirements that it cites, where the text is at hand.

    python -m tests.testkit.ocpp.citations FOLDER [PART OF AN ID ...]

FOLDER has OCPP part 2 of 2.0.1 and 2.1, and their errata, as Markdown with tables in HTML: file names contain the
version, and `part2` or `errata`. What is cited and not in the text comes last, and makes the exit code 1.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import Any, Final

from v2g_testkit.cases.report import chosen
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.run_judge import RULES
from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES

_ROW: Final = re.compile(r"<tr>\s*<td[^>]*>\s*([A-Z0]\d\d\.FR\.\d+)\s*(?:\([^)]*\))?\s*</td>(.*?)</tr>", re.DOTALL)
_ID: Final = re.compile(r"[A-Z]\d\d\.FR\.\d+")


def texts_of(folder: Path, version: str) -> dict[str, str]:
    """Return the requirements of a version by their ids: precondition, then what is required."""
    found: dict[str, str] = {}
    files = [*sorted(folder.glob(f"*{version}*part2*.md")), *sorted(folder.glob(f"*{version}*errata*.md"))]
    for file in files:
        for name, cells in _ROW.findall(file.read_text(encoding="utf-8")):
            shown = " | ".join(each for each in re.findall(r"<td>(.*?)</td>", cells, re.DOTALL) if each)
            found.setdefault(name.replace("0", "O", 1) if name[0] == "0" else name, " ".join(unescape(shown).split()))
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
    cases: list[Any] = chosen([*STATION_CASES, *CSMS_CASES, *RULES], only)
    for case in cases:
        print(f"\n{case.id}: {case.title}\n    {case.required}")  # noqa: T201 - it is what the script is for
        for name in case.requirements:
            for version in getattr(case, "versions", ("2.0.1",)):
                print(f"  {name} ({version}): {texts[version].get(name, 'NOT THERE')}")  # noqa: T201
    wrong = list(missing(texts))
    print("\n".join(["", "Cited, but not in the text:", *wrong]) if wrong else "\nEvery citation is in the text.")  # noqa: T201
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
