"""Management messages byte by byte: against an independent implementation, the field tables, and garbage."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.slac.strategies import messages
from tests.together import together
from v2g.errors import FrameError
from v2g.slac import mme, vendor
from v2g.slac.layout import Mme
from v2g.slac.mme import MmeFrame

_VECTORS = [
    json.loads(line) for line in (Path(__file__).parents[1] / "vectors/slac/pyslac.jsonl").read_text().splitlines()
]
_PEV, _EVSE = bytes.fromhex("020000000201"), bytes.fromhex("020000000101")


@together("vector", _VECTORS, ids=lambda v: v["name"])
def test_frames_equal_those_of_an_independent_implementation(vector) -> None:
    wire = bytes.fromhex(vector["frame"])
    cls = getattr(mme, vector["name"])
    fields = {k: bytes.fromhex(v) if isinstance(v, str) else v for k, v in vector["fields"].items()}
    if cls is mme.CmSetKeyReq:
        fields["my_nonce"] = b"\xaa" * 4  # it does not send the fixed zeros
    if cls is mme.CmSlacMatchReq:
        fields["mvf_length"] = 0x3E00  # it sends this one big endian
    message = cls(**fields)
    assert mme.decode(wire) == MmeFrame(wire[:6], wire[6:12], message)
    assert mme.encode(MmeFrame(wire[:6], wire[6:12], message)) == wire


@together(
    ("message", "mmtype", "payload", "length"),
    [
        (mme.CmSlacParmReq, 0x6064, 10, 60),
        (mme.CmSlacParmCnf, 0x6065, 25, 60),
        (mme.CmStartAttenCharInd, 0x606A, 19, 60),
        (mme.CmMnbcSoundInd, 0x6076, 52, 71),
        (mme.CmAttenProfileInd, 0x6086, 66, 85),
        (mme.CmAttenCharInd, 0x606E, 110, 129),
        (mme.CmAttenCharRsp, 0x606F, 51, 70),
        (mme.CmValidateReq, 0x6078, 3, 60),
        (mme.CmValidateCnf, 0x6079, 3, 60),
        (mme.CmSlacMatchReq, 0x607C, 66, 85),
        (mme.CmSlacMatchCnf, 0x607D, 90, 109),
        (mme.CmSetKeyReq, 0x6008, 38, 60),
        (mme.CmSetKeyCnf, 0x6009, 14, 60),
    ],
)
def test_types_and_sizes_are_those_of_the_table(message: type[Mme], mmtype: int, payload: int, length: int) -> None:
    codec = mme.CODECS[mmtype, True, b""]
    assert codec.message is message
    assert mmtype == message.MMTYPE
    assert codec.size == payload
    zero = bytearray(length)
    zero[12:17] = b"\x88\xe1\x01" + mmtype.to_bytes(2, "little")
    if message in (mme.CmAttenProfileInd, mme.CmAttenCharInd):
        zero[25 if message is mme.CmAttenProfileInd else 70] = 58
    assert len(mme.encode(mme.decode(bytes(zero)))) == length


def test_fields_that_are_easy_to_misplace() -> None:
    wire = mme.encode(MmeFrame(_EVSE, _PEV, mme.CmSlacMatchReq(pev_mac=_PEV, evse_mac=_EVSE, run_id=b"RUNRUNID")))
    assert wire[12:21].hex() == "88e1017c6000000000"
    assert wire[21:23] == b"\x3e\x00"
    assert (wire[40:46], wire[63:69], wire[69:77]) == (_PEV, _EVSE, b"RUNRUNID")
    cnf = mme.CmSlacMatchCnf(pev_mac=_PEV, evse_mac=_EVSE, run_id=bytes(8), nid=b"networK", nmk=b"sixteen byte key")
    wire = mme.encode(MmeFrame(_PEV, _EVSE, cnf))
    assert (wire[21:23], wire[85:92], wire[92], wire[93:109]) == (b"\x56\x00", b"networK", 0, b"sixteen byte key")
    assert "sixteen" not in repr(cnf)
    request = mme.CmSetKeyReq(nid=b"networK", nmk=b"sixteen byte key")
    wire = mme.encode(MmeFrame(mme.LOCAL_MODEM, _EVSE, request))
    assert (wire[19], wire[28], wire[33:40], wire[40], wire[41:57]) == (1, 4, b"networK", 1, b"sixteen byte key")
    assert "sixteen" not in repr(request)


def test_vendor_messages_have_an_oui_and_no_fragmentation_fields() -> None:
    wire = mme.encode(MmeFrame(mme.LOCAL_MODEM, _EVSE, vendor.VsPlLinkStatusReq()))
    assert wire[14:20].hex() == "00b8a000b052"
    assert mme.decode(bytes.fromhex("02000000010100b05200000188e100b9a000b0520001")).message == (
        vendor.VsPlLinkStatusCnf(link_status=1)
    )
    with pytest.raises(FrameError, match="vendor 0016e8"):
        mme.decode(wire[:17] + b"\x00\x16\xe8" + wire[20:])


def test_amplitude_maps_have_two_carriers_a_byte_and_their_own_length() -> None:
    request = mme.CmAmpMapReq(amlen=1155, amplitudes=bytes(578))
    wire = mme.encode(MmeFrame(_EVSE, _PEV, request))
    assert len(wire) == 19 + 2 + 578
    assert mme.decode(wire).message == request
    with pytest.raises(FrameError, match="578 bytes, 577"):
        mme.decode(wire[:-1])
    with pytest.raises(FrameError, match="length announced"):
        mme.encode(MmeFrame(_EVSE, _PEV, mme.CmAmpMapReq(amlen=2, amplitudes=bytes(2))))


def test_padding_behind_a_message_is_accepted_and_fragments_are_not() -> None:
    wire = mme.encode(MmeFrame(mme.BROADCAST, _PEV, mme.CmSlacParmReq(run_id=bytes(8))))
    assert mme.decode(wire + bytes(100)).message == mme.CmSlacParmReq(run_id=bytes(8))
    for at, value, error in (
        (17, 1, "fragmented"),
        (14, 3, "version"),
        (14, 0, "version"),
        (12, 8, "HomePlug"),
        (19, 1, "must be 0"),
    ):
        bad = bytearray(wire)
        bad[at] = value
        with pytest.raises(FrameError, match=error):
            mme.decode(bytes(bad))


def test_values_that_do_not_fit_are_refused() -> None:
    for message in (
        mme.CmSlacParmReq(run_id=b"short"),
        mme.CmMnbcSoundInd(cnt=256, run_id=bytes(8), rnd=bytes(16)),
        mme.CmAttenProfileInd(pev_mac=_PEV, aag=bytes(57)),
    ):
        with pytest.raises(FrameError):
            mme.encode(MmeFrame(_EVSE, _PEV, message))
    with pytest.raises(FrameError, match="6 bytes"):
        mme.encode(MmeFrame(b"", _PEV, vendor.VsPlLinkStatusReq()))


_heads = st.sampled_from(sorted(mme.CODECS)).flatmap(
    lambda kind: st.sampled_from([0, 1, 2]).map(
        lambda v: bytes(12) + b"\x88\xe1" + bytes((v,)) + kind[0].to_bytes(2, "little") + b"\0\0" * bool(v) + kind[2]
    )
)


@given(st.binary(max_size=200) | st.builds(lambda head, body: head + body, _heads, st.binary(max_size=130)))
def test_garbage_is_a_message_or_frame_error(data: bytes) -> None:
    try:
        frame = mme.decode(data)
    except FrameError:
        return
    assert mme.decode(mme.encode(frame)) == frame


@given(messages())
def test_every_message_survives_the_wire(message: Mme) -> None:
    wire = mme.encode(MmeFrame(_EVSE, _PEV, message))
    assert mme.MIN_FRAME <= len(wire) <= mme.MAX_FRAME
    assert mme.decode(wire) == MmeFrame(_EVSE, _PEV, message)
    assert mme.decode(wire + bytes(20)).message == message


@given(messages(), st.data())
def test_a_message_cut_short_is_a_frame_error_or_its_padding_was(message: Mme, data: st.DataObject) -> None:
    wire = mme.encode(MmeFrame(_EVSE, _PEV, message))
    cut = wire[: data.draw(st.integers(0, len(wire) - 1))]
    try:
        assert mme.decode(cut).message == message
    except FrameError:
        assert len(cut) < len(wire)
