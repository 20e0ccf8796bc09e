"""The certificate provisioning service of ISO 15118-2: answers CertificateInstallationReq and CertificateUpdateReq.

Pure: the caller looks up contracts by PCID or EMAID, checks revocation, and provides time and entropy. A vehicle gets
one contract in a session, the one that is valid longest; an update only a later certificate of the same contract.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from v2g import exi
from v2g.errors import CertificateError, CodecError, RevocationError, SignatureError, TrustError
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.envelope import Entropy, Envelope, seal
from v2g.iso15118.d2.messages import common as iso
from v2g.iso15118.d2.messages import data_types
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.response_codes import code_of_chain
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d2.signatures import chain_of, sub_cas
from v2g.iso15118.engine.contracts import Answer, Contract, Service, pcid_of
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.xmldsig import Signature
from v2g.pki.certificates import is_same_contract, key_kind, load_certificate
from v2g.pki.keys import PublicKey
from v2g.pki.profile import Generation, KeyKind, Role
from v2g.pki.verify import VerifiedChain, verify_chain

SCHEMA_VERSION: Final = ISO2.uri
"""OCPP's schema version of these messages."""

_EMPTY: Final = b"\0"

NO_CONTRACT: Final[Mapping[str, Any]] = {
    "sa_provisioning_certificate_chain": data_types.CertificateChain(certificate=_EMPTY),
    "contract_signature_cert_chain": data_types.CertificateChain(certificate=_EMPTY),
    "contract_signature_encrypted_private_key": data_types.ContractSignatureEncryptedPrivateKey(value=_EMPTY, id="id1"),
    "dh_public_key": data_types.DiffieHellmanPublickey(value=_EMPTY, id="id2"),
    "emaid": data_types.EMAID(value="0" * 14, id="id3"),
}
"""What the schema requires in a response without a contract."""

Request = iso.CertificateInstallationReq | iso.CertificateUpdateReq


class Asked(msgspec.Struct, frozen=True):
    """A request with valid signature and chain, of which revocation is still open.

    `pcid` names the vehicle of an installation, `emaid` the contract of an update.
    """

    request: Request
    session_id: bytes
    chain: VerifiedChain
    pcid: str = ""
    emaid: str = ""


class ProvisioningService:
    """One service. `oem_roots` are those of vehicles, `mo_roots` those of contracts (V2G roots are both), all DER.

    `oem_sub_cas` are the CAs below `oem_roots`, since a request has only the provisioning certificate itself.
    `crosses` are local cross certificates, over which chains may lead to the roots.
    """

    def __init__(
        self,
        service: Service,
        *,
        oem_roots: Sequence[bytes],
        mo_roots: Sequence[bytes],
        oem_sub_cas: Sequence[bytes] = (),
        interop: bool = False,
        crosses: Sequence[bytes] = (),
    ) -> None:
        self._service = service
        self._oem_roots, self._mo_roots = tuple(oem_roots), tuple(mo_roots)
        self._oem_sub_cas, self._interop, self._crosses = tuple(oem_sub_cas), interop, tuple(crosses)

    def read(self, exi_request: bytes, utc_ms: int) -> Asked | Answer:
        """Return the request if its signature and chain are valid, else the rejection.

        Raises CodecError for bytes that are no such request, which cannot be answered.
        """
        message, _ = decode_message(exi_request, ISO2, handshake=False)
        request = body_of(message)
        if not isinstance(message, V2G_Message) or not isinstance(request, Request):
            raise CodecError(f"{type(request).__name__} is no request for a contract")
        session_id, at = message.header.session_id, _at(utc_ms)
        try:
            if isinstance(request, iso.CertificateUpdateReq):
                own = request.contract_signature_cert_chain
                self._check_signature(message.header.signature, request, own.certificate)
                chain = self._verify(own.certificate, sub_cas(own), Role.CONTRACT, at)
                if not is_same_contract(chain.emaid, request.emaid):
                    raise CertificateError(f"the certificate is not of {request.emaid}", reason="wrong_subject")
                return Asked(request, session_id, chain, emaid=chain.emaid)
            self._check_signature(message.header.signature, request, request.oem_provisioning_cert)
            chain = self._verify(request.oem_provisioning_cert, (), Role.OEM_PROVISIONING, at)
            return Asked(request, session_id, chain, pcid=pcid_of(chain.leaf))
        except SignatureError as error:
            return _refuse(request, session_id, "FAILED_SignatureError", str(error))
        except CertificateError as error:
            return _refuse(request, session_id, code_of_chain(error.reason), f"{error.reason}: {error}")

    def revoked(self, asked: Asked, error: RevocationError, _utc_ms: int) -> Answer:
        """Return the rejection of a chain that is revoked, or has an unknown status."""
        return _reject(asked, code_of_chain(error.reason), str(error))

    def answer(
        self, asked: Asked, contracts: Sequence[Contract], utc_ms: int, entropy: Entropy, *, most_bytes: int
    ) -> Answer:
        """Return the response with the best of `contracts`, all those of the vehicle or of the contract to be updated.

        A response of more than `most_bytes`, the limit of the transport, becomes a rejection.
        """
        contract, why = self._best(asked, contracts, _at(utc_ms))
        if contract is None:
            return _reject(asked, _NOTHING, why)
        recipient = cast(PublicKey, asked.chain.leaf.public_key())  # the profile allows no other kind
        try:
            if load_certificate(contract.chain[0]).public_key() != contract.key.public_key():
                raise TrustError("the key in the pool is not that of its certificate")
            envelope = seal(contract.key, recipient, entropy=entropy)
        except TrustError as error:
            return _reject(asked, _NOTHING, str(error))
        update = isinstance(asked.request, iso.CertificateUpdateReq)
        kind = iso.CertificateUpdateRes if update else iso.CertificateInstallationRes
        response = response_with(kind, self._service, contract.chain, envelope, contract.emaid)
        encoded = _encode(response, asked.session_id, signatures.sign(response, self._service.key))
        if len(encoded) > most_bytes:
            return _reject(asked, _NOTHING, f"{len(encoded)} bytes, at most {most_bytes} fit")
        return Answer(code=response.response_code, exi=encoded, pcid=asked.pcid, emaid=contract.emaid)

    def _best(self, asked: Asked, contracts: Sequence[Contract], at: datetime) -> tuple[Contract | None, str]:
        """Return the contract that is valid longest of those that this vehicle can use; else why there is none."""
        found, other, why = [], "the pool has no contract for it", ""
        after = asked.chain.leaf.not_valid_after_utc if asked.emaid else at
        for contract in contracts:
            leaf, *subs = contract.chain
            certificate = load_certificate(leaf)
            if key_kind(certificate) is not KeyKind.SECP256R1:
                other = "wrong_curve: the pool has contracts of ISO 15118-20 only"
                continue
            try:
                verified = self._verify(leaf, subs, Role.CONTRACT, at)
            except CertificateError as error:
                why = f"{error.reason}: {error}"
                continue
            if asked.emaid and not is_same_contract(verified.emaid, asked.emaid):
                continue
            if certificate.not_valid_after_utc <= after:
                why = "the vehicle has the newest certificate"
                continue
            found.append((certificate.not_valid_after_utc, leaf, contract))
        return (max(found, key=lambda each: each[:2])[2], "") if found else (None, why or other)

    def _verify(self, leaf: bytes, subs: Sequence[bytes], role: Role, at: datetime) -> VerifiedChain:
        vehicle = role is Role.OEM_PROVISIONING
        return verify_chain(
            leaf,
            subs,
            self._oem_roots if vehicle else self._mo_roots,
            role=role,
            at=at,
            interop=self._interop,
            generation=Generation.ISO15118_2,
            crosses=self._crosses,
            held=self._oem_sub_cas if vehicle else (),
        )

    def _check_signature(self, signature: Signature | None, request: Request, leaf: bytes) -> None:
        key = load_certificate(leaf).public_key()
        signatures.verify(signature, request, key)  # type: ignore[arg-type] # refuses other kinds


def response_with(
    kind: type[iso.CertificateInstallationRes | iso.CertificateUpdateRes],
    service: Service,
    chain: tuple[bytes, ...],
    envelope: Envelope,
    emaid: str,
) -> iso.CertificateInstallationRes | iso.CertificateUpdateRes:
    """Return the response with a contract, which is to be signed by the service."""
    return kind(
        response_code=data_types.ResponseCode.OK,
        sa_provisioning_certificate_chain=chain_of(service.chain),
        contract_signature_cert_chain=chain_of(chain, "id1"),
        contract_signature_encrypted_private_key=data_types.ContractSignatureEncryptedPrivateKey(
            value=envelope.encrypted, id="id2"
        ),
        dh_public_key=data_types.DiffieHellmanPublickey(value=envelope.public_key, id="id3"),
        emaid=data_types.EMAID(value=emaid, id="id4"),
    )


_NOTHING: Final = "FAILED_NoCertificateAvailable"


def _reject(asked: Asked, code: str, reason: str) -> Answer:
    return _refuse(asked.request, asked.session_id, code, reason, pcid=asked.pcid, emaid=asked.emaid)


def _refuse(request: Request, session_id: bytes, code: str, reason: str, pcid: str = "", emaid: str = "") -> Answer:
    kind = iso.CertificateUpdateRes if isinstance(request, iso.CertificateUpdateReq) else iso.CertificateInstallationRes
    response = kind(response_code=data_types.ResponseCode[code], **NO_CONTRACT)
    return Answer(code=response.response_code, exi=_encode(response, session_id), reason=reason, pcid=pcid, emaid=emaid)


def _encode(response: iso.BodyElement, session_id: bytes, signature: Signature | None = None) -> bytes:
    """Return a response in the vehicle's own session: charger and vehicle accept no other."""
    header = MessageHeader(session_id=session_id, signature=signature)
    return exi.encode(V2G_Message(header=header, body=Body(body_element=response)))


def _at(utc_ms: int) -> datetime:
    return datetime.fromtimestamp(utc_ms / 1000, UTC)
