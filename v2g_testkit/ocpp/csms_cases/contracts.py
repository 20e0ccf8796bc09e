"""Contracts of vehicles, and certificates by which chargers are trusted: cases of blocks C and M for back ends."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from v2g import exi
from v2g.errors import ExiDecodeError, V2GError
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages import common as iso
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.data_types import CertificateChain, ListOfRootCertificateIDs, SubCertificates
from v2g.iso15118.d2.messages.header import MessageHeader as Header2
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.installation import InstallationRequest, make_request
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationRes as CertificateInstallationRes20
from v2g.iso15118.d20.messages.common_types import MessageHeader as Header20
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.xmldsig import issuer_serial
from v2g.ocpp.times import parse_time
from v2g.pki.certificates import key_kind, load_certificate
from v2g.pki.credentials import Credentials, load_chain, load_credentials
from v2g.pki.keys import SoftwareKey
from v2g.pki.ocsp import ocsp_request_data
from v2g.pki.paths import is_self_signed
from v2g.pki.profile import KeyKind
from v2g_testkit.ocpp.case import BOTH, Block, Failed, Inconclusive, NotApplicable, Payload, given
from v2g_testkit.ocpp.csms_cases.transaction import Transaction
from v2g_testkit.ocpp.csms_tester import CsmsTest
from v2g_testkit.ocpp.declaration import CertificateFiles, Token

CONTRACTS: Final[Block[CsmsTest]] = Block(profiles=("ISO 15118 Support",))

_MOST_HASHES: Final = 4
"""Elements of iso15118CertificateHashData."""


def _chain(path: Path | None, what: str) -> list[x509.Certificate]:
    """Return the certificates of a declared file, leaf first. Raises NotApplicable, Inconclusive."""
    if path is None:
        raise NotApplicable(f"no {what} is declared")
    try:
        return [load_certificate(each) for each in load_chain(path)]
    except V2GError as error:
        raise Inconclusive(str(error)) from None


def _statuses(chain: Sequence[x509.Certificate]) -> list[Payload]:
    """Return OCSPRequestDataType of each certificate that names a responder. Raises NotApplicable if none does."""
    found = [ocsp_request_data(certificate, issuer) for certificate, issuer in pairwise(chain)]
    named: list[Payload] = [
        {
            "hashAlgorithm": each.hash_algorithm,
            "issuerNameHash": each.issuer_name_hash,
            "issuerKeyHash": each.issuer_key_hash,
            "serialNumber": each.serial_number,
            "responderURL": each.responder_url,
        }
        for each in found
        if each.responder_url
    ]
    if not named:
        raise NotApplicable("the declared certificates name no responder, or their issuers are not in the file")
    return named


# -- authorization


def _token(chain: Sequence[x509.Certificate]) -> Token:
    (name,) = chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Token(str(name.value), "eMAID")


async def _authorized(t: CsmsTest, token: Token, **shown: object) -> None:
    """Show a valid contract; the back end accepts it, and the transaction. Raises Failed."""
    transaction = Transaction(t, token=token)
    await given(t.booted(), transaction.plugged())
    answer = await t.call("Authorize", idToken=token.payload, **shown)
    t.equal(answer["idTokenInfo"]["status"], "Accepted", "C07.FR.04", "answers a valid contract with {}")
    t.equal(answer.get("certificateStatus"), "Accepted", "C07.FR.14", "the certificateStatus of a valid contract is {}")
    transaction.accepted(await transaction.event("Updated", "Authorized", token=token))
    await transaction.event("Updated", "ChargingStateChanged", state="Charging", context="Sample.Periodic")


@CONTRACTS.case("TC_C_50_CSMS", "Contract that the station has verified", also="C07.FR.04 C07.FR.05 C07.FR.14")
async def hashes(t: CsmsTest) -> None:
    """The back end checks the status of the certificates by their hashes, and accepts the contract."""
    chain = _chain(_contract(t).chain, "contract")
    await _authorized(t, _token(chain), iso15118CertificateHashData=_statuses(chain)[:_MOST_HASHES])


@CONTRACTS.case("TC_C_51_CSMS", "Revoked contract that the station has verified", also="C07.FR.04 C07.FR.05")
async def revoked(t: CsmsTest) -> None:
    """The back end checks the status of the certificates by their hashes, and answers CertificateRevoked and
    Invalid."""
    chain = _chain(t.declared.revoked_contract, "revoked_contract")
    shown = _statuses(chain)[:_MOST_HASHES]
    await t.ready()
    answer = await t.call("Authorize", idToken=_token(chain).payload, iso15118CertificateHashData=shown)
    status, found = answer["idTokenInfo"]["status"], answer.get("certificateStatus")
    t.check(found == "CertificateRevoked", "C07.FR.16", f"the certificateStatus of a revoked contract is {found}")
    t.check(status == "Invalid", "C07.FR.16", f"answers a revoked contract with {status}")


@CONTRACTS.case(
    "TC_C_52_CSMS", "Contract that the back end verifies", also="C07.FR.04 C07.FR.05 C07.FR.14",
    needs=("central contract validation",),
)  # fmt: skip
async def chain_shown(t: CsmsTest) -> None:
    """The back end verifies the chain of the contract, checks its status, and accepts it."""
    chain = _chain(_contract(t).chain, "contract")
    sent = (each.public_bytes(Encoding.PEM).decode() for each in chain if not is_self_signed(each))
    await _authorized(t, _token(chain), certificate="".join(sent))


def _contract(t: CsmsTest) -> CertificateFiles:
    if t.declared.contract is None:
        raise NotApplicable("no contract is declared")
    return t.declared.contract


# -- the status of certificates


@CONTRACTS.case("TC_M_24_CSMS", "Status of certificates for vehicles", also="M06.FR.01 M06.FR.02 M06.FR.09")
async def status(t: CsmsTest) -> None:
    """The back end answers with the responder's answer about the certificate: DER in base64."""
    wanted = _statuses(_chain(t.declared.v2g_chain, "v2g_chain"))
    await t.ready()
    for each in wanted:
        answer = await t.call("GetCertificateStatus", ocspRequestData=each)
        if answer["status"] != "Accepted":
            raise Inconclusive(f"the back end gets no status from {each['responderURL']}")
        try:
            told = ocsp.load_der_ocsp_response(base64.b64decode(answer.get("ocspResult", ""), validate=True))
            serials = [f"{one.serial_number:x}" for one in told.responses]
        except (ValueError, binascii.Error):
            raise Failed("ocspResult is not the answer of a responder, DER in base64", "M06.FR.08") from None
        number = each["serialNumber"]
        t.check(number in serials, "M06.FR.03", f"the status is of {', '.join(serials)} instead of {number}")


# -- contracts for vehicles


_SESSION: Final = bytes(range(1, 9))
_MOST_CONTRACTS: Final = 3


def _vehicle(what: Iterable[CertificateFiles], *, newer: bool) -> Credentials:
    """Return the first certificate of an edition with its key. Raises NotApplicable, Inconclusive."""
    try:
        for each in what:
            found = load_credentials(each.chain, each.key)
            if (key_kind(found.private_key.public_key()) is not KeyKind.SECP256R1) is newer:
                return found
    except V2GError as error:
        raise Inconclusive(str(error)) from None
    raise NotApplicable(f"no certificate and key of a vehicle of ISO 15118-{'20' if newer else '2'} are declared")


def _request(t: CsmsTest, own: Credentials, *, update: bool, newer: bool) -> bytes:
    """Return the signed request of a vehicle, EXI. Raises NotApplicable."""
    subs = tuple(each for each in own.chain[1:] if not is_self_signed(load_certificate(each)))
    *_, root = _chain(t.declared.v2g_chain, "v2g_chain")
    if not is_self_signed(root):
        raise NotApplicable("v2g_chain does not end with the root")
    der = (root.public_bytes(Encoding.DER),)
    key = SoftwareKey(own.private_key)
    if newer:
        header = Header20(session_id=_SESSION, time_stamp=parse_time(t.now()) // 1000)
        wish = InstallationRequest(roots=der, maximum=_MOST_CONTRACTS)
        return exi.encode(make_request(header, (own.leaf, *subs), key, wish))
    roots = ListOfRootCertificateIDs(root_certificate_id=tuple(map(issuer_serial, der)))
    body: iso.BodyElement = iso.CertificateInstallationReq(
        oem_provisioning_cert=own.leaf, list_of_root_certificate_ids=roots, id="id1"
    )
    if update:
        chain = CertificateChain(certificate=own.leaf, sub_certificates=SubCertificates(certificate=subs))
        emaid = _token([load_certificate(own.leaf)]).id
        body = iso.CertificateUpdateReq(
            contract_signature_cert_chain=chain, emaid=emaid, list_of_root_certificate_ids=roots, id="id1"
        )
    signed = Header2(session_id=_SESSION, signature=signatures.sign(body, key))
    return exi.encode(V2G_Message(header=signed, body=Body(body_element=body)))


def _provisions(number: int, title: str, action: str, answers: type) -> None:
    newer, update = number == 100, action == "Update"

    @CONTRACTS.case(
        f"TC_M_{number}_CSMS", title,
        required=f"The back end answers with a {answers.__name__} for the vehicle: EXI in base64.",
        requirements=("M02.FR.01",) if update else ("M01.FR.01",), versions=("2.1",) if newer else BOTH,
        needs=("contracts for vehicles",),
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        requirement = "M02.FR.01" if update else "M01.FR.01"
        files = t.declared.provisioning if not update else (_contract(t),)
        request = _request(t, _vehicle(files, newer=newer), update=update, newer=newer)
        schema = COMMON_MESSAGES if newer else ISO2
        asked: Payload = {
            "iso15118SchemaVersion": schema.uri,
            "action": action,
            "exiRequest": base64.b64encode(request).decode(),
        }
        if newer:
            asked["maximumContractCertificateChains"] = _MOST_CONTRACTS
        await t.ready()
        answer = await t.call("Get15118EVCertificate", **asked)
        if answer["status"] != "Accepted":
            raise Inconclusive(f"the back end has no contract for the vehicle: it answers {answer['status']}")
        try:
            message: object = exi.decode(base64.b64decode(answer["exiResponse"], validate=True), schema)
        except (ExiDecodeError, binascii.Error) as error:
            raise Failed(f"exiResponse is no message of ISO 15118, EXI in base64: {error}", requirement) from None
        found = message.body.body_element if isinstance(message, V2G_Message) else message
        t.check(isinstance(found, answers), requirement, f"exiResponse is a {type(found).__name__}")


_provisions(26, "Contract for a vehicle of ISO 15118-2", "Install", iso.CertificateInstallationRes)
_provisions(28, "Update of the contract of a vehicle of ISO 15118-2", "Update", iso.CertificateUpdateRes)
_provisions(100, "Contract for a vehicle of ISO 15118-20", "Install", CertificateInstallationRes20)
