"""Recorded connections without TLS: both ends hold every byte, in frames that Wireshark finds no fault with."""

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from tests.io.capture.pcapng import tshark
from v2g.io.capture.recorder import FrameRecorder, RecordConfig
from v2g.io.capture.tcp_recorder import ConnectionRecorder
from v2g.io.network import plain_tcp
from v2g.iso15118.engine.sdp import TCP_PORTS
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_cli.trace.source import read_entries

SESSION = Path(__file__).parents[2] / "vectors" / "din70121" / "2022-12-13_compleo_with_bulb.jsonl"


@contextlib.contextmanager
def recorder(path: Path):  # type: ignore[no-untyped-def]
    opened = FrameRecorder(RecordConfig(file=path), application="v2g test")
    with contextlib.closing(opened):
        yield ConnectionRecorder(opened)


@pytest.mark.long
async def test_both_ends_record_a_real_session_as_v2g_trace_reads_it(tmp_path: Path) -> None:
    said = [json.loads(line) for line in SESSION.read_text().splitlines()]
    frames = [frame(PayloadType.SAP, bytes.fromhex(each["exi_hex"])) for each in said]
    vehicle, charger = tmp_path / "evcc.pcapng", tmp_path / "secc.pcapng"

    async def talk(stream: plain_tcp.PlainStream, who: str) -> None:
        for each, data in zip(said, frames, strict=True):
            if each["sender"] == who:
                await stream.write(data)
            else:
                got = b""
                while len(got) < len(data):
                    got += await stream.read(len(data) - len(got))
        await stream.close()

    with recorder(vehicle) as of_vehicle, recorder(charger) as of_charger:
        server = await plain_tcp.serve("::1", TCP_PORTS, lambda stream: talk(stream, "charger"), recorder=of_charger)
        async with asyncio.timeout(60):
            stream = await plain_tcp.connect("::1", server.port, timeout=5, recorder=of_vehicle)
            await talk(stream, "vehicle")
            await stream.close()  # idempotent, also in the recording
            await server.close()
    for path in (vehicle, charger):
        found = read_entries(path)
        assert [each.line.exi for each in found] == [each["exi_hex"] for each in said]
        assert [each.speaker for each in found] == [each["sender"] for each in said]
        assert tshark(path, "-Y", "tcp.analysis.flags || _ws.malformed") == []
        ends = tshark(path, "-Y", "tcp.flags.fin == 1", "-T", "fields", "-e", "tcp.srcport")
        assert len(ends) == 2


async def test_a_connection_without_bytes_is_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "empty.pcapng"
    with recorder(path) as record:
        server = await plain_tcp.serve("::1", TCP_PORTS, lambda stream: stream.close())
        stream = await plain_tcp.connect("::1", server.port, timeout=5, recorder=record)
        assert await stream.read(1) == b""
        await stream.close()
        await server.close()
    assert len(tshark(path, "-Y", "tcp")) == 6


@pytest.mark.parametrize("gone", [True, False])
async def test_what_cannot_be_recorded_is_served_all_the_same(tmp_path: Path, gone: bool) -> None:
    """The peer may have left before its address was asked for."""

    class Writer:
        def get_extra_info(self, name: str) -> tuple[str, int] | None:
            return None if gone else ("::1", 1)

    with recorder(tmp_path / "gone.pcapng") as record:
        assert (record.open(Writer(), server=True) is None) == gone
