"""A charger with an automatic connection device: when the device moves, and what is a fault of it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from secc.hardware.acdp import AcdpEvse
from secc.hardware.evse import WatchConfig
from secc.session import ports
from secc.session.ports import Device
from tests.secc.hardware.bare import Bare, at, play
from tests.secc.hardware.channel import Isolation, Stage
from v2g.hardware.interfaces import OFF, ContactReport, Demand, StageParts, StageReport

DOWN, HOME = ports.MoveDevice(to_vehicle=True), ports.MoveDevice(to_vehicle=False)


class Pantograph:
    """Notes where it is sent, and reports what it is set to."""

    def __init__(self) -> None:
        self.report = ContactReport()
        self.sent: list[bool] = []
        self.listeners: list[Callable[[ContactReport], None]] = []

    def send(self, *, down: bool) -> None:
        self.sent.append(down)

    def on_report(self, callback: Callable[[ContactReport], None]) -> None:
        self.listeners.append(callback)


class Place(Bare):
    """A charger whose device has 5 s to arrive."""

    def __init__(self, *, test: Any = None) -> None:
        super().__init__()
        self.stage, self.isolation, self.device = Stage(), Isolation(), Pantograph()
        self.stage.present = StageReport(0, 0)
        parts = replace(self.parts, watch=WatchConfig(device_s=5.0, discharge_s=2.0))
        power: Any = StageParts(self.stage, self.isolation, test)  # type: ignore[arg-type]
        self.evse = AcdpEvse(parts, power, self.device)
        self.evse.subscribe(self.facts.append)

    def show(self, voltage_mv: int) -> None:
        """The stage reports this voltage."""
        self.stage.present = StageReport(voltage_mv, 0)
        self.stage.report()

    def at(self, mechanical: str, **report: Any) -> None:
        """The device reports this."""
        self.device.report = ContactReport(mechanical, **report)
        for each in self.device.listeners:
            each(self.device.report)

    def move(self, command: ports.MoveDevice) -> None:
        assert self.evse.execute(command) is None

    async def charge(self) -> None:
        """The device is down, and the contactor closed."""
        self.move(DOWN)
        self.at("EndPosition", connected=True)
        await self.do(ports.TransactionStarted("0011223344556677", ""))
        assert await self.do(ports.CloseContactors()) == ports.ContactorState(closed=True)
        self.device.sent.clear()
        self.facts.clear()

    @property
    def devices(self) -> list[Device]:
        """Each state of the device that the session received, in order."""
        return [each.device for each in self.facts if isinstance(each, ports.DeviceChanged)]


# -- when it moves


@at(Place)
async def test_a_device_moves_on_command(place: Place) -> None:
    place.move(DOWN)
    place.move(HOME)
    assert place.device.sent == [True, False]


@pytest.mark.parametrize(("voltage_mv", "moves"), [(59_999, True), (60_000, False)])
@at(Place)
async def test_a_device_moves_only_without_a_voltage(place: Place, voltage_mv: int, moves: bool) -> None:
    place.show(voltage_mv)
    place.device.sent.clear()
    place.move(DOWN)
    assert place.device.sent == [True] * moves
    place.device.sent.clear()
    place.show(59_999)
    assert place.device.sent == [True]  # as soon as it may


@at(Place, Place.charge)
async def test_a_device_waits_for_its_contactor_to_open(place: Place) -> None:
    place.move(HOME)
    place.show(0)
    assert place.device.sent == []
    await place.do(ports.OpenContactors())
    assert place.device.sent == [False]


@at(Place)
async def test_before_any_command_a_device_belongs_home(place: Place) -> None:
    place.show(0)
    assert place.device.sent == [False]


@at(Place)
async def test_at_its_end_a_device_returns_home_and_nobody_waits_for_it(place: Place) -> None:
    place.move(DOWN)
    place.at("Moving")
    await place.evse.close()
    assert place.device.sent[-1] is False
    await asyncio.sleep(10.0)
    assert place.faults == []


@at(Place, Place.charge)
async def test_at_its_end_a_device_with_a_voltage_stays(place: Place) -> None:
    place.show(400_000)
    await place.evse.close()
    assert (place.switch.closed, place.stage.driven[-1], place.device.sent) == (False, OFF, [])


@at(Place, Place.charge)
async def test_a_charger_drives_its_stage_and_watches_it(place: Place) -> None:
    place.evse.execute(ports.SetOutput(400_000, 10_000, 20_000, 0))
    assert place.stage.driven[-1] == Demand(400_000, 10_000, 20_000)
    place.show(400_000)
    assert place.facts[-1] == ports.Measured(400_000, 0)
    place.show(450_001)
    assert place.faults == ["over_voltage"]
    assert place.stage.driven[-1] == OFF


# -- what is a fault


@pytest.mark.parametrize(
    ("command", "mechanical", "connected", "fault"),
    [
        (DOWN, "EndPosition", True, ""),
        (DOWN, "EndPosition", False, "contact_missing"),
        (DOWN, "Moving", False, "device_stuck"),
        (DOWN, "Home", False, "device_stuck"),
        (HOME, "Home", False, ""),
        (HOME, "Home", True, ""),
        (HOME, "Moving", False, "device_stuck"),
        (HOME, "EndPosition", True, "device_stuck"),
    ],
)
@at(Place)
async def test_a_device_has_its_time_to_arrive_and_connect(
    place: Place, command: ports.MoveDevice, mechanical: str, connected: bool, fault: str
) -> None:
    place.move(command)
    await asyncio.sleep(1.0)
    place.at(mechanical, connected=connected)
    await asyncio.sleep(3.9)
    assert place.faults == []
    await asyncio.sleep(0.2)
    assert place.faults == [fault] * bool(fault)


@pytest.mark.parametrize(
    ("command", "mechanical", "connected"), [(HOME, "Home", False), (HOME, "Home", True), (DOWN, "EndPosition", True)]
)
@at(Place)
async def test_a_device_that_was_there_already_has_arrived(
    place: Place, command: ports.MoveDevice, mechanical: str, connected: bool
) -> None:
    place.at(mechanical, connected=connected)
    place.move(command)
    await asyncio.sleep(6.0)
    assert place.faults == []


@at(Place)
async def test_a_device_that_has_arrived_is_not_waited_for(place: Place) -> None:
    place.move(DOWN)
    place.at("EndPosition", connected=True)
    place.at("Moving")
    await asyncio.sleep(6.0)
    assert place.faults == []
    place.move(HOME)
    place.at("Home")
    place.at("Moving")
    await asyncio.sleep(6.0)
    assert place.faults == []


@at(Place)
async def test_each_command_has_its_own_time(place: Place) -> None:
    place.move(DOWN)
    place.at("Moving")
    await asyncio.sleep(4.0)
    place.move(HOME)
    await asyncio.sleep(4.0)
    assert place.faults == []
    await asyncio.sleep(1.1)
    assert place.faults == ["device_stuck"]


@at(Place)
async def test_a_stuck_device_is_one_until_it_arrives(place: Place) -> None:
    place.move(DOWN)
    place.at("Moving")
    await asyncio.sleep(6.0)
    assert place.evse.faults == ("device_stuck",)
    place.at("Home")
    assert place.evse.faults == ("device_stuck",)
    place.at("EndPosition")
    assert place.evse.faults == ()


@at(Place)
async def test_missing_contacts_are_a_fault_until_the_device_is_home(place: Place) -> None:
    place.move(DOWN)
    place.at("EndPosition")
    await asyncio.sleep(6.0)
    assert place.evse.faults == ("contact_missing",)
    place.at("EndPosition", connected=True)
    place.at("Home")
    assert place.evse.faults == ("contact_missing",)
    place.move(HOME)
    place.at("Moving")
    assert place.evse.faults == ("contact_missing",)
    place.at("Home")
    assert place.evse.faults == ()


@pytest.mark.parametrize("command", [ports.CloseContactors(), ports.StartCableCheck(400_000)])
@at(Place)
async def test_contacts_that_part_before_the_contactor_closes_keep_it_open(place: Place, command: Any) -> None:
    """A vehicle leaves between ACDP_ConnectRes and the cable check: no voltage is for rails that are not there."""
    place.move(DOWN)
    place.at("EndPosition", connected=True)
    await place.do(ports.TransactionStarted("0011223344556677", ""))
    place.at("Moving")
    assert place.faults == []
    await place.do(command)
    assert place.faults == ["contact_missing"]
    assert not place.evse.contactors_closed
    assert {each.voltage_mv for each in place.stage.driven} <= {0}


@at(Place)
async def test_contacts_that_part_while_the_contactor_is_closed_stop_energy_at_once(place: Place) -> None:
    place.at("EndPosition")
    assert place.faults == []
    await place.charge()
    place.at("EndPosition", connected=True, x_cm=1)
    assert place.faults == []
    place.at("EndPosition")
    assert place.faults == ["contact_missing"]
    assert not place.evse.contactors_closed


@at(Place, Place.charge)
async def test_a_contactor_that_opens_by_itself_is_a_fault(place: Place) -> None:
    place.switch.move(closed=False)
    assert place.faults == ["contactor_dropped"]
    assert place.facts[-1] == ports.ContactorState(closed=False, why="contactor_dropped")


# -- what the session receives


@pytest.mark.parametrize(
    ("report", "in_place"),
    [({}, False), ({"present": True}, True), ({"present": True, "moving": True}, False), ({"moving": True}, False)],
)
@at(Place)
async def test_a_vehicle_is_in_place_when_it_stands_there(
    place: Place, report: dict[str, bool], in_place: bool
) -> None:
    place.at("Moving", x_cm=3, y_cm=4, **report)
    reported = {"mechanical": "Moving", "x_cm": 3, "y_cm": 4, "insulation": "Invalid", "connected": False}
    assert place.devices[-1] == Device(in_place=in_place, **reported)  # type: ignore[arg-type]


@at(Place)
async def test_each_new_state_is_reported_once(place: Place) -> None:
    place.at("EndPosition", connected=True)
    place.at("EndPosition", connected=True)
    place.at("Home")
    assert [each.mechanical for each in place.devices] == ["Home", "EndPosition", "Home"]
    assert [each.connected for each in place.devices] == [False, True, False]
    later: list[Any] = []
    leave = place.evse.subscribe(later.append)
    assert later[-1] == ports.DeviceChanged(place.devices[-1])
    leave()
    later.clear()
    place.at("Moving")
    assert later == []


def check(ohm: int) -> Callable[[Place], Any]:
    """A cable check at which so much insulation is measured."""

    async def scene(place: Place) -> None:
        await place.charge()
        place.isolation.resistance_ohm = ohm
        loop = asyncio.get_running_loop()
        loop.call_later(0.5, place.show, 500_000)
        loop.call_later(1.0, place.show, 0)
        passed = ohm > 0
        assert await place.do(ports.StartCableCheck(500_000)) == ports.CableCheckFinished(passed=passed)
        assert [each.insulation for each in place.devices] == ["Safe" if passed else "Fault"]
        place.facts.clear()
        place.move(DOWN)
        place.at("EndPosition", connected=True)
        assert [each.insulation for each in place.devices] == ["Invalid"]

    return scene


@pytest.mark.parametrize("ohm", [1_000_000, 0])
def test_the_insulation_is_known_from_a_cable_check_to_the_next_movement(ohm: int) -> None:
    play(Place, check(ohm))


def test_a_monitor_of_the_insulation_that_fails_its_own_test_measures_nothing() -> None:
    async def test() -> str:
        return "no response"

    async def scene(place: Place) -> None:
        await place.charge()
        assert await place.do(ports.StartCableCheck(500_000)) == ports.CableCheckFinished(passed=False)
        assert place.faults == ["isolation_test_failed"]
        assert place.isolation.measured == []

    play(Place, scene, test=test)
