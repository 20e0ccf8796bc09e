"""Values beyond the bounds of the schema, as vehicles in the field send them, decode where they are allowed to."""

from typing import Any

import pytest

from v2g import exi
from v2g.errors import ExiDecodeError, ExiEncodeError
from v2g.iso15118 import trace
from v2g.iso15118.d2.messages import common
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.charging import CableCheckReq
from v2g.iso15118.d2.messages.data_types import CertificateChain
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.messages.parameters import DC_EVErrorCode, DC_EVStatus
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine.physical_values import percent
from v2g.iso15118.engine.v2g_message import body_of, decode_message


def message(body: Any) -> bytes:
    return exi.encode(V2G_Message(header=MessageHeader(session_id=bytes(range(8))), body=Body(body_element=body)))


def bits(data: bytes) -> str:
    return "".join(f"{each:08b}" for each in data)


def text(value: str) -> str:
    """Return a string in EXI: its length and two, then its characters."""
    return bits(bytes((len(value) + 2, *value.encode())))


def exchanged(data: bytes, old: str, new: str) -> bytes:
    """Return a stream in which some bits are others."""
    stream = bits(data)
    assert stream.count(old) == 1
    stream = stream.replace(old, new)
    stream += "0" * (-len(stream) % 8)
    return bytes(int(stream[at : at + 8], 2) for at in range(0, len(stream), 8))


def status(soc: int) -> Any:
    return CableCheckReq(
        dc_ev_status=DC_EVStatus(ev_ready=True, ev_error_code=DC_EVErrorCode.NO_ERROR, ev_ress_soc=soc)
    )


def with_soc(soc: int) -> bytes:
    """Return a message whose state of charge, of seven bits, is found by comparing two."""
    one, other = bits(message(status(0))), bits(message(status(64)))
    at = next(place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    stream = f"{one[:at]}{soc:07b}{one[at + 7 :]}"
    return bytes(int(stream[place : place + 8], 2) for place in range(0, len(stream), 8))


def details(emaid: str) -> bytes:
    body = common.PaymentDetailsReq(
        emaid="DEV2GC000000019", contract_signature_cert_chain=CertificateChain(certificate=b"leaf")
    )
    return exchanged(message(body), text("DEV2GC000000019"), text(emaid))


@pytest.mark.parametrize("soc", [0, 100, 101, 110, 127])
def test_a_state_of_charge_above_100(soc: int) -> None:
    if soc <= 100:
        assert with_soc(soc) == message(status(soc))
    else:
        with pytest.raises(ExiDecodeError, match="at most 100"):
            exi.decode(with_soc(soc), ISO2)
    received: Any = exi.decode(with_soc(soc), ISO2, exceeding={(0, 100)})
    assert received.body.body_element == status(soc)
    assert body_of(decode_message(with_soc(soc), ISO2, handshake=False)[0]) == status(soc)
    assert percent(soc) == min(soc, 100)


@pytest.mark.parametrize("emaid", ["DE-V2G-C00000001-9", "DEV2GC0000000", "", "D" * 60])
def test_an_emaid_of_another_length(emaid: str) -> None:
    with pytest.raises(ExiDecodeError, match="14 to 15"):
        exi.decode(details(emaid), ISO2)
    received = body_of(decode_message(details(emaid), ISO2, handshake=False)[0])
    assert received.emaid == emaid


def test_only_the_named_bounds_may_be_exceeded() -> None:
    for data in (with_soc(110), details("DE-V2G-C00000001-9")):
        with pytest.raises(ExiDecodeError):
            exi.decode(data, ISO2, exceeding={(1, 255), (7, 37)})


def test_what_is_beyond_its_bounds_is_not_sent_on() -> None:
    received, _ = decode_message(with_soc(110), ISO2, handshake=False)
    with pytest.raises(ExiEncodeError, match="EVRESSSOC"):
        exi.encode(received)


def test_it_is_traced_like_any_other_message() -> None:
    described = trace.describe(
        0x8001, with_soc(110), lambda _type, octets: decode_message(octets, ISO2, handshake=False)
    )
    assert described.name == "CableCheckReq"
    assert described.body["Body"]["CableCheckReq"]["DC_EVStatus"]["EVRESSSOC"] == 110
