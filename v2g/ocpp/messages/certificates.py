"""Contract, root and station certificates (functional block M, ISO 15118)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages import base

CertificateAction = Literal["Install", "Update"]


class Get15118EVCertificateRequest(base.Message, frozen=True, kw_only=True):
    """Station forwards a certificate installation or update, EXI in base64 (M01, M02)."""

    iso15118_schema_version: base.String50
    action: CertificateAction
    exi_request: Annotated[str, base.text(11000, v201=5600)]
    maximum_contract_certificate_chains: Annotated[base.NonNegative | None, base.V21] = None
    prioritized_emaids: Annotated[base.OneOrMore[base.String255], Meta(max_length=8), base.V21] = field(
        default=(), name="prioritizedEMAIDs"
    )


Iso15118EVCertificateStatus = Literal["Accepted", "Failed"]


class Get15118EVCertificateResponse(base.Message, frozen=True, kw_only=True):
    """Answer to Get15118EVCertificate."""

    status: Iso15118EVCertificateStatus
    status_info: base.StatusInfo | None = None
    exi_response: Annotated[str, base.text(17000, v201=7500)]
    remaining_contracts: Annotated[base.NonNegative | None, base.V21] = None


class GetCertificateStatusRequest(base.Message, frozen=True, kw_only=True):
    """Station requests an OCSP answer (M06)."""

    ocsp_request_data: base.OCSPRequestData


GetCertificateStatus = Literal["Accepted", "Failed"]


class GetCertificateStatusResponse(base.Message, frozen=True, kw_only=True):
    """`ocsp_result` is the DER OCSP response in base64."""

    status: GetCertificateStatus
    status_info: base.StatusInfo | None = None
    ocsp_result: Annotated[str, base.text(18000, v201=5500)] | None = None


CertificateStatusSource = Literal["CRL", "OCSP"]


class CertificateStatusRequestInfo(base.Datatype, frozen=True, kw_only=True):
    """A certificate to be checked, and the URLs of its `source`."""

    certificate_hash_data: base.CertificateHashData
    source: CertificateStatusSource
    urls: Annotated[base.OneOrMore[base.String2000], Meta(max_length=5)]


class GetCertificateChainStatusRequest(base.Message, frozen=True, kw_only=True):
    """Station requests the revocation status of a chain (M07). 2.1 only."""

    certificate_status_requests: Annotated[base.OneOrMore[CertificateStatusRequestInfo], Meta(max_length=4)]


RevocationStatus = Literal["Good", "Revoked", "Unknown", "Failed"]


class CertificateStatus(base.Datatype, frozen=True, kw_only=True):
    """Whether one certificate is revoked."""

    certificate_hash_data: base.CertificateHashData
    source: CertificateStatusSource
    status: RevocationStatus
    next_update: base.DateTime


class GetCertificateChainStatusResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetCertificateChainStatus."""

    certificate_status: Annotated[base.OneOrMore[CertificateStatus], Meta(max_length=4)]


InstallCertificateUse = Annotated[
    Literal[
        "V2GRootCertificate",
        "MORootCertificate",
        "ManufacturerRootCertificate",
        "CSMSRootCertificate",
        "OEMRootCertificate",
    ],
    base.since_21("OEMRootCertificate"),
]


class InstallCertificateRequest(base.Message, frozen=True, kw_only=True):
    """CSMS installs a root certificate, PEM (M05)."""

    certificate_type: InstallCertificateUse
    certificate: Annotated[str, base.text(10000, v201=5500)]


InstallCertificateStatus = Literal["Accepted", "Rejected", "Failed"]


class InstallCertificateResponse(base.Message, frozen=True, kw_only=True):
    """Answer to InstallCertificate."""

    status: InstallCertificateStatus
    status_info: base.StatusInfo | None = None


class DeleteCertificateRequest(base.Message, frozen=True, kw_only=True):
    """CSMS deletes a certificate (M04)."""

    certificate_hash_data: base.CertificateHashData


DeleteCertificateStatus = Literal["Accepted", "Failed", "NotFound"]


class DeleteCertificateResponse(base.Message, frozen=True, kw_only=True):
    """Answer to DeleteCertificate."""

    status: DeleteCertificateStatus
    status_info: base.StatusInfo | None = None


GetCertificateIdUse = Annotated[
    Literal[
        "V2GRootCertificate",
        "MORootCertificate",
        "CSMSRootCertificate",
        "V2GCertificateChain",
        "ManufacturerRootCertificate",
        "OEMRootCertificate",
    ],
    base.since_21("OEMRootCertificate"),
]


class GetInstalledCertificateIdsRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests the installed certificates (M03)."""

    certificate_type: base.OneOrMore[GetCertificateIdUse] = ()


class CertificateHashDataChain(base.Datatype, frozen=True, kw_only=True):
    """An installed certificate and its sub-CAs."""

    certificate_hash_data: base.CertificateHashData
    certificate_type: GetCertificateIdUse
    child_certificate_hash_data: Annotated[base.OneOrMore[base.CertificateHashData], Meta(max_length=4)] = ()


GetInstalledCertificateStatus = Literal["Accepted", "NotFound"]


class GetInstalledCertificateIdsResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetInstalledCertificateIds."""

    status: GetInstalledCertificateStatus
    status_info: base.StatusInfo | None = None
    certificate_hash_data_chain: base.OneOrMore[CertificateHashDataChain] = ()
