"""A charger's attestation to its back end: a report of what was measured, bound to a nonce by a TPM's quote (R148).

The TPM signs, with a key that signs nothing else (a restricted key), the digest of its platform configuration registers
and the `binding` of nonce and report. The registers hold what the boot measured; the report says what a running
program's files and memory maps are. A kernel in wrong hands can lie in the report, not in the registers: both are
compared. TCG TPM 2.0 library, part 2, 10.12.8 (TPMS_ATTEST).
"""

import hashlib
import struct
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import SignatureError, VerificationError
from v2g.pki.attestation import Manifest
from v2g.pki.keys import PublicKey

MOST_BYTES: Final = 16 * 1024 * 1024
"""Largest evidence."""

_MAGIC: Final = 0xFF544347
_QUOTE: Final = 0x8018
_SHA256: Final = 0x000B
_REGISTERS: Final = 24
_NONCE: Final = 16
"""Least octets of a nonce."""

Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Octets = Annotated[bytes, Meta(max_length=4096)]


class MeasuredReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a charger has measured: the manifest by its SHA-256, how files differ from it (kind, path), and what a
    process has mapped as code: path and SHA-256, empty for a file that could not be read."""

    manifest: Hash
    differences: Annotated[tuple[tuple[str, str], ...], Meta(max_length=10_000)]
    mapped: dict[str, Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]]


class QuoteEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a charger sends: `report` is JSON as it was measured, `registers` their values (SHA-256 bank), `quote` the
    TPM's TPMS_ATTEST, `signature` that of its key, ECDSA with SHA-256 in DER."""

    format: Literal[1] = 1
    report: Annotated[str, Meta(max_length=MOST_BYTES)]
    registers: Annotated[dict[Annotated[int, Meta(ge=0, lt=_REGISTERS)], Hash], Meta(min_length=1)]
    quote: Octets
    signature: Octets


class Quote(msgspec.Struct, frozen=True):
    """The signed part: `binding`, the registers and their digest."""

    binding: bytes
    registers: tuple[int, ...]
    digest: bytes


def binding(nonce: bytes, report: bytes) -> bytes:
    """Return what a quote signs of a nonce and a report. Raises VerificationError for a nonce that can be guessed."""
    if len(nonce) < _NONCE:
        raise VerificationError(f"a nonce has at least {_NONCE} octets", where="nonce")
    return hashlib.sha256(hashlib.sha256(nonce).digest() + hashlib.sha256(report).digest()).digest()


def parse_quote(data: bytes) -> Quote:
    """Return a quote. Raises VerificationError for anything else."""
    try:
        magic, kind, signer = struct.unpack_from(">IHH", data)
        at = 8 + signer
        (length,) = struct.unpack_from(">H", data, at)
        extra = data[at + 2 : at + 2 + length]
        at += 2 + length
        _clock, _resets, _restarts, _safe, _firmware, count = struct.unpack_from(">QIIBQI", data, at)
        bank, size = struct.unpack_from(">HB", data, at + 29)
        at += 32
        chosen = data[at : at + size]
        at += size
        (length,) = struct.unpack_from(">H", data, at)
        digest = data[at + 2 :]
    except struct.error:
        raise VerificationError("cut off", where="quote") from None
    if (magic, kind, count, bank) != (_MAGIC, _QUOTE, 1, _SHA256) or len(digest) != length:
        raise VerificationError("not a quote of registers of SHA-256", where="quote")
    registers = tuple(8 * number + bit for number, byte in enumerate(chosen) for bit in range(8) if byte >> bit & 1)
    return Quote(extra, registers, digest)


def parse_evidence(data: bytes) -> QuoteEvidence:
    """Return what a charger has sent. Raises VerificationError."""
    if len(data) > MOST_BYTES:
        raise VerificationError(f"larger than {MOST_BYTES} octets", where="evidence")
    try:
        return typed_json.decode(data, QuoteEvidence)
    except msgspec.DecodeError as error:
        raise VerificationError(f"malformed: {error}", where="evidence") from None


def verify_evidence(evidence: QuoteEvidence, nonce: bytes, key: PublicKey) -> MeasuredReport:
    """Return the report once the quote is that of the TPM with this key, for this nonce.

    Raises SignatureError for another signature, VerificationError for another nonce, report or register.
    """
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise VerificationError("the key of the TPM is not an EC key", where="key")
    try:
        key.verify(evidence.signature, evidence.quote, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise SignatureError("the quote is not signed by the TPM's key") from None
    quote, report = parse_quote(evidence.quote), evidence.report.encode()
    if quote.binding != binding(nonce, report):
        raise VerificationError("another nonce, or another report than the TPM has signed", where="quote")
    if quote.registers != tuple(sorted(evidence.registers)):
        raise VerificationError("other registers than the TPM has signed", where="registers")
    values = b"".join(bytes.fromhex(evidence.registers[each]) for each in quote.registers)
    if quote.digest != hashlib.sha256(values).digest():
        raise VerificationError("other values of registers than the TPM has signed", where="registers")
    try:
        return typed_json.decode(report, MeasuredReport)
    except msgspec.DecodeError as error:
        raise VerificationError(f"malformed: {error}", where="report") from None


def deviations(
    report: MeasuredReport, registers: Mapping[int, str], manifest: Manifest, digest: str, golden: Mapping[int, str]
) -> list[str]:
    """Return how a charger differs from its release, empty for a whole one: `digest` is the manifest's SHA-256,
    `golden` the registers of a charger that is whole (SHA-256, hexadecimal)."""
    found = [f"{kind}: {path}" for kind, path in report.differences]
    if report.manifest != digest:
        found.append("another manifest")
    for path, content in report.mapped.items():
        listed = manifest.files.get(path)
        system = any(path.startswith(f"{each.rstrip('/')}/") for each in manifest.system)
        if listed is not None and listed != content:
            found.append(f"changed in memory: {path}")
        elif listed is None and not system:
            found.append(f"extra in memory: {path}")
    found += [
        f"register {number}: {registers.get(number, 'not quoted')}"
        for number, value in sorted(golden.items())
        if registers.get(number) != value
    ]
    return found
