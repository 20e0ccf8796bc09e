"""Results of a benchmark, sampling, and output of figures."""

import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from v2g.errors import V2GError

TICKS: Final = os.sysconf("SC_CLK_TCK")
"""Units of CPU in a second, as the kernel counts them."""


class Figure(msgspec.Struct, frozen=True):
    """One measured figure; smaller is better.

    `value` and `peer_value` are in `unit`; `target` is the upper limit of `value`. If a peer exists but its value is
    missing, `note` has the reason. `name` is the benchmark's, set by `python -m benchmarks`.
    """

    figure: str
    value: float
    unit: str
    target: float | None = None
    peer: str = ""
    peer_value: float | None = None
    note: str = ""
    name: str = ""


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def median(values: Iterable[float]) -> float:
    """Return the 50th percentile."""
    return percentile(values, 0.5)


def microseconds(call: Callable[[], object], *, calls: int) -> list[float]:
    """Return the duration of each of `calls` calls, µs, after a tenth as many for warm-up."""
    clock = time.perf_counter_ns
    for _ in range(max(1, calls // 10)):
        call()
    spans = []
    for _ in range(calls):
        start = clock()
        call()
        spans.append((clock() - start) / 1000)
    return spans


def cpu_s(pid: int) -> float:
    """Return the CPU used by a running process, user and system, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def machine() -> str:
    """Return the machine of the measurement, and its load before."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{len(os.sched_getaffinity(0))} cores of {model}, {platform.system()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def digits(value: float | None) -> str:
    """Return a number with three significant digits."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _row(figure: Figure) -> tuple[str, ...]:
    ours = f"{digits(figure.value)} {figure.unit}"
    target = "" if figure.target is None else f"< {digits(figure.target)} {figure.unit}"
    if figure.target is not None and figure.value >= figure.target:
        target += " missed"
    theirs = "" if figure.peer_value is None else f"{digits(figure.peer_value)} {figure.unit}"
    return figure.figure, ours, target, theirs, figure.peer, figure.note


COLUMNS = ("figure", "ours", "target", "peer's", "peer", "note")


def show(name: str, about: str, figures: Sequence[Figure]) -> None:
    """Print the figures of one benchmark: a table on a terminal, else tab-separated lines."""
    rows = [_row(figure) for figure in figures]
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join((name, *row)).rstrip() + "\n")
        sys.stdout.flush()
        return
    table = Table(title=f"{name}: {about}", title_justify="left", header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in ("ours", "peer's") else "left", overflow="fold")
    for row in rows:
        missed = row[2].endswith("missed")
        table.add_row(*row, style="red" if missed else None)
    Console().print(table)


def run_command(command: Callable[..., None]) -> None:
    """Run a command of this package; an error of ours is reported as one line and its hint."""
    try:
        typer.run(command)
    except V2GError as error:
        sys.stderr.write(f"benchmarks: {error}\n" + (f"     {error.hint}\n" if error.hint else ""))
        sys.exit(error.exit_code)
