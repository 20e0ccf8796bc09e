"""TLS: handshakes of the ISO 15118-20 profile, one after the other, client and server in two processes.

Run as `python -m benchmarks.tls FOLDER` this is the server: it writes its port and serves until its input ends.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Figure, median, percentile
from cli.demo.processes import free_port
from pki_tools.tree import PkiTree, make_pki
from v2g.net import tls
from v2g.pki.certificates import chain_to_pem

ABOUT = "TLS 1.3 handshake, both sides with secp521r1 certificates, AES-256-GCM-SHA384"

HOST = "127.0.0.1"
OPENSSL_CONFIG = """\
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
Groups = P-521
"""
"""The client of `openssl s_time` has no option for groups, and would be asked to start again."""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield connecting and closing, in our client and server and in OpenSSL's."""
    with tempfile.TemporaryDirectory() as folder:
        pki = make_pki(Path(folder) / "pki", now=datetime.now(UTC))
        spans = _ours(pki, 5 if quick else 200)
        peer, theirs, reason = _openssl(pki, Path(folder), 1 if quick else 4)
    yield Figure(
        name="tls",
        figure="handshakes one after the other, mean",
        unit="ms",
        value=sum(spans) / len(spans),
        peer=peer,
        peer_value=theirs,
        note=reason or "connect to close; ours also proves the -20 certificate profiles and the stapled OCSP answer",
    )
    yield Figure(
        name="tls",
        figure="handshake at the client, p50",
        unit="ms",
        value=median(spans),
        note=f"{len(spans)} handshakes, p99 {percentile(spans, 0.99):.1f} ms",
    )


def _ours(pki: PkiTree, times: int) -> list[float]:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tls", str(pki.directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        spans = asyncio.run(_connect(pki, port, times))
        server.stdin.close()
    return spans


async def _connect(pki: PkiTree, port: int, times: int) -> list[float]:
    credentials, anchors = pki.credentials("vehicle"), pki.anchors("v2g")
    spans = []
    for _ in range(times + 2):
        start = time.perf_counter()
        stream = await tls.connect(HOST, port, credentials=credentials, anchors=anchors)
        await stream.close()
        spans.append((time.perf_counter() - start) * 1000)
    return spans[2:]


async def _serve(pki: PkiTree) -> None:
    async def wait_for_close(stream: tls.TlsStream) -> None:
        while await stream.read(1024):
            pass

    server = await tls.serve(
        HOST,
        0,
        wait_for_close,
        credentials=pki.credentials("secc"),
        anchors=pki.anchors("v2g", "oem"),
        staple=pki.staple(),
    )
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.close()


def _openssl(pki: PkiTree, folder: Path, seconds: int) -> tuple[str, float | None, str]:
    """Return the name of the peer, its milliseconds for a handshake, and why there are none."""
    program = shutil.which("openssl")
    if program is None:
        return "openssl s_time", None, "openssl is not installed"
    version = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    peer = f"openssl {version} s_server and s_time"
    config, trusted, chain = folder / "openssl.cnf", folder / "trusted.pem", folder / "chain.pem"
    config.write_text(OPENSSL_CONFIG)
    # s_time loads a leaf only, and sends the sub-CAs that it finds here
    trusted.write_text(chain_to_pem((*pki.anchors("v2g", "oem"), *pki.chain("vehicle")[1:])))
    chain.write_text(chain_to_pem(pki.chain("secc")[1:]))
    suite = ["-ciphersuites", "TLS_AES_256_GCM_SHA384", "-CAfile", str(trusted)]
    port = free_port()
    serve = [
        *("s_server", "-4", "-accept", str(port), "-tls1_3", "-groups", "P-521", "-num_tickets", "0", "-quiet"),
        *(*suite, *_leaf(pki, "secc"), "-cert_chain", str(chain), "-status_file", str(pki.path("secc/ocsp.der"))),
        *("-Verify", "4", "-verify_return_error"),
    ]
    connect = ["s_time", "-connect", f"{HOST}:{port}", "-new", "-time", str(seconds), "-verify", "4", *suite]
    log = folder / "s_server.log"
    with log.open("wb") as errors:
        server = subprocess.Popen([program, *serve], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        _wait_for(port)
        start = time.perf_counter()
        done = subprocess.run(
            [program, *connect, *_leaf(pki, "vehicle")],
            capture_output=True,
            text=True,
            env=os.environ | {"OPENSSL_CONF": str(config)},
        )
        spent = time.perf_counter() - start
    finally:
        server.kill()
        server.wait()
    if "verify error" in log.read_text():
        return peer, None, "openssl refused the client"
    count = next((int(line.split()[0]) for line in done.stdout.splitlines() if "real seconds" in line), 0)
    if not count:
        return peer, None, f"openssl made no connection: {done.stderr.strip().splitlines()[-1:]}"
    return peer, spent / count * 1000, ""


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
    asyncio.run(_serve(PkiTree.load(Path(sys.argv[1]))))
