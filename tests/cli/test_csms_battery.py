"""`v2g csms battery` against a running back end that estimates a battery from telemetry."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csms.accounts.rules import Role
from csms.batteries.work import last_month
from tests.cli.csms import Cli
from tests.csms.conftest import Start, start
from v2g.battery import detectors, health
from v2g.battery.cell import CELLS, Electrodes, PackModel
from v2g.io.runtime.clock import Clock

__all__ = ["start"]

NMC, PACK = CELLS["nmc"], PackModel("nmc", 150.0, 96)
SETTINGS = detectors.DetectorSettings(health=health.HealthSettings(pack=PACK))
HOUR_MS = 3_600_000
T0 = 1_750_000_000_000


def aged_day() -> tuple[float, list[tuple[int, dict[str, float]]]]:
    """A day of a pack that has lost lithium: charged from 20 to 80 % and rested; its capacity (Ah), and samples."""
    fresh = NMC.fresh
    aged = Electrodes(fresh.positive, fresh.negative, fresh.lithium - 0.1)
    empty, full = NMC.range(aged)
    size_ah = aged.negative * (full - empty) * PACK.capacity_ah

    def course() -> Iterator[tuple[float, float, float]]:
        for each in range(12):
            yield each / 6, 0.0, 0.2
        for each in range(18):
            yield 2 + each / 6, 0.2, 0.2 + each / 30
        for each in range(12):
            yield 5 + each / 6, 0.0, 0.8

    samples = []
    for hour, rate, soc in course():
        cell_v = NMC.voltage(aged, empty + soc * (full - empty)) + rate * NMC.r0
        values = {"battery.current": rate * size_ah, "battery.voltage": PACK.cells * cell_v}
        samples.append((T0 + round(hour * HOUR_MS), values | HOT))
    return size_ah, samples


HOT = {"battery.temperature.max": 25.0, "battery.temperature.coolant": 25.0}


def records(samples: list[tuple[int, dict[str, float]]], first: int = 1) -> str:
    """A delivery of a vehicle's gateway."""
    record = {"ev": "EV-1", "boot": 1, "context": "parked", "keyframe": True}
    made: list[dict[str, Any]] = [
        {**record, "seq": seq, "utc_ms": at_ms, "signals": values} for seq, (at_ms, values) in enumerate(samples, first)
    ]
    return json.dumps(made)


async def estimated(cli: Cli, name: str) -> float:
    """Wait until all telemetry is in the estimates; return the last of this name."""
    while True:
        found = await cli.records("request", "GET", "/vehicles/EV-1/battery")
        rows = found[0] if found and isinstance(found[0], list) else found
        values = [each["values"][name] for each in rows if name in each["values"]]
        if values:
            return float(values[-1])


@pytest.mark.requirement("R124", "R125", "R169")
async def test_a_battery_is_checked_against_a_reference_and_its_twin_calibrated(start: Start, tmp_path: Path) -> None:
    async with start(battery=SETTINGS) as running:
        cli = Cli(running, tmp_path)
        code, _, errors = await cli("battery", "reference", "EV-1", "140")
        assert code != 0
        assert "battery.health.pack" in errors
        true_ah, day = aged_day()
        await cli.records("request", "POST", "/telemetry", records(day))
        assert await estimated(cli, "soh_percent") == pytest.approx(100 * true_ah / 150, abs=4)

        (good,) = await cli.records("battery", "reference", "EV-1", str(true_ah), "--note", "C/3", role=Role.FLEET)
        assert good["values"]["measured_ah"] == pytest.approx(true_ah)
        assert abs(good["values"]["error_percent"]) < 3
        assert await cli.records("alerts", "list") == []
        (bad,) = await cli.records("battery", "reference", "EV-1", str(true_ah * 0.8))
        assert bad["values"]["error_percent"] > 10
        (alert,) = await cli.records("alerts", "list", role=Role.DRIVER)
        assert (alert["kind"], alert["subject"]) == ("soh_reference", "EV-1")

        at_ms = day[-1][0]
        warm = day[-1][1] | {"battery.temperature.max": 29.0, "battery.current": 0.0}  # a sensor says 4 K too much
        parked = [(at_ms + 10_000 * number, warm) for number in range(1, 60)]
        await cli.records("request", "POST", "/telemetry", records(parked, len(day) + 1))
        while not 2.0 < await estimated(cli, "twin_residual_c") < 5.0:
            pass
        (done,) = await cli.records("battery", "calibrate", "EV-1", "--note", "inspected", role=Role.FLEET)
        assert 2.0 < done["values"]["residual_c"] < 5.0
        later = [(at_ms + 10_000 * number, warm) for number in range(60, 62)]
        await cli.records("request", "POST", "/telemetry", records(later, len(day) + 60))
        while abs(await estimated(cli, "twin_residual_c")) > 0.3:
            pass

        checks = await cli.records("battery", "checks", "EV-1", role=Role.DRIVER)
        assert [each["kind"] for each in checks] == ["reference", "reference", "calibration"]
        code, table, _ = await cli("battery", "checks", "EV-1")
        assert (code, "inspected" in table) == (0, True)
        assert (await cli("battery", "calibrate", "EV-1", role=Role.DRIVER))[0] != 0, "drivers do not calibrate"
        (report,) = await cli.records("battery", "reports")
        assert (report["checked"], report["worst_percent"]) == (0, None), "of the month before"
        assert (await cli("battery", "reports", role=Role.FLEET))[0] != 0


@pytest.mark.requirement("R178")
async def test_the_health_of_a_fleet_and_of_a_vehicle_is_drawn(start: Start, tmp_path: Path) -> None:
    async with start(battery=SETTINGS) as running:
        cli, picture = Cli(running, tmp_path), tmp_path / "health.svg"
        code, _, errors = await cli("plot", str(picture), "--battery")
        assert code != 0
        assert "nothing to draw" in errors
        true_ah, day = aged_day()
        later_ms = Clock().utc_ms() - day[-1][0] - 2 * HOUR_MS
        await cli.records("request", "POST", "/telemetry", records([(at_ms + later_ms, each) for at_ms, each in day]))
        await estimated(cli, "soh_percent")
        for words, title in (((), "mean half a year later"), (("--ev", "EV-1"), "estimated")):
            picture.unlink(missing_ok=True)
            code, _, errors = await cli("plot", str(picture), "--battery", "--hours", "4", *words)
            assert code == 0, errors
            drawn = picture.read_text()
            assert "state of health, %" in drawn
            assert title in drawn
        (known,) = (await cli.records("request", "GET", "/battery-health"))[0][-1]["weakest"]
        assert (known["ev"], known["percent"]) == ("EV-1", pytest.approx(100 * true_ah / 150, abs=4))


def test_the_last_month_of_a_time() -> None:
    assert last_month(1_767_225_600_000) == ("2025-12", (1_764_547_200_000, 1_767_225_600_000))  # 2026-01-01
    assert last_month(1_767_225_599_999)[0] == "2025-11"
    assert last_month(1_772_323_200_000) == ("2026-02", (1_769_904_000_000, 1_772_323_200_000))  # 2026-03-01
