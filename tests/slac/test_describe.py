"""Every frame can be shown to people: declared ones field by field, others in hexadecimal, keys never."""

from hypothesis import given
from hypothesis import strategies as st

from tests.slac.strategies import MESSAGES, messages
from v2g.slac import mme
from v2g.slac.inspection import describe
from v2g.slac.layout import HIDDEN, Mme
from v2g.slac.mme import MmeFrame

_A, _B = bytes.fromhex("020000000201"), bytes.fromhex("020000000101")


@given(messages())
def test_every_declared_message_is_shown_with_its_fields(message: Mme) -> None:
    shown = describe(mme.encode(MmeFrame(_A, _B, message)))
    assert (shown.destination, shown.source, shown.problem) == ("02:00:00:00:02:01", "02:00:00:00:01:01", "")
    assert tuple(name for name, _ in shown.fields) == message.__struct_fields__
    assert str(shown).startswith("02:00:00:00:01:01 > 02:00:00:00:02:01  ")


def test_names_are_those_of_the_specification() -> None:
    names = {message.name() for message in MESSAGES}
    assert len(names) == len(MESSAGES)
    assert {
        "CM_SLAC_PARM.REQ", "CM_START_ATTEN_CHAR.IND", "CM_MNBC_SOUND.IND", "CM_ATTEN_CHAR.RSP", "CM_VALIDATE.CNF",
        "CM_SLAC_MATCH.CNF", "CM_SET_KEY.REQ", "CM_AMP_MAP.REQ", "CM_NW_STATS.CNF", "VS_PL_LINK_STATUS.CNF",
        "VS_NW_INFO_V1.CNF", "VS_RD_MOD.REQ", "NSCM_GET_D_LINK_STATUS.CNF",
    } <= names  # fmt: skip


@given(st.binary(min_size=16, max_size=16).filter(lambda key: len(set(key)) > 8))
def test_keys_are_hidden_unless_asked_for(key: bytes) -> None:
    for message in (
        mme.CmSlacMatchCnf(pev_mac=_A, evse_mac=_B, run_id=bytes(8), nid=bytes(7), nmk=key),
        mme.CmSetKeyReq(nid=bytes(7), nmk=key),
    ):
        frame = mme.encode(MmeFrame(_A, _B, message))
        assert ("nmk", HIDDEN) in describe(frame).fields
        assert ("nmk", key.hex()) in describe(frame, secrets=True).fields
        for cut in range(len(frame)):  # also when the frame is damaged
            assert key.hex() not in str(describe(frame[:cut]))
            assert cut < 20 or key[:4].hex() not in str(describe(frame[:cut]))


def test_words_addresses_and_texts() -> None:
    fields = dict(describe(mme.encode(MmeFrame(_A, _B, mme.CmValidateCnf(result=4)))).fields)
    assert fields["result"] == "4 (not required)"
    fields = dict(describe(mme.encode(MmeFrame(_A, _B, mme.CmSlacParmCnf(forwarding_sta=_A, run_id=bytes(8))))).fields)
    assert (fields["forwarding_sta"], fields["m_sound_target"]) == ("02:00:00:00:02:01", "ff:ff:ff:ff:ff:ff")


def test_what_is_not_known_is_shown_in_hexadecimal() -> None:
    head = _A + _B + b"\x88\xe1"
    unknown = describe(head + b"\x01\x10\x60\x00\x00\xab\xcd" + bytes(40))
    assert (unknown.name, unknown.fields[0][0], unknown.fields[0][1][:4]) == ("CM_SC_JOIN.REQ", "payload", "abcd")
    assert "unknown" in unknown.problem
    other = describe(head + b"\x00\xfd\xb0\x00\x11\x22\xee" + bytes(40))
    assert (other.name, dict(other.fields)["oui"]) == ("0xb0fc.CNF", "001122")
    assert describe(_A + _B + b"\x86\xdd" + bytes(46)).problem == "EtherType 86dd is not HomePlug"


@given(st.binary(max_size=200) | st.builds(lambda body: _A + _B + b"\x88\xe1" + body, st.binary(max_size=100)))
def test_anything_can_be_shown(data: bytes) -> None:
    assert str(describe(data))
