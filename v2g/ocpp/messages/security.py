"""Security: events and the station's own certificate (functional block A)."""

from typing import Annotated, Literal

from v2g.ocpp.messages import base


class SecurityEventNotificationRequest(base.Message, frozen=True, kw_only=True):
    """Station reports a security event (A04)."""

    type: base.String50
    timestamp: base.DateTime
    tech_info: base.String255 | None = None


class SecurityEventNotificationResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SecurityEventNotification."""


CertificateSigningUse = Annotated[
    Literal["ChargingStationCertificate", "V2GCertificate", "V2G20Certificate"], base.since_21("V2G20Certificate")
]


class SignCertificateRequest(base.Message, frozen=True, kw_only=True):
    """Station requests a certificate for its PKCS#10 request `csr`, PEM (A02, A03)."""

    csr: base.String5500
    certificate_type: CertificateSigningUse | None = None
    hash_root_certificate: Annotated[base.CertificateHashData | None, base.V21] = None
    request_id: Annotated[base.Identifier | None, base.V21] = None


class SignCertificateResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SignCertificate."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None


class CertificateSignedRequest(base.Message, frozen=True, kw_only=True):
    """CSMS delivers the signed chain, PEM, leaf first (A02, A03)."""

    certificate_chain: base.String10000
    certificate_type: CertificateSigningUse | None = None
    request_id: Annotated[base.Identifier | None, base.V21] = None


CertificateSignedStatus = Literal["Accepted", "Rejected"]


class CertificateSignedResponse(base.Message, frozen=True, kw_only=True):
    """Answer to CertificateSigned."""

    status: CertificateSignedStatus
    status_info: base.StatusInfo | None = None
