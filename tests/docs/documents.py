"""Reads the documentation: pages, and the commands in them.

Commands stand in blocks marked `console`, each after `$ `; what follows until the next one is its output. A
command with the comment `# wait until FILE has WORD` runs on until the document ends; the next one waits until FILE
says WORD. It ends in `&`, or is for a terminal of its own. Before a block a hidden comment says what else a test has to
know:

- `<!-- not run: REASON -->`: the block is not for tests; `changes the machine`: on a machine of its own it is.
- `<!-- exit: N -->`: the last command of the block ends with that code; every other one ends with 0.
- `<!-- file: NAME -->` before a block of any other language: its text is a file of that name.
- `<!-- first: PAGE.md HEADING -->` anywhere: the reader has followed that section of that page of docs/ before.
"""

import re
import shlex
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).resolve().parents[2]

CHANGES: Final = "not run: changes the machine"

WAIT: Final = "   # wait until "
"""Behind a command that runs on, before what shows that it is ready."""

_FENCE: Final = re.compile(
    r"^<!-- first: (?P<page>\S+) (?P<heading>[^>]+) -->$|"
    r"(?:<!-- (?P<note>[^>]*?) -->\n+)?^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)

_MADE: Final = re.compile(r"^<!-- (?:generated: |attacks, ).*?^<!-- end[^>]*-->", re.DOTALL | re.MULTILINE)
"""What a test compares with the code."""


class Command(msgspec.Struct, frozen=True):
    """One command: its text, the code it ends with, the output shown below it."""

    text: str
    exit_code: int = 0
    output: tuple[str, ...] = ()
    ready: tuple[str, str] | None = None
    """(file, word) of a command that runs on in the background."""


class File(msgspec.Struct, frozen=True):
    """A file that the reader is asked to write."""

    name: str
    text: str


Step = Command | File


def pages() -> list[Path]:
    """Return README and every page of docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def words(page: Path) -> int:
    """Return how many words of a page were written by hand: without blocks of code, comments and table bars."""
    text = _MADE.sub("", page.read_text())
    return len(re.sub(r"^ *```.*?^ *```$|<!--.*?-->|\||-{3,}", " ", text, flags=re.DOTALL | re.MULTILINE).split())


def blocks(text: str, language: str) -> list[str]:
    """Return what stands in blocks of one language, but for those that are not to be run."""
    found = [block for block in _FENCE.finditer(text) if block["language"] == language]
    return [block["body"] for block in found if not (block["note"] or "").startswith("not run:")]


def steps(text: str, *, own_machine: bool = False) -> list[Step]:
    """Return what a page asks its reader to do, in order; on a machine of its own also what changes it."""
    found: list[Step] = []
    for block in _FENCE.finditer(text):
        if block["page"]:
            found += steps(section((ROOT / "docs" / block["page"]).read_text(), block["heading"]))
            continue
        note = block["note"] or ""
        body = re.sub(rf"^{block['indent']}", "", block["body"], flags=re.MULTILINE)
        if note.startswith("not run:") and not (own_machine and note == CHANGES):
            continue
        if block["language"] == "console":
            found += commands(body, note)
        elif note.startswith("file:"):
            found.append(File(note.removeprefix("file:").strip(), body))
    return found


def section(text: str, heading: str) -> str:
    """Return the section of a page below a heading of the second level."""
    [found] = [each for each in re.split(r"^## ", text, flags=re.MULTILINE)[1:] if each.startswith(f"{heading}\n")]
    return found


def commands(body: str, note: str) -> list[Command]:
    """Return the commands of one block."""
    parts: list[tuple[list[str], list[str]]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            parts.append(([line[2:]], []))
        elif parts and not parts[-1][1] and _goes_on("\n".join(parts[-1][0])):
            parts[-1][0].append(line)
        elif parts and line.strip():
            parts[-1][1].append(line)
    exit_code = int(note.removeprefix("exit:")) if note.startswith("exit:") else 0
    found = []
    for number, (lines, output) in enumerate(parts, 1):
        text, _, after = "\n".join(lines).partition(WAIT)
        ready = after.split(" has ") if after else None
        code = exit_code if number == len(parts) else 0
        text = text.removesuffix(" &") if ready else text
        found.append(Command(text, code, tuple(output), (ready[0], ready[1]) if ready else None))
    return found


def _goes_on(text: str) -> bool:
    """Say whether a shell would wait for the next line of a command."""
    try:
        shlex.split(text)
    except ValueError:  # a quotation is open, or the last character is a backslash
        return True
    return False
