"""A back end whose certificate is renewed goes on: who is connected stays so, and who comes sees the new one."""

import asyncio
import contextlib
import functools
import json
import shutil
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from csms import app
from pki_tools.renewal import Renewal, refresh_crls, renew_certificate, revoke_certificate
from pki_tools.tree import PkiTree
from tests.csms.support import EMAID, Running, make_config, provide
from v2g.io.tls.files import keep_renewed


@pytest_asyncio.fixture
async def csms(
    tmp_path: Path, pki: PkiTree, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    """A CSMS with a tree of its own, whose files it looks at fifty times a second; the lists in it have expired."""
    monkeypatch.setattr(app, "keep_renewed", functools.partial(keep_renewed, interval_s=0.02))
    tree = PkiTree(Path(shutil.copytree(pki.directory, tmp_path / "pki")))
    refresh_crls(tree.directory, at=datetime.now(UTC) - timedelta(days=8))
    config = make_config(tmp_path, tree)
    provide(empty_database, config)
    async with app.running(config, tmp_path / "events.jsonl") as running:
        yield Running(running, config, tmp_path / "events.jsonl", tree)


async def shown(csms: Running, port: str) -> int:
    """Return the serial number of the certificate that a server shows now, to a client of the standard library."""
    reader, writer = await asyncio.open_connection("127.0.0.1", csms.csms.ports[port], ssl=csms.context())
    connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
    certificate = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    del reader
    return certificate.serial_number


@pytest.mark.requirement("R152")
async def test_later_handshakes_show_the_renewed_certificate_and_open_connections_stay(csms: Running) -> None:
    before = {await shown(csms, port) for port in ("ocpp", "api")}
    async with csms.connect() as station:
        renew_certificate(csms.pki.directory, "csms/server", Renewal(), at=datetime.now(UTC))
        reported = await csms.event("credentials_renewed", 2)
        assert reported["certificate"] == "localhost"
        leaf = x509.load_pem_x509_certificate(csms.pki.path("csms/server/chain.pem").read_bytes())
        assert reported["until"] == leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        after = {await shown(csms, port) for port in ("ocpp", "api")}
        assert len(before) == len(after) == 1
        assert before != after
        await (await station.ping())
    async with csms.connect() as station:
        assert station.subprotocol == "ocpp2.1"


async def test_a_key_that_does_not_fit_is_reported_and_the_old_certificate_stays(csms: Running) -> None:
    before = await shown(csms, "ocpp")
    shutil.copyfile(csms.pki.path("csms/broker/leaf.key"), csms.pki.path("csms/server/leaf.key"))
    assert "is not the key of" in (await csms.event("credentials_kept", 2))["error"]
    assert await shown(csms, "ocpp") == before


async def authorize(csms: Running, station: Any) -> str:
    """Return what the back end answers about the contract's certificate."""
    pem = csms.pki.path("contract/chain.pem").read_text()
    asked = {"idToken": {"idToken": EMAID, "type": "eMAID"}, "certificate": pem}
    await station.send(json.dumps([2, "a", "Authorize", asked]))
    status: str = json.loads(await station.recv())[2]["certificateStatus"]
    return status


async def test_revocation_lists_that_are_renewed_are_used(csms: Running) -> None:
    tree = csms.pki.directory
    reported = {(await csms.event("crl_expired", count))["file"] for count in (1, 2)}
    assert reported == {str(csms.pki.path(f"{each}/sub2.crl")) for each in ("mo", "oem")}
    async with csms.connect() as station:
        about = {"model": "M", "vendorName": "V"}
        await station.send(json.dumps([2, "b", "BootNotification", {"reason": "PowerUp", "chargingStation": about}]))
        await station.recv()
        assert await authorize(csms, station) == "CertChainError"
        refresh_crls(tree, at=datetime.now(UTC))
        assert await authorize(csms, station) == "Accepted"
        revoke_certificate(tree, name="contract", at=datetime.now(UTC))
        assert await authorize(csms, station) == "CertificateRevoked"
    assert len(csms.events("crl_expired")) == 2
