"""Verification of a stored MeteringConfirmationReq (V2G20-1083)."""

from v2g import exi
from v2g.errors import CodecError
from v2g.iso15118.d20.messages.common_messages import MeteringConfirmationReq
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.pki.keys import PublicKey


def read_confirmation(payload: bytes, key: PublicKey) -> tuple[bytes, int, int]:
    """Return session id, Wh charged and Wh discharged of a request (EXI) signed by the other half of `key`.

    Raises CodecError for any other message, SignatureError.
    """
    request = exi.decode(payload, COMMON_MESSAGES)
    if not isinstance(request, MeteringConfirmationReq):
        raise CodecError(f"{type(request).__name__} instead of MeteringConfirmationReq")
    data = request.signed_metering_data
    # the algorithm of a key follows from its chain, which was verified by profile before
    signature.verify(request.header.signature, data, key, allowed=signature.INTEROP, schema=COMMON_MESSAGES)
    meter = data.meter_info
    return data.session_id, meter.charged_energy_reading_wh, meter.bpt_discharged_energy_reading_wh or 0
