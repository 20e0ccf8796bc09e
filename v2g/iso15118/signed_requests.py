"""What vehicles of any edition signed, as journals store it."""

from collections.abc import Callable
from typing import TypeVar

from v2g import exi
from v2g.energy.settlement.authorization import SignedChallenge
from v2g.errors import CodecError
from v2g.exi.declare import Element
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages.common import AuthorizationReq as AuthorizationReq2
from v2g.iso15118.d2.messages.common import MeteringReceiptReq
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.messages.common_messages import AuthorizationReq, MeteringConfirmationReq
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.iso15118.engine.v2g_message import decode_message
from v2g.pki.keys import PublicKey

RequestT = TypeVar("RequestT", bound=Element)
ReadT = TypeVar("ReadT")


def _read_receipt(payload: bytes, key: PublicKey) -> tuple[bytes, int, int]:
    """Return session id, Wh charged and Wh discharged (0) of a MeteringReceiptReq [V2G2-903]."""
    _, request = _verified(payload, MeteringReceiptReq, key)
    return request.session_id, request.meter_info.meter_reading or 0, 0


def _read_authorization_2(payload: bytes, key: PublicKey) -> SignedChallenge:
    """Return the challenge [V2G2-697]; the request has no certificate."""
    session_id, request = _verified(payload, AuthorizationReq2, key)
    return SignedChallenge(session_id, request.gen_challenge or b"", None)


def _verified(payload: bytes, expected: type[RequestT], key: PublicKey) -> tuple[bytes, RequestT]:
    """Return the session id in the header, and the request."""
    message, _ = decode_message(payload, ISO2, handshake=False)
    request = message.body.body_element if isinstance(message, V2G_Message) else message
    if not isinstance(message, V2G_Message) or not isinstance(request, expected):
        raise CodecError(f"{type(request).__name__} instead of {expected.__name__}")
    signatures.verify(message.header.signature, request, key)
    return message.header.session_id, request


def _read_confirmation_20(payload: bytes, key: PublicKey) -> tuple[bytes, int, int]:
    """Return session id, Wh charged and Wh discharged of a MeteringConfirmationReq (V2G20-1083)."""
    request = _decode_20(payload, MeteringConfirmationReq)
    data = request.signed_metering_data
    # the algorithm of a key follows from its chain, which was verified by profile before
    signature.verify(request.header.signature, data, key, allowed=signature.INTEROP, schema=COMMON_MESSAGES)
    meter = data.meter_info
    return data.session_id, meter.charged_energy_reading_wh, meter.bpt_discharged_energy_reading_wh or 0


def _read_authorization_20(payload: bytes, key: PublicKey) -> SignedChallenge:
    """Return challenge and contract (V2G20-1063)."""
    request = _decode_20(payload, AuthorizationReq)
    mode = request.pnc_a_req_authorization_mode
    if mode is None:
        raise CodecError("an AuthorizationReq without a contract")
    signature.verify(request.header.signature, mode, key, allowed=signature.INTEROP, schema=COMMON_MESSAGES)
    return SignedChallenge(request.header.session_id, mode.gen_challenge, mode.contract_certificate_chain.certificate)


def _decode_20(payload: bytes, expected: type[RequestT]) -> RequestT:
    request = exi.decode(payload, COMMON_MESSAGES)
    if not isinstance(request, expected):
        raise CodecError(f"{type(request).__name__} instead of {expected.__name__}")
    return request


def read_confirmation(payload: bytes, key: PublicKey) -> tuple[bytes, int, int]:
    """Return session id, Wh charged and Wh discharged of a MeteringConfirmationReq, or MeteringReceiptReq of -2 (EXI).

    Raises CodecError for any other message, SignatureError if the other half of `key` did not sign it.
    """
    return _read(payload, key, _read_confirmation_20, _read_receipt)


def read_authorization(payload: bytes, key: PublicKey) -> SignedChallenge:
    """Return what an AuthorizationReq by contract (EXI) says. Raises as `read_confirmation`."""
    return _read(payload, key, _read_authorization_20, _read_authorization_2)


def _read(
    payload: bytes,
    key: PublicKey,
    newer: Callable[[bytes, PublicKey], ReadT],
    older: Callable[[bytes, PublicKey], ReadT],
) -> ReadT:
    try:
        return newer(payload, key)
    except CodecError as error:
        try:
            return older(payload, key)
        except CodecError:
            raise error from None
