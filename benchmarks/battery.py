"""Detectors and estimators of batteries: updates a second and core, and the state of a vehicle."""

import itertools
import math
from collections.abc import Iterator

import msgspec

from benchmarks.figures import Figure, median, microseconds
from v2g.battery import detectors, health
from v2g.battery.cell import CELLS, CURVES, Pack
from v2g.battery.sample import Sample

ABOUT = "detectors and estimators of a battery, each sample at the back end and at the edge"
PACK = Pack("nmc", 150.0, 96)
SETTINGS = detectors.Settings(health=health.Settings(pack=PACK))


def samples() -> Iterator[Sample]:
    """Yield a pack that is charged and discharged in turn, every second."""
    soc, cell, curve = 0.5, CELLS[PACK.chemistry], CURVES[PACK.chemistry]
    for second in itertools.count():
        rate = 0.3 * math.sin(second / 600) + 0.2 * (second // 30 % 2)
        soc = min(0.95, max(0.05, soc + rate / 3600))
        cell_v = curve.open_v(soc) + rate * (cell.r0 + cell.r1 + cell.r2)
        values = {
            "battery.current": rate * PACK.capacity_ah,
            "battery.voltage": PACK.cells * cell_v,
            "battery.soh": 98.0,
            "battery.temperature.min": 24.0,
            "battery.temperature.max": 26.0,
            "battery.temperature.coolant": 23.0,
            "battery.cell_voltage.min": cell_v - 0.004,
            "battery.cell_voltage.max": cell_v + 0.004,
            "battery.cell_voltage.mean": cell_v,
            "battery.cell_voltage.imbalance": 0.008,
        }
        yield Sample(second * 1000, values)


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield the time of a sample for each place, and the size of a state."""
    calls = 500 if quick else 20_000
    for place, which in (("back end", detectors.BACK_END), ("edge", detectors.EDGE)):
        state, feed = detectors.State(), samples()

        def take(which: frozenset[str] = which, feed: Iterator[Sample] = feed) -> None:
            nonlocal state
            state, _ = detectors.step(SETTINGS, state, next(feed), which)

        spans = median(microseconds(take, calls=calls))
        document = msgspec.json.encode(state)
        yield Figure(
            name="battery",
            figure=f"a sample, all detectors of the {place}",
            unit="us",
            value=spans,
            note=f"{1_000_000 / spans:,.0f} samples a second and core; {', '.join(sorted(which))}",
        )
        yield Figure(
            name="battery",
            figure=f"state of a vehicle, {place}",
            unit="kB",
            value=len(document) / 1000,
            note="as JSON, which is also how it is stored",
        )
