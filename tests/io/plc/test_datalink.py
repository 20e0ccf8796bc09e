"""From plug-in to D-LINK_READY and back: pilot, matching, modem and medium together."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from v2g.errors import SlacError
from v2g.iec61851.pilot import PilotState
from v2g.io.plc.datalink import ChargerLink, VehicleLink
from v2g.io.plc.link import PlcConfig
from v2g.io.plc.opening import open_link
from v2g.io.plc.pilot import SimulatedChargerPilot, SimulatedVehiclePilot
from v2g.io.simulation.medium import Medium
from v2g.io.simulation.medium_folder import FolderMedium
from v2g.observe import Observe
from v2g.slac.ev import EvSlacConfig
from v2g.slac.evse import EvseSlacConfig
from v2g.slac.modem import AttenuationConfig
from v2g.slac.shared import FAST, SlacTiming


class Rig:
    """A charger and a vehicle on one medium."""

    def __init__(
        self, charger: Medium, vehicle: Medium, attenuation: AttenuationConfig | None = None, timing: SlacTiming = FAST
    ) -> None:
        self.charger_plc = open_link(
            PlcConfig(attenuation=attenuation or AttenuationConfig()), role="evse", medium=charger
        )
        self.vehicle_plc = open_link(PlcConfig(), role="ev", medium=vehicle)
        self.charger_pilot = SimulatedChargerPilot(charger)
        self.vehicle_pilot = SimulatedVehiclePilot(vehicle)
        self.events: list[Observe] = []
        self.downs: list[tuple[str, str]] = []
        self.charger = ChargerLink(
            self.charger_plc, self.charger_pilot, EvseSlacConfig(timing=FAST), observe=self.events.append
        )
        self.vehicle = VehicleLink(
            self.vehicle_plc, self.vehicle_pilot, EvSlacConfig(timing=timing), observe=self.events.append
        )
        self.charger.on_down(lambda reason: self.downs.append(("charger", reason)))
        self.vehicle.on_down(lambda reason: self.downs.append(("vehicle", reason)))

    def close(self) -> None:
        for part in (self.charger, self.vehicle, self.charger_plc, self.vehicle_plc):
            part.close()


@pytest_asyncio.fixture
async def rig(charger_medium: Medium, vehicle_medium: Medium) -> AsyncIterator[Rig]:
    rig = Rig(charger_medium, vehicle_medium)
    yield rig
    rig.close()


async def test_plugging_in_matches_both_sides_in_one_network(rig: Rig) -> None:
    ready: list[str] = []
    rig.charger.on_ready(lambda matched: ready.append(matched.nid.hex()))
    rig.vehicle.on_ready(lambda matched: ready.append(matched.nid.hex()))
    assert rig.charger_pilot.state is PilotState.A
    rig.vehicle_pilot.plug()
    async with asyncio.timeout(60):
        charger, vehicle = await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    assert charger == vehicle
    assert ready == [charger.nid.hex()] * 2
    assert await rig.charger.ready() is charger
    assert rig.charger_pilot.state is PilotState.B
    assert rig.charger_pilot.duty_percent == 5.0
    assert rig.vehicle_pilot.duty.meaning == "digital"
    names = [event.name for event in rig.events]
    assert {"plugged_in", "matching_started", "attenuation_measured", "attenuation", "matched"} <= set(names)
    assert charger.nmk.hex() not in str(rig.events)


async def test_states_b_and_c_cross_while_matched(rig: Rig, until: Callable) -> None:
    states: list[PilotState] = []
    rig.charger_pilot.on_state(states.append)
    rig.vehicle_pilot.plug()
    await rig.vehicle.ready()
    for state in (PilotState.C, PilotState.B, PilotState.D):
        rig.vehicle_pilot.set_state(state)
        await until(lambda state=state: rig.charger_pilot.state is state)
    assert states == [PilotState.B, PilotState.C, PilotState.B, PilotState.D]
    assert rig.charger.matched
    for bad in (PilotState.A, PilotState.F):
        with pytest.raises(ValueError, match="cannot show"):
            rig.vehicle_pilot.set_state(bad)
        if bad is PilotState.A:
            with pytest.raises(ValueError, match="not a fault"):
                rig.charger_pilot.set_error(bad)
    with pytest.raises(ValueError, match="outside"):
        rig.charger_pilot.set_duty(101)


async def test_unplugging_ends_it_and_plugging_in_again_makes_another_network(rig: Rig, until: Callable) -> None:
    rig.vehicle_pilot.plug()
    await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    first = rig.charger.matched
    rig.vehicle_pilot.unplug()
    await until(lambda: len(rig.downs) == 2)
    assert sorted(rig.downs) == [("charger", "unplugged"), ("vehicle", "pilot_lost")]
    assert rig.charger.matched is rig.vehicle.matched is None
    assert rig.charger_pilot.duty_percent is None
    rig.vehicle_pilot.plug()
    async with asyncio.timeout(60):
        second, _ = await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    assert first is not None
    assert second.nid != first.nid


async def test_a_plug_that_is_not_seated_is_refused_until_it_is(rig: Rig, until: Callable) -> None:
    rig.vehicle_pilot.plug(proximity_ohm=None)
    await until(lambda: rig.downs)
    assert rig.downs == [("charger", "plug_not_seated")]
    assert rig.charger_pilot.duty_percent is None
    rig.vehicle_pilot.plug()
    async with asyncio.timeout(60):
        await rig.vehicle.ready()
    rig.vehicle_pilot.plug(proximity_ohm=None)  # works loose in mid-session
    await until(lambda: rig.downs[1:] == [("charger", "plug_not_seated")])
    assert rig.charger_pilot.duty_percent is None


async def test_a_shorted_diode_is_a_fault_until_the_vehicle_leaves(rig: Rig, until: Callable) -> None:
    rig.vehicle_pilot.plug(diode=False)
    await until(lambda: rig.downs)
    assert rig.downs == [("charger", "pilot_fault")]
    assert rig.charger_pilot.duty_percent is None
    rig.vehicle_pilot.unplug()
    await until(lambda: rig.charger_pilot.state is PilotState.A)
    rig.vehicle_pilot.plug()
    async with asyncio.timeout(60):
        await rig.vehicle.ready()


async def test_the_vehicles_death_is_an_unplugged_cable(rig: Rig, vehicle_medium: Medium, until: Callable) -> None:
    rig.vehicle_pilot.plug()
    await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    (vehicle_medium.directory / "evcc.sock").unlink()  # as if killed: nobody says farewell
    await until(lambda: rig.downs)
    assert rig.downs[0] == ("charger", "unplugged")


async def test_a_vehicle_that_dies_as_the_link_starts_over_leaves_the_pilot_to_the_next(
    rig: Rig, vehicle_medium: Medium
) -> None:
    """That it has is first noticed while the link is restarted, whose X1 and F are not for the next one."""
    rig.vehicle_pilot.plug()
    await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    (vehicle_medium.directory / "evcc.sock").unlink()
    rig.charger.restart("session_failed")
    assert rig.downs == [("charger", "unplugged")]
    assert "pilot_restart" not in [event.name for event in rig.events]


async def test_the_chargers_death_is_a_lost_pilot(rig: Rig, charger_medium: Medium, until: Callable) -> None:
    rig.vehicle_pilot.plug()
    await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    (charger_medium.directory / "secc.sock").unlink()
    await until(lambda: rig.downs)
    assert rig.downs[0] == ("vehicle", "pilot_lost")


async def test_a_terminated_session_stays_down_until_the_plug_was_out(rig: Rig, until: Callable) -> None:
    rig.vehicle_pilot.plug()
    await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    rig.vehicle.terminate()
    rig.charger.terminate()
    await until(lambda: rig.vehicle_pilot.duty.meaning == "off")
    rig.vehicle_pilot.set_state(PilotState.C)
    rig.vehicle_pilot.set_state(PilotState.B)
    await until(lambda: rig.charger_pilot.state is PilotState.B)
    assert rig.charger_pilot.duty_percent is None
    rig.vehicle_pilot.unplug()
    await until(lambda: rig.charger_pilot.state is PilotState.A)
    rig.vehicle_pilot.plug()
    async with asyncio.timeout(60):
        await rig.charger.ready()
    assert rig.downs == []


async def test_an_error_starts_over_by_x1_and_f(rig: Rig, until: Callable) -> None:
    rig.vehicle_pilot.plug()
    await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    first = rig.charger.matched
    states: list[PilotState] = []
    rig.charger_pilot.on_state(states.append)
    rig.charger.restart("session_failed")
    await until(lambda: rig.charger.matched and rig.vehicle.matched)
    assert states == [PilotState.F, PilotState.B]
    assert ("vehicle", "pilot_lost") in rig.downs
    assert rig.charger.matched != first


async def test_a_lost_link_starts_over_by_itself(
    charger_medium: Medium, vehicle_medium: Medium, until: Callable
) -> None:
    rig = Rig(charger_medium, vehicle_medium)
    rig.vehicle_pilot.plug()
    await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    rig.charger_plc.modem.nid = b"strange"  # the modem lost its key
    await until(lambda: ("charger", "link_lost") in rig.downs)
    await until(lambda: rig.charger.matched and rig.vehicle.matched)
    rig.close()


async def test_a_charger_too_far_away_is_an_error_for_those_who_wait(charger_medium, vehicle_medium) -> None:
    timing = msgspec.structs.replace(FAST, matching_repetition_s=0.0, atten_results_s=0.1)
    rig = Rig(charger_medium, vehicle_medium, AttenuationConfig(low_db=70, high_db=90), timing)
    rig.vehicle_pilot.plug()
    with pytest.raises(SlacError, match="too weak") as caught:
        await asyncio.wait_for(rig.vehicle.ready(), 60)
    assert caught.value.answer == "Unmatched"
    assert ("vehicle", "too_weak") in rig.downs
    rig.close()


async def test_a_vehicle_wakes_a_paused_charger_by_toggling_its_pilot(rig: Rig, until: Callable) -> None:
    """D-LINK_PAUSE: same network afterwards, no new matching."""
    rig.vehicle_pilot.plug()
    first, _ = await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    states: list[PilotState] = []
    rig.charger_pilot.on_state(states.append)
    rig.vehicle.pause()
    rig.charger.pause()
    await until(lambda: rig.vehicle_pilot.duty.meaning == "off")
    ready: list[str] = []
    rig.vehicle.on_ready(lambda matched: ready.append(matched.nid.hex()))
    rig.vehicle.wake_up()
    await until(lambda: ready)
    assert states[:2] == [PilotState.C, PilotState.B]
    assert ready == [first.nid.hex()]
    assert rig.vehicle_pilot.duty.meaning == "digital"
    assert rig.downs == []


async def test_a_charger_wakes_a_paused_vehicle_by_its_oscillator(rig: Rig, until: Callable) -> None:
    rig.vehicle_pilot.plug()
    first, _ = await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    rig.vehicle.pause()
    rig.charger.pause()
    await until(lambda: rig.vehicle_pilot.duty.meaning == "off")
    ready: list[str] = []
    rig.charger.on_ready(lambda matched: ready.append(matched.nid.hex()))
    rig.charger.wake_up()
    await until(lambda: ready)
    assert ready == [first.nid.hex()]


async def test_a_plug_that_is_pulled_in_mid_toggle_is_an_unplugged_cable(rig: Rig, until: Callable) -> None:
    rig.vehicle_pilot.plug()
    await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    rig.vehicle.pause()
    rig.charger.pause()
    rig.vehicle.wake_up()
    rig.vehicle_pilot.unplug()
    await until(lambda: rig.charger_pilot.state is PilotState.A)
    await until(lambda: ("charger", "unplugged") in rig.downs)


async def test_a_charger_that_is_not_available_shows_f_until_it_is(rig: Rig, until: Callable) -> None:
    rig.charger.hold()
    rig.vehicle_pilot.plug()
    await asyncio.sleep(0.05)
    assert rig.charger_pilot.state is PilotState.F
    assert rig.vehicle_pilot.duty.meaning == "no_charging"
    rig.charger.release()
    async with asyncio.timeout(60):
        await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    rig.charger.hold()
    await until(lambda: ("vehicle", "pilot_lost") in rig.downs)
    rig.vehicle_pilot.unplug()
    rig.charger.release()
    await until(lambda: rig.charger_pilot.state is PilotState.A)


async def test_a_pilot_that_was_handed_over_is_let_be_until_the_vehicle_has_left(rig: Rig, until: Callable) -> None:
    rig.vehicle_pilot.plug()
    await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
    rig.charger.hand_over()
    rig.charger_pilot.set_duty(25.0)
    await until(lambda: rig.vehicle_pilot.duty.meaning == "current")
    rig.vehicle_pilot.set_state(PilotState.C)
    await until(lambda: rig.charger_pilot.state is PilotState.C)
    assert rig.charger_pilot.duty_percent == 25.0
    rig.vehicle_pilot.unplug()
    await until(lambda: rig.charger_pilot.state is PilotState.A)
    rig.vehicle_pilot.plug()
    async with asyncio.timeout(60):
        await rig.charger.ready()


async def test_matching_is_fast_and_cheap(tmp_path: Path) -> None:
    walls, cpus, clock = [], [], asyncio.get_running_loop().time
    for number in range(5):
        charger = await FolderMedium.attach(tmp_path / str(number), "secc")
        vehicle = await FolderMedium.attach(tmp_path / str(number), "evcc")
        rig = Rig(charger, vehicle)
        wall, cpu = clock(), time.process_time()
        rig.vehicle_pilot.plug()
        await asyncio.gather(rig.charger.ready(), rig.vehicle.ready())
        walls.append(clock() - wall)
        cpus.append(time.process_time() - cpu)
        rig.close()
        charger.close()
        vehicle.close()
    assert statistics.median(walls) < 0.5
    assert statistics.median(cpus) < 0.1
