"""The shipped configuration of HAProxy: vehicles stay at their node, and a killed one moves only its own (R215)."""

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import aiohttp
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from csms.accounts.config import ApiClient
from csms.db.store import Store
from csms.telemetry.tables import telemetry
from pki_tools.tree import PkiTree
from tests.csms.databases import Databases
from tests.csms.program import Program, write_config
from tests.csms.support import make_config
from tests.docs.documents import ROOT
from tests.packages import need
from tests.telemetry.brokers import leaf
from v2g.errors import TransportError
from v2g.io.runtime.supervision import Backoff
from v2g.telemetry.columns import encode_compact
from v2g.telemetry.delivery import Mark
from v2g.telemetry.signals import SCHEMA_5, Record, encode_record
from v2g_gateway.uplink import HttpConfig, HttpsUplink

pytestmark = [pytest.mark.requirement("R171", "R175", "R187", "R215"), pytest.mark.one_worker("haproxy")]

SHIPPED = ROOT / "deploy" / "haproxy.cfg"
NODES = ("node-1", "node-2", "node-3")
ROUNDS = 3
AT_ONCE = asyncio.Semaphore(50)
"""Vehicles do not deliver in the same millisecond: this process could not."""


class Made:
    """A CA of gateways that only HAProxy knows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Gateway CA")])
        root = self._certificate("Gateway CA", self._key, x509.BasicConstraints(ca=True, path_length=0))
        (folder / "gateway-roots.pem").write_bytes(root.public_bytes(Encoding.PEM))

    def _certificate(self, name: str, key: ec.EllipticCurvePrivateKey, what: x509.BasicConstraints) -> x509.Certificate:
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(what, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def vehicle(self, name: str, url: str, ca: Path) -> HttpConfig:
        """Return how a vehicle with a new certificate delivers."""
        key = ec.generate_private_key(ec.SECP256R1())
        chain, secret = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        made = self._certificate(name, key, x509.BasicConstraints(ca=False, path_length=None))
        chain.write_bytes(made.public_bytes(Encoding.PEM))
        secret.touch(mode=0o600)
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return HttpConfig(url=url, ca=ca, chain=chain, key=secret)


class Site(NamedTuple):
    """Three nodes behind HAProxy, which says in `log` who was served by which."""

    nodes: list[Program]
    port: int
    log: Path
    store: Store
    made: Made
    pki: PkiTree

    def config(self, ev: str) -> HttpConfig:
        url = f"https://localhost:{self.port}/telemetry"
        return self.made.vehicle(ev, url, self.pki.path("csms/root.pem"))

    def trouble(self) -> str:
        """Return what HAProxy says beside deliveries that it has passed on."""
        return "\n".join([each for each in self.log.read_text().splitlines() if " 200 " not in each][-20:])

    def served(self) -> dict[str, list[str]]:
        """Return the nodes that have stored a delivery of each vehicle, in order."""
        found = defaultdict(list)
        for line in self.log.read_text().splitlines():
            match line.split():
                case [ev, node, "200", *_]:
                    found[ev].append(node)
        return found


def shipped(folder: Path, pki: PkiTree, port: int, nodes: Sequence[Program]) -> Path:
    """Write the shipped configuration for these nodes. Each thing that an operator replaces is there to be replaced."""
    text = SHIPPED.read_text()
    for name, chain in (("server", "csms/server"), ("balancer", leaf(pki, "balancer"))):
        parts = (pki.path(f"{chain}/chain.pem"), pki.path(f"{chain}/leaf.key"))
        (folder / f"{name}.pem").write_bytes(b"".join(each.read_bytes() for each in parts))
    shutil.copy(pki.path("csms/root.pem"), folder / "csms-root.pem")
    changes = {
        "/etc/haproxy/v2g/": f"{folder}/",
        "bind :8443": f"bind 127.0.0.1:{port}",
        "verifyhost csms.example": "verifyhost localhost",
    }
    for number in range(len(NODES)):
        changes[f"192.0.2.{number + 1}:8443"] = f"127.0.0.1:{nodes[number % len(nodes)].ports['api']}"
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    path = folder / "haproxy.cfg"
    path.write_text(text)
    return path


@contextlib.asynccontextmanager
async def site(
    folder: Path, pki: PkiTree, databases: Databases, redis_url: str, names: Sequence[str] = NODES
) -> AsyncIterator[Site]:
    """Start nodes of these names behind HAProxy; one stands for several where it expects more."""
    need("haproxy", program="haproxy")
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    key = folder / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    url, nodes = databases.create(owner=True), list[Program]()
    for name in names:
        place = folder / name
        place.mkdir()
        more = {"store_url": url, "store_key": key, "bus_url": redis_url, "bus_without_password": True, "node": name}
        clients = (ApiClient(common_name="balancer", balances=True),)
        config = make_config(place, pki, api={"clients": clients, "requests_at_once": 1000}, **more)
        nodes.append(
            await Program.start(write_config(place / "csms.yaml", config), place / "events.jsonl", pki, quiet=True)
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log, store, made = folder / "haproxy.log", Store(url), Made(folder)
    path = shipped(folder, pki, port, nodes)
    with log.open("wb") as output:
        balancer = await asyncio.create_subprocess_exec(program, "-db", "-f", str(path), stdout=output, stderr=output)
    try:
        while True:
            assert balancer.returncode is None, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            await asyncio.sleep(0.05)
        yield Site(nodes, port, log, store, made, pki)
    finally:
        with contextlib.suppress(ProcessLookupError):
            balancer.kill()
        await balancer.wait()
        for node in nodes:
            if node.process.returncode is None:
                await node.kill()
        store.close()


class Vehicle:
    """Delivers as a gateway does: one delivery after the other, each until the back end has it."""

    def __init__(self, ev: str, config: HttpConfig) -> None:
        self.ev, self._stored, self.sent = ev, 0, 0
        self._uplink, self._backoff = HttpsUplink(config, self._on_marks), Backoff(0.1, 5.0)

    def _on_marks(self, marks: Sequence[Mark]) -> None:
        self._stored = max((each.contiguous for each in marks), default=0)

    async def deliver(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            record = Record(
                self.ev, 1, self.sent, 1_700_000_000_000 + self.sent, "charging", keyframe=True,
                signals={"battery.soc": float(self.sent)}, schema=SCHEMA_5, trip="1-0", ambient_c=None, charging_w=None,
            )  # fmt: skip
            delivery = encode_compact([encode_record(record)])
            while self._stored < self.sent:
                try:
                    async with AT_ONCE:
                        await self._uplink.send(delivery)
                    self._backoff.reset()
                except TransportError:
                    await asyncio.sleep(self._backoff.pause_s())

    async def close(self) -> None:
        await self._uplink.close()


async def crowd(here: Site, number: int) -> tuple[Counter[str], set[str], int]:
    """Deliver while the node with the fewest vehicles is killed; return vehicles by node, those that moved, and lost
    records."""
    vehicles = [Vehicle(f"EV-{each}", here.config(f"EV-{each}")) for each in range(number)]
    try:
        await asyncio.gather(*(each.deliver(ROUNDS) for each in vehicles))
        before = {ev: nodes[-1] for ev, nodes in here.served().items()}
        assert {ev: nodes for ev, nodes in here.served().items() if len(set(nodes)) > 1} == {}, here.trouble()
        shares = Counter(before.values())
        killed = min(NODES, key=lambda each: shares[each])
        going_on = [asyncio.create_task(each.deliver(ROUNDS)) for each in vehicles]
        await asyncio.sleep(0)
        await here.nodes[NODES.index(killed)].kill()
        await asyncio.gather(*going_on)
    finally:
        await asyncio.gather(*(each.close() for each in vehicles))
    after = {ev: nodes[-1] for ev, nodes in here.served().items()}
    assert killed not in after.values()
    query = select(telemetry.c.ev, telemetry.c.seq)
    stored = Counter(here.store.do(lambda connection: [(row.ev, row.seq) for row in connection.execute(query)]))
    wanted = {(each.ev, seq) for each in vehicles for seq in range(1, 2 * ROUNDS + 1)}
    assert set(stored.values()) == {1}
    return shares, {ev for ev in before if before[ev] != after[ev]}, len(wanted - stored.keys())


@pytest.mark.parametrize("number", [30, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.long
async def test_a_killed_node_moves_its_own_vehicles_only_and_no_record_is_lost(
    number: int, tmp_path: Path, pki: PkiTree, postgresql_databases: Databases, redis_url: str
) -> None:
    async with asyncio.timeout(500), site(tmp_path, pki, postgresql_databases, redis_url) as here:
        shares, moved, lost = await crowd(here, number)
    assert lost == 0
    assert sum(shares.values()) == number
    assert len(moved) == min(shares[each] for each in NODES), "only those of the killed node"
    assert len(moved) <= number / 3
    if number > 100:
        assert max(shares.values()) < number * 0.45, shares


@pytest.mark.parametrize("more", [{"role": "admin"}, {"evs": ["*"]}])
def test_a_balancer_is_no_more_than_a_gateway(more: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match="needs the role gateway"):
        msgspec.convert({"common_name": "balancer", "balances": True} | more, ApiClient)


async def test_only_the_balancer_names_vehicles_and_only_those_with_a_certificate_come_through(
    tmp_path: Path, pki: PkiTree, postgresql_databases: Databases, redis_url: str
) -> None:
    async with asyncio.timeout(60), site(tmp_path, pki, postgresql_databases, redis_url, NODES[:1]) as here:
        ours = here.config("EV-1")
        assert ours.chain is not None

        async def ask(path: str, headers: dict[str, str], ev: str = "EV-1", certified: bool = True) -> int:
            context = ssl.create_default_context(cafile=str(pki.path("csms/root.pem")))
            if certified:
                context.load_cert_chain(str(ours.chain), str(ours.key))
            body = json.dumps([{"ev": ev, "boot": 1, "missing": [[1, 1]]}])
            url = f"https://localhost:{here.port}{path}"
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=body, headers=headers, ssl=context) as answer,
            ):
                return answer.status

        assert await ask("/telemetry", {}) == 200
        assert await ask("/telemetry", {"V2G-Vehicle": "EV-2"}, "EV-2") == 403
        assert await ask("/telemetry", {"Authorization": "Bearer x", "V2G-Vehicle": "EV-2"}) == 200
        assert await ask("/access/users", {}) == 404
        with pytest.raises(aiohttp.ClientError):
            await ask("/telemetry", {}, certified=False)
