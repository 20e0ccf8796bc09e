"""Contracts from pools of others, in both editions: what a back end reads of a vehicle's request, and how it checks
what a pool has answered before the vehicle gets it. The pool verifies the request, and the service that it has asked
has signed the contract; a back end forwards both.
"""

from datetime import datetime
from typing import Final, cast

import msgspec

from v2g import exi
from v2g.errors import CertificateError, CodecError, RefusedError
from v2g.iso15118.d2 import provisioning as d2
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.envelope import Envelope
from v2g.iso15118.d2.envelope import seal as seal_2
from v2g.iso15118.d2.messages import common as d2_messages
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.data_types import CertificateChain
from v2g.iso15118.d2.messages.data_types import ResponseCode as ResponseCode2
from v2g.iso15118.d2.messages.header import MessageHeader as Header2
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20 import installation as d20
from v2g.iso15118.d20.envelope import IV_BYTES, SCALAR_BYTES, TAG_BYTES, Entropy
from v2g.iso15118.d20.messages import certificates as iso
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationReq, CertificateInstallationRes
from v2g.iso15118.d20.messages.common_types import MessageHeader, ResponseCode
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine.contracts import Contract, Service, pcid_of
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.pki.certificates import is_same_contract, load_certificate, normalize_emaid
from v2g.pki.keys import PublicKey
from v2g.pki.pools import SealedContract
from v2g.pki.profile import Generation, Role
from v2g.pki.verify import VerifiedChain, verify_chain


class ForeignRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a back end reads of a vehicle's CertificateInstallationReq; nothing of it is verified.

    `generation` is the edition, `maximum` for how many contracts the vehicle has room, `emaids` those that it prefers.
    """

    generation: Generation
    session_id: bytes
    pcid: str
    maximum: int = 1
    emaids: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """What public ecosystems call the edition (xsdMsgDefNamespace)."""
        return NAMESPACES[self.generation]


NAMESPACES: Final = {
    Generation.ISO15118_2: "urn:iso:15118:2:2013:MsgDef",
    Generation.ISO15118_20: "urn:iso:15118:20:2020:MsgDef",
}


class ContractTrust(msgspec.Struct, frozen=True, kw_only=True):
    """Whose contracts are taken: `roots` of services and of contracts (DER), `crosses` that lead to them."""

    roots: tuple[bytes, ...]
    crosses: tuple[bytes, ...] = ()
    interop: bool = False


def read_contract_request(request: bytes, schema: str) -> ForeignRequest:
    """Return what a vehicle asks for; `schema` is OCPP's schema version, or the namespace of an ecosystem.

    Raises CodecError for another message (an update is none that a pool answers) or edition, CertificateError for a
    provisioning certificate without PCID.
    """
    if generation_of(schema) is Generation.ISO15118_20:
        asked = exi.decode(request, COMMON_MESSAGES)
        if not isinstance(asked, CertificateInstallationReq):
            raise CodecError(f"{type(asked).__name__} is no CertificateInstallationReq")
        wished = asked.prioritized_emaids.emaid if asked.prioritized_emaids else ()
        return ForeignRequest(
            generation=Generation.ISO15118_20,
            session_id=asked.header.session_id,
            pcid=pcid_of(load_certificate(asked.oem_provisioning_certificate_chain.certificate)),
            maximum=asked.maximum_contract_certificate_chains,
            emaids=tuple(map(normalize_emaid, wished)),
        )
    message, _ = decode_message(request, ISO2, handshake=False)
    body = body_of(message)
    if not isinstance(message, V2G_Message) or not isinstance(body, d2_messages.CertificateInstallationReq):
        raise CodecError(f"{type(body).__name__} is no CertificateInstallationReq")
    return ForeignRequest(
        generation=Generation.ISO15118_2,
        session_id=message.header.session_id,
        pcid=pcid_of(load_certificate(body.oem_provisioning_cert)),
    )


def no_contract(asked: ForeignRequest, utc_ms: int, *, sure: bool = True) -> bytes:
    """Return the response (EXI) that tells a vehicle that there is no contract for it; not `sure`: none that it can
    have at present, which -2 does not distinguish."""
    if asked.generation is Generation.ISO15118_20:
        header = MessageHeader(session_id=asked.session_id, time_stamp=utc_ms // 1000)
        none, no_usable = ResponseCode.WARNING_NoContractMatchingPCIDFound, ResponseCode.WARNING_NoCertificateAvailable
        return exi.encode(d20.refusal(header, none if sure else no_usable))
    response = d2_messages.CertificateInstallationRes(
        response_code=ResponseCode2.FAILED_NoCertificateAvailable, **d2.NO_CONTRACT
    )
    return exi.encode(V2G_Message(header=Header2(session_id=asked.session_id), body=Body(body_element=response)))


def addressed(response: bytes, asked: ForeignRequest, utc_ms: int, remaining: int) -> bytes:
    """Return a stored response (EXI) in the session of a vehicle; `remaining`: contracts that follow it, in -20.

    Neither is part of what the service has signed. Raises CodecError for anything else.
    """
    message = _response(response, asked.generation)
    if isinstance(message, CertificateInstallationRes):
        header = MessageHeader(
            session_id=asked.session_id, time_stamp=utc_ms // 1000, signature=message.header.signature
        )
        return exi.encode(
            msgspec.structs.replace(message, header=header, remaining_contract_certificate_chains=remaining)
        )
    header_2 = Header2(session_id=asked.session_id, signature=message.header.signature)
    return exi.encode(msgspec.structs.replace(message, header=header_2))


def check_contract(
    response: bytes, asked: ForeignRequest, trust: ContractTrust, at: datetime
) -> tuple[VerifiedChain, VerifiedChain]:
    """Return the chains of a pool's response (EXI) that a vehicle can install: of the contract, and of the service that
    has signed it. Whether they are revoked is left to the caller.

    Raises CodecError for anything that is no response of its edition, RefusedError for one of another session or
    without contract, CertificateError (service, contract, EMAID), SignatureError. That the key in it is sealed for the
    vehicle only the vehicle can check.
    """
    message = _response(response, asked.generation)
    if message.header.session_id != asked.session_id:
        raise RefusedError("the response is of another session", reason="session")
    if isinstance(message, CertificateInstallationRes):
        return _check_20(message, trust, at)
    return _check_2(message, trust, at)


def _check_20(
    message: CertificateInstallationRes, trust: ContractTrust, at: datetime
) -> tuple[VerifiedChain, VerifiedChain]:
    if message.response_code is not ResponseCode.OK:
        raise RefusedError(f"the response is {message.response_code.name}", reason="no_contract")
    service = d20.verify_service(message, trust.roots, at=at, interop=trust.interop, crosses=trust.crosses)
    chain = message.signed_installation_data.contract_certificate_chain
    contract = verify_chain(
        chain.certificate,
        d20.subs_of(chain),
        trust.roots,
        role=Role.CONTRACT,
        at=at,
        interop=trust.interop,
        crosses=trust.crosses,
    )
    return contract, service


def _check_2(message: V2G_Message, trust: ContractTrust, at: datetime) -> tuple[VerifiedChain, VerifiedChain]:
    body = message.body.body_element
    assert isinstance(body, d2_messages.CertificateInstallationRes)
    if not body.response_code.name.startswith("OK"):
        raise RefusedError(f"the response is {body.response_code.name}", reason="no_contract")

    def verified(chain: CertificateChain, role: Role) -> VerifiedChain:
        return verify_chain(
            chain.certificate,
            signatures.sub_cas(chain),
            trust.roots,
            role=role,
            at=at,
            interop=trust.interop,
            generation=Generation.ISO15118_2,
            crosses=trust.crosses,
        )

    service = verified(body.sa_provisioning_certificate_chain, Role.CPS)
    signatures.verify(message.header.signature, body, service.leaf.public_key())  # type: ignore[arg-type] # verified
    contract = verified(body.contract_signature_cert_chain, Role.CONTRACT)
    if not is_same_contract(contract.emaid, body.emaid.value):
        what = f"the contract is of {contract.emaid}, not of {body.emaid.value}"
        raise CertificateError(what, reason="wrong_subject")
    return contract, service


# -- the other side: a provider seals a contract, a service signs it


def sealed(contract: Contract, vehicle: bytes, generation: Generation, entropy: Entropy) -> SealedContract:
    """Return a contract with its key sealed for the vehicle with a provisioning certificate (DER).

    Raises EnvelopeError for keys that the edition does not seal, CertificateError without PCID or EMAID.
    """
    certificate = load_certificate(vehicle)
    pcid, recipient = pcid_of(certificate), cast(PublicKey, certificate.public_key())
    if generation is Generation.ISO15118_2:
        envelope = seal_2(contract.key, recipient, entropy=entropy)
        encrypted, public = envelope.encrypted, envelope.public_key
    else:
        data = d20.installation_data(contract, recipient, pcid, entropy)
        encrypted = data.secp521_encrypted_private_key or data.x448_encrypted_private_key or b""
        public = data.dh_public_key
    return SealedContract(
        emaid=contract.emaid,
        pcid=pcid,
        namespace=NAMESPACES[generation],
        chain=contract.chain,
        encrypted_key=encrypted,
        dh_public_key=public,
    )


def signed(contract: SealedContract, service: Service, utc_ms: int) -> bytes:
    """Return the response (EXI) with a sealed contract, signed by a service, in no session yet.

    Raises CodecError for another namespace or fields that do not fit the edition.
    """
    asked = ForeignRequest(generation=generation_of(contract.namespace), session_id=bytes(8), pcid=contract.pcid)
    if asked.generation is Generation.ISO15118_20:
        edwards = len(contract.encrypted_key) == _SEALED_ED448
        leaf, *subs = contract.chain
        data = iso.SignedInstallationData(
            id=d20.SIGNED_ID,
            contract_certificate_chain=iso.ContractCertificateChain(
                certificate=leaf, sub_certificates=iso.SubCertificates(certificate=tuple(subs))
            ),
            ecdh_curve=iso.EcdhCurve.X448 if edwards else iso.EcdhCurve.SECP521,
            dh_public_key=contract.dh_public_key,
            secp521_encrypted_private_key=None if edwards else contract.encrypted_key,
            x448_encrypted_private_key=contract.encrypted_key if edwards else None,
        )
        header = MessageHeader(session_id=asked.session_id, time_stamp=utc_ms // 1000)
        return exi.encode(d20.make_response(header, service, data, remaining=0))
    response = d2.response_with(
        d2_messages.CertificateInstallationRes,
        service,
        contract.chain,
        Envelope(contract.dh_public_key, contract.encrypted_key),
        contract.emaid,
    )
    signature = signatures.sign(response, service.key)
    header_2 = Header2(session_id=asked.session_id, signature=signature)
    return exi.encode(V2G_Message(header=header_2, body=Body(body_element=response)))


def generation_of(namespace: str) -> Generation:
    """Return the edition that an ecosystem calls so (OPNC has two names for -20), or OCPP by a schema of its messages.

    Raises CodecError.
    """
    if namespace.startswith("urn:iso:15118:2:"):
        return Generation.ISO15118_2
    if namespace.startswith(("urn:iso:15118:20:", "urn:iso:std:iso:15118:-20:")):
        return Generation.ISO15118_20
    raise CodecError(f"{namespace[:60]} is no namespace of ISO 15118-2 or -20")


_SEALED_ED448: Final = IV_BYTES + SCALAR_BYTES[iso.EcdhCurve.X448] + TAG_BYTES


def _response(response: bytes, generation: Generation) -> CertificateInstallationRes | V2G_Message:
    if generation is Generation.ISO15118_20:
        message = exi.decode(response, COMMON_MESSAGES)
        if not isinstance(message, CertificateInstallationRes):
            raise CodecError(f"{type(message).__name__} is no CertificateInstallationRes")
        return message
    found, _ = decode_message(response, ISO2, handshake=False)
    body = body_of(found)
    if not isinstance(found, V2G_Message) or not isinstance(body, d2_messages.CertificateInstallationRes):
        raise CodecError(f"{type(body).__name__} is no CertificateInstallationRes")
    return found
