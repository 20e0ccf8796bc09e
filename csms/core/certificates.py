"""What responders and lists say of certificates that are known by their hashes only (use case M07)."""

from datetime import datetime
from typing import Final, Literal

import msgspec
from cryptography.x509 import ocsp

from csms.core.contracts import Question, check_answer
from v2g.errors import RevocationError
from v2g.pki.crl import check_serial, load_crl

Status = Literal["Good", "Revoked", "Unknown", "Failed"]

_REASONS: Final[dict[str, Status]] = {"revoked": "Revoked", "unknown": "Unknown"}


class Finding(msgspec.Struct, frozen=True):
    """What a responder or a list says of a certificate, and until when that holds (None: not told)."""

    status: Status
    until: datetime | None = None


FAILED: Final = Finding("Failed")


def read_answer(answer: bytes, question: Question, at: datetime) -> Finding:
    """Return what a responder's answer says; Failed for one that is not believed."""
    try:
        check_answer(question, answer, at)
    except RevocationError as error:
        status = _REASONS.get(error.reason, "Failed")
        return Finding(status, None if status == "Failed" else _until(answer))
    return Finding("Good", _until(answer))


def read_list(data: bytes, question: Question, at: datetime) -> Finding:
    """Return what a revocation list says; Failed for one that is not believed."""
    try:
        found = load_crl(data)
        until = found.crl.next_update_utc
        check_serial(found, question.serial, question.issuer, at)
    except RevocationError as error:
        return Finding("Revoked", until) if error.reason == "revoked" else FAILED
    return Finding("Good", until)


def _until(answer: bytes) -> datetime | None:
    return ocsp.load_der_ocsp_response(answer).next_update_utc
