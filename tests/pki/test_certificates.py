"""Any octets give a certificate that can be read completely, or are malformed."""

import warnings
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from tests.together import together
from v2g.errors import CertificateError
from v2g.pki.certificates import (
    chain_from_pem,
    chain_to_pem,
    common_name,
    contract_of,
    describe_key,
    emaid_of,
    extensions_of,
    is_emaid,
    key_kind,
    load_certificate,
)
from v2g.pki.profile import KeyKind

KEY = ec.generate_private_key(ec.SECP256R1())
PRIVATE = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
PKCS7 = b"-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n"
SPELLED_OUT = bytes.fromhex("3003010100")
"""Basic constraints that say cA FALSE, which is the default."""


def made(name: str = "someone", *extensions: x509.ExtensionType, serial: int = 1) -> bytes:
    """Return a certificate in DER, whatever its extensions."""
    names = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    days = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(names, names, KEY.public_key(), serial, *days)
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("der", "why"),
    [
        (bytes(16_384), "not a certificate"),
        (bytes(16_385), "certificate of 16385 bytes"),
        (b"", "not a certificate: it is empty"),
        (made() + b"\0", "not a certificate"),
        (made().replace(b"260101000000Z", b"261301000000Z"), "not a certificate"),
        (made().replace(b"270101000000Z", b"270132000000Z"), "not a certificate"),
        (made().replace(bytes.fromhex("a003020102020101"), bytes.fromhex("a003020102020100")), "not positive"),
        (made().replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030130")), "not a certificate"),
        (made().replace(bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d04030a")), "not a certificate"),
    ],
    ids=range(9),
)
def test_what_is_no_certificate_is_malformed(der: bytes, why: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CertificateError, match=why) as caught:
            load_certificate(der)
    assert caught.value.reason == "malformed"


def test_a_signature_with_unused_bits_would_be_another_encoding() -> None:
    der = made()
    size = len(load_certificate(der).signature)
    odd = der[: -size - 1] + b"\1" + der[-size:-1] + bytes((der[-1] & 0xFE,))
    with pytest.raises(CertificateError, match="certificate is not in DER") as caught:
        load_certificate(odd)
    assert caught.value.reason == "malformed"


def test_a_number_of_one_is_positive() -> None:
    assert load_certificate(made()).serial_number == 1


def test_constraints_that_spell_out_the_default_are_read_whatever_is_beside_them() -> None:
    """Leaves of public V2G CAs have them. Lengths of all elements above pass from one octet to two and three."""
    constraints = x509.UnrecognizedExtension(x509.ExtensionOID.BASIC_CONSTRAINTS, SPELLED_OUT)
    for size in (*range(170), 220, 230, 240, 250, 65_000):
        beside = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(size))
        found = extensions_of(x509.load_der_x509_certificate(made("someone", beside, constraints)))
        assert [each.value for each in found] == [beside, x509.BasicConstraints(ca=False, path_length=None)]


@pytest.mark.parametrize("odd", [b"\x30\x03\x01\x01\x01", b"\x30\x01", b""])
def test_other_constraints_that_cannot_be_read_are_malformed(odd: bytes) -> None:
    der = made("someone", x509.UnrecognizedExtension(x509.ExtensionOID.BASIC_CONSTRAINTS, odd))
    with pytest.raises(CertificateError, match="not a certificate"):
        load_certificate(der)


def test_a_chain_is_written_and_read_in_order() -> None:
    chain = made("one"), made("two")
    assert chain_to_pem(chain).encode() == pem(chain[0]) + pem(chain[1])
    assert chain_from_pem(chain_to_pem(chain).encode()) == chain
    assert [common_name(load_certificate(each)) for each in chain] == ["one", "two"]


def test_two_names_are_none() -> None:
    twice = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each) for each in ("one", "two")])
    days = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(twice, twice, KEY.public_key(), 1, *days)
    assert common_name(builder.sign(KEY, hashes.SHA256())) == ""


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        (b"x" * 65_536, "the PEM text holds no certificate", True),
        (b"x" * 65_537, "PEM text of 65537 bytes", False),
        (PRIVATE, "the PEM text holds a private key", True),
        (made(), r"not PEM, but binary \(DER\)", True),
        (PKCS7, "the PEM text holds a PKCS #7", True),
        (pem(made()).replace(b"MII", b"???", 1), "not PEM certificates: [A-Z]", True),
        (pem(made())[:200], "not PEM certificates: MalformedFraming", True),
        (pem(made()) * 2 + pem(made())[:200], "not PEM certificates: only 2 of 3 certificates are complete", True),
    ],
    ids=["no PEM", "too long", "a private key", "DER", "PKCS 7", "no base64", "cut", "the last is cut"],
)
def test_what_is_no_chain_is_malformed(text: bytes, why: str, *, hint: bool) -> None:
    with pytest.raises(CertificateError, match=why) as caught:
        chain_from_pem(text)
    assert (caught.value.reason, bool(caught.value.hint)) == ("malformed", hint)


def test_what_a_parser_warns_of_is_judged_later() -> None:
    """A certificate's number of 0 is one of these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = pem(made().replace(bytes.fromhex("a003020102020101"), bytes.fromhex("a003020102020100")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(chain_from_pem(odd)) == 1


def rsa_key(bits: int) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(65_537, 2 ** (bits - 1) + 1).public_key()


LOW = ed448.Ed448PublicKey.from_public_bytes((1).to_bytes(57, "little"))
GOOD = ed448.Ed448PrivateKey.generate().public_key()


@together(
    ("key", "kind", "described"),
    [
        (KEY.public_key(), KeyKind.SECP256R1, "an elliptic key on secp256r1"),
        (ec.generate_private_key(ec.SECP384R1()).public_key(), KeyKind.SECP384R1, "an elliptic key on secp384r1"),
        (ec.generate_private_key(ec.SECP521R1()).public_key(), KeyKind.SECP521R1, "an elliptic key on secp521r1"),
        (ec.generate_private_key(ec.BrainpoolP256R1()).public_key(), None, "an elliptic key on brainpoolP256r1"),
        (GOOD, KeyKind.ED448, "a key of kind Ed448"),
        (LOW, None, "an Ed448 key of low order, for which anyone can sign"),
        (ed25519.Ed25519PrivateKey.generate().public_key(), None, "a key of kind Ed25519"),
        (rsa_key(2_047), None, "an RSA key of 2047 bit"),
        (rsa_key(2_048), KeyKind.RSA_2048, "an RSA key of 2048 bit"),
        (rsa_key(4_095), KeyKind.RSA_2048, "an RSA key of 4095 bit"),
        (rsa_key(4_096), KeyKind.RSA, "an RSA key of 4096 bit"),
    ],
)
def test_kinds_of_keys_have_names(key: CertificatePublicKeyTypes, kind: KeyKind | None, described: str) -> None:
    assert key_kind(key) == kind
    assert describe_key(key) == described


@together(
    ("text", "emaid"),
    [
        ("DE-8AA-C12345678", "DE8AAC12345678"),
        ("de8aac123456789", "DE8AAC123456789"),
        ("DE-8AA-C12345678-9", "DE8AAC123456789"),
        ("DE8AAC1234567", ""),
        ("DE8AAC1234567890", ""),
        ("8E8AAC12345678", ""),
        ("D\u01318AAC12345678", ""),  # its capital is I
        ("", ""),
    ],
)
def test_an_emaid_has_14_characters_or_a_check_digit_too(text: str, emaid: str) -> None:
    assert is_emaid(text) is bool(emaid)
    if not text:
        return
    certificate = load_certificate(made(text))
    if emaid:
        assert emaid_of(certificate) == emaid
        return
    with pytest.raises(CertificateError, match="is not an EMAID") as caught:
        emaid_of(certificate)
    assert caught.value.reason == "wrong_subject"


@pytest.mark.parametrize("text", ["DE8AAC12345678", "de-8aa-c12345678", "DE8AAC123456789", "DE-8AA-C12345678-9"])
def test_contracts_are_compared_without_the_check_digit(text: str) -> None:
    assert contract_of(text) == "DE8AAC12345678"


@pytest.mark.parametrize("text", ["DE8AAC1234567", "DE8AAC1234567890"])
def test_what_has_no_check_digit_keeps_all(text: str) -> None:
    assert contract_of(text) == text
