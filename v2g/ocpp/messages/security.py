"""Security: events and the station's own certificate (functional block A)."""

from typing import Annotated, Literal

from v2g.ocpp.messages.base import (
    V21,
    CertificateHashData,
    DateTime,
    GenericStatus,
    Identifier,
    Message,
    StatusInfo,
    String50,
    String255,
    String5500,
    String10000,
    since_21,
)


class SecurityEventNotificationRequest(Message, frozen=True, kw_only=True):
    """Station reports a security event (A04)."""

    type: String50
    timestamp: DateTime
    tech_info: String255 | None = None


class SecurityEventNotificationResponse(Message, frozen=True, kw_only=True):
    """Answer to SecurityEventNotification."""


CertificateSigningUse = Annotated[
    Literal["ChargingStationCertificate", "V2GCertificate", "V2G20Certificate"], since_21("V2G20Certificate")
]


class SignCertificateRequest(Message, frozen=True, kw_only=True):
    """Station requests a certificate for its PKCS#10 request `csr`, PEM (A02, A03)."""

    csr: String5500
    certificate_type: CertificateSigningUse | None = None
    hash_root_certificate: Annotated[CertificateHashData | None, V21] = None
    request_id: Annotated[Identifier | None, V21] = None


class SignCertificateResponse(Message, frozen=True, kw_only=True):
    """Answer to SignCertificate."""

    status: GenericStatus
    status_info: StatusInfo | None = None


class CertificateSignedRequest(Message, frozen=True, kw_only=True):
    """CSMS delivers the signed chain, PEM, leaf first (A02, A03)."""

    certificate_chain: String10000
    certificate_type: CertificateSigningUse | None = None
    request_id: Annotated[Identifier | None, V21] = None


CertificateSignedStatus = Literal["Accepted", "Rejected"]


class CertificateSignedResponse(Message, frozen=True, kw_only=True):
    """Answer to CertificateSigned."""

    status: CertificateSignedStatus
    status_info: StatusInfo | None = None
