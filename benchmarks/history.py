"""`python -m benchmarks.history`: append the cost of this state to `benchmarks/history.jsonl`, in units of a fixed
workload that is measured between the runs, so that states measured on different machines can be compared."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from benchmarks import compare
from benchmarks.figures import machine, median, run_command
from benchmarks.session import Run, run_own
from v2g.svg_chart import Row, Series, stairs_chart
from v2g_cli.output import print_table

FILE: Final = Path(__file__).with_name("history.jsonl")
RUNS: Final = 5


class Landing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cost of one state of the code: CPU time of a session of the demo in units of `reference`, peak memory in MiB.

    `revision` is the commit that the working tree was based on; `utc` when it was measured (ISO 8601)."""

    revision: str
    utc: str
    machine: str
    reference_s: float
    charger_and_vehicle: float
    back_end: float
    charger_mib: float
    vehicle_mib: float


def reference() -> float:
    """Return the CPU time (s) of a fixed workload of the kinds that dominate the programs: interpreted loops, small
    objects, dictionaries, JSON and hashing. Never change it: all figures of the history are in its units."""
    start = time.process_time()
    counts: dict[str, int] = {}
    digest = hashlib.sha256()
    for number in range(600_000):
        key = f"k{number * 7919 % 1009}"
        counts[key] = counts.get(key, 0) + (number ^ (number >> 3)) % 17
        if number % 20 == 0:
            text = json.dumps({"seq": number, "key": key, "values": [number, counts[key], number / 3]})
            digest.update(text.encode())
            counts[key] += len(json.loads(text)["values"])
    for _ in range(400):
        digest.update(bytes(100_000))
    assert digest.hexdigest()
    return time.process_time() - start


def measure(runs: int = RUNS, checkout: Path | None = None) -> Landing:
    """Return the cost of the working tree, or of another checkout: medians of `runs` sessions, after one that is not
    counted."""
    run_own(quick=False, checkout=checkout)
    units, sessions = [reference()], list[Run]()
    for _ in range(runs):
        sessions.append(run_own(quick=False, checkout=checkout))
        units.append(reference())
    unit = median(units)
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    revision = subprocess.run(command, capture_output=True, text=True, cwd=checkout or FILE.parent)
    return Landing(
        revision=revision.stdout.strip(),
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        reference_s=round(unit, 4),
        charger_and_vehicle=round(median(each.cpu_s for each in sessions) / unit, 1),
        back_end=round(median(each.csms_cpu_s for each in sessions) / unit, 1),
        charger_mib=median(each.secc_mib for each in sessions),
        vehicle_mib=median(each.evcc_mib for each in sessions),
    )


def landings(file: Path = FILE) -> list[Landing]:
    """Return what was recorded, oldest first."""
    return [msgspec.json.decode(line, type=Landing) for line in file.read_bytes().splitlines()]


def chart(found: Sequence[Landing]) -> str:
    """Return the picture of the history (SVG): each state's cost from its landing until the next one."""
    edges = [round(datetime.fromisoformat(each.utc).timestamp() * 1000) for each in found]
    edges.append(edges[-1] + max(3_600_000, edges[-1] - edges[0]) // 8)
    return stairs_chart(
        "Cost of a session by landing",
        edges,
        [
            Row(
                "CPU, units of the reference workload",
                (
                    Series("blue", "charger and vehicle", [each.charger_and_vehicle for each in found]),
                    Series("orange", "back end", [each.back_end for each in found]),
                ),
            ),
            Row(
                "peak memory, MiB",
                (
                    Series("blue", "charger", [each.charger_mib for each in found]),
                    Series("green", "vehicle", [each.vehicle_mib for each in found]),
                ),
            ),
        ],
    )


def run(
    runs: Annotated[int, typer.Option(min=1, max=100, help="Counted sessions.")] = RUNS,
    revision: Annotated[str, typer.Option(help="Measure this revision instead of the working tree.")] = "",
    show: Annotated[bool, typer.Option("--show", help="Print the history, and measure nothing.")] = False,
) -> None:
    """Measure this state and append it to the history.

    Examples: `python -m benchmarks.history`, `python -m benchmarks.history --revision v0.2.0`, `... --show`
    """
    if not show:
        sys.stderr.write(f"measuring {runs + 1} sessions of the demo ...\n")
        with FILE.open("ab") as file:
            landing = measure(runs, compare.checkout(revision) if revision else None)
            file.write(msgspec.json.encode(landing) + b"\n")
    print_table(
        "Cost of a session by landing, CPU in units of the reference workload",
        ("revision", "measured", "charger and vehicle", "back end", "charger MiB", "vehicle MiB", "unit s"),
        (
            (
                each.revision, each.utc, f"{each.charger_and_vehicle:.1f}", f"{each.back_end:.1f}",
                f"{each.charger_mib:.0f}", f"{each.vehicle_mib:.0f}", f"{each.reference_s:.3f}",
            )
            for each in landings()
        ),
    )  # fmt: skip


if __name__ == "__main__":
    run_command(run)
