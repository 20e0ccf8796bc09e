"""Which modules of the product import which, also inside functions or for types only."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("v2g", "v2g_station", "v2g_testkit", "v2g_gateway", "v2g_cli", "secc", "evcc", "csms", "benchmarks", "docs")

_IMPORT = re.compile(r"^ *(?:from ([\w.]+) import (?:\(([^)]*)\)|(.*))|import (.*)) *$", re.MULTILINE)
"""Read as text: parsing a thousand modules takes eight seconds."""


def sources() -> dict[str, str]:
    """Return the text of every module by its name."""
    found = {}
    for folder in (*(ROOT / name for name in FOLDERS), ROOT / "pki-tools" / "pki_tools"):
        for file in folder.rglob("*.py"):
            found[".".join(file.relative_to(folder.parent).with_suffix("").parts)] = file.read_text()
    return found


def imports(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which of the modules each of them imports."""
    return {name: {each for each in imported(text, modules) if each != name} for name, text in modules.items()}


def imported(text: str, modules: Mapping[str, str]) -> Iterator[str]:
    """Yield which of the modules a text imports; an empty name for each other import."""
    for package, several, one, whole in _IMPORT.findall(re.sub(r" #.*", "", text)):
        for name in re.findall(r"([\w.]+)(?: as \w+)?", several or one or whole):
            places = (f"{package}.{name}", package) if package else (name,)
            yield next((file for place in places for file in (place, f"{place}.__init__") if file in modules), "")
