"""The style that all pages share: colours exist and can be read in both schemes, and a page in one file is whole."""

import re
import xml.etree.ElementTree as ET
from itertools import product
from pathlib import Path

import pytest

from v2g.look import LOOK, document

ROOT = Path(__file__).parent.parent
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#\w+);", part)) for part in LOOK.split("* { box-sizing")[0].split("@media")
)
PAGES = [
    each
    for top in ("v2g", "v2g_cli")
    for each in (ROOT / top).rglob("*")
    if each.suffix in (".py", ".css", ".js", ".html") and "-" not in each.name
]


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2.2) of a colour."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * each for each in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2.2)."""
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_every_colour_of_a_page_is_one_of_both_schemes() -> None:
    assert LIGHT.keys() == DARK.keys()
    used = {name for file in PAGES for name in re.findall(r"var\(--([\w-]+)\)", file.read_text("utf-8"))}
    scripts = [file.read_text("utf-8") for file in PAGES if file.suffix == ".js"]
    assert used | {name for text in scripts for name in re.findall(r'"--(\w+)"', text)} == LIGHT.keys()


CONSOLE = ROOT / "csms/console"
TOKENS = (CONSOLE / "static/console.css").read_text("utf-8")
DAY, NIGHT = (
    dict(re.findall(r"--([\w-]+): (#\w+);", part)) for part in TOKENS.split("* { box-sizing")[0].split("@media")
)


def test_the_console_has_each_colour_in_both_schemes_uses_it_and_stays_small() -> None:
    assert DAY.keys() == NIGHT.keys()
    files = [each for each in CONSOLE.rglob("*") if each.suffix in (".css", ".js", ".svg") and "-1." not in each.name]
    used = {name for each in files for name in re.findall(r"--([\w-]+)\b", each.read_text("utf-8"))}
    assert DAY.keys() - used == set()
    assert {name for name in used if re.search(r"var\(--" + name + r"\)", TOKENS)} - DAY.keys() <= {
        *(f"t{number}" for number in range(1, 7)),
        *(f"s{number}" for number in range(1, 8)),
    }
    assert len(TOKENS.encode()) <= 32_000
    assert len((CONSOLE / "static/console.js").read_bytes()) <= 14_000


@pytest.mark.parametrize("scheme", [DAY, NIGHT], ids=["light", "dark"])
def test_text_of_the_console_can_be_read_on_every_ground(scheme: dict[str, str]) -> None:
    texts, grounds = ("ink", "dim", "import", "export", "crit", "warn"), ("ground", "sheet")
    pairs = [*product(texts, grounds), ("ink", "sunk"), ("dim", "sunk"), ("on", "import"), ("on", "export")]
    pairs += [(tone, f"{tone}-2") for tone in ("import", "export", "crit", "warn")]
    assert {pair: found for pair in pairs if (found := contrast(*map(scheme.__getitem__, pair))) < 4.5} == {}


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_on_every_ground(scheme: dict[str, str]) -> None:
    texts, grounds = ("ink", "dim", "link", "good", "busy", "bad", "warn", "in", "out", "plum"), ("ground", "card")
    pairs = [*product(texts, grounds), ("ink", "dull-bg"), ("dim", "dull-bg"), ("bad", "dull-bg")]
    pairs += [
        pair for tone in ("good", "busy", "bad", "warn") for pair in ((tone, f"{tone}-bg"), ("ink", f"{tone}-bg"))
    ]
    assert {pair: found for pair in pairs if (found := contrast(*map(scheme.__getitem__, pair))) < 4.5} == {}


def test_a_page_is_whole_in_one_file_and_loads_nothing() -> None:
    page = document("<b>&", "<p>x</p>", style="p{color:var(--ink)}", script="if (1 < 2 && 3) {}\n", language="de")
    root = ET.fromstring(page)
    here = "{http://www.w3.org/1999/xhtml}"
    assert (root.get("lang"), root.findtext(f"{here}head/{here}title")) == ("de", "<b>&")
    assert "1 < 2 && 3" in str(root.findtext(f"{here}body/{here}script"))
    assert not re.search(r"url\(|@import|src=|href=", page)
    assert "<script" not in document("", "")
