"""Fuzzes what the PKI tools read from strangers: OCSP requests, and shares that somebody typed."""

import contextlib
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from shamir_mnemonic import generate_mnemonics
from shamir_mnemonic.share import Share

from pki_tools.ceremony import Sealed, ShareWords, read_sheet, write_sheet
from pki_tools.ocsp_wire import read_request
from v2g.errors import KeyAccessError, RevocationError

((_WORDS, *_),) = generate_mnemonics(1, [(3, 5)], bytes(32), iteration_exponent=0)
_SEALED = Sealed(
    subject="CN=Root",
    fingerprint="00" * 32,
    threshold=3,
    shares=5,
    identifier=Share.from_mnemonic(_WORDS).identifier,
    nonce="00" * 12,
    ciphertext="",
)


def asked(data: bytes) -> None:
    """Read an OCSP request; where it asks about one certificate, an independent parser reads the same question."""
    try:
        ours = read_request(data[1:])
    except RevocationError:
        return
    certificate = ours.certificates[0]
    if len(ours.certificates) != 1 or certificate.algorithm is None:  # an algorithm that exists elsewhere has its rules
        return
    theirs = ocsp.load_der_ocsp_request(data[1:])
    assert theirs.serial_number == certificate.serial
    assert (theirs.issuer_name_hash, theirs.issuer_key_hash) == (certificate.name_hash, certificate.key_hash)
    assert theirs.hash_algorithm.name == certificate.algorithm


def asked_seeds() -> list[bytes]:
    """Return requests by every hash, with and without a nonce."""
    found = []
    for algorithm in (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        digest = bytes(range(algorithm.digest_size))
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(digest, digest[::-1], 2**158 + 1, algorithm)
        found += [builder, builder.add_extension(x509.OCSPNonce(b"n" * 16), critical=False)]
    return [b"\0" + builder.build().public_bytes(serialization.Encoding.DER) for builder in found]


def typed(data: bytes) -> None:
    """Read a sheet: the share that was written, or a refusal that names where it came from."""
    with contextlib.suppress(KeyAccessError):
        assert read_sheet("a.txt", data[1:], _SEALED).words == _WORDS


def typed_seeds() -> list[bytes]:
    """Return a sheet, and its words alone."""
    sheet = write_sheet(_SEALED, ShareWords("a.txt", 1, _WORDS), "Ada", at=datetime(2026, 11, 20, tzinfo=UTC))
    return [b"\0" + sheet.encode(), b"\0" + _WORDS.encode()]
