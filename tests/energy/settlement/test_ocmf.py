"""OCMF data sets, checked by an independent library."""

import base64
import json
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from pyocmf import OCMF, OcmfContainer

from pki_tools.tree import PkiTree
from tests.meter_keys import printed_public_key
from tests.together import together
from v2g.energy.settlement import ocmf
from v2g.errors import CodecError, SignatureError
from v2g.pki.keys import SoftwareKey

KEY = SoftwareKey(ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1()))
PUBLIC = KEY.public_key
assert isinstance(PUBLIC, ec.EllipticCurvePublicKey)
IDENTITY = ocmf.MeterIdentity(
    meter_serial="METER-0001",
    meter_vendor="V2G Engine",
    gateway="V2G-ENGINE",
    gateway_serial="CS-1",
    gateway_version="1",
)
ASSIGNMENT = ocmf.Assignment(emaid="DEV2GC00000001", evse_id="DE*V2G*E0001")


def data_set(direction: str = "import", **changed: object) -> str:
    arguments: dict[str, object] = {
        "begin": ocmf.Reading(1_800_000_000_123, 5),
        "end": ocmf.Reading(1_800_003_600_000, 12_345_678, "R"),
        "identity": IDENTITY,
        "assignment": ASSIGNMENT,
        "pagination": 7,
        "key": KEY,
    }
    return ocmf.sign_session(direction, **(arguments | changed))  # type: ignore[arg-type]


def spki(key: ec.EllipticCurvePublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der.hex()


@given(
    direction=st.sampled_from(("import", "export")),
    begin=st.integers(0, 10**12),
    more=st.integers(0, 10**12),
    utc_ms=st.integers(0, 4 * 10**12),
)
def test_an_independent_library_reads_and_verifies_what_the_meter_signed(
    direction: str, begin: int, more: int, utc_ms: int
) -> None:
    """To the mWh and the ms."""
    text = data_set(
        direction,
        begin=ocmf.Reading(utc_ms, begin),
        end=ocmf.Reading(utc_ms + 1, begin + more, "I"),
        end_reason="R",
    )
    theirs = OCMF.from_string(text)
    assert theirs.verify_signature(spki(PUBLIC))
    first, last = theirs.payload.RD
    assert [int(rd.RV * 10**6) for rd in (first, last)] == [begin, begin + more]
    assert str(first.RI).startswith({"import": "1-0:1.8.0", "export": "1-0:2.8.0"}[direction])
    assert round(first.TM.timestamp.timestamp() * 1000) == utc_ms
    ours = ocmf.verify(text, PUBLIC)
    assert (ours.direction, ours.begin.register_mwh, ours.end.register_mwh) == (direction, begin, begin + more)
    assert (ours.begin.utc_ms, ours.end.utc_ms, ours.end.clock) == (utc_ms, utc_ms + 1, "I")
    assert (ours.pagination, ours.end_reason) == ("T7", "R")


def test_an_independent_reader_of_the_transparency_softwares_file_verifies_both_directions(tmp_path: Path) -> None:
    """Its rules of the calibration law have no register of energy fed back, so only those of import apply."""
    identity = msgspec.structs.replace(IDENTITY, meter_vendor="M<&>")
    sets = [data_set("import", identity=identity), data_set("export", identity=identity, pagination=8)]
    file = tmp_path / "ocmf.xml"
    file.write_text(ocmf.transparency_file(sets, bytes.fromhex(spki(PUBLIC))))
    assert "  </value>\n  <value>\n" in file.read_text()
    records = OcmfContainer.from_xml(file, strict=True)
    assert [record.verify_signature() for record in records] == [True, True]
    assert [str(record.ocmf.payload.RD[0].RI)[:9] for record in records] == ["1-0:1.8.0", "1-0:2.8.0"]
    bought, fed_back = records.check_eichrecht()
    assert bought.is_compliant
    assert {issue.code.value for issue in fed_back.issues} == {"BEGIN_TX", "END_TX"}


def test_a_data_set_says_who_measured_where_and_for_whom() -> None:
    """The fields that a transparency software shows."""
    payload = json.loads(data_set().split("|")[1])
    assert (payload["FV"], payload["PG"], payload["MS"]) == ("1.2", "T7", "METER-0001")
    assert (payload["IS"], payload["IL"], payload["IT"], payload["ID"]) == (True, "SECURE", "EMAID", "DEV2GC00000001")
    assert (payload["CT"], payload["CI"]) == ("EVSEID", "DE*V2G*E0001")
    assert [(rd["TX"], rd["RU"], rd["RT"], rd["ST"]) for rd in payload["RD"]] == [
        ("B", "kWh", "DC", "G"),
        ("E", "kWh", "DC", "G"),
    ]
    anonymous = json.loads(data_set(assignment=ocmf.Assignment(emaid=None, evse_id="E")).split("|")[1])
    assert (anonymous["IS"], anonymous["IL"], anonymous["IT"]) == (False, "NONE", "NONE")
    assert ocmf.verify(data_set(assignment=ocmf.Assignment(emaid=None, evse_id="E")), PUBLIC).emaid is None


TEXT = data_set()
PAYLOAD_END = TEXT.index("|", 5)


@given(position=st.integers(5, PAYLOAD_END - 1), char=st.characters(min_codepoint=32, max_codepoint=126))
def test_no_character_of_the_payload_can_be_changed(position: int, char: str) -> None:
    """Not even to another way of writing the same."""
    edited = TEXT[:position] + char + TEXT[position + 1 :]
    if edited == TEXT:
        return
    with pytest.raises((SignatureError, CodecError)):
        ocmf.verify(edited, PUBLIC)


@given(text=st.text(max_size=200) | st.text(max_size=100).map(lambda t: f"OCMF|{t}|{{}}"))
def test_garbage_is_no_data_set(text: str) -> None:
    """The two documented errors."""
    with pytest.raises((SignatureError, CodecError)):
        ocmf.verify(text, PUBLIC)


def test_a_foreign_key_and_a_wrong_method_are_found() -> None:
    """By the signature, and by what the data set claims of it."""
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(SignatureError, match="does not match"):
        ocmf.verify(TEXT, other)
    with pytest.raises(SignatureError, match="not the method"):
        ocmf.verify(TEXT, ec.generate_private_key(ec.SECP384R1()).public_key())
    with pytest.raises(SignatureError, match="secp256r1"):
        data_set(key=SoftwareKey(ec.generate_private_key(ec.SECP521R1())))


def test_data_sets_of_other_meters_on_other_curves_are_verified_too() -> None:
    """Base64 and secp384r1, as the format allows."""
    key = ec.generate_private_key(ec.SECP384R1())
    payload = TEXT.split("|")[1]
    signature = base64.b64encode(key.sign(payload.encode(), ec.ECDSA(hashes.SHA256()))).decode()
    section = json.dumps({"SA": "ECDSA-secp384r1-SHA256", "SE": "base64", "SD": signature})
    assert ocmf.verify(f"OCMF|{payload}|{section}", key.public_key()).direction == "import"


def signed(payload: str) -> str:
    raw = KEY.sign(payload.encode())
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    return f'OCMF|{payload}|{{"SA":"ECDSA-secp256r1-SHA256","SD":"{der.hex()}"}}'


@together(
    ("old", "new"),
    [
        ('"RV":0.000005', '"RV":"NaN"'),
        ('"RV":0.000005', '"RV":"Infinity"'),
        ('"RV":12.345678', '"RV":1000000000000'),
        ('"RV":0.000005', '"RV":0.0000055'),
        ('"RV":0.000005', '"RV":1E+999999999'),
        ('"RV":0.000005', '"RV":-0.000005'),
        ('"RV":0.000005', '"RV":1E+12'),
        ('"TX":"B"', '"TX":"C"'),
        ('"TX":"E"', '"TX":"X"'),
        ('"TX":"E"', '"TX":""'),
        ('"TX":"E"', '"TX":"EL"'),
        ('"ST":"G"', '"ST":"F"'),
        ('"EF":""', '"EF":"E"'),
        ('"RU":"kWh"', '"RU":"Wh"'),
        ('"RI":"1-0:1.8.0"', '"RI":"1-0:16.7.0"'),
        ("2027-01-15T", "2027-13-15T"),
    ],
)
def test_a_reading_that_cannot_be_settled_is_refused_though_the_meter_signed_it(old: str, new: str) -> None:
    """Faulty, interpolated, of another register, of an impossible date or out of reach."""
    payload = TEXT.split("|")[1]
    assert old in payload
    with pytest.raises(CodecError):
        ocmf.verify(signed(payload.replace(old, new)), PUBLIC)


@together(
    ("written", "mwh"),
    [
        ("0", 0),
        ("0E+12", 0),
        ("12", 12_000_000),
        ("12.3456780", 12_345_678),
        ("1E+11", 10**17),
        ("999999999999.999999", 10**18 - 1),
        ("0.5", 500_000),
        ('" 0.50 "', 500_000),
    ],
)
def test_a_register_may_be_written_in_any_way_that_is_a_number_of_mwh(written: str, mwh: int) -> None:
    payload = TEXT.split("|")[1].replace('"RV":12.345678', f'"RV":{written}')
    assert ocmf.verify(signed(payload), PUBLIC).end.register_mwh == mwh


def changed(*readings: dict[str, object]) -> str:
    """A data set of other readings, each a copy of the first with changes."""
    payload = json.loads(TEXT.split("|")[1])
    return signed(json.dumps(payload | {"RD": [payload["RD"][0] | each for each in readings]}))


EXPORT = {"RI": "1-0:2.8.0"}


@together(
    "readings",
    [
        [{"TX": "B"}],
        [{"TX": "B"}, {"TX": "C"}, {"TX": "E"}],
        [{"TX": "B"}, {"TX": "E"}, {"TX": "E"}],
        [{"TX": "E"}, {"TX": "B"}],
        [{"TX": "B"}, {"TX": "E"} | EXPORT],
        [{"TX": "B"} | EXPORT, {"TX": "E"}],
        [{"TX": "B", "RI": "1-0:16.7.0"}, {"TX": "E", "RI": "1-0:16.7.0"}],
    ],
)
def test_a_session_is_one_begin_and_one_end_of_one_register(readings: list[dict[str, object]]) -> None:
    assert ocmf.verify(changed({"TX": "B"} | EXPORT, {"TX": "E"} | EXPORT), PUBLIC).direction == "export"
    with pytest.raises(CodecError, match=r"one begin and one end|one register"):
        ocmf.verify(changed(*readings), PUBLIC)


def test_a_meter_need_not_know_its_evse() -> None:
    payload = json.loads(TEXT.split("|")[1])
    del payload["CI"]
    assert ocmf.verify(signed(json.dumps(payload)), PUBLIC).evse_id == ""


def test_readings_of_energy_are_taken_from_any_data_set() -> None:
    """Registers with a store of their own (`*`), and no powers."""
    text = changed({"TX": "C", "RI": "1-0:1.8.0*198"}, {"TX": "C", "RI": "1-0:16.7.0"}, {"TX": "E", "RV": 7} | EXPORT)
    assert ocmf.signed_readings(text, PUBLIC) == (
        ocmf.SignedReading("import", "C", ocmf.Reading(1_800_000_000_123, 5)),
        ocmf.SignedReading("export", "E", ocmf.Reading(1_800_000_000_123, 7_000_000)),
    )
    with pytest.raises(SignatureError):
        ocmf.signed_readings(text, ec.generate_private_key(ec.SECP256R1()).public_key())


@together(
    ("state", "errors", "good", "settled"),
    [
        ("G", "", True, True),
        ("G", "t", False, True),
        ("G", "E", False, False),
        ("G", "Et", False, False),
        ("S", "", False, True),
        ("X", "E", False, True),
        ("X", "Et", False, True),
        ("M", "", False, False),
        ("M", "t", False, False),
    ],
)
def test_a_session_begins_and_ends_with_readings_whose_energy_counts(
    state: ocmf.MeterState, errors: ocmf.Errors, good: bool, settled: bool
) -> None:
    """A substitute, a reading after a reset, or one of a wrong time may settle, but only a good one is billed alone."""
    reading = ocmf.Reading(0, 0, state=state, errors=errors)
    assert (reading.good, reading.settled) == (good, settled)
    written: dict[str, object] = {"ST": state, "EF": errors}
    for text in (
        changed({"TX": "B"} | written, {"TX": "E"}),
        changed({"TX": "B"}, {"TX": "E", "EF": "", "ST": "G"} | written),
    ):
        if settled:
            found = ocmf.verify(text, PUBLIC)
            assert (state, errors) in [(each.state, each.errors) for each in (found.begin, found.end)]
        else:
            with pytest.raises(CodecError, match="not a good reading"):
                ocmf.verify(text, PUBLIC)


@pytest.mark.parametrize("field", [{"ST": "Q"}, {"ST": None}, {"EF": "Z"}, {"EF": "tt"}])
def test_a_status_that_the_format_does_not_have_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(CodecError, match="a known status"):
        ocmf.signed_readings(changed({"TX": "C"} | field), PUBLIC)


def test_a_data_set_may_lack_method_and_serial() -> None:
    """The method is then that of secp256r1."""
    payload = json.loads(TEXT.split("|")[1])
    del payload["MS"]
    text = signed(json.dumps(payload)).replace('"SA":"ECDSA-secp256r1-SHA256",', "")
    assert ocmf.verify(text, PUBLIC).meter_serial == ""
    with pytest.raises(SignatureError, match="secp256r1 is not the method of a secp384r1 key"):
        ocmf.verify(text, ec.generate_private_key(ec.SECP384R1()).public_key())
    with pytest.raises(CodecError):
        ocmf.verify("OCMF|\ud800|{}", PUBLIC)


def test_a_settled_reading_has_energy_and_a_known_clock() -> None:
    for wrong in ({"RU": "mOhm"}, {"RV": None}):
        for both in (({"TX": "B"}, {"TX": "E"} | wrong), ({"TX": "B"} | wrong, {"TX": "E"})):
            with pytest.raises(CodecError, match="one register"):
                ocmf.verify(changed(*both), PUBLIC)
    assert ocmf.signed_readings(changed({"TX": "C", "RV": None}), PUBLIC) == ()
    with pytest.raises(CodecError, match="a known status"):
        ocmf.verify(changed({"TX": "B", "TM": "2027-01-15T08:00:00,000+0000 Q"}, {"TX": "E"}), PUBLIC)


def test_what_a_reading_leaves_out_is_nothing() -> None:
    """Without an error there is none, without a reason there is none; without a register it is of no energy."""
    text = changed({"TX": None, "EF": None})
    assert ocmf.signed_readings(text, PUBLIC) == (ocmf.SignedReading("import", "", ocmf.Reading(1_800_000_000_123, 5)),)
    assert ocmf.signed_readings(changed({"RI": None}), PUBLIC) == ()


def test_three_sections_of_which_the_first_is_a_name() -> None:
    for text in (TEXT + "|", TEXT.rpartition("|")[0], TEXT.replace("OCMF", "OCMG"), "OCMF|" + TEXT):
        with pytest.raises(CodecError, match=r"not OCMF\|payload\|signature"):
            ocmf.verify(text, PUBLIC)


def test_a_data_set_of_any_meter_is_read_up_to_120_000_characters() -> None:
    payload = TEXT.split("|")[1]
    room = 120_000 - len(signed(payload)) - 1
    for blanks in range(room - 8, room + 8):  # a signature has some bytes more or less
        text = signed(payload[:-1] + " " * blanks + "}")
        if len(text) > 120_000:
            with pytest.raises(CodecError, match=f"an OCMF data set of {len(text)} characters"):
                ocmf.verify(text, PUBLIC)
        else:
            ocmf.verify(text, PUBLIC)


@together(
    ("curve", "method"),
    [
        (ec.SECP192R1(), "ECDSA-secp192r1-SHA256"),
        (ec.SECP256K1(), "ECDSA-secp256k1-SHA256"),
        (ec.SECP256R1(), "ECDSA-secp256r1-SHA256"),
        (ec.SECP384R1(), "ECDSA-secp384r1-SHA256"),
        (ec.BrainpoolP256R1(), "ECDSA-brainpool256r1-SHA256"),
        (ec.BrainpoolP384R1(), "ECDSA-brainpool384r1-SHA256"),
    ],
)
def test_every_method_of_table_22_that_our_library_knows_is_verified(curve: ec.EllipticCurve, method: str) -> None:
    """With names as the format writes them, which are not those of the curves; base64 as it is and not otherwise."""
    key, payload = ec.generate_private_key(curve), TEXT.split("|")[1]
    signature = key.sign(payload.encode(), ec.ECDSA(hashes.SHA256()))
    section = {"SA": method, "SE": "base64", "SD": base64.b64encode(signature).decode()}
    assert ocmf.verify(f"OCMF|{payload}|{json.dumps(section)}", key.public_key()).meter_serial == "METER-0001"
    section["SD"] = "?" + section["SD"]
    with pytest.raises(CodecError):
        ocmf.verify(f"OCMF|{payload}|{json.dumps(section)}", key.public_key())


def test_what_nobody_said_is_not_written() -> None:
    """Every key of a data set of the barest meter, and of one that says all."""
    bare = ocmf.MeterIdentity(meter_serial="M")
    short = json.loads(data_set(identity=bare, assignment=ocmf.Assignment(emaid=None, evse_id="E")).split("|")[1])
    assert {key: value for key, value in short.items() if key != "RD"} == {
        "FV": "1.2", "PG": "T7", "MS": "M", "IS": False, "IL": "NONE", "IT": "NONE", "CT": "EVSEID", "CI": "E",
    }  # fmt: skip
    names = ("meter_serial", "meter_vendor", "meter_model", "meter_firmware", "gateway", "gateway_serial")
    full = ocmf.MeterIdentity(**{each: each for each in names}, gateway_version="v", current_type="AC")
    whole = json.loads(data_set(identity=full).split("|")[1])
    assert {key: value for key, value in whole.items() if key != "RD"} == {
        "FV": "1.2", "GI": "gateway", "GS": "gateway_serial", "GV": "v", "PG": "T7", "MV": "meter_vendor",
        "MM": "meter_model", "MS": "meter_serial", "MF": "meter_firmware", "IS": True, "IL": "SECURE",
        "IF": ["ISO15118_PNC", "OCPP_AUTH_TLS"], "IT": "EMAID", "ID": "DEV2GC00000001", "CT": "EVSEID",
        "CI": "DE*V2G*E0001",
    }  # fmt: skip
    assert whole["RD"][1] == {
        "TM": "2027-01-15T09:00:00,000+0000 R", "TX": "E", "RV": 12.345678, "RI": "1-0:1.8.0", "RU": "kWh", "RT": "AC",
        "EF": "", "ST": "G",
    }  # fmt: skip


def test_a_data_set_of_ours_is_as_long_as_ocpp_can_carry() -> None:
    """2500 characters of base64 are 1875 bytes; a signature has one more or less now and then."""
    short = len(data_set(assignment=ocmf.Assignment(emaid="A", evse_id="E"))) - 1
    taken, refused = set(), set()
    for size in [1_875 - short + more for more in range(-6, 7)] * 20:
        try:
            taken.add(len(data_set(assignment=ocmf.Assignment(emaid="A", evse_id="E" * size))))
        except CodecError as error:
            refused.add(str(error))
    assert max(taken) == 1_875
    assert min(refused) == "an OCMF data set of 1876 bytes; OCPP carries 1875"


def test_names_cannot_break_the_format_or_outgrow_ocpp() -> None:
    """The separator, and the 2500 characters of signedMeterData."""
    with pytest.raises(CodecError, match=r"'\|'"):
        data_set(assignment=ocmf.Assignment(emaid="A|B", evse_id="E"))
    with pytest.raises(CodecError, match="bytes"):
        data_set(assignment=ocmf.Assignment(emaid="A", evse_id="E" * 2_000))
    assert len(ocmf.signed_meter_data(TEXT)) <= 2_500


def test_the_printed_key_is_written_as_the_ocpp_whitepaper_has_it(pki: PkiTree) -> None:
    """oca:base16:asn1, in base64."""
    key = pki.key("meter").public_key
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert base64.b64decode(printed_public_key(key)).decode() == f"oca:base16:asn1:{spki(key)}"
    assert base64.b64decode(ocmf.signed_meter_data(TEXT)).decode() == TEXT
