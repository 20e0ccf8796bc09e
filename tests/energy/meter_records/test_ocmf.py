"""OCMF as its text allows it, and as makers write it."""

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.meter_records.signed_records import KEY, OCMF, PAYLOAD, READING, genuine, judged, record, sign
from tests.together import together
from v2g.energy.meter_records.keys import key_of, read_key
from v2g.energy.meter_records.ocmf import read_ocmf
from v2g.energy.meter_records.record import Reading, obis
from v2g.errors import RecordError

ENERGY = {
    "fromweb.xml": [("1-b:1.8.0", "import", "0.1")],
    "test.xml": [("1-b:1.8.e", "import", "266")],
    "Ocmf_Example_OBIS_98.8.0_2.8.0.xml": [("1-0:98.8.0.FF", "import", "1000"), ("1-0:2.8.0.FF", "export", "1000")],
    "keba_test.xml": [("1-b:1.8.0", "import", "0")],
}
"""By file: what the readings that are marked as begin and end differ by, in Wh; `measurements.xml` has 0 and 0.1."""


@pytest.mark.requirement("R196")
@pytest.mark.parametrize("row", OCMF, ids=[f"{each['file']}-{at}" for at, each in enumerate(OCMF)])
def test_a_genuine_record_is_verified_and_its_energy_is_exact(row: dict[str, str]) -> None:
    found = genuine(row)
    assert (found.verdict, found.key_source, found.remarks) == ("verified", "given", ())
    energy = [(each.register, each.direction, f"{each.wh.normalize():f}") for each in found.energies]
    if row["file"] == "measurements.xml":
        assert energy in ([("1-b:1.8.0", "import", "0")], [("1-b:1.8.0", "import", "0.1")])
    else:
        assert energy == ENERGY.get(row["file"], [])


@given(row=st.sampled_from(OCMF), share=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255), data=st.data())
def test_no_octet_of_payload_or_signature_can_be_changed(
    row: dict[str, str], share: float, change: int, data: st.DataObject
) -> None:
    key = read_key(row["public_key_as_given"])
    octets = bytearray(row["record"].encode())
    header, payload, section = row["record"].encode().split(b"|")
    if data.draw(st.booleans(), "payload"):
        at = len(header) + 1 + int(share * len(payload))
        octets[at] ^= change
    else:
        signature = bytearray(bytes.fromhex(json.loads(section)["SD"]))
        signature[int(share * len(signature))] ^= change
        fields = json.loads(section) | {"SD": signature.hex()}
        octets = bytearray(b"|".join((header, payload, json.dumps(fields).encode())))
    assert judged(bytes(octets), key).verdict in ("invalid", "unreadable", "incomplete", "unsupported")


@given(row=st.sampled_from(OCMF), share=st.floats(0, 1, exclude_max=True))
def test_a_record_that_is_cut_is_not_verified(row: dict[str, str], share: float) -> None:
    text = row["record"].encode()
    found = judged(text[: int(share * len(text))], read_key(row["public_key_as_given"]))
    assert found.verdict in ("incomplete", "unreadable")
    assert found.energies == ()


@given(data=st.binary(max_size=300) | st.binary(max_size=200).map(lambda data: b"OCMF|" + data + b'|{"SD":"00"}'))
def test_any_octets_are_a_record_or_the_one_error(data: bytes) -> None:
    try:
        read_ocmf(data)
    except RecordError as error:
        assert str(error).isprintable()  # noqa: PT017 - any octets may be refused, none must be


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12).map(lambda text: text.replace("|", "")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["RV", "TM", "RI", "X"]), inner),
    max_leaves=8,
)


@given(name=st.sampled_from([*PAYLOAD, "RD"]), field=st.sampled_from(list(READING)), value=JSON, inside=st.booleans())
def test_any_value_of_a_field_is_read_or_named(name: str, field: str, value: Any, inside: bool) -> None:
    data = record(READING, {**READING, field: value}) if inside else record(**{name: value})
    found = judged(data)
    assert found.verdict in ("verified", "unreadable")
    assert found.verdict == "verified" or "payload" in found.reason


def readings(*changes: dict[str, Any]) -> tuple[Reading, ...]:
    found = judged(record(*changes))
    assert found.verdict == "verified"
    assert found.record is not None
    return found.record.readings


def test_what_equals_the_reading_before_may_be_left_out() -> None:
    """All of it, the time too; a register of its own inherits no value, unit or current."""
    three = readings(dict(READING), {"TX": "C", "RV": 2}, {"TX": "E"})
    assert [(each.transaction, each.wh) for each in three] == [
        ("B", Decimal(1500)), ("C", Decimal(2000)), ("E", Decimal(2000)),
    ]  # fmt: skip
    assert {(each.utc_ms, each.clock, each.state, each.register) for each in three} == {
        (1_795_680_000_000, "S", "G", "1-0:1.8.0")
    }
    other = readings(dict(READING), {"RI": "1-0:2.8.0"}, {"RV": 7, "RU": "Wh"})
    assert [each.wh for each in other] == [Decimal(1500), None, Decimal(7)]


@together(
    ("value", "unit", "wh"),
    [
        (1.5, "kWh", "1500"), (1500, "Wh", "1500"), ("1.500", "kWh", "1500.000"), (" 12 345.6 ", "Wh", "12345.6"),
        ("1500", " WH ", "1500"), (0.0000001, "kWh", "0.0001000"), (250, "mOhm", None), (1, "uOhm", None),
        (1, "", None), (1, "kW", None),
    ],
)  # fmt: skip
def test_a_value_is_a_number_or_a_text_in_its_unit(value: object, unit: str, wh: str | None) -> None:
    (only,) = readings({**READING, "RV": value, "RU": unit})
    assert only.wh == (None if wh is None else Decimal(wh))


@together(
    "value",
    [
        "1,5", "1_5", "NaN", "Infinity", float("nan"), float("inf"), "", "0x1", "1e99", 1e16, "1E-30", "9" * 400,
        10**400, True, [1], {},
    ],
)  # fmt: skip
def test_a_value_that_is_no_number_of_a_meter_is_named(value: object) -> None:
    found = judged(record(dict(READING), {**READING, "RV": value}))
    if value == "":  # nothing was read
        assert found.verdict == "verified"
        return
    assert found.verdict == "unreadable"
    assert "payload.RD[1].RV" in found.reason
    assert len(found.reason) < 120


def test_what_ocmf_does_not_know_is_named_with_what_it_knows() -> None:
    assert "OCMF's numbers have a point" in judged(record({**READING, "RV": "100,5"})).reason
    (remark,) = judged(record({**READING, "RU": "MWh"})).remarks
    assert remark == "payload.RD[0].RU: 'MWh' is no unit of energy that OCMF has (Wh, kWh)"
    assert judged(record({**READING, "RI": "1-0:32.7.0", "RU": "V"})).remarks == ()


@together(
    ("written", "groups", "direction"),
    [
        ("1-0:1.8.0", "1 0 1 8 0 FF", "import"), ("1-b:1.8.0", "1 B 1 8 0 FF", "import"),
        ("1-b:1.8.e", "1 B 1 8 E FF", "import"), ("01-00:01.08.00.FF", "1 0 1 8 0 FF", "import"),
        ("1-0:1.8.1", "1 0 1 8 1 FF", "import"), ("1-0:1.8.0*255", "1 0 1 8 0 FF", "import"),
        ("1-0:1.8.0*198", "1 0 1 8 0 198", "import"), ("0100010800FF", "1 0 1 8 0 FF", "import"),
        ("1.8.0", "1 0 1 8 0 FF", "import"), ("1-0:2.8.0", "1 0 2 8 0 FF", "export"),
        ("01-00:B2.08.00.FF", "1 0 B2 8 0 FF", "import"), ("01-00:C3.08.00.FF", "1 0 C3 8 0 FF", "export"),
        ("1-0:98.8.0.FF", "1 0 98 8 0 FF", "import"), ("1-0:16.7.0", "1 0 16 7 0 FF", None),
        ("1-0:9E.8.0", "1 0 9E 8 0 FF", None), ("energy", None, None), ("", None, None),
    ],
)  # fmt: skip
def test_an_obis_code_is_read_in_every_spelling(written: str, groups: str | None, direction: str | None) -> None:
    assert obis(written) == (None if groups is None else tuple(groups.split()))
    assert Reading(register=written, wh=None).direction == direction


def test_energy_is_between_what_the_record_marks_and_nothing_else() -> None:
    """By register; two begins or no end leave nothing to subtract, and no reading is taken for one."""
    begin, end = dict(READING), {**READING, "TX": "E", "RV": 4}
    other = {"RI": "1-0:2.8.0", "RU": "Wh"}
    cases: list[tuple[list[dict[str, Any]], list[str]]] = [
        ([begin, end], ["2500"]),
        ([begin, {**begin, "TX": "C", "RV": 3}, end], ["2500"]),
        ([begin, {**begin, **other, "RV": 1}, end, {**end, **other, "RV": 9}], ["2500", "8"]),
        ([{**begin, "RI": "1-0:1.8.0*255"}, {**end, "RI": "01-00:01.08.00.FF"}], ["2500"]),
        ([begin, {**end, **other}], []),
        ([begin], []),
        ([end, begin], []),
        ([begin, begin, end], []),
        ([begin, end, end], []),
        ([{**begin, "TX": "C"}, end], []),
        ([{**begin, "TX": "b"}, {**end, "TX": "e"}], ["2500"]),
        ([{**begin, "RU": "MWh"}, {**end, "RU": "MWh"}], []),
        ([{**begin, "TX": None}, {**end, "TX": None}], []),
    ]
    for given_readings, wh in cases:
        found = judged(record(*given_readings))
        assert found.verdict == "verified"
        assert [each.wh for each in found.energies] == [Decimal(each) for each in wh]
        marks = {str(each["TX"]).upper() for each in given_readings}
        assert any("no energy" in each for each in found.remarks) is (not wh and marks >= {"B", "E"})
    for reason in "ELRAP":
        assert judged(record(begin, {**end, "TX": reason})).energies


@together(
    ("change", "usable"),
    [
        ({}, True), ({"EF": "t"}, True), ({"EF": "E"}, False), ({"EF": "Et"}, False), ({"ST": "X"}, False),
        ({"ST": None}, True), ({"RV": 1}, False),
    ],
)  # fmt: skip
def test_energy_says_whether_the_meter_vouches_for_it(change: dict[str, Any], usable: bool) -> None:
    """Also where the register fell; a status that is left out is that of the reading before."""
    (energy,) = judged(record(dict(READING), {**READING, "TX": "E", "RV": 4, **change})).energies
    assert energy.usable is usable


def test_no_energy_is_vouched_for_that_ends_after_an_exception() -> None:
    """Table 7: from a reading of reason X on, energy is not usable, though the transaction goes on."""
    begin, fault, end = dict(READING), {"TX": "X", "RV": 2}, {"TX": "E", "RV": 4}
    for readings_, usable in (((begin, fault, end), False), ((begin, end, fault), True)):
        (energy,) = judged(record(*readings_)).energies
        assert energy.usable is usable


@together(
    ("time", "utc_ms", "clock"),
    [
        ("2026-11-26T08:00:00,000+0000 S", 1_795_680_000_000, "S"),
        ("2026-11-26T09:00:00,250+0100 R", 1_795_680_000_250, "R"),
        ("2026-11-26T08:00:00.5+00:00 I", 1_795_680_000_500, "I"),
        ("2026-11-26T08:00:00Z U", 1_795_680_000_000, "U"),
        ("2026-11-26 09:00:00,000 +01 S", 1_795_680_000_000, "S"),
        ("2026-11-26t08:00:00.000z", 1_795_680_000_000, ""),
        ("2026-11-26T08:00:00,000+0000", 1_795_680_000_000, ""),
        ("2026-11-26T08:00:00,000 S", None, "S"),
        ("2026-13-26T08:00:00,000+0000 S", None, "S"),
        ("0001-01-01T00:00:00,000+1400 S", None, "S"),
        ("yesterday", None, ""),
    ],
)
def test_a_time_is_a_moment_or_remarked(time: str, utc_ms: int | None, clock: str) -> None:
    found = judged(record({**READING, "TM": time}))
    assert found.record is not None
    assert [(each.utc_ms, each.clock) for each in found.record.readings] == [(utc_ms, clock)]
    assert bool(found.remarks) is (utc_ms is None)


def test_fields_may_be_absent_and_numbers_may_be_texts() -> None:
    """No version, no meter's serial, no user; version and type of the charging point as numbers; pages of makers."""
    for fields, serials, user, label in (
        ({"FV": None, "MS": None, "IS": None, "IT": None, "ID": None}, ("GATEWAY",), "", "T1"),
        ({"FV": 1.0, "CT": 0, "CI": 7, "IS": "VERIFIED", "MS": 4711}, ("4711", "GATEWAY"), "04AA", "T1"),
        ({"PG": "F12", "GS": None}, ("METER",), "04AA", "F12"),
        ({"PG": None}, ("METER", "GATEWAY"), "04AA", ""),
        ({"PG": "page one"}, ("METER", "GATEWAY"), "04AA", ""),
        ({"GI": "two\nlines\t"}, ("METER", "GATEWAY"), "04AA", "T1"),
        ({"FV": "0.1", "VI": "ABL", "VV": "1.4", "PG": 7, "XX": {"Y": [1]}}, ("METER", "GATEWAY"), "04AA", "7"),
    ):
        found = judged(record(**fields))
        assert found.verdict == "verified"
        assert found.record is not None
        assert (found.record.serials, found.record.user, found.record.label) == (serials, user, label)


@pytest.mark.parametrize(
    "curve", [ec.SECP192R1(), ec.SECP256K1(), ec.SECP384R1(), ec.BrainpoolP256R1(), ec.SECP521R1()]
)
@pytest.mark.parametrize("form", ["der", "raw"])
@pytest.mark.parametrize("base64_", [False, True])
@pytest.mark.parametrize("bits", [256, 384, 512])
def test_a_signature_is_of_any_curve_hash_form_and_encoding(
    curve: ec.EllipticCurve, form: str, base64_: bool, bits: int
) -> None:
    key = ec.derive_private_key(99, curve)
    digest = {256: hashes.SHA256(), 384: hashes.SHA384(), 512: hashes.SHA512()}[bits]
    fields = {"SA": f"ECDSA-{curve.name}-SHA{bits}", "SM": "application/x-der"} | ({"SE": "base64"} if base64_ else {})
    data = sign(json.dumps(PAYLOAD).encode(), key=key, digest=digest, raw=form == "raw", base64_=base64_, **fields)
    found = judged(data, key_of(key.public_key()))
    assert (found.verdict, found.remarks) == ("verified", ())


def test_a_signature_over_another_hash_than_it_says_is_remarked() -> None:
    key = ec.derive_private_key(99, ec.SECP384R1())
    data = sign(json.dumps(PAYLOAD).encode(), key=key, SA="ECDSA-secp384r1-SHA384")
    found = judged(data, key_of(key.public_key()))
    assert (found.verdict, found.remarks) == ("verified", ("signed over SHA256, not SHA384 as it says",))


def test_a_method_that_is_absent_is_that_of_the_key() -> None:
    key = ec.derive_private_key(99, ec.SECP192R1())
    assert judged(sign(json.dumps(PAYLOAD).encode(), key=key), key_of(key.public_key())).verdict == "verified"


@together(
    "method",
    [
        "ECDSA",
        "ECDSA-SHA256",
        "ECDSA-secp256r1",
        "ecdsa_SECP256R1_sha256",
        "ECDSA-NIST P-256-SHA-256",
        "",
        "ECDSA-prime256v1-SHA256",
        "ECDSA-P-256-SHA256",
    ],
)
def test_a_method_may_be_spelled_otherwise(method: str) -> None:
    assert judged(sign(json.dumps(PAYLOAD).encode(), SA=method)).verdict == "verified"


def test_fields_of_one_value_may_stand_twice_and_a_register_may_have_no_name() -> None:
    data = json.dumps(PAYLOAD).replace('"TX": "B"', '"TX": "B", "TX": "B"').replace('"RI": "1-0:1.8.0", ', "")
    (energy,) = judged(sign(data.encode().replace(b"GATEWAY", b"GATE\tWAY"))).energies
    assert (energy.register, energy.direction, energy.wh) == ("", None, Decimal(2500))


def test_a_value_of_null_is_none_and_not_that_of_the_reading_before() -> None:
    assert [each.wh for each in readings(dict(READING), {"RV": None}, {"RV": 2})] == [1500, None, 2000]


@pytest.mark.parametrize("method", ["RSA-2048-SHA256", "ECDSA-curve25519-SHA256", "ECDSA-secp256r1-MD5", "ES256", "?"])
def test_another_method_is_unsupported(method: str) -> None:
    found = judged(sign(json.dumps(PAYLOAD).encode(), SA=method))
    assert found.verdict == "unsupported"
    assert method in found.reason


def test_the_payload_is_signed_as_it_came() -> None:
    """With the blanks and line ends that its meter wrote, in UTF-8 or not, and with blanks around the record."""
    for payload in (
        json.dumps(PAYLOAD, indent=2).replace("\n", "\r\n").encode(),
        b" \r\n" + json.dumps(PAYLOAD).encode() + b"\t",
        json.dumps({**PAYLOAD, "GI": "Zähler"}, ensure_ascii=False).encode(),
        json.dumps({**PAYLOAD, "ID": 'a|b"|"'}).encode(),
        json.dumps({**PAYLOAD, "GI": "Zähler"}, ensure_ascii=False).encode("latin-1"),
    ):
        data = sign(payload)
        for around in (data, b"\r\n  " + data + b" \r\n", b"\xef\xbb\xbf" + data + b"\n", data + b"|", data + b" end"):
            assert judged(around).verdict == "verified"
        assert judged(data.replace(b"1.5", b"1.50")).verdict == "invalid"
        assert judged(data.replace(b": ", b":", 1)).verdict == "invalid"


@together(
    ("data", "verdict", "reason"),
    [
        (b"OCMF|", "incomplete", "before its signature"),
        (b'OCMF|{"RD"', "incomplete", "before its signature"),
        (b"OCMF|{}|", "incomplete", "before its signature"),
        (b'OCMF|{"RD":[|{"SD":"00"}', "incomplete", "payload, character 8"),
        (b'OCMF|{}|{"SD":"00', "incomplete", "signature, character"),
        (b"OCMF|{}|{}", "incomplete", "signature.SD"),
        (b'OCMF|{"RD":1,}|{"SD":"00"}', "unreadable", "payload, character"),
        (b'OCMF|[1]|{"SD":"00"}', "unreadable", "payload: not an object"),
        (b'OCMF|{}|{"SD":"00"}', "unreadable", "payload.RD"),
        (b'OCMF|{"RD":[]}|{"SD":"00"}', "unreadable", "payload.RD"),
        (b'OCMF|{"RD":[1]}|{"SD":"00"}', "unreadable", "payload.RD[0]"),
        (b'OCMF|{"RD":[{}],"RD":[]}|{"SD":"00"}', "unreadable", "stands twice"),
        (b'OCMF|{"RD":[{"RV":1,"RV":2}]}|{"SD":"00"}', "unreadable", "stands twice"),
        (b'OCMF|{"RD":[{}],"MS":[]}|{"SD":"00"}', "unreadable", "payload.MS"),
        (b'OCMF|{"RD":[{}]}|{"SD":"?"}', "unreadable", "neither hex nor base64"),
        (b'OCMF|{"RD":[{}]}|{"SD":"00"}|a|b', "unreadable", "four sections"),
        (b'OCMF|{"RD":' + b"[" * 5000 + b'|{"SD":"00"}', "unreadable", "nested"),
        (b"OCMF|" + b" " * 300_000 + b'|{"SD":"00"}', "unreadable", "300017 octets"),
    ],
)
def test_what_is_cut_is_told_from_what_is_unreadable(data: bytes, verdict: str, reason: str) -> None:
    found = judged(data)
    assert (found.verdict, reason in found.reason) == (verdict, True), found.reason


def test_a_key_in_a_fourth_section_is_the_records_own() -> None:
    public = base64.b64encode(bytes.fromhex(OCMF[0]["public_key_der"])).decode()
    own = read_ocmf(f"{OCMF[0]['record']}|{public}".encode()).own_key
    assert own == read_key(OCMF[0]["public_key_as_given"])
    assert read_ocmf(f"{OCMF[0]['record']}\n{public}".encode()).own_key == own
    assert read_ocmf(f"{OCMF[0]['record']}|none".encode()).remarks


def test_the_key_of_another_curve_or_meter_did_not_sign() -> None:
    row = OCMF[1]
    assert judged(row["record"].encode(), key_of(KEY.public_key())).reason.startswith(
        "the record is signed by secp192r1"
    )
    other = key_of(ec.derive_private_key(3, ec.SECP192R1()).public_key())
    assert judged(row["record"].encode(), other).verdict == "invalid"
    assert judged(row["record"].encode(), other, read_key(row["public_key_der"])).verdict == "verified"
