"""A control box at a charger that discharges a vehicle: all programs as processes, the box over TLS (R206)."""

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from tests.eebus import guard
from tests.io.eebus.box import joined, ski
from v2g_cli.demo.conductor import Conductor
from v2g_cli.demo.folder import RunFolder
from v2g_cli.demo.processes import free_port
from v2g_cli.demo.scenario import SCENARIOS
from v2g_cli.demo.timeline import Timeline

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.requirement("R206")]

LIMIT_W = 2000
TABLES = """
[[station.energy_managers]]
backend = "eebus"
source = "SO"
fallback_charge_w = 4200

[station.energy_managers.eebus]
folder = "eebus"
port = PORT
mdns = false
serial = "7"
trusted = ["SKI"]
nominal_charge_w = 22000
nominal_discharge_w = 22000
"""


class Limited(Conductor):
    """A run in which a box releases the charger, and then bounds what the vehicle feeds in."""

    def __init__(self, folder: Path) -> None:
        self.port, self.box = free_port(), folder / "box"
        scenario = next(each for each in SCENARIOS if each.name == "discharge")
        tables = TABLES.replace("PORT", str(self.port)).replace("SKI", ski(self.box))
        scenario = msgspec.structs.replace(scenario, secc_tables=scenario.secc_tables + tables)
        made = RunFolder(folder / "run", scenario, 300.0)
        made.prepare()
        super().__init__(made, Timeline(time.monotonic(), "none"))
        self.limited_at = 0

    def _choose_fate(self) -> None:
        super()._choose_fate()
        self._write(active=False)
        self._fate.append(self._bound)

    def _bound(self) -> bool:
        if self._discharging < 5:
            return False
        self._write(active=True)
        self.limited_at = len([each for each in self.events if each.name == "flow" and each.process == "evcc"])
        return True

    def _write(self, *, active: bool) -> None:
        async def write() -> None:
            async with joined(self.box, self.port, guard.CHARGER) as box:
                await box.bind()
                for number, watts in ((0, 22_000), (1, -LIMIT_W)):
                    item = {"limitId": number, "isLimitActive": active and number == 1, "value": {"number": watts}}
                    assert await box.say(box.limit(item, ended=True)) == 0

        asyncio.run(write())


def test_a_box_bounds_the_discharge_of_a_vehicle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "CHARGER", "d:_n:v2g-engine_charger-7")
    run = Limited(tmp_path)
    run.play()
    flows = [each.data["power_w"] for each in run.events if each.name == "flow" and each.process == "evcc"]
    before, after = flows[: run.limited_at], flows[run.limited_at + 3 :]
    assert min(before) < -LIMIT_W, "it fed in more"
    assert any(each < 0 for each in after)
    assert min(after) >= -LIMIT_W
