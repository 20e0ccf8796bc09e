"""Values beyond the schema, as vehicles in the field send them: read as the bits allow, named, and never sent on."""

from typing import Any

import pytest

from tests.exi.streams import bits, exchanged, text
from tests.together import together
from v2g import exi
from v2g.errors import ExiDecodeError, ExiEncodeError
from v2g.exi.bits import Deviation, is_listed
from v2g.exi.explain import explain
from v2g.iso15118 import trace
from v2g.iso15118.d2.messages import common, data_types
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.common import CableCheckReq
from v2g.iso15118.d2.messages.data_types import (
    CertificateChain,
    ChargingProfile,
    DC_EVErrorCode,
    DC_EVStatus,
    PhysicalValue,
    ProfileEntry,
    UnitSymbol,
)
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine.physical_values import percent
from v2g.iso15118.engine.v2g_message import body_of, decode_message


def message(body: Any) -> bytes:
    return exi.encode(V2G_Message(header=MessageHeader(session_id=bytes(range(8))), body=Body(body_element=body)))


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


def read(data: bytes) -> tuple[Any, list[tuple[str, str, int]]]:
    """Return the body of a message, and what is beyond the schema: field, kind, value."""
    found: list[Deviation] = []
    message, padding = decode_message(data, ISO2, handshake=False, deviations=found)
    assert not padding
    assert message == exi.decode(data, ISO2, deviations=[])
    explained = explain(data, ISO2)
    assert explained.error is None
    assert (explained.element, explained.beyond) == (message, tuple(found))
    assert "".join(step.bits for step in explained.steps) == bits(data)
    return body_of(message), [(each.field, each.kind, each.value) for each in found]


@pytest.mark.parametrize("soc", [0, 100, 101, 110, 127])
def test_a_state_of_charge_above_100(soc: int) -> None:
    if soc <= 100:
        assert with_soc(soc) == message(status(soc))
    else:
        with pytest.raises(ExiDecodeError, match="at most 100"):
            exi.decode(with_soc(soc), ISO2)
    assert read(with_soc(soc)) == (status(soc), [("EVRESSSOC", "number", soc)] if soc > 100 else [])
    assert percent(soc) == min(soc, 100)


@pytest.mark.parametrize("emaid", ["DE-V2G-C00000001-9", "DEV2GC0000000", "", "D" * 60])
def test_an_emaid_of_another_length(emaid: str) -> None:
    with pytest.raises(ExiDecodeError, match="14 to 15"):
        exi.decode(details(emaid), ISO2)
    received, found = read(details(emaid))
    assert received.emaid == emaid
    assert found == [("eMAID", "length", len(emaid))]


RECORDED = bytes.fromhex("809802004080c1014181c21150000000018a1f0aa0c600")
"""A PowerDeliveryReq of a vehicle that codes four phases, with which another charger charges."""


@pytest.mark.requirement("R197")
def test_a_vehicle_with_four_phases_is_read() -> None:
    with pytest.raises(ExiDecodeError, match="at least 1 and at most 3"):
        exi.decode(RECORDED, ISO2)
    received, found = read(RECORDED)
    assert received.charging_profile.profile_entry[0].charging_profile_entry_max_number_of_phases_in_use == 4
    assert found == [("ChargingProfileEntryMaxNumberOfPhasesInUse", "number", 4)]


@pytest.mark.requirement("R197")
def test_a_code_without_a_value_is_read_and_named() -> None:
    """ChargeProgress is the first element of PowerDeliveryReq."""
    one, other = (
        bits(message(common.PowerDeliveryReq(charge_progress=each, sa_schedule_tuple_id=1)))
        for each in (data_types.ChargeProgress.Start, data_types.ChargeProgress.Stop)
    )
    at = next(place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    width = len(data_types.ChargeProgress).bit_length()
    at -= width - 1  # Start is 0, Stop 1
    stream = one[:at] + f"{3:0{width}b}" + one[at + width :]
    data = bytes(int(stream[place : place + 8], 2) for place in range(0, len(stream), 8))
    with pytest.raises(ExiDecodeError, match="no value of ChargeProgress"):
        exi.decode(data, ISO2)
    received, found = read(data)
    assert received.charge_progress.name == "Unlisted_3"
    assert not is_listed(received.charge_progress)
    assert received.charge_progress not in set(data_types.ChargeProgress)
    assert found == [("ChargeProgress", "enumeration", 3)]
    with pytest.raises(ExiEncodeError, match="ChargeProgress"):
        exi.encode(exi.decode(data, ISO2, deviations=[]))
    shown = trace.describe(0x8001, data, lambda _type, octets: decode_message(octets, ISO2, handshake=False))
    assert shown.body["Body"]["PowerDeliveryReq"]["ChargeProgress"] == "Unlisted_3"


@together(
    ("value", "reads"),
    [(32_767, True), (32_768, True), (2**21, True), (2**32 - 1, True), (2**32, False), (2**70, False)],
)
def test_a_number_of_more_bits_than_its_type(value: int, reads: bool) -> None:
    """An int16 has a sign, and seven bits in each octet."""
    physical = PhysicalValue(multiplier=0, unit=UnitSymbol.W, value=21_845)

    def varint(number: int) -> str:
        groups = [number >> shift & 127 for shift in range(0, max(1, number.bit_length()), 7)]
        return bits(bytes(each | (128 if at < len(groups) - 1 else 0) for at, each in enumerate(groups)))

    data = exchanged(message(common.PowerDeliveryReq(
        charge_progress=data_types.ChargeProgress.Start, sa_schedule_tuple_id=1,
        charging_profile=ChargingProfile(profile_entry=(ProfileEntry(
            charging_profile_entry_start=0, charging_profile_entry_max_power=physical),)),
    )), varint(21_845), varint(value))  # fmt: skip
    if not reads:
        with pytest.raises(ExiDecodeError):
            read(data)
        return
    received, found = read(data)
    assert received.charging_profile.profile_entry[0].charging_profile_entry_max_power.value == value
    assert found == ([("Value", "number", value)] if value > 32_767 else [])


def test_a_text_has_four_times_its_length_and_64_at_most() -> None:
    assert read(details("D" * 64))[1] == [("eMAID", "length", 64)]
    with pytest.raises(ExiDecodeError, match="65 characters where 14 to 15"):
        read(details("D" * 65))


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
