"""What vehicles of any edition signed, as journals store it."""

from collections.abc import Callable
from typing import TypeVar

from v2g.energy.settlement.authorization import SignedChallenge
from v2g.errors import CodecError
from v2g.iso15118.d2 import signed_requests as d2
from v2g.iso15118.d20 import signed_requests as d20
from v2g.pki.keys import PublicKey

ReadT = TypeVar("ReadT")


def read_confirmation(payload: bytes, key: PublicKey) -> tuple[bytes, int, int]:
    """Return session id, Wh charged and Wh discharged of a MeteringConfirmationReq, or MeteringReceiptReq of -2 (EXI).

    Raises CodecError for any other message, SignatureError if the other half of `key` did not sign it.
    """
    return _read(payload, key, d20.read_confirmation, d2.read_receipt)


def read_authorization(payload: bytes, key: PublicKey) -> SignedChallenge:
    """Return what an AuthorizationReq by contract (EXI) says. Raises as `read_confirmation`."""
    return _read(payload, key, d20.read_authorization, d2.read_authorization)


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
