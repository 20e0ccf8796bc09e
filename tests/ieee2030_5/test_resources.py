"""Resources of IEEE 2030.5: recorded ones are read, broken ones refused with a reason, responses well formed."""

import contextlib
import hashlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.together import together
from v2g.errors import CodecError
from v2g.ieee2030_5.resources import (
    EXTENSIONS,
    ControlBase,
    capability_path,
    control_of,
    default_of,
    end_device_of,
    lfdi_of,
    program_of,
    read_page,
    read_resource,
    readable,
    sfdi_of,
    with_check_digit,
)
from v2g.xml_text import text_at

VECTORS = Path(__file__).parents[1] / "vectors" / "ieee2030_5"
CONTROLS = (VECTORS / "derp_TESTPRG3_derc.xml").read_bytes()


@pytest.mark.requirement("R56")
def test_recorded_controls_are_read() -> None:
    """Limits are value times ten to the power of multiplier."""
    page = read_page(CONTROLS, "DERControl")
    controls, problems = readable(page.items, control_of)
    assert (page.all, len(controls), problems) == (5, 5, ())
    assert [(each.base.import_limit_w, each.base.export_limit_w) for each in controls] == [
        (3512, 2512),
        (2510, 2500),
        (5000, 5000),
        (12_000, 10_000),
        (0, 0),
    ]
    first = controls[0]
    assert (first.start_s, first.duration_s, first.reply_to) == (1_682_475_300, 300, "/api/v2/rsps/res-ms/rsp")
    assert first.response_required == 3


def test_recorded_cancellations_are_read() -> None:
    """Of another server, with lower case ids and another prefix of the namespace."""
    controls, _ = readable(read_page((VECTORS / "sapn_derc.xml").read_bytes(), "DERControl").items, control_of)
    assert [(each.status, each.base.export_limit_w) for each in controls] == [(2, 10_000), (2, 10_000), (1, 0)]


def test_recorded_devices_programs_and_defaults_are_read() -> None:
    """With the paths of what belongs to them."""
    devices, _ = readable(read_page((VECTORS / "edev.xml").read_bytes(), "EndDevice").items, end_device_of)
    assert [each.lfdi[:8] for each in devices] == ["4075DE60", "4AECA0BB", "B1857F74"]
    assert (devices[0].ders_path, devices[2].assignments_path) == ("/api/v2/edev/_EQLDEV3/der", "")
    (program,), _ = readable(
        read_page((VECTORS / "edev__EQLDEV3_fsa_2_derp.xml").read_bytes(), "DERProgram").items, program_of
    )
    assert (program.primacy, program.default_path) == (1, "/api/v2/derp/TESTPRG3/dderc")
    node = read_resource((VECTORS / "derp_TESTPRG3_dderc.xml").read_bytes(), "DefaultDERControl")
    assert default_of(node) == ControlBase(import_limit_w=1500, export_limit_w=1500, energize=True)


@together(
    ("old", "new", "reason"),
    [
        (b"<value>3512</value>", b"<value>lots</value>", "opModImpLimW/value"),
        (b"<multiplier>0</multiplier>", b"<multiplier>99</multiplier>", "multiplier"),
        (b"<duration>300</duration>", b"<duration>-1</duration>", "duration"),
        (b"<mRID>DC1B27AC943B44AC87DAF7E162B6F6D4</mRID>", b"", "mRID"),
        (b'responseRequired="03"', b'responseRequired="yes"', "responseRequired"),
        (b'replyTo="/api', b'replyTo="/' + b"x" * 1000, "replyTo"),
        (b"<creationTime>1682511010</creationTime>", b"<creationTime>soon</creationTime>", "creationTime"),
        (b"</DERControlBase>", b"</DERControlBase><deviceCategory>EVSE</deviceCategory>", "deviceCategory"),
    ],
)
def test_an_event_that_cannot_be_read_does_not_hide_the_others(old: bytes, new: bytes, reason: str) -> None:
    """And says what is wrong."""
    controls, (problem,) = readable(read_page(CONTROLS.replace(old, new, 1), "DERControl").items, control_of)
    assert len(controls) == 4
    assert reason in problem


@together(
    "data", [b"", b"<a/>", b"<!DOCTYPE a><DERControlList/>", b"<DERControlList all='x'/>", b"\xff", b"<" * 1_000_001]
)
def test_what_is_no_list_is_refused(data: bytes) -> None:
    """Never a traceback."""
    with pytest.raises(CodecError):
        read_page(data, "DERControl")


@given(st.integers(0, len(CONTROLS)), st.integers(0, len(CONTROLS)), st.binary(max_size=8))
def test_whatever_arrives_is_read_or_refused(begin: int, end: int, middle: bytes) -> None:
    """With parts of a list cut out and replaced."""
    with contextlib.suppress(CodecError):
        readable(read_page(CONTROLS[:begin] + middle + CONTROLS[end:], "DERControl").items, control_of)


def test_identifiers_and_pins_have_the_check_digit_of_the_published_examples() -> None:
    """The digit sum is a multiple of ten."""
    assert sfdi_of("3E4F45AB31EDFE5B67E343E5E4562E31984E23E5") == 167_261_211_391
    assert with_check_digit(11_111) == 111_115
    for node in read_page((VECTORS / "edev.xml").read_bytes(), "EndDevice").items:
        assert sfdi_of(end_device_of(node).lfdi) == int(text_at(node, "sFDI"))


V1_3, V1_2 = EXTENSIONS


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({V1_2: {"dcap": ["/old"]}, V1_3: {"dcap": [5, "//elsewhere", "/new", "/b"]}}, "/new"),
        ({V1_3: {"dcap": []}, V1_2: {"dcap": ["/old"]}, "urn:x": 7}, "/old"),
        ({V1_3: {"dcap": []}}, ""),
        ({"https://csipaus.org/ns/v9": {"dcap": ["/x"]}}, ""),
    ],
)
def test_the_newest_known_version_of_a_server_is_chosen(document: dict[str, object], path: str) -> None:
    """Entries that cannot be read are ignored; without a usable one there is a reason."""
    data = msgspec.json.encode({"supportedSchemaVersions": document})
    if path:
        assert capability_path(data) == path
    else:
        with pytest.raises(CodecError):
            capability_path(data)


@pytest.mark.parametrize("data", [b"", b"<html/>", b"[]", b"{}", b'{"supportedSchemaVersions": []}'])
def test_a_broken_list_of_versions_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        capability_path(data)


def test_a_devices_identifier_is_160_bits_of_its_certificates_hash() -> None:
    """As 40 hexadecimal digits."""
    assert lfdi_of(b"certificate") == hashlib.sha256(b"certificate").digest()[:20].hex().upper()
