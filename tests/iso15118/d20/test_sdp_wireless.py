"""Wireless SDP: lengths and places of the fields as published, any bytes a value or FrameError."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import FrameError
from v2g.iso15118.d20 import sdp_wireless
from v2g.iso15118.d20.sdp_wireless import Diagnosis, Positioning, SdpWirelessRequest, SdpWirelessResponse
from v2g.iso15118.engine import sdp

_texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


def test_a_request_is_62_bytes_with_its_fields_in_place() -> None:
    request = SdpWirelessRequest(
        positioning=Positioning.WPT_LF_VEHICLE | Positioning.ACD_U_INFRARED, coupling=0x10, evseid="DE*ABC*E1"
    )
    data = sdp_wireless.encode_request(request)
    assert data[:8] == bytes.fromhex("01fe9002 0000003e")
    assert data[8:13] == bytes.fromhex("00 00 2800 10")
    assert data[13:33] == b"ZZ00000".ljust(20, b"\0")
    assert data[33:] == b"DE*ABC*E1".ljust(37, b"\0")


def test_a_response_is_59_bytes_with_its_fields_in_place() -> None:
    response = SdpWirelessResponse(
        address=IPv6Address("fe80::1"), port=61000, diagnosis=Diagnosis.ERROR, coupling=0x21, evseid="E" * 37
    )
    data = sdp_wireless.encode_response(response)
    assert data[:8] == bytes.fromhex("01fe9003 0000003b")
    assert data[8:] == IPv6Address("fe80::1").packed + bytes.fromhex("ee48 00 00 10 21") + b"E" * 37


@given(st.integers(0, 0xFFFF), st.integers(0, 255), _texts, _texts, st.sampled_from(Diagnosis), st.integers(1, 65535))
def test_what_is_written_is_read(
    positioning: int, coupling: int, evid: str, evseid: str, diagnosis: Diagnosis, port: int
) -> None:
    request = SdpWirelessRequest(positioning=positioning, coupling=coupling, evid=evid, evseid=evseid)
    assert sdp_wireless.decode_request(sdp_wireless.encode_request(request)) == request
    response = SdpWirelessResponse(
        address=IPv6Address("fe80::1"), port=port, diagnosis=diagnosis, coupling=coupling, evseid=evseid
    )
    assert sdp_wireless.decode_response(sdp_wireless.encode_response(response)) == response


@given(
    st.sampled_from((b"", bytes.fromhex("01fe90020000003e"), bytes.fromhex("01fe90030000003b"))), st.binary(max_size=70)
)
def test_any_bytes_are_a_value_or_an_error(head: bytes, body: bytes) -> None:
    for decode in (sdp_wireless.decode_request, sdp_wireless.decode_response, sdp.decode_request, sdp.decode_response):
        try:
            decode(head + body)
        except FrameError:
            continue


@pytest.mark.parametrize(
    "message",
    [
        SdpWirelessRequest(evid="x" * 21),
        SdpWirelessRequest(evseid="é"),
        SdpWirelessRequest(positioning=0x10000),
        SdpWirelessResponse(address=IPv6Address("::1"), port=0),
        SdpWirelessResponse(address=IPv6Address("::1"), port=65536),
    ],
)
def test_what_does_not_fit_is_not_sent(message: SdpWirelessRequest | SdpWirelessResponse) -> None:
    encode = {SdpWirelessRequest: sdp_wireless.encode_request, SdpWirelessResponse: sdp_wireless.encode_response}
    with pytest.raises(FrameError):
        encode[type(message)](message)  # type: ignore[operator]


def test_the_plain_server_does_not_take_a_wireless_request_for_its_own() -> None:
    with pytest.raises(FrameError):
        sdp.decode_request(sdp_wireless.encode_request(SdpWirelessRequest()))
