"""Verification of stored requests that a vehicle signed: MeteringReceiptReq [V2G2-903], AuthorizationReq."""

from typing import TypeVar

from v2g.energy.settlement.authorization import SignedChallenge
from v2g.errors import CodecError
from v2g.exi.declare import Element
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages.common import AuthorizationReq, MeteringReceiptReq
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine.v2g_message import decode_message
from v2g.pki.keys import PublicKey

RequestT = TypeVar("RequestT", bound=Element)


def read_receipt(payload: bytes, key: PublicKey) -> tuple[bytes, int, int]:
    """Return session id, Wh charged and Wh discharged (0) of a request (EXI) signed by the other half of `key`.

    Raises CodecError for any other message, SignatureError.
    """
    _, request = _verified(payload, MeteringReceiptReq, key)
    return request.session_id, request.meter_info.meter_reading or 0, 0


def read_authorization(payload: bytes, key: PublicKey) -> SignedChallenge:
    """Return the challenge of a request (EXI) signed by the other half of `key` [V2G2-697]; it has no certificate.

    Raises CodecError for any other message, SignatureError.
    """
    session_id, request = _verified(payload, AuthorizationReq, key)
    return SignedChallenge(session_id, request.gen_challenge or b"", None)


def _verified(payload: bytes, expected: type[RequestT], key: PublicKey) -> tuple[bytes, RequestT]:
    """Return the session id in the header, and the request."""
    message, _ = decode_message(payload, ISO2, handshake=False)
    request = message.body.body_element if isinstance(message, V2G_Message) else message
    if not isinstance(message, V2G_Message) or not isinstance(request, expected):
        raise CodecError(f"{type(request).__name__} instead of {expected.__name__}")
    signatures.verify(message.header.signature, request, key)
    return message.header.session_id, request
