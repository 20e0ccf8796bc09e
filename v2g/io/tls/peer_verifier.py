"""Verification of the peer in the handshake, and the name of every failure.

Verification is ours, not the TLS library's, which would reject the extensions that Annex B of
ISO 15118-20 marks critical and accept keys that -20 forbids. Every backend uses a `PeerVerdict`.
"""

import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography import x509
from cryptography.x509 import ocsp

from v2g.errors import CertificateError, CertificateReason, FrameError, TlsError
from v2g.io.tls import hello
from v2g.io.tls.endpoint import Endpoint, TlsIdentity, TlsProfile
from v2g.io.tls.hello import select
from v2g.pki.certificates import key_kind, load_certificate
from v2g.pki.conformity import label
from v2g.pki.credentials import Credentials
from v2g.pki.revocation import Fail, RevocationEvidence, RevocationPolicy, decide_revocation
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
    70: ("protocol_version", "the peer supports none of our versions of TLS"),
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
    ("unsupported protocol", "protocol_version", "the peer supports none of our versions of TLS"),
    (
        "inappropriate fallback",
        "downgrade",
        "both sides support TLS 1.3, and the peer wants TLS 1.2: a third party may interfere, or TLS 1.3 failed before",
    ),
    ("wrong version number", "not_tls", "the peer does not use TLS"),
    ("http request", "not_tls", "the peer uses HTTP"),
    ("peer did not return a certificate", "peer_certificate_missing", "the peer has no certificate"),
)
"""OpenSSL's texts of its own failures, our reasons and descriptions."""

_GROUP_NAMES: Final = {"prime256v1": "secp256r1", "X448": "x448", "X25519": "x25519"}
"""OpenSSL's names of groups to those of `Channel.group`."""

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


class PeerVerdict:
    """The result of one handshake's verification."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.peer: VerifiedChain | None = None
        self.ocsp_responses: tuple[bytes, ...] = ()
        self.unproven = ""
        self.wishes = hello.PeerPreferences()
        """The peer's preferences about our certificates."""
        self.alert: int | None = None
        """The peer's fatal alert, set by the backend."""
        self.profile = endpoint.profile
        """The profile in use; on a client with two, from the ServerHello on."""
        self._endpoint = endpoint
        self._shown: tuple[hello.HelloEntry, ...] = ()
        self._chain: VerifiedChain | None = None  # in TLS 1.2, before its revocation is judged
        self._refusal: TlsError | None = None
        self._asked = False  # for our certificate

    def on_message(self, message: bytes) -> None:
        """Process a complete handshake message of the peer, with its header; irrelevant ones are ignored.

        Backends pass all of them, as soon as they are complete and decrypted.
        """
        kind = message[0] if message else None
        if kind == hello.CERTIFICATE:
            try:
                self._shown = hello.read_certificates(message, self.profile.version)
            except FrameError as error:
                self._refusal = TlsError(str(error), reason="peer_certificate_malformed")
            return
        # Any other unreadable message says nothing; the library rejects it, too.
        with contextlib.suppress(FrameError):
            if kind == (hello.CLIENT_HELLO if self._endpoint.server else hello.CERTIFICATE_REQUEST):
                self._asked = kind == hello.CERTIFICATE_REQUEST
                self.wishes = hello.read_preferences(message)
            if kind == hello.CLIENT_HELLO and self._endpoint.server:
                # name what the ClientHello lacks; the library only knows that nothing is in common
                try:
                    select(
                        hello.read_client_hello(message), self._endpoint.profiles, falls_back=self._endpoint.falls_back
                    )
                except TlsError as error:
                    self._refusal = error
            elif kind == hello.SERVER_HELLO:
                version = hello.VERSIONS.get(hello.read_version(message))
                self.profile = next((each for each in self._endpoint.profiles if each.version == version), self.profile)
            elif kind == hello.CERTIFICATE_STATUS and self._shown:
                self._shown = (
                    msgspec.structs.replace(self._shown[0], staple=hello.read_status(message)),
                    *self._shown[1:],
                )

    def check_end(self, version: str, group: str) -> None:
        """Check the outcome of a complete handshake. Raises TlsError."""
        profile = self.profile
        if self._refusal is not None:
            raise self._refusal
        if version != profile.version:
            raise TlsError(f"the handshake ended at {version}, not {profile.version}", reason="protocol_version")
        if self.peer is None and (profile.mutual or not self._endpoint.server):
            raise TlsError("the peer showed no certificate", reason="peer_certificate_missing")
        if profile.version == "TLSv1.3" and group not in {_GROUP_NAMES.get(each, each) for each in profile.groups}:
            raise TlsError(f"the peer chose {group}, which {profile.name} does not allow", reason="no_common_group")

    def judge(self) -> int:
        """Return the X.509 verify code for the peer's chain; 0 continues the handshake.

        The verified chain is then in `peer`; in TLS 1.2 after `staples_good`, since the server's OCSP answer follows.
        Of revocation, only a revoked server is rejected here, since the alert can express it. Other faults of
        OCSP answers have their own alert, for which the library calls `staples_good`.
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
                interop=self.profile.interop,
                generation=self.profile.generation,
                crosses=endpoint.crosses,
            )
        except CertificateError as error:
            reason = "unknown_ca" if error.reason == "unknown_root" else f"peer_certificate_{error.reason}"
            self._refusal = TlsError(str(error), reason=reason, hint=error.hint)
            return VERIFY_CODES[error.reason]
        if self.profile.version == "TLSv1.2":
            self._chain = peer
            return VERIFY_OK
        return self._judge_revocation(peer)

    def staples_good(self) -> bool:
        """Return whether the server's revocation status allows the handshake, after `judge`."""
        if self._chain is not None and self._refusal is None:
            self._judge_revocation(self._chain)
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
            RevocationEvidence(ocsp=answers, crls=endpoint.crls()),
            at=endpoint.now(),
            policy=RevocationPolicy(leaf=Fail.SOFT if lenient else self.profile.revocation),
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

    def name(self, details: Sequence[str], shown: TlsIdentity | None) -> TlsError:
        """Return the failure with an actionable reason.

        `details` are the reasons in OpenSSL's error queue, `shown` is the own chain that was sent.
        """
        if self._refusal is not None:
            return self._refusal
        profiles = self._endpoint.profiles
        offered = (each for p in profiles for each in (*p.ciphers, *p.groups, *p.signature_algorithms))
        hint = f"offered: {', '.join(dict.fromkeys(offered))}"
        if self.alert is not None:
            unknown = (f"alert_{self.alert}", f"the peer sent TLS alert {self.alert}")
            reason, sentence = RECEIVED.get(self.alert, unknown)
            if reason == "own_ocsp_refused" and shown is not None:
                reason, sentence = _refused_answer(shown)
            elif reason == "handshake_refused" and self._asked and not self.profile.mutual:
                reason, sentence = RECEIVED[116]  # TLS 1.2 has no alert of its own
            return TlsError(sentence, reason=reason, hint=hint)
        text = "; ".join(details)
        for words, reason, sentence in FOUND:
            if words in text:
                return TlsError(sentence, reason=reason, hint=hint)
        return TlsError(f"TLS failed: {text}", reason="tls_failed", hint=hint)


class JudgedChannel:
    """The peer and own certificates of a channel, for all backends: see `v2g.io.tls.endpoint.TlsChannel`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._verdict = PeerVerdict(endpoint)
        # the identities for the profile, all of them if there is none; a client in TLS 1.2 shows none
        if not endpoint.server and not endpoint.profile.mutual:
            self._identities: tuple[TlsIdentity, ...] = ()
        else:
            present = endpoint.current()
            suited = (each for each in present if signs_with(load_certificate(each.credentials.leaf), endpoint.profile))
            self._identities = tuple(suited) or present
        self._shown = self._identities[0] if self._identities else None

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
    def shown(self) -> Credentials | None:
        """The own chain that was sent, None without one."""
        return self._shown.credentials if self._shown is not None else None


def signs_with(leaf: x509.Certificate, profile: TlsProfile) -> bool:
    """Return whether the profile has a signature algorithm for a certificate's key."""
    kind = key_kind(leaf)
    return kind is not None and any(kind.value in algorithm for algorithm in profile.signature_algorithms)


def check_own_key(leaf: x509.Certificate, *profiles: TlsProfile) -> None:
    """Reject a certificate without a signature algorithm in one of the profiles. OpenSSL would blame the peer.

    Raises TlsError(own_certificate_unsuitable).
    """
    if not any(signs_with(leaf, each) for each in profiles):
        kind = key_kind(leaf)
        names = " and ".join(each.name for each in profiles)
        raise TlsError(
            f"our own certificate's key is {kind.value if kind else 'unknown'}, which {names} does not allow",
            reason="own_certificate_unsuitable",
            hint='certificates of -2 are for vehicles of -2 (charger.editions), or for security_profile = "interop"',
        )


def _refused_answer(identity: TlsIdentity) -> tuple[str, str]:
    """Return what a refusal of the own OCSP answer means: it says that the certificate is revoked, or there is none."""
    try:
        answer = identity.answer()
        response = ocsp.load_der_ocsp_response(answer) if answer else None
        if response is None:
            return "own_ocsp_refused", "the peer demands an OCSP answer, and we have none"
        revoked = any(each.certificate_status is ocsp.OCSPCertStatus.REVOKED for each in response.responses)
    except (OSError, ValueError):
        revoked = False
    return RECEIVED[44 if revoked else 113]
