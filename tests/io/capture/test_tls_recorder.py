"""A recorded TLS connection: Wireshark decrypts it with the secrets in the file, and cannot without."""

import stat
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from tests.io.capture.test_pcapng import tshark
from tests.io.tls.support import echo, evcc, serving
from v2g.io.capture import recorder as capture
from v2g.io.capture.recorder import RecordConfig, Recorder, Secrets
from v2g.io.capture.tls_recorder import recorded
from v2g.io.tls.client import connect
from v2g.iso15118.engine import v2gtp

MESSAGE = v2gtp.frame(
    v2gtp.PayloadType.SAP, bytes.fromhex("8000dbab9371d3234b71d1b981899189d191818991d26b9b3a232b30020000040040")
)


async def _converse(
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
    recorder = Recorder(RecordConfig(file=path), application="v2g test")
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


@pytest.mark.parametrize("who", ["secc", "evcc"])
async def test_wireshark_decrypts_what_was_recorded_with_a_key_log(pki: PkiTree, tmp_path: Path, who: str) -> None:
    path = tmp_path / "tls.pcapng"
    lines = await _converse(path, pki, key_log=True, who=who, pieces=2)
    assert lines, "the key log itself goes on"
    port = _server_port(path)
    assert tshark(path, "-Y", "tcp.analysis.flags || _ws.malformed") == []
    followed = "".join(line.strip() for line in tshark(path, "-q", "-z", "follow,tls,raw,0")[6:-1])
    assert followed.count(MESSAGE.hex()) == 4
    # In one pass, too: the secrets stand before what they decrypt.
    ciphers = tshark(path, "-Y", "tls.handshake.type == 2", "-T", "fields", "-e", "tls.handshake.ciphersuite")
    assert ciphers == ["0x1302"]
    shown = tshark(
        path, "-d", f"tcp.port=={port},tls", "-Y", "tls.handshake.type == 11", "-T", "fields", "-e", "frame.number"
    )
    assert shown, "the encrypted Certificate messages are read"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_without_a_key_log_there_are_no_secrets_in_the_file(pki: PkiTree, tmp_path: Path) -> None:
    path = tmp_path / "tls.pcapng"
    assert await _converse(path, pki, key_log=False, who="evcc") == []
    assert not any(isinstance(record, Secrets) for record in capture.read(path))
    assert tshark(path, "-Y", "tls.handshake.type == 1"), "the connection is there"
    assert MESSAGE.hex() not in "".join(tshark(path, "-q", "-z", "follow,tls,raw,0"))


def _server_port(path: Path) -> int:
    first = next(packet for packet in capture.packets(path))
    return int.from_bytes(first.data[56:58], "big")
