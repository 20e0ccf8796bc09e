"""Who may do what over HTTPS, and what it answers."""

import asyncio
import contextlib
import json
import socket
import ssl
from typing import Any

import pytest

from csms.accounts.rules import Role
from csms.http.connection import Connections
from tests.csms.api_support import ask, batch, record
from tests.csms.conftest import Start
from tests.csms.support import TOKENS, Running, grid_signal
from v2g.pki.crl import load_crl


@pytest.mark.some(1)
@pytest.mark.parametrize("token", ["", "wrong", TOKENS[Role.ADMIN].upper(), TOKENS[Role.ADMIN] + "x"])
async def test_a_wrong_token_is_nobody_even_with_a_good_certificate(csms: Running, token: str) -> None:
    async with ask(csms, "POST", "/telemetry", token=token, leaf="csms/gateway", body=b"[]") as response:
        assert response.status == 401


async def test_a_gateway_reports_with_its_certificate_and_for_its_own_vehicles_only(csms: Running) -> None:
    async with ask(csms, "POST", "/telemetry", leaf="csms/gateway", body=batch(record(1))) as response:
        assert response.status == 200
    foreign = batch(record(2), record(1, ev="EV-2"))
    async with ask(csms, "POST", "/telemetry", leaf="csms/gateway", body=foreign) as response:
        assert response.status == 403
    async with ask(csms, "GET", "/telemetry/EV-2/hwm", leaf="csms/gateway") as response:
        assert response.status == 403
    async with ask(csms, "GET", "/telemetry/EV-1/hwm", leaf="csms/gateway") as response:
        (mark,) = await response.json()
    assert {name: mark[name] for name in ("boot", "highest", "contiguous")} == {
        "boot": 1, "highest": 1, "contiguous": 1
    }  # fmt: skip
    assert csms.events("telemetry_foreign") == [
        {"sender": csms.log_name("WMIV2GENGINE0000001X"), "ev": csms.log_name("EV-2"), "records": 2}
    ]


async def test_a_certificate_that_is_no_gateways_opens_nothing(csms: Running) -> None:
    async with ask(csms, "POST", "/telemetry", leaf="csms/station", body=b"[]") as response:
        assert response.status == 401


async def test_telemetry_is_stored_once_and_contradictions_are_refused_and_counted(csms: Running) -> None:
    token = TOKENS[Role.GATEWAY]
    async with ask(csms, "POST", "/telemetry", token=token, body=batch(record(1), record(2), record(4))) as response:
        first = await response.json()
    again = batch(record(2), record(4, signals={"battery.soc": 99.0}), record(3))
    async with ask(csms, "POST", "/telemetry", token=token, body=again) as response:
        second = await response.json()
    assert (first["stored"], first["duplicates"], first["conflicts"]) == (3, 0, [])
    assert (first["high_water"][0]["highest"], first["high_water"][0]["contiguous"]) == (4, 2)
    assert (second["stored"], second["duplicates"]) == (1, 1)
    assert second["conflicts"] == [{"ev": "EV-1", "boot": 1, "seq": 4}]
    assert (second["high_water"][0]["highest"], second["high_water"][0]["contiguous"]) == (4, 4)
    assert csms.events("telemetry_conflict") == [{"ev": csms.log_name("EV-1"), "boot": 1, "records": 1}]


async def test_one_bad_record_does_not_hold_up_the_others(csms: Running) -> None:
    body = batch(record(1)).replace(b"[", b'[{"ev":"EV-1"},17,', 1)
    async with ask(csms, "POST", "/telemetry", token=TOKENS[Role.GATEWAY], body=body) as response:
        answer = await response.json()
    assert answer["stored"] == 1
    assert [each["index"] for each in answer["refused"]] == [0, 1]


@pytest.mark.some(1)
@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"[" + b"1," * 1000 + b"1]"])
async def test_a_body_that_is_no_batch_is_a_bad_request(csms: Running, body: bytes) -> None:
    async with ask(csms, "POST", "/telemetry", token=TOKENS[Role.GATEWAY], body=body) as response:
        assert response.status == 400
        assert (await response.json(content_type="application/problem+json"))["detail"]


async def test_a_body_beyond_the_limit_is_refused(start: Start) -> None:
    async with start(api={"max_body_bytes": 1024}) as csms:
        body = b" " * 2048
        async with ask(csms, "POST", "/telemetry", token=TOKENS[Role.GATEWAY], body=body) as response:
            assert response.status == 413


async def test_grid_signal_versions_only_rise(csms: Running) -> None:
    token = TOKENS[Role.GRID_OPERATOR]
    signal = grid_signal(5)
    for body, status in (
        (signal.to_json(), 200),
        (signal.to_json(), 200),  # the same again
        (grid_signal(5, export_limit_w=1).to_json(), 409),
        (grid_signal(4).to_json(), 409),
        (b'{"version": 6}', 400),
        (grid_signal(6, valid_until_ms=0).to_json(), 400),
    ):
        async with ask(csms, "PUT", "/grid/signal", token=token, body=body) as response:
            assert response.status == status, await response.text()
    async with ask(csms, "GET", "/grid/signal", token=token) as response:
        assert await response.json() == json.loads(signal.to_json())


async def test_health_says_what_is_there(csms: Running) -> None:
    lists = [load_crl(path.read_bytes()).crl for path in csms.config.trust.crls]
    ends = [int(each.next_update_utc.timestamp() * 1000) for each in lists if each.next_update_utc is not None]
    async with ask(csms, "GET", "/health") as response:
        assert await response.json() == {
            "status": "ok",
            "broker_connected": None,
            "connected_stations": 0,
            "grid_signal_version": None,
            "revocation_unknown": "refuse",
            "accepted_unknown": 0,
            "crls_until_ms": min(ends),
        }


async def test_unknown_paths_and_methods_are_answered_in_json(csms: Running) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("DELETE", "/stations", 405)):
        async with ask(csms, method, path, token=TOKENS[Role.ADMIN]) as response:
            assert response.status == status
            assert (await response.json(content_type="application/problem+json"))["detail"]


@pytest.mark.requirement("R91")
async def test_tls_1_2_is_refused(csms: Running) -> None:
    context = csms.context(None)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", csms.csms.ports["api"], ssl=context)


BAD_GZIP = b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /stations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n", b"401"),
        (b"PUT /grid/signal HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" + BAD_GZIP, b"400"),
        (b"\x00\x01\x02\r\n\r\n", b"400"),
    ],
    ids=["token", "gzip", "garbage"],
)
async def test_what_is_hardly_http_is_refused_without_a_traceback(
    start: Start, caplog: pytest.LogCaptureFixture, request_: bytes, status: bytes
) -> None:
    async with start() as csms:
        reader, writer = await asyncio.open_connection("127.0.0.1", csms.csms.ports["api"], ssl=csms.context(None))
        writer.write(request_.replace(b"%s", TOKENS[Role.ADMIN].encode()))
        assert (await reader.readline()).split()[1] == status
        writer.close()
        await writer.wait_closed()
    assert not [each for each in caplog.records if each.exc_info]


@pytest.mark.parametrize(
    "begin",
    [
        b"POST /telemetry HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKENS[Role.ADMIN].encode(),
        b"POST /console/login HTTP/1.1\r\nHost: x\r\nOrigin: https://x",
    ],
    ids=["API", "console"],
)
async def test_a_client_that_leaves_within_its_request_is_no_defect(
    start: Start, caplog: pytest.LogCaptureFixture, begin: bytes
) -> None:
    async with start() as csms:
        _reader, writer = await asyncio.open_connection("127.0.0.1", csms.csms.ports["api"], ssl=csms.context(None))
        writer.write(begin + b"\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 9\r\n\r\n--")
        await writer.drain()
        async with ask(csms, "GET", "/health") as response:  # it has read the begin by now
            assert response.status == 200
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    assert not [each for each in caplog.records if each.exc_info]


@pytest.mark.parametrize(
    "begin", [b"", b"GET /health HT", b"POST /telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n["]
)
async def test_a_request_that_never_ends_is_cut_off(
    csms: Running, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    async with ask(csms, "GET", "/health") as response:  # what is whole has all the time it needs
        assert response.status == 200
    monkeypatch.setattr("csms.http.connection._REQUEST_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", csms.csms.ports["api"], ssl=csms.context(None))
    writer.write(begin)
    with contextlib.suppress(ConnectionError):
        assert b"200" not in await asyncio.wait_for(reader.read(), 60)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def opened(csms: Running, path: str, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a stream, and return its connection once it has begun."""
    address = ("127.0.0.1", csms.csms.ports["api"])
    context = csms.context(None)
    if "sock" in options:
        await asyncio.get_running_loop().sock_connect(options["sock"], address)
        reader, writer = await asyncio.open_connection(**options, ssl=context, server_hostname="127.0.0.1")
    else:
        reader, writer = await asyncio.open_connection(*address, ssl=context, **options)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKENS[Role.ADMIN]}\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert b"still here" in await reader.readuntil(b"\n\n\r\n")
    return reader, writer


@pytest.mark.parametrize("path", ["/events", "/ocpp-log"])
async def test_streams_end_with_the_back_end_in_good_order_and_at_once(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    monkeypatch.setattr("csms.http.connection._GRACE_S", 3600.0)
    async with asyncio.timeout(60):
        async with start() as csms:
            reader, writer = await opened(csms, path)
        assert (await reader.read()).endswith(b"0\r\n\r\n")
    writer.close()
    assert not [each for each in caplog.records if each.exc_info or each.levelname == "ERROR"]


async def test_who_reads_a_stream_too_slowly_is_cut_off_when_the_back_end_ends(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("csms.http.connection._GRACE_S", 0.05)
    with socket.socket() as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.settimeout(0)
        async with asyncio.timeout(60), start() as csms:
            _reader, writer = await opened(csms, "/events", sock=narrow, limit=1024)
            for number in range(1000):  # more than all buffers on the way hold
                csms.csms.feed.publish("station_connected", None, {"number": number, "text": "x" * 10_000})
                await asyncio.sleep(0)
        writer.transport.abort()
    assert not [each for each in caplog.records if each.exc_info or each.levelname == "ERROR"]


async def test_a_client_that_reads_nothing_is_disconnected_and_a_slow_one_is_not() -> None:
    """However long its answer: what waits for it is a piece of it and the buffers on the way."""
    pieces: dict[str, int] = {"/never": 0, "/slowly": 0}
    over = asyncio.Event()

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        leaving = asyncio.create_task(receive())
        while not leaving.done() and pieces[scope["path"]] < 400:
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            pieces[scope["path"]] += 1
            await asyncio.sleep(0)
        if scope["path"] == "/never":
            over.set()
        else:
            leaving.cancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    connections = Connections(answer, lambda _: None, stalled_s=0.2)
    server = await asyncio.get_running_loop().create_server(connections.new, "127.0.0.1", 0)
    async with asyncio.timeout(60):
        with socket.socket() as silent:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.connect(server.sockets[0].getsockname())
            silent.sendall(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n")
            await over.wait()
        assert pieces["/never"] < 200
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1024)
        writer.write(b"GET /slowly HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        size = 0
        while piece := await reader.read(1_000_000):
            size += len(piece)
            if size % 7 == 0:
                await asyncio.sleep(0.01)
        assert pieces["/slowly"] == 400
        assert size > 400 * 65_536
    await connections.close()
    server.close()
    writer.close()


async def test_a_request_that_nothing_ends_is_broken_off_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("_GRACE_S", "_ABORTED_S"):
        monkeypatch.setattr(f"csms.http.connection.{name}", 0.05)
    begun, broken = asyncio.Event(), asyncio.Event()

    async def answer(_scope: object, _receive: object, _send: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            broken.set()

    connections = Connections(answer, lambda _: None)
    server = await asyncio.get_running_loop().create_server(connections.new, "127.0.0.1", 0)
    _reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(60):
        await begun.wait()
        await connections.close()
        await broken.wait()
        await asyncio.sleep(0)
    server.close()
    writer.close()
    assert not [each for each in caplog.records if each.exc_info or each.levelname == "ERROR"]
