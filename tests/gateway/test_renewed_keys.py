"""A gateway whose certificate and keys are renewed while it reports: nothing is lost, and nothing is stored twice."""

import asyncio
import contextlib
import json
import shutil
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from pki_tools.renewal import Renewal, renew_certificate
from pki_tools.tree import PkiTree
from tests.gateway.gateway import EV, data_of, gateway, send_frames, until_event
from tests.sealing import new_keys
from tests.telemetry.brokers import access, files
from tests.telemetry.reference import ReferenceBackEnd
from tests.waiting import until
from v2g.io.can import CanConfig, CanPort
from v2g.io.storage.record_keys import RecordKeys
from v2g.observe import Observe
from v2g_cli.demo.broker import Broker
from v2g_gateway.uplink import HttpConfig

pytestmark = pytest.mark.requirement("R152")


@pytest.fixture
def tree(pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PkiTree:
    """Certificates that a test may renew; the gateway looks at its files twenty times a second."""
    monkeypatch.setattr("v2g_gateway.gateway.POLL_S", 0.05)
    return PkiTree(Path(shutil.copytree(pki.directory, tmp_path / "pki")))


def renew(tree: PkiTree) -> x509.Certificate:
    """Renew the gateway's certificate; return the former one."""
    former = x509.load_pem_x509_certificate(files(tree, EV)["chain"].read_bytes())
    renew_certificate(tree.directory, f"csms/{EV}", Renewal(), at=datetime.now(UTC))
    return former


@contextlib.asynccontextmanager
async def driving(can: CanConfig, port: CanPort) -> AsyncIterator[None]:
    """Change the battery's state all the time, so that records are always on their way."""

    async def drive() -> None:
        soc = 0
        while True:
            soc = (soc + 1) % 90
            send_frames(can, port, soc)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(drive())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def reporting(
    pki: PkiTree, broker: Broker, tree: PkiTree, folder: Path
) -> AsyncIterator[tuple[ReferenceBackEnd, Path, list[Observe]]]:
    """A gateway that sends records through the broker, a back end that stores them, and the keys of the outbox."""
    back_end = ReferenceBackEnd()
    await back_end.connect(broker, pki)
    keys = folder / "outbox.keys"
    new_keys(keys)
    async with gateway(folder, access(broker, tree, EV), outbox_keys=keys) as (can, port, events), driving(can, port):
        yield back_end, keys, events


def check_stored_once(back_end: ReferenceBackEnd, events: list[Observe]) -> None:
    """Each record of the one boot is there, and nothing waits. A notice may name what is stored: its mark was lost."""
    (stopped,) = data_of(events, "stopped")
    assert (stopped["waiting"], stopped["dropped"]) == (0, 0)
    assert back_end.missing <= back_end.records.keys()
    numbers = sorted(seq for _, _, seq in back_end.records)
    assert numbers == list(range(1, len(numbers) + 1))
    assert stopped["stored"] == len(numbers)


def connections(broker: Broker) -> int:
    """Return how often the broker has accepted the gateway."""
    return (broker.folder / "mosquitto.log").read_text().count(f"as {EV} (")


def refuse(broker: Broker, tree: PkiTree, certificate: x509.Certificate) -> Broker:
    """Let the broker refuse a certificate from now on: it is restarted with a revocation list."""
    root = x509.load_pem_x509_certificate(tree.path("csms/root.pem").read_bytes())
    key: Any = serialization.load_pem_private_key(tree.path("csms/root.key").read_bytes(), None)
    now = datetime.now(UTC)
    revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now).build()
    builder = x509.CertificateRevocationListBuilder().issuer_name(root.subject).last_update(now)
    builder = builder.next_update(now + timedelta(days=365)).add_revoked_certificate(revoked)
    (broker.folder / "revoked.crl").write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    config = broker.folder / "mosquitto.conf"
    config.write_text(
        config.read_text().replace("allow_anonymous", f"crlfile {broker.folder}/revoked.crl\nallow_anonymous")
    )
    broker.stop()
    return broker.again()


async def test_a_gateway_renews_its_connection_to_the_broker_and_its_outbox_keys(
    pki: PkiTree, broker: Broker, tree: PkiTree, tmp_path: Path
) -> None:
    """Records are on their way all the time. In the end the broker refuses the former certificate."""
    async with reporting(pki, broker, tree, tmp_path) as (back_end, keys, events):
        await back_end.has(5)
        former = renew(tree)
        assert (await until_event(events, "credentials_renewed"))["certificate"] == EV
        await until(lambda: connections(broker) >= 2)
        await back_end.has(len(back_end.records) + 5)
        RecordKeys.rotate(keys)
        await until_event(events, "outbox_keys_renewed")
        await back_end.has(len(back_end.records) + 5)
        running = await asyncio.to_thread(refuse, broker, tree, former)
        await until(lambda: connections(broker) >= 3)
        await back_end.has(len(back_end.records) + 5)
    running.stop()
    await back_end.close()
    check_stored_once(back_end, events)


async def test_what_cannot_be_used_is_reported_and_the_former_goes_on(
    pki: PkiTree, broker: Broker, tree: PkiTree, tmp_path: Path
) -> None:
    async with reporting(pki, broker, tree, tmp_path) as (back_end, keys, events):
        await back_end.has(2)
        shutil.copyfile(tree.path("csms/broker/leaf.key"), files(tree, EV)["key"])
        assert "is not the key of" in (await until_event(events, "credentials_kept"))["error"]
        keys.write_text("nonsense")
        assert "no file of record keys" in (await until_event(events, "outbox_keys_kept"))["error"]
        await back_end.has(len(back_end.records) + 5)
        assert connections(broker) == 1
    check_stored_once(back_end, events)
    await back_end.close()


class Server(ThreadingHTTPServer):
    """A back end by the standard library's HTTPS server, which demands a certificate of its clients."""

    def __init__(self, tree: PkiTree, back_end: ReferenceBackEnd) -> None:
        self.back_end, self.serials = back_end, list[int]()
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tree.path("csms/server/chain.pem"), tree.path("csms/server/leaf.key"))
        context.load_verify_locations(tree.path("csms/root.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
        self.socket = context.wrap_socket(self.socket, server_side=True)


class Handler(BaseHTTPRequestHandler):
    """One connection, with any number of deliveries."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        """Take a delivery."""
        shown = self.connection.getpeercert()  # type: ignore[attr-defined]
        self.server.serials.append(int(shown["serialNumber"], 16))
        delivery = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"high_water": self.server.back_end.take(delivery)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def server(tree: PkiTree) -> Iterator[Server]:
    with Server(tree, ReferenceBackEnd()) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.long
async def test_a_gateway_renews_its_connection_over_https(server: Server, tree: PkiTree, tmp_path: Path) -> None:
    """Each delivery shows either the former certificate or the new one, and all of them are answered."""
    http = HttpConfig(url=f"https://localhost:{server.server_port}/telemetry", **files(tree, EV))
    async with gateway(tmp_path, None, http=http) as (can, port, events), driving(can, port):  # type: ignore[arg-type]
        await until(lambda: len(server.serials) >= 5)
        former = renew(tree)
        await until_event(events, "credentials_renewed")
        await until(lambda: server.serials[-1] != former.serial_number)
        here = len(server.serials)
        await until(lambda: len(server.serials) >= here + 5)
    assert data_of(events, "waiting") == []
    assert len(set(server.serials)) == 2
    assert sorted(server.serials, key=lambda each: each != former.serial_number) == server.serials  # never back
    check_stored_once(server.back_end, events)
