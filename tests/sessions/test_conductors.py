"""Our vehicle at our charger with alternating current: no conductor carries more than rating, cable or site allow."""

import time
from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session.settings import OnBoardChargerConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.energy_manager.grid import SiteGrid
from secc.session import ports
from secc.session.config import EnergyService, SeccConfig
from tests.sessions.joined import AC_MV, Joined
from tests.sessions.joined_messages import VEHICLE, MessageJoined
from v2g.energy.limits import CABLE, MOST_W, OPERATOR, SITE, Limit

pytestmark = pytest.mark.requirement("R192")

LIMITS = {
    "rating": (Limit(source=SITE, charge_w=50_000, discharge_w=50_000), 32_000, 16_000),
    "cable": (
        Limit(source=CABLE, charge_w=MOST_W, discharge_w=MOST_W, charge_ma=13_000, discharge_ma=13_000),
        13_000,
        13_000,
    ),
    "site": (Limit(source=SITE, charge_w=4_140, discharge_w=4_140), 6_000, 6_000),
}
ROOMY = tuple(Limit(source=source, charge_w=50_000, discharge_w=50_000) for source in (SITE, OPERATOR))


def on_board(phases: int) -> OnBoardChargerConfig:
    """Return a charger that could carry 60 A on each phase."""
    most_w = 13_800 * phases
    return OnBoardChargerConfig(phases=phases, max_charge_w=most_w, max_discharge_w=most_w, min_charge_w=0)  # type: ignore[arg-type]


def highest_ma(joined: Any, phases: int) -> tuple[int, int]:
    """Run a session; return the highest current of a conductor into the vehicle and out of it, mA."""
    most = least = 0
    joined.start()
    while not joined.evcc.closed:
        joined.run(until=lambda: True)
        joined.advance()
        each_ma = (joined.plant.ac_w or 0) * 1_000_000 // (AC_MV * phases)
        most, least = max(most, each_ma), min(least, each_ma)
    assert (joined.evcc_reason, joined.secc_reason) == ("finished", "finished")
    return most, -least


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("phases", [1, 2, 3])
def test_a_vehicle_of_iso_15118_2(pki: PkiTree, phases: int, limit: str) -> None:
    bounded, most_ma, _ = LIMITS[limit]
    vehicle = replace(VEHICLE, on_board_charger=on_board(phases))
    joined = MessageJoined("2-ac", pki, time.time_ns() // 1_000_000, vehicle, limits=(*ROOMY, bounded))
    carried_ma, _ = highest_ma(joined, phases)
    possible_ma = min(most_ma, joined.plant.battery.state.max_charge_w * 1_000_000 // (AC_MV * phases))
    assert min(possible_ma, 22_000_000_000 // (AC_MV * phases)) - 200 <= carried_ma <= most_ma
    (chosen,) = {request["mode"] for request in joined.vehicle_saw("service", "selected")} or {""}
    assert chosen == ("AC_single_phase_core" if phases == 1 else "AC_three_phase_core")


@pytest.mark.some(12)
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
@pytest.mark.parametrize("service", ["AC", "AC_BPT"])
@pytest.mark.parametrize("phases", [1, 2, 3])
def test_a_vehicle_of_iso_15118_20(pki: PkiTree, phases: int, service: str, mode: str, limit: str) -> None:
    bounded, most_ma, least_ma = LIMITS[limit]
    back = (ProgramStep(do="discharge", energy_wh=50),) if service == "AC_BPT" else ()
    vehicle = SessionConfig(
        program=(ProgramStep(do="charge", energy_wh=100), *back),
        services=ServiceConfig(energy=(service,), control_mode=(mode,)),  # type: ignore[arg-type]
        on_board_charger=on_board(phases),
    )
    joined = Joined(
        pki,
        time.time_ns() // 1_000_000,
        vehicle=vehicle,
        charger=SeccConfig(services=(EnergyService.AC_BPT, EnergyService.AC)),
        limits=(*ROOMY, bounded),
    )
    charged_ma, discharged_ma = highest_ma(joined, phases)
    assert 0 < charged_ma <= most_ma
    assert discharged_ma <= least_ma
    assert (discharged_ma > 0) == (service == "AC_BPT")


@pytest.mark.parametrize("before", [1, 3])
def test_a_vehicle_of_iso_15118_2_goes_on_with_the_phases_that_are_left(pki: PkiTree, before: int) -> None:
    """The facts of a change, in their order: no power, contactor open, other phases, power."""
    vehicle = replace(VEHICLE, on_board_charger=on_board(3), program=(ProgramStep(do="charge", energy_wh=5_000),))
    joined = MessageJoined("2-ac", pki, time.time_ns() // 1_000_000, vehicle, limits=ROOMY, lines=before)
    joined.plant.ac_lines = before

    def fact(*facts: Any) -> None:
        for each in facts:
            joined.secc.fact(each, joined.now, joined.utc_ms)
        joined.settle()

    def drawn(most_w: int) -> bool:
        return joined.plant.evse_closed and most_w - 700 < (joined.plant.ac_w or 0) <= most_w

    grid, powers = SiteGrid(charge_w=50_000, discharge_w=0), {1: 7_360, 3: 22_000}
    joined.run(until=lambda: drawn(powers[before]))
    after = 4 - before
    fact(*grid.interrupt(rest=True))
    joined.run(until=lambda: not joined.plant.ac_w)
    fact(*grid.interrupt(rest=True, disconnect=True))
    assert not joined.plant.evse_closed
    joined.plant.ac_lines = after
    fact(ports.PhasesChanged(after), *grid.interrupt(rest=False))
    joined.run(until=lambda: drawn(powers[after]))
    assert not joined.secc_reason
    assert joined.secc.stage.output.charge_w == powers[after]  # type: ignore[attr-defined]
    assert joined.secc.stage.output.charge_ma == 32_000  # type: ignore[attr-defined]
