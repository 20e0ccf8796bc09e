"""The rails on a vehicle's roof: what the charger sees of them, and a control pilot that exists while they touch."""

from collections.abc import Callable

import pytest

from evcc.hardware.couplings import RailPilot
from evcc.hardware.drive import Driving, PlaceConfig
from evcc.session.ports import DriveIn
from tests.secc.hardware.bare import at
from v2g.iec61851.pilot import DutyReading, PilotState
from v2g.io.simulation.lines import ChargerContact, VehicleContact


class Pilot:
    """A control pilot that notes what it does; as the real one, it shows C only while it is plugged."""

    duty = DutyReading("digital")

    def __init__(self) -> None:
        self.plugged = False
        self.did: list[str | PilotState] = []
        self.on_duty_called: list[Callable[[DutyReading], None]] = []

    def on_duty(self, callback: Callable[[DutyReading], None]) -> None:
        self.on_duty_called.append(callback)

    def plug(self) -> None:
        self.plugged = True
        self.did.append("plug")

    def set_state(self, state: PilotState) -> None:
        assert self.plugged
        self.did.append(state)

    def unplug(self) -> None:
        self.plugged = False
        self.did.append("unplug")


class Line:
    """The vehicle's end of the contacts."""

    def __init__(self) -> None:
        self.shown: list[VehicleContact] = []

    def on_change(self, callback: Callable[[ChargerContact | None], None]) -> None:
        self.callback = callback

    def hold(self, state: VehicleContact) -> None:
        self.shown.append(state)


class Roof:
    """A vehicle one step before its place."""

    def __init__(self) -> None:
        self.pilot, self.line = Pilot(), Line()
        self.driving = Driving(PlaceConfig(distance_cm=100, off_y_cm=-7, roof_mm=3_300))
        self.rails = RailPilot(self.pilot, self.line, PlaceConfig(roof_mm=3_300), self.driving)  # type: ignore[arg-type]
        self.lost = 0
        self.rails.on_lost(self._on_lost)

    def _on_lost(self) -> None:
        self.lost += 1

    def contact(self, *, connected: bool) -> list[str | PilotState]:
        """Return what the pilot does when the contacts move."""
        self.pilot.did.clear()
        self.line.callback(ChargerContact(3_300, connected))
        return self.pilot.did

    async def close(self) -> None:
        """Nothing runs."""


@at(Roof)
async def test_the_charger_sees_where_the_vehicle_is_once_it_is_there(roof: Roof) -> None:
    assert roof.line.shown == []
    roof.rails.plug()
    assert roof.line.shown == [VehicleContact(100, -7, moving=False, roof_mm=3_300)]
    await roof.driving.drive(DriveIn(None))
    assert roof.line.shown[1:] == [
        VehicleContact(100, -7, moving=True, roof_mm=3_300),
        VehicleContact(0, -7, moving=False, roof_mm=3_300),
    ]


@at(Roof)
async def test_a_vehicle_that_only_drives_by_is_not_seen(roof: Roof) -> None:
    await roof.driving.drive(DriveIn(None))
    assert roof.line.shown == []


@at(Roof)
async def test_the_pilot_exists_while_the_contacts_are_closed(roof: Roof) -> None:
    assert roof.contact(connected=False) == []
    assert roof.lost == 0
    assert roof.contact(connected=True) == ["plug", PilotState.B]
    assert roof.contact(connected=True) == [], "they were closed already"
    roof.rails.set_state(PilotState.C)
    assert roof.pilot.did == [PilotState.C]
    assert roof.contact(connected=False) == ["unplug"]
    assert roof.lost == 1
    assert roof.contact(connected=True) == ["plug", PilotState.B], "as after each plug, not C"
    roof.line.callback(None)
    assert (roof.pilot.plugged, roof.lost) == (False, 2)


@at(Roof)
async def test_a_state_is_shown_once_there_is_a_pilot(roof: Roof) -> None:
    roof.rails.set_state(PilotState.C)
    assert roof.contact(connected=True) == ["plug", PilotState.C]


@pytest.mark.parametrize("touching", [False, True])
@at(Roof)
async def test_whoever_leaves_unplugs_what_is_plugged(roof: Roof, *, touching: bool) -> None:
    roof.contact(connected=touching)
    roof.pilot.did.clear()
    roof.rails.unplug()
    assert roof.pilot.did == ["unplug"] * touching


@at(Roof)
async def test_the_duty_cycle_is_that_of_the_pilot(roof: Roof) -> None:
    assert roof.rails.duty is roof.pilot.duty
    seen: list[DutyReading] = []
    roof.rails.on_duty(seen.append)
    assert roof.pilot.on_duty_called == [seen.append]
