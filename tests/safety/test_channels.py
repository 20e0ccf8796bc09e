"""The way from a monitor's verdict to the hardware, when what stands on it fails; and what is left of one session when
the next begins.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evcc.hardware.safety import SafetyChannel as VehicleChannel
from evcc.session import ports as vehicle_ports
from pki_tools.tree import PkiTree
from secc.hardware.config import Kind
from secc.hardware.safety import SafetyChannel
from secc.session import ports
from tests.safety.channels import RATING, FaultLog
from tests.safety.judged.rig import Rig, rig
from tests.virtual_time import in_simulated_time, simulated
from v2g.hardware.interfaces import Demand, OnFault, StageReport
from v2g.iec61851.pilot import PilotState
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.runtime.watchdog import Watchdog
from v2g.io.simulation.coil import SimulatedPrimary
from v2g.io.simulation.power import SimulatedStage
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe
from v2g.safety import VehicleRating


class Broken(Exception):
    """What a driver raises that nobody has foreseen."""


def the_clock() -> Clock:
    return Clock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=0))


# -- the charger


class WeldedContactor:
    """Closed before anybody has commanded it."""

    closed = True

    def __init__(self) -> None:
        self.reported: list[bool] = []

    def set(self, *, closed: bool) -> None:
        self.reported.append(closed)

    def cut(self) -> None:
        raise Broken

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """It never changes."""


class BrokenStage:
    """Takes no demand."""

    present = StageReport(0, 0)
    max_var = 0
    was_cut = False

    def drive(self, demand: Demand) -> None:
        raise Broken

    def react(self, var: int) -> None:
        """No reactive power."""

    def cut(self) -> None:
        self.was_cut = True

    def on_report(self, callback: Callable[[StageReport], None]) -> None:
        """It reports nothing."""

    def on_fault(self, callback: OnFault) -> None:
        """It finds nothing."""


def refuses(_event: Observe) -> None:
    raise Broken


@simulated
async def test_a_verdict_reaches_every_driver_whatever_another_one_raises() -> None:
    channel = SafetyChannel(RATING, the_clock(), refuses)
    contactor, evse = WeldedContactor(), FaultLog()
    channel.stage(BrokenStage())
    channel.contactor(contactor)
    channel.stand_over(evse)
    await asyncio.sleep(0.5)
    channel.close()
    assert contactor.reported == [False]
    assert evse.reported == [("contactor_welded", True)]


@simulated
async def test_the_watchdog_cuts_every_driver_whatever_another_one_raises() -> None:
    watchdog = Watchdog()
    events: list[Observe] = []
    channel = SafetyChannel(RATING, the_clock(), events.append, watchdog=watchdog)
    evse, stage = FaultLog(), BrokenStage()
    channel.stand_over(evse)
    channel.stage(stage)
    channel.contactor(WeldedContactor())
    for _ in range(20):
        watchdog.check()
    assert stage.was_cut
    await asyncio.sleep(0.05)
    channel.close()
    assert evse.reported == [("charger_failed", True)]
    assert [each.data for each in events] == [{"reason": "hung"}]


@pytest.mark.parametrize("kind", ["dc", "ac", "wpt", "acdp"])
@simulated
async def test_a_loop_that_hangs_is_cut_off_by_the_watchdog(pki: PkiTree, tmp_path: Path, kind: Kind) -> None:
    """Here nobody feeds the watchdog because no time passes; nothing else runs either."""
    async with rig(pki, tmp_path, kind) as found:
        await found.charge()
        began = found.now
        for _ in range(20):
            found.watchdog.check()
        for _ in range(3):
            await asyncio.sleep(0)  # what was sent to the wires arrives
        assert (found.car.power_w, found.car.live) == (0, False)
        assert found.now - began < 0.001
        await found.stays_off(5.0, looping=True)
        assert next(each.data for each in found.named("safety", "opened")) == {"reason": "hung"}
        assert found.reason == "charger_failed"


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("kind", ["dc", "acdp", "wpt"])
def test_the_contactor_opens_though_the_power_electronics_take_no_command(
    pki: PkiTree, tmp_path: Path, kind: Kind, guarded: bool
) -> None:
    def broken(*_: Any) -> None:
        raise Broken

    async def scenario() -> None:
        async with rig(pki, tmp_path, kind, guarded=guarded) as found:
            await found.charge()
            patch.setattr(SimulatedStage, "drive", broken)
            patch.setattr(SimulatedPrimary, "send", broken)
            found.evse.fault("emergency_stop", active=True)
            await found.off(0.5)
            assert not found.evse.contactors_closed
            assert {"emergency_stop", "charger_failed"} <= set(found.evse.faults)
            await found.stays_off(5.0)
            patch.undo()

    with pytest.MonkeyPatch.context() as patch:
        in_simulated_time(scenario())


@pytest.mark.parametrize("guarded", [True, False])
def test_the_contactor_opens_though_the_reason_cannot_be_reported(pki: PkiTree, tmp_path: Path, guarded: bool) -> None:
    def refuses(_word: str, _active: bool) -> None:
        raise Broken

    async def scenario() -> None:
        async with rig(pki, tmp_path, "ac", guarded=guarded) as found:
            await found.charge()
            found.evse.on_fault(refuses)
            found.evse.fault("over_temperature", active=True)
            await found.off(0.2)
            await found.stays_off(5.0)

    in_simulated_time(scenario())


@pytest.mark.some(1)
@pytest.mark.parametrize("kind", ["dc", "ac", "wpt", "acdp"])
@simulated
async def test_a_sound_charger_gives_the_monitor_nothing_to_say(pki: PkiTree, tmp_path: Path, kind: Kind) -> None:
    async with rig(pki, tmp_path, kind) as found:
        await found.charge()
        await found.go_on(5.0)
        if kind != "wpt":
            await found.deliver("ScheduleRenegotiation")
            await found.say("ScheduleExchangeReq")
            await found.deliver("Start")
            await found.go_on(2.0)
        await found.deliver("Standby")
        if found.car.ac is not None:
            found.car.ac.drive(0)
        await asyncio.sleep(10.0)
        await found.deliver("Start")
        await found.go_on(2.0)
        assert found.car.power_w > 5_000
        await found.deliver("Stop")
        await found.say("SessionStopReq", charging_session=cm.ChargingSession.Terminate)
        await found.stays_off(6.0)
        assert found.named("safety") == []
        assert found.reason == "finished"


async def _next_session(found: Rig) -> None:
    found.runner.abort("cancelled")
    await asyncio.gather(found.running, return_exceptions=True)
    found.connect()


@pytest.mark.parametrize("kind", ["dc", "ac", "wpt"])
@simulated
async def test_a_stop_before_anybody_was_authorised_ends_with_its_session(
    pki: PkiTree, tmp_path: Path, kind: Kind
) -> None:
    async with rig(pki, tmp_path, kind) as found:
        await found.say("SupportedAppProtocolReq")
        found.tell(ports.StopRequested("reset"))
        await _next_session(found)
        await found.charge()
        await found.go_on(3.0)
        assert found.named("safety") == []


# -- the vehicle


class BrokenVehicle:
    """Takes no word of power."""

    battery: Any = None

    def __init__(self) -> None:
        self.did: list[Command] = []
        self.tell: Callable[[Any], None] = lambda _fact: None

    def subscribe(self, callback: Callable[[Any], None]) -> Callable[[], None]:
        self.tell = callback
        return lambda: None

    def execute(self, command: Command) -> None:
        if isinstance(command, (vehicle_ports.SetPowerLimits, vehicle_ports.SetAcPower)):
            raise Broken
        self.did.append(command)

    def cut(self) -> None:
        raise Broken

    async def close(self) -> None:
        """Nothing to leave."""


@simulated
async def test_a_vehicles_verdict_reaches_pilot_contactor_and_session_whatever_else_fails() -> None:
    hardware, reported = BrokenVehicle(), []
    channel = VehicleChannel(hardware, VehicleRating(), the_clock(), refuses)
    from_hardware = hardware.tell
    channel.subscribe(lambda _fact: refuses(Observe("", "")))
    channel.subscribe(reported.append)
    from_hardware(vehicle_ports.ContactorState(closed=True))
    await asyncio.sleep(0.5)
    await channel.close()
    assert hardware.did == [vehicle_ports.SetCpState(PilotState.B), vehicle_ports.OpenContactor()]
    assert reported == [vehicle_ports.HardwareFault("contactor_welded")]


@simulated
async def test_a_vehicle_that_cannot_be_cut_off_is_asked_to_stop_all_the_same() -> None:
    watchdog, hardware = Watchdog(), BrokenVehicle()
    events: list[Observe] = []
    channel = VehicleChannel(hardware, VehicleRating(), the_clock(), events.append, watchdog=watchdog)
    hardware.tell(vehicle_ports.ContactorState(closed=True))
    for _ in range(20):
        watchdog.check()
    await asyncio.sleep(0.05)
    await channel.close()
    assert [each.data for each in events] == [{"reason": "hung"}]
