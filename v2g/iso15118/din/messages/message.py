"""DIN 70121:2012 message: the root of every stream."""

from typing import Annotated, Final

from v2g.exi.declare import Element, Ref
from v2g.iso15118.din.messages.base import BodyElement
from v2g.iso15118.din.messages.charging import (
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
from v2g.iso15118.din.messages.common import (
    CertificateInstallationReq,
    CertificateInstallationRes,
    CertificateUpdateReq,
    CertificateUpdateRes,
    ChargeParameterDiscoveryReq,
    ChargeParameterDiscoveryRes,
    ContractAuthenticationReq,
    ContractAuthenticationRes,
    MeteringReceiptReq,
    MeteringReceiptRes,
    PaymentDetailsReq,
    PaymentDetailsRes,
    PowerDeliveryReq,
    PowerDeliveryRes,
    ServiceDetailReq,
    ServiceDetailRes,
    ServiceDiscoveryReq,
    ServiceDiscoveryRes,
    ServicePaymentSelectionReq,
    ServicePaymentSelectionRes,
    SessionSetupReq,
    SessionSetupRes,
    SessionStopReq,
    SessionStopRes,
)
from v2g.iso15118.din.messages.header import MessageHeader
from v2g.iso15118.din.schemas import DIN

SCHEMA: Final = DIN


class Body(Element, frozen=True, kw_only=True):
    """The message itself; an empty body is valid, but has no meaning."""

    body_element: Annotated[
        BodyElement
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
        | ContractAuthenticationReq
        | ContractAuthenticationRes
        | CurrentDemandReq
        | CurrentDemandRes
        | MeteringReceiptReq
        | MeteringReceiptRes
        | PaymentDetailsReq
        | PaymentDetailsRes
        | PowerDeliveryReq
        | PowerDeliveryRes
        | PreChargeReq
        | PreChargeRes
        | ServiceDetailReq
        | ServiceDetailRes
        | ServiceDiscoveryReq
        | ServiceDiscoveryRes
        | ServicePaymentSelectionReq
        | ServicePaymentSelectionRes
        | SessionSetupReq
        | SessionSetupRes
        | SessionStopReq
        | SessionStopRes
        | WeldingDetectionReq
        | WeldingDetectionRes
        | None,
        Ref(BodyElement),
    ] = None


class V2G_Message(Element, frozen=True, kw_only=True):
    """Every message: a header and a body."""

    header: MessageHeader
    body: Body


ELEMENTS: Final = {"V2G_Message": V2G_Message}
