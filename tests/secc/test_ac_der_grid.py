"""A charger's grid code at a vehicle's inverter, through both programs and the simulated mains, against the table that
the charger's own inverter keeps (R221): active power at the charger's meter, reactive power as the vehicle reports it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests import grid_curves as table
from tests.secc.stand import Stand, stand
from v2g.energy.frequency_trace import GridTrace

pytestmark = pytest.mark.requirement("R221")

MOST_W, MOST_VAR, NOMINAL_V = 10_000, 4_400, 230.0

SECC = f"""[charger]
services = [1]
der = "{{der}}"
poll_hold_s = 0.02
[charger.ac_rating]
max_discharge_current_a = 20
[hardware]
kind = "ac"
[hardware.simulated]
grid = "mains.csv"
[charger.grid_support.over_frequency_watt]
start_hz = {table.OVER_HZ}
stop_hz = {table.STOP_HZ}
slope = {table.SLOPE}
reference = "maximum"
response_s = 0.5
"""
BY_VOLTAGE = f"""[charger.grid_support.volt_watt]
start_v = {table.VOLT_WATT[0][0] * NOMINAL_V / 100}
stop_v = {table.VOLT_WATT[1][0] * NOMINAL_V / 100}
[charger.grid_support.volt_var]
points = {[[volts * NOMINAL_V / 100, var * MOST_VAR / 100] for volts, var in table.VOLT_VAR]}
"""
EVCC = """[services]
energy = ["AC"]
der = "{der}"
control_mode = ["{mode}"]
[on_board_charger]
max_discharge_w = 10000
max_reactive_var = 4400
max_current_a = 20
[on_board_charger.inverter]
certified_s = 1
direct_a = 2.0
[[program]]
do = "discharge"
for_s = 80000
"""


class Mains(Stand):
    """Both programs at mains of which the test says what they are."""

    grid: list[tuple[float, float]]

    @property
    def metered_w(self) -> float:
        """Power out of the vehicle, by the charger's measurement."""
        present = self.controller.hardware.present
        return -present.voltage_mv * present.current_ma / 1e6

    @property
    def injected_var(self) -> int:
        return int(self.named("evcc", "loop", "flow")[-1]["reactive_var"])

    async def loops(self, count: int) -> None:
        """Wait for so many more loops of the session."""
        seen = len(self.named("secc", "loop", "response"))
        await self.until(lambda: len(self.named("secc", "loop", "response")) >= seen + count)


Feeding = Callable[..., contextlib.AbstractAsyncContextManager[Mains]]


@pytest.fixture
def feeding(pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Feeding:
    """Begin a session, and wait until the vehicle feeds back at its maximum."""

    @contextlib.asynccontextmanager
    async def begin(
        der: str = "iec", mode: str = "dynamic", *, code: str = BY_VOLTAGE, scale: float
    ) -> AsyncIterator[Mains]:
        grid = [(50.0, NOMINAL_V)]
        monkeypatch.setattr(GridTrace, "at", lambda _trace, _seconds: grid[-1])
        (tmp_path / "mains.csv").write_text("0,50,230\n1000,50,230\n")
        modes = "control_modes = [1, 2]\n"
        secc = (SECC + code).replace("{der}", der).replace("poll_hold_s", modes + "poll_hold_s")
        evcc = EVCC.replace("{der}", der).replace("{mode}", mode)
        async with stand(tmp_path, pki, secc, evcc, battery="[battery]\nsoc = 95.0\n", scale=scale) as both:
            both.__class__ = Mains
            assert isinstance(both, Mains)
            both.grid = grid
            running = asyncio.create_task(both.run())
            try:
                await both.until(lambda: both.metered_w > 0.98 * MOST_W)
                yield both
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    return begin


@pytest.mark.some(1)
@pytest.mark.parametrize(("der", "mode"), [("iec", "dynamic"), ("iec", "scheduled"), ("sae", "dynamic")])
async def test_each_point_is_kept_at_the_meter(feeding: Feeding, der: str, mode: str) -> None:
    async with feeding(der, mode, scale=400.0) as both:
        for point in (*table.BY_VOLTAGE, *table.BY_FREQUENCY):
            both.grid.append((point.hertz, point.volts * NOMINAL_V / 100))
            wanted_w, wanted_var = point.watts / 100 * MOST_W, point.var / 100 * MOST_VAR

            def kept() -> bool:
                close_w = abs(both.metered_w - wanted_w) <= table.TOLERANCE * MOST_W  # noqa: B023 - of this point
                return close_w and abs(both.injected_var - wanted_var) <= table.TOLERANCE * MOST_VAR  # noqa: B023

            await both.until(kept)
            await both.loops(2)
            assert kept(), f"{point}: it does not stay"


@pytest.mark.long
async def test_a_frequency_event_is_seen_at_the_meter_within_the_time_of_the_code(feeding: Feeding) -> None:
    """90 % of the step within 2 s, as inverters have to (EN 50549-1, LFSM-O); the back end is not asked."""
    async with feeding(code="[charger.grid_support]\ndc_injection = 0.5\n", scale=1.0) as both:
        await both.until(lambda: both.named("evcc", "loop", "flow")[-1]["direct_ma"] == 500)
        loop = asyncio.get_running_loop()
        for hertz in (50.7, 51.2, 50.2):
            before_w, wanted_w = both.metered_w, (1 - table.SLOPE / 100 * max(0.0, hertz - table.OVER_HZ)) * MOST_W
            began = loop.time()
            both.grid.append((hertz, NOMINAL_V))
            await both.until(lambda: abs(both.metered_w - wanted_w) <= 0.1 * abs(wanted_w - before_w))  # noqa: B023
            assert loop.time() - began <= 2.0
        await both.until(lambda: len(both.named("secc", "power", "grid_event")) == 2)
        assert [each["condition"] for each in both.named("secc", "power", "grid_event")] == [1, 0]
