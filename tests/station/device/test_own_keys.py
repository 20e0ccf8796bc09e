"""A key that never leaves its store is renewed there, when the CSMS asks for a new certificate (A02, M)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.io.keys import stores
from tests.io.keys.stores import SoftHsm, Store, refer
from tests.station.device.certificates import text
from v2g.io.keys.pkcs11 import numbered
from v2g.io.keys.stores import load_credentials, open_key
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.pki.keys import Algorithm, verify_signature
from v2g.pki.reference import KeyReference
from v2g_station.blocks.security.signing import MakeRequest, RequestMade, UseCertificate
from v2g_station.device.certificates import CertificateFiles, Own

pytestmark = pytest.mark.requirement("R152")

USE: CertificateSigningUse = "V2GCertificate"


@pytest.fixture(params=["pkcs11", "tpm"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with (stores.softhsm if request.param == "pkcs11" else stores.swtpm)(tmp_path) as made:
        yield made  # type: ignore[misc]


def certificate(public: object) -> x509.Certificate:
    """Be an authority that has one key and asks for nothing."""
    issuer = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SECC")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(public)  # type: ignore[arg-type]
    builder = builder.serial_number(x509.random_serial_number())
    return (
        builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(9)).sign(issuer, hashes.SHA256())
    )


class Charger:
    """A charger whose key is in a store."""

    def __init__(self, store: Store, use: CertificateSigningUse = USE) -> None:
        self.use: CertificateSigningUse = use
        text_of = store.make(Algorithm.ECDSA_SHA256)
        self.reference = refer(text_of, store)
        self.folder = store.folder / "certificates"
        self.folder.mkdir()
        self.own = Own(store.folder / "chain.pem", self.reference)
        self.own.chain.write_text(text(certificate(open_key(self.reference).public_key)))
        self.reported: list[Fact] = []
        self.start()

    def start(self) -> None:
        self.files = CertificateFiles(
            lambda: self.folder, lambda: {self.use: self.own}, notify=self.reported.append, observe=lambda _: None
        )

    async def renew(self, *, killed: bool = False) -> x509.Certificate:
        """Ask, be signed, and take it into use; or be killed before that."""
        self.reported.clear()
        self.files.request(MakeRequest(use=self.use, common_name="CS-1"))
        await self.files.close()
        (made,) = self.reported
        assert isinstance(made, RequestMade)
        csr = x509.load_pem_x509_csr(made.csr.encode())
        assert csr.is_signature_valid
        leaf = certificate(csr.public_key())
        self.start()
        if not killed:
            await self.take(leaf)
        return leaf

    async def take(self, leaf: x509.Certificate) -> None:
        """Take a chain into use."""
        self.files.use(UseCertificate(use=self.use, chain=text(leaf)))
        await self.files.close()
        self.start()

    def shown(self) -> x509.Certificate:
        """What the next handshake shows, signed by the key that it is for."""
        found = load_credentials(self.own.chain, self.reference)
        leaf = x509.load_der_x509_certificate(found.leaf)
        verify_signature(leaf.public_key(), b"hello", found.key.sign(b"hello"))  # type: ignore[arg-type]
        return leaf


async def test_a_new_key_in_the_store_is_used_with_its_certificate(store: Store) -> None:
    charger = Charger(store)
    before = charger.shown()
    leaf = await charger.renew()
    assert charger.shown() == leaf != before
    assert leaf.public_key() != before.public_key()
    again = await charger.renew(killed=True)
    assert charger.shown() == leaf, "until the new one is taken"
    charger.files.settle({USE: text(again)})
    assert charger.shown() == again, "the next start finishes what the core has kept"
    assert list(charger.folder.iterdir()) == []


async def test_a_certificate_that_does_not_connect_gives_way_to_the_one_before_and_its_key(store: Store) -> None:
    """A02.FR.28."""
    charger = Charger(store, "ChargingStationCertificate")
    before = charger.shown()
    await charger.renew()
    await charger.take(before)
    assert charger.shown() == before


async def test_keys_of_a_token_run_on_and_old_ones_are_deleted(tmp_path: Path) -> None:
    with stores.softhsm(tmp_path) as token:
        assert isinstance(token, SoftHsm)
        charger = Charger(token)
        name = charger.reference.pkcs11["object"]

        def labels() -> list[bytes]:
            return [each.pkcs11["object"] for each in numbered(charger.reference)]

        await charger.renew()
        assert labels() == [name, name + b".2"], "sessions that run go on with the old one"
        charger.files.settle({})
        assert labels() == [name + b".2"]
        await charger.renew(killed=True)
        await charger.renew(killed=True)
        assert labels() == [name + b".2", name + b".3"], "of those that were never signed the last one waits"
        charger.files.settle({})
        assert labels() == [name + b".2", name + b".3"]
        await charger.renew()
        charger.files.settle({})
        assert len(labels()) == 1
        charger.shown()


def test_another_object_of_a_token_is_named_without_the_id_of_the_first(tmp_path: Path) -> None:
    reference = KeyReference.from_text("pkcs11:token=t;id=%01;object=a%20b?pin-source=env:PIN", tmp_path)
    called = reference.called(b"a b.2")
    assert called == KeyReference.from_text("pkcs11:token=t;object=a%20b.2?pin-source=env:PIN", tmp_path)
    assert called.pkcs11 == {"token": b"t", "object": b"a b.2"}
