"""Verification of a stored MeteringReceiptReq [V2G2-903]."""

from v2g.errors import CodecError
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages.common import MeteringReceiptReq
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.engine.v2g_message import decode_message
from v2g.pki.keys import PublicKey


def read_receipt(payload: bytes, key: PublicKey) -> tuple[bytes, int, int]:
    """Return session id, Wh charged and Wh discharged (0) of a request (EXI) signed by the other half of `key`.

    Raises CodecError for any other message, SignatureError.
    """
    message, _ = decode_message(payload, ISO2, handshake=False)
    request = message.body.body_element if isinstance(message, V2G_Message) else message
    if not isinstance(message, V2G_Message) or not isinstance(request, MeteringReceiptReq):
        raise CodecError(f"{type(request).__name__} instead of MeteringReceiptReq")
    signatures.verify(message.header.signature, request, key)
    return request.session_id, request.meter_info.meter_reading or 0, 0
