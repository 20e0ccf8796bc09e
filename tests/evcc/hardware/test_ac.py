"""The simulated on-board charger: the currents of its phases."""

from collections.abc import Callable

import pytest

from evcc.hardware.ac import OnBoardCharger
from evcc.session.ports import PresentVoltage
from evcc.session.settings import OnBoardChargerConfig
from v2g.energy.conductors import Currents
from v2g.io.simulation.ac_line import ChargerAc


class Outlet:
    """An outlet with so many line conductors, that shows what is drawn."""

    def __init__(self, lines: int) -> None:
        self.seen: ChargerAc | None = ChargerAc(230_000, lines, contactor_closed=True)
        self.drawn = Currents()

    def on_change(self, callback: Callable[[ChargerAc | None], None]) -> None:
        self.callback = callback

    def publish(self, currents: Currents) -> None:
        self.drawn = currents


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("phases", "lines", "drawn"),
    [
        (3, 3, Currents(16_000, 16_000, 16_000)),
        (3, 2, Currents(16_000, 16_000, 0)),
        (3, 1, Currents(16_000, 0, 0)),
        (2, 3, Currents(24_000, 24_000, 0)),
        (1, 3, Currents(48_000, 0, 0)),
    ],
)
def test_each_phase_carries_its_part_and_no_more_than_its_rating(phases: int, lines: int, drawn: Currents) -> None:
    outlet = Outlet(lines)
    charger = OnBoardCharger(outlet, OnBoardChargerConfig(phases=phases, max_charge_w=11_040, max_discharge_w=11_040))  # type: ignore[arg-type]
    charger.drive(50_000)
    assert outlet.drawn == drawn
    assert charger.present == PresentVoltage(230_000, drawn.total_ma, min(phases, lines))
    charger.drive(-50_000)
    assert outlet.drawn == Currents(*(-each for each in drawn))
    outlet.seen = None
    outlet.callback(None)
    assert (outlet.drawn, charger.present) == (Currents(), PresentVoltage(0))
