"""A crowd: all vehicles of a large charger arrive within a second, charge, and leave within a second.

Charger and vehicles as in `benchmarks.charging`, each on one core: the charger with sessions, limits, meters, journals,
safety and settlement. A response time is measured at the vehicle, which ends its session when one exceeds its limit.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks import charging
from benchmarks.figures import Figure, median, percentile
from benchmarks.history import reference
from v2g.iso15118.d20.timing import MESSAGES

ABOUT = "vehicles that arrive and leave within a second, also on a slow disk: sessions lost, response times and limits"
REQUIREMENTS = ("R175", "R220")

CROWD_S: Final = 1.0
CHARGE_S: Final = 3.0
SLOW_DISK_S: Final = 0.01
"""What each fsync takes longer in a second run: as with a memory card, or a disk of many virtual machines."""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield lost sessions, the charger's CPU time, and the response time of each message beside its limit."""
    vehicles = 3 if quick else charging.VEHICLES
    for slow_s in (0.0, SLOW_DISK_S):
        unit_s = reference()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            disk = f"load {os.getloadavg()[0]:.1f}, fsync {_sync_ms(folder) + 1000 * slow_s:.1f} ms"
            seconds = 1.0 if quick else CHARGE_S
            load = charging.many(folder, vehicles, seconds, crowd_s=CROWD_S, slow_disk_s=slow_s)
        yield from _figures(load, vehicles, disk, unit_s, " on a slow disk" if slow_s else "")


def _figures(load: charging.Load, vehicles: int, disk: str, unit_s: float, where: str) -> Iterator[Figure]:
    report = load.report
    lost = Counter(word for word in report.ended if word != "finished")
    words = "; ".join(f"{count} ended with {word}" for word, count in lost.most_common(3))
    note = "; ".join(filter(None, (words, disk)))
    yield Figure(f"sessions lost of {vehicles}{where}", lost.total(), "sessions", target=1, note=note)
    first = load.used[0][0]
    for what, began, over in (("arrive", first, report.arrived), ("leave", report.over, report.left)):
        cpu_s = load.cpu_s(began, over)
        note = f"{cpu_s / unit_s:.1f} units of the reference workload; {over - began:.1f} s"
        yield Figure(f"CPU of the charger while all {what}{where}", max(0.01, cpu_s), "s", note=note)
    loops = len(report.answers_ms.get("DC_ChargeLoopReq", ()))
    if loops:
        loop_ms = 1000 * load.cpu_s(report.began, report.over) / loops
        note = f"{loop_ms / unit_s:.2f} thousandths of a unit; with all that EVSEs do between"
        yield Figure(f"CPU of the charger per charge loop{where}", loop_ms, "ms", note=note)
    for when, found in (
        ("while all arrive", report.setup_ms),
        ("while all charge", report.answers_ms),
        ("while all leave", report.leaving_ms),
    ):
        for request, times in found.items():
            yield Figure(
                f"response time of {request} {when}{where}, p99",
                percentile(times, 0.99),
                "ms",
                target=1000 * MESSAGES[request].timeout,
                note=f"{len(times)} responses; the target is the vehicle's limit",
            )


def _sync_ms(folder: Path) -> float:
    """Return how long the disk takes for one entry of a journal, ms."""
    spans = []
    with (folder / "probe").open("wb") as file:
        for _ in range(20):
            file.write(bytes(500))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            spans.append((time.perf_counter() - began) * 1000)
    return median(spans)
