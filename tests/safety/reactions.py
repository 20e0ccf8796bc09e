"""Measures the reaction times of charger and vehicle as processes: `make reactions`. Each test of
`tests/safety/test_processes.py` runs on the machine as it is, with a process that calculates on each of its cores, and
with a charger that gets 5 % of a core; the figures go to `docs/reaction-times.toml`, from which
docs/explanation/safety.md takes its table.

The load of the machine (of the last minute) before each run is recorded: a run "idle" beside others says so.
"""

import argparse
import contextlib
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from docs.hazards import HOWS, TIMES, Run, processes, read_times

ROOT: Final = Path(__file__).parents[2]
LOST_S: Final = "0.1"
"""That of a real charger."""

WEAK: Final = {"V2G_SHARE": "0.05", "V2G_LOST_S": "1.0"}
"""A weak processor (R220): it is too slow for a board that waits 0.1 s."""

AHEAD: Final = 10
"""So much less nice is what is outside of the programs, where this user may: board and modules have processors of their
own at a real charger, and a board that is late fails its self-test."""

HEADER: Final = (
    "# Written by `make reactions`: seconds, as measured from outside of the programs. `load` is that of the machine "
    "before.\n"
)


@contextlib.contextmanager
def _busy(cores: int) -> Iterator[None]:
    """Keep so many cores busy."""
    burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(cores)]
    for each in burners:
        each.start()
    try:
        yield
    finally:
        for each in burners:
            each.kill()
            each.join()


def _burn() -> None:
    while True:
        pass


def _run(only: str, settings: Mapping[str, str]) -> dict[str, dict[str, list[float]]]:
    """Run the tests once; return what each has measured."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        ahead = os.geteuid() == 0
        command = [
            *(("nice", "-n", f"-{AHEAD}") if ahead else ()),
            sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "long or not long", "-k", only,
            "-o", "junit_family=xunit1", f"--junitxml={report}", "tests/safety/test_processes.py",
        ]  # fmt: skip
        environment = {**os.environ, "V2G_LOST_S": LOST_S, "V2G_NICE": str(AHEAD if ahead else 0)} | settings
        subprocess.run(command, cwd=ROOT, env=environment, check=False)
        for case in ElementTree.parse(report).iter("testcase"):
            name = re.sub(r"\[(\w+)-.*\]", r"[\1]", case.attrib["name"])
            for each in case.iter("property"):
                found[name][each.attrib["name"]].append(float(each.attrib["value"]))
    return found


def _measure(how: str, *, repeat: int, only: str) -> Run:
    load, seconds = os.getloadavg()[0], defaultdict(lambda: defaultdict(list))
    for _ in range(repeat):
        with _busy(os.cpu_count() or 1) if how == "busy" else contextlib.nullcontext():
            for name, measured in _run(only, WEAK if how == "weak" else {}).items():
                for what, values in measured.items():
                    seconds[name][what] += values
    return Run(
        date=datetime.now(UTC).date().isoformat(),
        cores=os.cpu_count() or 1,
        load=round(load, 1),
        runs=repeat,
        seconds={name: dict(each) for name, each in seconds.items()},
    )


def _text(runs: dict[str, Run]) -> str:
    lines = [HEADER]
    for name, run in sorted(runs.items(), reverse=True):
        lines.append(
            f'[{name}]\ndate = "{run.date}"\ncores = {run.cores}\nload = {_value(run.load)}\nruns = {run.runs}\n'
        )
        lines.append(f"[{name}.seconds]")
        for test, measured in sorted(run.seconds.items()):
            values = ", ".join(f"{what} = {each}" for what, each in measured.items())
            lines.append(f'"{test}" = {{ {values} }}')
        lines.append("")
    return "\n".join(lines)


def _value(load: float | str) -> str:
    return f'"{load}"' if isinstance(load, str) else str(load)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.safety.reactions", description=__doc__)
    parser.add_argument("--repeat", type=int, default=1, help="how often each test runs")
    parser.add_argument("--only", default="", help="tests with this in their name; the others keep their figures")
    parser.add_argument("--how", choices=(*HOWS, "all"), default="all")
    options = parser.parse_args()
    runs = dict(read_times()) if TIMES.exists() else {}
    for how in HOWS:
        if options.how in (how, "all"):
            if how != "busy" and os.getloadavg()[0] > 0.5:
                sys.stderr.write(f"the machine is not idle: its load is {os.getloadavg()[0]:.1f}\n")
            new, before = _measure(how, repeat=options.repeat, only=options.only), runs.get(how)
            if options.only and before is not None:
                new.seconds.update({name: each for name, each in before.seconds.items() if name not in new.seconds})
            runs[how] = new
            TIMES.write_text(_text(runs))
    missing = {
        f"{how}: {each.test}" for how, run in runs.items() for each in processes() if each.test not in run.seconds
    }
    sys.stderr.write(f"not measured: {', '.join(sorted(missing)) or 'nothing'}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
