"""Estimates of batteries through programs: a recording of the vehicle's CAN bus, gateway, broker, back end, API."""

import asyncio
import math
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from csms.alerts.config import AlertsConfig
from csms.alerts.rules import RuleChange
from evcc.hardware.ecu import BatteryEcu, BatterySnapshot
from pki_tools.tree import PkiTree
from tests.battery.truth import CAPACITY_AH, STEP_S, aged, drive
from tests.battery.worn import PACK, worn
from tests.csms.program import Program, write_config
from tests.csms.support import make_config, provide
from tests.gateway.gateway import EV, snapshot
from tests.gateway.program import supervised
from tests.telemetry.brokers import files, source
from v2g.battery import data_quality, detectors, health
from v2g.io.can import CanConfig
from v2g_cli.demo.broker import Broker

pytestmark = pytest.mark.e2e

DAY_S = 86_400
T0_S = (int(time.time()) // DAY_S - 1_800) * DAY_S
"""When what is replayed begins: all of it is past."""
FORECAST = "soh_in_half_a_year_percent"

GATEWAY = """ev = "{ev}"
outbox = "o.db"
uplink_interval = 0
summary_s = 604800

[battery.data]
silent_s = 86400

[can]
replay = "drive.log"
replay_speed = 100000000

[mqtt]
host = "127.0.0.1"
port = {broker}
ca = "{ca}"
chain = "{chain}"
key = "{key}"
"""

Moment = tuple[float, BatterySnapshot]
PARKED = msgspec.structs.replace(
    snapshot(50.0), context="parked", current_a=0.0, power_request_w=0, charging_power_w=0, temperature_min=24.0,
    temperature_max=25.0, coolant_temperature=25.0, ambient_temperature=25.0,
)  # fmt: skip


def at(second: float, current_a: float, cell_v: float, **others: Any) -> Moment:
    """Return the pack at a time: `current_a` of the pack, voltage of a cell."""
    values = {
        "current_a": current_a, "voltage_v": PACK.cells * cell_v, "cell_voltage_mean": cell_v,
        "cell_voltage_min": cell_v - 0.003, "cell_voltage_max": cell_v + 0.003,
    } | others  # fmt: skip
    return T0_S + second, msgspec.structs.replace(PARKED, **values)


def record(path: Path, moments: Iterable[Moment]) -> None:
    """Write what the battery's control units would have sent, as `candump -l` writes it; what has not changed is left
    out, but for the pack's own frame."""
    ecu, sent = BatteryEcu(CanConfig(), lambda: PARKED, rate=1.0), dict[int, bytes]()
    with path.open("w") as file:
        for second, state in moments:
            for number, (frame_id, data) in enumerate(ecu.frames(state)):
                if sent.get(frame_id) != data:
                    file.write(f"({second + number / 10_000:.6f}) can0 {frame_id:03X}#{data.hex().upper()}\n")
                sent[frame_id] = data


class Bench:
    """A back end that knows the pack, and what a vehicle has left in it."""

    def __init__(
        self, folder: Path, pki: PkiTree, broker: Broker, database: Path, settings: detectors.DetectorSettings
    ) -> None:
        self._folder, self._pki, self._broker = folder, pki, broker
        given = make_config(
            folder,
            pki,
            mqtt=source(broker, pki),
            battery=settings,
            alerts=AlertsConfig(rules={"vehicle_silent": RuleChange(enabled=False)}),
        )
        provide(database, given)
        self._config = write_config(folder / "csms.yaml", given)

    async def after(self, moments: list[Moment]) -> tuple[dict[float, dict[str, float]], list[dict[str, Any]]]:
        """Let a vehicle have lived through this; return estimates by time (s), and alerts, the newest first."""
        end_s, last = moments[-1]
        later = [(end_s + 1800, last), (end_s + 1801, msgspec.structs.replace(last, current_a=0.2))]
        await asyncio.to_thread(record, self._folder / "drive.log", [*moments, *later])
        back_end = await Program.start(self._config, self._folder / "events", self._pki)
        text = GATEWAY.format(ev=EV, broker=self._broker.port, **files(self._pki, EV))
        async with supervised(self._folder, sys.executable, "-m", "v2g_gateway", config=text) as gateway:
            await gateway.until("replay_ended", 1)
            while not (rows := await self._rows(back_end)) or rows[-1]["at_ms"] < (end_s + 900) * 1000:
                await asyncio.sleep(0.2)
        rows = await self._rows(back_end)  # of the pages before, one may have ended with a quarter that went on
        _, alerts = await back_end.request("GET", "/alerts")
        await back_end.stop()
        return {each["at_ms"] / 1000 - T0_S: each["values"] for each in rows}, alerts

    async def _rows(self, back_end: Program) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        from_ms = 0
        while found := (await back_end.request("GET", f"/vehicles/{EV}/battery?limit=1000&from_ms={from_ms}"))[1]:
            rows += found
            from_ms = found[-1]["at_ms"] + 1
        return rows


@pytest.fixture
def benches(
    tmp_path: Path, pki: PkiTree, broker: Broker, empty_database: Path
) -> Callable[[detectors.DetectorSettings], Bench]:
    return partial(Bench, tmp_path, pki, broker, empty_database)


SELDOM = data_quality.DataQualitySettings(silent_s=DAY_S)
"""For a vehicle that is not seen for days."""


@pytest.fixture
def bench(benches: Callable[[detectors.DetectorSettings], Bench]) -> Bench:
    return benches(detectors.DetectorSettings(health=health.HealthSettings(pack=PACK), data=SELDOM))


@pytest.mark.long
@pytest.mark.requirement("R114")
async def test_the_state_of_charge_is_within_1_percent_of_that_of_the_cells(bench: Bench) -> None:
    """PyBaMM's day of driving, V2G and charging, with a sensor that is 1 % and C/100 wrong."""
    steps, scale = drive("nmc"), PACK.capacity_ah / CAPACITY_AH["nmc"]
    moments, truth = [], {}
    for number, step in enumerate(steps):
        current_a = step.reading.current_a * scale * 1.01 + PACK.capacity_ah / 100
        second = number * STEP_S
        moments.append(at(second, current_a, step.reading.cell_v))
        truth[second // 900 * 900] = 100 * step.soc
    rows, alerts = await bench.after(moments)
    errors = [rows[T]["soc_percent"] - soc for T, soc in truth.items() if T >= 3600 and T in rows]
    assert len(errors) > 40
    assert max(map(abs, errors)) < 1.0, errors
    assert [each["kind"] for each in alerts] == []


@pytest.mark.long
@pytest.mark.requirement("R115", "R116", "R122")
async def test_health_of_a_pack_that_ages_and_its_forecast_are_within_3_percent(bench: Bench) -> None:
    """Four years of a cell of PyBaMM, of which one day a month is seen."""
    cell = aged()[0]
    scale, month_s = PACK.capacity_ah / cell.fresh_ah, 30 * DAY_S
    moments = [
        at(month * month_s + second, milliamperes / 1000 * scale, volts / 10_000)
        for month, day in enumerate(cell.days)
        for second, milliamperes, volts in day
    ]
    rows, alerts = await bench.after(moments)
    told: dict[int, dict[str, float]] = {}
    for second, values in rows.items():
        told[int(second // month_s)] = values
    health_ = [100 * each / cell.fresh_ah for each in cell.capacity_ah]
    errors = [told[month]["soh_percent"] - truth for month, truth in enumerate(health_) if month >= 3]
    assert math.sqrt(sum(each**2 for each in errors) / len(errors)) < 3.0
    forecasts = {month: each[FORECAST] for month, each in told.items() if FORECAST in each}
    ahead = [value - health_[month + 6] for month, value in forecasts.items() if 6 <= month < len(health_) - 6]
    assert len(ahead) > 30
    assert math.sqrt(sum(each**2 for each in ahead) / len(ahead)) < 3.0
    assert len(set(forecasts.values())) > 0.9 * len(forecasts), "the model is fitted each month"
    assert "soh_low" not in {each["kind"] for each in alerts}


@pytest.mark.long
@pytest.mark.requirement("R121")
async def test_a_battery_below_80_percent_is_one_alert(bench: Bench) -> None:
    rows, alerts = await bench.after([at(*each) for each in (*worn(0.05, 0, 40), *worn(0.26, 40, 110))])
    assert [(each["kind"], each["count"], each["limit"]) for each in alerts] == [("soh_low", 1, 0.8)]
    assert 0.7 < alerts[0]["value"] < 0.8
    assert [*rows.values()][-1]["soh_percent"] < 80


@pytest.mark.long
@pytest.mark.requirement("R119")
async def test_a_battery_that_fades_faster_than_expected_is_an_alert(bench: Bench) -> None:
    hours = [(day, each) for day in range(60) for each in range(0, 24, 3)]
    moments = [
        at(day * DAY_S + hour * 3600, 0.0, 3.7, soh_percent=98.0 - 0.1 * max(0, day - 35)) for day, hour in hours
    ]
    _, alerts = await bench.after(moments)
    assert [each["kind"] for each in alerts] == ["drift_soh"]
    day = (alerts[0]["raised_ms"] / 1000 - T0_S) / DAY_S
    assert 36 < day < 55


@pytest.mark.long
@pytest.mark.requirement("R117", "R129")
async def test_a_weak_cell_and_heat_without_a_current_are_alerts(bench: Bench) -> None:
    """The gateway compares the cells, the back end the pack with its twin."""
    cells = [3.7 + 0.001 * math.sin(number) for number in range(90)]
    moments = [
        at(10 * number, 0.0, 3.7, cells_v=(*cells[:16], cells[16] - 0.04 * (number > 60), *cells[17:]))
        for number in range(240)
    ]
    hot = [at(2400 + 10 * number, 0.0, 3.7, temperature_max=25 + min(15, number / 6)) for number in range(240)]
    _, alerts = await bench.after([*moments, *hot])
    found = {each["kind"]: each for each in alerts}
    assert found.keys() == {"cell_imbalance", "twin_temperature"}
    assert found["cell_imbalance"]["facts"]["cell"] == 17
    assert found["twin_temperature"]["value"] > 8


JUMPS = (
    (5.0, 120.0, 0.0), (5.1, 119.0, 0.0), (5.2, 25.0, 0.0), (5.3, 25.5, 0.0), (5.4, 25.0, 0.0),
    (7.0, 25.0, 20.0), (7.1, 25.0, 20.0), (7.2, 25.0, 0.0), (7.3, 25.0, 0.0),
)  # fmt: skip
"""Seconds, degC and V (0: as before): the gateway leaves a value out that is wrong once, and here each is so twice."""


@pytest.mark.long
@pytest.mark.requirement("R114", "R120")
async def test_wrong_data_are_alerts_about_the_data_and_none_about_the_battery(
    benches: Callable[[detectors.DetectorSettings], Bench],
) -> None:
    """Temperature and voltage jump and go back, the current's sign is swapped for a quarter of an hour, and ten minutes
    are missing while a current flows."""
    scale = PACK.capacity_ah / CAPACITY_AH["nmc"]
    moments, silent = [], range(0)
    for number, step in enumerate(drive("nmc")[:1440]):
        current_a, cell_v = step.reading.current_a * scale, step.reading.cell_v
        sign = -1 if 60 <= number < 150 else 1
        if not silent and number > 1080 and abs(current_a) > 10:
            silent = range(number + 1, number + 61)
        if number in silent:
            continue
        moments.append(at(number * STEP_S, sign * current_a, cell_v))
        for after_s, celsius, volts in JUMPS if number == 420 else ():
            values = {"temperature_max": celsius, "voltage_v": volts or 96 * cell_v}
            moments.append(at(number * STEP_S + after_s, current_a, cell_v, **values))
    moments.append(at(1450 * STEP_S, 0.0, moments[-1][1].cell_voltage_mean))
    bench = benches(detectors.DetectorSettings(health=health.HealthSettings(pack=PACK)))
    _, alerts = await bench.after(moments)
    assert {each["kind"] for each in alerts} == {"data_jump", "data_sign", "data_silent"}
    assert all(each["cleared_ms"] is not None for each in alerts)
    began = {each["kind"]: each["raised_ms"] / 1000 - T0_S for each in reversed(alerts)}
    assert began["data_jump"] == pytest.approx(420 * STEP_S + 5, abs=1)
    assert 60 * STEP_S < began["data_sign"] < 150 * STEP_S
    assert began["data_silent"] == pytest.approx(silent.stop * STEP_S, abs=1)


@pytest.mark.long
@pytest.mark.requirement("R115")
async def test_a_capacity_that_is_wrong_in_the_settings_is_an_alert_about_the_data(
    benches: Callable[[detectors.DetectorSettings], Bench],
) -> None:
    described = health.HealthSettings(pack=msgspec.structs.replace(PACK, capacity_ah=100.0))
    _, alerts = await benches(detectors.DetectorSettings(health=described, data=SELDOM)).after(
        [at(*each) for each in worn(0.0, 0, 100)]
    )
    assert [(each["kind"], each["count"]) for each in alerts] == [("data_capacity", 1)]
