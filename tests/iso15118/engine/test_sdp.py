"""SDP datagrams byte by byte, and garbage."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import FrameError
from v2g.iso15118.engine import sdp
from v2g.iso15118.engine.sdp import SdpRequest, SdpResponse, Security, Transport


def test_request_for_tls_over_tcp_is_ten_bytes() -> None:
    assert sdp.encode_request(SdpRequest()).hex() == "01fe9000000000020000"
    assert sdp.decode_request(bytes.fromhex("01fe9000000000021000")) == SdpRequest(Security.NONE, Transport.TCP)


def test_response_carries_address_port_and_security() -> None:
    response = SdpResponse(IPv6Address("fe80::1"), 49152)
    wire = bytes.fromhex("01fe900100000014fe80000000000000000000000000000" + "1c0000000")
    assert sdp.encode_response(response) == wire
    assert sdp.decode_response(wire) == response


@given(st.integers(0, 2**128 - 1), st.integers(1, 0xFFFF), st.sampled_from(Security), st.sampled_from(Transport))
def test_responses_round_trip(address: int, port: int, security: Security, transport: Transport) -> None:
    response = SdpResponse(IPv6Address(address), port, security, transport)
    assert sdp.decode_response(sdp.encode_response(response)) == response


@given(st.binary(max_size=40) | st.binary(max_size=24).map(lambda b: b"\x01\xfe\x90\x01\x00\x00\x00\x14" + b))
def test_garbage_is_a_frame_error(data: bytes) -> None:
    for decode in (sdp.decode_request, sdp.decode_response):
        try:
            decode(data)
        except FrameError:
            continue


@pytest.mark.parametrize(
    "wire",
    [
        "01fe9000000000020100",  # security 0x01 is not assigned
        "01fe9000000000020001",  # nor is transport 0x01
        "01fe9001000000020000",  # a response's payload type
        "01fe900000000003000000",
    ],
)
def test_requests_with_wrong_fields_are_refused(wire: str) -> None:
    with pytest.raises(FrameError):
        sdp.decode_request(bytes.fromhex(wire))


def test_port_zero_is_refused_both_ways() -> None:
    with pytest.raises(FrameError, match="port 0"):
        sdp.encode_response(SdpResponse(IPv6Address("::1"), 0))
    with pytest.raises(FrameError, match="port 0"):
        sdp.decode_response(bytes.fromhex("01fe900100000014" + "00" * 20))
