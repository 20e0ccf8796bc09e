"""CertificateInstallation of ISO 15118-20: creation and verification of requests and responses (clause 8.3.5.3).

The vehicle sends its signed provisioning chain; a certificate provisioning service (CPS) answers with one contract
certificate, whose private key is sealed for the vehicle (`v2g.iso15118.d20.envelope`), and signs both. The
charger between them forwards the messages unchanged.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec
from cryptography import x509

from v2g.errors import CertificateError, EnvelopeError
from v2g.iso15118.d20.envelope import Entropy, Envelope, seal, unseal
from v2g.iso15118.d20.envelope_rules import RULES, EnvelopeRules
from v2g.iso15118.d20.messages import certificates as iso
from v2g.iso15118.d20.messages.common_messages import CertificateInstallationReq, CertificateInstallationRes
from v2g.iso15118.d20.messages.common_types import ListOfRootCertificateIDs, MessageHeader, Processing, ResponseCode
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.iso15118.engine.contracts import Contract, Service, pcid_of
from v2g.iso15118.engine.xmldsig import issuer_serial
from v2g.pki.certificates import load_certificate
from v2g.pki.crl import RevocationList
from v2g.pki.keys import AgreementKey, PublicKey, SigningKey
from v2g.pki.profile import Role
from v2g.pki.revocation import refuse_revoked
from v2g.pki.verify import VerifiedChain, check_profile, verify_chain

SCHEMA_VERSION: Final = COMMON_MESSAGES.uri
"""OCPP's schema version of these messages."""

SIGNED_ID: Final = "id1"
"""Id of the signed element; there is one in a message."""

MOST_ROOTS: Final = 20
MOST_EMAIDS: Final = 8
"""Maximum length of the lists of a request."""


# -- the request --------------------------------------------------------------------------------------------------


class InstallationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's request: how many contracts it has room for, and its preferred ones.

    `roots` (DER) are its V2G and MO roots, at least one.
    """

    roots: tuple[bytes, ...]
    maximum: int
    emaids: tuple[str, ...] = ()


def make_request(
    header: MessageHeader, chain: Sequence[bytes], key: SigningKey, wish: InstallationRequest
) -> CertificateInstallationReq:
    """Return the signed request of the vehicle whose provisioning chain (DER, leaf first) and key these are.

    The signature covers the chain (V2G20-1548). Raises ExiEncodeError.
    """
    leaf, *subs = chain
    signed = iso.SignedCertificateChain(certificate=leaf, sub_certificates=_subs(subs), id=SIGNED_ID)
    return CertificateInstallationReq(
        header=msgspec.structs.replace(header, signature=signature.sign(signed, key, schema=COMMON_MESSAGES)),
        oem_provisioning_certificate_chain=signed,
        list_of_root_certificate_ids=ListOfRootCertificateIDs(
            root_certificate_id=tuple(issuer_serial(root) for root in wish.roots[:MOST_ROOTS])
        ),
        maximum_contract_certificate_chains=wish.maximum,
        prioritized_emaids=iso.EMAIDList(emaid=wish.emaids[:MOST_EMAIDS]) if wish.emaids else None,
    )


def check_request_signature(request: CertificateInstallationReq, *, interop: bool = False) -> None:
    """Verify that the provisioning key signed its own chain (V2G20-461, -1548).

    Raises SignatureError; CertificateError(malformed) without a certificate.
    """
    chain = request.oem_provisioning_certificate_chain
    _check_signature(request.header, chain, load_certificate(chain.certificate), interop=interop)


def verify_provisioning_chain(
    chain: iso.SignedCertificateChain,
    roots: Sequence[bytes],
    *,
    at: datetime,
    interop: bool = False,
    crosses: Sequence[bytes] = (),
) -> VerifiedChain:
    """Return the provisioning chain of a request, verified under one of `roots`: OEM or V2G (V2G20-2333).

    `crosses` are local cross certificates. Raises CertificateError; wrong_subject when its CN is not a PCID.
    """
    verified = verify_chain(
        chain.certificate, subs_of(chain), roots, role=Role.OEM_PROVISIONING, at=at, interop=interop, crosses=crosses
    )
    pcid_of(verified.leaf)
    return verified


# -- the response -------------------------------------------------------------------------------------------------


def make_response(
    header: MessageHeader, service: Service, data: iso.SignedInstallationData, *, remaining: int
) -> CertificateInstallationRes:
    """Return the response that delivers `data`, signed by the service; `remaining` contracts are left."""
    leaf, *subs = service.chain
    return CertificateInstallationRes(
        header=msgspec.structs.replace(header, signature=signature.sign(data, service.key, schema=COMMON_MESSAGES)),
        response_code=ResponseCode.OK,
        evse_processing=Processing.Finished,
        cps_certificate_chain=iso.CertificateChain(certificate=leaf, sub_certificates=_subs(subs)),
        signed_installation_data=data,
        remaining_contract_certificate_chains=remaining,
    )


def installation_data(
    contract: Contract, recipient: PublicKey, pcid: str, entropy: Entropy, *, rules: EnvelopeRules = RULES
) -> iso.SignedInstallationData:
    """Return a contract with its private key sealed for the provisioning key `recipient`. Raises EnvelopeError."""
    leaf, *subs = contract.chain
    envelope = seal(contract.key, recipient, contract=load_certificate(leaf), pcid=pcid, entropy=entropy, rules=rules)
    secp521 = envelope.holds is iso.EcdhCurve.SECP521
    return iso.SignedInstallationData(
        id=SIGNED_ID,
        contract_certificate_chain=iso.ContractCertificateChain(
            certificate=leaf, sub_certificates=iso.SubCertificates(certificate=tuple(subs))
        ),
        ecdh_curve=envelope.curve,
        dh_public_key=envelope.public_key,
        secp521_encrypted_private_key=envelope.encrypted if secp521 else None,
        x448_encrypted_private_key=None if secp521 else envelope.encrypted,
    )


def refusal(
    header: MessageHeader, code: ResponseCode, *, processing: Processing = Processing.Finished
) -> CertificateInstallationRes:
    """Return a response without a contract: a rejection, or Ongoing (V2G20-736, -2202).

    Elements required by the schema are empty or zero.
    """
    return CertificateInstallationRes(
        header=header,
        response_code=code,
        evse_processing=processing,
        cps_certificate_chain=iso.CertificateChain(certificate=b""),
        signed_installation_data=iso.SignedInstallationData(
            id=SIGNED_ID,
            contract_certificate_chain=iso.ContractCertificateChain(
                certificate=b"", sub_certificates=iso.SubCertificates(certificate=(b"",))
            ),
            ecdh_curve=iso.EcdhCurve.SECP521,
            dh_public_key=bytes(133),
            secp521_encrypted_private_key=bytes(94),
        ),
        remaining_contract_certificate_chains=0,
    )


def verify_service(
    response: CertificateInstallationRes,
    roots: Sequence[bytes],
    *,
    at: datetime,
    interop: bool = False,
    crls: Sequence[RevocationList] = (),
    crosses: Sequence[bytes] = (),
) -> VerifiedChain:
    """Return the chain of the service that signed the response, verified under one of the V2G `roots`.

    `crosses` are local cross certificates. Raises CertificateError; RevocationError when it is revoked by
    `crls`; SignatureError when the service did not sign SignedInstallationData.
    """
    chain = response.cps_certificate_chain
    verified = verify_chain(
        chain.certificate, subs_of(chain), roots, role=Role.CPS, at=at, interop=interop, crosses=crosses
    )
    refuse_revoked(verified, crls, at=at)
    _check_signature(response.header, response.signed_installation_data, verified.leaf, interop=interop)
    return verified


def open_contract(
    data: iso.SignedInstallationData,
    key: AgreementKey,
    pcid: str,
    *,
    roots: Sequence[bytes] = (),
    at: datetime,
    interop: bool = False,
    rules: EnvelopeRules = RULES,
    crls: Sequence[RevocationList] = (),
    crosses: Sequence[bytes] = (),
) -> Contract:
    """Return the contract in `data`, decrypted with the provisioning key of the vehicle `pcid`.

    `roots` are the MO and V2G roots for the contract, perhaps over the local `crosses`; `crls` are its
    revocation lists. A vehicle without roots checks the contract certificate itself. Raises
    CertificateError, RevocationError and EnvelopeError.
    """
    chain = data.contract_certificate_chain
    leaf = load_certificate(chain.certificate)
    if roots:
        verified = verify_chain(
            chain.certificate, subs_of(chain), roots, role=Role.CONTRACT, at=at, interop=interop, crosses=crosses
        )
        refuse_revoked(verified, crls, at=at)
    else:
        check_profile(leaf, Role.CONTRACT, interop=interop)
        if at > leaf.not_valid_after_utc:
            raise CertificateError("the contract certificate has expired", reason="expired")
    if data.secp521_encrypted_private_key is not None:
        sealed, holds = data.secp521_encrypted_private_key, iso.EcdhCurve.SECP521
    elif data.x448_encrypted_private_key is not None:
        sealed, holds = data.x448_encrypted_private_key, iso.EcdhCurve.X448
    else:
        raise EnvelopeError(
            "the contract key is sealed for a TPM (TPM_EncryptedPrivateKey), whose layout is not public",
            reason="not_supported",
            hint="ask the provisioning service for SECP521_EncryptedPrivateKey or X448_EncryptedPrivateKey",
        )
    opened = unseal(
        Envelope(data.ecdh_curve, data.dh_public_key, holds, sealed), key, contract=leaf, pcid=pcid, rules=rules
    )
    return Contract((chain.certificate, *subs_of(chain)), opened)


def subs_of(
    chain: iso.SignedCertificateChain | iso.CertificateChain | iso.ContractCertificateChain,
) -> tuple[bytes, ...]:
    """Return the sub-CA certificates of a chain element."""
    return chain.sub_certificates.certificate if chain.sub_certificates is not None else ()


# -- inside -------------------------------------------------------------------------------------------------------


def _check_signature(
    header: MessageHeader,
    element: iso.SignedCertificateChain | iso.SignedInstallationData,
    signer: x509.Certificate,
    *,
    interop: bool,
) -> None:
    allowed = signature.INTEROP if interop else signature.STANDARD
    key = signer.public_key()
    signature.verify(header.signature, element, key, allowed=allowed, schema=COMMON_MESSAGES)  # type: ignore[arg-type] # refuses other kinds


def _subs(subs: Sequence[bytes]) -> iso.SubCertificates | None:
    return iso.SubCertificates(certificate=tuple(subs)) if subs else None
