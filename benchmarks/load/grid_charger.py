"""The charger with a stop-watch, run by `benchmarks.grid`: `python -m benchmarks.load.grid_charger --config ...`.

At its end it writes `times.json` beside the events: when the station received each set-point, and when a power stage
was driven with a new limit. Everything else is the program as it is.
"""

import gc
import sys
import time
from typing import Any

gc.disable()  # as in `secc.__main__`

import msgspec  # noqa: E402

from secc.app import main  # noqa: E402
from v2g.hardware.interfaces import Demand  # noqa: E402
from v2g.io.runtime.program import arguments  # noqa: E402
from v2g.io.simulation.power import SimulatedStage  # noqa: E402
from v2g_station.kernel.kernel import Action, Moment  # noqa: E402
from v2g_station.station import StationCore  # noqa: E402


class Times(msgspec.Struct, kw_only=True):
    """Times (CLOCK_MONOTONIC, s): of requests by their id, and of limits at a power stage, W."""

    received: dict[str, float] = msgspec.field(default_factory=dict)
    driven: list[tuple[float, int]] = msgspec.field(default_factory=list)


TIMES = Times()


def _watch() -> None:
    receive, drive = StationCore.receive, SimulatedStage.drive

    def received(station: StationCore, text: str, now: Moment) -> list[Action]:
        if text.startswith("[2,"):
            TIMES.received[text.split('"', 2)[1]] = time.monotonic()
        return receive(station, text, now)

    def driven(stage: SimulatedStage, demand: Demand) -> None:
        drive(stage, demand)
        TIMES.driven.append((time.monotonic(), demand.power_w))

    replaced: Any = StationCore
    replaced.receive = received
    replaced = SimulatedStage
    replaced.drive = driven


if __name__ == "__main__":
    _watch()
    config, events = arguments("secc", "Run a charger with a stop-watch.")
    assert events is not None
    code = main(config, events)
    events.with_name("times.json").write_bytes(msgspec.json.encode(TIMES))
    sys.exit(code)
