"""A recorded TLS connection: Wireshark decrypts it with the secrets in the file, and cannot without."""

import stat
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.io.capture.pcapng import tshark
from tests.io.capture.tls_recorder import MESSAGE, converse
from v2g.io.capture import recorder as capture
from v2g.io.capture.recorder import Secrets


@pytest.mark.some(1)
@pytest.mark.parametrize("who", ["secc", "evcc"])
async def test_wireshark_decrypts_what_was_recorded_with_a_key_log(pki: PkiTree, tmp_path: Path, who: str) -> None:
    path = tmp_path / "tls.pcapng"
    lines = await converse(path, pki, key_log=True, who=who, pieces=2)
    assert lines, "the key log itself goes on"
    assert _shown(path, "-Y", "tcp.analysis.flags || _ws.malformed") == []
    followed = "".join(line.strip() for line in _shown(path, "-q", "-z", "follow,tls,raw,0")[6:-1])
    assert followed.count(MESSAGE.hex()) == 4
    # In one pass, too: the secrets stand before what they decrypt.
    ciphers = _shown(path, "-Y", "tls.handshake.type == 2", "-T", "fields", "-e", "tls.handshake.ciphersuite")
    assert ciphers == ["0x1302"]
    assert _shown(path, "-Y", "tls.handshake.type == 11", "-T", "fields", "-e", "frame.number"), (
        "the encrypted Certificate messages are read"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_without_a_key_log_there_are_no_secrets_in_the_file(pki: PkiTree, tmp_path: Path) -> None:
    path = tmp_path / "tls.pcapng"
    assert await converse(path, pki, key_log=False, who="evcc") == []
    assert not any(isinstance(record, Secrets) for record in capture.read(path))
    assert _shown(path, "-Y", "tls.handshake.type == 1"), "the connection is there"
    assert MESSAGE.hex() not in "".join(_shown(path, "-q", "-z", "follow,tls,raw,0"))


def _shown(path: Path, *arguments: str) -> list[str]:
    """Return what tshark prints of TLS at the server's port, which may be one that it knows for another protocol."""
    port = int.from_bytes(next(capture.packets(path)).data[56:58], "big")
    return tshark(path, "-d", f"tcp.port=={port},tls", *arguments)
