"""TLS: handshakes of the ISO 15118-20 profile in sequence, client and server in two processes.

As `python -m benchmarks.tls FOLDER BACKEND` it is the server: it prints its port and serves until its standard input
ends.
"""

import asyncio
import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec

from benchmarks.figures import Figure, cpu_s, median, percentile
from pki_tools.tree import PkiTree, make_pki
from v2g.io.runtime.supervision import cancel_tasks
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import ISO15118_20, Backend, Endpoint, TlsIdentity, TlsProfile, open_channel
from v2g.io.tls.server import serve
from v2g.io.tls.stream import TlsStream
from v2g.pki.certificates import chain_to_pem
from v2g.pki.profile import Role
from v2g_cli.demo.processes import free_port

ABOUT = "TLS 1.3 handshake, both sides with secp521r1 certificates, AES-256-GCM-SHA384"

HOST = "127.0.0.1"
OPENSSL_CONFIG = """\
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
Groups = {group}
"""
"""The client of `openssl s_time` has no option for groups, and would need a second attempt (HelloRetryRequest)."""


STRANGERS = 200
EACH_S = 0.2
"""How long a stranger waits for an answer, and before the next attempt."""


class Handshakes(msgspec.Struct, frozen=True):
    """Cost of sequential handshakes: ms of each, and ms of CPU of both ends per handshake."""

    spans: list[float]
    cpu_ms: float

    @property
    def mean(self) -> float:
        """Connecting and closing, ms."""
        return sum(self.spans) / len(self.spans)


class Peer(msgspec.Struct, frozen=True):
    """OpenSSL's own client and server: the same means, or why they are missing."""

    name: str
    mean: float | None = None
    cpu_ms: float | None = None
    reason: str = ""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield connecting and closing, with our client and server and with OpenSSL's."""
    with tempfile.TemporaryDirectory() as folder:
        pki = make_pki(Path(folder) / "pki", now=datetime.now(UTC))
        ours = handshakes(pki, 5 if quick else 200)
        peer = openssl(pki, Path(folder), 1 if quick else 4)
        beside, busy, hellos = beside_strangers(pki, 1.0 if quick else 10.0)
    yield Figure(
        "sequential handshakes, mean",
        ours.mean,
        "ms",
        peer=peer.name,
        peer_value=peer.mean,
        note=peer.reason
        or "connect to close; ours also verifies the -20 certificate profiles and the stapled OCSP response",
    )
    yield Figure(
        "handshake at the client, p50",
        median(ours.spans),
        "ms",
        note=f"{len(ours.spans)} handshakes, p99 {percentile(ours.spans, 0.99):.1f} ms",
    )
    yield Figure(
        f"handshake of a known vehicle beside {STRANGERS} strangers, p50",
        median(beside),
        "ms",
        note=f"p99 {percentile(beside, 0.99):.0f} ms of {len(beside)}, none lost; they repeat a ClientHello from an"
        f" address each, {hellos} in all; the server uses {100 * busy:.0f} % of a core, the vehicle included",
    )


def handshakes(
    pki: PkiTree, times: int, *, profile: TlsProfile = ISO15118_20, backend: Backend = "bundled"
) -> Handshakes:
    """Connect to our server so many times."""
    with _server(pki, backend) as (pid, port):
        endpoint = _vehicle(pki, profile=profile, backend=backend)
        asyncio.run(_connect(endpoint, port, 2))  # not counted
        before = time.process_time() + cpu_s(pid)
        spans = asyncio.run(_connect(endpoint, port, times))
        spent = time.process_time() + cpu_s(pid) - before
    return Handshakes(spans, spent / times * 1000)


@contextlib.contextmanager
def _server(pki: PkiTree, backend: Backend = "bundled") -> Iterator[tuple[int, int]]:
    """Run our server in a process; yield its process id and port."""
    command = [sys.executable, "-m", "benchmarks.tls", str(pki.directory), backend]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield server.pid, int(server.stdout.readline())
        server.stdin.close()


def _vehicle(pki: PkiTree, *, profile: TlsProfile = ISO15118_20, backend: Backend = "bundled") -> Endpoint:
    return Endpoint(
        server=False,
        identities=(TlsIdentity(pki.credentials("vehicle")),),
        anchors=pki.anchors("v2g"),
        peer_role=Role.SECC,
        profile=profile,
        backend=backend,
    )


def beside_strangers(pki: PkiTree, seconds: float) -> tuple[list[float], float, int]:
    """Return the handshakes (ms) of a known vehicle while strangers from as many addresses repeat a ClientHello, the
    server's share of a core, and how often they did."""
    with _server(pki) as (pid, port):
        return asyncio.run(_beside_strangers(pki, pid, port, seconds))


async def _beside_strangers(pki: PkiTree, pid: int, port: int, seconds: float) -> tuple[list[float], float, int]:
    endpoint, hellos = _vehicle(pki), 0
    await _connect(endpoint, port, 1)  # known from here on
    channel = open_channel(endpoint)
    channel.handshake()
    hello = channel.take()

    async def stranger(address: str) -> None:
        nonlocal hellos
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection(HOST, port, local_addr=(address, 0))
                try:
                    writer.write(hello)
                    hellos += 1
                    async with asyncio.timeout(EACH_S):
                        await reader.read(1)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(EACH_S)

    flood = [asyncio.create_task(stranger(f"127.0.1.{number}")) for number in range(1, STRANGERS + 1)]
    spans, began, before = [], time.perf_counter(), cpu_s(pid)
    while (lasted := time.perf_counter() - began) < seconds:
        spans += await _connect(endpoint, port, 1)
        await asyncio.sleep(0.1)
    busy = (cpu_s(pid) - before) / lasted
    await cancel_tasks(*flood)
    return spans, busy, hellos


async def _connect(endpoint: Endpoint, port: int, times: int) -> list[float]:
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        stream = await connect(HOST, port, endpoint)
        await stream.close()
        spans.append((time.perf_counter() - start) * 1000)
    return spans


async def _serve(pki: PkiTree, backend: Backend) -> None:
    async def wait_for_close(stream: TlsStream) -> None:
        while await stream.read(1024):
            pass

    server = await serve(
        HOST,
        0,
        wait_for_close,
        Endpoint(
            server=True,
            identities=(TlsIdentity(pki.credentials("secc"), pki.staple()),),
            anchors=pki.anchors("v2g", "oem"),
            peer_role=Role.VEHICLE,
            backend=backend,
        ),
    )
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.close()


def openssl(pki: PkiTree, folder: Path, seconds: int, *, group: str = "P-521") -> Peer:
    """Connect `openssl s_time` to `openssl s_server`, with the same chains on both sides."""
    program = shutil.which("openssl")
    if program is None:
        return Peer("openssl s_time", reason="openssl is not installed")
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    peer = f"openssl {version} s_server and s_time"
    config, trusted, chain = folder / "openssl.cnf", folder / "trusted.pem", folder / "chain.pem"
    config.write_text(OPENSSL_CONFIG.format(group=group))
    # s_time loads a leaf only, and adds sub-CAs from here
    trusted.write_text(chain_to_pem((*pki.anchors("v2g", "oem"), *pki.chain("vehicle")[1:])))
    chain.write_text(chain_to_pem(pki.chain("secc")[1:]))
    suite = ["-ciphersuites", "TLS_AES_256_GCM_SHA384", "-CAfile", str(trusted)]
    port = free_port()
    serve = [
        *("s_server", "-4", "-accept", str(port), "-tls1_3", "-groups", group, "-num_tickets", "0", "-quiet"),
        *(*suite, *_leaf(pki, "secc"), "-cert_chain", str(chain), "-status_file", str(pki.path("secc/ocsp.der"))),
        *("-Verify", "4", "-verify_return_error"),
    ]
    connect = ["s_time", "-connect", f"{HOST}:{port}", "-new", "-time", str(seconds), "-verify", "4", *suite]
    log = folder / "s_server.log"
    with log.open("wb") as errors:
        server = subprocess.Popen([program, *serve], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        _wait_for(port)
        start, before = time.perf_counter(), cpu_s(server.pid) + _children_s()
        done = subprocess.run(
            [program, *connect, *_leaf(pki, "vehicle")],
            capture_output=True,
            text=True,
            env=os.environ | {"OPENSSL_CONF": str(config)},
        )
        spent, cpu = time.perf_counter() - start, cpu_s(server.pid) + _children_s()
    finally:
        server.kill()
        server.wait()
    if "verify error" in log.read_text():
        return Peer(peer, reason="openssl rejected the client")
    count = next((int(line.split()[0]) for line in done.stdout.splitlines() if "real seconds" in line), 0)
    if not count:
        return Peer(peer, reason=f"openssl made no connection: {done.stderr.strip().splitlines()[-1:]}")
    return Peer(peer, spent / count * 1000, (cpu - before) / count * 1000)


def _children_s() -> float:
    """Return the CPU of children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _leaf(pki: PkiTree, leaf: str) -> list[str]:
    return ["-cert", str(pki.path(f"{leaf}/chain.pem")), "-key", str(pki.path(f"{leaf}/leaf.key"))]


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection((HOST, port), timeout=0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return


if __name__ == "__main__":
    asyncio.run(_serve(PkiTree.load(Path(sys.argv[1])), cast(Backend, sys.argv[2])))
