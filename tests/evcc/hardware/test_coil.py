"""The simulated secondary device: what it receives of what the primary device sends, what it shows, and ids."""

import asyncio
from collections.abc import Callable

import pytest

from evcc.hardware.couplings import SecondaryDevice
from evcc.hardware.drive import Driving, PlaceConfig
from evcc.session.ports import DeviceObserved, DriveIn, PresentVoltage
from tests.virtual_time import in_simulated_time
from v2g.io.simulation.lines import ChargerCoil, VehicleCoil


class Line:
    """The vehicle's end of the air gap."""

    def __init__(self) -> None:
        self.seen: ChargerCoil | None = None
        self.shown: list[VehicleCoil] = []

    def on_change(self, callback: Callable[[ChargerCoil | None], None]) -> None:
        self._callback = callback

    def hold(self, state: VehicleCoil) -> None:
        self.shown.append(state)

    def shows(self, charger: ChargerCoil | None) -> None:
        """Let the charger show this."""
        self.seen = charger
        self._callback(charger)


class Bay:
    """A vehicle 50 cm before a primary device, and 7 cm beside it."""

    def __init__(self) -> None:
        self.line, self.driving = Line(), Driving(PlaceConfig(distance_cm=50, off_y_cm=7, clearance_mm=160))
        self.device = SecondaryDevice(self.line, PlaceConfig(clearance_mm=160), self.driving)  # type: ignore[arg-type]
        self.changes = 0
        self.device.on_change(self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def sends(self, power_w: int, *, efficiency: float = 0.5) -> None:
        self.line.shows(ChargerCoil(coil_ma=1, power_w=power_w, efficiency=efficiency))

    @property
    def drawn_w(self) -> int:
        return self.line.shown[-1].drawn_w


def test_a_device_shows_where_it_is_from_the_start() -> None:
    bay = Bay()
    assert bay.line.shown == [VehicleCoil(500, 70, 160, 0, None)]
    assert bay.device.present == PresentVoltage(0)
    assert bay.device.battery_ma(400_000) == 0


def test_it_receives_what_arrives_up_to_its_limit_and_draws_as_much_more_as_is_lost() -> None:
    bay = Bay()
    bay.sends(8_000)
    assert (bay.drawn_w, bay.device.battery_ma(400_000), bay.changes) == (0, 0, 0)
    bay.device.limit(3_000)
    assert (bay.drawn_w, bay.changes) == (6_000, 1)
    assert bay.device.battery_ma(400_000) == 7_500
    assert bay.device.present == PresentVoltage(400_000, 7_500)
    bay.sends(4_001)
    assert (bay.drawn_w, bay.changes) == (4_000, 2)
    assert bay.device.battery_ma(400_000) == 5_000
    bay.sends(4_000)
    assert bay.changes == 2, "what arrives has not changed"


def test_it_never_draws_more_than_is_sent() -> None:
    bay = Bay()
    bay.device.limit(10)
    bay.sends(3, efficiency=0.99)
    assert bay.drawn_w == 2
    bay.sends(1, efficiency=1.7)
    assert bay.drawn_w == 1


def test_nothing_arrives_without_a_charger_or_where_nothing_reaches() -> None:
    bay = Bay()
    bay.device.limit(3_000)
    bay.sends(5_000)
    assert bay.device.battery_ma(500_000) == 5_000
    bay.line.shows(None)
    assert (bay.drawn_w, bay.device.battery_ma(500_000), bay.changes) == (0, 0, 2)
    bay.sends(5_000, efficiency=0.0)
    assert (bay.drawn_w, bay.device.battery_ma(500_000), bay.changes) == (0, 0, 2)


def test_one_that_is_cut_draws_nothing_until_it_has_a_limit_again() -> None:
    bay = Bay()
    bay.device.limit(3_000)
    bay.sends(6_000)
    bay.device.drive(9_000)
    assert bay.drawn_w == 6_000
    bay.device.cut()
    assert bay.drawn_w == 0
    bay.sends(5_000)
    assert (bay.drawn_w, bay.device.battery_ma(400_000)) == (0, 0)
    bay.device.limit(1_000)
    assert bay.drawn_w == 2_000


@pytest.mark.parametrize("battery_mv", [0, 1])
def test_a_battery_without_voltage_is_none_to_divide_by(battery_mv: int) -> None:
    bay = Bay()
    bay.device.limit(3_000)
    bay.sends(2)
    assert bay.device.battery_ma(battery_mv) == 1_000_000
    assert bay.device.present == PresentVoltage(1, 1_000_000)


def test_until_a_battery_has_a_voltage_it_is_that_of_one_millivolt() -> None:
    bay = Bay()
    bay.device.limit(1)
    bay.sends(2)
    assert bay.device.present == PresentVoltage(1, 1_000_000)


def test_it_shows_where_it_drives_and_the_id_that_it_sends() -> None:
    bay = Bay()
    bay.device.transmit(77)
    assert bay.line.shown[-1] == VehicleCoil(500, 70, 160, 0, 77)
    in_simulated_time(bay.driving.drive(DriveIn(-100)))
    assert bay.line.shown[-1] == VehicleCoil(1_500, 70, 160, 0, 77)


def test_a_vehicle_is_guided_by_the_method_of_a_charger_that_is_there() -> None:
    bay = Bay()
    assert not bay.driving.receives("LPE")
    bay.line.shows(ChargerCoil(method="LPE"))
    assert bay.driving.receives("LPE")
    assert not bay.driving.receives("Optical")


def test_an_id_is_observed_by_its_method_as_soon_as_there_is_one() -> None:
    bay = Bay()

    async def observe() -> list[bool]:
        looking = asyncio.ensure_future(bay.device.observe("LPE"))
        done = []
        for seen in (
            None, ChargerCoil(5, "Optical"), ChargerCoil(0, "LPE"), ChargerCoil(6, "Optical"), ChargerCoil(9, "LPE")
        ):  # fmt: skip
            await asyncio.sleep(0.01)
            done.append(looking.done())
            bay.line.shows(seen)
        assert await asyncio.wait_for(looking, 1.0) == DeviceObserved(9)
        assert await asyncio.wait_for(bay.device.observe("LPE"), 1.0) == DeviceObserved(9)
        return done

    assert not any(in_simulated_time(observe()))
