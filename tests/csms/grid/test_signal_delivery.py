"""A station that refuses, ignores or rejects a push, and a disk that does."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from csms.settlements import store as records
from tests.csms.conftest import Start
from tests.csms.settlement.journals import booted, delivery, journal, seen
from tests.csms.support import Running, grid_signal
from v2g.errors import StoreError

Reply = Callable[[str, str], Any]


@contextlib.asynccontextmanager
async def answering(csms: Running, reply: Reply, *versions: str) -> AsyncIterator[list[str]]:
    """Connect a station, of those versions, that answers requests by `reply(id, action)` (None: not at all); yield what
    it was asked."""
    asked: list[str] = []

    async def listen(websocket: Any) -> None:
        async for text in websocket:
            kind, identifier, action, *_ = json.loads(text)
            if kind == 2:
                asked.append(action)
                answer = reply(identifier, action)
                if answer is not None:
                    await websocket.send(json.dumps(answer))

    async with csms.connect(**({"versions": versions} if versions else {})) as websocket:
        await booted(websocket)
        task = asyncio.create_task(listen(websocket))
        try:
            yield asked
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_station_without_smart_charging_still_gets_the_prices(csms: Running) -> None:
    def reply(identifier: str, action: str) -> Any:
        if action == "DataTransfer":
            return [3, identifier, {"status": "Accepted"}]
        return [4, identifier, "NotSupported", "", {}]

    async with answering(csms, reply) as asked:
        await csms.csms.grid.offer(grid_signal(1), "test")
        await csms.event("grid_signal_pushed")
        await csms.csms.grid.offer(grid_signal(2), "test")
        await csms.event("grid_signal_pushed", 2)
    assert asked == ["GetChargingProfiles", "SetChargingProfile", "DataTransfer", "DataTransfer"]
    assert len(csms.events("grid_signal_push_refused")) == 1
    assert len(csms.events("charging_profiles_unread")) == 1


async def test_a_station_that_takes_neither_profiles_nor_prices_is_asked_once(csms: Running) -> None:
    def reply(identifier: str, action: str) -> Any:
        if action == "DataTransfer":
            return [3, identifier, {"status": "UnknownVendorId"}]
        if action == "GetChargingProfiles":
            return [3, identifier, {"status": "NoProfiles"}]
        if action == "GetVariables":
            return [4, identifier, "NotSupported", "", {}]
        return [3, identifier, {"status": "Rejected", "statusInfo": {"reasonCode": "UnsupportedPurpose"}}]

    async with answering(csms, reply) as asked:
        await csms.csms.grid.offer(grid_signal(1), "test")
        await csms.event("grid_signal_pushed")
        assert (await csms.event("grid_signal_not_taken"))["status"] == "UnknownVendorId"
    assert csms.events("charging_profile_set")[0]["reason"] == "UnsupportedPurpose"
    profiles = ["SetChargingProfile", "GetVariables", "SetChargingProfile"]
    assert asked == ["GetChargingProfiles", *profiles, "DataTransfer"]


async def test_a_station_that_does_not_answer_is_asked_again_later(start: Start) -> None:
    silent = True

    def reply(identifier: str, action: str) -> Any:
        status = "NoProfiles" if action == "GetChargingProfiles" else "Accepted"
        return None if silent else [3, identifier, {"status": status}]

    grid = {"retry_interval_s": 0.05}
    async with start(ocpp={"call_timeout_s": 0.05}, grid=grid) as csms, answering(csms, reply):
        await csms.csms.grid.offer(grid_signal(1), "test")
        await csms.event("grid_signal_push_failed")
        silent = False
        assert (await csms.event("grid_signal_pushed"))["version"] == 1


@pytest.mark.parametrize(
    ("version", "order"),
    [
        ("ocpp2.1", ["TxDefaultProfile", "ChargingStationMaxProfile", "DataTransfer"]),
        ("ocpp2.0.1", ["DataTransfer", "ChargingStationMaxProfile"]),
    ],
)
async def test_a_lower_limit_does_not_wait_for_what_rises_or_stays(
    csms: Running, version: str, order: list[str]
) -> None:
    """A station may take its time for each request."""

    def reply(identifier: str, action: str) -> Any:
        return [3, identifier, {"status": "NoProfiles" if action == "GetChargingProfiles" else "Accepted"}]

    async with answering(csms, reply, version) as asked:
        await csms.csms.grid.offer(grid_signal(1), "test")
        await csms.event("grid_signal_pushed")
        asked.clear()
        profiles = len(csms.events("charging_profile_set"))
        await csms.csms.grid.offer(grid_signal(2, site_import_limit_w=12_000, export_limit_w=3_000), "test")
        await csms.event("grid_signal_pushed", 2)
        purposes = [each["purpose"] for each in csms.events("charging_profile_set")[profiles:]]
        assert [purposes.pop(0) if each == "SetChargingProfile" else each for each in asked] == order


async def test_a_disk_that_refuses_a_journal_asks_the_station_to_come_again(
    csms: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = journal()

    async def send(websocket: Any) -> Any:
        payload = {"vendorId": "org.v2g-engine", "messageId": "JournalEntries", "data": delivery(lines)}
        await websocket.send(json.dumps([2, "j", "DataTransfer", payload]))
        return json.loads(await websocket.recv())

    def full(*_: Any, **__: Any) -> None:
        raise StoreError("no space left on device")

    seen(csms, lines)
    async with csms.connect() as websocket:
        await booted(websocket)
        with monkeypatch.context() as patch:
            patch.setattr(records, "append_journal", full)
            assert (await send(websocket))[2] == "InternalError"
        assert (await send(websocket))[2]["status"] == "Accepted"
    assert len(csms.events("settled")) == 1
