"""Pools of public Plug & Charge ecosystems, in the shapes of OPCP 1.0 and OPNC 1.0: paths, bodies, signed events.

Roots (RCP), provisioning certificates (PCP), contracts (CCP), and their signature by a provisioning service (CPS).
Readers take either shape. No socket, no clock. Paths and fields: github.com/hubject/opcp, github.com/charinev/opnc.
"""

import base64
import binascii
import hashlib
import hmac
import uuid
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeVar

import msgspec

from v2g import typed_json
from v2g.errors import CertificateError, CodecError
from v2g.pki.certificates import common_name, load_certificate

PoolShape = Literal["opcp", "opnc"]
T = TypeVar("T")
Json = Mapping[str, object]

MOST_ANSWER_BYTES: Final = 1024 * 1024
"""Limit of an answer."""
_MOST_CERTIFICATES: Final = 1000
_MOST_CONTRACTS: Final = 64

SIGNATURE_HEADERS: Final = ("X-Operator-Signature", "X-Hubject-Signature", "payload-signature")
"""Where the signature of an event is, by OPCP and OPNC."""


class PoolPaths(msgspec.Struct, frozen=True, kw_only=True):
    """Paths below the URL of an ecosystem. `trust_list` is empty where there is none."""

    roots: str
    root_kind: str
    """Name of the query that selects a kind of roots."""
    trust_list: str = ""
    provisioning: str
    contracts: str
    sign: str
    forward: str
    """Signs, and stores the contract, too."""
    generate: str
    signers: str
    endpoints: str


PATHS: Final[Mapping[PoolShape, PoolPaths]] = {
    "opcp": PoolPaths(
        roots="/v1/root/rootCerts",
        root_kind="rootType",
        trust_list="/v1/root/ctl",
        provisioning="/v1/oem/provCerts",
        contracts="/v1/ccp/signedContractData",
        sign="/v1/cps/signedContractData",
        forward="/v1/cps/forward/signedContractData",
        generate="/v1/cps/generate/signedContractData",
        signers="/cps/signer",
        endpoints="/v1/webhook/endpoints",
    ),
    "opnc": PoolPaths(
        roots="/rcp/rootcertificates",
        root_kind="pkiType",
        provisioning="/pcp/provisioningcertificates",
        contracts="/ccp/signedcontractdata",
        sign="/cps/contractData/sign",
        forward="/cps/contractData/sign",
        generate="/cps/contractData/generateandsign",
        signers="/cps/cpsCertificates",
        endpoints="/event/endpoints",
    ),
}

RootKind = Literal["V2G", "MO", "OEM", "PE"]
_KINDS: Final[Mapping[str, RootKind]] = {"V2G": "V2G", "MO": "MO", "EMSP": "MO", "OEM": "OEM", "PE": "PE"}


class PoolRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A root in a pool, and what it is a root of."""

    kinds: tuple[RootKind, ...]
    certificate: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hex: what a root is called here."""
        return hashlib.sha256(self.certificate).hexdigest()

    @property
    def number(self) -> str:
        """UUID that a pool here gives it (`rootCertificateId`)."""
        return str(uuid.UUID(self.fingerprint[:32]))


class PoolContract(msgspec.Struct, frozen=True, kw_only=True):
    """A contract for a vehicle: a CertificateInstallationRes (EXI), and the EMAID that the pool says it is of."""

    emaid: str
    response: bytes


class SealedContract(msgspec.Struct, frozen=True, kw_only=True):
    """A contract that a provider wants signed: chain (DER, leaf first), its key sealed for the vehicle, and the public
    half with which it is."""

    emaid: str
    pcid: str
    namespace: str
    chain: tuple[bytes, ...]
    encrypted_key: bytes
    dh_public_key: bytes


# -- fields of JSON


class _RootField(msgspec.Struct, frozen=True):
    certificate: str = msgspec.field(name="caCertificate")
    kind: str = msgspec.field(name="rootType", default="")
    kinds: tuple[str, ...] = msgspec.field(name="rootTypeList", default=())


class _Collection(msgspec.Struct, frozen=True):
    roots: tuple[_RootField, ...] = msgspec.field(name="rootCertificates", default=())


class _Roots(msgspec.Struct, frozen=True):
    opcp: _Collection = msgspec.field(name="RootCertificateCollection", default=_Collection())
    opnc: tuple[_RootField, ...] = msgspec.field(name="rootCertificateCollection", default=())


class _Message(msgspec.Struct, frozen=True):
    response: str = msgspec.field(name="certificateInstallationRes")
    emaid: str = ""


class _Content(msgspec.Struct, frozen=True):
    message: _Message = msgspec.field(name="messageDef")


class _Contents(msgspec.Struct, frozen=True):
    contents: tuple[_Content, ...] = msgspec.field(name="emaidContent", default=())


class _Contracts(msgspec.Struct, frozen=True):
    opcp: _Contents = msgspec.field(name="CCPResponse", default=_Contents())
    opnc: tuple[_Message, ...] = msgspec.field(name="signedContractDataCollection", default=())


class _InstallationField(msgspec.Struct, frozen=True):
    request: str = msgspec.field(name="certificateInstallationReq")
    namespace: str = msgspec.field(name="xsdMsgDefNamespace")


def read_roots(body: bytes) -> tuple[PoolRoot, ...]:
    """Return the roots in an answer of the roots' pool. Raises CodecError, CertificateError (`malformed`)."""
    found = _decoded(body, _Roots)
    listed = (*found.opcp.roots, *found.opnc)
    if len(listed) > _MOST_CERTIFICATES:
        raise CodecError(f"{len(listed)} roots, at most {_MOST_CERTIFICATES}")
    roots = []
    for each in listed:
        names = [name.upper() for name in (each.kind, *each.kinds) if name]
        unknown = [name for name in names if name not in _KINDS]
        if unknown or not names:
            raise CodecError(f"a root of kind {', '.join(unknown)[:40] or 'nothing'}")
        der = decode_base64(each.certificate)
        load_certificate(der)
        roots.append(PoolRoot(kinds=tuple(dict.fromkeys(_KINDS[name] for name in names)), certificate=der))
    return tuple(roots)


def write_roots(roots: Sequence[PoolRoot], shape: PoolShape) -> Json:
    """Return an answer of the roots' pool, as JSON's values."""
    listed = []
    for root in roots:
        certificate = load_certificate(root.certificate)
        names = [{"MO": "eMSP"}.get(kind, kind) if shape == "opnc" else kind for kind in root.kinds]
        listed.append(
            {
                "rootCertificateId": root.number,
                "distinguishedName": certificate.subject.rfc4514_string(),
                "commonName": common_name(certificate),
                "caCertificate": encode_base64(root.certificate),
                "validFrom": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
                "validTo": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
                "fingerprint": root.fingerprint,
                **({"rootType": names[0]} if shape == "opcp" else {"rootTypeList": names}),
            }
        )
    if shape == "opcp":
        return {"RootCertificateCollection": {"rootCertificates": listed}}
    return {"rootCertificateCollection": listed}


def read_contracts(body: bytes) -> tuple[PoolContract, ...]:
    """Return the contracts in an answer of the contracts' pool. Raises CodecError."""
    found = _decoded(body, _Contracts)
    listed = (*(each.message for each in found.opcp.contents), *found.opnc)
    if len(listed) > _MOST_CONTRACTS:
        raise CodecError(f"{len(listed)} contracts, at most {_MOST_CONTRACTS}")
    return tuple(PoolContract(emaid=each.emaid, response=decode_base64(each.response)) for each in listed)


def write_contracts(contracts: Sequence[PoolContract], pcid: str, namespace: str, shape: PoolShape) -> Json:
    """Return an answer of the contracts' pool, as JSON's values."""
    messages = [{"certificateInstallationRes": encode_base64(each.response), "emaid": each.emaid} for each in contracts]
    if shape == "opcp":
        return {"CCPResponse": {"emaidContent": [{"messageDef": each} for each in messages]}}
    about = {"pcid": pcid, "xsdMsgDefNamespace": namespace}
    return {"signedContractDataCollection": [each | about for each in messages]}


def read_installation(body: bytes) -> tuple[bytes, str]:
    """Return a vehicle's request (EXI), and the namespace of its edition. Raises CodecError."""
    found = _decoded(body, _InstallationField)
    return decode_base64(found.request), found.namespace


def write_installation(request: bytes, namespace: str) -> bytes:
    """Return the body by which a charge point operator asks for contracts."""
    return msgspec.json.encode({"certificateInstallationReq": encode_base64(request), "xsdMsgDefNamespace": namespace})


class _Provisioning(msgspec.Struct, frozen=True):
    vehicle: str = msgspec.field(name="vehicleCertificate", default="")
    provisioning: str = msgspec.field(name="provisioningCertificate", default="")
    sub1: str = msgspec.field(name="subCA1Certificate", default="")
    sub2: str = msgspec.field(name="subCA2Certificate", default="")

    @property
    def leaf(self) -> str:
        return self.vehicle or self.provisioning


class _Chain(msgspec.Struct, frozen=True):
    leaf: str = msgspec.field(name="certificate", default="")
    sub1: str = msgspec.field(name="subCa1Certificate", default="")
    sub2: str = msgspec.field(name="subCa2Certificate", default="")


class _ProvisioningFound(msgspec.Struct, frozen=True):
    opcp: _Provisioning = msgspec.field(name="OEMMessage", default=_Provisioning())
    opnc: _Provisioning = msgspec.field(name="provisioningCertificate", default=_Provisioning())
    chain: _Chain = msgspec.field(name="provisioningCertificateChain", default=_Chain())


def read_provisioning(body: bytes) -> tuple[bytes, ...]:
    """Return the chain of a vehicle's provisioning certificate (DER, leaf first), from an answer or from the body that
    stores it. Raises CodecError."""
    found = _decoded(body, dict)
    if isinstance(found.get("vehicleCertificate"), str):
        found = {"OEMMessage": found}
    told = _decoded(msgspec.json.encode(found), _ProvisioningFound)
    for each in (told.opcp, told.opnc, told.chain):
        if each.leaf:
            return tuple(decode_base64(text) for text in (each.leaf, each.sub2, each.sub1) if text)
    raise CodecError("no provisioning certificate")


def write_provisioning(chain: Sequence[bytes], namespace: str, shape: PoolShape, *, answer: bool) -> Json:
    """Return the body that stores a provisioning certificate, or the answer with one, as JSON's values."""
    about = {"xsdMsgDefNamespace": namespace}
    if shape == "opnc" and not answer:
        return {"provisioningCertificateChain": _named("certificate", "subCa", chain), **about}
    if shape == "opnc":
        return {"provisioningCertificate": _named("provisioningCertificate", "subCA", chain)}
    texts = _named("vehicleCertificate", "subCA", chain)
    return {"OEMMessage": texts} if answer else texts | about


class _OldChain(msgspec.Struct, frozen=True):
    leaf: str = msgspec.field(name="contractSignatureCertChainCertificate")
    subs: tuple[str, ...] = msgspec.field(name="contractSignatureCertChainSubCertificates", default=())


class _Sealed(msgspec.Struct, frozen=True):
    encrypted: str = msgspec.field(name="contractSignatureEncryptedPrivateKey")
    public: str = msgspec.field(name="dHpublickey")
    emaid: str
    opcp: _OldChain | None = msgspec.field(name="contractSignatureCertChain", default=None)
    opnc: _Chain = msgspec.field(name="contractCertificateChain", default=_Chain())
    pcid: str = ""


class _Signing(msgspec.Struct, frozen=True):
    namespace: str = msgspec.field(name="xsdMsgDefNamespace")
    opcp: _Sealed | None = msgspec.field(name="contractData", default=None)
    opnc: _Sealed | None = msgspec.field(name="contractCertificateBundle", default=None)
    pcid: str = ""


def read_signing(body: bytes) -> SealedContract:
    """Return what a provider wants signed. Raises CodecError."""
    found = _decoded(body, _Signing)
    sealed = found.opcp or found.opnc
    if sealed is None:
        raise CodecError("no contract to be signed")
    if sealed.opcp is not None:
        texts = (sealed.opcp.leaf, *sealed.opcp.subs)
    else:
        texts = tuple(text for text in (sealed.opnc.leaf, sealed.opnc.sub2, sealed.opnc.sub1) if text)
    if not texts:
        raise CodecError("a contract without certificate")
    return SealedContract(
        emaid=sealed.emaid,
        pcid=found.pcid or sealed.pcid,
        namespace=found.namespace,
        chain=tuple(map(decode_base64, texts)),
        encrypted_key=decode_base64(sealed.encrypted),
        dh_public_key=decode_base64(sealed.public),
    )


def write_signing(contract: SealedContract, shape: PoolShape) -> Json:
    """Return the body by which a provider has a contract signed, as JSON's values."""
    key = {
        "contractSignatureEncryptedPrivateKey": encode_base64(contract.encrypted_key),
        "dHpublickey": encode_base64(contract.dh_public_key),
        "emaid": contract.emaid,
    }
    if shape == "opcp":
        leaf, *subs = map(encode_base64, contract.chain)
        old = {"contractSignatureCertChainCertificate": leaf, "contractSignatureCertChainSubCertificates": subs}
        about = {"emaid": contract.emaid, "pcid": contract.pcid, "xsdMsgDefNamespace": contract.namespace}
        return {"contractData": {"contractSignatureCertChain": old, **key}, **about}
    chain = _named("certificate", "subCa", contract.chain)
    bundle = {"contractCertificateChain": chain, "pcid": contract.pcid, **key}
    return {"contractCertificateBundle": bundle, "xsdMsgDefNamespace": contract.namespace}


class _ContractField(msgspec.Struct, frozen=True):
    emaid: str
    pcid: str
    namespace: str = msgspec.field(name="xsdMsgDefNamespace")
    opcp: str = msgspec.field(name="signedContractDataXML", default="")
    opcp_answer: str = msgspec.field(name="signedData", default="")
    opnc: str = msgspec.field(name="certificateInstallationRes", default="")


class _ContractWrapped(msgspec.Struct, frozen=True):
    inside: _ContractField | None = msgspec.field(name="signedContractData", default=None)


class StoredContract(msgspec.Struct, frozen=True, kw_only=True):
    """A signed contract, as the service returns it and the pool stores it: a CertificateInstallationRes.

    It is EXI; what OPCP's service returns, and its pool stores, is XML.
    """

    emaid: str
    pcid: str
    namespace: str
    response: bytes


def read_stored(body: bytes) -> StoredContract:
    """Return a signed contract. Raises CodecError."""
    found = _decoded(body, _ContractWrapped).inside or _decoded(body, _ContractField)
    text = found.opnc or found.opcp or found.opcp_answer
    if not text:
        raise CodecError("a signed contract without its message")
    return StoredContract(emaid=found.emaid, pcid=found.pcid, namespace=found.namespace, response=decode_base64(text))


def write_stored(contract: StoredContract, shape: PoolShape, *, answer: bool) -> Json:
    """Return the body that stores a signed contract, or the answer with one, as JSON's values.

    OPCP's message is XML; between the clients and servers here it is EXI.
    """
    about = {"emaid": contract.emaid, "pcid": contract.pcid, "xsdMsgDefNamespace": contract.namespace}
    text = encode_base64(contract.response)
    if shape == "opcp":
        return about | {"signedData" if answer else "signedContractDataXML": text}
    signed = about | {"certificateInstallationRes": text}
    return {"signedContractData": signed} if answer else signed


class ContractOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A contract that a provider without PKI has made and signed. Times are ISO 8601."""

    emaid: str
    pcid: str
    contract_begins: str
    contract_ends: str
    namespace: str = msgspec.field(name="xsdMsgDefNamespace")


def read_order(body: bytes) -> ContractOrder:
    """Return an order for a contract. Raises CodecError."""
    return _decoded(body, ContractOrder)


# -- events


class PoolEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What an ecosystem tells its subscribers: that something has changed; what it is now they ask the pools."""

    kind: str = msgspec.field(name="eventType")


def event_signature(secret: str, body: bytes) -> str:
    """Return the signature of an event: `sha256=` and the HMAC of the body, hex."""
    return f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"


def read_event(body: bytes, signature: str, secret: str) -> PoolEvent:
    """Return a signed event; OPNC's signatures are without `sha256=`.

    Raises CertificateError (`bad_signature`) unless the subscriber's secret has signed it, CodecError for no event.
    """
    given = f"sha256={signature.strip().lower().removeprefix('sha256=')}"
    if not hmac.compare_digest(event_signature(secret, body).encode(), given.encode()):
        raise CertificateError("the event is not signed with this endpoint's secret", reason="bad_signature")
    return _decoded(body, PoolEvent)


# -- inside


def encode_base64(data: bytes) -> str:
    """Return data as pools write it."""
    return base64.b64encode(data).decode()


def decode_base64(text: str) -> bytes:
    """Return what a pool has written. Raises CodecError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CodecError(f"not base64: {error}") from None


def _named(leaf: str, sub: str, chain: Sequence[bytes]) -> dict[str, str]:
    """Return the certificates of a chain (leaf first) by their names. Sub-CA 1 is the one below the root."""
    names = (leaf, f"{sub}1Certificate", f"{sub}2Certificate")
    return {name: encode_base64(der) for name, der in zip(names, (chain[0], *reversed(chain[1:])), strict=False)}


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return typed_json.decode_sent(body, kind)
    except msgspec.DecodeError as error:
        raise CodecError(f"not an answer of a pool: {error}") from None
