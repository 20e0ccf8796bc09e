"""Every error that this project raises on purpose, in one tree.

::

    V2GError                      exit code 1
    ├── ConfigError               2   a configuration file, key or command-line value is unusable
    ├── CodecError                    bytes that violate their format
    │   ├── ExiError                  EXI, with bit position and element path
    │   │   ├── ExiDecodeError
    │   │   └── ExiEncodeError
    │   ├── FrameError                V2GTP, SDP, HomePlug MME or OCPP framing
    │   └── Asn1Error                 DER of the signed-discharge messages
    ├── ProtocolError             3   the peer broke the protocol; `answer` is the error sent to it
    │   ├── Iso15118Error             `answer` is a responseCodeType value
    │   ├── OcppError                 `answer` is an OCPP-J CALLERROR code
    │   ├── OcpiError                 `code` and `http` are OCPI's and HTTP's status
    │   └── SlacError                 matching failed
    ├── TrustError                4   a certificate, signature or identity could not be verified
    │   ├── CertificateError          chain, validity, profile; `reason` has the error
    │   ├── RevocationError           revoked, or revocation could not be established
    │   ├── SignatureError            a signature does not match
    │   ├── EnvelopeError             a contract key cannot be sealed or unwrapped; `reason` has the error
    │   └── KeyAccessError            a private key is unreadable, or readable by too many
    ├── RefusedError              5   a valid request denied by policy (discharge, tariff, limits)
    ├── TimeoutExpired            6   a timer of a standard expired; `timer` names it
    ├── TransportError            7   link, socket, TLS, broker
    │   ├── TlsError                  handshake failed; `reason` has the cause
    │   └── TransferError             a file transfer failed; `failure` has the cause
    ├── StoreError                8   journal, queue or database
    │   ├── UnstorableError           the database rejects the values: another attempt fails, too
    │   └── InstallError              firmware could not be installed, started or rolled back
    └── VerificationError         9   a settlement bundle or journal does not prove what it claims

`hint` of each error tells the user what to do. The exit code is that of the command line. Any other exception is a
defect of the program, and ends it with DEFECT_EXIT.
"""

import contextlib
import errno
from collections.abc import Iterator
from typing import ClassVar, Final, Literal

DEFECT_EXIT: Final = 70
"""Exit code of a program or command with a defect: an exception that no code expects (EX_SOFTWARE of sysexits.h)."""

CertificateReason = Literal[
    "malformed",
    "chain_too_long",
    "unknown_root",
    "wrong_root",
    "bad_signature",
    "chain_out_of_order",
    "expired",
    "not_yet_valid",
    "serial_reuse",
    "name_constraints",
    "not_a_ca",
    "path_length",
    "unknown_critical_extension",
    "wrong_curve",
    "weak_hash",
    "key_usage",
    "extended_key_usage",
    "bad_profile",
    "wrong_domain",
    "wrong_subject",
]

CERTIFICATE_REASONS: Final[dict[CertificateReason, str]] = {
    "malformed": "the bytes are not a DER certificate",
    "chain_too_long": "more sub-CA certificates than a message may contain",
    "unknown_root": "the chain does not lead to a trusted root",
    "wrong_root": "the chain leads to a root of another family, such as a contract to an OEM root",
    "bad_signature": "a certificate was not signed by its issuer, or was modified",
    "chain_out_of_order": "the certificates are not in the order leaf, issuing CA, CA above it",
    "expired": "a certificate of the chain has expired",
    "not_yet_valid": "a certificate of the chain is not valid yet",
    "serial_reuse": "two certificates of one issuer have the same serial number",
    "name_constraints": "a name is outside the name constraints of a CA above (RFC 5280 4.2.1.10)",
    "not_a_ca": "a certificate of the chain may not issue others",
    "path_length": "a CA has too many CAs below it, or the wrong path length for its position",
    "unknown_critical_extension": "a certificate has an unknown critical extension",
    "wrong_curve": "a key has a type that the profile does not allow",
    "weak_hash": "a signature uses a hash that the profile does not allow",
    "key_usage": "key usage is missing, incomplete, or allows too much",
    "extended_key_usage": "extended key usage is missing, wrong, or not allowed",
    "bad_profile": "another rule of the profile is violated; see the message",
    "wrong_domain": "the subject's DC is not that of the role",
    "wrong_subject": "the subject lacks an attribute, has an extra one, or its CN is not an identifier of the role",
}
"""Reasons for rejecting a chain, roughly in the order of the checks, and their meaning."""

RevocationReason = Literal[
    "revoked",
    "unknown",  # the responder does not know the certificate
    "missing",
    "expired",  # stale
    "not_yet_valid",
    "malformed",
    "wrong_certificate",  # the response is for another one
    "bad_signature",
    "refused",  # the responder did not respond
]
"""Why a certificate is not known to be valid."""


class V2GError(Exception):
    """Root of the tree. `str(error)` is one sentence; `hint` tells the user what to do, or is empty."""

    exit_code: int = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint: Final = hint


def with_reason(error: V2GError) -> str:
    """Return an error in a line for people, with its reason before it where it has one."""
    reason = getattr(error, "reason", "")
    return f"{reason}: {error}" if reason else str(error) or type(error).__name__


class ConfigError(V2GError):
    """A configuration file, key or command-line value is unusable."""

    exit_code = 2


class CodecError(V2GError):
    """Bytes that violate their format."""

    exit_code = 3


class ExiError(CodecError):
    """EXI could not be decoded or encoded. `path` is the element path (`SessionSetupReq/Header/SessionID`)."""

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message, hint=hint)
        self.path: Final = path


class ExiDecodeError(ExiError):
    """The stream is not a valid message. `bit_position` counts from the first bit of the stream."""

    def __init__(self, message: str, *, bit_position: int, path: str = "") -> None:
        super().__init__(f"{message} (bit {bit_position})", path=path)
        self.bit_position: Final = bit_position


class ExiEncodeError(ExiError):
    """A value is outside its declared range."""


class FrameError(CodecError):
    """A V2GTP, SDP, HomePlug or OCPP-J frame is malformed."""


class RecordError(CodecError):
    """A signed record of a meter cannot be judged: it is `unreadable`, `incomplete` (cut), or its algorithm is
    `unsupported`.
    """

    def __init__(
        self, message: str, *, verdict: Literal["unreadable", "incomplete", "unsupported"] = "unreadable"
    ) -> None:
        super().__init__(message)
        self.verdict: Final = verdict


class Asn1Error(CodecError):
    """DER that does not follow the published ASN.1 module."""


class ProtocolError(V2GError):
    """The peer violated the protocol. `answer` is the error sent to it, as the protocol names it."""

    exit_code = 3

    def __init__(self, message: str, *, answer: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.answer: Final = answer


class Iso15118Error(ProtocolError):
    """`answer` is a value of responseCodeType, such as `FAILED_SequenceError`.

    `reason` is a stable code for the end of the session, if the answer is too general; else empty.
    """

    def __init__(self, message: str, *, answer: str, reason: str = "", hint: str = "") -> None:
        super().__init__(message, answer=answer, hint=hint)
        self.reason: Final = reason


NOT_THERE: Final = frozenset({"NotImplemented", "NotSupported"})
"""Error codes of OCPP-J, and statuses, by which a peer does not have what was requested (K01.FR.29, I07.FR.01)."""


class OcppError(ProtocolError):
    """`answer` is an OCPP-J error code, such as `FormationViolation` (OCPP-J 4.3)."""

    @property
    def not_there(self) -> bool:
        """Whether the peer does not have what was requested."""
        return self.answer in NOT_THERE


class OcpiError(ProtocolError):
    """`code` is an OCPI status code, such as 2001; `http` that of HTTP, where errors of OCPI are none."""

    def __init__(self, message: str, *, code: int, http: int = 200, hint: str = "") -> None:
        super().__init__(message, answer=str(code), hint=hint)
        self.code: Final = code
        self.http: Final = http


class SlacError(ProtocolError):
    """Matching failed (ISO 15118-3). `answer` is the new state of the data link, such as `Unmatched`."""


class TrustError(V2GError):
    """A certificate, signature or identity could not be verified."""

    exit_code = 4


class CertificateError(TrustError):
    """A certificate chain is rejected. `reason` is a CertificateReason."""

    def __init__(self, message: str, *, reason: CertificateReason, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final[CertificateReason] = reason


class RevocationError(TrustError):
    """A certificate is revoked, or its revocation state could not be established. `reason` is a RevocationReason."""

    def __init__(self, message: str, *, reason: RevocationReason, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final[RevocationReason] = reason


class SignatureError(TrustError):
    """A signature does not match its content."""


class EnvelopeError(TrustError):
    """A contract key cannot be encrypted for a vehicle, or an encrypted one is invalid.

    `reason` is one of `not_supported` (a TPM blob, a curve, a key too long for the field), `wrong_length`,
    `bad_point`, `not_authentic` (another key, other additional data, or modified in transit), `out_of_range`,
    `wrong_key` (not that of the certificate).
    """

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final = reason


class KeyAccessError(TrustError):
    """A private key is unreadable, or readable by too many."""


class RefusedError(V2GError):
    """A valid request denied by policy. `reason` is a stable code for logs and journals."""

    exit_code = 5

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final = reason


class TimeoutExpired(V2GError):
    """A timer expired. `timer` is its name in the standard, `seconds` its duration."""

    exit_code = 6

    def __init__(self, timer: str, seconds: float, *, hint: str = "") -> None:
        super().__init__(f"{timer} expired after {seconds:g} s", hint=hint)
        self.timer: Final = timer
        self.seconds: Final = seconds


class TransportError(V2GError):
    """A link, socket or broker failed."""

    exit_code = 7


class TlsError(TransportError):
    """A TLS handshake failed. `reason` names the cause (`no_common_cipher`, `peer_certificate`, ...)."""

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final = reason

    @property
    def lasting(self) -> bool:
        """Whether another attempt would fail in the same way."""
        return self.reason not in ("closed", "peer_silent", "peer_stalled", "truncated", "alert_80")


class UpgradeRefusedError(TransportError):
    """A server answered the opening handshake of WebSocket with an HTTP status other than 101, and perhaps asks not to
    come again for `wait_s`."""

    def __init__(self, message: str, *, status: int, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.status: Final = status
        self.wait_s: Final = wait_s


class SubprotocolError(TransportError):
    """A server agrees to none of the WebSocket subprotocols that it is offered."""


TransferFailure = Literal[
    "unreachable",
    "denied",
    "unsupported",  # the peer does not support the method
    "refused",
    "redirect",
    "too_large",
    "cancelled",
]


class TransferError(TransportError):
    """A file transfer failed; `failure` is the cause, `status` what an HTTP server answered, 0 for nothing."""

    def __init__(self, message: str, failure: TransferFailure, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.failure: Final[TransferFailure] = failure
        self.status: Final = status

    @property
    def lasting(self) -> bool:
        """Whether another attempt would fail in the same way."""
        return self.failure != "unreachable"


class StoreError(V2GError):
    """A journal, queue or database could not be read or written."""

    exit_code = 8
    answer: ClassVar[str] = "the store is unavailable"
    """What a peer is told: the message names files, hosts and roles."""


class SealedError(StoreError):
    """A file has sealed records, and none of the given keys is theirs."""


class UnstorableError(StoreError):
    """A database or sink rejects values, for a constraint or their range: another attempt fails in the same way."""

    answer = "the database rejects the values"


class InstallError(StoreError):
    """A step of a firmware update failed; `verification` if image or slot is not as expected."""

    def __init__(self, message: str, *, verification: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.verification: Final = verification


class VerificationError(V2GError):
    """A settlement bundle or journal does not prove its contents. `where` has the file and line."""

    exit_code = 9

    def __init__(self, message: str, *, where: str, hint: str = "") -> None:
        super().__init__(f"{where}: {message}", hint=hint)
        self.where: Final = where


_DISK: Final = {
    errno.ENOSPC: "free space on its disk",
    errno.EDQUOT: "free space within the user's quota",
    errno.EFBIG: "raise the limit of file sizes of this user or service",
    errno.EROFS: "choose a folder on a file system that can be written",
    errno.EIO: "check the disk",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of the path is a file: name a folder",
    errno.EACCES: "let this user read and write it",
    errno.EPERM: "let this user read and write it",
}


@contextlib.contextmanager
def disk_named() -> Iterator[None]:
    """Raise StoreError for what a disk, or its owner, refused to the block: that is no defect of the program."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK or (isinstance(error, PermissionError) and not error.filename):  # of a socket
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise StoreError(f"{where}{error.strerror}", hint=_DISK[error.errno]) from error
