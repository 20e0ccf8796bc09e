"""Verification of signed meter values with the meter's key, if known (J): OCMF and every other format that is read.

A key in a message proves nothing: it counts only if it equals the key stored for the meter.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final, Literal

from msgspec.structs import asdict, replace

from csms.transactions.rules import EXPORT_REGISTER, IMPORT_REGISTER, Sample, watt_hours
from v2g import typed_json
from v2g.energy.meter_records import judge
from v2g.energy.meter_records.container import FoundRecord
from v2g.energy.meter_records.keys import read_key
from v2g.energy.meter_records.record import Direction, Record
from v2g.errors import CodecError
from v2g.ocpp.messages.metering import SignedMeterValue

Verdict = Literal[
    "",
    "valid",
    "invalid",
    "mismatch",
    "unknown_key",
    "unreadable",
    "incomplete",
    "unsupported",
    "other_meter",
    "other_tx",
    "reordered",
]
"""Those of `v2g.energy.meter_records.judge` in at most 12 characters, and `mismatch`. "": not signed."""

VERDICTS: Final[dict[judge.Verdict, Verdict]] = {
    "verified": "valid",
    "invalid": "invalid",
    "unreadable": "unreadable",
    "incomplete": "incomplete",
    "unsupported": "unsupported",
    "no_key": "unknown_key",
    "other_meter": "other_meter",
    "other_transaction": "other_tx",
    "reordered": "reordered",
}

MISMATCH: Final = (
    "verified, but no usable signed reading is the value in the message, which may round it, at most by 10 Wh"
)

_DIRECTIONS: Final[dict[str, Direction]] = {IMPORT_REGISTER: "import", EXPORT_REGISTER: "export"}


class JudgedSamples(Sample, frozen=True, kw_only=True, omit_defaults=True):
    """A sample and the verdict on its signature."""

    verdict: Verdict = ""


def judge_samples(
    samples: Iterable[Sample], key: str, *, transaction_id: str = "", before: Sequence[Sample] = ()
) -> list[JudgedSamples]:
    """Return each sample with its verdict. `key`: the meter's, as OCPP's `publicKey`; "" if unknown.

    `before` are the last signed samples of the same transaction: pages of one meter never go back within it.
    """
    last = _last(before)
    found = []
    for each in samples:
        verdict: Verdict = ""
        if each.signed:
            judged = _judge(each, key)
            verdict = VERDICTS[judged.verdict]
            if verdict == "valid" and judged.record is not None:
                verdict = _fits(each, judged.record, last, transaction_id)
                last = judged.record if verdict == "valid" else last
        found.append(JudgedSamples(**asdict(each), verdict=verdict))
    return found


def _last(samples: Sequence[Sample]) -> Record | None:
    """Return the last record of samples that can be read."""
    for each in reversed(samples):
        if each.signed and (not isinstance(each, JudgedSamples) or each.verdict == "valid"):
            signed = typed_json.decode(each.signed, SignedMeterValue)
            with suppress(CodecError):
                return judge.read_record(signed.signed_meter_data.encode())
    return None


def _judge(sample: Sample, key: str) -> judge.RecordJudgement:
    """Judge by the stored key; by the key that came along only to tell a broken record from one of another meter."""
    signed = typed_json.decode(sample.signed, SignedMeterValue)
    found = FoundRecord(place="", data=signed.signed_meter_data.encode(), key=signed.public_key or "")
    try:
        known = (read_key(key),) if key else ()
    except CodecError:
        known = ()
    judged = judge.judge(found, judge.Expected(keys=known))
    if known and judged.verdict == "invalid":
        alone = judge.judge(found, judge.Expected())
        if alone.verdict == "verified":
            return replace(alone, verdict="other_meter")
    return replace(judged, verdict="no_key") if judged.verdict == "verified" and not known else judged


def _fits(sample: Sample, record: Record, last: Record | None, transaction_id: str) -> Verdict:
    """Return the verdict on a sample whose record is verified."""
    if record.format == "PCDF" and transaction_id and record.session != transaction_id:
        return "other_tx"
    wrong = None if last is None or last.signed == record.signed else judge.out_of_place(last, record)
    if wrong is not None and wrong[0] != "incomplete":  # a station need not send all that its meter signs
        return VERDICTS[wrong[0]]
    try:
        value = watt_hours(sample)
    except ValueError:
        return "unreadable"
    exponent = Decimal(sample.value).as_tuple().exponent
    digit = Decimal(1000 if sample.unit == "kWh" else 1).scaleb(exponent if isinstance(exponent, int) else 0)
    direction = _DIRECTIONS.get(sample.measurand)
    return "valid" if direction is not None and judge.carries(record, direction, value, digit) else "mismatch"
