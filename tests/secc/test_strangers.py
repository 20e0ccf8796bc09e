"""A charger and a vehicle that meet a stranger in TLS: no common cipher suite, or authorities of his own."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from tests.io.tls.peer import needs_openssl, openssl, s_server
from tests.io.tls.support import other_pki
from tests.secc.bench_program import BENCH, made
from tests.waiting import until

__all__ = ["other_pki"]

SERVES = BENCH + '[sdp]\nport = 0\n[log]\nevents = "events.jsonl"\n'


class Door:
    """Where a charger listens, and what it says."""

    def __init__(self, folder: Path) -> None:
        self._events = folder / "events.jsonl"

    def named(self, name: str) -> list[dict[str, Any]]:
        lines = self._events.read_text().splitlines() if self._events.exists() else []
        return [each["data"] for each in map(json.loads, lines) if each["name"] == name]

    async def wait(self, name: str) -> dict[str, Any]:
        """Wait for an event, for 5 s at most."""
        found = await until(lambda: self.named(name))
        return found[0]


@contextlib.asynccontextmanager
async def serving(folder: Path, pki: PkiTree) -> AsyncIterator[tuple[Door, int]]:
    async with made(folder, pki, SERVES) as charger:
        task = asyncio.create_task(charger.serve(lambda stream: stream))
        try:
            door = Door(folder)
            yield door, (await door.wait("ready"))["tls_port"]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def connect(port: int, tree: PkiTree, *options: str) -> str:
    """Connect as a vehicle of `tree` with openssl; return what that says."""
    chain = str(tree.path("vehicle/chain.pem"))
    _, said = await openssl(
        "s_client", "-connect", f"[::1]:{port}", "-tls1_3", "-groups", "secp521r1", "-cert", chain,
        "-cert_chain", chain, "-key", str(tree.path("vehicle/leaf.key")), *options, wait=5,
    )  # fmt: skip
    return said


async def diagnosed(folder: Path, port: int, tree: PkiTree) -> dict[str, Any]:
    """Connect as the vehicle does, by its configuration; return what it finds within 5 s."""
    config = folder / "evcc.toml"
    config.touch(mode=0o600)
    config.write_text(
        f'[tls]\nchain = "{tree.path("vehicle/chain.pem")}"\nkey = "{tree.path("vehicle/leaf.key")}"\n'
        f'anchors = ["{tree.path("v2g/root.pem")}"]\n'
    )
    command = "diag", "tls", "::1", str(port), "--config", str(config), "--json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "v2g_cli", *command, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    found: dict[str, Any] = json.loads(output)
    return found


@needs_openssl
@pytest.mark.requirement("R17")
async def test_a_common_cipher_suite_that_is_missing_is_named_within_five_seconds(pki: PkiTree, tmp_path: Path) -> None:
    async with serving(tmp_path, pki) as (charger, port):
        assert "handshake failure" in await connect(port, pki, "-ciphersuites", "TLS_AES_128_GCM_SHA256")
        refused = await charger.wait("refused")
    assert refused["reason"] == "no_common_cipher"
    assert "TLS_AES_256_GCM_SHA384" in refused["error"], "what is missing"
    async with s_server(pki, "-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", staple=None) as port:
        found = await diagnosed(tmp_path, port, pki)
    assert found["reason"] == "handshake_refused"
    assert "TLS_AES_256_GCM_SHA384" in found["hint"], "its own, as the alert does not say more (RFC 8446, 6.2)"


@needs_openssl
@pytest.mark.requirement("R20")
async def test_a_man_in_the_middle_with_authorities_of_his_own_is_refused_by_both(
    pki: PkiTree, other_pki: PkiTree, tmp_path: Path
) -> None:
    """Their names are those of the real ones; only the keys differ."""
    async with serving(tmp_path, pki) as (charger, port):
        await connect(port, other_pki)
        assert (await charger.wait("refused"))["reason"] == "unknown_ca"
        assert charger.named("accepted") == []
    async with s_server(other_pki, "-tls1_3", staple=other_pki.path("secc/ocsp.der")) as port:
        assert (await diagnosed(tmp_path, port, pki))["reason"] == "unknown_ca"
