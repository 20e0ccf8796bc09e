"""Every error that this project raises on purpose, in one tree.

::

    V2GError                      exit code 1
    ├── ConfigError               2   a configuration file, key or command-line value is not usable
    ├── CodecError                    bytes that are not what they claim to be
    │   ├── ExiError                  EXI, with bit position and element path
    │   │   ├── ExiDecodeError
    │   │   └── ExiEncodeError
    │   ├── FrameError                V2GTP, SDP, HomePlug MME or OCPP framing
    │   └── Asn1Error                 DER of the signed-discharge messages
    ├── ProtocolError             3   the peer broke the protocol; `answer` is what it is told
    │   ├── Iso15118Error             `answer` is a responseCodeType value
    │   ├── OcppError                 `answer` is an OCPP-J CALLERROR code
    │   └── SlacError                 matching failed
    ├── TrustError                4   somebody could not be believed
    │   ├── CertificateError          chain, validity, profile; `reason` says which
    │   ├── RevocationError           revoked, or revocation could not be established
    │   ├── SignatureError            a signature does not match
    │   ├── EnvelopeError             a contract key cannot be sealed or unwrapped; `reason` says why
    │   └── KeyAccessError            a private key is unreadable or too readable
    ├── RefusedError              5   a well-formed wish that policy denies (discharge, tariff, limits)
    ├── TimeoutExpired            6   a timer of a standard ran out; `timer` names it
    ├── TransportError            7   link, socket, TLS, broker
    │   ├── TlsError                  handshake failed; `reason` says why
    │   └── TransferError             a file did not get through; `failure` says why
    ├── StoreError                8   journal, queue or database
    │   └── InstallError              firmware could not be installed, started or given up
    └── VerificationError         9   a settlement bundle or journal does not prove what it claims

Each carries `hint`: what a person can do about it. The exit code is what the command line ends with.
"""

from typing import Final, Literal

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
    "chain_too_long": "more sub-CA certificates came along than a message may carry",
    "unknown_root": "the chain does not lead to a trusted root",
    "wrong_root": "the chain leads to a root of another family, such as a contract to an OEM root",
    "bad_signature": "a certificate was not signed by the one that it names, or was changed since",
    "chain_out_of_order": "the certificates are not in the order leaf, issuing CA, CA above it",
    "expired": "a certificate of the chain has expired",
    "not_yet_valid": "a certificate of the chain has not begun",
    "serial_reuse": "one issuer has given one serial number to two certificates",
    "name_constraints": "a name lies outside what a CA above may certify (RFC 5280 4.2.1.10)",
    "not_a_ca": "a certificate of the chain may not issue others",
    "path_length": "a CA has more CAs below it than it may, or not the path length of its place",
    "unknown_critical_extension": "a certificate has an unknown critical extension",
    "wrong_curve": "a key is of a kind that the profile does not allow",
    "weak_hash": "a signature uses a hash that the profile does not allow",
    "key_usage": "key usage is missing, lacks something, or allows too much",
    "extended_key_usage": "extended key usage is missing, is for something else, or must not be there",
    "bad_profile": "another rule of the profile is broken; the message says which",
    "wrong_domain": "the subject's DC is not that of the role",
    "wrong_subject": "the subject lacks an attribute, has an extra one, or its CN is not an identifier of the role",
}
"""Why a chain is not acceptable: words, roughly in the order in which they are found out, and their meaning."""

RevocationReason = Literal[
    "revoked",
    "unknown",  # the responder does not know the certificate
    "missing",
    "expired",  # stale
    "not_yet_valid",
    "malformed",
    "wrong_certificate",  # the answer is about another one
    "bad_signature",
    "refused",  # the responder gave no answer
]
"""Why a certificate is not known to be good."""


class V2GError(Exception):
    """Root of the tree. `str(error)` is one sentence; `hint` tells a person what to do, or is empty."""

    exit_code: int = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint: Final = hint


class ConfigError(V2GError):
    """A configuration file, key or command-line value is not usable."""

    exit_code = 2


class CodecError(V2GError):
    """Bytes that are not what they claim to be."""

    exit_code = 3


class ExiError(CodecError):
    """EXI could not be read or written. `path` is the element path (`SessionSetupReq/Header/SessionID`)."""

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message, hint=hint)
        self.path: Final = path


class ExiDecodeError(ExiError):
    """The stream is not a valid message. `bit_position` counts from the first bit of the stream."""

    def __init__(self, message: str, *, bit_position: int, path: str = "") -> None:
        super().__init__(f"{message} (bit {bit_position})", path=path)
        self.bit_position: Final = bit_position


class ExiEncodeError(ExiError):
    """A value lies outside what its declaration allows."""


class FrameError(CodecError):
    """A V2GTP, SDP, HomePlug or OCPP-J frame is malformed."""


class Asn1Error(CodecError):
    """DER that does not follow the published ASN.1 module."""


class ProtocolError(V2GError):
    """The peer broke the protocol. `answer` is what the peer is told, in the protocol's own words."""

    exit_code = 3

    def __init__(self, message: str, *, answer: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.answer: Final = answer


class Iso15118Error(ProtocolError):
    """`answer` is a value of responseCodeType, such as `FAILED_SequenceError`.

    `reason` is the stable word under which the session ends, where the answer says too little; else empty.
    """

    def __init__(self, message: str, *, answer: str, reason: str = "", hint: str = "") -> None:
        super().__init__(message, answer=answer, hint=hint)
        self.reason: Final = reason


class OcppError(ProtocolError):
    """`answer` is an OCPP-J error code, such as `FormationViolation` (OCPP-J 4.3)."""


class SlacError(ProtocolError):
    """Matching failed (ISO 15118-3). `answer` is the state the data link takes, such as `Unmatched`."""


class TrustError(V2GError):
    """Somebody could not be believed."""

    exit_code = 4


class CertificateError(TrustError):
    """A chain is not acceptable. `reason` is a CertificateReason."""

    def __init__(self, message: str, *, reason: CertificateReason, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final[CertificateReason] = reason


class RevocationError(TrustError):
    """A certificate is revoked, or its revocation state could not be established. `reason` is a RevocationReason."""

    def __init__(self, message: str, *, reason: RevocationReason, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final[RevocationReason] = reason


class SignatureError(TrustError):
    """A signature does not match what it is said to sign."""


class EnvelopeError(TrustError):
    """A contract key cannot be sealed for a vehicle, or what came sealed is not what it claims to be.

    `reason` is one of `not_supported` (a TPM blob, a curve, a key that has no place in the field), `wrong_length`,
    `bad_point`, `not_authentic` (another key, other additional data, or changed on the way), `out_of_range`,
    `wrong_key` (not the one of the certificate).
    """

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final = reason


class KeyAccessError(TrustError):
    """A private key cannot be read, or can be read by too many."""


class RefusedError(V2GError):
    """A well-formed wish that policy denies. `reason` is a stable word for logs and journals."""

    exit_code = 5

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final = reason


class TimeoutExpired(V2GError):
    """A timer ran out. `timer` is its name in the standard, `seconds` its length."""

    exit_code = 6

    def __init__(self, timer: str, seconds: float, *, hint: str = "") -> None:
        super().__init__(f"{timer} ran out after {seconds:g} s", hint=hint)
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


TransferFailure = Literal[
    "unreachable",
    "denied",
    "unsupported",  # no such method there
    "refused",
    "redirect",
    "too_large",
    "cancelled",
]


class TransferError(TransportError):
    """A file did not get through; `failure` says why in a word."""

    def __init__(self, message: str, failure: TransferFailure, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.failure: Final[TransferFailure] = failure

    @property
    def lasting(self) -> bool:
        """Whether another attempt would end the same way."""
        return self.failure != "unreachable"


class StoreError(V2GError):
    """A journal, queue or database could not be read or written."""

    exit_code = 8


class InstallError(StoreError):
    """A step of a firmware update failed; `verification` where image or slot is not what it should be."""

    def __init__(self, message: str, *, verification: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.verification: Final = verification


class VerificationError(V2GError):
    """A settlement bundle or journal does not prove what it claims. `where` names the file and line."""

    exit_code = 9

    def __init__(self, message: str, *, where: str, hint: str = "") -> None:
        super().__init__(f"{where}: {message}", hint=hint)
        self.where: Final = where
