"""`make verify`: everything, in parts of at most 20 minutes on two idle cores: `python -m tests.verify --list`.

A part runs commands. Where there is too much for 20 minutes, a part takes every Nth case, and others with each pass
(`--turn`), so that N passes take all. What passed, and on which commit, is in `passed.json`, which is
committed: a part that passed longest ago comes first. `--failed` ends a part of which only some tests failed: it
runs those and what came after them, on the commit that mends them.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from tests.repeats import REPEATABLE

ROOT: Final = Path(__file__).resolve().parents[2]
LEDGER: Final = ROOT / "tests" / "verify" / "passed.json"
FAILURES: Final = ROOT / ".cache" / "verify"
STALE: Final = 100
"""Commits after which a part should run again."""

_LONG: Final = "long and not interop and not hours"
PYTEST: Final = ".venv/bin/pytest"
FAILED: Final = ("--workers", "0", "--last-failed", "--last-failed-no-failures", "none", "-m", "", "--share", "1")
"""Without the part's share: pytest collects only what failed, and counting that would leave some of it out."""
ALONE: Final = (*FAILED, "--maxfail", "2", "--repeated")
_OF_MAKE: Final = frozenset({"ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MINUTES", "PART"})
"""What `make verify` was given: a part's own `make` would take it, too, as `--failed` for its pytest."""
ENVIRONMENT: Final = {"V2G_EXAMPLES": "100", "V2G_WORLDS": "300", "V2G_KILLS": "100", "CHAOS_SECONDS": "120"}


class Part(msgspec.Struct, frozen=True):
    """Commands that pass or fail together. `{turn}` is the number of the pass, modulo `turns`."""

    about: str
    commands: tuple[str, ...]
    turns: int = 1
    folders: tuple[str, ...] = ()
    """What `_long` runs of it, for the test that nothing is left out."""


def _long(about: str, turns: int, *folders: str) -> Part:
    """Return a part of tests marked `long`."""
    share = f" --share {turns} --turn {{turn}}" if turns > 1 else ""
    command = f'{PYTEST} --workers 4 -m "{_LONG}"{share} {" ".join(folders)}'
    return Part(about, (command,), turns, folders)


PARTS: Final[Mapping[str, Part]] = {
    "test": Part("what runs for every change", ("make test",)),
    "walks": _long("judged walks of charger and vehicle", 24, "tests/safety"),
    "lab": _long("the conformance lab, and devices with faults", 6, "tests/testkit"),
    "sessions": _long(
        "sessions of all editions, state by message", 6, "tests/evcc", "tests/iec61851", "tests/iso15118", "tests/secc",
        "tests/sessions", "tests/slac",
    ),
    "back-end": _long("the back end on all databases, with kills", 4, "tests/csms"),
    "programs": _long("programs that are killed, and the demo's scenarios", 4, "tests/e2e"),
    "commands": _long(
        "commands, documents, gateway, telemetry, batteries", 2, "tests/battery", "tests/benchmarks", "tests/cli",
        "tests/docs", "tests/gateway", "tests/telemetry",
    ),
    "protocols": _long(
        "codecs, links, keys, stations", 4, "tests/asn1", "tests/energy", "tests/exi", "tests/fuzz", "tests/hardware",
        "tests/ieee2030_5", "tests/interop", "tests/io", "tests/mutants", "tests/ocpi", "tests/ocpp", "tests/openadr",
        "tests/ota", "tests/pki", "tests/pki_tools", "tests/station", "tests/translate", "tests/test_*.py",
    ),
    "interop": Part(
        "every EXI message type, and independent peers",
        (f'{PYTEST} --workers 2 -m "interop" --share 5 --turn {{turn}}',),
        5,
    ),
    "machines": Part(
        "packages, services, control board, console in a browser",  # the first installs what tests of packages need
        ("make package", f'{PYTEST} --workers 2 -m "{_LONG}" tests/deploy tests/board tests/browser'),
        folders=("tests/deploy", "tests/board", "tests/browser"),
    ),
    "first-day": Part(  # as `make first-day`, so that one of its tests can end it
        "what users type first, in Debians that boot",
        ("make .venv/release", f"{PYTEST} -rs -m long tests/deploy/test_first_day.py"),
    ),
    "mutants": Part(  # of an eighth of the modules: the tests of all take longer, without a mutant
        "changes that a test must notice",
        (".venv/bin/python -m tests.mutants --modules 8 --share 10 --turn {turn}",),
        80,
    ),
    "faults": Part("bad networks, detectors on Flink", ("make chaos", "make stream")),
    "fuzz": Part("broken input for every parser", ("make fuzz FUZZ_SECONDS=5",)),
    "figures": Part("benchmarks in short, reaction times", (".venv/bin/python -m benchmarks --quick",)),
}  # fmt: skip


class Failure(msgspec.Struct, frozen=True):
    """Which command of a part had failed tests, with which pass, after how many minutes of the whole part."""

    command: int
    turn: int
    minutes: float


class Pass(msgspec.Struct, frozen=True):
    """The last time that a part passed: on a commit, at a time (ISO 8601), in minutes; `number` counts all passes."""

    commit: str
    at: str
    minutes: float
    number: int


def read() -> dict[str, Pass]:
    """Return the last pass of each part that has passed."""
    return msgspec.json.decode(LEDGER.read_bytes(), type=dict[str, Pass]) if LEDGER.exists() else {}


def note(name: str, minutes: float) -> None:
    """Note that a part has passed on this commit."""
    passed = read()
    number = passed[name].number + 1 if name in passed else 1
    at = datetime.now(UTC).isoformat(timespec="minutes")
    passed[name] = Pass(_git("rev-parse", "--short=12", "HEAD"), at, round(minutes, 1), number)
    LEDGER.write_bytes(msgspec.json.format(msgspec.json.encode(dict(sorted(passed.items()))), indent=2) + b"\n")


def commits_since(commit: str) -> int | None:
    """Return how many commits came after one; None if this history does not have it."""
    count = _git("rev-list", "--count", f"{commit}..HEAD")
    return int(count) if count else None


def ages(passed: Mapping[str, Pass]) -> dict[str, int | None]:
    """Return how many commits ago each part passed, the oldest first; None for never, or nobody knows."""
    found = {name: commits_since(passed[name].commit) if name in passed else None for name in PARTS}
    return dict(sorted(found.items(), key=lambda each: (each[1] is not None, -(each[1] or 0))))


def stale(found: Mapping[str, int | None]) -> list[str]:
    """Return a line for each part that should run again."""
    return [
        f"make verify PART={name}: {'it never passed' if age is None else f'it passed {age} commits ago'}"
        for name, age in found.items()
        if age is None or age > STALE
    ]


def run(name: str, *, failed: bool = False) -> bool:
    """Run a part, or what is left of it since tests failed; return whether it passed, which is noted then."""
    part, began, passed, kept = PARTS[name], time.monotonic(), read(), FAILURES / f"{name}.json"
    last = Failure(0, (passed[name].number if name in passed else 0) % part.turns, 0)
    if failed:
        if not kept.exists():
            print(f"{name}: no tests of it have failed here: run it whole", flush=True)
            return False
        last = msgspec.json.decode(kept.read_bytes(), type=Failure)
    kept.unlink(missing_ok=True)
    for index, command in enumerate(part.commands[last.command :], last.command):
        words = split(command.format(turn=last.turn))
        if command.startswith(PYTEST):  # what else runs here would overwrite which of its tests have failed
            words += ("-o", f"cache_dir={kept.with_suffix('')}")
        code = execute([*words, *FAILED] if failed and index == last.command and command.startswith(PYTEST) else words)
        if code == REPEATABLE:  # nothing failed but tests of programs, which the machine may have delayed
            code = execute([*words, *ALONE])
        minutes = last.minutes + (time.monotonic() - began) / 60
        if code:
            print(f"{name}: failed, exit code {code}", flush=True)
            if code in (1, REPEATABLE) or not command.startswith(PYTEST):  # other codes: tests that have not run
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(msgspec.json.encode(Failure(index, last.turn, minutes)))
            return False
    print(f"{name}: passed in {minutes:.1f} minutes", flush=True)
    note(name, minutes)
    return True


def split(command: str) -> list[str]:
    """Return the words of a command; `*` in one stands for files, as no shell expands it."""
    return [
        name
        for word in shlex.split(command)
        for name in (sorted(str(each.relative_to(ROOT)) for each in ROOT.glob(word)) if "*" in word else [word])
    ]


def execute(words: Sequence[str]) -> int:
    print(shlex.join(words), flush=True)
    ours = {name: text for name, text in os.environ.items() if name not in _OF_MAKE}
    return subprocess.run(words, cwd=ROOT, env=ours | ENVIRONMENT, check=False).returncode


def _git(*words: str) -> str:
    return subprocess.run(("git", *words), cwd=ROOT, capture_output=True, check=False, text=True).stdout.strip()


def main(arguments: Sequence[str]) -> int:
    """See the module. Exit code 1 if a part failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.verify", description="Everything, in parts.")
    parser.add_argument("part", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; all without")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no part after so many minutes")
    parser.add_argument("--failed", action="store_true", help="run what failed last of a part, and what came after")
    parser.add_argument("--list", action="store_true", help="list the parts, and when each passed")
    parser.add_argument("--stale", action="store_true", help="name parts that passed too long ago, and run none")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.part) - set(PARTS)):
        parser.error(f"no such part: {', '.join(unknown)}")
    passed, began = read(), time.monotonic()
    found = ages(passed)
    if options.stale:
        print("\n".join(stale(found)))
        return 0
    if options.list:
        for name, part in PARTS.items():
            last = passed.get(name)
            when = (
                f"{last.at}, {last.commit}, {last.minutes} min, pass {last.number} of {part.turns}" if last else "never"
            )
            print(f"{name:10} {part.about}: {when}")
        return 0
    failed = []
    for name in options.part or found:
        if (time.monotonic() - began) / 60 >= options.minutes:
            print(f"{name}: not begun, {options.minutes:g} minutes are over")
        elif not run(name, failed=options.failed):
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all that ran passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
