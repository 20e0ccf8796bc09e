"""What a vehicle's inverter makes of the grid by the demands that came through a session, against one table (R221)."""

import time
from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session import ports as ev
from evcc.session.settings import InverterConfig, OnBoardChargerConfig, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session.config import EnergyService, SeccConfig
from tests import grid_curves as table
from tests.sessions.joined import Joined
from v2g.energy.grid_support import FrequencySupport, GridSupport, SupportCurve, VoltageSupport
from v2g.energy.inverter import SupportingInverter

MOST_W, MOST_VAR, NOMINAL_V = 10_000, 4_400, 230.0
SUPPORT = GridSupport(
    over_frequency_watt=FrequencySupport(
        start_hz=table.OVER_HZ, stop_hz=table.STOP_HZ, slope=table.SLOPE, reference="maximum", response_s=0.5
    ),
    volt_watt=VoltageSupport(
        start_v=table.VOLT_WATT[0][0] * NOMINAL_V / 100, stop_v=table.VOLT_WATT[1][0] * NOMINAL_V / 100
    ),
    volt_var=SupportCurve(points=tuple((v * NOMINAL_V / 100, q * MOST_VAR / 100) for v, q in table.VOLT_VAR)),
)


@pytest.fixture(scope="module", params=["iec", "sae"])
def demanded(request: pytest.FixtureRequest, pki: PkiTree) -> GridSupport:
    """Return what the charger demands, as it reached the vehicle's inverter."""
    flavour: Any = request.param
    charger = SeccConfig(services=(EnergyService.AC,), der=flavour, grid_support=SUPPORT)
    on_board = OnBoardChargerConfig(max_discharge_w=MOST_W, inverter=InverterConfig(certified_s=1))
    vehicle = SessionConfig(services=ServiceConfig(energy=("AC",), der=flavour), on_board_charger=on_board)
    joined = Joined(pki, time.time_ns() // 1_000_000, charger=charger, vehicle=vehicle)
    joined.run(until=lambda: bool(joined.vehicle_saw("loop", "flow")))
    return [each.support for each in joined.evcc_actions if isinstance(each, ev.SetGridSupport)][-1]


@pytest.mark.requirement("R221")
@pytest.mark.parametrize("point", [*table.BY_VOLTAGE, *table.BY_FREQUENCY], ids=str)
def test_the_vehicles_inverter_keeps_to_the_curves(demanded: GridSupport, point: table.Point) -> None:
    made = SupportingInverter(nominal_v=NOMINAL_V, most_out_w=MOST_W, most_var=MOST_VAR)
    made.follow(demanded)
    for second in range(200):
        grid = (NOMINAL_V, 50.0) if second == 0 else (point.volts * NOMINAL_V / 100, point.hertz)
        flow = made.at(-MOST_W, *grid, second)
    assert -flow.power_w == pytest.approx(point.watts / 100 * MOST_W, abs=table.TOLERANCE * MOST_W)
    assert flow.reactive_var == pytest.approx(point.var / 100 * MOST_VAR, abs=table.TOLERANCE * MOST_VAR)


def test_a_frequency_event_is_followed_within_its_time(demanded: GridSupport) -> None:
    """90 % of the step after 2.3 time constants of the demanded response."""
    made = SupportingInverter(nominal_v=NOMINAL_V, most_out_w=MOST_W, most_var=MOST_VAR)
    made.follow(replace(demanded, volt_var=None, volt_watt=None))
    made.at(-MOST_W, NOMINAL_V, 50.0, 0)
    step_w = (51.2 - table.OVER_HZ) * table.SLOPE / 100 * MOST_W
    now = 0.0
    while now < 0.5 * 2.31:
        now += 0.05
        flow = made.at(-MOST_W, NOMINAL_V, 51.2, now)
    assert MOST_W + flow.power_w >= 0.88 * step_w
    assert flow.acts
