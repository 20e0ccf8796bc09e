"""A fleet of 1,000 vehicles for a year: what is wrong with some is found, and nothing with the others."""

import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context

import pytest

from benchmarks.battery import samples
from v2g.battery import detectors
from v2g.battery.sample import Sample

VEHICLES, HOURS = 1000, 8760
HOT, SPREAD, FADING = range(3)


def wrong(vehicle: int) -> int | None:
    """Return what is wrong with a vehicle: with three of a hundred something is."""
    return vehicle % 100 if vehicle % 100 <= FADING else None


def year(vehicle: int) -> tuple[int, list[str], float]:
    """Return a vehicle, what was found in its year by what began, and the processor time (s)."""
    begun, fault, found = time.process_time(), wrong(vehicle), list[str]()
    state = detectors.DetectorState()
    for hour, sample in enumerate(islice(samples(3600), HOURS)):
        values = dict(sample.values)
        values["battery.soh"] = 100 - 3 * hour / HOURS
        values["battery.cell_voltage.imbalance"] += 0.0002 * ((hour * 7919 + vehicle) % 11)
        if fault == HOT and 3000 + vehicle < hour < 3010 + vehicle:
            values["battery.temperature.max"] = 58.0
        if fault == SPREAD and hour > 5000:
            values["battery.cell_voltage.imbalance"] = 0.09
        if fault == FADING:
            values["battery.soh"] -= max(0, hour - 4000) * 0.002
        state, new = detectors.step(detectors.DetectorSettings(), state, Sample(sample.at_ms, values))
        found += (each.kind for each in new if each.raised and not each.kind.startswith("data_"))
    return vehicle, sorted(set(found)), time.process_time() - begun


@pytest.mark.long
@pytest.mark.requirement("R117", "R119", "R120")
def test_a_year_of_1000_vehicles_with_an_hourly_sample(capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
        done = list(workers.map(year, range(VEHICLES), chunksize=10))
    expected = {HOT: "over_temperature", SPREAD: "cell_spread", FADING: "drift_soh"}
    for vehicle, found, _ in done:
        fault = wrong(vehicle)
        assert (expected[fault] in found) if fault is not None else found == [], (vehicle, found)
    spent_s, samples_ = sum(each[2] for each in done), VEHICLES * HOURS
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{samples_:,} samples in {time.monotonic() - begun:.0f} s on two cores: "
            f"{samples_ / spent_s:,.0f} a second of CPU"
        )
