"""Verification of signed meter values with the meter's key, if known (J, OCMF).

A key in a message proves nothing: it counts only if it equals the key stored for the meter.
"""

import base64
from collections.abc import Iterable
from decimal import Decimal
from typing import Final, Literal

from msgspec.structs import asdict

from csms.domain.transactions.transactions import EXPORT_REGISTER, IMPORT_REGISTER, Sample, watt_hours
from v2g import typed_json
from v2g.energy.settlement.ocmf import read_public_key, signed_readings
from v2g.errors import CodecError, SignatureError
from v2g.ocpp.messages.metering import SignedMeterValue

Verdict = Literal["", "valid", "invalid", "mismatch", "unknown_key", "unreadable"]
"""`mismatch`: valid signature, but no signed reading equals the value in the message. "": not signed."""

_DIRECTIONS: Final = {IMPORT_REGISTER: "import", EXPORT_REGISTER: "export"}


class Judged(Sample, frozen=True, kw_only=True, omit_defaults=True):
    """A sample and the verdict on its signature."""

    verdict: Verdict = ""


def judge_samples(samples: Iterable[Sample], key: str) -> list[Judged]:
    """Return each sample with its verdict. `key`: the meter's, as OCPP's `publicKey`; "" if unknown."""
    return [Judged(**asdict(each), verdict=_judge(each, key) if each.signed else "") for each in samples]


def _judge(sample: Sample, key: str) -> Verdict:
    signed = typed_json.decode(sample.signed, SignedMeterValue)
    if signed.encoding_method.upper() != "OCMF":
        return "unreadable"
    if not key:
        return "unknown_key"
    try:
        text = base64.b64decode(signed.signed_meter_data, validate=True).decode()
        readings = signed_readings(text, read_public_key(key))
        value = watt_hours(sample)
    except SignatureError:
        return "invalid"
    except (CodecError, ValueError):
        return "unreadable"
    direction = _DIRECTIONS.get(sample.measurand)
    good = [each.reading for each in readings if each.direction == direction and each.reading.good]
    reported = {Decimal(each.register_mwh).scaleb(-3) for each in good}
    return "valid" if value in reported else "mismatch"
