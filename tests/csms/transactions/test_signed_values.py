"""Signed values of meters of any make at the back end."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from csms.transactions.rules import EXPORT_REGISTER, IMPORT_REGISTER, Sample
from csms.transactions.signed_values import JudgedSamples, judge_samples
from tests.energy.meter_records.signed_records import FOLDER, KEY, OCMF, READING, der_of, record

METER = der_of(KEY.public_key()).hex()
OTHERS = [json.loads(line) for line in (FOLDER / "others.jsonl").read_text().splitlines()]


def sample(data: bytes | str, value: str, *, key: str = "", **fields: Any) -> Sample:
    text = data if isinstance(data, str) else data.decode()
    signed = {"signedMeterData": text, "signingMethod": "", "encodingMethod": "", "publicKey": key}
    return Sample(**{
        "at_ms": 0, "measurand": IMPORT_REGISTER, "value": value, "unit": "Wh", "signed": json.dumps(signed), **fields,
    })  # fmt: skip


def verdict(one: Sample, key: str = METER, **more: Any) -> str:
    (judged,) = judge_samples([one], key, **more)
    return judged.verdict


def page(number: int, wh: int, **fields: Any) -> bytes:
    return record({**READING, "TX": "C", "RV": wh, "RU": "Wh"}, PG=f"T{number}", **fields)


@pytest.mark.requirement("R196")
@pytest.mark.parametrize("row", OCMF, ids=[f"{each['file']}-{at}" for at, each in enumerate(OCMF)])
def test_a_genuine_record_of_another_make_is_valid(row: Mapping[str, str]) -> None:
    """With the meter's key stored as it was given, and the value of its last reading of energy to the vehicle."""
    payload = json.loads(row["record"].split("|")[1])
    last = [each for each in payload["RD"] if "1.8" in each["RI"] or "98.8" in each["RI"]][-1]
    one = sample(row["record"], str(last["RV"]), unit=last["RU"])
    doubtful = last["ST"] != "G"  # the meter itself says so
    assert verdict(one, row["public_key_as_given"]) == ("mismatch" if doubtful else "valid")
    assert verdict(sample(row["record"], "77777", unit="Wh"), row["public_key_as_given"]) == "mismatch"
    assert verdict(one, "") == "unknown_key"


def test_records_of_sml_are_valid_too() -> None:
    rows = [row for row in OTHERS if row["public_key"]]
    values = ("327.5", "642.2", "946.3", "21196.6", "21198.5", "25718261.0", "25695931.6", "9918.8")
    for row, value in zip(rows, values, strict=True):
        assert verdict(sample(row["record"], value), row["public_key"]) == "valid"
        assert verdict(sample(row["record"], "1" + value), row["public_key"]) == "mismatch"


def test_a_session_of_pcdf_is_that_of_the_transaction() -> None:
    row = next(row for row in OTHERS if row["format"] == "PCDF")
    key = row["record"].split("(PK:")[1].split(")")[0]
    one = sample(row["record"], "619")
    assert verdict(one, key, transaction_id="a103507e-161e-414a-b8c5-e1efb37fb72d") == "valid"
    assert verdict(one, key, transaction_id="another") == "other_tx"


def test_each_verdict_has_its_name() -> None:
    for data, expected in (
        (page(1, 4000), "valid"),
        (page(1, 4000).replace(b'"RV": 4000', b'"RV": 5000'), "invalid"),
        (page(1, 3999), "mismatch"),
        (page(1, 4000)[:-3], "incomplete"),
        (page(1, 4000).replace(b'{"SD"', b'{"SA": "RSA-SHA256", "SD"'), "unsupported"),
        (b"garbage", "unreadable"),
        (record({**READING, "RV": 4, "ST": "F"}), "mismatch"),
        (record({**READING, "RV": 4, "RI": "1-0:2.8.0"}), "mismatch"),
    ):
        assert verdict(sample(data, "4000")) == expected


def test_a_message_may_round_what_the_meter_signed_by_less_than_its_last_digit() -> None:
    signed = record({**READING, "RV": "4.0049"})
    for value, unit, expected in (
        ("4004.9", "Wh", "valid"), ("4005", "Wh", "valid"), ("4004", "Wh", "valid"), ("4006", "Wh", "mismatch"),
        ("4.005", "kWh", "valid"), ("4.00", "kWh", "valid"), ("4", "kWh", "valid"), ("4.01", "kWh", "valid"),
        ("4.02", "kWh", "mismatch"), ("5", "kWh", "mismatch"), ("4000", "varh", "unreadable"),
    ):  # fmt: skip
        assert verdict(sample(signed, value, unit=unit)) == expected, value
    assert verdict(sample(signed, "4004.9", measurand=EXPORT_REGISTER)) == "mismatch"
    assert verdict(sample(signed, "4004.9", measurand="Power.Active.Import")) == "mismatch"


def test_a_key_in_the_message_proves_nothing() -> None:
    other = ec.derive_private_key(5, ec.SECP256R1()).public_key()
    data = page(1, 4000)
    assert verdict(sample(data, "4000", key=METER), key="") == "unknown_key"
    assert verdict(sample(data, "4000", key=METER), key=der_of(other).hex()) == "other_meter"
    assert verdict(sample(data, "4000", key=der_of(other).hex()), key="") == "invalid"
    assert verdict(sample(data, "4000", key=der_of(other).hex())) == "valid"


def test_pages_of_a_transaction_do_not_go_back_and_stay_with_meter_and_user() -> None:
    """Also against the readings of earlier events; a gap is none, since a station need not send all."""
    first, second = sample(page(5, 4000), "4000"), sample(page(9, 5000), "5000")
    assert [each.verdict for each in judge_samples([first, second], METER)] == ["valid", "valid"]
    assert [each.verdict for each in judge_samples([second, first], METER)] == ["valid", "reordered"]
    assert [each.verdict for each in judge_samples([first, first], METER)] == ["valid", "valid"]
    before = judge_samples([second], METER)
    assert verdict(first, before=before) == "reordered"
    assert verdict(sample(page(10, 6000, MS="OTHER"), "6000"), before=before) == "other_meter"
    assert verdict(sample(page(10, 6000, ID="04BB"), "6000"), before=before) == "other_tx"
    assert verdict(sample(page(10, 6000), "6000"), before=before) == "valid"
    wrong = [
        JudgedSamples(**{**{name: getattr(second, name) for name in second.__struct_fields__}, "verdict": "mismatch"})
    ]
    assert verdict(first, before=wrong) == "valid"  # what is wrong itself orders nothing
    unsigned = Sample(at_ms=0, measurand=IMPORT_REGISTER, value="1", unit="Wh")
    assert [each.verdict for each in judge_samples([unsigned, first], METER, before=[unsigned])] == ["", "valid"]


def test_what_else_decides_the_verdict_on_a_sample() -> None:
    """A record of another format names no transaction of OCPP; a stored key that is none is none."""
    row = next(row for row in OTHERS if row["format"] == "PCDF")
    key = row["record"].split("(PK:")[1].split(")")[0]
    assert verdict(sample(row["record"], "619"), key) == "valid"
    assert verdict(sample(page(1, 4000), "4000"), transaction_id="another") == "valid"
    assert verdict(sample(page(1, 4000), "4000"), "zz") == "unknown_key"
    export = record({**READING, "RV": 4, "RI": "1-0:2.8.0"})
    assert verdict(sample(export, "4000", measurand=EXPORT_REGISTER)) == "valid"
    unnamed = record({**READING, "RV": 4, "RI": "1-0:15.8.0"})
    assert verdict(sample(unnamed, "4000", measurand="Energy.Active.Net")) == "mismatch"
    assert verdict(sample(page(1, 300), "0.301", unit="kWh")) == "mismatch"  # a Wh is not less than the last digit
    assert verdict(sample(page(1, 300), "0.30", unit="kWh")) == "valid"
    assert JudgedSamples(at_ms=0, measurand=IMPORT_REGISTER, value="1", unit="Wh").verdict == ""


def test_what_is_before_is_the_last_reading_that_can_be_read() -> None:
    first, second = sample(page(5, 4000), "4000"), sample(page(9, 5000), "5000")
    assert verdict(first, before=[second]) == "reordered"  # not judged yet
    (valid,) = judge_samples([second], METER)
    broken = replace(valid, signed=sample("garbage", "5000").signed)
    assert verdict(first, before=[valid, broken]) == "reordered"
    assert verdict(first, before=[broken]) == "valid"
