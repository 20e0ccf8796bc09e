"""Genuine records of meters, and records that a test signs itself."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from v2g.energy.meter_records.container import FoundRecord
from v2g.energy.meter_records.judge import Expected, RecordJudgement, judge
from v2g.energy.meter_records.keys import MeterKey, key_of, read_key

FOLDER = Path(__file__).parents[2] / "vectors" / "meter_records"
OCMF: list[dict[str, str]] = [json.loads(line) for line in (FOLDER / "ocmf.jsonl").read_text().splitlines()]

KEY = ec.derive_private_key(0x5A7E, ec.SECP256R1())

READING: Mapping[str, Any] = {
    "TM": "2026-11-26T08:00:00,000+0000 S", "TX": "B", "RV": 1.5, "RI": "1-0:1.8.0", "RU": "kWh", "ST": "G", "EF": "",
}  # fmt: skip
PAYLOAD: Mapping[str, Any] = {
    "FV": "1.0", "GI": "G", "GS": "GATEWAY", "PG": "T1", "MS": "METER", "IS": True, "IT": "ISO14443", "ID": "04AA",
    "RD": [READING, {**READING, "TX": "E", "TM": "2026-11-26T09:00:00,000+0000 S", "RV": 4}],
}  # fmt: skip


def der_of(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(
    payload: bytes,
    *,
    key: ec.EllipticCurvePrivateKey = KEY,
    digest: hashes.HashAlgorithm | None = None,
    raw: bool = False,
    base64_: bool = False,
    **fields: str,
) -> bytes:
    """Return a record of this payload."""
    signature = key.sign(payload, ec.ECDSA(digest or hashes.SHA256()))
    if raw:
        size = (key.curve.key_size + 7) // 8
        signature = b"".join(each.to_bytes(size, "big") for each in decode_dss_signature(signature))
    text = base64.b64encode(signature).decode() if base64_ else signature.hex()
    return b"OCMF|" + payload + b"|" + json.dumps({"SD": text, **fields}).encode()


def record(*readings: Mapping[str, Any], **fields: Any) -> bytes:
    """Return a record with these fields; None leaves one out. `readings` are changes of the first reading."""
    payload = {name: value for name, value in ({**PAYLOAD, **fields}).items() if value is not None}
    if readings:
        payload["RD"] = [dict(each) for each in readings]
    return sign(json.dumps(payload).encode())


def judged(data: bytes, *keys: MeterKey, **expected: str) -> RecordJudgement:
    known = keys or (key_of(KEY.public_key()),)
    return judge(FoundRecord(place="record 1", data=data), Expected(keys=known, **expected))


def genuine(row: Mapping[str, str]) -> RecordJudgement:
    return judged(row["record"].encode(), read_key(row["public_key_as_given"]))
