"""A charger on a test rig in simulated time: the real session, runner, safety channel, hardware shell and interlock
over simulated parts, and a vehicle that asks for whatever the test wants. What flows is read at its end of the line.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import pytest

from evcc.hardware.ac import OnBoardCharger
from evcc.session.ports import PresentVoltage
from evcc.session.settings import OnBoardChargerConfig
from pki_tools.tree import PkiTree
from secc.hardware import assembly as hardware_parts
from secc.hardware.assembly import Assembled, Assembly
from secc.hardware.config import HardwareConfig, Kind
from secc.hardware.safety import SafetyChannel
from secc.hardware.simulated import SimulatedEvseConfig
from secc.session import ports
from secc.session.config import EnergyService, SeccConfig
from secc.session.d20.safety import Iso20Requests
from secc.session.d20.session import SeccSession
from secc.session.identity import Identity, SessionTrust
from secc.session.session import ChargerSession
from tests.charger_session import charger_session
from tests.secc.session.bench import (
    AC_BPT,
    AC_WAYS,
    ACDP,
    ACDP_WAYS,
    DC_BPT,
    SIGNED,
    WAYS,
    WPT,
    WPT_WAYS,
    Bench,
    counter,
    make_tariff,
)
from tests.trees import known
from v2g import exi
from v2g.energy.limits import NO_RESPONSE, OPERATOR, SITE, Limit
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.pilot import SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.runner import Outcome, Runner
from v2g.io.runtime.watchdog import Watchdog
from v2g.io.simulation.lines import (
    VehicleAcLine,
    VehicleCoil,
    VehicleCoilLine,
    VehicleContact,
    VehicleContactLine,
    VehicleDcLine,
)
from v2g.io.simulation.medium import Medium, Room
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.timing import Timing
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame
from v2g.observe import Observe
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

BATTERY_MV = 400_000
Phases = Literal[1, 2, 3]
UTC_MS = time.time_ns() // 1_000_000
SERVICES: dict[Kind, int] = {"dc": DC_BPT, "ac": AC_BPT, "wpt": WPT, "acdp": ACDP}
LIVE_MV = 60_000
ENERGY_W = 600
"""Less is within what sensors and control may be wrong by."""

SLOW = Timing(close=5.5)
"""The standard's times, but not the ones that the bench makes longer."""


class Blind(SafetyChannel):
    """A channel without a monitor: what the corrected session and hardware do alone."""

    def contactor(self, contactor: Any) -> Any:
        return contactor

    def stage(self, stage: Any) -> Any:
        return stage

    def primary(self, device: Any) -> Any:
        return device

    def mains(self, present: Any, **outlet: Any) -> Any:
        return lambda output, lines: output

    def _tell(self, what: Any) -> None:
        """Nobody listens."""


class Pipe:
    """The charger's end of the connection; what it sends goes to `sent`."""

    def __init__(self, sent: Callable[[bytes], None]) -> None:
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self._sent = sent

    async def read(self, n: int) -> bytes:
        return await self.incoming.get()

    async def write(self, data: bytes) -> None:
        self._sent(data)

    async def close(self) -> None:
        """Nobody is there."""


class Car:
    """What the vehicle is to the charger's hardware: a battery, coil or on-board charger that bears everything."""

    def __init__(self, kind: Kind, medium: Medium, phases: Phases = 3) -> None:
        self.kind, self.phases = kind, phases
        self.pilot = SimulatedVehiclePilot(medium)
        self.dc = VehicleDcLine(medium) if kind in ("dc", "acdp") else None
        self.ac = (
            OnBoardCharger(VehicleAcLine(medium), OnBoardChargerConfig(phases=phases, max_charge_w=22_000))
            if kind == "ac"
            else None
        )
        self.coil = VehicleCoilLine(medium) if kind == "wpt" else None
        self.contacts = VehicleContactLine(medium) if kind == "acdp" else None
        self.draws_w = 20_000

    def arrive(self) -> None:
        if self.kind in ("dc", "ac"):
            self.pilot.plug()
        if self.coil is not None:
            self.coil.hold(VehicleCoil(0, 0, 150, self.draws_w))
        if self.contacts is not None:
            self.contacts.hold(VehicleContact(0, 0, moving=False, roof_mm=3_200))
            self.contacts.on_change(lambda seen: self.pilot.plug() if seen is not None and seen.connected else None)
        if self.dc is not None:
            self.switch(closed=False)

    def switch(self, *, closed: bool, mv: int = BATTERY_MV) -> None:
        """Move the vehicle's own contactor; the battery lets any current pass."""
        if self.dc is not None:
            self.dc.publish(mv, contactor_closed=closed, max_charge_ma=400_000, max_discharge_ma=400_000)

    @property
    def live(self) -> bool:
        """Whether the charger puts voltage, or a field, on what the vehicle hangs at."""
        if self.dc is not None:
            seen = self.dc.charger
            return seen is not None and seen.contactor_closed and seen.voltage_mv >= LIVE_MV
        if self.ac is not None:
            return self.ac.present.voltage_mv >= LIVE_MV
        assert self.coil is not None
        return self.coil.seen is not None and self.coil.seen.coil_ma > 0

    @property
    def line_ma(self) -> tuple[int, ...]:
        """What flows in each conductor that the vehicle uses, with alternating current, into it."""
        present = self.ac.present if self.ac is not None else PresentVoltage(0)
        return (present.current_ma // present.lines,) * present.lines if present.lines else ()

    @property
    def power_w(self) -> int:
        """What flows, into the vehicle."""
        if self.dc is not None:
            seen = self.dc.charger
            return seen.voltage_mv * seen.current_ma // 1_000_000 if seen is not None and seen.contactor_closed else 0
        if self.ac is not None:
            present = self.ac.present
            return present.voltage_mv * present.current_ma // 1_000_000
        assert self.coil is not None
        return min(self.coil.seen.power_w, self.draws_w) if self.coil.seen is not None else 0


class Rig(Bench):
    """One charger and one vehicle. `disk_s` is how long the journal takes, `faults` what can go wrong."""

    edition: ClassVar[type[ChargerSession]] = SeccSession
    tls: ClassVar = True

    def __init__(
        self, pki: PkiTree, kind: Kind, config: SeccConfig, made: Assembled, car: Car, clock: Clock, faults: Any
    ) -> None:
        self.evse, self.pilot, self.channel, self.faults = made.evse, made.pilot, made.safety, faults
        self.pki, self.kind, self.config, self.car = known(pki), kind, config, car
        self.loop = asyncio.get_running_loop()
        self.clock = clock
        self.time_scale = 1.0
        self.disk_s = 0.0
        self.import_mwh, self.export_mwh = 5_000_000, 2_000_000
        self.all_events: list[Observe] = []
        self.commanded: list[Command] = []
        self.responses: list[Any] = []
        self.payload_types: list[int] = []
        self.signed_frames: list[bytes] = []
        self.setup, self.discharge = None, None
        self.patch = pytest.MonkeyPatch()
        self.watchdog = Watchdog()
        self.scheduled = False
        self.selection = (SERVICES[kind], 0, kind in ("dc", "ac"))
        self.framer = Framer()
        self.tariff = make_tariff(UTC_MS)
        self.limits = (
            Limit(source=SITE, charge_w=40_000, discharge_w=15_000),
            Limit(source=OPERATOR, charge_w=40_000, discharge_w=10_000, version=1),
        )
        self.response = NO_RESPONSE
        self.entropy = counter()
        self.connect()

    def connect(self, paused: Any = None) -> None:
        """Begin a session."""
        pki = self.pki
        self.session = charger_session(
            self.config,
            trust=SessionTrust(pki.anchors("v2g"), pki.anchors("mo"), pki.key("secc"), pki.chain("secc")),
            identity=Identity("CS-1", "METER-0001", pki.chain("meter")[0]),
            entropy=self.entropy,
            limits=self.limits,
            response=self.response,
            tariff=self.tariff,
            meter=ports.MeterRead(self.utc_ms, self.import_mwh, self.export_mwh),
            pilot=self.pilot.state if self.pilot is not None else None,
            vehicle_certificate=b"a certificate",
            paused=paused,
            on_message=self.channel.converse(self.reader()),
            kind=self.edition,
            tls=self.tls,
        )
        self.pipe = Pipe(self._take)
        self.runner = Runner(self.session, self.pipe, execute=self._execute, clock=self.clock, observe=self.observe)
        self.channel.fact(ports.GridChanged(self.limits, self.tariff))
        self._unsubscribe = self.evse.subscribe(self._measured)
        self.running = self.loop.create_task(self.runner.run())

    def reader(self) -> Callable[[Any, int], Any]:
        """Return what reads the messages of a session for the monitor."""
        return Iso20Requests(self.config).read

    # -- the shell

    @property
    def now(self) -> float:  # type: ignore[override]
        return self.loop.time()

    @property
    def utc_ms(self) -> int:  # type: ignore[override]
        return self.clock.utc_ms()

    def observe(self, event: Observe) -> None:
        self.all_events.append(event)

    def named(self, stage: str, name: str = "") -> list[Observe]:
        return [each for each in self.all_events if each.stage == stage and name in ("", each.name)]

    @property
    def reason(self) -> str:  # type: ignore[override]
        return self.session.reason

    def _execute(self, command: Command) -> Outcome | None:
        self.commanded.append(command)
        self.channel.command(command)
        match command:
            case ports.Journal() | ports.CloseJournal():
                return self._written(None)
            case ports.RecordMeter():
                return self._written(ports.MeterRead(self.utc_ms, self.import_mwh, self.export_mwh))
            case ports.AuthorizeContract() | ports.AuthorizeExternally():
                return _outcome(ports.AuthorizationDecided(command.attempt, AuthorizationStatus.ACCEPTED))
        outcome: Outcome | None = self.evse.execute(command)
        return outcome

    def _written(self, fact: Fact | None) -> "asyncio.Future[Fact | None]":
        done: asyncio.Future[Fact | None] = self.loop.create_future()
        self.loop.call_later(self.disk_s, lambda: done.done() or done.set_result(fact))
        return done

    def _measured(self, fact: Fact) -> None:
        """Pass on what the hardware reports; its meter continues the one that the session began with."""
        if isinstance(fact, ports.MeterRead):
            self.import_mwh, self.export_mwh = 5_000_000 + fact.import_mwh, 2_000_000 + fact.export_mwh
            fact = msgspec.structs.replace(fact, import_mwh=self.import_mwh, export_mwh=self.export_mwh)
        self.runner.fact(fact)

    def tell(self, *facts: Fact) -> None:
        """Tell session and monitor, as an EVSE does."""
        for fact in facts:
            self.channel.fact(fact)
            self.runner.fact(fact)

    # -- the vehicle

    async def say(self, name: str, *, within: float = 5.0, stream: int | None = None, **changes: Any) -> Any:
        """Send a request and return its response; None when there was none in time."""
        count = len(self.responses)
        self.post_bytes(self.ask(name, **changes), stream)
        end = self.now + within
        while len(self.responses) == count and self.now < end and not self.running.done():
            await asyncio.sleep(0.01)
        return self.responses[-1] if len(self.responses) > count else None

    def post_bytes(self, request: Any, stream: int | None = None) -> None:
        self.pipe.incoming.put_nowait(self.framed(request, stream))

    def framed(self, request: Any, stream: int | None = None) -> bytes:
        """Return a request as it is sent."""
        module = type(request).__module__.rpartition(".")[2]
        types = {"app_protocol": 0x8001, "ac": 0x8003, "dc": 0x8004, "acdp": 0x8005, "wpt": 0x8006}
        return frame(stream or types.get(module, 0x8002), exi.encode(request))

    async def signed_offer(self, power_w: int) -> None:
        """Accept the offer and sign for a discharge."""
        vehicle = self.discharge or self.open_discharge()
        answered = vehicle.on_message(self.signed_frames[-1], self.utc_ms)
        for payload in (answered.reply, vehicle.command(power_w, self.utc_ms)):  # type: ignore[union-attr]
            self.pipe.incoming.put_nowait(frame(PayloadType.SIGNED_DISCHARGE, payload))
            await asyncio.sleep(0.01)

    async def deliver(self, progress: str, **changes: Any) -> Any:
        return await self.say("PowerDeliveryReq", charge_progress=cm.ChargeProgress[progress], **changes)

    @property
    def ways(self) -> Mapping[State, tuple[str, ...]]:
        """How to get to each state."""
        return {"dc": WAYS, "ac": AC_WAYS, "wpt": WPT_WAYS, "acdp": ACDP_WAYS}[self.kind]

    async def to(self, state: State) -> "Rig":
        """Drive the session to a state by the shortest way."""
        ways = self.ways[state]
        progress = {"renegotiate": "ScheduleRenegotiation", "standby": "Standby", "stop": "Stop"}
        for name in ways:
            if name in progress:
                self.car.switch(closed=name != "stop")
                await self.deliver(progress[name])
            elif name == "cable_check_ongoing":
                self.post_bytes(self.ask("DC_CableCheckReq"))
                await asyncio.sleep(0.1)
            elif name == "pre_charge_ongoing":
                await self.say("DC_PreChargeReq", ev_processing=Processing.Ongoing)
            else:
                await self.step(name)
        if "cable_check_ongoing" not in ways:
            assert self.session.state is state, (self.session.state, state, self.reason, self.all_events[-6:])
        return self

    async def step(self, name: str) -> Any:
        """Do one step by the book, with the pilot and the vehicle's contactor that belong to it."""
        if name in ("DC_CableCheckReq", "PowerDeliveryReq") and self.kind != "wpt":
            self.car.pilot.set_state(PilotState.C)
            await asyncio.sleep(0.05)
        if name == "PowerDeliveryReq":
            self.car.switch(closed=True)
        response = await self.say(name)
        while getattr(response, "evse_processing", None) is Processing.Ongoing:
            await asyncio.sleep(0.05)
            response = await self.say(name)
        if name == "AuthorizationSetupReq":
            self.setup = response
        if name == "ServiceDetailReq" and self.selection[2]:
            await self.say(name, service_id=SIGNED)
        if self.car.ac is not None and name == "AC_ChargeLoopReq":
            self.car.ac.limit(22_000)
        return response

    async def charge(self, *, settle_s: float = 0.5) -> None:
        """Be in the loop, with power."""
        loop = {"dc": State.DC_CHARGE_LOOP, "acdp": State.DC_CHARGE_LOOP, "ac": State.AC_CHARGE_LOOP}
        await self.to(loop.get(self.kind, State.WPT_CHARGE_LOOP))
        await self.go_on(settle_s)
        assert self.car.power_w > 5_000, self.car.power_w

    @property
    def loop_request(self) -> str:
        return {"ac": "AC_ChargeLoopReq", "wpt": "WPT_ChargeLoopReq"}.get(self.kind, "DC_ChargeLoopReq")

    async def go_on(self, seconds: float, *, every_s: float = 0.1) -> None:
        """Go on with the loop for a while; the on-board charger follows its targets."""
        end = self.now + seconds
        while self.now < end and not self.running.done():
            response = await self.say(self.loop_request, within=1.0)
            self._follow(response)
            await asyncio.sleep(every_s)
        await asyncio.sleep(max(0.0, end - self.now))

    def _follow(self, response: Any) -> None:
        mode = getattr(response, "cl_res_control_mode", None)
        if self.car.ac is not None and mode is not None:
            values = [getattr(mode, "evse_target_active_power" + phase, None) for phase in ("", "_l2", "_l3")]
            self.car.ac.drive(sum(each.value * 10**each.exponent for each in values if each is not None))

    def _take(self, data: bytes) -> None:
        from v2g.iso15118.d20.session import decode_payload

        for each in self.framer.feed(data):
            if each.payload_type == PayloadType.SIGNED_DISCHARGE:
                self.signed_frames.append(each.payload)
            else:
                self.responses.append(decode_payload(each.payload_type, each.payload, self.session.family)[0])

    # -- what the test looks at

    async def off(self, within: float, *, live: bool = False, looping: bool = False) -> float:
        """Wait until no power flows (and, without `live`, no voltage is there); return how long that took."""
        began = self.now
        while abs(self.car.power_w) > ENERGY_W or (not live and self.car.live):
            assert self.now - began <= within, (self.car.power_w, self.car.live, self.all_events[-5:])
            await (self.go_on(0.02) if looping else asyncio.sleep(0.01))
        return self.now - began

    async def stays_off(self, seconds: float, *, live: bool = False, looping: bool = False) -> None:
        """See that nothing flows for so long."""
        end = self.now + seconds
        while self.now < end:
            assert abs(self.car.power_w) <= ENERGY_W, (self.car.power_w, self.all_events[-5:])
            assert live or not self.car.live
            await (self.go_on(0.05) if looping else asyncio.sleep(0.05))


async def _outcome(fact: Fact) -> Fact:
    return fact


@contextlib.asynccontextmanager
async def rig(
    pki: PkiTree,
    folder: Path,
    kind: Kind = "dc",
    *,
    guarded: bool = True,
    config: SeccConfig | None = None,
    simulated: SimulatedEvseConfig | None = None,
    made: "Callable[..., Rig] | None" = None,
    phases: Phases = 3,
) -> AsyncIterator[Rig]:
    """Make a rig, of another class where one is given. Must run in a `tests.virtual_time.VirtualLoop`."""
    room = Room()
    config = config or SeccConfig(services=tuple(EnergyService))
    config = msgspec.structs.replace(config, timing=SLOW) if config.timing == Timing() else config
    patch = pytest.MonkeyPatch()
    patch.setattr(hardware_parts.FolderMedium, "attach", lambda _folder, name: _attach(room, name))
    if not guarded:
        patch.setattr(hardware_parts, "SafetyChannel", Blind)
    events: list[Observe] = []
    clock = Clock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=UTC_MS))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(patch.undo)
        car = Car(kind, room.attach("evcc"), phases)
        assembly = Assembly(
            HardwareConfig(kind=kind, simulated=simulated or SimulatedEvseConfig(report_s=0.1)),
            config,
            clock,
            stack,
            events.append,
            folder=folder,
            meter_serial="METER-0001",
            medium_folder=folder,
            name="evse",
            watchdog=(watchdog := Watchdog()),
        )
        parts = await assembly.make()
        stack.push_async_callback(parts.evse.close)
        if parts.pilot is not None:
            parts.pilot.set_duty(5.0)
        car.arrive()
        await asyncio.sleep(0.2)
        found = (made or Rig)(pki, kind, config, parts, car, clock, assembly.faults)
        found.watchdog = watchdog
        events.extend(found.all_events)
        found.all_events = events
        if parts.pilot is not None:
            parts.pilot.on_state(lambda state: found.tell(ports.PilotChanged(state)))
        yield found
        found.running.cancel()
        await asyncio.gather(found.running, return_exceptions=True)


async def _attach(room: Room, name: str) -> Medium:
    return room.attach(name)
