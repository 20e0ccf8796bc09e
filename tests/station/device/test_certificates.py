"""The charger's certificates: what the CSMS wants is in the files, and in the next connection (A02, M03 to M05)."""

import asyncio
import itertools
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

import v2g_station.device.certificates as module
from pki_tools.tree import PkiTree
from secc.config import TlsConfig
from secc.link.transport import TrustFiles
from secc.station.device import Premises
from tests.io.websocket.client_and_server import files
from tests.secc.backend import backend
from tests.secc.station.station import Fixture
from tests.station.device.certificates import text
from v2g.io.tls.files import TlsFiles, server_context
from v2g.iso15118.engine.session import Fact
from v2g.pki.credentials import load_chain, load_credentials
from v2g.pki.reference import KeyReference
from v2g_station.blocks.security.certificates import KeepStatus
from v2g_station.blocks.security.signing import CertificateTaken, ChainFound, MakeRequest, RequestMade, UseCertificate
from v2g_station.device.certificates import CertificateFiles, Own, status_file

USE = "ChargingStationCertificate"


class Killed(BaseException):
    """The process is gone."""


def sign(csr_pem: str, issuer: Path, key: Path) -> x509.Certificate:
    """Be the authority that signs a request."""
    csr = x509.load_pem_x509_csr(csr_pem.encode())
    parent = x509.load_pem_x509_certificates(issuer.read_bytes())[0]
    private = load_pem_private_key(key.read_bytes(), None)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(parent.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
    )
    return builder.sign(private, hashes.SHA512())  # type: ignore[arg-type]


class Charger:
    """A charger's folder with a copy of a chain and its key."""

    def __init__(self, pki: PkiTree, folder: Path) -> None:
        self.folder = folder / "certificates"
        self.folder.mkdir()
        self.key = folder / "leaf.key"
        self.own = Own(folder / "chain.pem", KeyReference.of(self.key))
        shutil.copy(pki.path("csms/station/chain.pem"), self.own.chain)
        shutil.copy(pki.path("csms/station/leaf.key"), self.key)
        self.reported: list[Fact] = []
        self.files = CertificateFiles(
            lambda: self.folder, lambda: {USE: self.own}, notify=self.reported.append, observe=lambda _: None
        )

    async def asked(self, **subject: str) -> str:
        """Want a request, and return it."""
        self.files.request(MakeRequest(use=USE, common_name="CS-1", **subject))
        await self.files.close()
        (made,) = self.reported
        assert isinstance(made, RequestMade)
        return made.csr


async def test_a_request_is_for_a_new_key_of_the_kind_and_the_subject_in_use(pki: PkiTree, tmp_path: Path) -> None:
    charger = Charger(pki, tmp_path)
    old = x509.load_pem_x509_certificates(charger.own.chain.read_bytes())[0]
    csr = x509.load_pem_x509_csr((await charger.asked()).encode())
    assert csr.is_signature_valid
    assert csr.subject == old.subject
    assert csr.public_key() != old.public_key()
    assert isinstance(csr.public_key(), ec.EllipticCurvePublicKey)
    assert csr.public_key().curve.name == old.public_key().curve.name  # type: ignore[union-attr]
    (pending,) = charger.folder.glob("*.key")
    assert stat.S_IMODE(pending.stat().st_mode) == 0o600


@pytest.mark.parametrize("first", [True, False])
async def test_a_request_has_the_names_that_the_csms_has_set(pki: PkiTree, tmp_path: Path, *, first: bool) -> None:
    """A00.FR.509, and 2.16.7 to 2.16.9 of part 2: they replace those of the certificate in use."""
    charger = Charger(pki, tmp_path)
    old = x509.load_pem_x509_certificates(charger.own.chain.read_bytes())[0].subject
    if first:
        charger.own.chain.unlink()
    csr = await charger.asked(secc_id="DE-ICE-S-1", organization="John Doe Ltd", country="NL")
    names = {each.oid: each.value for each in x509.load_pem_x509_csr(csr.encode()).subject}
    wanted = {
        NameOID.COMMON_NAME: "DE-ICE-S-1", NameOID.ORGANIZATION_NAME: "John Doe Ltd", NameOID.COUNTRY_NAME: "NL",
    }  # fmt: skip
    assert names == ({} if first else {each.oid: each.value for each in old}) | wanted


async def test_a_chain_that_is_not_the_one_to_renew_is_shown_instead(pki: PkiTree, tmp_path: Path) -> None:
    """Somebody has replaced it while the station ran; it is renewed in its own time (A03)."""
    charger = Charger(pki, tmp_path)
    shown = charger.own.chain.read_text()
    other = pki.path("secc/chain.pem").read_text()
    for renews in (other, shown):
        charger.files.request(MakeRequest(use=USE, common_name="CS-1", renews=renews))
    await charger.files.close()
    found, made = charger.reported
    assert found == ChainFound(use=USE, chain=shown)
    assert isinstance(made, RequestMade)
    assert len([*charger.folder.glob("*.key")]) == 1


async def test_a_kill_at_any_write_leaves_a_chain_with_its_key(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the core has kept the new chain, the next start shows it; at no time does a key belong to no chain."""
    save = module.save_secret
    for kill_at in itertools.count():
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        charger = Charger(pki, folder)
        leaf = sign(await charger.asked(), pki.path("csms/station/chain.pem"), charger.key)
        points = itertools.count()

        def point(points: Any = points, kill_at: int = kill_at) -> None:
            if next(points) == kill_at:
                raise Killed

        def saved(path: Path, data: bytes, point: Any = point) -> None:
            point()
            save(path, data)
            point()

        with monkeypatch.context() as patch:
            patch.setattr(module, "save_secret", saved)
            broken: list[Any] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _loop, context, broken=broken: broken.append(context["exception"]))
            charger.files.use(UseCertificate(use=USE, chain=text(leaf)))
            await charger.files.close()
            killed = bool(broken)
            loop.set_exception_handler(None)
        charger.files.settle({USE: text(leaf)})
        shown = load_credentials(charger.own.chain, charger.key)
        assert shown.leaf == leaf.public_bytes(Encoding.DER), kill_at
        assert stat.S_IMODE(charger.key.stat().st_mode) == 0o600
        assert [each.name for each in charger.folder.iterdir()] == [f"{USE}.old.key"]
        if not killed:
            break
    assert kill_at >= 6


async def test_the_chain_before_is_used_again_with_its_key(pki: PkiTree, tmp_path: Path) -> None:
    """A02.FR.28: the new one has not connected."""
    charger = Charger(pki, tmp_path)
    old = charger.own.chain.read_text()
    leaf = sign(await charger.asked(), pki.path("csms/station/chain.pem"), charger.key)
    for chain in (text(leaf), old, old):
        charger.files.use(UseCertificate(use=USE, chain=chain))
        await charger.files.close()
        shown = load_credentials(charger.own.chain, charger.key)
        assert shown.chain[0] == x509.load_pem_x509_certificates(chain.encode())[0].public_bytes(Encoding.DER)


def test_a_key_that_was_not_written_to_its_end_does_not_stay(pki: PkiTree, tmp_path: Path) -> None:
    charger = Charger(pki, tmp_path)
    (charger.folder / f".{USE}.new.key.x7f2").write_text("a part of a key")
    charger.files.complete()
    assert list(charger.folder.iterdir()) == []


async def test_a_chain_for_another_key_changes_nothing(pki: PkiTree, tmp_path: Path) -> None:
    charger = Charger(pki, tmp_path)
    before = charger.own.chain.read_bytes(), charger.key.read_bytes()
    charger.files.use(UseCertificate(use=USE, chain=pki.path("secc/chain.pem").read_text()))
    await charger.files.close()
    assert charger.reported == [CertificateTaken(use=USE)]
    charger.files.settle({USE: pki.path("secc/chain.pem").read_text()})
    assert (charger.own.chain.read_bytes(), charger.key.read_bytes()) == before


async def test_ocsp_responses_are_kept_until_their_chain_is_replaced(pki: PkiTree, tmp_path: Path) -> None:
    charger = Charger(pki, tmp_path)
    mine = f"{x509.load_pem_x509_certificates(charger.own.chain.read_bytes())[0].serial_number:x}"
    for serial, ocsp in ((mine, "MAo="), ("1f", "MAo="), ("2f", "no base64")):
        charger.files.keep_status(KeepStatus(serial_number=serial, ocsp=ocsp))
    await charger.files.close()
    assert {each.name for each in charger.folder.iterdir()} == {f"{mine}.ocsp", "1f.ocsp"}
    charger.files.settle({USE: charger.own.chain.read_text()})
    (file,) = charger.folder.iterdir()
    assert file == status_file(charger.folder, mine)
    assert file.read_bytes() == b"0\n"


def root(name: str) -> str:
    """Another authority, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(9))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return text(builder.sign(key, hashes.SHA256()))


def station_files(pki: PkiTree, folder: Path) -> TlsFiles:
    """The station's own copies: they are going to be written."""
    found = files(pki, "csms/station")
    for path in (found.chain, found.key):
        shutil.copy(path, folder / path.name)
    return TlsFiles(ca=found.ca, chain=folder / found.chain.name, key=folder / found.key.name)


async def test_a_certificate_that_the_csms_signs_is_shown_in_the_next_connection(pki: PkiTree, tmp_path: Path) -> None:
    server = files(pki, "csms/server")
    own = station_files(pki, tmp_path)
    async with backend(server_context(server.chain, server.key, (server.ca,))) as csms:
        fixture = Fixture(tmp_path, csms.port, url=f"wss://localhost:{csms.port}/ocpp", tls=own)
        async with fixture.running() as station:
            await fixture.until(station.online.is_set)
            await csms.ask("TriggerMessage", requested_message="SignChargingStationCertificate")
            asked = await csms.wait("SignCertificate")
            signer = pki.path("csms/station/chain.pem")
            issuer = tmp_path / "issuer.pem"
            issuer.write_text(text(*x509.load_pem_x509_certificates(signer.read_bytes())[1:]) or server.ca.read_text())
            leaf = sign(asked["csr"], issuer, issuer_key(pki, issuer))
            await station.drain(60)  # the package ends a connection on which it cannot answer, and reads no more
            answer = await csms.ask("CertificateSigned", certificate_chain=text(leaf) + issuer.read_text())
            assert answer.status == "Accepted"
            await fixture.until(lambda: len(csms.certificates) > 1 and station.online.is_set())
    assert csms.certificates[0] != csms.certificates[-1] == leaf.public_bytes(Encoding.DER)
    assert stat.S_IMODE(own.key.stat().st_mode) == 0o600


def issuer_key(pki: PkiTree, issuer: Path) -> Path:
    """Find the key of an authority of the tree."""
    wanted = x509.load_pem_x509_certificates(issuer.read_bytes())[0].public_key()
    for path in sorted(pki.path("csms").rglob("*.key")):
        if load_pem_private_key(path.read_bytes(), None).public_key() == wanted:
            return path
    raise AssertionError("the tree has no key for it")


async def test_roots_are_listed_installed_and_deleted_in_the_files(pki: PkiTree, tmp_path: Path) -> None:
    v2g, mo = pki.path("v2g/root.pem"), pki.path("mo/root.pem")
    premises = Premises(roots={"V2GRootCertificate": (v2g,), "MORootCertificate": (mo,)})
    config = TlsConfig(chain=v2g, key=KeyReference.of(v2g), v2g_roots=(v2g,), mo_roots=(mo,))
    trust = TrustFiles(config, tmp_path / "certificates", lambda _: None)
    (delivered,) = trust.of("V2GRootCertificate")
    async with backend() as csms:
        fixture = Fixture(tmp_path, csms.port, premises=premises)
        async with fixture.running() as station:
            await fixture.until(station.online.is_set)
            new = root("V2G 2")
            answer = await csms.ask("InstallCertificate", certificate_type="V2GRootCertificate", certificate=new)
            assert answer.status == "Accepted"
            assert len(trust.of("V2GRootCertificate")) == 2
            answer = await csms.ask("GetInstalledCertificateIds", certificate_type=["V2GRootCertificate"])
            first, second = answer.certificate_hash_data_chain
            assert second["certificate_hash_data"]["serial_number"] == "1"
            answer = await csms.ask("DeleteCertificate", certificate_hash_data=first["certificate_hash_data"])
            assert answer.status == "Accepted"
        assert trust.of("V2GRootCertificate") != (delivered,)
        again = Fixture(tmp_path, csms.port, premises=premises)
        async with again.running() as station:
            await again.until(station.online.is_set)
            (file,) = (tmp_path / "certificates").glob("V2G*.pem")
            assert file.read_text() == new, "what was deleted does not come back with the configuration"
            assert trust.of("MORootCertificate") == load_chain(mo)
        fewer = Fixture(tmp_path, csms.port, premises=Premises(roots={"V2GRootCertificate": (v2g,)}))
        await fewer.station.close()
        assert trust.of("MORootCertificate") == (), "what is configured no longer is not believed any longer"


async def test_the_last_root_of_the_csms_is_not_deleted(pki: PkiTree, tmp_path: Path) -> None:
    server = files(pki, "csms/server")
    async with backend(server_context(server.chain, server.key, (server.ca,))) as csms:
        fixture = Fixture(
            tmp_path, csms.port, url=f"wss://localhost:{csms.port}/ocpp", tls=station_files(pki, tmp_path)
        )
        async with fixture.running() as station:
            await fixture.until(station.online.is_set)
            answer = await csms.ask("GetInstalledCertificateIds", certificate_type=["CSMSRootCertificate"])
            (only,) = answer.certificate_hash_data_chain
            name = only["certificate_hash_data"]
            assert (await csms.ask("DeleteCertificate", certificate_hash_data=name)).status == "Failed"
            other = root("CSMS 2")
            installed = await csms.ask("InstallCertificate", certificate_type="CSMSRootCertificate", certificate=other)
            assert installed.status == "Accepted"
            assert other in (tmp_path / "certificates" / "CSMSRootCertificate.pem").read_text()
            assert (await csms.ask("DeleteCertificate", certificate_hash_data=name)).status == "Accepted"
