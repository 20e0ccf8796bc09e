"""Every bad certificate shown in a TLS handshake, to the charger and to the vehicle, is refused by its own name.

The rogue is a plain OpenSSL end that shows whatever it is told to; the other end is ours.
"""

import contextlib

import pytest
from cryptography import x509
from OpenSSL import SSL

from pki_tools.tree import PkiTree
from tests.io.tls.support import evcc, only_2, secc
from tests.pki.bad_certificates import CASES, CASES_2, Case, cases_for
from tests.pki.forge import NOW, Forge, Made
from v2g.errors import CERTIFICATE_REASONS, CertificateReason, TlsError
from v2g.io.tls.endpoint import TlsChannel, open_channel
from v2g.pki.profile import Generation, Role

pytestmark = pytest.mark.requirement("R2")

SIDES = (Role.VEHICLE, Role.SECC)

_NO_ALGORITHM = {
    "leaf on P-256", "leaf on P-384", "leaf on secp256k1", "leaf on brainpoolP512r1", "leaf with Ed25519",
    "leaf with RSA of 4096 bit", "leaf with RSA of 2048 bit",
}  # fmt: skip
"""Keys for which the handshake has no signature algorithm in common: the certificate is not even shown."""
_NO_ALGORITHM_2 = _NO_ALGORITHM - {"leaf on P-256"} | {"leaf on P-521", "no digitalSignature", "sub-CA before its leaf"}
"""The same in TLS 1.2, where the rogue's library wants a curve of the groups, and digitalSignature."""


_NO_CERTIFICATE = {
    "peer_certificate_missing",
    "handshake_refused",
    "no_common_signature_algorithm",
    "protocol_version",  # secp256k1, for which TLS 1.3 has no signature algorithm at all
}
_ALERTS = {"expired": 45, "unknown_root": 48, "wrong_root": 48, "chain_too_long": 48, "bad_signature": 51}
"""The alert that a rogue gets, where it is more than `bad` (42) or `unsupported` (43)."""


class Rogue:
    """A TLS end that neither checks anything nor knows any profile. `reported` is the alert that it gets."""

    def __init__(self, made: Made, *, server: bool, version: int = SSL.TLS1_3_VERSION) -> None:
        self.reported: int | None = None
        context = SSL.Context(SSL.TLS_SERVER_METHOD if server else SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        leaf, *rest = map(x509.load_der_x509_certificate, made.chain)
        context.use_certificate(leaf)
        for each in rest:
            context.add_extra_chain_cert(each)
        context.use_privatekey(made.key)
        context.set_verify(SSL.VERIFY_NONE, None)
        context.set_info_callback(self._on_info)
        self._connection = SSL.Connection(context, None)
        (self._connection.set_accept_state if server else self._connection.set_connect_state)()

    def _on_info(self, _connection: SSL.Connection, where: int, value: int) -> None:
        if where & SSL.SSL_CB_READ_ALERT == SSL.SSL_CB_READ_ALERT:
            self.reported = value & 0xFF

    def exchange(self, data: bytes) -> bytes:
        """Take in what the other end sent and return what there is to say."""
        if data:
            self._connection.bio_write(data)
        with contextlib.suppress(SSL.Error):  # what goes wrong is the other end's to say
            self._connection.do_handshake()
            self._connection.recv(1)
        try:
            return self._connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""


def handshake(pki: PkiTree, role: Role, made: Made, rogue: Rogue | None = None) -> None:
    """Let a rogue of `role` show itself to our end. Raises TlsError, once the rogue has the alert."""
    options = {"anchors": made.anchors, "now": lambda: NOW}
    end = secc(pki, staple=None, **options) if role is Role.VEHICLE else evcc(pki, **options)  # type: ignore[arg-type]
    meet(open_channel(end), rogue or Rogue(made, server=role is Role.SECC))


def meet(channel: TlsChannel, rogue: Rogue) -> None:
    """Run a handshake. Raises TlsError, once the rogue has the alert."""
    try:
        for _ in range(5):
            channel.handshake()
            channel.feed(rogue.exchange(channel.take()))
    except TlsError:
        rogue.exchange(channel.take())
        raise


def _reason(case: Case) -> str:
    return "unknown_ca" if case.reason == "unknown_root" else f"peer_certificate_{case.reason}"


def refusal(pki: PkiTree, role: Role, made: Made) -> str:
    with pytest.raises(TlsError) as error:
        handshake(pki, role, made)
    return error.value.reason


@pytest.mark.long
@cases_for(Role.SECC, sendable=True, cases=CASES_2)
def test_a_bad_charger_of_2_is_refused_by_name_in_the_handshake(pki: PkiTree, case: Case, role: Role) -> None:
    made = case.make(Forge(role, Generation.ISO15118_2))
    client = evcc(pki, **only_2(pki) | {"anchors": made.anchors}, now=lambda: NOW)
    with pytest.raises(TlsError) as error:
        meet(open_channel(client), Rogue(made, server=True, version=SSL.TLS1_2_VERSION))
    if case.name in _NO_ALGORITHM_2:
        assert error.value.reason in _NO_CERTIFICATE
    else:
        assert error.value.reason == _reason(case)


def test_the_rogue_of_2_is_believed_once_its_certificates_are_good(pki: PkiTree) -> None:
    made = Forge(Role.SECC, Generation.ISO15118_2).made()
    client = evcc(pki, **only_2(pki) | {"anchors": made.anchors}, now=lambda: NOW)
    with pytest.raises(TlsError) as error:
        meet(open_channel(client), Rogue(made, server=True, version=SSL.TLS1_2_VERSION))
    assert error.value.reason == "ocsp_missing"  # believed so far


@cases_for(*SIDES, sendable=True)
@pytest.mark.some(1)
def test_a_bad_certificate_is_refused_by_name_in_the_handshake(pki: PkiTree, case: Case, role: Role) -> None:
    reason = refusal(pki, role, case.make(Forge(role)))
    if case.name in _NO_ALGORITHM:
        assert reason in _NO_CERTIFICATE
    else:
        assert reason == _reason(case)


def test_the_rogue_is_believed_once_its_certificates_are_good(pki: PkiTree) -> None:
    handshake(pki, Role.VEHICLE, Forge(Role.VEHICLE).made())
    assert refusal(pki, Role.SECC, Forge(Role.SECC).made()) == "ocsp_missing"  # believed so far


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("reason", sorted(set(CERTIFICATE_REASONS) - {"malformed", "wrong_curve"}))
def test_the_rogue_learns_what_is_wrong_with_its_certificate(pki: PkiTree, reason: CertificateReason) -> None:
    """By the alert that RFC 8446 6.2 has for it."""
    case = next(each for each in CASES if each.reason == reason and Role.VEHICLE in each.roles)
    made = case.make(Forge(Role.VEHICLE))
    rogue = Rogue(made, server=False)
    with pytest.raises(TlsError):
        handshake(pki, Role.VEHICLE, made, rogue)
    assert rogue.reported == _ALERTS.get(reason, rogue.reported)
    assert rogue.reported in {42, 43, *_ALERTS.values()}
