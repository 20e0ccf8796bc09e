"""Verification of stored requests that a vehicle signed: MeteringConfirmationReq (V2G20-1083), AuthorizationReq."""

from typing import TypeVar

from v2g import exi
from v2g.energy.settlement.authorization import SignedChallenge
from v2g.errors import CodecError
from v2g.exi.declare import Element
from v2g.iso15118.d20.messages.common_messages import AuthorizationReq, MeteringConfirmationReq
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.pki.keys import PublicKey

RequestT = TypeVar("RequestT", bound=Element)


def read_confirmation(payload: bytes, key: PublicKey) -> tuple[bytes, int, int]:
    """Return session id, Wh charged and Wh discharged of a request (EXI) signed by the other half of `key`.

    Raises CodecError for any other message, SignatureError.
    """
    request = _decode(payload, MeteringConfirmationReq)
    data = request.signed_metering_data
    # the algorithm of a key follows from its chain, which was verified by profile before
    signature.verify(request.header.signature, data, key, allowed=signature.INTEROP, schema=COMMON_MESSAGES)
    meter = data.meter_info
    return data.session_id, meter.charged_energy_reading_wh, meter.bpt_discharged_energy_reading_wh or 0


def read_authorization(payload: bytes, key: PublicKey) -> SignedChallenge:
    """Return challenge and contract of a request (EXI) signed by the other half of `key` (V2G20-1063).

    Raises CodecError for any other message, SignatureError.
    """
    request = _decode(payload, AuthorizationReq)
    mode = request.pnc_a_req_authorization_mode
    if mode is None:
        raise CodecError("an AuthorizationReq without a contract")
    signature.verify(request.header.signature, mode, key, allowed=signature.INTEROP, schema=COMMON_MESSAGES)
    return SignedChallenge(request.header.session_id, mode.gen_challenge, mode.contract_certificate_chain.certificate)


def _decode(payload: bytes, expected: type[RequestT]) -> RequestT:
    request = exi.decode(payload, COMMON_MESSAGES)
    if not isinstance(request, expected):
        raise CodecError(f"{type(request).__name__} instead of {expected.__name__}")
    return request
