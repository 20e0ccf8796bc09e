"""A TPM that signs quotes, in a few lines: its key is this process's."""

import hashlib
import struct
from collections.abc import Mapping

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from v2g.pki.quote import MeasuredReport, QuoteEvidence, binding

VALUES = {0: "00" * 32, 7: "11" * 32, 10: "22" * 32}
"""Registers of a whole charger."""


def attest(
    extra: bytes,
    values: Mapping[int, str] = VALUES,
    *,
    magic: int = 0xFF544347,
    kind: int = 0x8018,
    bank: int = 0x000B,
    more: bytes = b"",
) -> bytes:
    """Return a TPMS_ATTEST as part 2 of the TCG's specification has it."""
    digest = hashlib.sha256(b"".join(bytes.fromhex(values[each]) for each in sorted(values))).digest()
    head = struct.pack(">IHH", magic, kind, 34) + bytes(34) + struct.pack(">H", len(extra)) + extra
    clock = struct.pack(">QIIBQ", 123_456, 5, 6, 1, 7)
    bits = sum(1 << each for each in values)
    chosen = struct.pack(">IHB", 1, bank, 3) + bits.to_bytes(3, "little")
    return head + clock + chosen + struct.pack(">H", 32) + digest + more


def evidence(
    key: ec.EllipticCurvePrivateKey, report: MeasuredReport, nonce: bytes, values: Mapping[int, str] = VALUES
) -> QuoteEvidence:
    """Return what a charger with this TPM sends."""
    text = msgspec.json.encode(report)
    return signed(key, report, attest(binding(nonce, text), values), values)


def signed(
    key: ec.EllipticCurvePrivateKey, report: MeasuredReport, quote: bytes, values: Mapping[int, str] = VALUES
) -> QuoteEvidence:
    """Return evidence with a quote of one's own."""
    text = msgspec.json.encode(report).decode()
    return QuoteEvidence(
        report=text, registers=dict(values), quote=quote, signature=key.sign(quote, ec.ECDSA(hashes.SHA256()))
    )
