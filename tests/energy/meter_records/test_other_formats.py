"""EDL40, ISA-EDL40, Alfen and PCDF: genuine records, and what is wrong with others."""

import base64
import json
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.meter_records.signed_records import FOLDER, judged
from tests.together import together
from v2g.energy.meter_records.container import SML, FoundRecord, find_records
from v2g.energy.meter_records.edl40 import read_edl40, read_edl40_xml
from v2g.energy.meter_records.judge import Expected, judge, judge_all
from v2g.energy.meter_records.keys import key_of, read_key
from v2g.energy.meter_records.record import Mark, Record
from v2g.energy.meter_records.text_records import read_alfen, read_pcdf
from v2g.errors import RecordError
from v2g.sml import crc16

ROWS = [json.loads(line) for line in (FOLDER / "others.jsonl").read_text().splitlines()]
VALID = [row for row in ROWS if row["valid"]]
IDS = [f"{row['format']}-{at}" for at, row in enumerate(ROWS)]


def of(form: str) -> list[dict[str, str]]:
    """Those of SML, not XML, for EDL40."""
    return [row for row in VALID if row["format"] == form and not row["record"].startswith("<")]


def alone(row: dict[str, str]) -> FoundRecord:
    return FoundRecord(place="record 1", data=row["record"].encode(), key=row["public_key"])


@pytest.mark.requirement("R196")
@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_genuine_record_of_another_format_is_verified(row: dict[str, str]) -> None:
    """By the key that came with it, which the judgement says; some were published as wrong."""
    found = judge(alone(row), Expected())
    assert found.record is not None
    assert found.record.format == row["format"]
    assert found.verdict == ("verified" if row["valid"] else "invalid")
    assert found.key_source == ("file" if row["public_key"] else "record")


def test_values_meters_and_sessions_are_those_that_were_published() -> None:
    """By the tests of the transparency software, and by DIN 43863-5 for the numbers of meters."""
    for form, index, serial, session, page, wh in (
        ("EDL40", 0, "1ESY1160123456", "1516", 33, "327.5"),
        ("EDL40", 3, "1EMH0012191156", "", 186, "21196.6"),
        ("ISA-EDL40", 0, "1ISA0000000001", "1597129751", 24, "25695931.6"),
        ("ALFEN", 1, "0A01445A470033000140", "18", 18, "15764"),
    ):
        found = judge(alone(of(form)[index]), Expected()).record
        assert found is not None
        assert serial in found.serials
        assert (found.session, found.page, found.readings[0].wh) == (session, page, Decimal(wh))
    alfen = judge(alone(of("ALFEN")[1]), Expected()).record
    assert alfen is not None
    assert (alfen.readings[0].utc_ms, alfen.readings[0].register) == (1_542_984_061_000, "0100010800FF")
    assert (alfen.user, alfen.readings[0].mark) == ("1", "end")


def test_energy_is_that_of_one_record_or_of_the_two_that_are_marked() -> None:
    isa, update = (judge(alone(of("ISA-EDL40")[at]), Expected()) for at in (0, 1))
    assert [(each.wh, each.direction, each.usable) for each in isa.energies] == [(Decimal("22329.4"), "import", True)]
    assert update.energies == ()
    pcdf = [judge(alone(row), Expected()).energies[0].wh for row in of("PCDF")]
    assert pcdf == [Decimal(619), Decimal(3276)]
    begin, end = of("EDL40")[3:]
    marks: tuple[tuple[dict[str, str], Mark], ...] = ((begin, "begin"), (end, "end"))
    marked = [msgspec.structs.replace(alone(row), place=f"record {mark}", mark=mark) for row, mark in marks]
    judgements = judge_all(marked, Expected())
    assert [each.verdict for each in judgements] == ["verified", "verified"]
    assert [each.wh for each in judgements[1].energies] == [Decimal("1.9"), Decimal("1.8")]
    assert "does not cover which reading begins" in judgements[1].remarks[0]
    assert [each.verdict for each in judge_all(marked[::-1], Expected())] == ["reordered", "incomplete"]
    for names, verdict in (
        (("8866", "8866"), "verified"), (("8866", ""), "verified"), (("", "8866"), "verified"),
        (("8866", "8867"), "other_transaction"),
    ):  # fmt: skip
        named = [msgspec.structs.replace(each, name=one) for each, one in zip(marked, names, strict=True)]
        assert judge_all(named, Expected())[1].verdict == verdict
    assert judge(alone(begin), Expected()).remarks == ()  # without a mark there is nothing to doubt


def test_each_record_of_isa_repeats_the_begin_of_its_session() -> None:
    end, begin, other = of("ISA-EDL40")
    found = judge_all([alone(row) for row in (begin, begin, end)], Expected())
    assert [each.verdict for each in found] == ["verified"] * 3
    assert [len(each.energies) for each in found] == [0, 0, 1]
    assert [each.verdict for each in judge_all([alone(begin), alone(end)], Expected())] == ["verified"] * 2
    assert [each.verdict for each in judge_all([alone(begin), alone(other)], Expected())] == ["incomplete"] * 2


ALFEN_KEY = ec.derive_private_key(0xA1FE, ec.SECP192R1())

MENNEKES = (FOLDER / "mennekes.xml").read_text()


def judged_file(text: str) -> list[tuple[str, str]]:
    return [(each.verdict, each.reason) for each in judge_all(find_records(text.encode()), Expected())]


@pytest.mark.requirement("R196")
def test_begin_and_end_of_mennekes_xml_are_records_of_one_transaction() -> None:
    """Values and customer are those of the file, which the signatures confirm."""
    found = judge_all(find_records(MENNEKES.encode()), Expected())
    assert [(each.verdict, each.key_source) for each in found] == [("verified", "record")] * 2
    begin, end = (each.record for each in found)
    assert begin is not None
    assert end is not None
    assert (begin.page, end.page, begin.user, end.serials) == (25, 26, "874AD0FE", ("1EMH0006008367", SERVER))
    assert [(each.wh, each.direction, each.usable) for each in found[1].energies] == [
        (Decimal("141.9"), "import", True)
    ]
    assert "does not cover which reading begins" in found[1].remarks[0]


SERVER = "0901454D4800005BAE2F"


@together(
    ("old", "new", "verdicts"),
    [
        ("520535", "520536", ["incomplete", "invalid"]),
        ("65800</MeterStatus>\n                        <V", "65801</MeterStatus><V", ["invalid", "incomplete"]),
        (">26<", ">27<", ["incomplete", "invalid"]),
        ("12:26:45", "12:26:46", ["incomplete", "invalid"]),
        (">-1<", ">0<", ["invalid", "invalid"]),
        ("874AD0FE", "874AD0FF", ["invalid", "invalid"]),
        (SERVER, "0901454D4800005BAE30", ["invalid", "invalid"]),
        (">8<", ">9<", ["invalid", "invalid"]),
        ("74921", "many", ["incomplete", "unreadable"]),
        (SERVER, SERVER[:-2], ["unreadable", "unreadable"]),
        ("DA8F4B0CAB017B1A42C5EBDC", "", ["incomplete", "unreadable"]),
        ("6DACB9C5", "7DACB9C5", ["unreadable", "unreadable"]),
        ("MeasurementStart", "MeasurementOther", ["verified"]),
    ],
)  # fmt: skip
def test_no_value_of_mennekes_xml_can_be_changed(old: str, new: str, verdicts: list[str]) -> None:
    assert [verdict for verdict, _ in judged_file(MENNEKES.replace(old, new))] == verdicts


def test_xml_swapped_or_of_another_kind_is_named() -> None:
    swapped = MENNEKES.replace("MeasurementStart", "X").replace("MeasurementEnd", "MeasurementStart")
    assert [each for each, _ in judged_file(swapped.replace("X>", "MeasurementEnd>"))] == ["verified", "reordered"]
    for text, reason in (("<a/>", "XML of a"), ("<signedMeterValue/>", "encodedMeterValue is missing")):
        found = judged(text.encode())
        assert (found.verdict, reason in found.reason) == ("unreadable", True), found.reason
    found = judged(MENNEKES[MENNEKES.index("<ChargingProcess>") : MENNEKES.index("</ChargingProcesses>")].encode())
    assert (found.verdict, found.reason) == ("unreadable", "a ChargingProcess with 2 measurements")


def test_begin_and_end_as_signed_meter_values_are_one_transaction() -> None:
    """The first two are of an eHZ, by one customer; the last two of an eMOC."""
    values = [row for row in VALID if row["record"].startswith("<")]
    for begin, end, wh in ((0, 1, "1045.1"), (3, 4, "1.9")):
        marks: tuple[tuple[int, Mark], ...] = ((begin, "begin"), (end, "end"))
        marked = [msgspec.structs.replace(alone(values[at]), place=mark, mark=mark) for at, mark in marks]
        found = judge_all(marked, Expected())
        assert [each.verdict for each in found] == ["verified", "verified"]
        assert [each.wh for each in found[1].energies] == [Decimal(wh)]


def edl40(signature: int = 48, **octets: bytes) -> bytes:
    """Return a signedMeterValue of an eHZ that this key signs; octets of what is signed by their place."""
    data = bytearray(320)
    data[29] = 30
    for place, value in {"_23": bytes.fromhex("0100011100ff"), **octets}.items():
        data[int(place[1:]) : int(place[1:]) + len(value)] = value
    r, s = decode_dss_signature(ALFEN_KEY.sign(bytes(data), ec.ECDSA(SHA256())))
    raw = (r.to_bytes(24) + s.to_bytes(24)).ljust(signature, b"\0")[:signature]
    point = ALFEN_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    texts = [base64.b64encode(each).decode() for each in (point, raw, bytes(data))]
    names = ("publicKey", "meterValueSignature", "encodedMeterValue")
    parts = (f'<{name} encoding="base64">{text}</{name}>' for name, text in zip(names, texts, strict=True))
    return f"<signedMeterValue>{''.join(parts)}</signedMeterValue>".encode()


@pytest.mark.parametrize(
    ("octets", "fields"),
    [
        ({}, {"wh": Decimal(0), "page": 0, "session": "", "user": "", "curve": "secp192r1", "sealed_marks": False}),
        ({"_31": (2**40 + 7).to_bytes(8, "little"), "_30": b"\xff"}, {"wh": Decimal(2**40 + 7) / 10}),
        ({"_31": b"\x05", "_30": b"\x0c"}, {"wh": Decimal("5E12")}),
        ({"_31": b"\x05", "_30": b"\xf4"}, {"wh": Decimal("5E-12")}),
        ({"_19": b"\x03\x04"}, {"page": 1027}),
        ({"_41": b"\x04\xaa", "_169": b"\x01\x02"}, {"user": "04AA", "session": "513"}),
        ({"_169": b"\x01\x02"}, {"user": "", "session": ""}),
        ({"_0": b"\x0a\x01EMH\0\x00\x00\x00\x07"}, {"serials": ("1EMH0000000007", "0A01454D480000000007")}),
        ({"_0": b"\x0a\x01EMH\0\xff\x00\x00\x07"}, {"serials": ("1EMH00FF000007", "0A01454D4800FF000007")}),
        ({"_0": b"\x0a\x01E1H\0\x00\x00\x00\x07"}, {"serials": ("0A014531480000000007",)}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("signature", [48, 50])
def test_each_field_of_edl40_is_read(octets: dict[str, bytes], fields: dict[str, object], signature: int) -> None:
    found = judged(edl40(signature, **octets), key_of(ALFEN_KEY.public_key()))
    assert found.verdict == "verified"
    assert found.record is not None
    (reading,) = found.record.readings
    for name, value in fields.items():
        assert getattr(found.record if hasattr(found.record, name) else reading, name) == value, name


def test_an_end_of_another_transaction_of_the_same_customer_is_not_taken() -> None:
    """When the customer was identified is signed in both records of an eHZ."""
    begin, end, other = (
        FoundRecord(place=mark, data=edl40(_19=bytes([page]), _31=bytes([page]), _41=b"\x04", _169=since), mark=mark)
        for page, since, mark in ((1, b"\x01", "begin"), (5, b"\x01", "end"), (9, b"\x02", "end"))
    )
    known = Expected(keys=(key_of(ALFEN_KEY.public_key()),))
    assert [each.verdict for each in judge_all([begin, end], known)] == ["verified", "verified"]
    assert [each.verdict for each in judge_all([begin, other], known)] == ["verified", "other_transaction"]


@together(
    ("data", "verdict", "reason"),
    [
        (edl40(_29=b"\x1b"), "unreadable", "not in Wh"),
        (edl40(_30=b"\x0d"), "unreadable", "not in Wh"),
        (edl40(_30=b"\xf3"), "unreadable", "not in Wh"),
        (edl40(47), "unreadable", "a signature of 47 octets"),
        (edl40(_320=b"\0"), "unreadable", "encodedMeterValue has 321 octets"),
        (edl40().replace(b"AAAAAAAAAAAAAAAA", b""), "incomplete", "encodedMeterValue has"),
        (edl40().replace(b"publicKey", b"x"), "no_key", ""),
        (edl40().replace(b">AAAA", b">!AAA"), "unreadable", "encodedMeterValue is neither hex nor base64"),
    ],
)
def test_other_values_of_edl40_are_refused(data: bytes, verdict: str, reason: str) -> None:
    found = judge(FoundRecord(place="", data=data), Expected())
    assert (found.verdict, reason in found.reason) == (verdict, True), found.reason


def test_data_sealed_by_rsa_is_unsupported_not_unreadable() -> None:
    """The first octets of a published sample, whose format is called OCMF."""
    found = judged(b"3082034F060A2B0601040183D677010102010160323030060B2B0601040181AA74040301A0")
    assert (found.verdict, "seal" in found.reason) == ("unsupported", True)


def alfen_pair() -> tuple[dict[str, str], dict[str, str]]:
    begin, end = of("ALFEN")
    return begin, end


def alfen(kind: str = "1", version: str = "3", key: str = "", **octets: bytes) -> bytes:
    """Return a record of Alfen that this key signs; octets of its data set by their place."""
    data = bytearray(82)
    data[44], data[45] = 30, 0xFF
    for place, value in {"_34": (1_542_984_061).to_bytes(4, "little"), **octets}.items():
        data[int(place[1:]) : int(place[1:]) + len(value)] = value
    r, s = decode_dss_signature(ALFEN_KEY.sign(bytes(data), ec.ECDSA(SHA256())))
    point = ALFEN_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    fields = (point, bytes(data), r.to_bytes(24) + s.to_bytes(24))
    texts = [base64.b32encode(each).decode() for each in fields]
    return f"AP;{kind};{version};{key or texts[0]};{texts[1]};{texts[2]};".encode()


@pytest.mark.parametrize(
    ("octets", "fields"),
    [
        ({}, {"wh": Decimal(0), "mark": "end", "page": 0, "session": "0", "user": ""}),
        ({"_46": (2**40 + 7).to_bytes(8, "little")}, {"wh": Decimal(2**40 + 7) / 10}),
        ({"_45": b"\x03", "_46": b"\x05"}, {"wh": Decimal(5000)}),
        ({"_45": b"\xf4", "_46": b"\x05"}, {"wh": Decimal("5E-12")}),
        ({"_45": b"\x0c", "_46": b"\x05"}, {"wh": Decimal("5E12")}),
        ({"_54": b"04AA", "_74": b"\x01\x02", "_78": b"\x03\x04"}, {"user": "04AA", "session": "513", "page": 1027}),
        ({"_54": b"\x04\xaa"}, {"user": "04AA"}),
        ({"_54": b"\x04\x0a"}, {"user": "040A"}),
        ({"_54": b"\xc3\xa4"}, {"user": "C3A4"}),
        ({"_38": bytes.fromhex("0100010800ff")},
         {"register": "0100010800FF", "direction": "import", "utc_ms": 1_542_984_061_000}),
        ({"_0": bytes(range(10)), "_16": b"\x0a\x01EMH\0\x00\x00\x00\x07"},
         {"serials": ("1EMH0000000007", "0A01454D480000000007", "00010203040506070809")}),
        ({"_34": b"\xff\xff\xff\xff"}, {"utc_ms": 4_294_967_295_000}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["2", "3"])
def test_each_field_of_alfen_is_read(octets: dict[str, bytes], fields: dict[str, object], version: str) -> None:
    found = judged(alfen(version=version, **octets), key_of(ALFEN_KEY.public_key()))
    assert found.verdict == "verified"
    assert found.record is not None
    assert not found.record.sealed_marks
    (reading,) = found.record.readings
    for name, value in fields.items():
        assert getattr(found.record if hasattr(found.record, name) else reading, name) == value, name


@pytest.mark.parametrize(("kind", "mark"), [("0", "begin"), ("1", "end"), ("2", "")])
def test_the_type_of_alfen_is_the_mark(kind: str, mark: str) -> None:
    record = read_alfen(alfen(kind))
    assert (record.readings[0].mark, record.readings[0].transaction) == (mark, kind)


@together(
    ("data", "reason"),
    [
        (alfen(_44=b"\x1b"), "not in Wh"),
        (alfen(_45=b"\x0d"), "not in Wh"),
        (alfen(_45=b"\xf3"), "not in Wh"),
        (alfen(key="AAAA"), "the record's public key"),
        (alfen(_81=b"\0\0"), "a data set of 83 octets"),
        (alfen().replace(b"=;", b"=?;", 1), "the data set is not base32"),
    ],
)
def test_other_values_of_alfen_are_unreadable(data: bytes, reason: str) -> None:
    found = judged(data)
    assert (found.verdict, reason in found.reason) == ("unreadable", True), found.reason


def test_records_of_alfen_belong_together_by_their_session() -> None:
    keys = tuple(read_key(row["record"].split(";")[3]) for row in alfen_pair())
    found = judge_all([alone(row) for row in alfen_pair()], Expected(keys=keys))
    assert [(each.verdict, each.key_source) for each in found] == [("verified", "given")] * 2
    assert [each.wh for each in found[1].energies] == [Decimal(2)]


def test_a_transaction_that_begins_twice_has_no_energy() -> None:
    """Which of two readings of one session began it cannot be told."""
    readings = (("0", 1), ("0", 2), ("1", 3))
    found = judge_all(
        [FoundRecord(place="", data=alfen(kind, _46=bytes([at]), _78=bytes([at]))) for kind, at in readings], Expected()
    )
    assert [(each.verdict, each.energies) for each in found] == [("verified", ())] * 3


def test_the_type_of_alfen_counts_more_than_the_mark_of_the_file() -> None:
    found = judge(FoundRecord(place="", data=alfen("0"), mark="end"), Expected()).record
    assert found is not None
    assert found.marks == {"begin"}


def changed_sml(text: str, at: int, change: int) -> bytes:
    """A file of SML with one octet changed and its checksum fitted."""
    octets = bytearray(bytes.fromhex(text))
    octets[8 + at % (len(octets) - 16)] ^= change
    return bytes(octets[:-2]) + crc16(bytes(octets[:-2])).to_bytes(2, "little")


@given(row=st.sampled_from(of("EDL40") + of("ISA-EDL40")), at=st.integers(0, 2000), change=st.integers(1, 255))
def test_no_octet_of_sml_can_be_changed_unless_it_is_not_signed(row: dict[str, str], at: int, change: int) -> None:
    """What is signed is put together from values: changes of other octets leave the record as it was."""
    whole = judge(alone(row), Expected()).record
    assert whole is not None
    key = read_key(row["public_key"])
    found = judged(changed_sml(row["record"], at, change), key)
    if found.verdict == "verified":
        assert found.record == whole
    else:
        assert found.verdict in ("invalid", "unreadable", "incomplete")


@given(row=st.sampled_from(of("ALFEN")), share=st.floats(0, 1, exclude_max=True), letter=st.sampled_from("ABCXYZ27"))
def test_no_letter_of_alfens_data_set_or_signature_can_be_changed(
    row: dict[str, str], share: float, letter: str
) -> None:
    fields = row["record"].split(";")
    key = read_key(fields[3])
    start = len(";".join(fields[:4])) + 1
    at = start + int(share * (len(row["record"]) - start))
    if row["record"][at] in (letter, ";", "="):
        return
    text = row["record"][:at] + letter + row["record"][at + 1 :]
    assert judged(text.encode(), key).verdict in ("invalid", "unreadable", "incomplete")


@pytest.mark.parametrize(("word", "state"), [("(BV:1)", "G"), ("(BV:0)", "E"), ("", "E")])
def test_a_value_of_pcdf_is_valid_where_its_record_says_so(word: str, state: str) -> None:
    text = of("PCDF")[0]["record"]
    assert "(BV:1)" in text
    found = read_pcdf(text.replace("(BV:1)", word).encode())
    assert {each.state for each in found.readings} == {state}


@pytest.mark.parametrize(("word", "mark"), [("(SP:1)", "end"), ("(SP:0)", ""), ("", "")])
def test_only_the_last_record_of_pcdf_is_a_transactions_end(word: str, mark: str) -> None:
    text = of("PCDF")[0]["record"]
    assert "(SP:1)" in text
    found = read_pcdf(text.replace("(SP:1)", word).encode())
    assert (found.readings[-1].mark, bool(found.remarks)) == (mark, not mark)


@given(row=st.sampled_from(of("PCDF")), share=st.floats(0, 1, exclude_max=True), letter=st.sampled_from("0123456789a("))
def test_no_letter_of_pcdf_can_be_changed(row: dict[str, str], share: float, letter: str) -> None:
    text = row["record"]
    key = read_key(text.split("(PK:")[1].split(")")[0])
    at = int(share * len(text))
    if text[at] == letter:
        return
    assert judged((text[:at] + letter + text[at + 1 :]).encode(), key).verdict != "verified"


@pytest.mark.parametrize("row", VALID, ids=IDS[: len(VALID)])
def test_a_record_that_is_cut_is_incomplete_or_unreadable(row: dict[str, str]) -> None:
    text = row["record"].strip()
    for share in range(1, 20):
        found = judge(
            FoundRecord(place="", data=text[: len(text) * share // 20].encode(), key=row["public_key"]), Expected()
        )
        assert found.verdict in ("incomplete", "unreadable"), found


@together(
    ("data", "verdict", "reason"),
    [
        (b"<ChargingProcess><ServerId>", "incomplete", "not well-formed"),
        (b"<ChargingProcess><x></ChargingProcess>", "unreadable", "not well-formed"),
        (b"AP;0;3;A", "incomplete", "4 fields instead of 6"),
        (b"AP;0;3;A;B;C;D", "unreadable", "7 fields instead of 6"),
        (b"AP;9;3;A;B;C;", "unreadable", "type or version"),
        (b"AP;0;9;A;B;C;", "unreadable", "type or version"),
        (b"AP;0;3;A;1;C;", "unreadable", "data set is not base32"),
        (b"AP;0;3;A;AAAAAAAA;B;", "unreadable", "signature is not base32"),
        (b"AP;0;3;A;AAAAAAAA;AAAAAAAA;", "incomplete", "5 octets"),
        (b"128.8.0(ST:1", "incomplete", "row of"),
        (b"128.8.0(ST:1)x(SG:00)", "unreadable", "row of"),
        (b"128.8.0(ST:1)(ST:1)(SG:00)", "unreadable", "stands twice"),
        (b"128.8.0(ST:1)", "incomplete", "does not end with its signature"),
        (b"128.8.0(ST:1)(SG:00)", "incomplete", "no RV"),
        (b"128.8.0(RV:1)(SI:a)(HW:1)(PK:00)(SG:00)", "unreadable", "RV: '1'"),
        (b"128.8.0(RV:1*kWh)(SI:a)(HW:1)(PK:00)(SG:00)", "unreadable", "SI: 'a'"),
        (b"128.8.0(RV:1*kWh)(SI:a*1*b)(HW:1)(PK:00)(SG:00)", "unreadable", "PK or SG"),
        (b"128.8.0(\xff)(SG:00)", "unreadable", "not UTF-8"),
        (b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01", "incomplete", "no end"),
        (b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01\x1b\x1b\x1b\x1b\x1a\x00\x00\x00", "unreadable", "checksum"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(data: bytes, verdict: str, reason: str) -> None:
    found = judged(data)
    assert (found.verdict, reason in found.reason) == (verdict, True), found.reason


@pytest.mark.parametrize("read", [read_alfen, read_pcdf, read_edl40, read_edl40_xml])
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_octets_are_a_record_or_the_one_error(read: Callable[[bytes], Record], data: bytes) -> None:
    for octets in (
        data,
        b"AP;" + data,
        b"128.8.0" + data,
        SML + data,
        b"<ChargingProcess>" + data + b"</ChargingProcess>",
    ):
        try:
            assert read(octets).signed
        except RecordError as error:
            assert str(error).isprintable()  # noqa: PT017 - any octets may be refused, none must be
