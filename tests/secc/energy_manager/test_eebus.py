"""A control box at the whole charger over TLS: limits arrive, silence brings the failsafe, and power returns (R206)."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

import secc.charger
from pki_tools.tree import PkiTree
from secc.evse.controller import EvseController
from tests.eebus import guard
from tests.io.eebus.box import joined, ski
from tests.secc.bench_program import BENCH, made
from tests.waiting import until
from v2g.errors import StoreError
from v2g.io.eebus.files import COMMANDS
from v2g.io.hardware.energy_eebus import EebusEnergyManager
from v2g.io.runtime.clock import Clock
from v2g.io.storage import kept_file

STATION = """[station]
url = "ws://127.0.0.1:9/ocpp"
identity = "CS-V2G-0001"
store = "station.db"

[[station.energy_managers]]
backend = "eebus"
source = "SO"
fallback_charge_w = 4200
fallback_discharge_w = 1000
state_s = 0.1

[station.energy_managers.eebus]
folder = "FOLDER"
port = 0
mdns = false
trusted = ["SKI"]
serial = "7"
nominal_charge_w = 22000
nominal_discharge_w = 11000
"""


class MovedClock(Clock):
    """A clock that a test moves on."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def allowed(controller: EvseController) -> tuple[int, int]:
    return min(each.charge_w for each in controller.grid.limits), min(
        each.discharge_w for each in controller.grid.limits
    )


@pytest.mark.requirement("R206")
async def test_a_box_limits_both_directions_and_its_silence_brings_the_failsafe(
    tmp_path: Path, pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    links: list[EebusEnergyManager] = []
    opened = EebusEnergyManager.open

    async def note(self: EebusEnergyManager) -> None:
        await opened(self)
        links.append(self)

    monkeypatch.setattr(EebusEnergyManager, "open", note)
    monkeypatch.setattr(secc.charger, "DRAIN_S", 0.0)
    text = STATION.replace("FOLDER", str(tmp_path / "eebus")).replace("SKI", ski(tmp_path / "box"))
    site, clock = "[site]\ndischarge_w = 9000\n", MovedClock()
    async with made(tmp_path, pki, BENCH + site + text, clock=clock) as charger, asyncio.timeout(60):
        (controller,) = charger.controllers
        (link,) = links
        before = allowed(controller)
        assert before == (4200, 1000), "failsafe before a box has come"
        monkeypatch.setattr(guard, "CHARGER", link.node.id)
        async with joined(tmp_path / "box", link.ship.port, link.node.id) as box:
            await box.bind()
            assert await box.say(box.limit({"limitId": 0, "isLimitActive": False})) == 0
            assert await box.say(box.limit({"limitId": 1, "isLimitActive": False})) == 0
            unlimited = allowed(controller)
            assert unlimited[0] > 22_000 - 1
            assert unlimited[1] == 9000
            item = {"limitId": 0, "isLimitActive": True, "value": {"number": 3700, "scale": 0}}
            assert await box.say(box.limit(item, ended=True)) == 0
            item = {"limitId": 1, "isLimitActive": True, "value": {"number": -2, "scale": 3}}
            assert await box.say(box.limit(item, ended=True)) == 0
            assert allowed(controller) == (3700, 2000), "within one loop: before the box has its answer"
            assert await box.say(box.key(0, {"scaledNumber": {"number": 5000}})) == 0
            assert await box.say(box.limit({"limitId": 0, "isLimitActive": False})) == 0
            assert allowed(controller) == (unlimited[0], 2000)
        clock.ahead += 121
        await until(lambda: allowed(controller) == (5000, 1000))
        async with joined(tmp_path / "box", link.ship.port, link.node.id) as box:
            await box.bind()
            assert await box.say(box.limit({"limitId": 0, "isLimitActive": False})) == 0
            assert allowed(controller) == (unlimited[0], 1000), "power returns"
    text = text.replace("state_s", "section_14a_devices = 2\nstate_s")
    async with made(tmp_path, pki, BENCH + site + text) as charger, asyncio.timeout(60):
        (controller,) = charger.controllers
        assert allowed(controller) == (7560, 1000), "at least the minimum power of two devices"
        text = text.replace("section_14a_devices = 2\n", "")
    async with made(tmp_path, pki, BENCH + site + text) as charger:
        assert allowed(charger.controllers[0]) == (5000, 1000), "what the box has written outlives a restart"
    log = [json.loads(line) for line in (tmp_path / "eebus" / COMMANDS).read_text().splitlines()]
    written = [each for each in log if each["event"] == "eebus_written"]
    assert [each["accepted"] for each in written] == [True] * 7
    assert all(each["ski"] == ski(tmp_path / "box") and "3700" in written[2]["values"] for each in written)
    assert ("LPC", "failsafe") in [(each.get("use_case"), each.get("state")) for each in log]
    assert all("power_w" in each for each in log)


@pytest.mark.requirement("R206")
async def test_what_a_full_disk_did_not_store_is_stored_later(
    tmp_path: Path, pki: PkiTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    links: list[EebusEnergyManager] = []
    opened, store, full = EebusEnergyManager.open, kept_file.write_files, [True]
    tried: list[bytes] = []

    async def note(self: EebusEnergyManager) -> None:
        await opened(self)
        links.append(self)

    def write(folder: Path, found: Mapping[str, bytes], *, private: bool) -> None:
        if "failsafe.json" in found:
            tried.append(found["failsafe.json"])
            if full[0]:
                raise StoreError("no space left")
        store(folder, found, private=private)

    monkeypatch.setattr(EebusEnergyManager, "open", note)
    monkeypatch.setattr(kept_file, "write_files", write)
    monkeypatch.setattr(secc.charger, "DRAIN_S", 0.0)
    text = STATION.replace("FOLDER", str(tmp_path / "eebus")).replace("SKI", ski(tmp_path / "box"))
    text = text.replace("state_s", "timeout_s = 0.6\nstate_s")
    async with made(tmp_path, pki, BENCH + text), asyncio.timeout(60):
        (link,) = links
        monkeypatch.setattr(guard, "CHARGER", link.node.id)
        async with joined(tmp_path / "box", link.ship.port, link.node.id) as box:
            await box.bind()
            item = {"limitId": 0, "isLimitActive": True, "value": {"number": 3700, "scale": 0}}
            assert await box.say(box.limit(item, ended=True)) == 0
        await until(lambda: len(tried) >= 3)
        full[0] = False
        await until((tmp_path / "eebus" / "failsafe.json").exists)
    assert "3700" in (tmp_path / "eebus" / "failsafe.json").read_text()
