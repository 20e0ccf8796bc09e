"""The openssl command as the other end of a TLS connection."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.io.tls.support import Serving

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


async def openssl(*command: str, send: bytes = b"", until: bytes = b"", wait: float = 10) -> tuple[int, str]:
    """Run an openssl command, write `send`, close its input once `until` was printed, and return code and output."""
    process = await asyncio.create_subprocess_exec(
        "openssl",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    output = b""
    try:
        async with asyncio.timeout(wait):
            process.stdin.write(send)
            while until not in output:
                data = await process.stdout.read(4096)
                if not data:
                    break
                output += data
            process.stdin.close()
            output += await process.stdout.read()
            return await process.wait(), output.decode(errors="replace")
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"openssl {command[0]} does not end: {output.decode(errors='replace')}") from None


def s_client(server: Serving, tree: PkiTree, *more: str) -> list[str]:
    chain, key = str(tree.path("vehicle/chain.pem")), str(tree.path("vehicle/leaf.key"))
    command = ["s_client", "-connect", f"[::1]:{server.port}", "-CAfile", str(tree.path("v2g/root.pem"))]
    return [*command, "-cert", chain, "-cert_chain", chain, "-key", key, *more]


@asynccontextmanager
async def s_server(tree: PkiTree, *options: str, staple: Path | None) -> AsyncIterator[int]:
    """Run `openssl s_server` with our SECC leaf, sending lines back reversed; yields its port."""
    with socket.socket(socket.AF_INET6) as free:
        free.bind(("::1", 0))
        port = free.getsockname()[1]
    chain, key = str(tree.path("secc/chain.pem")), str(tree.path("secc/leaf.key"))
    command = ["s_server", "-accept", f"[::1]:{port}", *options, "-cert", chain, "-cert_chain", chain, "-key", key]
    command += ["-CAfile", str(tree.path("oem/root.pem"))]
    command += ["-status_file", str(staple)] if staple is not None else []
    process = await asyncio.create_subprocess_exec(
        "openssl",
        *command,
        *("-Verify", "3", "-verify_return_error"),
        "-rev",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while b"ACCEPT" not in (line := await process.stdout.readline()):
                assert line, "openssl s_server does not start"
            yield port
    finally:
        process.kill()
        await process.stdout.read()
        await process.wait()
