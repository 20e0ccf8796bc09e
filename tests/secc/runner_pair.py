"""Charger and vehicle in one process: both cores on their runners, joined in memory, over the simulated DC line.

No TLS, no SLAC, no CSMS: what they leave is the session itself, with real time, hardware and journal.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evcc.hardware.vehicle import SimulatedVehicle
from evcc.policy.battery import BatteryConfig
from evcc.session.contracts import Contract
from evcc.session.d20.session import VehicleSession
from evcc.session.edition import Connection
from evcc.session.settings import SessionConfig
from pki_tools.tree import PkiTree
from secc.evse.journal import JournalWriter
from secc.hardware.meter import SimulatedMeter
from secc.hardware.simulated import SimulatedEvse, SimulatedEvseConfig
from secc.session import ports
from secc.session.config import EvseRating, SeccConfig, SignedDischargeConfig
from secc.session.identity import Identity, SessionTrust
from tests.charger_session import charger_session
from v2g.asn1.discharge import PriceSlot
from v2g.energy.discharge_gate import DischargeConfig
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.runner import Runner
from v2g.io.simulation.lines import ChargerDcLine, VehicleDcLine
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.io.storage.journal_file import JournalFile
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Observe
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_testkit.memory_stream import MemoryStream


class RunnerPair:
    """Everything of one run; `secc` and `evcc` are the runners once `run` is under way."""

    def __init__(self, pki: PkiTree, directory: Path, *, scale: float = 300.0) -> None:
        self.pki, self.directory = pki, directory
        self.clock = Clock(ClockConfig(scale=scale))
        terms = DischargeConfig(max_command_validity_ms=600_000)
        self.secc_config = SeccConfig(reaction_ms=60_000, signed_discharge=SignedDischargeConfig(terms=terms))
        self.evcc_config = SessionConfig()
        self.evse_config = SimulatedEvseConfig()
        self.battery = BatteryConfig()
        self.events: list[tuple[str, Observe]] = []
        self.commands: list[Command] = []
        self.lines: list[bytes] = []
        self.on_event: Callable[[str, Observe], None] = lambda side, event: None
        self.authorize = AuthorizationStatus.ACCEPTED
        self.started = asyncio.Event()

    def observe(self, side: str) -> Callable[[Observe], None]:
        def record(event: Observe) -> None:
            self.events.append((side, event))
            self.on_event(side, event)

        return record

    def named(self, name: str, side: str = "secc") -> list[dict[str, Any]]:
        return [event.data for where, event in self.events if event.name == name and where == side]

    async def run(self) -> tuple[str, str]:
        """Run one session and return how both sides ended."""
        evse_end, vehicle_end = MemoryStream.pair()
        medium_secc = await FolderMedium.attach(self.directory / "medium", "secc")
        medium_evcc = await FolderMedium.attach(self.directory / "medium", "evcc")
        charger_pilot = SimulatedChargerPilot(medium_secc)
        vehicle_pilot = SimulatedVehiclePilot(medium_evcc)
        vehicle_pilot.plug()
        charger_pilot.set_duty(5.0)
        self.meter = SimulatedMeter("METER-0001", self.directory / "meter.bin", now_ms=self.clock.elapsed_ms)
        self.evse = SimulatedEvse(ChargerDcLine(medium_secc), self.meter, self.clock, self.evse_config, EvseRating())
        vehicle = SimulatedVehicle(self.battery, line=VehicleDcLine(medium_evcc), pilot=vehicle_pilot, clock=self.clock)
        self.vehicle = vehicle
        self.disk = DiskThread()
        self.secc = self._secc(evse_end, charger_pilot)
        self.evcc = self._evcc(vehicle_end, vehicle)
        intervals = asyncio.create_task(self.journal.close_intervals(self._interval))
        self.started.set()
        try:
            async with asyncio.timeout(60):
                return tuple(await asyncio.gather(self.secc.run(), self.evcc.run()))  # type: ignore[return-value]
        finally:
            intervals.cancel()
            await self.disk.close()
            await vehicle.close()
            await self.evse.close()
            self.meter.close()
            medium_evcc.close()
            medium_secc.close()

    def _interval(self, reading: ports.MeterRead) -> None:
        self.secc.fact(reading)
        self.secc.fact(ports.MeteringConfirmationRequested())

    def _secc(self, stream: MemoryStream, pilot: SimulatedChargerPilot) -> Runner:
        now = self.clock.utc_ms()
        reading = self.meter.read(now)
        session = charger_session(
            self.secc_config,
            trust=SessionTrust(
                self.pki.anchors("v2g"), self.pki.anchors("mo"), self.pki.key("secc"), self.pki.chain("secc")
            ),
            identity=Identity("CS-1", "METER-0001", self.pki.chain("meter")[0]),
            entropy=os.urandom,
            limits=(
                Limit(source=SITE, charge_w=40_000, discharge_w=15_000),
                Limit(source=OPERATOR, charge_w=40_000, discharge_w=10_000, version=1),
            ),
            tariff=tariff(now),
            meter=ports.MeterRead(now, reading.import_mwh, reading.export_mwh),
            pilot=pilot.state,
            time_scale=self.clock.scale,
        )
        self.journal = JournalWriter(
            lambda session_id: JournalFile.open(self.directory / f"{session_id}.jsonl"),
            meter=self.meter,
            clock=self.clock,
            disk=self.disk,
            on_line=self.lines.append,
        )
        runner = Runner(session, stream, execute=self._execute, clock=self.clock, observe=self.observe("secc"))
        self.evse.subscribe(runner.fact)
        pilot.on_state(lambda state: runner.fact(ports.PilotChanged(state)))
        return runner

    def _execute(self, command: Command) -> Any:
        self.commands.append(command)
        match command:
            case ports.Journal() | ports.RecordMeter() | ports.CloseJournal():
                return self.journal.execute(command)
            case ports.AuthorizeContract(attempt=attempt):
                return self._authorize(attempt)
        return self.evse.execute(command)

    async def _authorize(self, attempt: int) -> Fact:
        await asyncio.sleep(0.01)
        return ports.AuthorizationDecided(attempt, self.authorize)

    def _evcc(self, stream: MemoryStream, vehicle: SimulatedVehicle) -> Runner:
        session = VehicleSession(
            self.evcc_config,
            Connection(
                battery=vehicle.battery,
                secc_certificate=self.pki.chain("secc")[0],
                entropy=os.urandom,
                contracts=(Contract(self.pki.chain("contract"), self.pki.key("contract")),),
            ),
        )
        runner = Runner(session, stream, execute=vehicle.execute, clock=self.clock, observe=self.observe("evcc"))
        vehicle.subscribe(runner.fact)
        return runner


def tariff(now: int) -> Tariff:
    start = now // 900_000 * 900_000
    slots = tuple(PriceSlot(start + n * 900_000, 900_000, 300_000, 250_000) for n in range(96))
    return Tariff(currency="EUR", slots=slots, version=1, source="grid")
