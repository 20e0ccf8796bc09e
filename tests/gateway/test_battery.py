"""Findings beside the cells: at once, in a record of their own with the sample, and across kills of the gateway."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from evcc.hardware.ecu import BatteryEcu, BatterySnapshot
from evcc.hardware.pack import PackConfig, SensedPack
from evcc.policy.battery import Battery, BatteryConfig
from tests.gateway.gateway import NOBODY, data_of, gateway, snapshot
from tests.telemetry.mirror import BatchMirror
from tests.waiting import until
from v2g.battery import detectors, imbalance
from v2g.io.can import CanConfig, CanPort
from v2g.telemetry.mapping import CanMapping
from v2g.telemetry.priority import Priority
from v2g.telemetry.signals import CellSamples, Record, decode_record
from v2g_gateway.battery import Rounds


def send(can: CanConfig, port: CanPort, state: BatterySnapshot) -> None:
    for frame_id, data in BatteryEcu(can, lambda: state).frames(state):
        port.send(frame_id, data)


def hot(celsius: float) -> BatterySnapshot:
    return msgspec.structs.replace(snapshot(50.0), temperature_max=celsius)


def kept(folder: Path) -> list[tuple[int, Record]]:
    with contextlib.closing(sqlite3.connect(folder / "outbox.db")) as box:
        rows = box.execute("SELECT priority, body FROM outbox ORDER BY boot, seq")
        return [(priority, decode_record(body)) for priority, body in rows]


def findings(folder: Path) -> list[tuple[object, object]]:
    return [
        (each.event.data["kind"], each.event.data["raised"])
        for _, each in kept(folder)
        if isinstance(each.event, msgspec.Struct)
    ]


@pytest.mark.requirement("R120")
async def test_a_finding_is_stored_as_safety_with_its_sample_and_ends_once(tmp_path: Path) -> None:
    async with gateway(tmp_path, NOBODY, drain=0.0) as (can, port, events):
        for celsius in (54.0, 55.5, 58.0, 53.0, 50.0):
            send(can, port, hot(celsius))
            await asyncio.sleep(0.02)
        await until(lambda: len(data_of(events, "battery_finding")) >= 2)
    found = [(priority, each) for priority, each in kept(tmp_path) if isinstance(each.event, msgspec.Struct)]
    assert findings(tmp_path) == [("over_temperature", True), ("over_temperature", False)]
    assert {priority for priority, _ in found} == {Priority.SAFETY}
    (_, raised), (_, ended) = found
    assert (raised.signals["battery.temperature.max"], ended.signals["battery.temperature.max"]) == (55.5, 50.0)
    assert raised.signals.keys() >= {"battery.voltage", "battery.cell_voltage.min"}
    mirror = BatchMirror()
    for _, each in kept(tmp_path):
        mirror.apply(each)
    assert mirror.complete
    assert mirror.state["battery.temperature.max"] == 50.0


@contextlib.asynccontextmanager
async def life(folder: Path) -> AsyncIterator[tuple[CanConfig, CanPort]]:
    async with gateway(folder, NOBODY, drain=0.0) as (can, port, _):
        yield can, port


@pytest.mark.requirement("R120")
async def test_what_ends_while_no_gateway_runs_is_ended_by_the_next_one(tmp_path: Path) -> None:
    async with life(tmp_path) as (can, port):
        send(can, port, hot(60.0))
        await until(lambda: findings(tmp_path))
    assert (tmp_path / "outbox.battery").exists()
    async with life(tmp_path) as (can, port):
        send(can, port, hot(60.0))
        await asyncio.sleep(0.1)
        send(can, port, hot(51.0))
        send(can, port, hot(49.0))
        await until(lambda: len(findings(tmp_path)) >= 2)
    assert findings(tmp_path) == [("over_temperature", True), ("over_temperature", False)]


@pytest.mark.requirement("R120")
async def test_a_damaged_state_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "outbox.battery").write_bytes(b'{"limits": {"mean_v": "x"')
    async with life(tmp_path) as (can, port):
        send(can, port, hot(60.0))
        await until(lambda: findings(tmp_path))


@pytest.mark.requirement("R144")
async def test_nothing_is_found_in_what_may_not_leave_the_vehicle(tmp_path: Path) -> None:
    async with gateway(tmp_path, NOBODY, drain=0.0, consent=("charging",)) as (can, port, events):
        send(can, port, hot(60.0))
        await until(lambda: kept(tmp_path))
        assert data_of(events, "battery_finding") == []


@pytest.mark.requirement("R117")
async def test_a_weak_cell_is_named(tmp_path: Path) -> None:
    settings = detectors.DetectorSettings(imbalance=imbalance.ImbalanceSettings(smooth_s=0.2))
    pack = SensedPack(PackConfig(weak_mv=60.0), ambient_c=20.0)
    cells_v = pack.measure(Battery(BatteryConfig(), at_ms=0).state, 0.05).cells_v
    state = msgspec.structs.replace(snapshot(50.0), cells_v=cells_v)
    async with gateway(tmp_path, NOBODY, drain=0.0, battery=settings) as (can, port, events):
        ecu = BatteryEcu(can, lambda: state, rate=1.0)
        while not data_of(events, "battery_finding"):
            for frame_id, data in ecu.frames(state):
                port.send(frame_id, data)
            await asyncio.sleep(0.05)
        samples = await until(lambda: [each.cells for _, each in kept(tmp_path) if isinstance(each.cells, CellSamples)])
    millivolts = [round(each * 1000) for each in cells_v]
    assert all(row == tuple(10 * each for each in millivolts) for part in samples for _, row in part.samples)
    assert {priority for priority, each in kept(tmp_path) if isinstance(each.cells, CellSamples)} == {Priority.SUMMARY}
    (found,) = data_of(events, "battery_finding")
    assert (found["kind"], found["raised"], found["cell"]) == ("cell_imbalance", True, 1)


def test_single_cells_are_a_sample_when_each_was_measured(tmp_path: Path) -> None:
    """Frames of a round have some cells each; voltages of two rounds are never compared with each other."""
    names = [f"BMS_CellVoltages.Cell{number}" for number in range(1, 97)]
    mapping = CanMapping.read(None, None)
    assert list(mapping.cells) == names
    state = msgspec.structs.replace(snapshot(50.0), cells_v=tuple(3.6 + number / 1000 for number in range(96)))
    ecu = BatteryEcu(CanConfig(), lambda: state, rate=2.0)
    found: list[dict[int, float]] = []
    rounds = Rounds(mapping.cells)
    for cycle in range(6):
        frames = [mapping.decode(*frame) for frame in ecu.frames(state)]
        parts = [frame.cells for frame in frames if frame is not None and frame.cells]
        assert len(parts) == (32 if cycle % 2 == 0 else 0), "once a second"
        found += [ended for part in parts if (ended := rounds.take(part))]
    expected = {number: pytest.approx(3.599 + number / 1000) for number in range(1, 97)}
    assert found == [expected, expected]
