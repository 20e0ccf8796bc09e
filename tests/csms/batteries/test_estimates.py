"""Estimates and alerts of batteries as a running back end's API and command tell them: one back end gets the telemetry
of a vehicle for each of them. `tests/e2e/test_battery_estimates.py` has longer lives, through a gateway.
"""

import asyncio
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from csms.accounts.rules import Role
from csms.app import running
from pki_tools.tree import PkiTree
from tests.battery.truth import CAPACITY_AH, aged, drive
from tests.battery.warm_days import days
from tests.battery.worn import NMC, PACK, electrodes, worn
from tests.cli.csms import Cli
from tests.csms.api_support import ask, read
from tests.csms.conftest import Start
from tests.csms.support import TOKENS, Running, make_config, provide
from v2g.battery import data_quality, detectors, health
from v2g.io.runtime.clock import Clock
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.mapping import normalised
from v2g.telemetry.signals import Record, encode_record

pytestmark = pytest.mark.one_worker("estimates of batteries")

DAY_MS = 86_400_000
QUARTER_MS = 900_000
T0 = (Clock().utc_ms() // DAY_MS - 1000) * DAY_MS
FORECAST = "soh_in_half_a_year_percent"
SETTINGS = detectors.DetectorSettings(
    health=health.HealthSettings(pack=PACK), data=data_quality.DataQualitySettings(silent_s=86_400)
)

Samples = list[tuple[int, dict[str, float]]]


def at(second: float, current_a: float, cell_v: float, **others: float) -> tuple[int, dict[str, float]]:
    values = {"battery.current": current_a, "battery.voltage": PACK.cells * cell_v}
    return T0 + round(1000 * second), values | {name.replace("_", "."): each for name, each in others.items()}


AGED = aged()[1]
MONTHS = 24
MONTH_S = 30 * 86_400
DRIVEN = drive("nmc")[:1440:3]
"""Four hours; a driven battery's sensor is 1 % and C/100 wrong."""


def lives() -> dict[str, Samples]:
    """Return what each vehicle has lived through."""
    fresh, scale = PACK.capacity_ah / AGED.fresh_ah, PACK.capacity_ah / CAPACITY_AH["nmc"]
    return {
        "AGED": [
            at(month * MONTH_S + second, milliamperes / 1000 * fresh, volts / 10_000)
            for month, day in enumerate(AGED.days[:MONTHS])
            for second, milliamperes, volts in day
        ],
        "DRIVEN": [
            at(
                each.reading.at_ms / 1000,
                each.reading.current_a * scale * 1.01 + PACK.capacity_ah / 100,
                each.reading.cell_v,
            )
            for each in DRIVEN
        ],
        "LOW": [at(*each) for each in (*worn(0.05, 0, 8, hourly=1), *worn(0.3, 8, 40, hourly=1))],
        "FADES": [at(day * 86_400, 0.0, 3.7, battery_soh=98 - 0.1 * max(0, day - 32)) for day in range(50)],
        "HOT": [
            at(10 * tick, 0.0, 3.7, battery_temperature_max=25 + min(15, tick / 3), battery_temperature_coolant=25.0)
            for tick in range(90)
        ],
    }


def warm() -> list[Record]:
    """Return records of the evenings of 23 days up to yesterday, in the last three of which a module gets no coolant.

    Each second number is missing, and each day is a boot: no value is known to hold, and few minutes are aggregated.
    """
    begin_ms = Clock().utc_ms() // DAY_MS * DAY_MS - 23 * DAY_MS
    found = days(1, reference=20, warm_module_k=6.0).items()
    return [
        record("WARM", 2 * number, begin_ms + at_ms, normalised(values), boot=1 + at_ms // DAY_MS)
        for number, (at_ms, values) in enumerate(found, 1)
        if at_ms % DAY_MS >= 17.75 * 3_600_000
    ]


def record(ev: str, seq: int, at_ms: int, values: dict[str, float], boot: int = 1) -> Record:
    return Record(
        ev, boot, seq, at_ms, "parked", keyframe=True, signals=values, schema="v2g-telemetry/4", trip="1-0",
        ambient_c=None, charging_w=None,
    )  # fmt: skip


class Told(msgspec.Struct, frozen=True):
    """What the back end says: estimates by vehicle and quarter of an hour (ms since `T0`), and alerts."""

    estimates: dict[str, dict[int, dict[str, float]]]
    alerts: list[dict[str, Any]]


async def deliver(csms: Running, records: Iterable[Record]) -> None:
    body = encode_delivery(map(encode_record, records))
    async with ask(csms, "POST", "/telemetry", token=TOKENS[Role.ADMIN], body=body) as answer:
        assert answer.ok, await answer.text()


async def tell(csms: Running) -> Told:
    """Deliver the vehicles' lives; wait until all of them is in the estimates."""
    lived, estimates = lives(), dict[str, dict[int, dict[str, float]]]()
    for ev, samples in lived.items():
        await deliver(csms, (record(ev, seq, *each) for seq, each in enumerate(samples, 1)))
    for ev, samples in lived.items():
        last_ms = samples[-1][0] // QUARTER_MS * QUARTER_MS
        while not (rows := await read(csms, f"/vehicles/{ev}/battery?limit=1000")) or rows[-1]["at_ms"] < last_ms:
            await asyncio.sleep(0.05)
        estimates[ev] = {each["at_ms"] - T0: each["values"] for each in rows}
    return Told(estimates, await read(csms, "/alerts"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, pki: PkiTree, empty_database: Path) -> Told:
    folder = tmp_path_factory.mktemp("batteries")
    config = make_config(folder, pki, battery=SETTINGS)
    provide(empty_database, config)

    async def run() -> Told:
        async with asyncio.timeout(60), running(config, folder / "events.jsonl") as csms:
            return await tell(Running(csms, config, folder / "events.jsonl", pki))

    return asyncio.run(run())


def alerts_of(told: Told, ev: str) -> list[dict[str, Any]]:
    return [each for each in told.alerts if each["subject"] == ev]


def by_month(told: Told, name: str) -> dict[int, float]:
    """Return the last estimate of that name of each month of the aged battery."""
    rows = sorted(told.estimates["AGED"].items())
    return {at_ms // 1000 // MONTH_S: values[name] for at_ms, values in rows if name in values}


def rms(errors: Iterator[float]) -> float:
    found = list(errors)
    assert len(found) > 10
    return math.sqrt(sum(each**2 for each in found) / len(found))


TRUTH = [100 * each / AGED.fresh_ah for each in AGED.capacity_ah]
"""The aged battery's health by month, %."""


@pytest.mark.requirement("R114")
def test_the_state_of_charge_is_within_1_percent_of_that_of_the_cells(told: Told) -> None:
    truth = {each.reading.at_ms // QUARTER_MS * QUARTER_MS: 100 * each.soc for each in DRIVEN}
    errors = [
        told.estimates["DRIVEN"][at_ms]["soc_percent"] - soc for at_ms, soc in truth.items() if at_ms >= 3_600_000
    ]
    assert len(errors) == 12
    assert max(map(abs, errors)) < 1.0, errors


@pytest.mark.requirement("R115")
def test_the_state_of_health_of_a_pack_that_ages_is_within_3_percent(told: Told) -> None:
    known = by_month(told, "soh_percent")
    assert rms(known[month] - TRUTH[month] for month in range(3, MONTHS)) < 3.0
    assert alerts_of(told, "AGED") == []


@pytest.mark.requirement("R116", "R122")
def test_the_model_is_fitted_each_month_and_its_forecast_of_half_a_year_is_within_3_percent(told: Told) -> None:
    forecasts = by_month(told, FORECAST)
    assert len(set(forecasts.values())) == len(forecasts) > 18
    assert rms(forecasts[month] - TRUTH[month + 6] for month in range(6, MONTHS)) < 3.0


@pytest.mark.requirement("R121")
def test_a_battery_that_falls_below_80_percent_is_one_alert(told: Told) -> None:
    assert NMC.capacity(electrodes(0.05)) > 0.9
    (alert,) = alerts_of(told, "LOW")
    assert (alert["kind"], alert["count"], alert["limit"], alert["cleared_ms"]) == ("soh_low", 1, 0.8, None)
    assert 0.7 < NMC.capacity(electrodes(0.3)) < alert["value"] < 0.8
    assert alert["raised_ms"] > T0 + 8 * DAY_MS


@pytest.mark.requirement("R119")
def test_a_battery_that_fades_faster_than_expected_is_an_alert(told: Told) -> None:
    (alert,) = alerts_of(told, "FADES")
    assert alert["kind"] == "drift_soh"
    assert 33 < (alert["raised_ms"] - T0) / DAY_MS < 50


@pytest.mark.requirement("R129")
def test_heat_that_no_current_explains_is_an_alert(told: Told) -> None:
    (alert,) = alerts_of(told, "HOT")
    assert alert["kind"] == "twin_temperature"
    assert alert["value"] > 8
    (values,) = told.estimates["HOT"].values()
    assert 8 < values["twin_residual_c"] < 15


@pytest.mark.requirement("R118")
async def test_a_shifted_temperature_profile_is_named_by_exit_code(start: Start, tmp_path: Path) -> None:
    """A back end aggregates what waits as it starts."""
    async with start() as before:
        await deliver(before, records := warm())
    async with start() as csms:
        last = f"/vehicles/WARM/aggregates?signal=battery.current&width_s=900&from_ms={records[-1].utc_ms}"
        async with asyncio.timeout(60):
            while not await read(csms, last):
                await asyncio.sleep(0.05)
        code, shown, errors = await Cli(csms, tmp_path)("profile", "WARM", "--reference", "20", "--json")
        assert code == 1, errors
        assert (json.loads(shown)["shifted"], json.loads(shown)["feature"]) == (True, "module 3")
        code, _, errors = await Cli(csms, tmp_path)("profile", "WARM", "--reference", "20", "--days", "9")
    assert code > 1
    assert "days with temperatures" in errors
