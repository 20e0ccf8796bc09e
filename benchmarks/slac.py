"""SLAC: from plug-in to a matched data link, over the loopback powerline."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, median, percentile
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.datalink import ChargerLink, VehicleLink
from v2g.io.plc.link import PlcConfig
from v2g.io.plc.opening import open_link
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.observe import Observe
from v2g.slac.ev import EvSlacConfig
from v2g.slac.evse import EvseSlacConfig
from v2g.slac.shared import FAST, STANDARD, SlacTiming

ABOUT = "plug-in to matched link, both ends in one process, simulated modems"

NO_PEER = "no peer: other SLAC implementations need a real modem"


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield matching with the simulation's shortened pauses, and with the standard's."""
    for timing, label, times in ((FAST, "FAST", 3 if quick else 50), (STANDARD, "STANDARD", 1 if quick else 5)):
        spans, cpu_ms = asyncio.run(_match(timing, times))
        yield Figure(
            f"matching with {label} pauses, p50",
            median(spans),
            "ms",
            note=f"{times} matchings, slowest {percentile(spans, 1):.1f} ms; {NO_PEER}",
        )
        yield Figure(
            f"CPU of both ends for a matching with {label} pauses",
            cpu_ms,
            "ms",
            note="mean; frames, cores, modems and pilot",
        )


def _ignore(event: Observe) -> None:
    """Ignore: no listener."""


async def _match(timing: SlacTiming, times: int) -> tuple[list[float], float]:
    """Return the time of each matching (ms), and the mean CPU of one (ms)."""
    spans = []
    with tempfile.TemporaryDirectory() as folder:
        mediums = [await FolderMedium.attach(Path(folder) / "medium", name) for name in ("secc", "evcc")]
        charger_pilot, vehicle_pilot = SimulatedChargerPilot(mediums[0]), SimulatedVehiclePilot(mediums[1])
        charger = ChargerLink(
            open_link(PlcConfig(), role="evse", medium=mediums[0]),
            charger_pilot,
            EvseSlacConfig(timing=timing),
            observe=_ignore,
        )
        port = open_link(PlcConfig(), role="ev", medium=mediums[1])
        used = time.process_time()
        for _ in range(times):
            start = time.perf_counter()
            vehicle_pilot.plug()
            vehicle = VehicleLink(port, vehicle_pilot, EvSlacConfig(timing=timing), observe=_ignore)
            await vehicle.ready()
            spans.append((time.perf_counter() - start) * 1000)
            vehicle.close()
            vehicle_pilot.unplug()
            while charger_pilot.state is not PilotState.A:
                await asyncio.sleep(0.001)
        used = time.process_time() - used
        charger.close()
        for medium in mediums:
            medium.close()
    return spans, used / times * 1000
