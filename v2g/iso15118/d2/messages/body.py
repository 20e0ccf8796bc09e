"""ISO 15118-2:2013 body: the list of messages."""

from typing import Annotated, Final

from v2g.exi.declare import Element, Ref
from v2g.iso15118.d2.messages.charging import (
    CableCheckReq,
    CableCheckRes,
    ChargingStatusReq,
    ChargingStatusRes,
    CurrentDemandReq,
    CurrentDemandRes,
    PreChargeReq,
    PreChargeRes,
    WeldingDetectionReq,
    WeldingDetectionRes,
)
from v2g.iso15118.d2.messages.common import (
    AuthorizationReq,
    AuthorizationRes,
    BodyElement,
    CertificateInstallationReq,
    CertificateInstallationRes,
    CertificateUpdateReq,
    CertificateUpdateRes,
    ChargeParameterDiscoveryReq,
    ChargeParameterDiscoveryRes,
    MeteringReceiptReq,
    MeteringReceiptRes,
    PaymentDetailsReq,
    PaymentDetailsRes,
    PaymentServiceSelectionReq,
    PaymentServiceSelectionRes,
    PowerDeliveryReq,
    PowerDeliveryRes,
    ServiceDetailReq,
    ServiceDetailRes,
    ServiceDiscoveryReq,
    ServiceDiscoveryRes,
    SessionSetupReq,
    SessionSetupRes,
    SessionStopReq,
    SessionStopRes,
)
from v2g.iso15118.d2.schemas import ISO2_BODY

SCHEMA: Final = ISO2_BODY


class Body(Element, frozen=True, kw_only=True):
    """The message itself; an empty body is valid, but has no meaning."""

    body_element: Annotated[
        BodyElement
        | AuthorizationReq
        | AuthorizationRes
        | CableCheckReq
        | CableCheckRes
        | CertificateInstallationReq
        | CertificateInstallationRes
        | CertificateUpdateReq
        | CertificateUpdateRes
        | ChargeParameterDiscoveryReq
        | ChargeParameterDiscoveryRes
        | ChargingStatusReq
        | ChargingStatusRes
        | CurrentDemandReq
        | CurrentDemandRes
        | MeteringReceiptReq
        | MeteringReceiptRes
        | PaymentDetailsReq
        | PaymentDetailsRes
        | PaymentServiceSelectionReq
        | PaymentServiceSelectionRes
        | PowerDeliveryReq
        | PowerDeliveryRes
        | PreChargeReq
        | PreChargeRes
        | ServiceDetailReq
        | ServiceDetailRes
        | ServiceDiscoveryReq
        | ServiceDiscoveryRes
        | SessionSetupReq
        | SessionSetupRes
        | SessionStopReq
        | SessionStopRes
        | WeldingDetectionReq
        | WeldingDetectionRes
        | None,
        Ref(BodyElement),
    ] = None


ELEMENTS: Final[dict[str, type[Element]]] = {}
