"""Verification of the peer in the handshake, and the name of every failure.

Verification is ours, not the TLS library's, which would reject the extensions that Annex B of
ISO 15118-20 marks critical and accept keys that -20 forbids. Every backend uses a `Verdict`.
"""

import contextlib
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.x509 import ocsp

from v2g.errors import CertificateError, CertificateReason, FrameError, TlsError
from v2g.io.tls.endpoint import Endpoint, TlsIdentity, TlsProfile
from v2g.io.tls.hello import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CLIENT_HELLO,
    Entry,
    PeerPreferences,
    read_certificates,
    read_preferences,
)
from v2g.pki.certificates import key_kind
from v2g.pki.conformity import label
from v2g.pki.credentials import Credentials
from v2g.pki.revocation import Evidence, Fail, RevocationPolicy, decide_revocation
from v2g.pki.verify import VerifiedChain, verify_chain

RECEIVED: Final = {
    40: ("handshake_refused", "no cipher, group or signature algorithm in common with the peer"),
    42: ("own_certificate_refused", "the peer rejects our certificate as bad"),
    43: ("own_certificate_refused", "the peer does not support our certificate"),
    44: ("own_certificate_revoked", "the peer considers our certificate revoked"),
    45: ("own_certificate_expired", "the peer considers our certificate expired"),
    46: ("own_certificate_refused", "the peer rejects our certificate"),
    48: ("own_certificate_unknown_ca", "the peer does not know the root of our certificate"),
    51: ("decrypt_error", "the peer could not verify our signature"),
    70: ("protocol_version", "the peer does not support TLS 1.3"),
    71: ("no_common_cipher", "the peer considers our ciphers too weak"),
    113: ("own_ocsp_refused", "the peer rejects our OCSP answer"),
    116: ("own_certificate_missing", "the peer requires a certificate"),
}
"""Alerts of the peer about us (RFC 8446 6.2), by number."""

FOUND: Final = (
    ("no shared cipher", "no_common_cipher", "no cipher in common with the peer"),
    ("no suitable key share", "no_common_group", "no group in common with the peer"),
    ("no suitable groups", "no_common_group", "no group in common with the peer"),
    ("bad key share", "no_common_group", "the peer chose a group that we did not offer"),
    ("no suitable signature algorithm", "no_common_signature_algorithm", "the peer accepts no signature of our key"),
    (
        "no shared signature algorithms",
        "no_common_signature_algorithm",
        "no signature algorithm in common with the peer",
    ),
    ("wrong signature type", "no_common_signature_algorithm", "the peer signs with an algorithm that is not allowed"),
    ("unsupported protocol", "protocol_version", "the peer does not support TLS 1.3"),
    ("wrong version number", "not_tls", "the peer does not use TLS"),
    ("http request", "not_tls", "the peer uses HTTP"),
    ("peer did not return a certificate", "peer_certificate_missing", "the peer has no certificate"),
)
"""OpenSSL's texts of its own failures, our reasons and descriptions."""

VERIFY_OK: Final = 0
VERIFY_REVOKED: Final = 23

VERIFY_CODES: Final[dict[CertificateReason, int]] = {
    "expired": 10,  # certificate_expired
    "not_yet_valid": 9,  # bad_certificate
    "unknown_root": 20,  # unknown_ca
    "wrong_root": 20,
    "bad_signature": 7,  # decrypt_error
    "malformed": 28,  # bad_certificate
    "chain_too_long": 22,  # unknown_ca
    "chain_out_of_order": 28,
    "serial_reuse": 28,
    # All others concern the certificate's content: unsupported_certificate.
    "not_a_ca": 26,
    "path_length": 26,
    "name_constraints": 26,
    "unknown_critical_extension": 26,
    "wrong_curve": 26,
    "weak_hash": 26,
    "key_usage": 26,
    "extended_key_usage": 26,
    "bad_profile": 26,
    "wrong_domain": 26,
    "wrong_subject": 26,
}
"""X.509 verify codes that make OpenSSL send the matching alert about the peer's certificate."""


class Verdict:
    """The result of one handshake's verification."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.peer: VerifiedChain | None = None
        self.ocsp_responses: tuple[bytes, ...] = ()
        self.unproven = ""
        self.wishes = PeerPreferences()
        """The peer's preferences about our certificates."""
        self.alert: int | None = None
        """The peer's fatal alert, set by the backend."""
        self._endpoint = endpoint
        self._shown: tuple[Entry, ...] = ()
        self._refusal: TlsError | None = None

    def on_message(self, message: bytes) -> None:
        """Process a complete handshake message of the peer, with its header; irrelevant ones are ignored.

        Backends pass all of them, as soon as they are complete and decrypted.
        """
        kind = message[0] if message else None
        if kind == CERTIFICATE:
            try:
                self._shown = read_certificates(message)
            except FrameError as error:
                self._refusal = TlsError(str(error), reason="peer_certificate_malformed")
        elif kind == (CLIENT_HELLO if self._endpoint.server else CERTIFICATE_REQUEST):
            # An unreadable message is no preference; the library rejects it, too.
            with contextlib.suppress(FrameError):
                self.wishes = read_preferences(message)

    def judge(self) -> int:
        """Return the X.509 verify code for the peer's chain; 0 continues the handshake.

        The verified chain is then in `peer`. Of revocation, only a revoked server is rejected here, since
        the alert can express it. Other faults of OCSP answers have their own alert, for which the library
        calls `staples_good`.
        """
        endpoint = self._endpoint
        if not self._shown:
            return VERIFY_CODES["malformed"]
        leaf, *others = self._shown
        try:
            peer = verify_chain(
                leaf.der,
                [each.der for each in others],
                endpoint.trusted(),
                role=endpoint.peer_role,
                at=endpoint.now(),
                interop=endpoint.profile.interop,
                crosses=endpoint.crosses,
            )
        except CertificateError as error:
            reason = "unknown_ca" if error.reason == "unknown_root" else f"peer_certificate_{error.reason}"
            self._refusal = TlsError(str(error), reason=reason, hint=error.hint)
            return VERIFY_CODES[error.reason]
        return self._judge_revocation(peer)

    def staples_good(self) -> bool:
        """Return whether the server's revocation status allows the handshake, after `judge`."""
        return self.peer is not None

    def _judge_revocation(self, peer: VerifiedChain) -> int:
        """Check the OCSP answer for each certificate of a server (V2G20-2388) and revocation lists.

        For CAs no answer is required: hardly any library can staple one. For clients, none is
        requested (V2G20-2407).
        """
        endpoint = self._endpoint
        staples = {each.der: each.staple for each in reversed(self._shown)}  # some peers send the leaf twice
        given = [
            b"" if endpoint.server else staples.get(der, b"") for der in peer.der
        ]  # a cross certificate is not sent
        answers = {place: (answer,) for place, answer in enumerate(given) if answer}
        lenient = endpoint.server or endpoint.ask_responder
        revocation = decide_revocation(
            peer,
            Evidence(ocsp=answers, crls=endpoint.crls()),
            at=endpoint.now(),
            policy=RevocationPolicy(leaf=Fail.SOFT if lenient else endpoint.profile.revocation),
        )
        if (refusal := revocation.refusal) is not None:
            sentence = f"{label(refusal.certificate)}: {refusal.message}"
            self._refusal = TlsError(sentence, reason=f"{refusal.source or 'ocsp'}_{refusal.reason}")
            return VERIFY_REVOKED if refusal.reason == "revoked" or endpoint.server else VERIFY_OK
        self.peer = peer
        if not endpoint.server:
            found = revocation.findings
            self.unproven = found[0].reason or ""
            self.ocsp_responses = tuple(
                answers[place][0] if each.reason is None and each.source == "ocsp" else b""
                for place, each in enumerate(found)
            )
        return VERIFY_OK

    def name(self, details: Sequence[str], shown: TlsIdentity) -> TlsError:
        """Return the failure with an actionable reason.

        `details` are the reasons in OpenSSL's error queue, `shown` is the own chain that was sent.
        """
        if self._refusal is not None:
            return self._refusal
        offered = self._endpoint.profile
        hint = f"offered: {', '.join((*offered.ciphers, *offered.groups, *offered.signature_algorithms))}"
        if self.alert is not None:
            unknown = (f"alert_{self.alert}", f"the peer sent TLS alert {self.alert}")
            reason, sentence = RECEIVED.get(self.alert, unknown)
            if reason == "own_ocsp_refused" and _says_revoked(shown):
                reason, sentence = RECEIVED[44]
            return TlsError(sentence, reason=reason, hint=hint)
        text = "; ".join(details)
        for words, reason, sentence in FOUND:
            if words in text:
                return TlsError(sentence, reason=reason, hint=hint)
        return TlsError(f"TLS failed: {text}", reason="tls_failed", hint=hint)


class JudgedChannel:
    """The peer and own certificates of a channel, for all backends: see `v2g.io.tls.endpoint.Channel`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._verdict = Verdict(endpoint)
        self._identities = endpoint.current()
        self._shown = self._identities[0]

    @property
    def peer(self) -> VerifiedChain | None:
        """The peer's verified chain."""
        return self._verdict.peer

    @property
    def ocsp_responses(self) -> tuple[bytes, ...]:
        """The verified stapled answer for each certificate of the peer, or b""."""
        return self._verdict.ocsp_responses

    @property
    def unproven(self) -> str:
        """Why the server's revocation status is unknown, or ""."""
        return self._verdict.unproven

    @property
    def shown(self) -> Credentials:
        """The own chain that was sent."""
        return self._shown.credentials


def check_own_key(leaf: x509.Certificate, profile: TlsProfile) -> None:
    """Reject a certificate without a signature algorithm in the profile. OpenSSL would blame the peer.

    Raises TlsError(own_certificate_unsuitable).
    """
    kind = key_kind(leaf)
    if kind is None or not any(kind.value in algorithm for algorithm in profile.signature_algorithms):
        raise TlsError(
            f"our own certificate's key is {kind.value if kind else 'unknown'}, which {profile.name} does not allow",
            reason="own_certificate_unsuitable",
            hint="certificates of -2 need security_profile: interop",
        )


def _says_revoked(identity: TlsIdentity) -> bool:
    """Return whether the own OCSP answer shows that the certificate is revoked."""
    try:
        response = ocsp.load_der_ocsp_response(identity.answer())
        return any(each.certificate_status is ocsp.OCSPCertStatus.REVOKED for each in response.responses)
    except (OSError, ValueError):
        return False
