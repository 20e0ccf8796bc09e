"""`v2g exi`: messages in every form, one by one and in batches; explanations and grammars."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.cli.conftest import Run
from tests.exi import official
from tests.exi.vectors import Vector, load
from v2g.exi import decode, decode_fragment

LOOP = "8034041a545fe2d74e6f70892c6ffd706200a184020c0502c8101404080a10"
"""DC_ChargeLoopReq of a session between two other implementations."""

AC = "urn:iso:std:iso:15118:-20:AC"
AMBIGUOUS = {
    "matches cm (urn:iso:std:iso:15118:-20:CommonMessages) and acdp (urn:iso:std:iso:15118:-20:ACDP)",
    f"matches deriec ({AC}-DER-IEC) and dersae ({AC}-DER-SAE)",
}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def asked(vectors: list[Vector], *, named: bool = True) -> bytes:
    """Lines of a batch, with or without namespaces."""
    about = [{"namespace": each.namespace} if named else {} for each in vectors]
    return b"\n".join(
        json.dumps({**some, "fragment": each.fragment, "exi_hex": each.exi_hex}).encode()
        for some, each in zip(about, vectors, strict=True)
    )


@pytest.mark.parametrize("notation", ["hex", "0x hex", "base64", "binary", "file", "V2GTP", "pipe"])
def test_octets_are_taken_in_every_notation(notation: str, v2g: Run, tmp_path: Path) -> None:
    octets = bytes.fromhex(LOOP)
    framed = b"\x01\xfe\x80\x04" + len(octets).to_bytes(4) + octets
    (tmp_path / "loop.exi").write_bytes(octets)
    reader, writer = os.pipe()
    os.write(writer, octets)
    os.close(writer)
    arguments, given = {
        "hex": ([LOOP], b""),
        "0x hex": (["-"], b"0x" + octets.hex(":").encode() + b"\n"),
        "base64": ([base64.b64encode(octets).decode()], b""),
        "binary": ([], octets),
        "file": ([str(tmp_path / "loop.exi")], b""),
        "V2GTP": ([framed.hex()], b""),
        "pipe": ([f"/dev/fd/{reader}"], b""),
    }[notation]
    done = v2g("exi", "decode", "--to", "json", *arguments, given=given)
    os.close(reader)
    assert done.code == 0, done.errors
    assert json.loads(done.output)["DC_ChargeLoopReq"]["DisplayParameters"] == {
        "PresentSOC": 20,
        "ChargingComplete": False,
    }


@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.parametrize("source", ["argument", "file", "stdin"])
def test_what_is_decoded_is_encoded_again(form: str, source: str, v2g: Run, tmp_path: Path) -> None:
    text = v2g("exi", "decode", LOOP, "--to", form).output
    (tmp_path / "message").write_text(text)
    arguments = {"argument": [text], "file": [str(tmp_path / "message")], "stdin": []}[source]
    done = v2g("exi", "encode", *arguments, given=text.encode())
    assert (done.code, done.output) == (0, LOOP + "\n")


def test_octets_are_printed_in_every_notation(v2g: Run) -> None:
    text = v2g("exi", "decode", LOOP).output
    octets = bytes.fromhex(LOOP)
    assert v2g("exi", "encode", text, "--to", "base64").output.strip() == base64.b64encode(octets).decode()
    assert v2g("exi", "encode", text, "--to", "binary").output.encode("utf-8", "surrogateescape") == octets
    assert lines(v2g("exi", "encode", text, "--json").output) == [
        {"namespace": "urn:iso:std:iso:15118:-20:DC", "fragment": False, "message": "DC_ChargeLoopReq", "exi_hex": LOOP}
    ]


@pytest.mark.parametrize("name", ["dc", "DC", "urn:iso:std:iso:15118:-20:DC"])
def test_a_namespace_has_short_names(name: str, v2g: Run) -> None:
    assert lines(v2g("exi", "decode", LOOP, "--json", "-n", name).output)[0]["message"] == "DC_ChargeLoopReq"


@pytest.mark.long
def test_batches_decode_every_vector(v2g: Run) -> None:
    vectors = load()
    done = v2g("exi", "decode", "--jsonl", given=asked(vectors))
    assert done.code == 0
    for vector, found in zip(vectors, lines(done.output), strict=True):
        assert set(found) == {"message", "xml", "json"}
        assert found["message"] == vector.name


@pytest.mark.some(1)
@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.long
def test_batches_encode_every_vector(form: str, v2g: Run) -> None:
    vectors = load()
    decoded = v2g("exi", "decode", "--jsonl", given=asked(vectors))
    questions = [
        {"namespace": vector.namespace, "fragment": vector.fragment, form: found[form]}
        for vector, found in zip(vectors, lines(decoded.output), strict=True)
    ]
    encoded = v2g("exi", "encode", "--jsonl", given=b"\n".join(json.dumps(each).encode() for each in questions))
    assert encoded.code == 0
    other = 0
    for vector, found in zip(vectors, lines(encoded.output), strict=True):
        if found != {"exi_hex": vector.exi_hex}:  # an empty value, which has two forms: tests/vectors/exi/README.md
            other += 1
            read = decode_fragment if vector.fragment else decode
            assert read(bytes.fromhex(found["exi_hex"]), vector.schema) == read(vector.octets, vector.schema)
    assert other < len(vectors) / 100


@pytest.mark.long
def test_namespaces_are_guessed_or_the_candidates_named(v2g: Run) -> None:
    """Of some streams two namespaces make sense; no stream is taken for what it is not."""
    vectors = load()
    done = v2g("exi", "decode", "--jsonl", given=asked(vectors, named=False))
    unsure = shared = 0
    for vector, found in zip(vectors, lines(done.output), strict=True):
        if "error" in found:
            unsure += 1
            assert vector.namespace in found["error"]
            assert any(words in found["error"] for words in AMBIGUOUS)
        elif found["namespace"] != vector.namespace:
            assert vector.namespace in (f"{AC}-DER-IEC", f"{AC}-DER-SAE"), (
                "what has nothing of AC DER is one of AC, too"
            )
            assert found["namespace"] == AC
            shared += 1
    assert unsure < len(vectors) / 30
    assert shared < len(vectors) / 25


def test_a_bad_line_is_answered_and_the_rest_goes_on(v2g: Run) -> None:
    bad = [b"{", b"[]", b'{"exi_hex": 1}', b'{"exi_hex": "zz"}', b'{"exi_hex": ""}', b"\xff", b"[" * 100_000]
    bad += [b'{"exi_hex": "8034"}', b'{"namespace": "nowhere", "exi_hex": "80"}']
    good = b'{"exi_hex": "%s"}' % LOOP.encode()
    done = v2g("exi", "decode", "--jsonl", given=b"\n".join([*bad, good]))
    found = lines(done.output)
    assert done.code == 0
    assert [set(each) for each in found[:-1]] == [{"error"}] * len(bad)
    assert found[-1]["message"] == "DC_ChargeLoopReq"
    bad = [b"{}", b'{"xml": "<a/>"}', b'{"json": {"SessionSetupReq": {}}}', b'{"json": "1"}', b'{"xml": "<"}']
    done = v2g("exi", "encode", "--jsonl", given=b"\n".join(bad))
    assert done.code == 0
    assert [set(each) for each in lines(done.output)] == [{"error"}] * len(bad)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["decode", "8034"], 3, "no namespace matches"),
        (["decode", "-n", "dc", LOOP[:-4]], 3, "ends too early"),
        (["decode", "-n", "nowhere", LOOP], 2, "no namespace named 'nowhere'"),
        (["decode", "no/such/file.exi"], 2, "no such file"),
        (["decode", "/etc"], 2, "Is a directory"),
        (["decode", "--from", "hex", "xyz"], 2, "not hexadecimal"),
        (["decode", "01fe80040000001f80"], 3, "announces 31 octets"),
        (["encode", "no/such/file.xml"], 2, "no such file"),
        (["encode", "<a/>"], 3, "no namespace declares a"),
        (["encode", "<SessionSetupReq>"], 3, "not well-formed"),
        (["encode", '{"SessionSetupReq": {"Header": {}}}'], 3, "SessionSetupReq/Header: SessionID is missing"),
        (["encode", "__import__('os')"], 3, "neither XML nor JSON"),
        (["explain", "-n", "dc", "8034041a"], 3, "8 octets are announced"),
        (["explain", LOOP, "--html", "/no/such/folder/x.html"], 2, "No such file"),
        (["grammar"], 2, "no name and no namespace given"),
        (["grammar", "SessionSetup"], 2, "no element or type"),
        (["grammar", "SessionSetupReq"], 2, "declared 3 times"),
    ],
)
def test_errors_are_one_line_and_a_hint(arguments: list[str], code: int, words: str, v2g: Run) -> None:
    done = v2g("exi", *arguments)
    assert done.code == code
    assert words in done.errors
    assert done.errors.startswith("v2g: ")
    assert len(done.errors.splitlines()) <= 2
    assert "Traceback" not in done.errors


def test_explanations_add_up_in_text_and_json(v2g: Run) -> None:
    bits = f"{int(LOOP, 16):0{4 * len(LOOP)}b}"
    text = [line.split("\t") for line in v2g("exi", "explain", LOOP).output.splitlines()]
    assert "".join(bits for _, bits, *_ in text) == bits
    assert ["1.0", "001101", "DC_ChargeLoopReq", "DocContent"] in [row[:4] for row in text]
    records = lines(v2g("exi", "explain", LOOP, "--json").output)
    assert "".join(record["bits"] for record in records) == bits


@pytest.mark.requirement("R197")
def test_values_beyond_the_schema_are_explained_and_named(v2g: Run, tmp_path: Path) -> None:
    """As a real vehicle sent it: four phases, where three are allowed."""
    recorded = "809802004080c1014181c21150000000018a1f0aa0c600"
    done = v2g("exi", "explain", recorded)
    assert done.code == 0
    assert done.output.splitlines()[-1].startswith("beyond the schema: V2G_Message/")
    assert "ChargingProfileEntryMaxNumberOfPhasesInUse: number 4 where at least 1 and at most 3" in done.output
    *steps, beyond = lines(v2g("exi", "explain", recorded, "--json").output)
    assert "number 4" in beyond["beyond"]
    assert "".join(each["bits"] for each in steps) == f"{int(recorded, 16):0{4 * len(recorded)}b}"
    assert v2g("exi", "explain", recorded, "--html", str(tmp_path / "x.html")).code == 0
    assert "beyond the schema" in (tmp_path / "x.html").read_text()
    assert v2g("exi", "decode", recorded).code == 3


def test_a_stream_that_breaks_is_explained_up_to_there(v2g: Run) -> None:
    done = v2g("exi", "explain", "-n", "dc", LOOP[:20], "--json")
    assert done.code == 3
    assert lines(done.output)[-1]["kind"] == "unread"


def test_the_page_is_whole_and_loads_nothing(v2g: Run, tmp_path: Path) -> None:
    page = tmp_path / "loop.html"
    assert v2g("exi", "explain", LOOP, "--html", str(page)).code == 0
    root = etree.parse(str(page)).getroot()
    here = "{http://www.w3.org/1999/xhtml}"
    assert not [node for node in root.iter() if {"src", "href"} & set(node.attrib)]
    octets = next(node for node in root.iter(f"{here}div") if node.get("id") == "octets")
    assert "".join(octets.itertext(f"{here}b")) == f"{int(LOOP, 16):0{4 * len(LOOP)}b}"
    names = {node.text for node in root.iter(f"{here}span") if node.get("class") == "name"}
    assert {"EVPresentVoltage", "BPT_Scheduled_DC_CLReqControlMode", "end of Header"} <= names


def test_grammars_are_shown_as_states(v2g: Run) -> None:
    states = lines(v2g("exi", "grammar", "DC_ChargeLoopReq", "--json").output)
    last = states[4]
    assert (last["state"], last["bits"]) == ("DC_ChargeLoopReq.4", 3)
    assert [each["event"] for each in last["productions"]] == [
        "SE(BPT_Dynamic_DC_CLReqControlMode)",
        "SE(BPT_Scheduled_DC_CLReqControlMode)",
        "SE(CLReqControlMode)",
        "SE(Dynamic_DC_CLReqControlMode)",
        "SE(Scheduled_DC_CLReqControlMode)",
    ]
    plain = v2g("exi", "grammar", "ServiceList", "-n", "cm").output.splitlines()
    assert plain[0] == "ServiceList.0\t0\t0\tSE(Service)\tService\tServiceList.0+, after 8 ServiceList.1"


def test_documents_begin_with_their_codes(v2g: Run) -> None:
    (document,) = lines(v2g("exi", "grammar", "-n", "dc", "--json").output)
    assert document["bits"] == 6
    assert {
        "code": 13,
        "event": "SE(DC_ChargeLoopReq)",
        "type": "urn:iso:std:iso:15118:-20:DC",
        "then": "",
    } in document["productions"]
    (fragment,) = lines(v2g("exi", "grammar", "-n", "ds", "--fragment", "--json").output)
    assert fragment["productions"][-1] == {"code": 46, "event": "ED", "type": "", "then": ""}


def test_names_with_several_types_have_a_grammar_in_fragments(v2g: Run) -> None:
    start, after = lines(v2g("exi", "grammar", "eMAID", "-n", "iso2", "--fragment", "--json").output)
    assert (start["bits"], after["bits"]) == (9, 8)
    assert {"code": 4, "event": "AT(Id)", "type": "", "then": ""} in start["productions"]
    octets = "80ec0202b4b218c00411114b505090cb4c4c8ccd0d4d8dfd3d00"
    assert v2g("exi", "decode", "--fragment", octets).output.strip().endswith('Id="id1">DE-ABC-1234567</iso2b:eMAID>')
    assert (
        v2g("exi", "encode", "--fragment", v2g("exi", "decode", "--fragment", octets).output).output.strip() == octets
    )


def test_peers_of_cbexigen_are_spoken_to_in_their_dialect(v2g: Run) -> None:
    message = """{"ACDP_DisconnectReq": {"Header": {"SessionID": "ABCDEF0123456789", "TimeStamp": 1700000000},
        "EVElectricalChargingDeviceStatus": "State_B"}}"""
    plain = v2g("exi", "encode", message).output.strip()
    theirs = v2g("exi", "encode", message, "--dialect", "cbexigen").output.strip()
    assert plain != theirs
    for octets, dialect in ((plain, "exi"), (theirs, "cbexigen")):
        done = v2g("exi", "decode", octets, "-n", "acdp", "--dialect", dialect, "--to", "json")
        assert json.loads(done.output) == json.loads(message)
        assert "SE(ACDP" in v2g("exi", "explain", octets, "-n", "acdp", "--dialect", dialect).output


def test_every_type_has_a_grammar_and_readable_source(v2g: Run) -> None:
    done = v2g("exi", "grammar", "DC_ChargeLoopReq", "--source")
    assert done.code == 0
    compile(done.output, "source", "exec")
    assert "def d_dc_DC_ChargeLoopReq(r):\n    # Header\n" in done.output
    assert max(map(len, done.output.splitlines())) <= 120


# XML against the official schema files

FILES = {
    "app": official.APP_PROTOCOL,
    "ds": official.XMLDSIG,
    "cm": official.COMMON_MESSAGES,
    "ac": official.AC,
    "dc": official.DC,
    "wpt": official.WPT,
    "acdp": official.ACDP,
    "iso2": official.ISO2,
    "din": official.DIN,
}


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    try:
        folder = official.schema_folder()
    except official.Unreachable as error:
        pytest.skip(str(error))
    return {prefix: etree.XMLSchema(etree.parse(os.fspath(folder / name))) for prefix, name in FILES.items()}


def test_xml_is_valid_against_the_official_schemas(schemas: dict[str, Any], v2g: Run) -> None:
    """Messages as XML are valid, but for those vectors that hold an abstract element, which no valid message does.
    The schema of Amendment 1 is not among the official files here."""
    vectors = [each for each in load() if not each.fragment and each.schema.prefix in schemas]
    done = v2g("exi", "decode", "--jsonl", given=asked(vectors))
    valid = 0
    for vector, found in zip(vectors, lines(done.output), strict=True):
        schema = schemas[vector.schema.prefix]
        if schema.validate(etree.fromstring(found["xml"].encode())):
            valid += 1
        else:
            assert all("The type definition is abstract" in str(error) for error in schema.error_log), found["xml"]
    assert valid > 0.95 * len(vectors)


@pytest.mark.requirement("R221")
@pytest.mark.parametrize(
    ("prefix", "name"), [("deriec", "Amendment 1, IEC"), ("dersae", "Amendment 1, SAE"), ("ac", "")]
)
def test_messages_of_amendment_1_are_told_from_those_of_ac(v2g: Run, prefix: str, name: str) -> None:
    """Their names are the same; the grammar stands beside the output."""
    vectors = [each for each in load() if each.schema.prefix == prefix and not each.fragment]
    vector = next(each for each in vectors if "DER" in each.variant or prefix == "ac")
    for done in (v2g("exi", "decode", vector.exi_hex), v2g("exi", "explain", vector.exi_hex, "-n", vector.schema.uri)):
        assert done.code == 0
        assert done.errors.strip() == (f"ISO 15118-20 {name}" if name else "")
