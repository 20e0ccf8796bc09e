"""The meter: exact, monotone, and still right after the process is killed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secc.meter import PER_MWH, MeterReading, SimulatedMeter
from v2g.errors import StoreError

HOUR = 3_600_000


def test_an_hour_of_ten_kilowatts_is_ten_kilowatt_hours_each_way() -> None:
    meter = SimulatedMeter("M")
    meter.flow(0, 400_000, 25_000)
    meter.flow(HOUR, 400_000, -25_000)
    assert meter.read(HOUR) == MeterReading(HOUR, 10_000_000, 0)
    assert meter.read(2 * HOUR) == MeterReading(2 * HOUR, 10_000_000, 10_000_000)


Flow = st.tuples(st.integers(0, 100_000), st.integers(0, 1_000_000), st.integers(-300_000, 300_000))


@given(st.lists(Flow, max_size=30))
def test_however_often_it_is_read_nothing_is_lost_and_nothing_falls(flows: list[tuple[int, int, int]]) -> None:
    often, seldom = SimulatedMeter("A"), SimulatedMeter("B")
    now = exact_import = exact_export = 0
    before = MeterReading(0, 0, 0)
    for milliseconds, voltage, current in flows:
        often.flow(now, voltage, current)
        seldom.flow(now, voltage, current)
        for part in range(1, 4):
            reading = often.read(now + milliseconds * part // 3)
            assert reading.import_mwh >= before.import_mwh
            assert reading.export_mwh >= before.export_mwh
            before = reading
        now += milliseconds
        energy = voltage * current * milliseconds
        exact_import += max(0, energy)
        exact_export += max(0, -energy)
    assert often.read(now) == seldom.read(now) == MeterReading(now, exact_import // PER_MWH, exact_export // PER_MWH)


def test_time_that_goes_back_counts_as_no_time() -> None:
    meter = SimulatedMeter("M")
    meter.flow(HOUR, 400_000, 25_000)
    assert meter.read(0).import_mwh == 0
    assert meter.read(2 * HOUR).import_mwh == 10_000_000


def test_registers_and_what_is_not_yet_a_whole_mwh_survive(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "meter.bin"
    meter = SimulatedMeter("M", path)
    meter.flow(0, 400_000, 25_001)
    meter.read(HOUR + 1)
    meter.save(sync=False)  # killed here: nothing is closed
    again = SimulatedMeter("M", path)
    assert again.read(0) == MeterReading(0, *(meter.read(HOUR + 1).import_mwh, 0))
    assert again._import == meter._import
    again.close()
    again.close()
    meter.close()


def test_a_write_that_was_cut_off_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "meter.bin"
    meter = SimulatedMeter("M", path)
    for hour in range(3):
        meter.flow(hour * HOUR, 400_000, 25_000)
        meter.save()
    data = bytearray(path.read_bytes())
    generation = meter._generation % 2
    data[generation * len(data) // 2 + 20] ^= 0xFF
    path.write_bytes(data)
    assert SimulatedMeter("M", path).read(0).import_mwh == 10_000_000


@pytest.mark.parametrize("data", [b"x", bytes(120), b"V2GMETR1" * 15])
def test_a_file_without_registers_is_no_meter(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "meter.bin"
    path.write_bytes(data)
    with pytest.raises(StoreError, match="holds no registers"):
        SimulatedMeter("M", path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)):
        SimulatedMeter("M", tmp_path)


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    meter = SimulatedMeter("M", tmp_path / "meter.bin")
    meter.save()
    assert meter._descriptor is not None
    os.close(meter._descriptor)
    with pytest.raises(StoreError):
        meter.save()


def test_without_a_file_there_is_nothing_to_save() -> None:
    meter = SimulatedMeter("M")
    meter.save()
    meter.close()
