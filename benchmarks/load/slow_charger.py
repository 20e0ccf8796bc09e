"""The charger in slow motion, run by `benchmarks.sessions`: `python -m benchmarks.load.slow_charger SPEED ...`.

All of its timers, deadlines, simulated hardware and meters run at `SPEED` of real time, as do those of its vehicles, so
that a machine with few cores holds many sessions at the pace of the standard. Everything else is the program as it is.
"""

import gc
import sys
from pathlib import Path
from typing import Final

gc.disable()  # as in `secc.__main__`

from secc.app import assemble  # noqa: E402
from secc.config import ProgramConfig, load_config  # noqa: E402
from v2g.io.runtime.clock import clock_of, loop_of  # noqa: E402
from v2g.io.runtime.events import EventLog  # noqa: E402
from v2g.io.runtime.program import arguments, run  # noqa: E402

SLOW: Final = 0.025


async def _run(config: ProgramConfig, events: Path | None, speed: float) -> int:
    clock = clock_of(speed)
    observe = EventLog("secc", clock, events, files=config.log)
    try:
        async with assemble(config, clock, observe) as charger:
            await charger.serve(lambda stream: stream)
    finally:
        observe.close()
    return 0


if __name__ == "__main__":
    slow = float(sys.argv.pop(1))
    path, events_path = arguments("secc", "Run a charger in slow motion.")
    sys.exit(
        run(
            lambda: load_config(path.read_text(), name=str(path)),
            lambda config: config.log,
            lambda config: _run(config, events_path, slow),
            loop_factory=loop_of(slow),
        )
    )
