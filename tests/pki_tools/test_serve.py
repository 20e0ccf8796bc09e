"""The OCSP responder and CRL server as a process: asked by openssl, by the back end, and by people with bad manners."""

import asyncio
import base64
import contextlib
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from csms.config import Trust
from csms.tokens.rules import ChainVerdict
from pki_tools import serve
from pki_tools.bounded_http import HttpBounds
from pki_tools.renewal import revoke_certificate
from pki_tools.serve import MALFORMED, Responder
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from tests.csms.support import contract_judge
from tests.pki_tools.conftest import NOW, Openssl
from v2g.errors import TransportError
from v2g.observe import Observe
from v2g.pki.ocsp import check_ocsp, responder_url
from v2g_cli.demo.processes import free_port


def load(tree: PkiTree, leaf: str) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(der) for der in tree.chain(leaf)]


def request(tree: PkiTree, leaf: str, nonce: bytes | None = None) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(*load(tree, leaf)[:2], hashes.SHA1())
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(serialization.Encoding.DER)


class Serving:
    """A server in this process, on a port of its own."""

    def __init__(self, tree: PkiTree, bounds: HttpBounds = serve.BOUNDS) -> None:
        self.tree = tree
        self.events: list[Observe] = []
        self.now = datetime.now(UTC)
        self.server = serve.Server(tree.directory, observe=self.events.append, now=lambda: self.now, bounds=bounds)
        self.port = 0

    async def send(self, data: bytes) -> bytes:
        """Return what the server says until it closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(), 60)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def get(self, path: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        lines = [f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]
        return _parsed(await self.send("\r\n".join(lines).encode()))

    async def post(self, body: bytes, path: str = "/cpo") -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\n"
        return _parsed(await self.send(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body))


def _parsed(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


@pytest.fixture
async def serving(tree: PkiTree) -> AsyncIterator[Serving]:
    running = Serving(tree)
    running.port = await running.server.start("127.0.0.1", 0)
    yield running
    await running.server.close()


async def test_get_and_post_give_the_same_answer_and_say_how_long_it_lasts(serving: Serving) -> None:
    der = request(serving.tree, "secc")
    status, headers, body = await serving.post(der)
    assert (status, headers["content-type"]) == (200, "application/ocsp-response")
    check_ocsp(body, *load(serving.tree, "secc")[:2], serving.now)
    encoded = base64.b64encode(der).decode()
    for path in (f"/cpo/{urllib.parse.quote(encoded, safe='')}", f"/cpo/{encoded}", f"/{encoded}"):
        status, headers, got = await serving.get(path)
        assert (status, got) == (200, body)
    answer = ocsp.load_der_ocsp_response(body)
    assert parsedate_to_datetime(headers["last-modified"]) == answer.this_update_utc
    assert parsedate_to_datetime(headers["expires"]) == answer.next_update_utc
    left = (answer.next_update_utc - serving.now).total_seconds()  # type: ignore[operator]
    assert headers["cache-control"] == f"max-age={int(left)},public,no-transform,must-revalidate"
    status, _, got = await serving.get(path, f"If-None-Match: {headers['etag']}")
    assert (status, got) == (304, b"")


async def test_an_answer_to_a_nonce_is_for_nobody_else(serving: Serving) -> None:
    _, headers, body = await serving.post(request(serving.tree, "secc", b"n" * 16))
    assert headers["cache-control"] == "no-store"
    assert ocsp.load_der_ocsp_response(body).extensions[0].value == x509.OCSPNonce(b"n" * 16)


async def test_what_is_revoked_meanwhile_is_known_at_once(serving: Serving) -> None:
    der = request(serving.tree, "secc")
    assert ocsp.load_der_ocsp_response((await serving.post(der))[2]).certificate_status is ocsp.OCSPCertStatus.GOOD
    revoke_certificate(serving.tree.directory, name="secc", at=NOW)
    assert ocsp.load_der_ocsp_response((await serving.post(der))[2]).certificate_status is ocsp.OCSPCertStatus.REVOKED
    names = [event.name for event in serving.events]
    assert names == ["loaded", "answered", "loaded", "answered"]
    assert serving.events[2].data["revoked"] == 1


async def test_every_list_is_at_the_address_in_the_certificates_that_it_is_about(serving: Serving) -> None:
    serials = {}
    for leaf in ("secc", "vehicle", "contract", "cps", "meter", "csms/station"):
        certificate, *_ = load(serving.tree, leaf)
        point = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0]
        assert point.full_name is not None
        path = point.full_name[0].value.removeprefix("http://pki.invalid")
        status, headers, body = await serving.get(path)
        assert (status, headers["content-type"]) == (200, "application/pkix-crl")
        crl = x509.load_der_x509_crl(body)
        assert crl.issuer == certificate.issuer
        serials[leaf] = path
    assert len(set(serials.values())) == 5  # the meter's is the charger's
    assert (await serving.get("/cpo/12345678.crl"))[0] == 404


@pytest.mark.parametrize(
    "body",
    [b"", b"\x30", b"rubbish", b"\x30\x80" + bytes(40), b"\xff" * 8000],
    ids=["none", "cut", "text", "ber", "long"],
)
async def test_what_is_no_request_is_malformed(serving: Serving, body: bytes) -> None:
    assert (await serving.post(body))[::2] == (200, MALFORMED)
    if len(body) < 100:
        encoded = base64.b64encode(body).decode() or "?"
        assert (await serving.get(f"/cpo/{urllib.parse.quote(encoded, safe='')}"))[::2] == (200, MALFORMED)


async def test_requests_are_bounded_and_bad_manners_do_no_harm(serving: Serving) -> None:
    assert (await serving.post(b"x" * 9000))[0] == 413
    assert (await serving.get("/cpo/" + "A" * 20_000))[0] == 400
    assert b" 400 " in (await serving.send(b"\x16\x03\x01\x02\x00 TLS, perhaps\r\n\r\n")).partition(b"\r\n")[0]
    status = (await serving.send(b"DELETE /cpo HTTP/1.1\r\nHost: x\r\n\r\n")).partition(b"\r\n")[0]
    assert b" 405 " in status
    assert (await serving.get("/health"))[0] == 200


async def test_a_client_that_stalls_is_cut_and_others_are_served_meanwhile(tree: PkiTree) -> None:
    running = Serving(tree, msgspec.structs.replace(serve.BOUNDS, patience_s=0.3, most_connections=20))
    running.port = await running.server.start("127.0.0.1", 0)
    der = request(tree, "secc")
    half = b"POST /cpo HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + der[:10]
    try:
        stalled = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(30)]
        for at, (_, writer) in enumerate(stalled):
            writer.write((b"", b"GET /cpo", half)[at % 3])
        assert (await running.post(der))[0] == 200
        for reader, writer in stalled:  # every one of them ends, without the client's doing
            with contextlib.suppress(ConnectionError):
                assert b" 200 " not in await asyncio.wait_for(reader.read(), 60)
            writer.close()
        assert (await running.post(der))[0] == 200
    finally:
        await running.server.close()


async def test_a_tree_that_cannot_be_read_is_an_internal_error_until_it_can(serving: Serving) -> None:
    der = request(serving.tree, "secc")
    index = serving.tree.path("index.json")
    whole = index.read_bytes()
    index.write_bytes(whole[:100])
    answer = ocsp.load_der_ocsp_response((await serving.post(der))[2])
    assert answer.response_status is ocsp.OCSPResponseStatus.INTERNAL_ERROR
    index.write_bytes(whole)
    assert ocsp.load_der_ocsp_response((await serving.post(der))[2]).certificate_status is ocsp.OCSPCertStatus.GOOD


async def test_a_defect_is_an_event_and_an_internal_error(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise TypeError("on purpose")

    monkeypatch.setattr(Responder, "answer", fail)
    answer = ocsp.load_der_ocsp_response((await serving.post(request(serving.tree, "secc")))[2])
    assert answer.response_status is ocsp.OCSPResponseStatus.INTERNAL_ERROR
    (event,) = (each for each in serving.events if each.name == "defect")
    assert event.data["error"] == "TypeError: on purpose"


async def test_a_taken_port_is_named(serving: Serving) -> None:
    with pytest.raises(TransportError, match=str(serving.port)):
        await serve.Server(serving.tree.directory, observe=lambda _: None).start("127.0.0.1", serving.port)


async def test_the_back_end_that_asks_it_refuses_a_contract_once_it_is_revoked(serving: Serving) -> None:
    tree = serving.tree
    trust = Trust(
        roots=(tree.path("mo/root.pem"), tree.path("v2g/root.pem")),
        ocsp_responder=f"http://127.0.0.1:{serving.port}/mo",
    )
    pem = tree.path("contract/chain.pem").read_text()

    async def judged() -> ChainVerdict:
        return (await contract_judge(trust).judge("DEV2GC00000001", pem, ())).chain

    assert await judged() is ChainVerdict.VALID
    revoke_certificate(tree.directory, name="contract", reason="key_compromise", at=NOW)
    assert await judged() is ChainVerdict.REVOKED
    revoke_certificate(tree.directory, name="mo/sub1", reason="ca_compromise", at=NOW)
    pem = tree.path("contract-2/chain.pem").read_text()
    verdict = await contract_judge(trust).judge("DEV2GC00000002", pem, ())
    assert verdict.chain is ChainVerdict.REVOKED


# -- as a process


class Process:
    """`v2g pki serve --json` and its event lines."""

    def __init__(self, directory: Path, port: int = 0) -> None:
        command = [sys.executable, "-m", "v2g_cli", "pki", "serve", str(directory), "--port", str(port), "--json"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            if event["name"] == "ready":
                self.url = f"http://127.0.0.1:{event['data']['port']}"
                return
        raise AssertionError(self._process.communicate()[1])

    def stop(self, number: int = signal.SIGTERM) -> int:
        self._process.send_signal(number)
        self._process.communicate(timeout=300)
        return self._process.returncode


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PkiTree, Process]]:
    """A tree whose certificates name the address at which it is served."""
    directory = tmp_path_factory.mktemp("served") / "pki"
    port = free_port()
    tree = make_pki(directory, now=NOW, options=PkiOptions(url=f"http://127.0.0.1:{port}"))
    running = Process(directory, port)
    yield tree, running
    assert running.stop() == 0


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("leaf", "family", "root"), [("secc", "cpo", "v2g"), ("contract-2", "mo", "mo"), ("vehicle", "oem", "oem")]
)
@pytest.mark.parametrize("nonce", ["-nonce", "-no_nonce"])
def test_openssl_asks_at_the_address_in_the_certificate_and_believes(
    process: tuple[PkiTree, Process], openssl: Openssl, tmp_path: Path, leaf: str, family: str, root: str, nonce: str
) -> None:
    tree, _ = process
    url = responder_url(load(tree, leaf)[0])
    subs = tmp_path / "subs.pem"
    subs.write_bytes(tree.path(f"{family}/sub2.pem").read_bytes() + tree.path(f"{family}/sub1.pem").read_bytes())
    done = openssl(
        "ocsp", nonce, "-url", url, "-issuer", tree.path(f"{family}/sub2.pem"), "-cert", tree.path(f"{leaf}/leaf.pem"),
        "-CAfile", tree.path(f"{root}/root.pem"), "-verify_other", subs,
    )  # fmt: skip
    assert "Response verify OK" in done.stderr
    assert "WARNING: no nonce" not in done.stderr
    assert "leaf.pem: good" in done.stdout


@pytest.mark.long
def test_openssl_receives_a_revocation_and_its_reason(
    process: tuple[PkiTree, Process], openssl: Openssl, tmp_path: Path
) -> None:
    tree, running = process
    subprocess.run(
        [
            sys.executable,
            "-m",
            "v2g_cli",
            "pki",
            "revoke",
            str(tree.directory),
            "contract",
            "--reason",
            "key-compromise",
        ],
        check=True,
        capture_output=True,
    )
    subs = tmp_path / "subs.pem"
    subs.write_bytes(tree.path("mo/sub2.pem").read_bytes() + tree.path("mo/sub1.pem").read_bytes())
    about = ["-issuer", tree.path("mo/sub2.pem"), "-cert", tree.path("contract/leaf.pem")]
    trust = ["-CAfile", tree.path("mo/root.pem"), "-verify_other", subs]
    said = openssl("ocsp", "-url", f"{running.url}/mo", *about, *trust)
    assert "leaf.pem: revoked" in said.stdout
    assert "Reason: keyCompromise" in said.stdout
    point = load(tree, "contract")[0].extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0]
    assert point.full_name is not None
    with urllib.request.urlopen(point.full_name[0].value, timeout=60) as response:
        crl = tmp_path / "mo.crl"
        crl.write_bytes(response.read())
    text = openssl("crl", "-in", crl, "-CAfile", tree.path("mo/sub2.pem"), "-noout", "-text")
    assert "verify OK" in text.stderr
    assert "Key Compromise" in text.stdout


@pytest.mark.long
def test_it_ends_well_when_asked_to_and_says_what_is_wrong_when_it_cannot_begin(tmp_path: Path, pki: PkiTree) -> None:
    running = Process(pki.directory)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{running.url}/nothing.crl", timeout=60)
    assert running.stop(signal.SIGINT) == 0
    command = [sys.executable, "-m", "v2g_cli", "pki", "serve", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "holds no PKI" in done.stderr
    assert "Traceback" not in done.stderr


async def test_answers_are_not_older_than_half_their_life(serving: Serving) -> None:
    der = request(serving.tree, "secc")
    first = (await serving.post(der))[2]
    serving.now += timedelta(hours=13)
    second = (await serving.post(der))[2]
    assert first != second
    check_ocsp(second, *load(serving.tree, "secc")[:2], serving.now)
