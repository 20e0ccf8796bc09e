"""Many vehicles in one process, each with a complete session, run by `benchmarks.charging` with one charger.

Run as `python -m benchmarks.load.charging_vehicles PLAN`; prints one JSON record. A response time is from the write of
a request to the read of its response, in the vehicle, including kernel, TLS of both sides and the vehicle's event loop.
"""

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from evcc.app import edition
from evcc.policy.battery import Battery, BatteryConfig
from evcc.session import settings
from evcc.session.contracts import Contract
from evcc.session.d20.quantities import to_whole
from evcc.session.d20.stages import Looping
from evcc.session.edition import Connection
from evcc.session.ports import CloseContactor, ContactorState, OpenContactor, PresentVoltage, Reported, StopRequested
from evcc.session.v2g_message.stages import Looping as OlderLooping
from pki_tools.tree import PkiTree
from v2g.io.network import plain_tcp
from v2g.io.runtime.clock import Clock, clock_of, loop_of
from v2g.io.runtime.program import keep_responsive
from v2g.io.runtime.runner import Runner
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import ISO15118_2, Endpoint, TlsIdentity
from v2g.io.tls.stream import TlsStream
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.select import EditionName
from v2g.observe import Observe
from v2g.pki.profile import Role

TOGETHER = 4
"""Concurrent handshakes: vehicles are plugged in one after the other."""

REPORT_S = 0.5
"""Interval of reports of a vehicle's battery and inlet."""

BATTERY = Battery(BatteryConfig(capacity_wh=1_000_000, soc=60), at_ms=0).state
"""State of charge of every vehicle: constant, because the charger is measured."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters: one vehicle for each of `ports`, all in the charge loop together for `seconds`.

    Its edition is the one at the same place in `editions`, without any ISO 15118-20. Vehicles of ISO 15118-2 pay by a
    contract of `pki_2`, those of DIN 70121 externally, at a port without TLS.
    """

    pki: str
    pki_2: str = ""
    ports: list[int]
    editions: list[EditionName] = []
    seconds: float
    patience_s: float
    discharge: bool = False
    """Whether the vehicles decide about offers to discharge."""
    arrive_s: float | None = None
    """Time in which all arrive; none is one after the other, some handshakes at once."""
    leave_s: float | None = None
    """Time in which all leave; none is 20 ms for each."""
    pause_s: float = 0.1
    """Between a vehicle's charge loops."""
    powers_w: list[int] = []
    """The most that each vehicle takes; none is what the charger offers."""
    speed: float = 1.0
    """Seconds of all timers and clocks per real second; times of the plan and the report are in the former."""


class Inlet(msgspec.Struct):
    """What flowed into a vehicle, by what its inlet saw: voltage times current until the next reading."""

    energy_mwh: float = 0.0
    power_mw: float = 0.0
    at_ms: int = 0

    def see(self, voltage_mv: int, current_ma: int, at_ms: int) -> None:
        """Take a reading."""
        self.energy_mwh += self.power_mw * (at_ms - self.at_ms) / 3_600_000
        self.power_mw, self.at_ms = voltage_mv * current_ma / 1000, at_ms


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Response times (ms) by request (for older editions with their name, as "CurrentDemandReq din"): while all were in
    the loop, before and after; `ended`: outcomes of all sessions; start and end (CLOCK_MONOTONIC) of the time when all
    were in the loop, and when the last had left; `limits`: when a vehicle got another limit (W);
    `inlets`: energy by session."""

    answers_ms: dict[str, list[float]]
    setup_ms: dict[str, list[float]]
    leaving_ms: dict[str, list[float]]
    ended: list[str]
    arrived: float
    began: float
    over: float
    left: float
    late_ms: list[float]
    limits: list[tuple[float, int]]
    inlets: dict[str, Inlet] = {}


class Timed:
    """A stream that measures response times."""

    def __init__(self, stream: TlsStream | plain_tcp.PlainStream, fleet: "Fleet", suffix: str) -> None:
        self._stream, self._fleet, self._suffix = stream, fleet, suffix
        self.session: Any = None
        self._sent: tuple[str, float] | None = None
        self._limit: RationalNumber | None = None

    def _see_limit(self) -> None:
        """Record the charger's limit for charging when it has changed; responses have been handled by now."""
        mode = None if self.session is None else getattr(self.session.newest.message, "cl_res_control_mode", None)
        limit = getattr(mode, "evse_maximum_charge_power", None)
        if limit is not None and limit != self._limit:
            self._limit = limit
            self._fleet.limits.append((time.monotonic(), to_whole(limit)))

    async def read(self, n: int) -> bytes:
        """Read, and measure."""
        self._see_limit()
        data = await self._stream.read(n)
        if self._sent is not None and data:
            name, at = self._sent
            self._sent = None
            self._fleet.note(name, time.perf_counter() - at)
        return data

    async def write(self, data: bytes) -> None:
        """Write, and record the request."""
        pending = self.session.pending
        if pending is not None and self._sent is None:
            self._sent = type(pending).__name__ + self._suffix, time.perf_counter()
        await self._stream.write(data)

    async def close(self) -> None:
        """Pass through."""
        await self._stream.close()


class StillVehicle:
    """A vehicle's hardware that executes commands, and keeps reporting unchanged values: see
    `evcc.hardware.vehicle.SimulatedVehicle`."""

    def __init__(self, clock: Clock) -> None:
        self.tell: Callable[[Fact], None] = lambda _: None
        self.inlet = Inlet()
        self._clock = clock
        self._inlet = PresentVoltage(0)

    def execute(self, command: Command) -> Coroutine[Any, Any, Fact | None] | None:
        """Carry out a command of `evcc.session.ports`."""
        match command:
            case Reported(voltage_mv=voltage_mv, current_ma=current_ma):
                self.inlet.see(voltage_mv, current_ma, self._clock.elapsed_ms())
                inlet = PresentVoltage(BATTERY.voltage_mv, current_ma)
                if inlet != self._inlet:
                    self._inlet = inlet
                    self.tell(inlet)
            case CloseContactor():
                return _moved(closed=True)
            case OpenContactor():
                self.inlet.see(0, 0, self._clock.elapsed_ms())
                self._inlet = PresentVoltage(0)
                self.tell(self._inlet)
                return _moved(closed=False)
        return None

    async def report(self, clock: Clock) -> None:
        """Report battery and inlet, which a vehicle's session waits for."""
        while True:
            self.tell(msgspec.structs.replace(BATTERY, at_ms=clock.elapsed_ms()))
            self.tell(self._inlet)
            await asyncio.sleep(REPORT_S)


async def _moved(*, closed: bool) -> Fact:
    return ContactorState(closed=closed)


class Fleet:
    """All vehicles."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pki = PkiTree.load(Path(plan.pki))
        self._pki_2 = PkiTree.load(Path(plan.pki_2)) if plan.pki_2 else self._pki
        self._gate = asyncio.Semaphore(TOGETHER if plan.arrive_s is None else len(plan.ports))
        self._clock = clock_of(plan.speed)
        self._inlets: dict[str, Inlet] = {}
        self._looping: list[Any] = []
        self._together = asyncio.Event()
        self._runners: list[Runner] = []
        self._setup, self._answers, self._leaving = (defaultdict[str, list[float]](list) for _ in range(3))
        self._noted = self._setup
        self.limits: list[tuple[float, int]] = []

    def note(self, name: str, seconds: float) -> None:
        """Record a response time of the machine's clock."""
        self._noted[name].append(1000 * seconds * self._plan.speed)

    async def run(self) -> Report:
        """Bring all vehicles into the loop, measure, and end all sessions gracefully."""
        names = self._plan.editions or ["20"] * len(self._plan.ports)
        places, between_s = zip(self._plan.ports, names, strict=True), (self._plan.arrive_s or 0.0) / len(names)
        tasks = [
            asyncio.create_task(self._vehicle(port, name, number * between_s, number))
            for number, (port, name) in enumerate(places)
        ]
        async with asyncio.timeout(self._plan.patience_s):
            while not self._ready(sum(each.done() for each in tasks)):  # early ends are counted by outcome
                await asyncio.sleep(0.05)
        arrived = time.monotonic()
        await asyncio.sleep(1.0)
        self._noted, began = self._answers, time.monotonic()
        late = await self._lateness()
        self._noted, over = self._leaving, time.monotonic()
        between_s = 0.02 if self._plan.leave_s is None else self._plan.leave_s / len(self._runners)
        for number, runner in enumerate(self._runners):
            runner.fact(StopRequested("benchmark"))
            await asyncio.sleep((over - time.monotonic()) * self._plan.speed + number * between_s)
        ended = await asyncio.gather(*tasks)
        return Report(
            answers_ms=self._answers,
            setup_ms=self._setup,
            leaving_ms=self._leaving,
            ended=list(ended),
            arrived=arrived,
            began=began,
            over=over,
            left=time.monotonic(),
            late_ms=late,
            limits=self.limits,
            inlets=self._inlets,
        )

    def _ready(self, ended: int) -> bool:
        looping = sum(isinstance(each.stage, Looping | OlderLooping) for each in self._looping)
        return looping + ended == len(self._plan.ports)

    async def _lateness(self) -> list[float]:
        """Return the lateness of this process's own event loop, ms, during the measurement."""
        until, late = time.monotonic() + self._plan.seconds / self._plan.speed, []
        while (now := time.perf_counter()) and time.monotonic() < until:
            await asyncio.sleep(0.01)
            late.append((time.perf_counter() - now) * 1000 * self._plan.speed - 10)
        return late

    async def connect(self, port: int, name: EditionName) -> TlsStream | plain_tcp.PlainStream:
        """Connect as vehicles of an edition do."""
        if name == "din":
            return await plain_tcp.connect("::1", port, timeout=20.0)
        endpoint = Endpoint(
            server=False,
            identities=(TlsIdentity(self._pki.credentials("vehicle")),),
            anchors=self._pki.anchors("v2g"),
            peer_role=Role.SECC,
        )
        if name == "2":
            endpoint = msgspec.structs.replace(
                endpoint, identities=(), anchors=self._pki_2.anchors("v2g"), profile=ISO15118_2
            )
        return await connect("::1", port, endpoint, timeout=20.0)

    async def _vehicle(self, port: int, name: EditionName, after_s: float, number: int) -> str:
        ended: list[str] = []

        def observe(event: Observe) -> None:
            if event.name == "failed" and "request" in event.data:
                ended.append(f"{event.data['reason']} of {event.data['request']}")

        await asyncio.sleep(after_s)
        async with self._gate:
            power_w = self._plan.powers_w[number] if self._plan.powers_w else None
            vehicle = await self.arrive(port, name, observe, power_w)
            self._looping.append(vehicle.session)
            self._runners.append(vehicle.runner)
            await vehicle.loops()
        word = await vehicle.running
        self._inlets[vehicle.session.session_id.hex()] = vehicle.inlet
        return ended[0] if ended else word

    async def arrive(
        self, port: int, name: EditionName, observe: Callable[[Observe], None], power_w: int | None = None
    ) -> "Vehicle":
        """Connect a vehicle of an edition, and begin its session."""
        pki = self._pki_2 if name == "2" else self._pki
        hardware = StillVehicle(self._clock)
        config = settings.SessionConfig(
            services=settings.ServiceConfig(energy=("DC_BPT",) if name == "20" else ("DC",)),
            authorization=settings.AuthorizationConfig(allow_eim=name == "din"),
            # its battery is still
            discharge=settings.DischargeConfig(enabled=self._plan.discharge, checkpoint_wait_s=0.1),
            program=(settings.ProgramStep(do="charge", until_soc=100.0, power_w=power_w),),
            timing=settings.TimingConfig(loop_pause_s=self._plan.pause_s),
        )
        stream = await self.connect(port, name)
        timed = Timed(stream, self, "" if name == "20" else f" {name}")
        connection = Connection(
            battery=BATTERY,
            secc_certificate=stream.peer_leaf,
            contracts=(Contract(pki.chain("contract"), pki.key("contract")),),
            entropy=os.urandom,
        )
        kind = edition(name)
        session: Any = kind.session(config, connection, kind.protocols(config, tls=name != "din"), 0.0)
        timed.session = session
        runner = Runner(session, timed, execute=hardware.execute, clock=self._clock, observe=observe)
        hardware.tell = runner.fact
        running = asyncio.create_task(runner.run())
        reporting = asyncio.create_task(hardware.report(self._clock))
        running.add_done_callback(lambda _: reporting.cancel())
        return Vehicle(session, timed, runner, running, hardware.inlet)


class Vehicle(NamedTuple):
    """A vehicle in its session; `running` returns how that ended."""

    session: Any
    stream: Timed
    runner: Runner
    running: "asyncio.Task[str]"
    inlet: Inlet

    async def loops(self) -> None:
        """Wait for the charge loop, or the end."""
        while not isinstance(self.session.stage, Looping | OlderLooping) and not self.running.done():
            await asyncio.sleep(0.01)


async def main(plan: Plan) -> None:
    """Run a plan."""
    keep_responsive()
    report = await Fleet(plan).run()
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    asked = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    with asyncio.Runner(loop_factory=loop_of(asked.speed)) as own:
        own.run(main(asked))
