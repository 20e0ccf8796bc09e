"""Contract, root and station certificates (functional block M, ISO 15118)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages.base import (
    V21,
    CertificateHashData,
    Datatype,
    DateTime,
    Message,
    NonNegative,
    OCSPRequestData,
    OneOrMore,
    StatusInfo,
    String50,
    String255,
    String2000,
    since_21,
    text,
)

CertificateAction = Literal["Install", "Update"]


class Get15118EVCertificateRequest(Message, frozen=True, kw_only=True):
    """Station forwards a certificate installation or update, EXI in base64 (M01, M02)."""

    iso15118_schema_version: String50
    action: CertificateAction
    exi_request: Annotated[str, text(11000, v201=5600)]
    maximum_contract_certificate_chains: Annotated[NonNegative | None, V21] = None
    prioritized_emaids: Annotated[OneOrMore[String255], Meta(max_length=8), V21] = field(
        default=(), name="prioritizedEMAIDs"
    )


Iso15118EVCertificateStatus = Literal["Accepted", "Failed"]


class Get15118EVCertificateResponse(Message, frozen=True, kw_only=True):
    """Answer to Get15118EVCertificate."""

    status: Iso15118EVCertificateStatus
    status_info: StatusInfo | None = None
    exi_response: Annotated[str, text(17000, v201=7500)]
    remaining_contracts: Annotated[NonNegative | None, V21] = None


class GetCertificateStatusRequest(Message, frozen=True, kw_only=True):
    """Station requests an OCSP answer (M06)."""

    ocsp_request_data: OCSPRequestData


GetCertificateStatus = Literal["Accepted", "Failed"]


class GetCertificateStatusResponse(Message, frozen=True, kw_only=True):
    """`ocsp_result` is the DER OCSP response in base64."""

    status: GetCertificateStatus
    status_info: StatusInfo | None = None
    ocsp_result: Annotated[str, text(18000, v201=5500)] | None = None


CertificateStatusSource = Literal["CRL", "OCSP"]


class CertificateStatusRequestInfo(Datatype, frozen=True, kw_only=True):
    """A certificate to be checked, and the URLs of its `source`."""

    certificate_hash_data: CertificateHashData
    source: CertificateStatusSource
    urls: Annotated[OneOrMore[String2000], Meta(max_length=5)]


class GetCertificateChainStatusRequest(Message, frozen=True, kw_only=True):
    """Station requests the revocation status of a chain (M07). 2.1 only."""

    certificate_status_requests: Annotated[OneOrMore[CertificateStatusRequestInfo], Meta(max_length=4)]


RevocationStatus = Literal["Good", "Revoked", "Unknown", "Failed"]


class CertificateStatus(Datatype, frozen=True, kw_only=True):
    """Whether one certificate is revoked."""

    certificate_hash_data: CertificateHashData
    source: CertificateStatusSource
    status: RevocationStatus
    next_update: DateTime


class GetCertificateChainStatusResponse(Message, frozen=True, kw_only=True):
    """Answer to GetCertificateChainStatus."""

    certificate_status: Annotated[OneOrMore[CertificateStatus], Meta(max_length=4)]


InstallCertificateUse = Annotated[
    Literal[
        "V2GRootCertificate",
        "MORootCertificate",
        "ManufacturerRootCertificate",
        "CSMSRootCertificate",
        "OEMRootCertificate",
    ],
    since_21("OEMRootCertificate"),
]


class InstallCertificateRequest(Message, frozen=True, kw_only=True):
    """CSMS installs a root certificate, PEM (M05)."""

    certificate_type: InstallCertificateUse
    certificate: Annotated[str, text(10000, v201=5500)]


InstallCertificateStatus = Literal["Accepted", "Rejected", "Failed"]


class InstallCertificateResponse(Message, frozen=True, kw_only=True):
    """Answer to InstallCertificate."""

    status: InstallCertificateStatus
    status_info: StatusInfo | None = None


class DeleteCertificateRequest(Message, frozen=True, kw_only=True):
    """CSMS deletes a certificate (M04)."""

    certificate_hash_data: CertificateHashData


DeleteCertificateStatus = Literal["Accepted", "Failed", "NotFound"]


class DeleteCertificateResponse(Message, frozen=True, kw_only=True):
    """Answer to DeleteCertificate."""

    status: DeleteCertificateStatus
    status_info: StatusInfo | None = None


GetCertificateIdUse = Annotated[
    Literal[
        "V2GRootCertificate",
        "MORootCertificate",
        "CSMSRootCertificate",
        "V2GCertificateChain",
        "ManufacturerRootCertificate",
        "OEMRootCertificate",
    ],
    since_21("OEMRootCertificate"),
]


class GetInstalledCertificateIdsRequest(Message, frozen=True, kw_only=True):
    """CSMS requests the installed certificates (M03)."""

    certificate_type: OneOrMore[GetCertificateIdUse] = ()


class CertificateHashDataChain(Datatype, frozen=True, kw_only=True):
    """An installed certificate and its sub-CAs."""

    certificate_hash_data: CertificateHashData
    certificate_type: GetCertificateIdUse
    child_certificate_hash_data: Annotated[OneOrMore[CertificateHashData], Meta(max_length=4)] = ()


GetInstalledCertificateStatus = Literal["Accepted", "NotFound"]


class GetInstalledCertificateIdsResponse(Message, frozen=True, kw_only=True):
    """Answer to GetInstalledCertificateIds."""

    status: GetInstalledCertificateStatus
    status_info: StatusInfo | None = None
    certificate_hash_data_chain: OneOrMore[CertificateHashDataChain] = ()
