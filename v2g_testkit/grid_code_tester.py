"""Runs the test signals of a grid code through the simulated grid and the charger program, with the vehicle program at
its simulated wires, in simulated time (R209).

Both are assembled from configuration as their programs do; what is not here are sockets and TLS between them.
"""

import asyncio
import contextlib
import time
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from evcc.app import assemble as assemble_vehicle
from evcc.config import load_config as load_vehicle
from pki_tools.tree import PkiTree
from secc.app import assemble
from secc.charger import Charger
from secc.config import load_config
from v2g.energy.grid_code import GridCode
from v2g.energy.grid_signal import GridSignal, SignalSlot
from v2g.errors import TransportError
from v2g.iec61851.pilot import PilotState
from v2g.io.runtime.events import EventLog
from v2g.io.runtime.supervision import child
from v2g.io.runtime.virtual_time import LoopClock
from v2g.io.storage.grid_code_file import set_grid_code
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.cases.grid_code import Energy, GridCodeCase, Sample, verdict
from v2g_testkit.memory_stream import MemoryStream

RATING_W: Final = 11_000
"""Of the charger under test, in both directions."""
SAMPLE_S: Final = 0.05
"""Interval of measuring the charger."""
AFTER_S: Final = 0.5
_SLOT_MS: Final = 900_000


class GridCodeBench(msgspec.Struct, frozen=True, kw_only=True):
    """What is tested: the code that is expected, the one that the charger has, and by which current."""

    code: GridCode
    installed: GridCode
    energy: Energy = "DC"


class GridCodeTester:
    """Runs cases, each with a new charger in a new folder. Must run in a `VirtualLoop` that waits for threads."""

    def __init__(self, bench: GridCodeBench, pki: PkiTree, folder: Path) -> None:
        self._bench, self._pki, self._folder = bench, pki, folder
        self.samples: dict[str, list[Sample]] = {}
        """What was measured, by case."""

    async def run(self, case: GridCodeCase) -> Result:
        """Run a case and judge it."""
        began = time.monotonic()
        folder = self._folder / case.id
        folder.mkdir()
        try:
            self.samples[case.id] = found = await self._play(case, folder)
        except TransportError as error:
            return Result(case=case.id, verdict=Verdict.INCONCLUSIVE, found=str(error))
        return verdict(case, found, RATING_W, round(time.monotonic() - began, 3))

    async def _play(self, case: GridCodeCase, folder: Path) -> list[Sample]:
        bench, loop = self._bench, asyncio.get_running_loop()
        clock, found = LoopClock(loop), list[Sample]()
        set_grid_code(folder / "code.json", bench.installed, "installer", reason="test", utc_ms=clock.utc_ms())
        (folder / "grid.csv").write_text(case.csv)
        (folder / "prices.json").write_bytes(_prices(clock.utc_ms()).to_json())
        log = EventLog("secc", clock, folder / "secc.jsonl")
        config = load_config(self._charger(case), name=str(folder / "secc.toml"))
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(log.close)
            charger = await stack.enter_async_context(assemble(config, clock, log))
            for controller in charger.controllers:
                controller.connect_wires()
            watch = charger.grid_watch
            assert watch is not None
            ends = MemoryStream.pair(self._pki.chain("vehicle")[0], self._pki.chain("secc")[0])
            running: asyncio.Task[str] | None = None
            while (now := watch.played_s) < case.ends_s + AFTER_S:
                if running is None and now >= case.plug_s:
                    running = child(self._vehicle(case, charger, folder, clock, ends))
                    stack.callback(running.cancel)
                if running is not None and running.done() and now < case.before[1]:
                    raise TransportError(f"the session ended early: {running.result()}")
                if now >= case.plug_s - 1.0:
                    hz, volts = case.signal_at(now)
                    found.append(Sample(round(now, 3), hz, volts, *_flow(charger)))
                    await asyncio.sleep(SAMPLE_S)
                else:
                    await asyncio.sleep(1.0)
            for end in ends:
                await end.close()
            if running is not None:
                await running
        return found

    async def _vehicle(
        self,
        case: GridCodeCase,
        charger: Charger,
        folder: Path,
        clock: LoopClock,
        ends: tuple[MemoryStream, MemoryStream],
    ) -> str:
        """Plug in, and go on until the connection ends; return why the session ended."""
        (controller,) = charger.controllers
        log = EventLog("evcc", clock, folder / "evcc.jsonl")
        config = load_vehicle(self._car(case), name=str(folder / "evcc.toml"))
        ours, theirs = ends
        ours.own = controller.owner.chargers[0]
        async with assemble_vehicle(config, clock, log) as vehicle:
            vehicle.wires.pilot.plug()
            while controller.wires is not None and controller.wires.pilot.state is not PilotState.B:
                await asyncio.sleep(SAMPLE_S)
            _, reason = await asyncio.gather(
                controller.vehicle(ours, lambda stream: stream),  # type: ignore[arg-type]  # what it needs of TLS
                vehicle.session_on(theirs),  # type: ignore[arg-type]
            )
        return reason

    def _charger(self, case: GridCodeCase) -> str:
        """Return the charger's configuration."""
        bench = self._bench
        dc, code = bench.energy == "DC", bench.code
        return _filled(
            "grid-code-secc",
            pki=self._pki.directory,
            service=6 if dc else 5,
            rating="rating" if dc else "ac_rating",
            nominal="" if dc else f"nominal_frequency_hz = {code.nominal_hz:g}\nnominal_voltage_v = {code.nominal_v:g}",
            kind=bench.energy.lower(),
            watts=RATING_W,
            hz=code.nominal_hz,
            volts=code.nominal_v,
            reactive="" if case.reactive is None else f'reactive = "{case.reactive}"',
        )

    def _car(self, case: GridCodeCase) -> str:
        """Return the vehicle's configuration."""
        return _filled(
            "grid-code-evcc",
            pki=self._pki.directory,
            watts=round(RATING_W * case.share),
            energy=self._bench.energy,
            do="charge" if case.flow == "in" else "discharge",
        )


def _filled(template: str, /, **values: object) -> str:
    """Return a configuration, from `templates`."""
    text = (files("v2g_testkit") / "templates" / f"{template}.toml.in").read_text("utf-8")
    return text.format(**values)


def _flow(charger: Charger) -> tuple[float, float]:
    """Return W into the vehicle, and var that are injected."""
    (controller,) = charger.controllers
    present = controller.hardware.present
    return present.watts, controller.hardware.var


def _prices(utc_ms: int) -> GridSignal:
    """Return prices at which a vehicle feeds back, for half a day."""
    slots = tuple(
        SignalSlot(
            start_ms=utc_ms // _SLOT_MS * _SLOT_MS + number * _SLOT_MS,
            duration_s=_SLOT_MS // 1000,
            import_price=300_000,
            export_compensation=250_000,
        )
        for number in range(48)
    )
    return GridSignal(
        version=1,
        issued_at_ms=utc_ms,
        source="dso",
        currency="EUR",
        slots=slots,
        site_import_limit_w=100_000,
        export_limit_w=100_000,
        valid_until_ms=utc_ms + 48 * _SLOT_MS,
    )
