"""What vehicles of any edition signed of the meter's readings, as journals store it."""

from v2g.errors import CodecError
from v2g.iso15118.d2.metering import read_receipt
from v2g.iso15118.d20 import metering
from v2g.pki.keys import PublicKey


def read_confirmation(payload: bytes, key: PublicKey) -> tuple[bytes, int, int]:
    """Return session id, Wh charged and Wh discharged of a MeteringConfirmationReq, or MeteringReceiptReq of -2 (EXI).

    Raises CodecError for any other message, SignatureError if the other half of `key` did not sign it.
    """
    try:
        return metering.read_confirmation(payload, key)
    except CodecError as newer:
        try:
            return read_receipt(payload, key)
        except CodecError:
            raise newer from None
