"""Charger and vehicle, as their programs put them together from configuration, joined in one process.

TLS is a pipe; sessions, journal and hardware are the programs' own, and what is between them runs through a folder.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from evcc.app import Vehicle, Wrap
from evcc.app import assemble as assemble_vehicle
from evcc.config import load_config as load_vehicle
from pki_tools.tree import PkiTree
from secc.charger import Charger
from tests.secc.bench_program import made
from v2g.energy.grid_signal import GridSignal, SignalSlot
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe
from v2g_testkit.memory_stream import MemoryStream

SITE = (
    '[site]\ncontracts = ["DEV2GC00000001"]\nsignal_file = "grid.json"\ncharge_w = {most_w}\ndischarge_w = {most_w}\n'
)


class Recorder:
    """An event log that keeps what one side observes."""

    def __init__(self, side: str, stand: "Stand", log: EventLog) -> None:
        self._side, self._stand, self.tracer = side, stand, log.tracer

    def __call__(self, event: Observe) -> None:
        self._stand.seen.append((self._side, event))
        self._stand.on_event(self._side, event)


class Stand:
    """Both programs' insides, and what they observed."""

    def __init__(self, charger: Charger, vehicle: Vehicle, pki: PkiTree) -> None:
        (self.controller,) = charger.controllers
        self.charger, self.vehicle, self._pki = charger, vehicle, pki
        self.seen: list[tuple[str, Observe]] = []
        self.on_event: Callable[[str, Observe], None] = lambda side, event: None
        self.controller.observe = Recorder("secc", self, vehicle.observe)
        vehicle.observe = Recorder("evcc", self, vehicle.observe)  # type: ignore[assignment]

    def named(self, side: str, stage: str, name: str) -> list[dict[str, Any]]:
        return [e.data for where, e in self.seen if (where, e.stage, e.name) == (side, stage, name)]

    @property
    def device(self) -> Any:
        """The coil or pantograph at the charger."""
        return self.controller.hardware._device  # type: ignore[attr-defined]

    @property
    def ended(self) -> str:
        return str(self.named("secc", "session", "session_ended")[-1]["reason"])

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until it holds."""
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.001)

    async def run(self, wrap: Wrap = lambda stream, _key: stream, *, tls: bool = True) -> str:
        """Drive in, run one session, through `wrap` at the vehicle; return how the vehicle found that it ended."""
        leaves = (self._pki.chain(role)[0] for role in ("vehicle", "secc")) if tls else ()
        mine, theirs = MemoryStream.pair(*leaves)
        for end in (mine, theirs):
            end.own = self.controller.owner.chargers[0]
            end.version = "TLSv1.3" if tls else "none"
            end.cipher = end.group = ""
        self.vehicle.wires.pilot.plug()
        wires = self.controller.wires
        if wires is not None and self.controller.config.hardware.kind in ("ac", "dc"):
            await self.until(lambda: wires.pilot.state is PilotState.B)
        async with asyncio.timeout(60):
            _, (reason, _) = await asyncio.gather(
                self.controller.vehicle(mine, lambda stream: stream),  # type: ignore[arg-type]
                self.vehicle._session(theirs, 0.0, wrap),  # type: ignore[arg-type]
            )
            await self.controller.settled()
        return reason

    async def run_basic(self, cable_ohm: int) -> str:
        """Plug in, and charge by the duty cycle alone (IEC 61851-1); return how the vehicle found that it ended."""
        basic, pilot = self.vehicle.config.basic, self.vehicle.wires.pilot
        assert isinstance(pilot, SimulatedVehiclePilot)
        assert basic is not None
        pilot.plug(proximity_ohm=cable_ohm)
        await self.until(lambda: pilot.duty.meaning == "current")
        async with asyncio.timeout(60):
            reason = await self.vehicle._charge_by_duty(basic, pilot)
        pilot.unplug()
        await self.until(lambda: not self.controller.busy)
        await self.controller.settled()
        return reason

    def energy_wh(self) -> tuple[float, float, float, float]:
        """Import and export by the charger's meter, and what went into and out of the battery."""
        reading, battery = self.controller.meter.read(0), self.vehicle.hardware.battery
        both = (reading.import_mwh, reading.export_mwh, battery.charged_mwh, battery.discharged_mwh)
        return tuple(each / 1000 for each in both)  # type: ignore[return-value]


def signal(now: int, most_w: int) -> GridSignal:
    """Return prices at which giving energy back pays, for the whole day, and how much of it the site may."""
    slots = tuple(
        SignalSlot(
            start_ms=now // 900_000 * 900_000 + n * 900_000,
            duration_s=900,
            import_price=300_000,
            export_compensation=250_000,
        )
        for n in range(96)
    )
    return GridSignal(
        version=1,
        issued_at_ms=now,
        source="dso",
        currency="EUR",
        slots=slots,
        site_import_limit_w=most_w,
        export_limit_w=most_w,
        valid_until_ms=now + 86_400_000,
    )


def bundle(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the records of the one session in a charger's folder, and its settlement."""
    (found,) = (folder / "data" / "settlements").iterdir()
    lines = (found / "journal.jsonl").read_text().splitlines()
    return [json.loads(line)["data"] for line in lines], json.loads((found / "settlement.json").read_text())


@contextlib.asynccontextmanager
async def stand(
    folder: Path,
    pki: PkiTree,
    secc: str,
    evcc: str,
    *,
    head: str = "",
    policy: str = "minimum_soc = 20",
    battery: str = "[battery]\nsoc = 40.0\n",
    site_w: int = 22_000,
    site: str = "",
    tables: str = "",
    scale: float = 100.0,
) -> AsyncIterator[Stand]:
    """Return both, with these tables in their configuration; of the vehicle's `head` comes first, and its policy of
    discharge is `policy`. `site` is part of the charger's.
    """
    clock_text = f"[clock]\nscale = {scale}\n"
    pipe = f'[link]\nmedium = "{folder}/medium"\n'
    signed = "[charger.signed_discharge.terms]\nmax_command_validity_ms = 600000\n"
    text = f"""{head}{pipe}
[tls]
chain = "{pki.path("vehicle/chain.pem")}"
key = "{pki.path("vehicle/leaf.key")}"
anchors = ["{pki.path("v2g/root.pem")}"]
[contract]
chain = "{pki.path("contract/chain.pem")}"
key = "{pki.path("contract/leaf.key")}"
{battery}[discharge]
{policy}
command_validity_ms = 300000
command_renew_ms = 150000
clock_skew_ms = 60000
{evcc}
{clock_text}"""
    config = load_vehicle(text, name=str(folder / "evcc.toml"))
    clock = Clock(config.clock)
    (folder / "grid.json").write_bytes(signal(clock.utc_ms(), site_w).to_json())
    async with made(
        folder, pki, pipe + SITE.format(most_w=site_w) + site + secc + signed + tables, clock=clock
    ) as charger:
        for controller in charger.controllers:
            controller.connect_wires()
        async with assemble_vehicle(config, clock, EventLog("evcc", clock)) as vehicle:
            yield Stand(charger, vehicle, pki)


def charge(service: str, *more: str) -> str:
    steps = "".join(f"[[program]]\n{each}\n" for each in ('do = "charge"\nenergy_wh = 100', *more))
    return f'[services]\nenergy = ["{service}"]\n{steps}'
