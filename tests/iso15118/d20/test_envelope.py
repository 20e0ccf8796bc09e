"""A contract key gets through its envelope whole, or not at all; each step against something published."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, x448
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.iso15118.d20.contracts import PCID, drawn, new_contract, new_key
from v2g.errors import EnvelopeError
from v2g.iso15118.d20.envelope import Envelope, additional_data, decrypt, derive_key, encrypt, seal, unseal
from v2g.iso15118.d20.envelope_rules import EnvelopeRules
from v2g.iso15118.d20.messages.certificates import EcdhCurve
from v2g.pki.certificates import load_certificate
from v2g.pki.keys import PrivateKey, SoftwareKey, x448_of

ORDER = int(  # FIPS 186-4, D.1.2.5
    "68647976601306097149819007990813932172694353001433054093944634591855431833976553942450577463332171975329639963713633"
    "21113864768612440380340372808892707005449"
)

# RFC 7748, 6.2
ALICE = (
    "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b"
)
BOB_PUBLIC = (
    "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b43027d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609"
)
SHARED = (
    "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56fd2464c335543936521c24403085d59a449a5037514a879d"
)


class Sealed(msgspec.Struct, frozen=True):
    """A contract, the vehicle's key, and the envelope from one to the other."""

    contract: x509.Certificate
    key: PrivateKey
    vehicle: SoftwareKey
    envelope: Envelope

    def open(self, **change: Any) -> PrivateKey:
        options: dict[str, Any] = {"contract": self.contract, "pcid": PCID} | change
        rules = options.pop("rules", EnvelopeRules())
        return unseal(options.pop("envelope", self.envelope), options.pop("key", self.vehicle), rules=rules, **options)

    def refusal(self, **change: Any) -> str:
        with pytest.raises(EnvelopeError) as error:
            self.open(**change)
        return error.value.reason

    def changed(self, **change: Any) -> Envelope:
        return msgspec.structs.replace(self.envelope, **change)


def _sealed(pki: PkiTree, *, edwards: bool, rules: EnvelopeRules | None = None) -> Sealed:
    contract = new_contract(pki, "DEV2GC00000007", ed448=edwards)
    certificate = load_certificate(contract.chain[0])
    vehicle = SoftwareKey(ed448.Ed448PrivateKey.generate() if edwards else new_key())
    envelope = seal(
        contract.key,
        vehicle.public_key,
        contract=certificate,
        pcid=PCID,
        entropy=drawn(),
        rules=rules or EnvelopeRules(),
    )
    return Sealed(certificate, contract.key, vehicle, envelope)


@pytest.fixture(scope="module", params=[False, True], ids=["secp521r1", "ed448"])
def sealed(request: pytest.FixtureRequest, pki: PkiTree) -> Sealed:
    return _sealed(pki, edwards=request.param)


def _openssl(*arguments: str, folder: Path) -> bytes:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed (Debian package openssl)")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, check=True).stdout


class TestSteps:
    """Each step by itself."""

    def test_agreement_on_x448_is_that_of_rfc_7748(self) -> None:
        ours = x448.X448PrivateKey.from_private_bytes(bytes.fromhex(ALICE))
        theirs = x448.X448PublicKey.from_public_bytes(bytes.fromhex(BOB_PUBLIC))
        assert ours.exchange(theirs).hex() == SHARED

    def test_key_derivation_is_the_single_step_one_with_sha_512(self) -> None:
        """The vector for SHA-512 in OpenSSL's evpkdf_ss.txt; the length does not enter into the hash."""
        rules = EnvelopeRules(other_info="53191b1dd3f94d83084d61d6")
        key = derive_key(bytes.fromhex("108cf63318555c787fa578731dd4f037"), rules)
        assert key[:16].hex() == "0ad475c1826da3007637970c8b92b993"

    @pytest.mark.parametrize("length", [56, 66])
    def test_key_derivation_agrees_with_openssl(self, length: int, tmp_path: Path) -> None:
        secret = bytes(range(length))
        options = ("digest:SHA512", f"hexkey:{secret.hex()}", "hexinfo:015556")
        words = [word for option in options for word in ("-kdfopt", option)]
        found = _openssl("kdf", "-keylen", "32", "-binary", *words, "SSKDF", folder=tmp_path)
        assert derive_key(secret) == found

    def test_encryption_is_aes_256_gcm(self) -> None:
        """Test case 16 of McGrew and Viega's GCM specification, which NIST took over."""
        key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
        plain = bytes.fromhex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
            "b16aedf5aa0de657ba637b39"
        )
        additional = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
        iv = bytes.fromhex("cafebabefacedbaddecaf888")
        cipher = (
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
            "c5f61e6393ba7a0abcc9f662"
        )
        found = encrypt(key, iv, plain, additional)
        assert found.hex() == iv.hex() + cipher + "76fc6ece0f4e1768cddf8853bb2d551b"
        assert decrypt(key, found, additional) == plain

    def test_additional_data_is_the_pcid_and_the_key_identifier_in_hex(self, sealed: Sealed) -> None:
        identifier = sealed.contract.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        found = additional_data("wmi-v2gengine-00001x", sealed.contract)
        assert found == b"WMIV2GENGINE00001X" + identifier.hex().upper().encode()
        assert len(found) == 34
        raw = additional_data(PCID, sealed.contract, EnvelopeRules(key_identifier="bytes"))
        assert raw == PCID.encode() + identifier

    def test_the_whole_way_agrees_with_openssl_on_secp521r1(self, pki: PkiTree, tmp_path: Path) -> None:
        """Agreement and derivation by openssl, from the vehicle's key and the field of the message alone."""
        sealed = _sealed(pki, edwards=False)
        assert isinstance(sealed.vehicle.public_key, ec.EllipticCurvePublicKey)
        scalar = ec.generate_private_key(ec.SECP521R1())
        envelope = seal(sealed.key, scalar.public_key(), contract=sealed.contract, pcid=PCID, entropy=drawn(40))
        secret = _secret_by_openssl(scalar, _point_pem(envelope.public_key), tmp_path)
        plain = decrypt(derive_key(secret), envelope.encrypted, additional_data(PCID, sealed.contract))
        assert isinstance(sealed.key, ec.EllipticCurvePrivateKey)
        assert int.from_bytes(plain, "big") == sealed.key.private_numbers().private_value
        assert len(plain) == 66

    def test_the_whole_way_agrees_with_openssl_on_x448(self, pki: PkiTree, tmp_path: Path) -> None:
        sealed = _sealed(pki, edwards=True)
        edwards = ed448.Ed448PrivateKey.generate()
        envelope = seal(sealed.key, edwards.public_key(), contract=sealed.contract, pcid=PCID, entropy=drawn(40))
        public = x448.X448PublicKey.from_public_bytes(envelope.public_key[-56:])
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        secret = _secret_by_openssl(x448_of(edwards), pem, tmp_path)
        plain = decrypt(derive_key(secret), envelope.encrypted, additional_data(PCID, sealed.contract))
        assert isinstance(sealed.key, ed448.Ed448PrivateKey)
        assert plain + b"\0" == sealed.key.private_bytes_raw()


def _secret_by_openssl(key: Any, peer_pem: bytes, folder: Path) -> bytes:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    (folder / "peer.pem").write_bytes(peer_pem)
    return _openssl("pkeyutl", "-derive", "-inkey", "key.pem", "-peerkey", "peer.pem", folder=folder)


def _point_pem(point: bytes) -> bytes:
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP521R1(), point)
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class TestEnvelope:
    """From one end to the other."""

    def test_fields_have_the_lengths_of_the_schema(self, sealed: Sealed) -> None:
        assert len(sealed.envelope.public_key) == 133
        assert len(sealed.envelope.encrypted) == {EcdhCurve.SECP521: 94, EcdhCurve.X448: 84}[sealed.envelope.holds]
        assert sealed.envelope.curve is sealed.envelope.holds

    def test_the_contract_key_comes_out_as_it_went_in(self, sealed: Sealed) -> None:
        assert sealed.open().private_bytes(*RAW) == sealed.key.private_bytes(*RAW)

    def test_a_key_of_one_kind_goes_to_a_vehicle_of_the_other(self, pki: PkiTree) -> None:
        contract = new_contract(pki, "DEV2GC00000008")
        certificate = load_certificate(contract.chain[0])
        vehicle = SoftwareKey(ed448.Ed448PrivateKey.generate())
        envelope = seal(contract.key, vehicle.public_key, contract=certificate, pcid=PCID, entropy=drawn())
        assert (envelope.curve, envelope.holds) == (EcdhCurve.X448, EcdhCurve.SECP521)
        found = unseal(envelope, vehicle, contract=certificate, pcid=PCID)
        assert found.private_bytes(*RAW) == contract.key.private_bytes(*RAW)

    def test_another_vehicle_cannot_open_it(self, sealed: Sealed) -> None:
        edwards = isinstance(sealed.vehicle.public_key, ed448.Ed448PublicKey)
        other = SoftwareKey(ed448.Ed448PrivateKey.generate() if edwards else new_key())
        assert sealed.refusal(key=other) == "not_authentic"

    def test_a_vehicle_with_a_key_on_another_curve_gets_that_reason(self, sealed: Sealed) -> None:
        edwards = isinstance(sealed.vehicle.public_key, ed448.Ed448PublicKey)
        other = SoftwareKey(new_key() if edwards else ed448.Ed448PrivateKey.generate())
        assert sealed.refusal(key=other) == "bad_point"

    def test_another_pcid_does_not_open_it_but_case_and_separators_do_not_matter(self, sealed: Sealed) -> None:
        assert sealed.refusal(pcid="WMIV2GENGINE00002X") == "not_authentic"
        sealed.open(pcid="wmi-v2gengine00001x")

    def test_another_certificate_does_not_open_it(self, sealed: Sealed, pki: PkiTree) -> None:
        edwards = isinstance(sealed.key, ed448.Ed448PrivateKey)
        other = load_certificate(new_contract(pki, "DEV2GC00000007", ed448=edwards, start=9).chain[0])
        assert sealed.refusal(contract=other) == "not_authentic"

    @pytest.mark.parametrize(
        "change", [{"other_info": ""}, {"key_identifier": "bytes"}], ids=lambda each: next(iter(each))
    )
    def test_both_ends_need_the_same_rules(self, pki: PkiTree, change: dict[str, Any]) -> None:
        rules = EnvelopeRules(**change)
        sealed = _sealed(pki, edwards=False, rules=rules)
        assert sealed.refusal() == "not_authentic"
        sealed.open(rules=rules)

    def test_both_paddings_of_x448_are_taken(self, pki: PkiTree) -> None:
        left = _sealed(pki, edwards=True)
        right = _sealed(pki, edwards=True, rules=EnvelopeRules(x448_padding="right"))
        assert left.envelope.public_key.startswith(bytes(77))
        assert right.envelope.public_key.endswith(bytes(77))
        left.open()
        right.open()

    def test_a_point_without_its_04_is_taken(self, pki: PkiTree) -> None:
        sealed = _sealed(pki, edwards=False)
        sealed.open(envelope=sealed.changed(public_key=sealed.envelope.public_key[1:]))

    @pytest.mark.parametrize(
        "field", [bytes(133), b"\x04" + bytes(132), b"\x05" + bytes(132), b"", bytes(132), b"\x04" * 133]
    )
    def test_what_is_no_point_is_refused(self, sealed: Sealed, field: bytes) -> None:
        edwards = isinstance(sealed.vehicle.public_key, ed448.Ed448PublicKey)
        point_of_x448 = (
            edwards and len(field) == 133 and field[0] in (4, 5) and not any(field[1:])
        )  # filled on the right
        assert sealed.refusal(envelope=sealed.changed(public_key=field)) == (
            "not_authentic" if point_of_x448 else "bad_point"
        )

    @pytest.mark.parametrize("length", [0, 11, 12, 28, 83, 85, 93, 95, 206])
    def test_a_field_of_another_length_is_refused(self, sealed: Sealed, length: int) -> None:
        assert sealed.refusal(envelope=sealed.changed(encrypted=bytes(length))) == "wrong_length"

    def test_another_curve_in_the_message_is_refused(self, sealed: Sealed) -> None:
        for curve in EcdhCurve:
            if curve is not sealed.envelope.curve:
                assert sealed.refusal(envelope=sealed.changed(curve=curve)) == "bad_point"

    @given(data=st.data())
    def test_every_flipped_bit_is_refused(self, sealed: Sealed, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(["public_key", "encrypted"]))
        field = bytearray(getattr(sealed.envelope, name))
        bit = data.draw(st.integers(0, len(field) * 8 - 1))
        field[bit // 8] ^= 1 << bit % 8
        assert sealed.refusal(envelope=sealed.changed(**{name: bytes(field)})) in ("bad_point", "not_authentic")

    @given(data=st.data())
    def test_arbitrary_bytes_open_nothing(self, sealed: Sealed, data: st.DataObject) -> None:
        """One documented error, whatever comes."""
        forged = Envelope(
            data.draw(st.sampled_from(EcdhCurve)),
            data.draw(st.binary(max_size=140)),
            data.draw(st.sampled_from(EcdhCurve)),
            data.draw(
                st.binary(max_size=100) | st.binary(min_size=94, max_size=94) | st.binary(min_size=84, max_size=84)
            ),
        )
        sealed.refusal(envelope=forged)


RAW = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _forged(sealed: Sealed, plain: bytes) -> Envelope:
    """Return an envelope that holds `plain`, made by somebody who knows all the rules."""
    curve = sealed.envelope.curve
    if curve is EcdhCurve.X448:
        own: Any = x448.X448PrivateKey.generate()
        assert isinstance(sealed.vehicle.public_key, ed448.Ed448PublicKey)
        public = own.public_key().public_bytes_raw().rjust(133, b"\0")
    else:
        own = ec.generate_private_key(ec.SECP521R1())
        public = own.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
    secret = sealed.vehicle.agree(own.public_key())
    body = encrypt(derive_key(secret), bytes(12), plain, additional_data(PCID, sealed.contract))
    return Envelope(curve, public, sealed.envelope.holds, body)


class TestContent:
    """What is inside is checked as well: a service that errs, or lies, installs nothing."""

    @pytest.mark.parametrize("scalar", [0, ORDER, ORDER + 1, 2**528 - 1], ids=["zero", "order", "order+1", "all ones"])
    def test_a_scalar_outside_the_order_is_refused(self, pki: PkiTree, scalar: int) -> None:
        sealed = _sealed(pki, edwards=False)
        assert sealed.refusal(envelope=_forged(sealed, scalar.to_bytes(66, "big"))) == "out_of_range"

    def test_the_key_of_another_certificate_is_refused(self, sealed: Sealed) -> None:
        length = 56 if sealed.envelope.holds is EcdhCurve.X448 else 66
        assert sealed.refusal(envelope=_forged(sealed, (5).to_bytes(length, "big"))) == "wrong_key"

    def test_an_ed448_secret_whose_first_byte_is_the_missing_one_is_found(self, pki: PkiTree) -> None:
        key = ed448.Ed448PrivateKey.from_private_bytes(b"\0" + bytes(range(56)))
        contract = new_contract(pki, "DEV2GC00000009", public_key=key.public_key())
        vehicle = SoftwareKey(ed448.Ed448PrivateKey.generate())
        sealed = Sealed(
            load_certificate(contract.chain[0]), key, vehicle, Envelope(EcdhCurve.X448, b"", EcdhCurve.X448, b"")
        )
        opened = sealed.open(envelope=_forged(sealed, bytes(range(56))))
        assert opened.private_bytes(*RAW) == key.private_bytes(*RAW)

    def test_a_scalar_in_place_of_an_ed448_secret_is_named(self, pki: PkiTree) -> None:
        sealed = _sealed(pki, edwards=True)
        assert isinstance(sealed.key, ed448.Ed448PrivateKey)
        scalar = x448_of(sealed.key).private_bytes_raw()
        assert sealed.refusal(envelope=_forged(sealed, scalar)) == "not_supported"

    def test_an_ed448_key_that_has_no_place_in_56_bytes_is_not_sealed(self, pki: PkiTree) -> None:
        key = ed448.Ed448PrivateKey.from_private_bytes(bytes(range(1, 58)))
        contract = new_contract(pki, "DEV2GC00000010", public_key=key.public_key())
        with pytest.raises(EnvelopeError, match="56 bytes") as error:
            seal(key, new_key().public_key(), contract=load_certificate(contract.chain[0]), pcid=PCID, entropy=drawn())
        assert error.value.reason == "not_supported"

    def test_curves_of_other_standards_are_not_sealed(self, pki: PkiTree) -> None:
        contract = new_contract(pki, "DEV2GC00000011")
        certificate = load_certificate(contract.chain[0])
        old = ec.generate_private_key(ec.SECP256R1())
        for key, recipient in ((old, new_key()), (contract.key, old)):
            with pytest.raises(EnvelopeError) as error:
                seal(key, recipient.public_key(), contract=certificate, pcid=PCID, entropy=drawn())
            assert error.value.reason == "not_supported"

    def test_a_key_that_is_not_the_certificates_is_not_sealed(self, sealed: Sealed) -> None:
        with pytest.raises(EnvelopeError) as error:
            seal(new_key(), sealed.vehicle.public_key, contract=sealed.contract, pcid=PCID, entropy=drawn())
        assert error.value.reason == "wrong_key"
