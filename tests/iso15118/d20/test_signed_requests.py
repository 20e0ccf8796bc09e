"""A MeteringConfirmationReq and an AuthorizationReq kept as evidence."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from tests.energy.settlement.conftest import authorization_of
from v2g import exi
from v2g.energy.settlement.authorization import SignedChallenge
from v2g.errors import CodecError, SignatureError
from v2g.iso15118 import signed_requests as d20
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import MessageHeader, MeterInfo
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.iso15118.signed_requests import read_authorization, read_confirmation

SESSION = bytes(range(8))


def confirmation(pki: PkiTree, signed_as: int = 1_200, reported: int = 1_200) -> bytes:
    """Return a request that says `reported` Wh and was signed for `signed_as`."""
    info = MeterInfo(meter_id="METER-0001", charged_energy_reading_wh=signed_as, bpt_discharged_energy_reading_wh=300)
    data = cm.SignedMeteringData(
        id="id1", session_id=SESSION, meter_info=info, dynamic_smdt_control_mode=cm.Dynamic_SMDTControlMode()
    )
    header = MessageHeader(
        session_id=SESSION,
        time_stamp=1_800_000_000,
        signature=signature.sign(data, pki.key("contract"), schema=COMMON_MESSAGES),
    )
    said = msgspec.structs.replace(data, meter_info=msgspec.structs.replace(info, charged_energy_reading_wh=reported))
    return exi.encode(cm.MeteringConfirmationReq(header=header, signed_metering_data=said))


def test_what_the_contract_key_signed_is_read(pki: PkiTree) -> None:
    assert read_confirmation(confirmation(pki), pki.key("contract").public_key) == (SESSION, 1_200, 300)


def test_another_reading_or_another_key_is_found(pki: PkiTree) -> None:
    with pytest.raises(SignatureError):
        read_confirmation(confirmation(pki, reported=9_999), pki.key("contract").public_key)
    with pytest.raises(SignatureError):
        read_confirmation(confirmation(pki), pki.key("vehicle").public_key)


def test_the_challenge_of_a_contract_is_read_with_its_certificate(pki: PkiTree) -> None:
    own, key = pki.credentials("contract"), pki.key("contract").public_key
    payload = authorization_of(own, SESSION, bytes(range(16)))
    assert read_authorization(payload, key) == SignedChallenge(SESSION, bytes(range(16)), own.leaf)
    with pytest.raises(SignatureError):
        read_authorization(payload, pki.key("vehicle").public_key)


def test_authorisation_by_external_means_is_none_of_a_contract(pki: PkiTree) -> None:
    request = cm.AuthorizationReq(
        header=MessageHeader(session_id=SESSION, time_stamp=0),
        selected_authorization_service=cm.Authorization.EIM,
        eim_a_req_authorization_mode=cm.EIM_AReqAuthorizationMode(),
    )
    with pytest.raises(CodecError, match="an AuthorizationReq without a contract"):
        d20.read_authorization(exi.encode(request), pki.key("contract").public_key)


def test_another_message_is_neither(pki: PkiTree) -> None:
    header = MessageHeader(session_id=SESSION, time_stamp=0)
    other = exi.encode(cm.SessionStopReq(header=header, charging_session=cm.ChargingSession.Terminate))
    for read in (read_confirmation, read_authorization):
        with pytest.raises(CodecError, match="SessionStopReq"):
            read(other, pki.key("contract").public_key)


@given(st.binary(max_size=300))
def test_garbage_is_one_documented_error(data: bytes) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    for read in (read_confirmation, read_authorization):
        with pytest.raises((CodecError, SignatureError)):
            read(data, key)
