"""What reaches the monitor of a vehicle, and what its decisions do at the hardware, each by itself."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from evcc.hardware.safety import TICK_S, SafetyChannel, reading, sample
from evcc.session import ports
from tests.secc.hardware.bare import at
from v2g.asn1.discharge import (
    DecisionReason,
    DischargeCommand,
    DischargeContent,
    DischargeDecision,
    SignatureAlgorithm,
    SignedMessage,
    encode_content,
    encode_signed,
)
from v2g.battery import runaway
from v2g.energy.conductors import Currents
from v2g.iec61851.pilot import DutyReading, PilotState
from v2g.io.hardware.emergency import CHECK_S
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.watchdog import Watchdog
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g.observe import Observe
from v2g.safety import Ask, BatteryReading, Output, Phase, VehicleRating

MAIN = int(PayloadType.DC)
BATTERY = ports.BatteryState(
    at_ms=0, soc=50, capacity_wh=60_000, energy_wh=30_000, voltage_mv=400_000, current_ma=0, temperature_c=25,
    max_voltage_mv=450_000, min_voltage_mv=300_000, max_charge_ma=200_000, max_discharge_ma=100_000,
    max_charge_w=80_000, max_discharge_w=40_000,
)  # fmt: skip
CHARGE, SHOW, CLOSE = ports.SetPowerLimits(50_000, 0), ports.SetCpState(PilotState.C), ports.CloseContactor()
OFF = [ports.SetPowerLimits(0, 0), ports.SetAcPower(0), ports.SetCpState(PilotState.B), ports.OpenContactor()]


def signed(content: DischargeContent) -> bytes:
    """Return a content as it is sent: who reads it here does not verify."""
    return encode_signed(
        SignedMessage(
            content=encode_content(content),
            signer=bytes(32),
            algorithm=SignatureAlgorithm.ECDSA_SECP521R1_SHA512,
            signature=bytes(64),
        )
    )


class Hardware:
    """Notes its commands; with `broken` each of them fails."""

    battery = BATTERY

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.callbacks: list[Callable[[Fact], None]] = []
        self.cuts, self.closed, self.broken = 0, False, False
        self.slow: list[Command] = []

    def subscribe(self, callback: Callable[[Fact], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback) if callback in self.callbacks else None

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        self.commands.append(command)
        if self.broken:
            raise RuntimeError(command)
        return self._slowly(command) if isinstance(command, ports.OpenContactor) else None

    async def _slowly(self, command: Command) -> None:
        self.slow.append(command)

    def cut(self) -> None:
        self.cuts += 1

    async def close(self) -> None:
        self.closed = True

    def report(self, *facts: Fact) -> None:
        for fact in facts:
            for each in tuple(self.callbacks):
                each(fact)


class Emergency:
    """An emergency output and its record."""

    def __init__(self, cause: str = "") -> None:
        self.cause, self.trips, self.checks = cause, list[tuple[str, object]](), 0

    def trip(self, cause: str, evidence: object) -> None:
        self.trips.append((cause, evidence))

    def check(self) -> None:
        self.checks += 1


class Messages:
    """Reads a message as the ask that it is; its payload is the number of one."""

    def __init__(self) -> None:
        self.asks: list[Any] = []
        self.heard: list[tuple[str, int]] = []

    def note(self, ask: Ask) -> bytes:
        self.asks.append(ask)
        return bytes([len(self.asks) - 1])

    def decode(self, payload_type: int, payload: bytes) -> Any:
        return self.asks[payload[0]] if payload and payload[0] < len(self.asks) else None

    def sent(self, message: Any, payload_type: int) -> Ask:
        self.heard.append(("sent", payload_type))
        return message  # type: ignore[no-any-return]

    def received(self, message: Any, payload_type: int) -> Ask:
        self.heard.append(("received", payload_type))
        return message  # type: ignore[no-any-return]


class Stream:
    """A connection of pieces to be read, and of what was written."""

    def __init__(self) -> None:
        self.pieces: Iterator[bytes] = iter(())
        self.written, self.closed = b"", False

    async def read(self, n: int) -> bytes:
        return next(self.pieces)

    async def write(self, data: bytes) -> None:
        self.written += data

    async def close(self) -> None:
        self.closed = True


class Place:
    """A channel in a session in which the vehicle has asked for power for ever, at matching voltages."""

    def __init__(
        self,
        rating: VehicleRating | None = None,
        cause: str | None = None,
        phase: Phase = Phase.POWER,
        limits: runaway.RunawaySettings | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.failures: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.failures.append(context))
        self.clock = Clock(ClockConfig(origin_monotonic=self.loop.time(), origin_utc_ms=0))
        self.hardware, self.watchdog, self.events = Hardware(), Watchdog(), list[Observe]()
        self.emergency = None if cause is None else Emergency(cause)
        self.channel = SafetyChannel(
            self.hardware,
            rating or VehicleRating(),
            self.clock,
            self.events.append,
            watchdog=self.watchdog,
            limits=limits,
            emergency=self.emergency,  # type: ignore[arg-type]
        )
        self.facts: list[Fact] = []
        self.unsubscribe = self.channel.subscribe(self.facts.append)
        self.stream, self.messages = Stream(), Messages()
        self.connection = self.channel.converse(self.stream, self.messages)
        self.at_ms = 0
        self.report()
        self.hear(Ask(phase=phase, alive_s=1e6))

    def hear(self, ask: Ask) -> None:
        """The charger answers."""
        self.stream.pieces = iter([frame(MAIN, self.messages.note(ask))])
        with pytest.raises(StopIteration):
            self.connection.read(1).send(None)

    def report(self, **changes: Any) -> None:
        """Battery and inlet report."""
        self.at_ms += 50
        state = {each: getattr(BATTERY, each) for each in BATTERY.__struct_fields__} | {"at_ms": self.at_ms} | changes
        self.hardware.report(ports.BatteryState(**state), ports.PresentVoltage(400_000, 0))

    async def go_on(self, seconds: float, **changes: Any) -> None:
        """Let time pass, in which both report."""
        for _ in range(round(seconds / 0.05)):
            await asyncio.sleep(0.05)
            self.report(**changes)

    def execute(self, command: Command) -> list[Command]:
        """Return what the hardware is commanded to do with a command of the session."""
        self.hardware.commands.clear()
        slowly = self.channel.execute(command)
        if slowly is not None:
            slowly.close()
        return self.hardware.commands

    def join(self) -> None:
        """State C, contactor closed, power requested."""
        for each in (SHOW, CLOSE, CHARGE):
            assert self.execute(each) == [each]
        self.hardware.report(ports.ContactorState(closed=True))
        self.hardware.commands.clear()

    def opened(self) -> list[str]:
        return [str(each.data["reason"]) for each in self.events if (each.stage, each.name) == ("safety", "opened")]

    def lowered(self) -> list[int | str | float | bool | None]:
        return [each.data["charge_w"] for each in self.events if (each.stage, each.name) == ("safety", "lowered")]

    async def send(self, content: DischargeContent | bytes) -> None:
        """The vehicle sends something signed."""
        payload = content
        if not isinstance(content, bytes):
            payload = signed(content)
        assert isinstance(payload, bytes)
        await self.connection.write(frame(PayloadType.SIGNED_DISCHARGE, payload))

    async def close(self) -> None:
        self.unsubscribe()
        await self.channel.close()
        assert self.failures == []


def command(power_w: int, until_ms: int) -> DischargeCommand:
    return DischargeCommand(
        session_id=bytes(8), offer_id=bytes(16), terms_hash=bytes(64), challenge=bytes(16), sequence=1,
        nonce=bytes(16), power_w=power_w, issued_at_ms=0, valid_until_ms=until_ms,
    )  # fmt: skip


@at(Place)
async def test_a_battery_that_repeats_its_report_is_silent(place: Place) -> None:
    place.join()
    await place.go_on(3.0)
    assert place.opened() == []
    last_ms = place.at_ms
    await place.go_on(0.9, at_ms=last_ms)
    assert place.opened() == []
    await place.go_on(0.6, at_ms=last_ms)
    assert place.opened() == ["battery_silent"]
    assert place.hardware.commands == OFF


@at(Place, rating=VehicleRating(signed=True))
async def test_a_signed_command_lasts_until_its_end(place: Place) -> None:
    place.join()
    assert place.execute(ports.SetPowerLimits(0, 9_000)) == [ports.SetPowerLimits(0, 9_000)]
    await place.send(command(9_000, until_ms=place.clock.utc_ms() + 3_000))
    await place.go_on(3.5)
    assert place.hardware.commands == [ports.SetPowerLimits(0, 9_000)]
    await place.go_on(1.0)
    assert place.hardware.commands[1:] == [ports.SetPowerLimits(0, 0), ports.SetAcPower(0)]
    assert [each.data for each in place.events] == [{"reason": "not_signed", "charge_w": 0, "discharge_w": 0}]


@pytest.mark.parametrize("what", ["nothing", "unreadable", "a decision", "less"])
@at(Place, rating=VehicleRating(signed=True))
async def test_only_a_command_signs_and_only_its_power(place: Place, what: str) -> None:
    place.join()
    place.execute(ports.SetPowerLimits(0, 9_000))
    decision = DischargeDecision(
        session_id=bytes(8), offer_id=bytes(16), terms_hash=bytes(64), accepted=True, max_discharge_w=9_000,
        decided_at_ms=0, reason=DecisionReason.ACCEPTED, minimum_soc=0,
    )  # fmt: skip
    contents: dict[str, DischargeContent | bytes] = {
        "unreadable": b"\x30", "a decision": decision, "less": command(4_000, until_ms=10**12),
    }  # fmt: skip
    if what in contents:
        await place.send(contents[what])
    place.execute(ports.SetAcPower(-9_000))
    await place.go_on(1.5)
    left_w = 4_000 if what == "less" else 0
    assert place.hardware.commands[1:3] == [ports.SetPowerLimits(0, left_w), ports.SetAcPower(-left_w)]


@at(Place, rating=VehicleRating(signed=True))
async def test_what_the_charger_sends_signs_nothing(place: Place) -> None:
    place.join()
    place.execute(ports.SetPowerLimits(0, 9_000))
    place.stream.pieces = iter([frame(PayloadType.SIGNED_DISCHARGE, signed(command(9_000, 10**12)))])
    await place.connection.read(1)
    await place.go_on(1.5)
    assert place.hardware.commands[1] == ports.SetPowerLimits(0, 0)


@at(Place, phase=Phase.IDLE)
async def test_nothing_passes_that_was_not_asked_for(place: Place) -> None:
    for each in (SHOW, CLOSE):
        assert each not in place.execute(each)
    assert place.execute(CHARGE)[0] == ports.SetPowerLimits(0, 0)
    assert place.execute(ports.SetAcPower(5_000))[-1] == ports.SetAcPower(0)
    assert place.opened() == ["not_requested"]
    assert place.facts[-1] == ports.HardwareFault("not_requested")


@at(Place)
async def test_the_session_may_always_let_go(place: Place) -> None:
    place.join()
    for each in (ports.SetPowerLimits(0, 0), ports.SetCpState(PilotState.B), ports.OpenContactor()):
        assert place.execute(each) == [each]
    place.hardware.report(ports.ContactorState(closed=False))
    await place.go_on(4.0)
    assert place.opened() == []


@at(Place)
async def test_a_contactor_that_does_not_follow_is_found(place: Place) -> None:
    place.join()
    place.execute(ports.OpenContactor())
    await place.go_on(3.5)
    assert place.opened() == ["contactor_welded"]


@at(Place)
async def test_each_part_is_switched_off_whichever_fails_and_it_is_reported(place: Place) -> None:
    place.join()
    place.hardware.broken = True
    place.hardware.report(ports.HardwareFault("inlet_hot"))
    await place.go_on(0.4)
    assert place.hardware.commands == OFF
    assert place.opened() == ["inlet_hot"]
    assert place.facts.count(ports.HardwareFault("inlet_hot")) == 2, "the hardware's report, and the decision's"


@at(Place)
async def test_what_takes_time_is_done_as_well(place: Place) -> None:
    place.join()
    place.hardware.report(ports.PlugState(connected=False))
    await place.go_on(0.4)
    assert place.opened() == ["unplugged"]
    assert place.hardware.slow == [ports.OpenContactor()]


@at(Place)
async def test_a_plug_that_is_there_is_no_fault(place: Place) -> None:
    place.join()
    place.hardware.report(ports.PlugState(connected=True))
    await place.go_on(1.0)
    assert place.opened() == []


@at(Place)
async def test_a_lowered_draw_keeps_what_may_flow_and_is_reported_once(place: Place) -> None:
    place.join()
    assert place.execute(ports.SetAcPower(11_000)) == [ports.SetAcPower(11_000)]
    place.hardware.commands.clear()
    place.hear(Ask(limit=Output(7_000)))
    await place.go_on(0.5)
    assert place.hardware.commands == [ports.SetPowerLimits(7_000, 0), ports.SetAcPower(7_000)]
    assert ports.SetPowerLimits(9_000, 0) not in place.execute(ports.SetPowerLimits(9_000, 0))
    assert place.lowered() == [7_000]
    place.hear(Ask(limit=Output(5_000)))
    await place.go_on(0.5)
    assert place.lowered() == [7_000, 5_000]


@at(Place)
async def test_where_nothing_is_drawn_nothing_is(place: Place) -> None:
    place.join()
    place.hear(Ask(limit=Output(7_000)))
    await place.go_on(0.5)
    assert place.hardware.commands == [ports.SetPowerLimits(7_000, 0), ports.SetAcPower(0)]


@at(Place)
async def test_a_draw_below_a_lowered_limit_stays(place: Place) -> None:
    place.join()
    place.execute(ports.SetAcPower(3_000))
    place.hear(Ask(limit=Output(7_000)))
    await place.go_on(0.5)
    assert place.hardware.commands[-2:] == [ports.SetPowerLimits(7_000, 0), ports.SetAcPower(3_000)]


@at(Place)
async def test_a_vehicle_in_state_b_may_be_left_alone(place: Place) -> None:
    place.execute(SHOW)
    place.execute(ports.SetCpState(PilotState.B))
    place.hear(Ask(alive_s=0.1))
    await place.go_on(1.0)
    assert place.opened() == []


@pytest.mark.parametrize("at_ms", [0, 1])
@at(Place, phase=Phase.IDLE)
async def test_the_battery_s_time_may_begin_anywhere(place: Place, at_ms: int) -> None:
    channel = SafetyChannel(place.hardware, VehicleRating(), place.clock, place.events.append)
    connection = channel.converse(place.stream, place.messages)
    await connection.write(frame(MAIN, place.messages.note(Ask(phase=Phase.POWER, alive_s=9))))
    place.report(at_ms=at_ms)
    place.hardware.commands.clear()
    channel.execute(CLOSE)
    assert place.hardware.commands == [CLOSE]
    await channel.close()


@at(Place)
async def test_a_draw_out_of_the_vehicle_is_lowered_towards_zero(place: Place) -> None:
    place.join()
    place.execute(ports.SetPowerLimits(0, 9_000))
    assert place.execute(ports.SetAcPower(-12_000))[-1] == ports.SetAcPower(-9_000)


@pytest.mark.parametrize("reselect", [False, True])
@at(Place)
async def test_a_stop_ends_what_flows_unless_services_are_selected_again(place: Place, reselect: bool) -> None:
    place.join()
    place.channel.fact(ports.StopRequested("driver", reselect=reselect))
    await place.go_on(4.5)
    assert place.hardware.commands == []
    await place.go_on(1.5)
    assert (ports.SetPowerLimits(0, 0) in place.hardware.commands) is not reselect


@at(Place)
async def test_a_charger_that_falls_silent_is_left_by_the_clock_alone(place: Place) -> None:
    place.join()
    place.hear(Ask(alive_s=0.5))
    for _ in range(8):
        await asyncio.sleep(0.1)
    assert place.opened() == ["silent"]


@at(Place)
async def test_messages_are_read_in_both_directions_whole(place: Place) -> None:
    asked, answered = (place.messages.note(Ask(alive_s=1.0)) for _ in range(2))
    data = frame(MAIN, asked)
    place.messages.heard.clear()
    await place.connection.write(data[:5])
    await place.connection.write(data[5:])
    assert place.stream.written == data
    data = frame(0x8101, answered)
    place.stream.pieces = iter([data[:3], data[3:]])
    assert await place.connection.read(9) == data[:3]
    assert place.messages.heard == [("sent", MAIN)]
    assert await place.connection.read(9) == data[3:]
    assert place.messages.heard == [("sent", MAIN), ("received", 0x8101)]
    await place.connection.write(frame(MAIN, b"\xff"))
    assert len(place.messages.heard) == 2, "what cannot be read means nothing"
    await place.connection.close()
    assert place.stream.closed


@at(Place)
async def test_a_frame_that_is_none_ends_the_reading_and_not_the_connection(place: Place) -> None:
    place.stream.pieces = iter([b"\x02\xfe\x90\x00" + bytes(8), frame(MAIN, place.messages.note(Ask()))])
    place.messages.heard.clear()
    assert await place.connection.read(9)
    assert await place.connection.read(9)
    assert place.messages.heard == []


@at(Place)
async def test_a_frame_of_another_version_ends_no_reading_as_it_ends_no_session(place: Place) -> None:
    data = frame(MAIN, place.messages.note(Ask()))
    place.messages.heard.clear()
    place.stream.pieces = iter([b"\x02\xfd" + data[2:], data])
    assert await place.connection.read(9)
    assert place.messages.heard == []
    assert await place.connection.read(9)
    assert place.messages.heard == [("received", MAIN)]


@at(Place)
async def test_after_the_session_messages_mean_nothing_and_nothing_passes(place: Place) -> None:
    place.channel.part()
    place.messages.heard.clear()
    await place.connection.write(frame(MAIN, place.messages.note(Ask(phase=Phase.POWER, alive_s=9))))
    place.stream.pieces = iter([frame(MAIN, b"\0")])
    assert await place.connection.read(9)
    assert place.messages.heard == []
    assert place.execute(SHOW) != [SHOW]


# -- the pilot alone


def of(amperes: float) -> DutyReading:
    return DutyReading("current", amperes)


@pytest.mark.parametrize(("phases", "watts"), [(1, 6_400), (3, 19_200)])
@at(Place)
async def test_the_duty_cycle_bounds_each_phase_at_the_inlets_voltage(place: Place, phases: int, watts: int) -> None:
    place.channel.part()
    place.channel.signal(of(16), phases=phases)
    place.report()
    place.hardware.report(ports.PresentVoltage(400_000, 0, 3))
    place.execute(SHOW)
    assert place.execute(ports.SetAcPower(watts)) == [ports.SetAcPower(watts)]
    assert place.execute(ports.SetAcPower(watts + 1))[-1] == ports.SetAcPower(watts)
    place.hardware.report(ports.PresentVoltage(400_000, 0))
    assert place.execute(ports.SetAcPower(watts))[-1] == ports.SetAcPower(6_400), "on one, if nobody knows on which"


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("inlet", "opened"),
    [
        (ports.PresentVoltage(230_000, 48_000, 3, Currents(16_000, 16_000, 16_000)), False),
        (ports.PresentVoltage(230_000, 20_000, 3, Currents(20_000, 0, 0)), True),
        (ports.PresentVoltage(230_000, 48_000, 3), False),
        (ports.PresentVoltage(230_000, 24_000), True),
    ],
)
@at(Place)
async def test_each_conductor_s_current_is_the_measured_one_or_its_part_of_the_sum(
    place: Place, inlet: ports.PresentVoltage, opened: bool
) -> None:
    place.channel.part()
    place.channel.signal(of(16), phases=3)
    place.report()
    place.execute(SHOW)
    place.hardware.report(replace(inlet, lines=3))
    place.execute(ports.SetAcPower(11_040))
    for _ in range(80):
        await asyncio.sleep(0.05)
        place.report()
        place.hardware.report(inlet)
    assert ("over_current" in place.opened()) is opened


@at(Place)
async def test_a_duty_cycle_that_falls_lowers_and_one_that_ends_leaves_six_seconds(place: Place) -> None:
    place.channel.part()
    place.channel.signal(of(16), phases=1)
    place.report()
    place.execute(SHOW)
    place.execute(ports.SetAcPower(6_000))
    place.channel.fact(ports.DutyRead(of(10)))
    assert place.execute(ports.SetAcPower(6_000))[-1] == ports.SetAcPower(4_000)
    place.hardware.report(ports.PresentVoltage(230_000, 0))
    assert place.execute(ports.SetAcPower(6_000))[-1] == ports.SetAcPower(2_300)
    place.report()
    place.channel.fact(ports.DutyRead(DutyReading("off")))
    await place.go_on(0.5)
    assert place.hardware.commands[-1] == ports.SetAcPower(0)
    await place.go_on(5.4)
    assert place.opened() == []
    await place.go_on(0.6)
    assert place.opened() == ["silent"]


@at(Place)
async def test_the_pilot_means_nothing_to_a_session_with_messages(place: Place) -> None:
    place.join()
    place.channel.fact(ports.DutyRead(DutyReading("off")))
    await place.go_on(0.5)
    assert place.hardware.commands == []


@at(Place)
async def test_a_duty_cycle_before_the_first_report_permits_nothing_yet(place: Place) -> None:
    channel = SafetyChannel(place.hardware, VehicleRating(), place.clock, place.events.append)
    channel.signal(of(16), phases=1)
    place.hardware.commands.clear()
    channel.execute(ports.SetAcPower(6_000))
    assert place.hardware.commands[-1] == ports.SetAcPower(0)
    await channel.close()


@pytest.mark.parametrize("ended", [False, True])
@at(Place)
async def test_the_pilot_means_nothing_without_a_session(place: Place, *, ended: bool) -> None:
    channel = SafetyChannel(place.hardware, VehicleRating(), place.clock, place.events.append)
    place.hardware.report(ports.PresentVoltage(400_000, 0, 1))
    place.report()
    if ended:
        channel.signal(of(16), phases=1)
        channel.part()
    channel.fact(ports.DutyRead(of(16)))
    channel.execute(SHOW)
    channel.execute(ports.SetAcPower(1))
    assert place.hardware.commands[-1] == ports.SetAcPower(0)
    channel.signal(of(16), phases=1)
    channel.execute(SHOW)
    channel.execute(ports.SetAcPower(1))
    assert place.hardware.commands[-1] == ports.SetAcPower(1)
    await channel.close()


@at(Place)
async def test_a_vehicle_that_draws_nothing_need_not_be_cut(place: Place) -> None:
    place.channel.part()
    place.channel.signal(of(16), phases=1)
    place.execute(ports.SetAcPower(0))
    for _ in range(20):
        place.watchdog.check()
    assert place.hardware.cuts == 0


# -- heat, hangs and the end


@at(Place, limits=runaway.RunawaySettings(temperature_c=120, voltage=0.9))
async def test_the_limits_of_a_runaway_are_the_makers(place: Place) -> None:
    place.join()
    await place.go_on(2.0, hottest_c=90.0, lowest_cell_mv=1_000.0, mean_cell_mv=3_700.0)
    assert place.opened() == []


@at(Place, cause="")
async def test_a_battery_that_burns_is_isolated_and_the_emergency_output_asserted(place: Place) -> None:
    assert place.emergency is not None
    place.join()
    await place.go_on(1.0, hottest_c=90.0)
    assert place.emergency.trips == []
    assert place.opened() == []
    await place.go_on(1.0, hottest_c=90.0, lowest_cell_mv=1_000.0, mean_cell_mv=3_700.0)
    (trip,) = place.emergency.trips
    assert trip[0] == runaway.KIND
    assert trip[1]
    assert place.opened() == [runaway.KIND]
    assert place.hardware.commands == OFF
    place.channel.converse(place.stream, place.messages)
    assert place.execute(SHOW) != [SHOW], "no later session ends that"


@at(Place, cause="thermal_runaway")
async def test_what_was_recorded_before_the_start_keeps_it_open(place: Place) -> None:
    assert SHOW not in place.execute(SHOW)
    assert place.opened() == ["thermal_runaway"]


@at(Place, cause="")
async def test_an_emergency_output_is_looked_after(place: Place) -> None:
    assert place.emergency is not None
    await asyncio.sleep(10 * CHECK_S + TICK_S / 2)
    assert 9 <= place.emergency.checks <= 11


@at(Place)
async def test_a_hang_switches_off_without_the_loop_and_is_a_fault(place: Place) -> None:
    for _ in range(20):
        place.watchdog.check()
    assert place.hardware.cuts == 0, "nothing is live"
    await asyncio.sleep(3 * TICK_S)
    place.join()
    for _ in range(20):
        place.watchdog.check()
    assert place.hardware.cuts == 1
    await asyncio.sleep(0.05)
    assert place.opened() == ["hung"]
    assert place.facts[-1] == ports.HardwareFault("program_hung"), "the session knows at once"
    await asyncio.sleep(0.4)
    assert place.opened() == ["hung", "program_hung"]
    assert place.hardware.commands == OFF


@at(Place)
async def test_a_loop_that_runs_is_not_cut(place: Place) -> None:
    place.join()
    for _ in range(100):
        await asyncio.sleep(TICK_S)
        place.report()
        place.watchdog.check()
    assert place.hardware.cuts == 0


@at(Place)
async def test_who_no_longer_listens_hears_nothing(place: Place) -> None:
    other: list[Fact] = []
    end = place.channel.subscribe(other.append)
    place.report()
    assert place.facts[-2:] == other
    end()
    place.join()
    place.hardware.report(ports.HardwareFault("inlet_hot"))
    await place.go_on(0.5)
    assert ports.HardwareFault("inlet_hot") in place.facts
    assert len(other) == 2


@at(Place)
async def test_it_is_the_hardware_for_sessions(place: Place) -> None:
    assert place.channel.battery is BATTERY
    place.channel.cut()
    assert place.hardware.cuts == 1
    place.join()
    await place.channel.close()
    assert place.hardware.closed
    place.hardware.commands.clear()
    place.hear(Ask(alive_s=0.1))
    await asyncio.sleep(2)
    place.report(voltage_mv=600_000)
    assert place.hardware.commands == [], "it looks no more"


def test_what_the_battery_reports_is_what_the_monitor_and_the_detector_read() -> None:
    assert reading(BATTERY) == BatteryReading(
        voltage_mv=400_000,
        current_ma=0,
        bears=Output(80_000, 40_000, 200_000, 100_000, 450_000),
    )
    assert sample(BATTERY).values == {runaway.HOTTEST: 25}
    burning = ports.BatteryState(
        **({each: getattr(BATTERY, each) for each in BATTERY.__struct_fields__})
        | {"at_ms": 7, "fault": "cell", "hottest_c": 61.5, "lowest_cell_mv": 3_100.0, "mean_cell_mv": 3_700.0,
           "pressure_kpa": 101.5, "current_ma": -5}
    )  # fmt: skip
    assert (reading(burning).fault, reading(burning).current_ma, sample(burning).at_ms) == ("cell", -5, 7)
    assert sample(burning).values == {
        runaway.HOTTEST: 61.5, runaway.LOWEST: 3.1, runaway.MEAN: 3.7, runaway.PRESSURE: 101.5,
    }  # fmt: skip
