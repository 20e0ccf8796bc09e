"""A charger with a primary device: what the device is commanded, what the session receives of it, and when its field
is a fault."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from secc.hardware.wpt import WptEvse
from secc.session import ports
from secc.session.ports import Device
from tests.secc.hardware.bare import Bare, at
from v2g.hardware.interfaces import OnFault, PrimaryReport

OPEN, CLOSED = ports.ContactorState(closed=False), ports.ContactorState(closed=True)


class Primary:
    """Notes what it is commanded, and reports what it is set to."""

    def __init__(self) -> None:
        self.report = PrimaryReport()
        self.reported: list[tuple[Any, ...]] = []
        self.listeners: list[Callable[[PrimaryReport], None]] = []
        self.faults: list[OnFault] = []

    def find(self, method: str) -> None:
        self.reported.append(("find", method))

    def pair(self, method: str, device_id: int) -> None:
        self.reported.append(("pair", method, device_id))

    def excite(self, coil_ma: int, power_w: int) -> None:
        self.reported.append(("excite", coil_ma, power_w))

    def send(self, power_w: int) -> None:
        self.reported.append(("send", power_w))

    def rest(self) -> None:
        self.reported.append(("rest",))

    def cut(self) -> None:
        """It has no power to remove."""

    def on_report(self, callback: Callable[[PrimaryReport], None]) -> None:
        self.listeners.append(callback)

    def on_fault(self, callback: OnFault) -> None:
        self.faults.append(callback)


class Place(Bare):
    """A charger whose primary device shows what it is set to."""

    def __init__(self, *, report_s: float = 1e6) -> None:
        super().__init__()
        self.device = Primary()
        self.evse = WptEvse(replace(self.parts, report_s=report_s, most_w=11_000), self.device)

    def show(self, sent_w: int = 0, **report: Any) -> None:
        """The device reports this."""
        self.device.report = PrimaryReport(sent_w=sent_w, **report)
        for each in self.device.listeners:
            each(self.device.report)

    def near(self, word: str, *, active: bool = True) -> None:
        """The device detects something, or it is gone."""
        for each in self.device.faults:
            each(word, active)

    @property
    def devices(self) -> list[Device]:
        """Each state of the device that the session received, in order."""
        return [each.device for each in self.facts if isinstance(each, ports.DeviceChanged)]

    def drives(self, power_w: int) -> None:
        assert self.evse.execute(ports.SetWptOutput(charge_w=power_w, power_w=power_w)) is None


def lower(power_w: int) -> ports.LowerOutput:
    return ports.LowerOutput(ports.SetWptOutput(charge_w=9_000, power_w=power_w))


@at(Place)
async def test_power_is_sent_only_after_the_contactor_was_commanded_closed(place: Place) -> None:
    place.drives(5_000)
    await place.connect()
    place.drives(7_000)
    place.drives(0)
    place.drives(1)
    place.evse.execute(ports.EmergencyOff("test"))
    place.drives(7_000)
    assert place.device.reported == [("send", each) for each in (0, 7_000, 0, 1, 0, 0, 0)]


@at(Place)
async def test_a_device_positions_pairs_and_rests_when_its_session_ends_or_pauses(place: Place) -> None:
    for command in (
        ports.StartPositioning("LF_TxEV"),
        ports.StartPairing("LPE", 7),
        ports.TransactionEnded("0011223344556677", "ended", "Local", None),
        ports.SaveSession(None),  # type: ignore[arg-type]
    ):
        assert place.evse.execute(command) is None
    assert place.device.reported == [("find", "LF_TxEV"), ("pair", "LPE", 7), ("rest",), ("rest",)]


@pytest.mark.parametrize("ends", [ports.TransactionEnded("s", "ended", "Local", None), ports.SaveSession(None)])  # type: ignore[arg-type]
@at(Place, Place.connect)
async def test_a_session_that_ends_or_pauses_is_not_permitted_any_more(place: Place, ends: Any) -> None:
    place.evse.execute(ends)
    assert not place.evse.contactors_closed
    assert place.evse.blocked == "not_authorised"


@at(Place, Place.connect)
async def test_there_is_no_cable_to_be_checked(place: Place) -> None:
    assert await place.do(ports.StartCableCheck(400_000)) == ports.CableCheckFinished(passed=False)


@pytest.mark.parametrize(
    ("limit_w", "reported"), [(4_999, [("send", 4_999)]), (5_000, []), (5_001, []), (0, [("send", 0)])]
)
@at(Place, Place.connect)
async def test_a_limit_lowers_what_is_sent_and_raises_nothing(
    place: Place, limit_w: int, reported: list[tuple[Any, ...]]
) -> None:
    place.drives(5_000)
    place.device.reported.clear()
    place.evse.execute(lower(limit_w))
    place.evse.execute(lower(limit_w))
    assert place.device.reported == reported


@at(Place, Place.connect)
async def test_a_limit_without_a_command_changes_nothing(place: Place) -> None:
    place.evse.execute(lower(0))
    place.drives(0)
    place.evse.execute(lower(0))
    assert place.device.reported == [("send", 0)]


# -- the alignment check


async def checked(place: Place, current_ma: int = 3_000, power_w: int = 500) -> Any:
    return await place.do(ports.CheckAlignment(current_ma, power_w))


async def authorised(place: Place) -> None:
    place.evse.subscribe(place.facts.append)
    await place.do(ports.TransactionStarted("0011223344556677", ""))


@at(Place, authorised)
async def test_an_alignment_check_closes_the_contactor_and_excites_the_coil_until_it_ends(place: Place) -> None:
    place.switch.delay_s = 0.2
    checking = asyncio.ensure_future(checked(place))
    await asyncio.sleep(0.1)
    assert place.device.reported == []
    assert await checking is None
    assert place.switch.closed
    assert place.evse.execute(ports.CheckAlignment(0, 0)) is None
    place.drives(5_000)
    assert place.device.reported == [("excite", 3_000, 500), ("send", 0), ("send", 5_000)]


@pytest.mark.parametrize(
    ("limit_w", "reported"),
    [(499, [("excite", 3_000, 499)]), (500, []), (501, []), (1, [("excite", 3_000, 1)]), (0, [("send", 0)])],
)
@at(Place, authorised)
async def test_a_limit_lowers_an_alignment_check(place: Place, limit_w: int, reported: list[tuple[Any, ...]]) -> None:
    await checked(place)
    place.device.reported.clear()
    place.evse.execute(lower(limit_w))
    place.evse.execute(lower(limit_w))
    assert place.device.reported == reported


@pytest.mark.parametrize("ended_by", [ports.CheckAlignment(0, 0), ports.EmergencyOff("test")])
@at(Place, authorised)
async def test_after_an_alignment_check_a_limit_excites_nothing(place: Place, ended_by: Any) -> None:
    await checked(place)
    place.evse.execute(ended_by)
    place.device.reported.clear()
    place.evse.execute(lower(100))
    assert place.device.reported == []


@at(Place, authorised)
async def test_after_power_a_limit_excites_nothing_and_after_an_alignment_check_it_sends_nothing(place: Place) -> None:
    await checked(place)
    place.drives(5_000)
    place.evse.execute(lower(100))
    assert place.device.reported == [("excite", 3_000, 500), ("send", 5_000), ("send", 100)]
    await checked(place)
    place.device.reported.clear()
    place.evse.execute(lower(50))
    assert place.device.reported == [("excite", 3_000, 50)]


@at(Place)
async def test_a_contactor_that_does_not_close_ends_an_alignment_check(place: Place) -> None:
    assert await checked(place) == ports.HardwareFault("contactor_stuck_open")
    await authorised(place)
    place.evse.fault("over_temperature", active=True)
    assert await checked(place) == ports.HardwareFault("over_temperature")
    assert [each for each in place.device.reported if each[0] == "excite"] == []


@pytest.mark.parametrize("at_s", [0.0, 0.1, 0.2])
@at(Place, authorised)
async def test_an_emergency_off_ends_an_alignment_check_whose_contactor_closes(place: Place, at_s: float) -> None:
    place.switch.delay_s = 0.2
    checking = asyncio.ensure_future(checked(place))
    asyncio.get_running_loop().call_later(at_s, place.evse.execute, ports.EmergencyOff("test"))
    assert await checking == ports.HardwareFault("contactor_stuck_open")
    assert [each for each in place.device.reported if each[0] == "excite"] == []


@at(Place, authorised)
async def test_a_contactor_that_closes_for_a_later_command_does_not_go_on_with_an_alignment_check(place: Place) -> None:
    place.switch.delay_s = 0.2
    checking = asyncio.ensure_future(checked(place))
    await asyncio.sleep(0.1)
    closing = asyncio.ensure_future(place.do(ports.CloseContactors()))  # begins first, before the check notices
    place.evse.execute(ports.EmergencyOff("test"))
    assert await checking == ports.HardwareFault("contactor_stuck_open")
    assert await closing == CLOSED
    assert [each for each in place.device.reported if each[0] == "excite"] == []


@at(Place, authorised)
async def test_an_emergency_off_after_the_contactor_has_closed_ends_an_alignment_check(place: Place) -> None:
    """Both happen before the check goes on."""
    place.switch.on_change(lambda closed: closed and place.evse.execute(ports.EmergencyOff("test")))
    place.switch.set = lambda *, closed: None if not closed else place.switch.move(closed)  # type: ignore[method-assign]
    assert await checked(place) == ports.HardwareFault("contactor_stuck_open")
    assert [each for each in place.device.reported if each[0] == "excite"] == []


# -- objects near the device


@at(Place, Place.connect)
async def test_the_field_is_off_while_something_is_near(place: Place) -> None:
    place.drives(5_000)
    place.near("foreign_object")
    place.near("living_object")
    place.drives(6_000)
    place.near("foreign_object", active=False)
    place.near("living_object", active=False)
    assert place.device.reported == [("send", each) for each in (5_000, 0, 0, 0, 0, 6_000)]
    assert [each.trouble for each in place.devices] == ["", "SPCFODDetected", "SPCLOPDetected", ""]
    assert place.evse.contactors_closed


@pytest.mark.parametrize("ends", [ports.EmergencyOff("test"), None])
@at(Place, Place.connect)
async def test_what_has_left_brings_no_power_back_that_nobody_commands(place: Place, ends: Any) -> None:
    if ends is not None:
        place.drives(5_000)
        place.evse.execute(ends)
        await place.do(ports.CloseContactors())
    place.device.reported.clear()
    place.near("foreign_object")
    place.near("foreign_object", active=False)
    assert place.device.reported == [("send", 0), ("send", 0)]


@at(Place)
async def test_what_is_near_is_a_fault_while_it_is_there(place: Place) -> None:
    received: list[tuple[str, bool]] = []
    place.evse.on_fault(lambda word, active: received.append((word, active)))
    place.near("living_object", active=False)
    place.near("living_object")
    assert place.evse.faults == ("living_object",)
    place.near("living_object", active=False)
    assert received == [("living_object", True), ("living_object", False)]


@at(Place, authorised)
async def test_an_alignment_check_waits_for_what_is_near_and_goes_on_within_its_limit(place: Place) -> None:
    await checked(place)
    place.near("foreign_object")
    place.evse.execute(lower(100))
    assert place.device.reported == [("excite", 3_000, 500), ("send", 0), ("send", 0)]
    place.near("foreign_object", active=False)
    assert place.device.reported[3:] == [("excite", 3_000, 100)]
    place.near("living_object")
    place.evse.execute(ports.CheckAlignment(0, 0))
    place.near("living_object", active=False)
    assert place.device.reported[4:] == [("send", 0)] * 3, "it was over"


@at(Place, authorised)
async def test_an_alignment_check_does_not_begin_while_something_is_near(place: Place) -> None:
    place.near("foreign_object")
    await checked(place)
    assert place.device.reported == [("send", 0), ("send", 0)]


# -- what the session receives


@at(Place)
async def test_each_new_state_of_the_device_is_reported_once_with_its_power(place: Place) -> None:
    place.evse.subscribe(place.facts.append)
    assert place.devices == [Device()]
    place.show()
    assert place.devices == [Device()]
    place.show(40, in_place=True, observed_id=9, confirmed=True, coil_ma=11)
    place.show(40, in_place=True, observed_id=9, confirmed=True, coil_ma=11)
    place.show(40, in_place=True, observed_id=9, confirmed=True, coil_ma=11, aligned=False)
    place.show(50, in_place=True, observed_id=9, confirmed=True, coil_ma=11, aligned=True)
    known = {"in_place": True, "observed_id": 9, "confirmed": True, "coil_ma": 11}
    assert place.devices == [
        Device(),
        Device(**known),  # type: ignore[arg-type]
        Device(**known, aligned=False, alignment_w=40),  # type: ignore[arg-type]
        Device(**known, aligned=True, alignment_w=50),  # type: ignore[arg-type]
    ]
    later: list[Any] = []
    place.evse.subscribe(later.append)
    assert later[-1] == ports.DeviceChanged(place.devices[-1])


@at(Place)
async def test_who_has_unsubscribed_receives_nothing(place: Place) -> None:
    place.evse.subscribe(place.facts.append)()
    place.facts.clear()
    place.show(40, in_place=True)
    assert place.facts == []


@at(Place)
async def test_the_power_from_the_grid_is_measured_with_each_report(place: Place) -> None:
    place.evse.subscribe(place.facts.append)
    place.show(100)
    assert place.facts[-1] == place.evse.present == ports.Measured(0, 250, 100)
    await place.connect()
    place.show(400_000)
    assert place.facts[-1] == place.evse.present == ports.Measured(400_000, 1_000_000, 400_000)


@at(Place, Place.connect)
async def test_energy_is_counted_from_each_report_on(place: Place) -> None:
    """As the meter does, with which it is compared."""
    for sent_w in (3_600, 0, 7_200, 0):
        place.show(sent_w)
        await asyncio.sleep(1.0)
    assert place.evse.flowed_mwh == (3_000, 0)


@at(Place, Place.connect)
async def test_the_contactor_opens_at_once(place: Place) -> None:
    place.drives(5_000)
    place.show(5_000)
    began = place.now
    assert await place.do(ports.OpenContactors()) == OPEN
    assert (place.now, place.device.reported[-1]) == (began, ("send", 0))


# -- what is watched

FLOWS = [(None, 150), (0, 150), (1, 501), (5_000, 6_000)]
"""What is commanded, and the most that may be sent."""


async def exceeds(place: Place, most_w: int) -> None:
    """One watt more is a fault after a second, by reports."""
    for _ in range(50):
        place.show(most_w)
        await asyncio.sleep(0.1)
    assert place.faults == []
    for _ in range(10):
        place.show(most_w + 1)
        assert place.faults == []
        await asyncio.sleep(0.1)
    place.show(most_w + 1)
    assert place.faults == ["over_current"]


@pytest.mark.parametrize(("wanted_w", "most_w"), FLOWS)
@at(Place, Place.connect)
async def test_more_power_than_commanded_is_a_fault_after_a_second(
    place: Place, wanted_w: int | None, most_w: int
) -> None:
    if wanted_w is not None:
        place.drives(wanted_w)
    await exceeds(place, most_w)


@at(Place, Place.connect)
async def test_a_field_that_stays_on_although_something_is_near_is_a_fault(place: Place) -> None:
    place.drives(5_000)
    place.near("living_object")
    for _ in range(11):
        assert "over_current" not in place.evse.faults
        place.show(5_000)
        await asyncio.sleep(0.1)
    place.show(5_000)
    assert "over_current" in place.evse.faults


@at(Place, authorised)
async def test_an_alignment_check_has_its_own_limit(place: Place) -> None:
    await checked(place)
    await exceeds(place, 1_050)


@at(Place, authorised)
async def test_after_an_alignment_check_nothing_may_be_sent(place: Place) -> None:
    await checked(place)
    place.evse.execute(ports.CheckAlignment(0, 0))
    await exceeds(place, 150)


@at(Place, Place.connect, report_s=0.1)
async def test_each_check_watches_the_device_without_reports(place: Place) -> None:
    place.device.report = PrimaryReport(sent_w=9_000)
    await asyncio.sleep(2.0)
    assert place.faults == ["over_current"]
