"""Which stations may connect and with which password, faults of their attempts, and remedies (A01, B01 to B03)."""

import hmac
import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from v2g.errors import RefusedError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.provisioning import GetBaseReportRequest, GetReportRequest
from v2g.ocpp.messages.remote_control import TriggerMessageRequest
from v2g.tables import table

Boot = Literal["Accepted", "Pending", "Rejected"]
Decision = Literal["", "Accepted", "Pending", "Rejected", "Refused"]
"""An operator's decision: the boot status, `Refused`: connection rejected, or none yet."""

Unknown = Literal["refuse", "pending", "accept"]


class Admission(msgspec.Struct, frozen=True):
    """An admitted station, and the answer to its BootNotification.

    `expired`: it connected with an expired certificate, only to renew it. `password`: the hash of the password by which
    it has identified itself; "": by a certificate.
    """

    boot: Boot
    expired: bool = False
    password: str = ""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A station's admission record: the decision, the lowest security profile that it may use, and hashes
    of its password and of the one being changed to ("": none). `verified`: the mark of the verified password.

    `expired_until_ms`: until when (UTC) an expired certificate of its is accepted (A00.FR.429)."""

    decision: Decision = ""
    least_profile: int = 0
    password: str = ""
    next_password: str = ""
    verified: str = ""
    expired_until_ms: int = 0


def admit(identity: str, configured: Mapping[str, Boot], decision: Decision, unknown: Unknown) -> Admission | None:
    """Return how to treat the station with `identity` in its URL; None: rejected.

    An operator's decision takes precedence over the configuration. `unknown`: the policy for stations without a
    decision. Identities that could escape a folder are always rejected.
    """
    if decision == "Refused" or identity.startswith("."):
        return None
    if decision:
        return Admission(decision)
    boot = configured.get(identity)
    if boot is not None:
        return Admission(boot)
    if unknown == "refuse":
        return None
    return Admission("Accepted" if unknown == "accept" else "Pending")


def serial_number_fits(serial_number: str | None, identity: str) -> bool:
    """Return whether BootNotification's serial number matches the certificate (B01.FR.11); omitting it is allowed."""
    return serial_number is None or serial_number == identity


_TRIGGERED: Final[Mapping[str, str]] = {
    "SignChargingStationCertificate": "SignCertificate",
    "SignV2GCertificate": "SignCertificate",
    "SignV2G20Certificate": "SignCertificate",
    "SignCombinedCertificate": "SignCertificate",
}


def follows(request: Message) -> frozenset[str]:
    """Return the actions by which a station that is not accepted yet may answer a request (B01.FR.10, B02.FR.02)."""
    if isinstance(request, GetBaseReportRequest | GetReportRequest):
        return frozenset({"NotifyReport"})
    if isinstance(request, TriggerMessageRequest):
        return frozenset({_TRIGGERED.get(request.requested_message, request.requested_message)})
    return frozenset()


FaultKind = Literal[
    "path",
    "unknown_station",
    "refused",
    "subprotocol",
    "password",
    "certificate",
    "expired",
    "serial_number",
    "security_profile",
    "tls",
]
SecurityProfile = Literal[1, 2, 3]

_OLD_VERSIONS: Final = frozenset({"ocpp1.2", "ocpp1.5", "ocpp2.0"})


class Fault(msgspec.Struct, frozen=True):
    """A failed connection attempt: `detail` is the observation, `hint` the remedy; `status` is the HTTP answer."""

    kind: FaultKind
    detail: str
    hint: str
    status: int = 403


def wrong_path(path: str, base: str, profile: SecurityProfile) -> Fault:
    """The URL names no identity below the endpoint's path."""
    scheme = "ws" if profile == 1 else "wss"
    return Fault(
        "path",
        f"the URL's path is {path[:200]}",
        f"set the station's CSMS URL to {scheme}://HOST:PORT{base.rstrip('/') or '/'} and its identity to 1 to 48 "
        "letters, digits or *_=+|@.- ; the station appends /IDENTITY itself",
        404,
    )


SECRET: Final = frozenset({"unknown_station", "refused", "password"})
"""Faults that must look alike to peers: the difference would reveal which identities exist."""


def unknown_station(identity: str) -> Fault:
    """The station has not been admitted."""
    return Fault("unknown_station", f"unknown station {identity}", "admit it: v2g csms admit STATION", 404)


def refused_station(identity: str) -> Fault:
    """An operator has refused this station."""
    return Fault("refused", f"{identity} was refused", "admit the station if it may connect after all")


def no_version(offered: Sequence[str], spoken: Sequence[str]) -> Fault:
    """No version of OCPP in common; the handshake succeeds all the same (OCPP-J 3.3)."""
    seen = f"the station offers {', '.join(offered)[:200]}" if offered else "the station offers no subprotocol"
    hint = f"let the station speak one of {', '.join(spoken)}"
    if _OLD_VERSIONS & set(offered):
        hint += "; it needs firmware with OCPP 1.6 or newer, or the setting that turns it on"
    if not offered or {each.casefold() for each in offered} & set(spoken):
        hint += ", or set without_subprotocol in its [[stations]] entry"
    return Fault("subprotocol", seen, hint, 101)


def no_password() -> Fault:
    """No (readable) basic authentication (A00.FR.203)."""
    return Fault(
        "password",
        "the request has no header 'Authorization: Basic'",
        "set SecurityCtrlr.BasicAuthPassword at the station and its security profile to 1 or 2",
        401,
    )


def wrong_user(username: str) -> Fault:
    """The user name is not the identity (A00.FR.204)."""
    return Fault(
        "password",
        f"the user name is {username[:60]!r}, the URL names another identity",
        "the user name of basic authentication is the station's identity",
        401,
    )


def wrong_password() -> Fault:
    """The password is not the station's (A00.FR.207)."""
    return Fault("password", "the password is wrong", "set the same password at the station and here", 401)


def too_many_guesses(wait_s: float) -> Fault:
    """Too many wrong passwords came from this address: this one was not checked."""
    return Fault(
        "password",
        "too many wrong passwords from this address; this one was not checked",
        f"check the source; the next attempt is possible in {wait_s:.0f} s",
        429,
    )


def password_missing_here() -> Fault:
    """The station has no password in the back end, so none can match."""
    return Fault("password", "the back end has no password for this station", "set its password", 401)


def no_certificate() -> Fault:
    """Security profile 3 without a certificate that has a common name."""
    return Fault(
        "certificate",
        "the station shows no certificate with one common name",
        "install a station certificate, or let the station connect to a listener of security profile 2",
    )


def other_name(name: str, identity: str) -> Fault:
    """The certificate is another station's (A00.FR.405)."""
    return Fault(
        "certificate",
        f"the certificate's common name is {name[:60]!r}, the URL names {identity!r}",
        "the identity in the URL must be the common name of the station's certificate",
    )


def other_organization(organization: str, wanted: str) -> Fault:
    """The certificate is not the operator's (A00.FR.404)."""
    return Fault(
        "certificate",
        f"the certificate's organization is {organization[:60]!r}",
        f"issue the station a certificate whose organization (O) is {wanted!r}",
    )


def other_serial_number(serial_number: str) -> Fault:
    """BootNotification names another serial number than the certificate (B01.FR.12)."""
    return Fault(
        "serial_number",
        f"BootNotification has the serial number {serial_number!r}, which is not the certificate's common name",
        "issue the station a certificate for its serial number, or set check_serial_number to false",
    )


def bad_certificate(reason: str, detail: str, hint: str = "") -> Fault:
    """The certificate is not trusted (A00.FR.407)."""
    if reason in ("unknown_root", "wrong_root"):
        hint = "add the root of its certificate to client_roots, or issue the station a certificate under one of those"
    elif not hint:
        hint = "issue the station a certificate without that fault"
    return Fault("certificate", f"{reason}: {detail[:200]}", hint)


def expired_certificate(detail: str) -> Fault:
    """The certificate has expired (A00.FR.407, A00.FR.429)."""
    return Fault(
        "expired",
        detail[:300],
        "issue the station a new certificate, or admit it to renew it itself: v2g csms admit STATION --expired-for 7",
    )


def lower_profile(profile: SecurityProfile, minimum: int) -> Fault:
    """The station has used a higher profile, and may not go back (A05.FR.07)."""
    return Fault(
        "security_profile",
        f"the station uses security profile {profile} but has used {minimum}",
        f"let it connect with profile {minimum}, or lower the station's least profile in the back end if intended",
    )


TLS_REASONS: Final = table("csms.admission", "tls_reasons.toml", dict[str, tuple[str, str]])
"""OpenSSL's name of a failure -> description, and remedy."""


def failed_tls(reason: str, verify_message: str = "") -> Fault:
    """The TLS handshake failed; `reason` is OpenSSL's, `verify_message` its text about a client's certificate."""
    if verify_message:
        return Fault(
            "certificate",
            f"the station's certificate: {verify_message[:200]}",
            "issue the station a new certificate, or add the root of its certificate to client_roots",
        )
    detail, hint = TLS_REASONS.get(reason, ("the TLS handshake failed", "see the station's log; it may have aborted"))
    return Fault("tls", f"{detail} ({reason.lower()})" if reason else detail, hint)


def tls_without_need() -> Fault:
    """TLS on a listener without TLS."""
    return Fault(
        "tls", "the station uses TLS on a listener without", "set the station's CSMS URL to ws://, or use wss://"
    )


MIN_LENGTH: Final = 16
MAX_LENGTH: Final = 40  # A00.FR.205; 2.1 allows 64, which stations of 2.0.1 reject
MAX_PASSWORDS: Final = 1000
"""Limit of passwords set at once: a minute, if all need slow hashes."""

SALT_BYTES: Final = 16
_KEY_OCTETS: Final = 20
_HEX_KEY: Final = re.compile(rf"[0-9A-Fa-f]{{{2 * _KEY_OCTETS}}}")
_ALPHABET: Final = string.ascii_letters + string.digits


def new_password(entropy: Callable[[int], bytes]) -> str:
    """Return 32 random letters and digits, 190 bits (A00.FR.205, A01.FR.07). `entropy(n)` returns n random bytes."""
    found: list[str] = []
    while len(found) < 32:
        found += [_ALPHABET[byte] for byte in entropy(64) if byte < len(_ALPHABET)]
    return "".join(found[:32])


def check_password(password: str) -> None:
    """Raise RefusedError (`password`) for one that is too short, too long, or not printable."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH or not password.isprintable():
        raise RefusedError(
            f"a password has {MIN_LENGTH} to {MAX_LENGTH} printable characters",
            reason="password",
            hint="leave it out for a random one",
        )


def stored_form(password: str) -> str:
    """Return a password as it is stored: 40 hexadecimal digits, the octets of an AuthorizationKey of OCPP 1.6, are
    in lower case."""
    return password.lower() if _HEX_KEY.fullmatch(password) else password


def forms(password: str) -> tuple[str, ...]:
    """Return what a password may be stored as: stations of 1.6 send the octets of their AuthorizationKey, which may be
    text, or its digits."""
    octets = password.encode()
    key = octets.hex() if len(octets) == _KEY_OCTETS else stored_form(password)
    return tuple(dict.fromkeys((password, key, key.upper() if _HEX_KEY.fullmatch(key) else key)))


class PasswordMarks:
    """Marks of verified passwords, which are cheap to compare: a station that reconnects, also after
    a restart, needs no slow hash. `secret` is of the store key, which is not in the database: without it, a mark
    reveals nothing about its password.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def mark(self, identity: str, password: str, hashed: str) -> str:
        """Return the mark of a password that matches the hash `hashed`."""
        return f"{self._of(hashed)[:16]}${self._of(chr(0).join((identity, hashed, password)))}"

    def judge(self, mark: str, identity: str, password: str, hashed: str) -> bool | None:
        """Return whether a password matches by its mark; None when there is none of this key and hash."""
        if not hmac.compare_digest(mark.partition("$")[0], self._of(hashed)[:16]):
            return None
        return any(hmac.compare_digest(mark, self.mark(identity, form, hashed)) for form in forms(password))

    def _of(self, text: str) -> str:
        return hmac.digest(self._secret, text.encode(), "sha256").hex()
