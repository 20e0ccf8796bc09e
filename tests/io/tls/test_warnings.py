"""The key log holds the secrets of the connection and is nobody else's to read; weak settings are warned of."""

import logging
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from tests.io.tls.peer import needs_openssl, openssl, s_client
from tests.io.tls.support import evcc, join, secc, serving, shake
from v2g.errors import ConfigError
from v2g.io.tls.endpoint import INTEROP, ISO15118_2, ISO15118_20, open_channel
from v2g.io.tls.warnings import log_profile, open_key_log
from v2g.observe import Observe

LABELS = {
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0",
    "SERVER_TRAFFIC_SECRET_0",
    "EXPORTER_SECRET",
}
"""Of the NSS key log, for TLS 1.3."""


@needs_openssl
@pytest.mark.usefixtures("backend")
async def test_the_key_log_holds_the_secrets_that_openssl_has(pki: PkiTree, tmp_path: Path) -> None:
    """The client of the same connection writes its own log: the secrets are the same, so they decrypt it."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    async with serving(pki, key_log=open_key_log(ours, lambda _: None)) as server:
        command = s_client(server, pki, "-tls1_3", "-keylogfile", str(theirs))
        await openssl(*command, send=b"echo\n", until=b"\necho\n")
    said = {line for line in theirs.read_text().splitlines() if line and not line.startswith("#")}
    assert set(ours.read_text().splitlines()) == said
    assert {line.split()[0] for line in said} == LABELS


@pytest.mark.usefixtures("backend")
def test_both_ends_log_the_same_secrets_and_none_without_the_option(pki: PkiTree) -> None:
    logs: list[list[bytes]] = [[], []]
    client, server = (open_channel(make(pki, key_log=log.append)) for make, log in zip((evcc, secc), logs, strict=True))
    shake(client, server)
    assert sorted(logs[0]) == sorted(logs[1])
    assert len(logs[0]) == len(LABELS)
    shake(open_channel(evcc(pki)), open_channel(secc(pki)))
    assert len(logs[0]) == len(logs[1]) == len(LABELS)


def test_the_file_is_ours_alone_is_appended_to_and_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, events = tmp_path / "keys", []
    open_key_log(path, events.append)(b"first")
    open_key_log(path, events.append)(b"second")
    assert path.read_bytes() == b"first\nsecond\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert events[0] == Observe("tls", "key_log", {"path": str(path)})
    assert [each.levelno for each in caplog.records] == [logging.WARNING] * 2
    assert "anyone who can read it can decrypt them all" in caplog.text


def test_a_file_that_others_may_read_or_that_is_a_link_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640") as error:
        open_key_log(path, lambda _: None)
    assert "chmod 600" in error.value.hint
    (tmp_path / "link").symlink_to(path)
    for bad in (tmp_path / "link", tmp_path / "none" / "keys", tmp_path):
        with pytest.raises(ConfigError, match="key_log"):
            open_key_log(bad, lambda _: None)


def test_a_full_disk_costs_the_log_not_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    write = open_key_log(tmp_path / "keys", lambda _: None)
    monkeypatch.setattr(os, "write", full)
    write(b"line")
    assert "No space left on device" in caplog.text
    assert "line\n" not in caplog.text


def test_the_profile_for_peers_is_reported_and_the_standard_is_not(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Observe] = []
    log_profile(ISO15118_20, events.append)
    assert not events
    assert not caplog.records
    log_profile(INTEROP, events.append)
    also = "TLS_AES_128_GCM_SHA256, prime256v1, ecdsa_secp256r1_sha256"
    assert events == [Observe("tls", "weakened", {"profile": "interop", "also_accepted": also})]
    assert caplog.records[0].levelno == logging.WARNING
    assert also in caplog.text


def test_an_older_edition_is_not_taken_for_the_setting(caplog: pytest.LogCaptureFixture) -> None:
    """The algorithms of ISO 15118-2 are no weakness of its own profile."""
    events: list[Observe] = []
    log_profile(ISO15118_2, events.append)
    assert not caplog.records
    log_profile(replace(ISO15118_2, interop=True), events.append)
    assert events[0].data == {"profile": "interop", "also_accepted": "certificates of other profiles"}
    assert "security_profile is interop: " in caplog.text
    assert "iso15118-2" not in caplog.text


@pytest.mark.usefixtures("backend")
async def test_interop_does_not_weaken_two_ends_that_can_do_better(pki: PkiTree) -> None:
    async with serving(pki, profile=INTEROP) as server:
        stream = await join(server, pki, profile=replace(INTEROP))
        assert (stream.cipher, stream.group) == ("TLS_AES_256_GCM_SHA384", "secp521r1")
        await stream.close()
