"""What must hold for any certificate, OCSP answer, CRL, certificate request, sealed key and installation message.

Each is judged, or refused by its own error, in bounded time. Everything is made from fixed keys that sign without
chance, so that an input that broke something breaks it again. Some inputs are signed anew by whoever should have
signed them: what an authority or a service that errs, or lies, can send.
"""

import contextlib
import functools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.x509 import ocsp
from msgspec.structs import replace

from tests.iso15118.d20.contracts import drawn
from v2g import exi
from v2g.errors import CertificateError, CodecError, EnvelopeError, RevocationError, SignatureError, TrustError
from v2g.iso15118.d20.envelope import Envelope, seal, unseal
from v2g.iso15118.d20.installation import (
    InstallationRequest,
    installation_data,
    make_request,
    make_response,
    open_contract,
    verify_service,
)
from v2g.iso15118.d20.messages.certificates import EcdhCurve
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationReq, CertificateInstallationRes
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.provisioning import ProvisioningService
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.iso15118.engine.contracts import Answer, Contract, Service
from v2g.pki.certificates import chain_from_pem, chain_to_pem
from v2g.pki.crl import Revoked, check_crl, load_crl, make_crl
from v2g.pki.csr import load_csr, requested_key
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import PrivateKey, SoftwareKey, new_ed448_contract_key
from v2g.pki.ocsp import check_ocsp, ocsp_request_data, responder_url
from v2g.pki.ocsp import make_response as make_answer
from v2g.pki.profile import Role
from v2g.pki.revocation import RevocationEvidence, RevocationPolicy, decide_revocation
from v2g.pki.verify import verify_chain

AT: Final = datetime(2026, 11, 20, tzinfo=UTC)
UTC_MS: Final = int(AT.timestamp() * 1000)
DAY: Final = timedelta(days=1)
PCID: Final = "WMIV2GENGINE00001X"
DER: Final = serialization.Encoding.DER

MOST_SECONDS: Final = 2.0
"""Of CPU for one input: a hundred times more than any takes here."""

_NAMES: Final = {Role.CONTRACT: "DEV2GC00000042", Role.OEM_PROVISIONING: PCID}
_FAMILIES: Final = {
    Role.SECC: (Role.V2G_ROOT, Role.CPO_SUB2),
    Role.VEHICLE: (Role.OEM_ROOT, Role.OEM_SUB2),
    Role.OEM_PROVISIONING: (Role.OEM_ROOT, Role.OEM_SUB2),
    Role.CONTRACT: (Role.MO_ROOT, Role.MO_SUB2),
    Role.CPS: (Role.V2G_ROOT, Role.CPS_SUB2),
}
ROLES: Final = tuple(_FAMILIES)


def bounded(function: Callable[[bytes], bool]) -> Callable[[bytes], None]:
    """Return a target of a function that says whether it took an input: it also fails when that takes long."""

    @functools.wraps(function)
    def timed(data: bytes) -> None:
        start = time.process_time()
        if data:
            function(data)
        assert time.process_time() - start < MOST_SECONDS

    return timed


# -- what is real -------------------------------------------------------------------------------------------------


def edwards(number: int) -> ed448.Ed448PrivateKey:
    return new_ed448_contract_key(drawn(number))


@functools.cache
def authority(role: Role) -> Issuer:
    """Return a root, or the sub-CA below the root of its family."""
    above = {sub: root for root, sub in _FAMILIES.values()}.get(role)
    key = edwards(1000 + list(Role).index(role))
    request = _request(role, f"{role.value}", key, serial=1 + list(Role).index(role))
    return Issuer(issue(request, authority(above) if above else Issuer(None, key)), key)


@functools.cache
def leaf(role: Role) -> tuple[x509.Certificate, PrivateKey]:
    key = edwards(2000 + list(Role).index(role))
    name = _NAMES.get(role, "DEV2GS00000000000000000000000000000042X")
    return issue(_request(role, name, key, serial=99), authority(_FAMILIES[role][1])), key


def _request(role: Role, name: str, key: PrivateKey, *, serial: int) -> IssueRequest:
    return IssueRequest(
        role=role,
        subject=Subject(common_name=name, organization="Fuzz"),
        public_key=key.public_key(),
        serial=serial,
        not_before=AT - 30 * DAY,
        ocsp_url=None if "root" in role.value else "http://ocsp.invalid",
        crl_url=None if "root" in role.value else "http://crl.invalid",
    )


def chain(role: Role) -> tuple[bytes, ...]:
    sub = authority(_FAMILIES[role][1]).certificate
    assert sub is not None
    return leaf(role)[0].public_bytes(DER), sub.public_bytes(DER)


def root(role: Role) -> bytes:
    certificate = authority(_FAMILIES[role][0]).certificate
    assert certificate is not None
    return certificate.public_bytes(DER)


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content).to_bytes(max(1, (len(content).bit_length() + 7) // 8))
    length = size if len(content) < 128 else bytes((0x80 | len(size),)) + size
    return bytes((tag,)) + length + content


def signed(body: bytes, key: PrivateKey) -> bytes:
    """Return any bytes as the signed part of a certificate, CRL or certificate request, which have one form."""
    assert isinstance(key, ed448.Ed448PrivateKey)
    ed448_oid = bytes.fromhex("300506032b6571")
    return _tlv(0x30, body[:60_000] + ed448_oid + _tlv(0x03, b"\0" + key.sign(body[:60_000])))


# -- certificates -------------------------------------------------------------------------------------------------


@bounded
def certificate(data: bytes) -> bool:
    """The first octet chooses role and place, and whether the rest is a certificate or what its CA then signs."""
    choice, body = data[0], data[1:]
    role = ROLES[choice % 5]
    is_sub, is_body = choice // 5 % 2, choice // 10 % 2
    if is_body:
        body = signed(body, authority(_FAMILIES[role][0 if is_sub else 1]).key)
    shown = (chain(role)[0], body) if is_sub else (body, chain(role)[1])
    taken = False
    for interop in (False, True):
        try:
            verified = verify_chain(shown[0], shown[1:], [root(role)], role=role, at=AT, interop=interop)
        except CertificateError:
            continue
        taken = True
        assert verified.role is role
        assert verified.der == shown
        assert responder_url(verified.leaf) is not None
        assert ocsp_request_data(verified.leaf, verified.leaf_issuer).serial_number
        assert len(chain_from_pem(chain_to_pem(verified.der).encode())) == 2
        if role is Role.CONTRACT:
            assert verified.emaid
        decide_revocation(verified, RevocationEvidence(crls=[_crl()]), at=AT, policy=RevocationPolicy())
    return taken


def certificate_seeds() -> list[bytes]:
    """Return every leaf and sub-CA, whole and as what is signed in it."""
    found = []
    for at, role in enumerate(ROLES):
        for is_sub, der in enumerate(chain(role)):
            found.append(bytes((at + 5 * is_sub,)) + der)
            tbs = x509.load_der_x509_certificate(der).tbs_certificate_bytes
            found.append(bytes((at + 5 * is_sub + 10,)) + tbs)
    return found


@bounded
def pem(data: bytes) -> bool:
    """Read a PEM text, as OCPP and files carry it."""
    try:
        assert chain_from_pem(data[1:])
    except CertificateError:
        return False
    return True


def pem_seeds() -> list[bytes]:
    return [b"\0" + chain_to_pem(chain(role)).encode() for role in (Role.CONTRACT, Role.SECC)]


# -- revocation ---------------------------------------------------------------------------------------------------


@functools.cache
def _responder() -> Issuer:
    key = edwards(3000)
    request = _request(Role.OCSP_RESPONDER, "responder", key, serial=77)
    return Issuer(issue(request, authority(Role.MO_SUB2)), key)


def _subject() -> tuple[x509.Certificate, x509.Certificate]:
    above = authority(Role.MO_SUB2).certificate
    assert above is not None
    return leaf(Role.CONTRACT)[0], above


@bounded
def answer(data: bytes) -> bool:
    """The first octet says whether the rest is an OCSP answer, or what its responder then signs."""
    choice, body = data[0], data[1:]
    if choice % 2:
        basic = signed(body, authority(Role.MO_SUB2).key)
        inner = _tlv(0x30, bytes.fromhex("06092b0601050507300101") + _tlv(0x04, basic))
        body = _tlv(0x30, bytes.fromhex("0a0100") + _tlv(0xA0, inner))
    try:
        check_ocsp(body, *_subject(), AT)
    except RevocationError as error:
        return error.reason == "revoked"
    said = ocsp.load_der_ocsp_response(body)
    assert leaf(Role.CONTRACT)[0].serial_number in {each.serial_number for each in said.responses}
    assert choice % 2 or said.tbs_response_bytes in {each.tbs_response_bytes for each in _answers()}
    return True


@functools.cache
def _answers() -> tuple[ocsp.OCSPResponse, ...]:
    subject, above = _subject()
    made = (
        make_answer(subject, above, each, at=AT - DAY, revoked_at=revoked_at)
        for each in (authority(Role.MO_SUB2), _responder())
        for revoked_at in (None, AT - 2 * DAY)
    )
    return tuple(map(ocsp.load_der_ocsp_response, made))


def answer_seeds() -> list[bytes]:
    """Return answers of CA and responder, good and revoked, whole and as what is signed in them."""
    whole = [b"\0" + each.public_bytes(DER) for each in _answers()]
    return whole + [b"\1" + each.tbs_response_bytes for each in _answers()[:2]]


@functools.cache
def _crl() -> Any:
    return load_crl(_lists()[0])


@functools.cache
def _lists() -> tuple[bytes, ...]:
    others = [Revoked(serial, AT - DAY, x509.ReasonFlags.key_compromise) for serial in (5, 6, 2**150)]
    about = [*others, Revoked(99, AT - DAY)]
    ca = authority(Role.MO_SUB2)
    return tuple(
        make_crl(ca, each, number=4, at=AT - DAY, validity=7 * DAY, url=url)
        for each, url in ((others, None), (about, None), (others, "http://crl.invalid"), ([], None))
    )


@bounded
def crl(data: bytes) -> bool:
    """The first octet says whether the rest is a CRL, or what its CA then signs."""
    choice, body = data[0], data[1:]
    try:
        found = load_crl(signed(body, authority(Role.MO_SUB2).key) if choice % 2 else body)
        check_crl(found, *_subject(), AT)
    except RevocationError as error:
        return error.reason == "revoked"
    assert leaf(Role.CONTRACT)[0].serial_number not in found.entries
    return True


def crl_seeds() -> list[bytes]:
    bodies = [x509.load_der_x509_crl(each).tbs_certlist_bytes for each in _lists()]
    return [b"\0" + each for each in _lists()] + [b"\1" + each for each in bodies]


# -- certificate requests -----------------------------------------------------------------------------------------


@bounded
def csr(data: bytes) -> bool:
    """The first octet chooses the role, and whether the rest is a request or what its maker then signs."""
    choice, body = data[0], data[1:]
    role = (*ROLES, Role.GATEWAY, Role.STATION)[choice % 7]
    try:
        requested_key(load_csr(signed(body, edwards(4000)) if choice // 7 % 2 else body), role)
    except CertificateError:
        return False
    return True


def csr_seeds() -> list[bytes]:
    key = edwards(4000)
    names = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CS-1")])
    builder = x509.CertificateSigningRequestBuilder(names)
    hosts = x509.SubjectAlternativeName([x509.DNSName("cs.invalid")])
    made = [each.sign(key, None) for each in (builder, builder.add_extension(hosts, critical=False))]
    whole = [bytes((6,)) + each.public_bytes(coding) for each in made for coding in (DER, serialization.Encoding.PEM)]
    return whole + [bytes((6 + 7,)) + each.tbs_certrequest_bytes for each in made]


# -- sealed keys and installation ---------------------------------------------------------------------------------


def _vehicle() -> SoftwareKey:
    return SoftwareKey(leaf(Role.OEM_PROVISIONING)[1])


@bounded
def envelope(data: bytes) -> bool:
    """The first octet chooses curve and content, the rest is DHPublicKey and the sealed key."""
    choice, body = data[0], data[1:]
    curve, holds = (list(EcdhCurve)[choice // bit % 2] for bit in (1, 2))
    contract, key = leaf(Role.CONTRACT)
    owner = _vehicle() if choice % 2 else SoftwareKey(ec.derive_private_key(5, ec.SECP521R1()))
    try:
        opened = unseal(Envelope(curve, body[:133], holds, body[133:]), owner, contract=contract, pcid=PCID)
    except EnvelopeError:
        return False
    assert opened.public_key() == key.public_key()
    return True


def envelope_seeds() -> list[bytes]:
    """Return the key of the contract, sealed for a vehicle of either curve."""
    contract, key = leaf(Role.CONTRACT)
    vehicles = (ec.derive_private_key(5, ec.SECP521R1()), leaf(Role.OEM_PROVISIONING)[1])
    found = []
    for at, vehicle in enumerate(vehicles):
        made = seal(key, vehicle.public_key(), contract=contract, pcid=PCID, entropy=drawn(9))
        found.append(bytes((at + 2,)) + made.public_key + made.encrypted)
    return found


def _service() -> Service:
    return Service(chain(Role.CPS), SoftwareKey(leaf(Role.CPS)[1]))


def _contract() -> Contract:
    return Contract(chain(Role.CONTRACT), leaf(Role.CONTRACT)[1])


HEADER: Final = MessageHeader(session_id=bytes(range(1, 9)), time_stamp=UTC_MS // 1000)


@bounded
def installation(data: bytes) -> bool:
    """Even first octets: a request before the service. Odd ones: a response before the vehicle. 2: signed anew."""
    choice, body = data[0], data[1:]
    if choice // 2 % 2:
        body = _signed_anew(body)
    return _installed(body) if choice % 2 else _asked(body)


def _signed_anew(body: bytes) -> bytes:
    """Return a message with the signature of its sender, if it is one at all."""
    with contextlib.suppress(CodecError, SignatureError):
        message: Any = exi.decode(body, COMMON_MESSAGES)
        if isinstance(message, CertificateInstallationReq):
            made = signature.sign(message.oem_provisioning_certificate_chain, _vehicle(), schema=COMMON_MESSAGES)
        elif isinstance(message, CertificateInstallationRes):
            made = signature.sign(message.signed_installation_data, _service().key, schema=COMMON_MESSAGES)
        else:
            return body
        return exi.encode(replace(message, header=replace(message.header, signature=made)))
    return body


def _asked(body: bytes) -> bool:
    """The service answers what can be read at all, and gives this contract to this vehicle only."""
    service = ProvisioningService(_service(), oem_roots=[root(Role.OEM_PROVISIONING)], mo_roots=[root(Role.CONTRACT)])
    try:
        asked = service.read(body, UTC_MS)
    except CodecError:
        return False
    said = asked if isinstance(asked, Answer) else service.answer(asked, [_contract()], UTC_MS, drawn(9))
    assert isinstance(exi.decode(said.exi, COMMON_MESSAGES), CertificateInstallationRes)
    assert not said.emaid or said.pcid == PCID
    return bool(said.emaid)


def _installed(body: bytes) -> bool:
    """The vehicle takes a contract with its key, or nothing."""
    try:
        message = exi.decode(body, COMMON_MESSAGES)
    except CodecError:
        return False
    if not isinstance(message, CertificateInstallationRes):
        return False
    taken = True
    try:
        verify_service(message, [root(Role.CPS)], at=AT)
    except TrustError:
        taken = False
    for roots in ([root(Role.CONTRACT)], []):
        try:
            opened = open_contract(message.signed_installation_data, _vehicle(), PCID, roots=roots, at=AT)
        except TrustError:
            taken = False
        else:
            assert opened.emaid == _NAMES[Role.CONTRACT] or not roots  # of whom it is, says the service then
            assert opened.key.public_key() == leaf(Role.CONTRACT)[1].public_key()
    return taken


def installation_seeds() -> list[bytes]:
    """Return a request and a response, each as it comes and to be signed anew."""
    wish = InstallationRequest(roots=(root(Role.CPS),), maximum=3, emaids=("DEV2GC00000042",))
    request = exi.encode(make_request(HEADER, chain(Role.OEM_PROVISIONING), _vehicle(), wish))
    data = installation_data(_contract(), _vehicle().public_key, PCID, drawn(9))
    response = exi.encode(make_response(HEADER, _service(), data, remaining=1))
    return [bytes((choice,)) + (response if choice % 2 else request) for choice in range(4)]


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]] = {
    "certificate": (certificate, certificate_seeds),
    "pem": (pem, pem_seeds),
    "answer": (answer, answer_seeds),
    "crl": (crl, crl_seeds),
    "csr": (csr, csr_seeds),
    "envelope": (envelope, envelope_seeds),
    "installation": (installation, installation_seeds),
}
