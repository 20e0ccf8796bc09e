"""The status page over real sockets: only with the token, bounded whatever clients do, and nothing of others runs."""

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from pki_tools.tree import PkiTree
from secc.config import StatusPageConfig
from secc.status import Board, ChargerStatus, CsmsShown, EvseShown, ModemShown, SessionShown
from secc.status_page import HEADERS, MOST_CLIENTS, StatusPage, page
from v2g.errors import ConfigError, KeyAccessError, TransportError
from v2g.observe import Observe

TOKEN = "t0ken-of-more-than-20-characters"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
EVIL = "</style><script>alert('x')</script>\"'&"
STATUS = ChargerStatus(
    1_795_342_011_335,
    csms=CsmsShown("disconnected", reason=EVIL),
    evses=(
        EvseShown(1, EVIL, board=Board(EVIL, name=EVIL), sessions=(SessionShown(EVIL, 1, EVIL, EVIL, reason=EVIL),)),
    ),
)


class Served:
    """A running page. `port` of it, and what it has reported."""

    def __init__(self, config: StatusPageConfig) -> None:
        self.config, self.seen, self.port = config, list[Observe](), 0
        self.ready = asyncio.Event()

    def observe(self, event: Observe) -> None:
        self.seen.append(event)
        if event.name == "status_page":
            self.port = int(str(event.data["url"]).rstrip("/").rpartition(":")[2])
            self.ready.set()

    def get(self, path: str = "/", headers: dict[str, str] = BEARER, method: str = "GET") -> tuple[int, str]:
        """Return status and body."""
        connection = HTTPConnection(self.config.host, self.port, timeout=60)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        self.headers = dict(answer.getheaders())
        return answer.status, answer.read().decode()

    def connect(self) -> socket.socket:
        return socket.create_connection((self.config.host, self.port), timeout=60)


@contextlib.asynccontextmanager
async def serving(folder: Path, **more: object) -> AsyncIterator[Served]:
    file = folder / "status.token"
    file.touch(mode=0o600)
    file.write_text(TOKEN + "\n")
    served = Served(StatusPageConfig(port=0, token_file=file, **more))  # type: ignore[arg-type]
    task = asyncio.create_task(StatusPage(served.config, lambda: STATUS, served.observe).run())
    ready = asyncio.create_task(served.ready.wait())
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        ready.cancel()
        task.result()
    yield served
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_page_and_its_json_need_the_token(tmp_path: Path) -> None:
    basic = {"Authorization": "Basic " + base64.b64encode(f"anyone:{TOKEN}".encode()).decode()}
    async with serving(tmp_path) as served:
        for headers in (BEARER, basic):
            status, text = await asyncio.to_thread(served.get, "/", headers)
            assert (status, text) == (200, page(STATUS))
            assert HEADERS.items() <= served.headers.items()
        status, text = await asyncio.to_thread(served.get, "/status.json")
        assert json.loads(text)["csms"]["reason"] == EVIL
        wrong = ("", "Bearer", f"Bearer {TOKEN}x", "Basic %%%", "Basic " + "A" * 99, f"Digest {TOKEN}", "Bearer \xff")
        for each in wrong:
            for path in ("/", "/status.json", "/nowhere"):
                status, text = await asyncio.to_thread(served.get, path, {"Authorization": each})
                assert status == 401, each
                assert "Basic" in served.headers["WWW-Authenticate"]
        assert (await asyncio.to_thread(served.get, "/../etc/passwd"))[0] == 404
    refused = [each for each in served.seen if each.name == "status_page_refused"]
    assert len(refused) == 1  # one a minute
    assert TOKEN not in str(served.seen)


async def test_metrics_need_the_token_and_to_be_wanted(tmp_path: Path) -> None:
    """As the library of Prometheus reads them."""
    async with serving(tmp_path) as served:
        assert (await asyncio.to_thread(served.get, "/metrics"))[0] == 404
    async with serving(tmp_path, metrics=True) as served:
        assert (await asyncio.to_thread(served.get, "/metrics", {}))[0] == 401
        status, text = await asyncio.to_thread(served.get, "/metrics")
        assert (status, served.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert EVIL not in text
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert [sample.value for sample in found["v2g_charger_csms_answers"].samples] == [0]
    assert [sample.labels for sample in found["v2g_charger_watts"].samples] == [{"evse": "1"}]


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "<b>"])
async def test_it_takes_no_commands(tmp_path: Path, method: str) -> None:
    async with serving(tmp_path) as served:
        status, text = await asyncio.to_thread(served.get, "/", BEARER, method)
        assert status == 405
        assert "<" not in text


class Elements(HTMLParser):
    """Names of elements and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names, self.attributes, self.texts = set[str](), set[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(st.text(max_size=60) | st.sampled_from([EVIL, "<img src=//evil onerror=x>", "&lt;", "]]>"]))
def test_text_of_others_stays_text(text: str) -> None:
    evse = replace(
        STATUS.evses[0], evse_id=text, refused=text, modem=ModemShown(text, "lost", text, text, reason=text),
        sessions=(SessionShown(text, 1, text, text, reason=text),),
    )  # fmt: skip
    shown = Elements(page(replace(STATUS, csms=CsmsShown("disconnected", 1, text, 2, text, text, text), evses=(evse,))))
    clean = Elements(page(STATUS))
    assert shown.names == clean.names
    assert shown.attributes == clean.attributes
    assert shown.names.isdisjoint({"script", "img", "link", "iframe", "form", "a", "object"})
    assert "src" not in shown.attributes
    assert "href" not in shown.attributes


def test_the_policy_allows_the_pages_own_style_and_nothing_else() -> None:
    style = page(STATUS).split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    allowed = {"default-src": "'none'", "style-src": f"'sha256-{digest}'"}
    policy = dict(each.split(" ", 1) for each in HEADERS["Content-Security-Policy"].split("; "))
    assert policy == allowed | dict.fromkeys(("base-uri", "form-action", "frame-ancestors"), "'none'")
    assert "url(" not in style
    assert "@import" not in style


async def test_slow_and_many_clients_keep_no_one_out(tmp_path: Path) -> None:
    """All threads are taken by clients that never finish a request; others stay in the queue unread."""
    async with serving(tmp_path) as served:
        slow = [await asyncio.to_thread(served.connect) for _ in range(3 * MOST_CLIENTS)]
        for each in slow:
            each.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert (await asyncio.to_thread(served.get))[0] == 200
        reader = await asyncio.to_thread(served.connect)  # asks, and never reads
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        reader.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        assert (await asyncio.to_thread(served.get, "/status.json"))[0] == 200
        for each in (*slow, reader):
            each.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"GET <script> HTTP/1.1\r\n\r\n",
    ],
    ids=lambda request: repr(request[:24]),
)
async def test_a_hostile_request_gets_a_short_answer_or_none(tmp_path: Path, request_: bytes) -> None:
    def ask(served: Served) -> bytes:
        with served.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(request_)
            with contextlib.suppress(OSError):  # the server has reset the connection
                client.shutdown(socket.SHUT_WR)
            return client.recv(65_536)
        return b""

    async with serving(tmp_path) as served:
        answer = await asyncio.to_thread(ask, served)
        assert b"<" not in answer
        assert b" 200 " not in answer
        assert len(answer) < 1_000
        assert (await asyncio.to_thread(served.get))[0] == 200


async def test_connections_are_accepted_at_a_bounded_rate(tmp_path: Path) -> None:
    """However fast clients connect: 12 of them take as long as the rate says, at least."""

    def hurry(served: Served) -> float:
        began = time.monotonic()
        for _ in range(12):
            with contextlib.suppress(HTTPException, OSError):
                served.get("/", {})
        return time.monotonic() - began

    async with serving(tmp_path) as served:
        assert await asyncio.to_thread(hurry, served) >= 11 / 20 - 0.06


async def test_tls_on_a_named_address(tmp_path: Path, pki: PkiTree) -> None:
    files = {"chain": pki.path("csms/server/chain.pem"), "key": pki.path("csms/server/leaf.key")}
    async with serving(tmp_path, **files) as served:
        context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
        context.check_hostname = False

        def ask() -> bytes:
            silent = served.connect()  # begins no handshake
            with context.wrap_socket(served.connect()) as client:
                client.sendall(f"GET /status.json HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
                answer = client.makefile("rb").read()
            silent.close()
            return answer

        assert b" 200 " in await asyncio.to_thread(ask)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"host": "0.0.0.0"}, "every address"),
        ({"host": "::"}, "every address"),
        ({"host": "192.0.2.1"}, "needs TLS"),
        ({"host": "charger.example"}, "not an IP address"),
        ({"chain": Path("c")}, "belong together"),
    ],
)
def test_an_open_listener_is_refused(settings: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        StatusPageConfig(token_file=Path("t"), **settings)  # type: ignore[arg-type]


async def test_what_prevents_the_page_is_named(tmp_path: Path) -> None:
    async def failed(config: StatusPageConfig) -> None:
        await StatusPage(config, lambda: STATUS, lambda _: None).run()

    file = tmp_path / "token"
    with pytest.raises(KeyAccessError):
        await failed(StatusPageConfig(token_file=file))
    file.touch(mode=0o600)
    with pytest.raises(ConfigError, match="fewer than 20"):
        await failed(StatusPageConfig(token_file=file))
    file.write_text(TOKEN)
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(TransportError, match=r"cannot listen .*: change status_page\.port"),
    ):
        await failed(StatusPageConfig(port=taken.getsockname()[1], token_file=file))
    file.chmod(0o644)
    with pytest.raises(KeyAccessError, match="mode 0644"):
        await failed(StatusPageConfig(port=0, token_file=file))
