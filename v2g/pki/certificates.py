"""Parsing of untrusted certificates: any bytes give a certificate or CertificateError(malformed)."""

import functools
import re
import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from v2g.errors import CertificateError
from v2g.pki.keys import has_low_order, how_to_convert
from v2g.pki.profile import KeyKind

MAX_PEM_BYTES: Final = 64 * 1024
"""Longest PEM text that is parsed."""

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far another machine's clock may be ahead of ours."""

_MAX_DER_BYTES: Final = 16 * 1024
_MIN_RSA_BITS: Final = 4096
_LEAST_RSA_BITS: Final = 2048
_CONTRACT: Final = 14  # country 2, provider 3, instance 9; a check digit may follow
_EMAID: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[A-Z0-9]{9}[A-Z0-9]?")

_UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@functools.lru_cache(maxsize=512)  # roots and sub-CAs are parsed repeatedly
def load_certificate(der: bytes) -> x509.Certificate:
    """Return a completely parseable DER certificate. Raises CertificateError(malformed)."""
    if len(der) > _MAX_DER_BYTES:
        raise CertificateError(f"certificate of {len(der)} bytes", reason="malformed")
    try:
        with warnings.catch_warnings():
            # Deviations that the parser only warns about are checked by the profiles.
            warnings.simplefilter("ignore")
            certificate = x509.load_der_x509_certificate(der)
            _ = certificate.subject, certificate.issuer, certificate.public_key(), certificate.signature_hash_algorithm
            _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.signature
            _ = certificate.version, tuple(extensions_of(certificate))
            if certificate.serial_number < 1:  # RFC 5280 4.1.2.2; the library will reject it, too
                raise ValueError("its serial number is not positive")
            certificate.subject.rfc4514_string()
            certificate.issuer.rfc4514_string()
    except _UNREADABLE as error:
        raise CertificateError(f"not a certificate: {error if der else 'it is empty'}", reason="malformed") from None
    # A signature is whole bytes; with unused bits one certificate could have two encodings.
    if certificate.public_bytes(serialization.Encoding.DER) != der or der[-len(certificate.signature) - 1] != 0:
        raise CertificateError("certificate is not in DER", reason="malformed")
    return certificate


@functools.lru_cache(maxsize=512)
def extensions_of(certificate: x509.Certificate) -> x509.Extensions:
    """Return the extensions of a certificate, also where basic constraints spell out `cA FALSE`.

    That is the default, which DER leaves out, and the library refuses; leaves of public V2G CAs have it. Raises as the
    library does for anything else.
    """
    try:
        return certificate.extensions
    except ValueError:
        der = certificate.public_bytes(serialization.Encoding.DER)
        if (at := der.find(_SPELLED_OUT)) < 0:
            raise
        return x509.load_der_x509_certificate(_with_default(der, at)).extensions


_SPELLED_OUT: Final = bytes.fromhex("0405 3003 010100")
_LEFT_OUT: Final = bytes.fromhex("0402 3000")


def _with_default(element: bytes, at: int) -> bytes:
    """Return a DER element in which the constraints at an offset are written by the rules."""
    if at == 0:
        return _LEFT_OUT
    start, end = _content(element, 0)
    parts, place = [], start
    while place < end:
        _, after = _content(element, place)
        part = element[place:after]
        parts.append(_with_default(part, at - place) if place <= at < after else part)
        place = after
    content = b"".join(parts)
    size = len(content)
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return element[:1] + (length if size < 0x80 else bytes((0x80 | len(length),)) + length) + content


def _content(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the element at an offset begins and ends; its tag is one octet."""
    first = data[at + 1]
    count = first & 0x7F if first & 0x80 else 0
    size = int.from_bytes(data[at + 2 : at + 2 + count]) if count else first
    return at + 2 + count, at + 2 + count + size


def chain_from_pem(pem: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a PEM text as DER, in order. Raises CertificateError(malformed), also for none."""
    if len(pem) > MAX_PEM_BYTES:
        raise CertificateError(f"PEM text of {len(pem)} bytes", reason="malformed")
    begun = pem.count(b"-----BEGIN CERTIFICATE-----")
    if not begun:
        if (how := how_to_convert(pem)) is not None:
            raise CertificateError("not PEM, but binary (DER)", reason="malformed", hint=how)
        what, hint = "no certificate", "a certificate is expected here"
        if b"PRIVATE KEY-----" in pem:
            what = "a private key"
        elif b"-----BEGIN PKCS7-----" in pem:
            what, hint = "a PKCS #7", "openssl pkcs7 -print_certs makes PEM certificates of it"
        raise CertificateError(f"the PEM text holds {what}", reason="malformed", hint=hint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            certificates = x509.load_pem_x509_certificates(pem)
    except _UNREADABLE as error:
        why = str(error).rpartition("for more details. ")[2]
        raise CertificateError(f"not PEM certificates: {why}", reason="malformed", hint="is it complete?") from None
    if len(certificates) < begun:  # the parser leaves out one without an end
        what = f"only {len(certificates)} of {begun} certificates are complete"
        raise CertificateError(f"not PEM certificates: {what}", reason="malformed", hint="is it complete?")
    return tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in certificates)


def chain_to_pem(chain: Sequence[bytes]) -> str:
    """Return DER certificates as one PEM text, as OCPP carries them. Raises CertificateError(malformed)."""
    certificates = (load_certificate(der) for der in chain)
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode("ascii") for each in certificates)


def key_kind(key: x509.Certificate | CertificatePublicKeyTypes) -> KeyKind | None:
    """Return the kind of a certificate's key, or of a key; None for other kinds, such as short RSA keys.

    A point of low order is not a key: anyone can sign for it.
    """
    match key.public_key() if isinstance(key, x509.Certificate) else key:
        case ec.EllipticCurvePublicKey(curve=curve):
            return KeyKind(curve.name) if curve.name in {kind.value for kind in KeyKind} else None
        case ed448.Ed448PublicKey() as edwards:
            return None if has_low_order(edwards) else KeyKind.ED448
        case rsa.RSAPublicKey(key_size=size):
            return KeyKind.RSA if size >= _MIN_RSA_BITS else KeyKind.RSA_2048 if size >= _LEAST_RSA_BITS else None
        case _:
            return None


def describe_key(key: CertificatePublicKeyTypes) -> str:
    """Return a description of a key, also of other kinds."""
    match key:
        case ec.EllipticCurvePublicKey(curve=curve):
            return f"an elliptic key on {curve.name}"
        case rsa.RSAPublicKey(key_size=size):
            return f"an RSA key of {size} bit"
        case ed448.Ed448PublicKey() as edwards if has_low_order(edwards):
            return "an Ed448 key of low order, for which anyone can sign"
        case _:
            return f"a key of kind {type(key).__name__.strip('_').removesuffix('PublicKey')}"


def common_name(certificate: x509.Certificate) -> str:
    """Return the subject's CN, or an empty string unless there is exactly one."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def is_due(certificate: x509.Certificate, at: datetime, ahead: timedelta = timedelta(days=30)) -> bool:
    """Return whether a certificate is to be renewed: `ahead` of its end, a short one in its last third."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return at > end - min(ahead, (end - begin) / 3)


def normalize_emaid(emaid: str) -> str:
    """Return a normalised EMAID: without separators, in upper case."""
    return emaid.replace("-", "").upper()


def contract_of(emaid: str) -> str:
    """Return by what contracts are compared: a normalised EMAID without its check digit, which may be left out (ISO
    15118-20 Annex C)."""
    text = normalize_emaid(emaid)
    return text[:_CONTRACT] if len(text) == _CONTRACT + 1 else text


def is_same_contract(emaid: str, other: str) -> bool:
    """Return whether two EMAIDs of ISO 15118-2 name one contract; a check digit counts only where both have one.

    Vehicles write hyphens, lower case, and the check digit or not.
    """
    first, second = sorted((normalize_emaid(emaid), normalize_emaid(other)), key=len)
    checked = len(first) == _CONTRACT and len(second) == _CONTRACT + 1
    return first == (second[:_CONTRACT] if checked else second)


def is_emaid(text: str) -> bool:
    """Return whether a text is an EMAID: 14 characters, or 15 with a check digit; separators are ignored."""
    return text.isascii() and _EMAID.fullmatch(normalize_emaid(text)) is not None


def emaid_of(certificate: x509.Certificate) -> str:
    """Return the normalised EMAID of a contract certificate: 14 characters, or 15 with a check digit.

    Raises CertificateError(wrong_subject) when its CN is not an EMAID.
    """
    name = common_name(certificate)
    emaid = normalize_emaid(name)
    if not name.isascii() or not _EMAID.fullmatch(emaid):  # a letter outside ASCII may have a capital inside
        raise CertificateError(f"CN {name!r} is not an EMAID", reason="wrong_subject")
    return emaid
