"""Events and checkpoints of programs beside the gateway: each once, and only what may leave the machine."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcc.checkpoints import line_of
from pki_tools.tree import PkiTree
from tests.gateway.gateway import EV, data_of, until_event
from tests.gateway.local_source import copies, gateway, numbers, program, records, taken
from tests.telemetry.brokers import access
from tests.telemetry.reference import ReferenceBackEnd
from tests.waiting import until
from v2g.energy.settlement.checkpoints import encode_copy
from v2g.observe import Observe
from v2g.telemetry.local_events import REPORTED, LocalEvent, reported
from v2g.telemetry.signals import Record, decode_record, encode_record
from v2g_cli.demo.broker import Broker
from v2g_gateway.gateway import MAX_LOCAL

VIN = "WMIV2GENGINE00001"


def outbox_files(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.glob("o.db*"))


@pytest.mark.requirement("R25", "R167")
async def test_checkpoints_kept_while_the_gateway_was_down_are_taken_once(tmp_path: Path) -> None:
    """The vehicle offers all that it keeps at each connection; the gateway's next life knows what it has."""
    async with program(tmp_path, stored=3) as (local, _):
        async with gateway(tmp_path) as events:
            await until_event(events, "source_connected")
            await taken(tmp_path, 3)
            for copy in copies([3, 4]):
                local.publish(line_of(encode_copy(copy)))
            await taken(tmp_path, 4)
        (tmp_path / "checkpoints.jsonl").write_bytes(b"".join(map(encode_copy, copies(range(1, 7)))))
        async with gateway(tmp_path):
            await taken(tmp_path, 6)
    async with program(tmp_path, stored=6), gateway(tmp_path) as events:
        await until_event(events, "source_connected")
    assert await numbers(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.requirement("R25")
async def test_checkpoints_wait_in_the_program_while_the_gateway_has_no_room(tmp_path: Path) -> None:
    async with program(tmp_path, stored=3 * MAX_LOCAL), gateway(tmp_path):
        await taken(tmp_path, 3 * MAX_LOCAL)
    assert await numbers(tmp_path) == list(range(1, 3 * MAX_LOCAL + 1))


@pytest.mark.requirement("R167")
async def test_a_checkpoint_is_delivered_although_its_digest_cannot_be_written(
    pki: PkiTree, broker: Broker, tmp_path: Path
) -> None:
    back_end = ReferenceBackEnd()
    await back_end.connect(broker, pki)
    async with program(tmp_path) as (local, log), gateway(tmp_path, mqtt=access(broker, pki, EV), encoding="json"):
        await until(lambda: local.is_read)
        log(Observe("session", "established", {"session_id": "ab" * 8}))
        await back_end.has(1)
        with contextlib.closing(sqlite3.connect(tmp_path / "o.db")) as box:
            await until(lambda: box.execute("SELECT count(*) FROM outbox").fetchone() == (0,))
        await asyncio.sleep(0.2)  # delivery has nothing to do now
        (tmp_path / "o.checkpoints").mkdir()
        local.publish(line_of(encode_copy(copies([1])[0])))
        async with asyncio.timeout(60):
            await back_end.has(2)
    await back_end.close()


async def test_a_program_that_comes_later_or_again_is_found(tmp_path: Path) -> None:
    async with gateway(tmp_path) as events:
        for times in (1, 2):
            async with program(tmp_path):
                while len(data_of(events, "source_connected")) < times:
                    await asyncio.sleep(0.01)
            while len(data_of(events, "source_lost")) < times:
                await asyncio.sleep(0.01)


@pytest.mark.requirement("R143")
async def test_events_become_records_without_what_names_vehicle_or_place(tmp_path: Path) -> None:
    async with program(tmp_path) as (local, log), gateway(tmp_path) as events:
        await until_event(events, "source_connected")
        await until(lambda: local.is_read)
        log(Observe("session", "established", {"session_id": "ab" * 8, "evse_id": "DE*1*E2", "evcc_id": VIN}))
        log(Observe("loop", "flow", {"power_w": 11_000}))
        local.publish(b"no JSON\n")
        log(Observe("session", "failed", {"reason": "message_timeout", "error": f"{VIN} is late", "session_id": None}))
        await until(lambda: b"session.failed" in outbox_files(tmp_path))
    found = await records(tmp_path)
    assert [(each.event.name, each.event.data) for each in found if isinstance(each.event, LocalEvent)] == [
        ("session.established", {"session_id": "ab" * 8}),
        ("session.failed", {"reason": "message_timeout", "session_id": None}),
    ]
    assert VIN.encode() not in outbox_files(tmp_path)


@given(
    st.sampled_from(sorted(REPORTED)),
    st.sampled_from(["evcc", "secc"]),
    st.dictionaries(
        st.sampled_from(sorted({field for fields in REPORTED.values() for field in fields})),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200),
    ),
)
def test_every_reported_event_is_a_valid_record(name: str, process: str, data: dict[str, object]) -> None:
    event = reported(process, *name.split("."), 1, data)
    assert event is not None
    assert event.data.keys() <= set(REPORTED[name])
    record = Record(
        EV, 1, 1, 1, "parked", keyframe=False, signals={}, schema="v2g-telemetry/5", trip="1-0", ambient_c=None,
        charging_w=None, event=event,
    )  # fmt: skip
    assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize(("process", "name"), [("csms", "session.ended"), ("evcc", "loop.flow"), ("", "")])
def test_nothing_else_is_reported(process: str, name: str) -> None:
    assert reported(process, *(name.split(".") if name else ("", "")), 1, {}) is None
