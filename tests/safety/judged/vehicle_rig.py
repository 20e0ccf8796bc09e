"""A vehicle on a test rig in simulated time: the real session, runner, safety channel and simulated vehicle, and a
charger that answers by the book and drives what it is asked for, unless the test has it do something else.

`async with vehicle_rig("dc") as found:` in a `tests.virtual_time.VirtualLoop`; kinds are `dc`, `ac`, `wpt` (above a
coil), `acdp` (below a pantograph) and `basic` (the pilot alone). `found.charge()` reaches the charge loop with power;
`found.faults` breaks the vehicle's parts; `found.station` is the charger: `force` what it drives whatever is asked,
`twist` its answers, `requests` it has had. What is judged is seen at the charger's end of pilot, line and coil:
`joined`, `power_w`, `shows_c`.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from evcc.hardware.ac import OnBoardCharger
from evcc.hardware.couplings import RailPilot, SecondaryDevice
from evcc.hardware.drive import Driving, PlaceConfig
from evcc.hardware.safety import SafetyChannel
from evcc.hardware.vehicle import BenchPilot, Converter, SimulatedVehicle, VehicleFault
from evcc.policy.battery import BatteryConfig
from evcc.session import ports
from evcc.session.basic_charging import BasicVehicle
from evcc.session.contracts import Contract
from evcc.session.d20.safety import Iso20Messages
from evcc.session.d20.session import VehicleSession
from evcc.session.edition import Connection, MessageReader
from evcc.session.paused import Resume
from evcc.session.settings import (
    AuthorizationConfig,
    BasicConfig,
    DischargeConfig,
    OnBoardChargerConfig,
    ProgramStep,
    ServiceConfig,
    SessionConfig,
)
from tests.safety.judged.rig import ENERGY_W, Pipe
from tests.safety.vehicle_places import CHECK_W, EFFICIENCY, MOST_W, Kind, PlaceResponses
from v2g import exi
from v2g.energy.conductors import Currents
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.runner import NullStream, Runner
from v2g.io.runtime.watchdog import Watchdog
from v2g.io.simulation.lines import (
    ChargerAc,
    ChargerAcLine,
    ChargerDcLine,
    VehicleAcLine,
    VehicleCoilLine,
    VehicleContactLine,
    VehicleDc,
    VehicleDcLine,
)
from v2g.io.simulation.medium import Medium, Room
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import ChargeProgress, PowerDeliveryReq
from v2g.iso15118.d20.messages.common_types import EvseNotification, EVSEStatus
from v2g.iso15118.d20.session import decode_payload
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame
from v2g.observe import Observe
from v2g.safety import VehicleRating

LOOPS = {"dc": "DC_ChargeLoopReq", "acdp": "DC_ChargeLoopReq", "ac": "AC_ChargeLoopReq", "wpt": "WPT_ChargeLoopReq"}
PLACE = PlaceConfig(distance_cm=250)
UTC_MS = 1_700_000_000_000
MAINS_MV = 230_000
MOST_MA = 30_000
ANSWER_S = 0.02
"""How long the charger takes for an answer."""


Crossing = Callable[[Currents], Currents]


class Wires:
    """The wires of an inlet, in which another current flows than its on-board charger draws, where `crossing` has it
    so. A current flows where there is voltage only."""

    def __init__(self, line: VehicleAcLine) -> None:
        self._line, self.drawn = line, Currents()
        self.crossing: Crossing = lambda currents: currents

    @property
    def seen(self) -> ChargerAc | None:
        """See VehicleAcLine."""
        return self._line.seen

    def on_change(self, callback: Callable[[ChargerAc | None], None]) -> None:
        """See VehicleAcLine."""
        self._line.on_change(callback)

    def publish(self, currents: Currents) -> None:
        """Let these be drawn."""
        self.drawn = currents
        self._line.publish(self.carried)

    @property
    def carried(self) -> Currents:
        """What flows."""
        live = self.seen is not None and self.seen.contactor_closed
        return self.crossing(self.drawn) if live else Currents()

    def cross(self, crossing: Crossing) -> None:
        """Let another current flow from now on."""
        self.crossing = crossing
        self._line.publish(self.carried)


class WiredCharger(OnBoardCharger):
    """An on-board charger whose inlet measures what flows in its wires."""

    def __init__(self, wires: Wires, config: OnBoardChargerConfig) -> None:
        self._wires = wires
        super().__init__(wires, config)  # type: ignore[arg-type]

    @property
    def present(self) -> ports.PresentVoltage:
        """See Converter."""
        present, carried = super().present, self._wires.carried
        if not present.voltage_mv:
            return present
        measured = None if present.currents is None else carried
        return replace(present, current_ma=carried.total_ma, currents=measured)


class Blind(SafetyChannel):
    """A channel without a monitor: what the corrected session and hardware do alone."""

    def _passed(self, command: Command) -> Command | None:
        return command

    def _ask_monitor(self, what: Any) -> None:
        """Nobody listens."""


class Station:
    """The charger. `force` (mV, mA) is what it drives at its output, None what it is asked for; a `twist` returns what
    is answered instead, None for nothing."""

    def __init__(self, kind: Kind, medium: Medium) -> None:
        self.kind = kind
        self.pilot = SimulatedChargerPilot(medium)
        self.dc, self.ac = ChargerDcLine(medium), ChargerAcLine(medium)
        self.responses = PlaceResponses(kind, medium)
        self.force: tuple[int, int] | None = None
        self.twist: Callable[[Any, Any], Any] = lambda _request, response: response
        self.delays: dict[str, float] = {}
        self.notices: list[EvseNotification] = []
        self.requests: list[Any] = []
        self.driven, self.ac_mv, self.lines = (0, 0), 0, 3
        self.leaf = b""
        self.saw_c_after: str | None = None
        self.answer: Callable[[bytes], None] = lambda _data: None
        self._framer = Framer()
        self._target_mv = self._wanted_w = 0
        self._powered = False
        self.pilot.on_state(self._pilot_changed)
        self.dc.on_change(lambda _: self.act())
        self.pilot.set_duty(5.0)

    @property
    def by_dc(self) -> bool:
        """Whether energy comes by a direct current line."""
        return self.kind in ("dc", "acdp")

    @property
    def touches(self) -> bool:
        """Whether the line reaches the vehicle: below a pantograph, as long as its contacts are closed."""
        device = self.responses.pantograph
        return device is None or device.connected

    def rest(self) -> None:
        """Drive nothing until something is asked for."""
        self._powered, self._target_mv, self._wanted_w = False, 0, 0
        self.act()

    def asked(self, name: str) -> int:
        """Return how often that was asked."""
        return sum(type(each).__name__ == name for each in self.requests)

    def hear(self, data: bytes) -> None:
        """Take what the vehicle sends, and answer."""
        for each in self._framer.feed(data):
            if each.payload_type == PayloadType.SIGNED_DISCHARGE:
                self.hear_signed(each.payload)
                continue
            family = Family.AC if self.kind == "ac" else Family.DC
            request, _ = decode_payload(each.payload_type, each.payload, family)
            self.requests.append(request)
            self._obey(request)
            response = self.twist(request, self._response(request))
            if response is not None:
                self.reply(request, response, each.payload_type)

    def hear_signed(self, payload: bytes) -> None:
        """Take what the vehicle signs; this charger asked for nothing."""

    def reply(self, request: Any, response: Any, payload_type: int) -> None:
        """Send an answer in its time."""
        self.send(frame(payload_type, exi.encode(response)), self.delays.get(type(request).__name__, ANSWER_S))

    def send(self, data: bytes, seconds: float) -> None:
        """Send this so much later."""
        asyncio.get_running_loop().call_later(seconds, self.answer, data)

    def _response(self, request: Any) -> Any:
        self.responses.time = UTC_MS // 1000
        response = self.responses.make(request)
        if type(request).__name__ == "SessionSetupReq":
            self.responses.session_id = b"vehicle1"
            response = replace(response, header=self.responses.header())
        if self.notices and hasattr(response, "evse_status"):
            status = EVSEStatus(notification_max_delay=0, evse_notification=self.notices.pop(0))
            response = replace(response, evse_status=status)
        return response

    def _obey(self, request: Any) -> None:
        match type(request).__name__:
            case "DC_PreChargeReq":
                number = request.ev_target_voltage
                self._target_mv = round(number.value * 10**number.exponent * 1000)
            case "PowerDeliveryReq":
                self._powered = request.charge_progress is ChargeProgress.Start
                self._wanted_w = 0
                if request.charge_progress is ChargeProgress.Stop:
                    self._target_mv = 0
            case "WPT_AlignmentCheckReq":
                self._wanted_w = CHECK_W
            case "WPT_ChargeLoopReq":
                number = request.evpc_power_request
                wanted_w = min(MOST_W, number.value * 10.0**number.exponent)
                self._wanted_w = round(wanted_w / EFFICIENCY) if self._powered else 0
            case "SessionStopReq":
                self._wanted_w = 0
        self.act()

    def wanted_ma(self, vehicle: VehicleDc) -> int:
        """Return the current that the vehicle on the line wants."""
        return min(MOST_MA, vehicle.max_charge_ma) or -min(MOST_MA, vehicle.max_discharge_ma)

    def _pilot_changed(self, state: PilotState) -> None:
        if state in (PilotState.C, PilotState.D):
            if self.saw_c_after is None:
                self.saw_c_after = type(self.requests[-1]).__name__ if self.requests else ""
        else:
            self._powered, self._target_mv = False, 0
        self.act()

    def act(self) -> None:
        """Drive what is asked for, or what the test wants."""
        vehicle = self.dc.vehicle
        if self.force is not None:
            self.driven = self.force
        elif self._target_mv:
            ma = self.wanted_ma(vehicle) if self._powered and vehicle is not None else 0
            self.responses.current = ma / 1000
            self.driven = self._target_mv, ma
        else:
            self.driven = 0, 0
        if (coil := self.responses.coil) is not None:
            forced = self.force is not None
            coil.send(max(0, self.driven[0] * self.driven[1] // 1_000_000) if forced else self._wanted_w)
        elif self.by_dc:
            if not self.touches:
                self.driven = 0, 0
            self.dc.publish(*self.driven, contactor_closed=self.driven != (0, 0))
        else:
            closed = self.pilot.state in (PilotState.C, PilotState.D) or self.force is not None
            self.ac_mv = MAINS_MV if closed else 0
            self.ac.publish(self.ac_mv, self.lines, contactor_closed=closed)


class VehicleRig:
    """One vehicle at one charger."""

    def __init__(
        self,
        kind: Kind,
        station: Station,
        channel: SafetyChannel,
        pilot: SimulatedVehiclePilot | RailPilot | BenchPilot,
        config: SessionConfig,
        clock: Clock,
    ) -> None:
        self.kind, self.station, self.channel, self.pilot, self.config = kind, station, channel, pilot, config
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.contracts: tuple[Contract, ...] = ()
        self.patch: Any = None
        self.faults: set[VehicleFault] = set()
        self.watchdog = Watchdog()
        self.events: list[Observe] = []
        self.commanded: list[Command] = []
        self.wires: Wires | None = None
        self.ever_c = self.ever_closed = False
        self.session: VehicleSession | BasicVehicle
        self._unsubscribe: Callable[[], None] = lambda: None

    def connect(self, *, resume: Resume | None = None) -> None:
        """Begin a session, or go on with one."""
        pipe = Pipe(self.station.hear)
        self.station.answer = pipe.incoming.put_nowait
        numbers = itertools.count(1)

        def entropy(n: int) -> bytes:
            return next(numbers).to_bytes(n, "big")

        stream: Any = NullStream()
        if self.kind == "basic":
            self.session = BasicVehicle(
                BasicConfig(),
                self.config.on_board_charger,
                self.config.program[0],
                duty=self.pilot.duty,
                battery=self.channel.battery,
                entropy=entropy,
            )
            self.channel.signal(self.pilot.duty, phases=self.config.on_board_charger.phases)
        else:
            self.session = self.begun(entropy, resume)
            stream = self.channel.converse(pipe, self.reader())
        self.runner = Runner(self.session, stream, execute=self._execute, clock=self.clock, observe=self.events.append)
        self._unsubscribe = self.channel.subscribe(self.runner.fact)
        if self.kind == "basic":
            self.pilot.on_duty(lambda duty: self.tell(ports.DutyRead(duty)))
        self.running = self.loop.create_task(self._run())

    def begun(self, entropy: Callable[[int], bytes], resume: Resume | None) -> Any:
        """Return a session of this vehicle."""
        return VehicleSession(
            self.config,
            Connection(
                battery=self.channel.battery,
                secc_certificate=self.station.leaf,
                contracts=self.contracts,
                entropy=entropy,
                resume=resume,
            ),
        )

    def reader(self) -> MessageReader:
        """Return what reads the messages of a session for the monitor."""
        return Iso20Messages(self.config)

    async def _run(self) -> str:
        try:
            return await self.runner.run()
        finally:
            self._unsubscribe()
            self.channel.part()

    def _execute(self, command: Command) -> Coroutine[Any, Any, Fact | None] | None:
        self.commanded.append(command)
        return self.channel.execute(command)

    def tell(self, fact: Fact) -> None:
        """Tell monitor and session, as the program does."""
        self.channel.fact(fact)
        self.runner.fact(fact)

    # -- what is seen from outside

    @property
    def now(self) -> float:
        return self.loop.time()

    @property
    def joined(self) -> bool:
        """Whether the vehicle's contactor is closed."""
        seen = self.station.dc.vehicle
        return seen is not None and seen.contactor_closed

    @property
    def shows_c(self) -> bool:
        return self.station.pilot.state in (PilotState.C, PilotState.D)

    @property
    def power_w(self) -> int:
        """What flows into the vehicle."""
        if (coil := self.station.responses.coil) is not None:
            return coil.arrives_w
        if self.station.by_dc:
            seen = self.station.dc.vehicle
            if seen is None or not seen.contactor_closed:
                return 0
            return seen.voltage_mv * self.station.driven[1] // 1_000_000
        return MAINS_MV * self.carried.total_ma // 1_000_000

    @property
    def carried(self) -> Currents:
        """What flows in each conductor of alternating current."""
        drawn = self.station.ac.seen
        return drawn.currents if drawn is not None and self.shows_c else Currents()

    def named(self, stage: str, name: str = "") -> list[Observe]:
        return [each for each in self.events if each.stage == stage and name in ("", each.name)]

    # -- what is waited for

    async def until(self, what: Callable[[], bool], within: float) -> float:
        """Wait for something; return how long that took."""
        began = self.now
        while not what():
            assert self.now - began <= within, (self.power_w, self.joined, self.shows_c, self.events[-6:])
            await asyncio.sleep(0.01)
            self.ever_c |= self.shows_c
            self.ever_closed |= self.joined
        return self.now - began

    async def asked(self, name: str, *, times: int = 1, within: float = 20.0) -> None:
        """Wait until the vehicle has asked that so often."""
        await self.until(lambda: self.station.asked(name) >= times, within)

    async def charge(self) -> None:
        """Be in the loop, with power."""
        if self.kind != "basic":
            await self.asked(LOOPS[self.kind], times=5)
        await self.until(lambda: self.power_w > 5_000, 5.0)

    async def off(self, within: float, *, joined: bool = False) -> float:
        """Wait until no energy can flow: no power, and but for `joined` contactor open and pilot in B."""
        return await self.until(
            lambda: abs(self.power_w) <= ENERGY_W and (joined or not (self.joined or self.shows_c)), within
        )

    async def stays_off(self, seconds: float, *, joined: bool = False) -> None:
        """See that no energy can flow for so long."""
        end = self.now + seconds
        while self.now < end:
            assert abs(self.power_w) <= ENERGY_W, (self.power_w, self.events[-5:])
            assert joined or not (self.joined or self.shows_c), self.events[-5:]
            await asyncio.sleep(0.05)

    async def never_joined(self, seconds: float) -> None:
        """See that the vehicle neither shows C nor closes its contactor, for so long."""
        await self.stays_off(seconds)
        assert not self.ever_c
        assert not self.ever_closed

    def started(self) -> bool:
        """Whether the vehicle has asked for the transfer of energy."""
        return any(
            isinstance(each, PowerDeliveryReq) and each.charge_progress is ChargeProgress.Start
            for each in self.station.requests
        )


def settings(kind: Kind, *steps: ProgramStep) -> SessionConfig:
    """Return a vehicle that charges, and would for long."""
    energy: Any = {"ac": ("AC",), "wpt": ("WPT",), "acdp": ("DC_ACDP",)}.get(kind, ("DC",))
    return SessionConfig(
        program=steps or (ProgramStep(do="charge", for_s=3600),),
        services=ServiceConfig(energy=energy, signed_discharge=False, control_mode=("scheduled",)),
        authorization=AuthorizationConfig(allow_eim=True),
        discharge=DischargeConfig(require_signed=False),
    )


@contextlib.asynccontextmanager
async def vehicle_rig(
    kind: Kind = "dc",
    *,
    guarded: bool = True,
    config: SessionConfig | None = None,
    battery: BatteryConfig | None = None,
    faults: tuple[VehicleFault, ...] = (),
    duty: float = 40.0,
    step_s: float = 0.05,
    charger: type[Station] = Station,
    made: type[VehicleRig] = VehicleRig,
) -> AsyncIterator[VehicleRig]:
    """Make a rig, of other classes where some are given. `duty` is the charger's duty cycle for `basic`, percent;
    `step_s` is how often battery and inlet report."""
    room = Room()
    clock = Clock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=UTC_MS))
    config = config or settings(kind)
    station = charger(kind, room.attach("evse"))
    if kind == "basic":
        station.pilot.set_duty(duty)
    medium = room.attach("ev")
    driving = Driving(PLACE)
    simulated = SimulatedVehiclePilot(medium) if kind != "wpt" else BenchPilot()
    pilot: SimulatedVehiclePilot | RailPilot | BenchPilot = simulated
    on_board: Converter | None = None
    wires: Wires | None = None
    if kind in ("ac", "basic"):
        wires = Wires(VehicleAcLine(medium))
        on_board = WiredCharger(wires, config.on_board_charger)
    elif kind == "wpt":
        on_board = SecondaryDevice(VehicleCoilLine(medium), PLACE, driving)
    elif kind == "acdp":
        assert isinstance(simulated, SimulatedVehiclePilot)
        pilot = RailPilot(simulated, VehicleContactLine(medium), PLACE, driving)
    broken: set[VehicleFault] = set(faults)
    hardware = SimulatedVehicle(
        battery or BatteryConfig(soc=30),
        line=VehicleDcLine(medium),
        pilot=pilot,
        clock=clock,
        step_s=step_s,
        on_board=on_board,
        driving=driving,
        faults=broken,
    )
    if isinstance(pilot, RailPilot):
        pilot.on_lost(hardware.contacts_lost)
    rating = VehicleRating(
        sensor_s=config.timing.sensor_s,
        signed=config.discharge.require_signed,
        line_ma=config.on_board_charger.line_ma,
    )
    events: list[Observe] = []
    watchdog = Watchdog()
    channel = (SafetyChannel if guarded else Blind)(hardware, rating, clock, events.append, watchdog=watchdog)
    pilot.plug()
    await asyncio.sleep(0.2)
    found = made(kind, station, channel, pilot, config, clock)
    found.events, found.faults, found.watchdog, found.wires = events, broken, watchdog, wires
    found.connect()
    try:
        yield found
    finally:
        found.running.cancel()
        await asyncio.gather(found.running, return_exceptions=True)
        await channel.close()
