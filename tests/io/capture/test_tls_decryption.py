"""A recording opens with the secrets in it, whoever made the connection: our ends and OpenSSL's."""

import shutil
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.io.capture.tls_recorder import MESSAGE, converse
from tests.io.tls.support import only_2, pki_2
from v2g.errors import ConfigError, FrameError
from v2g.io.capture.tls_decryption import OpenedConnection, key_log
from v2g.io.tls.endpoint import ISO15118_2
from v2g_cli.trace.source import read_entries

__all__ = ["pki_2"]


@pytest.mark.parametrize("who", ["secc", "evcc"])
async def test_what_was_recorded_with_a_key_log_is_read_as_a_conversation(
    pki: PkiTree, tmp_path: Path, who: str
) -> None:
    path = tmp_path / "tls.pcapng"
    await converse(path, pki, key_log=True, who=who, pieces=2)
    found = read_entries(path)
    assert [each.speaker for each in found] == ["vehicle", "charger"] * 2  # the peer echoes
    assert {each.line.name for each in found} == {"SupportedAppProtocolReq"}
    assert {each.line.exi for each in found} == {MESSAGE[8:].hex()}


async def test_without_its_secrets_a_recording_stays_closed(pki: PkiTree, tmp_path: Path) -> None:
    path = tmp_path / "tls.pcapng"
    await converse(path, pki, key_log=False, who="evcc")
    with pytest.raises(ConfigError, match="no secrets"):
        read_entries(path)


@pytest.mark.parametrize("size", [1, 17_000])
@pytest.mark.parametrize("older", [False, True], ids=["1.3", "1.2"])
def test_openssl_writes_and_we_read(pki: PkiTree, tmp_path: Path, size: int, older: bool) -> None:
    """The standard library's OpenSSL at both ends, joined in memory; TLS 1.2 with the suite of ISO 15118-2."""
    log = tmp_path / "keys"
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    shutil.copy(pki.path("csms/server/leaf.key"), tmp_path / "key")
    server.load_cert_chain(pki.path("csms/server/chain.pem"), tmp_path / "key")
    client.load_verify_locations(pki.path("csms/root.pem"))
    client.check_hostname = False
    if older:
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        for each in (client, server):
            each.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    client.keylog_filename = str(log)
    wires = [ssl.MemoryBIO() for _ in range(4)]
    ends = (client.wrap_bio(wires[0], wires[1]), server.wrap_bio(wires[2], wires[3], server_side=True))
    sent: list[tuple[int, bytes]] = []

    def pump() -> None:
        for side, (out, into) in enumerate(((wires[1], wires[2]), (wires[3], wires[0]))):
            data = out.read()
            if data:
                sent.append((side, data))
                into.write(data)

    open_ = [False, False]
    while not all(open_):
        for side, end in enumerate(ends):
            try:
                end.do_handshake()
                open_[side] = True
            except ssl.SSLWantReadError:
                pass
            pump()
    said = [bytes([65 + side]) * size for side in (0, 1)]
    for side, end in enumerate(ends):
        end.write(said[side])
        pump()
    opened, decrypted = OpenedConnection(key_log(log.read_bytes())), [b"", b""]
    for side, data in sent:
        for cut in range(0, len(data), 1000):
            decrypted[side] += b"".join(opened.feed(side, data[cut : cut + 1000]))
    assert decrypted == said
    assert opened.missing == ""


@pytest.mark.parametrize("who", ["secc", "evcc"])
async def test_a_connection_of_iso_15118_2_is_read_too(pki_2: PkiTree, tmp_path: Path, who: str) -> None:
    path = tmp_path / "tls12.pcapng"
    of_2 = {"profile": ISO15118_2}
    await converse(path, pki_2, key_log=True, who=who, pieces=2, secc_options=of_2, evcc_options=only_2(pki_2))
    found = read_entries(path)
    assert [each.speaker for each in found] == ["vehicle", "charger"] * 2
    assert {each.line.exi for each in found} == {MESSAGE[8:].hex()}


@pytest.mark.parametrize(
    ("suite", "secret", "why"),
    [
        (0xC02B, "CLIENT_RANDOM", "cipher suite 0xc02b is not read: of TLS 1.2 only 0xc023, 0xc025"),
        (0xC023, "SERVER_TRAFFIC_SECRET_0", "the recording's secrets lack CLIENT_RANDOM"),
        (0x1301, "SERVER_HANDSHAKE_TRAFFIC_SECRET", "the recording's secrets lack CLIENT_HANDSHAKE_TRAFFIC_SECRET"),
    ],
)
def test_why_nothing_is_read_is_said(suite: int, secret: str, why: str) -> None:
    random = bytes(range(32))
    opened = OpenedConnection(key_log(f"{secret} {random.hex()} {'00' * 48}".encode()))
    hellos = (b"\3\3" + random + b"\0", b"\3\3" + random + b"\0" + suite.to_bytes(2, "big") + b"\0")
    for side, body in enumerate(hellos):
        message = bytes([1 + side]) + len(body).to_bytes(3, "big") + body
        assert list(opened.feed(side, b"\x16\3\3" + len(message).to_bytes(2, "big") + message)) == []
    assert opened.missing == why


@given(data=st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=200)), max_size=6), lines=st.binary(max_size=200))
def test_whatever_is_fed_is_plaintext_or_the_one_error(data: list[tuple[int, bytes]], lines: bytes) -> None:
    opened = OpenedConnection(key_log(lines))
    try:
        for side, each in data:
            assert not list(opened.feed(side, each))
    except FrameError:
        pass
