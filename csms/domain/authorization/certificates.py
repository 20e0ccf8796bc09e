"""Certificate status from responders and lists, for certificates identified by hashes (use case M07)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from cryptography.x509 import ocsp

from csms.domain.authorization.contracts import Question, check_answer
from v2g.errors import RevocationError
from v2g.pki.crl import check_serial, load_crl

Status = Literal["Good", "Revoked", "Unknown", "Failed"]

_REASONS: Final[dict[str, Status]] = {"revoked": "Revoked", "unknown": "Unknown"}


class Finding(msgspec.Struct, frozen=True):
    """Status of a certificate from a responder or list, and its validity (None: not stated)."""

    status: Status
    until: datetime | None = None


_PORTS: Final = {"http": 80, "https": 443}

FAILED: Final = Finding("Failed")


def read_answer(answer: bytes, question: Question, at: datetime) -> Finding:
    """Return the status in a responder's answer; Failed for an untrusted one."""
    try:
        check_answer(question, answer, at)
    except RevocationError as error:
        status = _REASONS.get(error.reason, "Failed")
        return Finding(status, None if status == "Failed" else _until(answer))
    return Finding("Good", _until(answer))


def read_list(data: bytes, question: Question, at: datetime) -> Finding:
    """Return the status in a revocation list; Failed for an untrusted one."""
    try:
        found = load_crl(data)
        until = found.crl.next_update_utc
        check_serial(found, question.serial, question.issuer, at)
    except RevocationError as error:
        return Finding("Revoked", until) if error.reason == "revoked" else FAILED
    return Finding("Good", until)


def may_ask(url: str, allowed: Sequence[str]) -> bool:
    """Return whether a URL is below an allowed one, as a server would parse it, not by comparing text."""
    asked = _parts(url)
    for each in allowed:
        place = _parts(each)
        if asked is not None and place is not None and asked[:3] == place[:3] and asked[3].startswith(place[3]):
            return True
    return False


def _parts(url: str) -> tuple[str, str, int, str] | None:
    """Return scheme, host, port and path; None for URLs that servers may parse differently."""
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        return None
    if found.scheme not in _PORTS or not found.hostname or "@" in found.netloc:
        return None
    path = unquote(found.path) or "/"
    odd = "\\" in path or "%" in path or any(character <= " " or character > "~" for character in url + path)
    if odd or any(step in (".", "..") for step in path.split("/")):
        return None
    return found.scheme, found.hostname, port or _PORTS[found.scheme], path


def _until(answer: bytes) -> datetime | None:
    return ocsp.load_der_ocsp_response(answer).next_update_utc
