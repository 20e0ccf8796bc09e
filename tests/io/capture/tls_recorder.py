"""What several tests of tls recorder use."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pki_tools.tree import PkiTree
from tests.io.tls.support import echo, evcc, serving
from v2g.io.capture.recorder import FrameRecorder, RecordConfig
from v2g.io.capture.tls_recorder import recorded
from v2g.io.tls.client import connect
from v2g.iso15118.engine import v2gtp

MESSAGE = v2gtp.frame(
    v2gtp.PayloadType.SAP, bytes.fromhex("8000dbab9371d3234b71d1b981899189d191818991d26b9b3a232b30020000040040")
)


async def converse(
    path: Path,
    pki: PkiTree,
    *,
    key_log: bool,
    who: str,
    pieces: int = 1,
    secc_options: Mapping[str, Any] = MappingProxyType({}),
    evcc_options: Mapping[str, Any] = MappingProxyType({}),
) -> list[bytes]:
    """Exchange MESSAGE and its echo; the charger or the vehicle records. Return the lines of the key log."""
    lines: list[bytes] = []
    recorder = FrameRecorder(RecordConfig(file=path), application="v2g test")
    options = {"key_log": lines.append} if key_log else {}
    server_options = dict(secc_options)
    if who == "secc":
        from tests.io.tls.support import secc

        endpoint = recorded(secc(pki, **options), recorder)
        server_options |= {"record": endpoint.record, "key_log": endpoint.key_log}
    async with serving(pki, echo, **server_options) as server:
        endpoint = evcc(pki, **(options if who == "evcc" else {}), **evcc_options)
        stream = await connect("::1", server.port, recorded(endpoint, recorder) if who == "evcc" else endpoint)
        for _ in range(pieces):
            await stream.write(MESSAGE)
            received = b""
            while len(received) < len(MESSAGE):
                received += await stream.read(4096)
        await stream.close()
    recorder.close()
    return lines
