"""Vehicles by role: states, values, routes, aggregates, exports, and erasure."""

import asyncio
import csv
import errno
import gc
import io
import json
import threading
import time
from typing import Any
from urllib.parse import parse_qs

import pytest

from csms.accounts.rules import Role
from csms.http import operations as download
from csms.telemetry import aggregate_store as telemetry_aggregates
from csms.vehicles import api as vehicles
from csms.vehicles import store as rows
from tests.csms.api.support import ApiClient
from v2g.telemetry.signals import SCHEMA, SCHEMA_5, SCHEMAS, Record, encode_record

EV = "EV-1"


def record(seq: int, ev: str = EV, **values: float) -> bytes:
    signals = {name.replace("__", "."): value for name, value in values.items()}
    return encode_record(Record(ev, 1, seq, 60_000 + seq * 1000, "city", seq == 1, signals))


async def deliver(ask: ApiClient, *records: bytes) -> None:
    ask.backend.clock.now_ms = 120_000  # soon after the records' times
    answer = await ask("POST", "/telemetry", b"[" + b",".join(records) + b"]")
    assert answer.json["stored"] == len(records), answer.json


@pytest.fixture
async def driven(ask: ApiClient) -> ApiClient:
    """A back end to which two vehicles have delivered."""
    await deliver(
        ask,
        record(1, battery__soc=80.0, location__latitude=48.1, location__longitude=11.5, motor__speed=3000),
        record(2, location__latitude=48.2, battery__temperature__max=31.0),
        record(3, battery__soc=79.0, charging__power=0.0),
        record(1, ev="EV-2", battery__soc=20.0),
    )
    await ask.backend.services.store.run(telemetry_aggregates.aggregate_pending)
    return ask


@pytest.mark.requirement("R212")
async def test_paths_of_vss_have_the_values_that_the_caller_may_see(driven: ApiClient) -> None:
    async def paths(path: str, **more: Any) -> dict[str, tuple[str, str]]:
        answer = await driven("GET", f"/vehicles/EV-1/vss?path={path}", **more)
        assert answer.status == 200, answer.json
        assert answer.json["ts"] == "1970-01-01T00:02:00.000Z"
        return {each["path"]: (each["dp"]["value"], each["dp"]["ts"]) for each in answer.json["data"]}

    battery = "Vehicle.Powertrain.TractionBattery"
    soc = {f"{battery}.StateOfCharge.Current": ("79", "1970-01-01T00:01:03.000Z")}
    assert await paths(f"{battery}.StateOfCharge.Current") == soc
    hot = {f"{battery}.Temperature.Max": ("31", "1970-01-01T00:01:02.000Z")}
    assert await paths(f"{battery}") == soc | hot
    assert await paths(f"{battery}.*.Max") == hot
    assert "Vehicle.CurrentLocation.Latitude" in await paths("Vehicle")
    assert "Vehicle.CurrentLocation.Latitude" not in await paths("Vehicle", role=Role.GRID_OPERATOR)
    for path, status in (("Vehicle.Nothing", 404), ("Car", 400), ("Vehicle.**", 400), ("Vehicle" + ".*" * 100, 400)):
        assert (await driven("GET", f"/vehicles/EV-1/vss?path={path}")).status == status
    assert (await driven("GET", "/vehicles/EV-9/vss")).status == 404


@pytest.mark.requirement("R78", "R96", "R113")
async def test_each_role_reads_its_vehicles_and_its_signals(driven: ApiClient) -> None:
    async def signals(role: Role) -> dict[str, set[str]]:
        answer = await driven("GET", "/vehicles", role=role)
        assert answer.status == 200, answer.json
        return {each["ev"]: set(each["values"]) for each in answer.json}

    everything = {
        "battery.soc", "location.latitude", "location.longitude", "motor.speed", "battery.temperature.max",
        "charging.power",
    }  # fmt: skip
    assert await signals(Role.ADMIN) == {EV: everything, "EV-2": {"battery.soc"}}
    assert await signals(Role.DRIVER) == await signals(Role.FLEET) == {EV: everything}
    assert await signals(Role.GRID_OPERATOR) == {EV: {"battery.soc", "charging.power"}, "EV-2": {"battery.soc"}}
    assert (await driven("GET", "/vehicles", role=Role.INSURER)).status == 403
    speed = "/vehicles/EV-1/aggregates?signal=motor.speed&width_s=60"
    assert (await driven("GET", speed, role=Role.INSURER)).json[0]["maximum"] == 3000.0
    for role, path, status in (
        (Role.DRIVER, "/vehicles/EV-2", 403),
        (Role.INSURER, "/vehicles/EV-2/aggregates?signal=battery.soc", 403),
        (Role.INSURER, "/vehicles/EV-1/aggregates?signal=charging.power", 403),
        (Role.INSURER, "/vehicles/EV-1/route", 403),
        (Role.GRID_OPERATOR, "/vehicles/EV-1/route", 403),
        (Role.GRID_OPERATOR, "/vehicles/EV-1/values?signals=location.latitude", 403),
        (Role.FLEET, "/vehicles/EV-1/route", 200),
        (Role.DRIVER, "/vehicles/EV-9", 403),
        (Role.ADMIN, "/vehicles/EV-9", 404),
        (Role.ADMIN, "/vehicles/EV-1/values?signals=battery.sco", 400),
        (Role.ADMIN, "/vehicles/EV-1/aggregates?signal=location.latitude", 400),
    ):
        assert (await driven("GET", path, role=role)).status == status, (role, path)


@pytest.mark.requirement("R96")
async def test_a_token_for_a_driver_reads_no_vehicle_until_some_are_named(driven: ApiClient) -> None:
    for evs, seen in ((None, []), (["EV-2"], ["EV-2"])):
        made = await driven("POST", "/access/tokens", {"name": "app", "role": "driver"} | ({"evs": evs} if evs else {}))
        answer = await driven("GET", "/vehicles", token=made.json["secret"])
        assert [each["ev"] for each in answer.json] == seen


@pytest.mark.requirement("R78")
async def test_a_state_has_the_time_of_each_value_and_is_sent_again_only_if_it_changed(driven: ApiClient) -> None:
    answer = await driven("GET", "/vehicles/EV-1", role=Role.DRIVER)
    assert answer.json["at_ms"] == 63_000
    assert answer.json["values"]["location.latitude"] == {"at_ms": 62_000, "value": 48.2}
    assert answer.json["values"]["location.longitude"] == {"at_ms": 61_000, "value": 11.5}
    tag = answer.headers["etag"]
    assert (await driven("GET", "/vehicles/EV-1", role=Role.DRIVER, if_none_match=tag)).status == 304
    await deliver(driven, record(4, battery__soc=78.0))
    assert (await driven("GET", "/vehicles/EV-1", role=Role.DRIVER, if_none_match=tag)).status == 200


async def test_values_routes_and_aggregates_come_in_pages_and_spans(driven: ApiClient) -> None:
    page = await driven("GET", "/vehicles/EV-1/values?signals=battery.soc&limit=1")
    assert [each["values"] for each in page.json] == [{"battery.soc": 80.0}]
    after = await driven("GET", page.headers["link"].split("; ")[0].strip("<>"))
    assert [(each["seq"], each["values"]) for each in after.json] == [(3, {"battery.soc": 79.0})]
    route = (await driven("GET", "/vehicles/EV-1/route?from_ms=62000")).json
    assert [(each["latitude"], each["longitude"]) for each in route] == [(48.2, 11.5)]
    (minute,) = (await driven("GET", "/vehicles/EV-1/aggregates?signal=battery.soc&width_s=60")).json
    assert minute == {
        "at_ms": 60_000, "minimum": 79.0, "maximum": 80.0, "mean": 80.0, "held_s": 2.0, "number": 2, "last": 79.0
    }  # fmt: skip


async def test_an_export_is_csv_or_parquet_as_others_read_it(driven: ApiClient) -> None:
    answer = await driven("GET", "/vehicles/EV-1/export?signals=battery.soc,location.latitude")
    assert answer.headers["content-type"].startswith("text/csv")
    found = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [(each["time"], each["battery.soc"], each["location.latitude"]) for each in found] == [
        ("1970-01-01T00:01:01.000+00:00", "80.0", "48.1"),
        ("1970-01-01T00:01:02.000+00:00", "", "48.2"),
        ("1970-01-01T00:01:03.000+00:00", "79.0", ""),
    ]
    parquet = pytest.importorskip("pyarrow.parquet")
    answer = await driven("GET", "/vehicles/EV-1/export?signals=battery.soc&format=parquet")
    table = parquet.read_table(io.BytesIO(answer.body))
    assert table.column("battery.soc").to_pylist() == [80.0, 79.0]


async def test_a_long_export_is_read_in_pages(ask: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several records of one time are on both sides of a page's end."""
    sizes: list[int] = []
    values = rows.values

    def page(*arguments: Any) -> list[dict[str, Any]]:
        found = values(*arguments)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(rows, "values", page)
    monkeypatch.setattr(vehicles, "EXPORT_PAGE", 4)
    await deliver(
        ask,
        *(
            encode_record(Record(EV, 1, seq, 60_000 + seq // 3, "city", seq == 1, {"battery.soc": float(seq)}))
            for seq in range(1, 22)
        ),
    )
    path = "/vehicles/EV-1/export?signals=battery.soc"
    answer = await ask("GET", path)
    assert [int(each["seq"]) for each in csv.DictReader(io.StringIO(answer.body.decode()))] == list(range(1, 22))
    assert sizes == [4, 4, 4, 4, 4, 1]
    parquet = pytest.importorskip("pyarrow.parquet")
    file = parquet.ParquetFile(io.BytesIO((await ask("GET", f"{path}&format=parquet")).body))
    assert file.read().column("seq").to_pylist() == list(range(1, 22))
    assert file.metadata.num_row_groups == 6
    monkeypatch.setattr(vehicles, "MAX_EXPORT", 20)
    assert (await ask("GET", path)).status == 400


async def test_a_node_makes_one_export_at_a_time(driven: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, go_on = threading.Event(), threading.Event()
    values = rows.values

    def slow(*arguments: Any) -> list[dict[str, Any]]:
        reading.set()
        assert go_on.wait(60)
        return values(*arguments)

    monkeypatch.setattr(rows, "values", slow)
    first = asyncio.create_task(driven("GET", "/vehicles/EV-1/export"))
    await asyncio.to_thread(reading.wait, 10)
    refused = await driven("GET", "/vehicles/EV-2/export", role=Role.ADMIN)
    go_on.set()
    assert (refused.status, refused.headers["retry-after"]) == (503, "10")
    assert (await first).status == 200
    assert (await driven("GET", "/vehicles/EV-2/export")).status == 200


async def test_an_export_whose_client_has_gone_is_read_no_further(
    driven: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vehicles, "EXPORT_PAGE", 1)
    gone, values, read, loop = asyncio.Event(), rows.values, list[int](), asyncio.get_running_loop()

    def leaving(*arguments: Any) -> list[dict[str, Any]]:
        found = values(*arguments)
        read.append(len(found))
        loop.call_soon_threadsafe(gone.set)
        return found

    monkeypatch.setattr(rows, "values", leaving)

    async def send(_message: Any) -> None:
        pass

    await driven.stream("/vehicles/EV-1/export", send, gone)
    assert read == [1]
    assert (await driven("GET", "/vehicles/EV-1/export")).status == 200
    assert len(read) > 3


@pytest.mark.requirement("R86", "R96")
async def test_an_export_is_sent_piece_by_piece_as_it_is_read(
    driven: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that never reads holds one piece, and a place among its exports until it is gone."""
    path = "/vehicles/EV-1/export?signals=battery.soc"
    whole = await driven("GET", path)
    assert int(whole.headers["content-length"]) == len(whole.body) > 100
    assert (await driven("GET", path, if_none_match=whole.headers["etag"])).status == 304
    part = await driven("GET", path, range="bytes=10-99")
    assert (part.status, part.headers["content-range"]) == (206, f"bytes 10-99/{len(whole.body)}")
    assert part.body == whole.body[10:100]
    assert (await driven("GET", path, range="bytes=9999-")).status == 416

    monkeypatch.setattr(download, "PIECE", 64)
    assert (await driven("GET", path)).body == whole.body
    sent: list[int] = []
    gone, stalled = asyncio.Event(), asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(len(message.get("body", b"")))
        if len(sent) == 2:
            stalled.set()
            await asyncio.Event().wait()

    readers = []
    for _ in range(vehicles.MAX_OF_ONE):
        sent.clear()
        stalled.clear()
        readers.append(asyncio.create_task(driven.stream(path, send, gone)))
        await stalled.wait()
        assert sent == [0, 64]
    refused = await driven("GET", path)
    assert (refused.status, refused.headers["retry-after"]) == (429, "10")
    assert (await driven("GET", path, role=Role.DRIVER)).status == 200
    monkeypatch.setattr(vehicles, "MAX_EXPORTS", vehicles.MAX_OF_ONE)
    assert (await driven("GET", path, role=Role.DRIVER)).status == 503
    gone.set()
    await asyncio.gather(*readers)
    assert (await driven("GET", path)).body == whole.body


async def test_an_export_without_room_on_the_disk_is_an_answer(
    driven: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    answer = await driven("GET", "/vehicles/EV-1/export")
    assert (answer.status, "No space left" in answer.json["detail"]) == (503, True)
    monkeypatch.undo()
    assert (await driven("GET", "/vehicles/EV-1/export")).status == 200


@pytest.mark.long
@pytest.mark.requirement("R96")
async def test_the_states_of_many_vehicles_do_not_hold_the_event_loop(ask: ApiClient) -> None:
    """The loop also sends power commands. Counted is its own CPU time, not that of other work on this machine."""
    number, most_s = 5000, 0.01
    signals = dict.fromkeys([name for name in SCHEMAS[SCHEMA].signals if name.startswith("battery.")], 1.0)
    for start in range(0, number, 500):
        evs = [f"EV-{each:05}" for each in range(start, start + 500)]
        await deliver(ask, *(encode_record(Record(ev, 1, 1, 60_000, "city", True, signals)) for ev in evs))  # noqa: FBT003
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            begun = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - begun)

    gc.collect()
    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    answer = await ask("GET", "/vehicles")
    await asyncio.sleep(0)
    watching.cancel()
    found = answer.json
    assert [each["ev"] for each in found] == [f"EV-{each:05}" for each in range(number)]
    assert found[-1]["values"] == signals
    assert longest < most_s, f"{longest * 1000:.1f} ms"


@pytest.mark.requirement("R107")
async def test_a_driver_has_the_telemetry_erased_and_the_audit_log_says_so(driven: ApiClient) -> None:
    assert (await driven("DELETE", "/vehicles/EV-2/telemetry", role=Role.DRIVER)).status == 403
    assert (await driven("DELETE", "/vehicles/EV-1/telemetry", role=Role.FLEET)).status == 403
    assert (await driven("DELETE", "/vehicles/EV-1/telemetry", role=Role.DRIVER)).status == 204
    assert (await driven("GET", "/vehicles/EV-1/values", role=Role.DRIVER)).json == []
    assert (await driven("GET", "/vehicles/EV-1", role=Role.DRIVER)).status == 404
    assert [each["ev"] for each in (await driven("GET", "/vehicles")).json] == ["EV-2"]
    entry = (await driven("GET", "/audit?operation=erase_vehicle_telemetry")).json[0]
    assert (entry["role"], entry["path"], entry["status"]) == ("driver", "/vehicles/EV-1/telemetry", 204)
    assert json.dumps(entry).count("latitude") == 0


async def test_positions_are_lines_as_traccar_takes_them(driven: ApiClient) -> None:
    """A coordinate that has not changed is that of before; a vehicle without consent has none."""
    signals = {"location.longitude": 11.6, "vehicle.speed": 18.52}
    newest = {"schema": SCHEMA_5, "trip": "1-1", "ambient_c": None, "charging_w": None}
    await deliver(driven, encode_record(Record(EV, 1, 4, 64_000, "city", keyframe=False, signals=signals, **newest)))
    answer = await driven("GET", "/vehicles/EV-1/export?format=osmand", role=Role.FLEET)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    lines = [parse_qs(line) for line in answer.body.decode().splitlines()]
    assert [(each["lat"], each["lon"], each["timestamp"]) for each in lines] == [
        (["48.1"], ["11.5"], ["61000"]), (["48.2"], ["11.5"], ["62000"]), (["48.2"], ["11.6"], ["64000"])
    ]  # fmt: skip
    assert lines[-1] == {
        "id": [EV], "lat": ["48.2"], "lon": ["11.6"], "timestamp": ["64000"], "speed": ["10.0"], "batt": ["79.0"]
    }  # fmt: skip
    assert (await driven("GET", "/vehicles/EV-2/export?format=osmand")).body == b""
    assert (await driven("GET", "/vehicles/EV-1/export?format=osmand", role=Role.GRID_OPERATOR)).status == 403
