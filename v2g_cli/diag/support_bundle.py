"""`v2g diag bundle`: what a report of a fault needs, without what is secret or about a person.

Everything is denied by default. Numbers, true, false and words that occur in the programs' own sources are kept; any
other text becomes a placeholder, `<1>`, the same one wherever it recurs, so that a reader can still follow it.
"""

import re
import shutil
import ssl
import stat
import subprocess
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module, util
from pathlib import Path
from typing import IO, Final

import msgspec

from v2g import typed_json
from v2g.config import parse_tree
from v2g.errors import V2GError
from v2g.io.http.client import request
from v2g.telemetry.privacy import without_vins
from v2g.version import VERSION
from v2g_cli.config import PROGRAMS
from v2g_cli.diag.prereq import checks, this_machine

LINES: Final = 5_000
"""So many of the last lines of each file."""
LONGEST: Final = 4_000
"""Characters of a line, octets of a message."""

_PACKAGES: Final = ("csms", "evcc", "pki_tools", "secc", "v2g", "v2g_cli", "v2g_gateway", "v2g_station", "v2g_testkit")
_UNITS: Final = ("v2g-secc.service", "v2g-csms.service", "v2g-telemetry.service")
_ASKED: Final = "ActiveState,SubState,Result,NRestarts,ExecMainStatus,MemoryCurrent,TasksCurrent"

_TOKEN: Final = re.compile(r"""[^\s"'`,;()\[\]{}<>=|]+""")
_PIECE: Final = re.compile(r"[^\W_]+")
_WORD: Final = re.compile(r"[^\W\d_][^\W_]*(?:\.[^\W_]+)*|[^\W_]+")
"""A piece, or several with points between: a module, `ocpp2.0.1`."""
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d:?\d\d)?)?|\d\d:\d\d:\d\d([.,]\d+)?")
_NUMBER: Final = re.compile(r"[+-]?\d{1,5}(\.\d+)?%?")
_SECRET: Final = re.compile(r"pass(word|wd|phrase)|secret|token|\bpin\b|_pin\b|psk|credential|api_?key", re.IGNORECASE)
_PLACE: Final = re.compile(r"lat(itude)?\b|lon(gitude)?\b|altitude|geo", re.IGNORECASE)


def own_words() -> frozenset[str]:
    """Return every word in the sources of the programs, in small letters: none of them is about a user."""
    words: set[str] = set()
    for package in _PACKAGES:
        spec = util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in Path(folder).rglob("*.py"):
                words.update(_WORD.findall(path.read_text(encoding="utf-8").lower().replace("_", " ")))
    return frozenset(piece for word in words for piece in (word, *word.split(".")))


class Scrubber:
    """Replaces what may be secret or about a person. One for a whole bundle: the same text is the same placeholder."""

    def __init__(self, words: frozenset[str]) -> None:
        """`words` are kept."""
        self._words = words
        self._secrets: set[str] = set()
        self._placeholders: dict[str, str] = {}

    def hide(self, secret: str) -> None:
        """Replace this text wherever it occurs, whatever its words are."""
        if len(secret) > 2:
            self._secrets.add(secret)

    def text(self, text: str) -> str:
        """Return a text without what has to go."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, " <hidden> ")
        return _TOKEN.sub(lambda found: self._token(found[0]), without_vins(text[:LONGEST]))

    def value(self, value: object, name: str = "") -> object:
        """Return a value of a document, whose key is `name`, and all that is in it."""
        match value:
            case Mapping():
                return {self.text(str(key)): self.value(each, str(key)) for key, each in value.items()}
            case list() | tuple():
                return [self.value(each, name) for each in value]
            case bool() | None:
                return value
            case _ if _SECRET.search(name) or _PLACE.search(name):
                return "<hidden>"
            case int() | float():
                return value
        return self.text(str(value))

    def _token(self, token: str) -> str:
        if "/" in token:
            return "/".join(map(self._token, token.split("/")))
        bare = token.rstrip(".:!?*-")
        if "::" in token or (bare.count(":") > 1 and not _TIME.fullmatch(bare)):  # an address, whatever its pieces are
            bare = token
        elif not bare or self._is_plain(bare):
            return token
        if _NUMBER.fullmatch(bare):
            return f"{float(bare.rstrip('%')):.1f}{token[len(bare) :]}"  # no position by its decimals
        return self._placeholders.setdefault(bare, f"<{len(self._placeholders) + 1}>") + token[len(bare) :]

    def _is_plain(self, token: str) -> bool:
        if _TIME.fullmatch(token) or (token.lower() in self._words and not token.isdigit()):
            return True
        if _NUMBER.fullmatch(token):
            return len(token.partition(".")[2]) <= 1
        pieces = _PIECE.findall(token)
        numbers = sum(each.isdigit() for each in pieces)
        if numbers > 1 or (len(pieces) >= 4 and max(map(len, pieces)) <= 2):  # addresses, numbers of cards
            return False
        return all(len(each) <= 5 if each.isdigit() else each.lower() in self._words for each in pieces)


def secrets_in(document: object, name: str = "") -> Iterator[str]:
    """Yield each text of a configuration whose key says that it is secret."""
    match document:
        case Mapping():
            for key, value in document.items():
                yield from secrets_in(value, str(key))
        case list() | tuple():
            for each in document:
                yield from secrets_in(each, name)
        case str() if _SECRET.search(name):
            yield document


def files_in(document: object, folder: Path, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield each file that a configuration in `folder` names, by its dotted key: whether it exists, mode and size."""
    match document:
        case Mapping():
            for name, value in document.items():
                yield from files_in(value, folder, f"{key}.{name}".strip("."))
        case list() | tuple():
            for place, each in enumerate(document):
                yield from files_in(each, folder, f"{key}.{place}")
        case str() if "/" in document and "://" not in document and len(document) < LONGEST:
            try:
                found = (folder / document).stat()
                yield key, f"mode {stat.S_IMODE(found.st_mode):04o}, {found.st_size} octets"
            except (OSError, ValueError) as error:
                yield key, getattr(error, "strerror", "") or "no path"


def write(
    out: IO[bytes],
    configs: Sequence[tuple[str, Path]],
    files: Sequence[Path],
    answers: Mapping[str, str],
    scrubber: Scrubber,
) -> list[str]:
    """Write a ZIP archive; return the names of its members.

    `configs` are programs with their configuration files, `files` further events and logs, `answers` those of health
    checks by member. What cannot be read is a line in its member.
    """
    read = {program: _document(path) for program, path in configs}
    for document in read.values():
        for secret in secrets_in(document):
            scrubber.hide(secret)
    members: dict[str, str] = {"machine.json": _json({"v2g-engine": VERSION, "checks": list(checks(this_machine()))})}
    written = {path.resolve(): path.name for path in files}
    for program, path in configs:
        document = read[program]
        members[f"{program}.config.json"] = _json(scrubber.value(document))
        members[f"{program}.files.json"] = _json(dict(files_in(document, path.parent)))
        members[f"{program}.check.txt"] = "".join(f"{scrubber.text(each)}\n" for each in _flaws(program, path))
        for key, name in (("events", f"{program}.events.jsonl"), ("file", f"{program}.log")):
            match document:
                case {"log": dict(log)} if isinstance(file := log.get(key), str):
                    written[(path.parent / file).resolve()] = name
    for path, name in written.items():
        while name in members:  # of two runs
            name = f"other-{name}"
        members[name] = "".join(f"{_scrubbed(line, scrubber)}\n" for line in _last(path))
    members |= {name: f"{_scrubbed(answer, scrubber)}\n" for name, answer in answers.items()}
    for unit in _UNITS:
        if state := _asked("systemctl", "show", unit, f"--property={_ASKED}"):
            members[f"{unit}.txt"] = scrubber.text(state)
            journal = _asked("journalctl", "-u", unit, "-n", str(LINES), "-o", "short-iso", "--no-hostname")
            members[f"{unit}.log"] = "".join(f"{scrubber.text(line)}\n" for line in journal.splitlines())
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return list(members)


async def answer_of(url: str) -> str:
    """Return what a program answers to a health check, or why it does not. Nothing secret is sent or kept, so that any
    certificate will do."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        answer = await request("GET", url, most=1 << 20, timeout_s=5, context=context)
    except V2GError as error:
        return str(error)
    return answer.body.decode(errors="replace")


def _document(path: Path) -> object:
    try:
        return parse_tree(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, V2GError) as error:
        return {"unreadable": str(error)}


def _flaws(program: str, path: Path) -> Iterator[str]:
    """Yield what `--check-config` finds."""
    try:
        for each in import_module(PROGRAMS[program][0]).check_config(path.read_text(encoding="utf-8"), name=str(path)):
            yield str(each)
    except (OSError, UnicodeDecodeError, V2GError) as error:
        yield str(error)


def _scrubbed(line: str, scrubber: Scrubber) -> str:
    """Return a line without what has to go: of JSON an object, any other one as text."""
    try:
        return msgspec.json.encode(scrubber.value(typed_json.decode(line, dict[str, object]))).decode()
    except (msgspec.DecodeError, RecursionError):
        return scrubber.text(line)


def _last(path: Path) -> Sequence[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LINES * LONGEST))
            lines = deque(file, LINES)
    except OSError as error:
        return (f"{error.strerror}",)
    if any(b"\0" in line for line in lines):
        return ("not text, such as a recording or a compressed log: left out, as its identifiers cannot be replaced",)
    return [line.decode(errors="replace").rstrip("\n") for line in lines]


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _asked(*command: str) -> str:
    """Return what a command of the system prints; nothing where there is no such command or service."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, check=False, timeout=30, text=True, errors="replace")
    return done.stdout if done.returncode == 0 else ""
