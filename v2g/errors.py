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
    │   └── KeyAccessError            a private key is unreadable or too readable
    ├── RefusedError              5   a well-formed wish that policy denies (discharge, tariff, limits)
    ├── TimeoutExpired            6   a timer of a standard ran out; `timer` names it
    ├── TransportError            7   link, socket, TLS, broker
    │   └── TlsError                  handshake failed; `reason` says why
    ├── StoreError                8   journal, queue or database
    └── VerificationError         9   a settlement bundle or journal does not prove what it claims

Each carries `hint`: what a person can do about it. The exit code is what the command line ends with.
"""

from typing import Final


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
    """`answer` is a value of responseCodeType, such as `FAILED_SequenceError`."""


class OcppError(ProtocolError):
    """`answer` is an OCPP-J error code, such as `FormationViolation` (OCPP-J 4.3)."""


class SlacError(ProtocolError):
    """Matching failed (ISO 15118-3). `answer` is the state the data link takes, such as `Unmatched`."""


class TrustError(V2GError):
    """Somebody could not be believed."""

    exit_code = 4


class CertificateError(TrustError):
    """A chain is not acceptable.

    `reason` is one of `expired`, `not_yet_valid`, `unknown_root`, `bad_signature`, `bad_profile`,
    `wrong_subject`, `malformed`.
    """

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final = reason


class RevocationError(TrustError):
    """A certificate is revoked, or its revocation state could not be established.

    `reason` is one of `revoked`, `unknown` (the responder does not know the certificate), `missing`, `expired`,
    `not_yet_valid`, `malformed`, `wrong_certificate`, `bad_signature`, `refused` (the responder gave no answer).
    """

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason: Final = reason


class SignatureError(TrustError):
    """A signature does not match what it is said to sign."""


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


class StoreError(V2GError):
    """A journal, queue or database could not be read or written."""

    exit_code = 8


class VerificationError(V2GError):
    """A settlement bundle or journal does not prove what it claims. `where` names the file and line."""

    exit_code = 9

    def __init__(self, message: str, *, where: str, hint: str = "") -> None:
        super().__init__(f"{where}: {message}", hint=hint)
        self.where: Final = where
