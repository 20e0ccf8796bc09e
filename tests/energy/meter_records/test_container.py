"""Where records are found: text, XML of the transparency software, OCPP messages of any version."""

import base64
import contextlib
import csv
import io
import json
from html import escape
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.energy.meter_records.signed_records import OCMF
from tests.together import together
from v2g.energy.meter_records.container import MOST_FILE, FoundRecord, carried, find_records
from v2g.energy.meter_records.judge import Expected, judge
from v2g.energy.meter_records.keys import read_key
from v2g.energy.settlement.ocmf import transparency_file
from v2g.errors import CodecError, RecordError

TEXT = OCMF[0]["record"]
PRETTY = TEXT.replace(",", ",\n ")
KEY = OCMF[0]["public_key_as_given"]
OCPP_KEY = base64.b64encode(f"oca:base16:asn1:{KEY}".encode()).decode()
ENCODED = 'encoding="base64"'
BASE64 = base64.b64encode(TEXT.encode()).decode()


def value(data: str, key: str = KEY, attributes: str = "", format_: str = 'format="OCMF" encoding="plain"') -> str:
    return (
        f"<value {attributes}><signedData {format_}>{escape(data, quote=False)}</signedData>"
        f'<publicKey encoding="hex">{key}</publicKey></value>'
    )


def verdicts(data: str | bytes) -> list[str]:
    octets = data.encode() if isinstance(data, str) else data
    return [judge(each, Expected()).verdict for each in find_records(octets)]


@together(
    "data",
    [
        f"<values>{value(TEXT)}</values>",
        f'<?xml version="1.0" encoding="UTF-8"?>\r\n<values>\r\n {value(f"  {TEXT}  ")}</values>\r\n',
        f'<v:values xmlns:v="urn:x">{value(TEXT).replace("<", "<v:").replace("<v:/", "</v:")}</v:values>',
        f"<values>{value(BASE64, format_=ENCODED)}</values>",
        f"<values>{value(TEXT.encode().hex())}</values>",
        json.dumps({"signedMeterData": BASE64, "encodingMethod": "OCMF", "signingMethod": "", "publicKey": KEY}),
        json.dumps({"signedMeterValue": BASE64, "encodingMethod": "OCMF", "publicKey": KEY}, indent=1),
        json.dumps([{"a": {"signedMeterData": TEXT, "publicKey": OCPP_KEY}}]),
        json.dumps([{"id": "1", "signed_data": {"encoding_method": "OCMF", "public_key": KEY, "signed_values": [
            {"nature": "End", "plain_data": TEXT.split("|")[1], "signed_data": BASE64}]}}]),
        json.dumps([{"session_id": "3c04e06ad1c07ba9", "charging_periods": [
            {"dimensions": [{"type": "PARKING_TIME", "volume": 1}]}],
            "signed_data": {"public_key": KEY, "signed_values": [{"signed_data": BASE64}]}}]),
        json.dumps([2, "1", "StopTransaction", {"transactionData": [{"sampledValue": [
            {"format": "SignedData", "value": json.dumps({"signedMeterData": BASE64, "publicKey": KEY})}
        ]}]}]),
        json.dumps([2, "1", "TransactionEvent", {"meterValue": [{"sampledValue": [
            {"value": 1, "signedMeterValue": {"signedMeterData": BASE64, "publicKey": KEY}}
        ]}]}]),
        json.dumps({"record": TEXT, "public_key_as_given": KEY}),
        json.dumps({"value": BASE64, "format": "SignedData", "publicKey": KEY}),
        f"<values>{value(TEXT)}</values>".encode("utf-16"),
        f"<?xml version='1.0' encoding='ISO-8859-1'?><values><note>ä</note>{value(TEXT)}</values>".encode("latin-1"),
        f'<?xml version="1.0" encoding="windows-1252"?><values><note>€</note>{value(TEXT)}</values>'.encode("cp1252"),
        f"{TEXT}|{KEY}".encode("utf-16"),
        json.dumps(f"{TEXT}|{KEY}"),
        json.dumps({"reading": BASE64, "publicKey": KEY, "note": "<p>QUFBQQ==</p>"}),
        json.dumps(base64.b64encode(f"{TEXT}|{KEY}".encode()).decode()),
        f"{base64.b64encode(f'{TEXT}|{KEY}'.encode()).decode()}\0\r\n",
    ],
)  # fmt: skip
def test_a_record_and_its_key_are_found_in_any_wrapping(data: str | bytes) -> None:
    assert verdicts(data) == ["verified"]


def test_files_have_several_records() -> None:
    both = [OCMF[0], OCMF[1]]
    xml = "".join(
        value(row["record"], row["public_key_as_given"], 'transactionId="7" context="Transaction.End"') for row in both
    )
    found = find_records(f"<values>{xml}</values>".encode())
    assert [(each.place, each.mark, each.name) for each in found] == [
        ("record 1", "end", "7"),
        ("record 2", "end", "7"),
    ]
    lines = "\n".join(
        json.dumps({"signedMeterData": row["record"], "publicKey": row["public_key_der"]}) for row in both
    )
    assert verdicts(lines) == ["verified"] * 2
    for joint in ("\n", "\r\n\r\n", "\n   "):
        plain = find_records(joint.join(row["record"] for row in both).encode())
        assert [each.data.strip().decode() for each in plain] == [row["record"] for row in both]
    assert len(find_records(f"{PRETTY}\n{PRETTY}".encode())) == 2
    assert len(find_records(f"{BASE64}\n{BASE64}\n".encode())) == 2
    assert len(find_records(base64.encodebytes(TEXT.encode()))) == 1


def test_a_value_without_a_record_leaves_the_others() -> None:
    assert verdicts(f"<values><value/>{value(TEXT)}</values>") == ["unreadable", "verified"]


def test_our_own_file_for_the_transparency_software_is_read() -> None:
    assert verdicts(transparency_file([TEXT], bytes.fromhex(KEY))) == ["verified"]


@together(
    ("data", "reason"),
    [
        (b"<values/>", "no signed record"),
        (b"<values><value/></values>", "no signed record"),
        (b"<value/>", "root is value"),
        (b"<values>", "not well-formed"),
        (b"<values>\xe4</values>", "not UTF-8"),
        (b"<!DOCTYPE x><values/>", "document type"),
        (b"{}", "no signed record"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"{}" * 20_000, "no signed record"),
        (b" " * (MOST_FILE + 1), "octets of signed records"),
    ],
)
def test_files_without_records_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(CodecError, match=reason):
        find_records(data)


def within(record: str) -> dict[str, str]:
    """What people have, with a record in it."""
    message = [2, "1", "MeterValues", {"meterValue": [{"sampledValue": [{"format": "SignedData", "value": record}]}]}]
    table = io.StringIO()
    csv.writer(table).writerows([["station", "record"], ["CS1", record]])
    return {
        "log": f"start\n2026-05-01T10:00:00.123Z INFO  {record}\n2026-05-01T10:00:01Z end\n",
        "log in brackets": f"[2026-05-01 10:00:00] [ocpp] > {record}\r\n",
        "syslog": f'<13>May  1 10:00:00 cs1 meter: "{record}" stored',
        "log of messages": f"2026-05-01 10:00:00 send {json.dumps(message)}\n",
        "log of messages in JSON": f"{json.dumps({'at': 1, 'text': f'send {json.dumps(message)}'})}\n",
        "text of JSON": json.dumps({"text": f"signed: {record}"}),
        "table": table.getvalue(),
        "XML": f"<transaction><meter><ocmf>{escape(record)}</ocmf></meter></transaction>",
        "attribute": f"<transaction ocmf={quoteattr(record)}/>",
        "XML in a log": f"10:00:00 <ocmf>{escape(record)}</ocmf>",
    }


@pytest.mark.parametrize("form", within(TEXT))
def test_genuine_records_are_found_within_other_text(form: str, subtests: pytest.Subtests) -> None:
    for row in OCMF:
        with subtests.test(row["record"]):
            (found,) = find_records(within(row["record"])[form].encode())
            expected = Expected(keys=(read_key(row["public_key_der"]),))
            assert judge(found, expected).verdict == "verified"
            assert len(find_records((within(row["record"])[form] + "\n").encode() * 2)) == 2 or form in ALONE


ALONE = ("text of JSON", "XML", "attribute")
"""Not well-formed if they stand twice."""


def test_a_record_that_is_cut_within_a_log_is_named_beside_the_others() -> None:
    log = f"10:00:00 {TEXT}|{KEY}\n10:00:01 {TEXT[:-40]}\n10:00:02 {TEXT}|{KEY}\n"
    assert verdicts(log) == ["verified", "incomplete", "verified"]


@together("data", [b"", b"x", b"00", b"T0NNRg==", b"OCM", b"\xff\xff", b"OCMF"])
def test_octets_of_no_format_are_said_to_be_so(data: bytes) -> None:
    assert judge(FoundRecord(place="", data=data), Expected()).verdict == "unreadable"


@pytest.mark.parametrize(
    "written",
    [
        TEXT,
        BASE64,
        TEXT.encode().hex(),
        base64.b64encode(BASE64.encode()).decode(),
        base64.b32encode(TEXT.encode()).decode(),
    ],
)
def test_octets_are_carried_in_any_encoding(written: str) -> None:
    assert carried(f" {written}\r\n".encode()) == TEXT.encode()


def test_a_record_in_base64_has_one_spelling() -> None:
    """Bits that do not count may not be set: the message would be another one with the same record."""
    octets = TEXT.encode() + b" " * (-len(TEXT) % 3 + 2)
    text = base64.b64encode(octets).decode()
    assert text.endswith("=")
    other = text[:-2] + chr(ord(text[-2]) + 1) + "="
    assert base64.b64decode(other) == octets
    with pytest.raises(RecordError):
        carried(other.encode())


@given(
    data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
    start=st.sampled_from(
        [b"", b"<values>", b"{", b"OCMF|", b"x OCMF|{", b'x OCMF|{""', b'x OCMF|{\\"', b"x OCMF|{&#34;"]
    ),
)
def test_any_octets_are_records_or_the_one_error(data: bytes, start: bytes) -> None:
    with contextlib.suppress(CodecError):
        for each in find_records(start + data):
            assert judge(each, Expected()).verdict != "verified"
