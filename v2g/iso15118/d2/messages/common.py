"""ISO 15118-2:2013 messages of AC and DC sessions, in the order in which a session uses them."""

from typing import Annotated, ClassVar, Final

from msgspec import field

from v2g.exi.declare import ATTRIBUTE, Element, Long, Ref, Short, UnsignedShort
from v2g.iso15118.d2.messages.data_types import (
    EMAID,
    SAID,
    Certificate,
    CertificateChain,
    ChargeProgress,
    ChargeService,
    ChargingSession,
    ContractID,
    ContractSignatureEncryptedPrivateKey,
    DiffieHellmanPublickey,
    EnergyTransferMode,
    EvccID,
    EvseID,
    EVSEProcessing,
    GenChallenge,
    ListOfRootCertificateIDs,
    MeterInfo,
    PaymentOption,
    PaymentOptionList,
    ResponseCode,
    SelectedServiceList,
    ServiceCategory,
    ServiceID,
    ServiceList,
    ServiceParameterList,
    ServiceScope,
    SessionID,
)
from v2g.iso15118.d2.messages.parameters import (
    AC_EVChargeParameter,
    AC_EVSEChargeParameter,
    AC_EVSEStatus,
    ChargingProfile,
    DC_EVChargeParameter,
    DC_EVPowerDeliveryParameter,
    DC_EVSEChargeParameter,
    DC_EVSEStatus,
    EVChargeParameter,
    EVPowerDeliveryParameter,
    EVSEChargeParameter,
    EVSEStatus,
)
from v2g.iso15118.d2.messages.tariffs import SAScheduleList, SASchedules
from v2g.iso15118.d2.schemas import ISO2_BODY

SCHEMA: Final = ISO2_BODY


class BodyElement(Element, frozen=True, kw_only=True, tag=True):
    """Head of everything that a body can hold (type BodyBaseType)."""

    abstract: ClassVar[bool] = True


class SessionSetupReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle opens a session or joins a paused one."""

    evcc_id: EvccID = field(name="EVCCID")


class SessionSetupRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger names itself; time in s since 1970 in UTC."""

    response_code: ResponseCode = field(name="ResponseCode")
    evse_id: EvseID = field(name="EVSEID")
    evse_time_stamp: Long | None = field(name="EVSETimeStamp", default=None)


class ServiceDiscoveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle asks what is on offer."""

    service_scope: ServiceScope | None = field(name="ServiceScope", default=None)
    service_category: ServiceCategory | None = field(name="ServiceCategory", default=None)


class ServiceDiscoveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Ways to pay, the service of charging and value-added services."""

    response_code: ResponseCode = field(name="ResponseCode")
    payment_option_list: PaymentOptionList = field(name="PaymentOptionList")
    charge_service: ChargeService = field(name="ChargeService")
    service_list: ServiceList | None = field(name="ServiceList", default=None)


class ServiceDetailReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle asks about one service."""

    service_id: ServiceID = field(name="ServiceID")


class ServiceDetailRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The variants of that service."""

    response_code: ResponseCode = field(name="ResponseCode")
    service_id: ServiceID = field(name="ServiceID")
    service_parameter_list: ServiceParameterList | None = field(name="ServiceParameterList", default=None)


class PaymentServiceSelectionReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle selects who pays, and services."""

    selected_payment_option: PaymentOption = field(name="SelectedPaymentOption")
    selected_service_list: SelectedServiceList = field(name="SelectedServiceList")


class PaymentServiceSelectionRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the selection is accepted."""

    response_code: ResponseCode = field(name="ResponseCode")


class PaymentDetailsReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle shows its contract."""

    emaid: ContractID = field(name="eMAID")
    contract_signature_cert_chain: CertificateChain = field(name="ContractSignatureCertChain")


class PaymentDetailsRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """A challenge of 16 octets that the vehicle must sign."""

    response_code: ResponseCode = field(name="ResponseCode")
    gen_challenge: GenChallenge = field(name="GenChallenge")
    evse_time_stamp: Long = field(name="EVSETimeStamp")


class AuthorizationReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The signed challenge, or nothing when something outside the protocol pays."""

    gen_challenge: GenChallenge | None = field(name="GenChallenge", default=None)
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class AuthorizationRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the vehicle is authorised; Ongoing while the operator is asked."""

    response_code: ResponseCode = field(name="ResponseCode")
    evse_processing: EVSEProcessing = field(name="EVSEProcessing")


class ChargeParameterDiscoveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle tells its limits and needs."""

    max_entries_sa_schedule_tuple: UnsignedShort | None = field(name="MaxEntriesSAScheduleTuple", default=None)
    requested_energy_transfer_mode: EnergyTransferMode = field(name="RequestedEnergyTransferMode")
    ev_charge_parameter: Annotated[
        EVChargeParameter | AC_EVChargeParameter | DC_EVChargeParameter, Ref(EVChargeParameter)
    ] = field(name="EVChargeParameter")


class ChargeParameterDiscoveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger tells its limits and offers schedules."""

    response_code: ResponseCode = field(name="ResponseCode")
    evse_processing: EVSEProcessing = field(name="EVSEProcessing")
    sa_schedules: Annotated[SASchedules | SAScheduleList | None, Ref(SASchedules)] = field(
        name="SASchedules", default=None
    )
    evse_charge_parameter: Annotated[
        EVSEChargeParameter | AC_EVSEChargeParameter | DC_EVSEChargeParameter, Ref(EVSEChargeParameter)
    ] = field(name="EVSEChargeParameter")


class PowerDeliveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle starts or stops the transfer of energy, or renegotiates."""

    charge_progress: ChargeProgress = field(name="ChargeProgress")
    sa_schedule_tuple_id: SAID = field(name="SAScheduleTupleID")
    charging_profile: ChargingProfile | None = field(name="ChargingProfile", default=None)
    ev_power_delivery_parameter: Annotated[
        EVPowerDeliveryParameter | DC_EVPowerDeliveryParameter | None, Ref(EVPowerDeliveryParameter)
    ] = field(name="EVPowerDeliveryParameter", default=None)


class PowerDeliveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the charger follows."""

    response_code: ResponseCode = field(name="ResponseCode")
    evse_status: Annotated[EVSEStatus | AC_EVSEStatus | DC_EVSEStatus, Ref(EVSEStatus)] = field(name="EVSEStatus")


class MeteringReceiptReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle confirms a meter reading by its signature."""

    session_id: SessionID = field(name="SessionID")
    sa_schedule_tuple_id: SAID | None = field(name="SAScheduleTupleID", default=None)
    meter_info: MeterInfo = field(name="MeterInfo")
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class MeteringReceiptRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the receipt is accepted."""

    response_code: ResponseCode = field(name="ResponseCode")
    evse_status: Annotated[EVSEStatus | AC_EVSEStatus | DC_EVSEStatus, Ref(EVSEStatus)] = field(name="EVSEStatus")


class SessionStopReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle ends or pauses the session."""

    charging_session: ChargingSession = field(name="ChargingSession")


class SessionStopRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger agrees."""

    response_code: ResponseCode = field(name="ResponseCode")


class CertificateUpdateReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle asks for a new contract certificate; signed with the old contract key."""

    contract_signature_cert_chain: CertificateChain = field(name="ContractSignatureCertChain")
    emaid: ContractID = field(name="eMAID")
    list_of_root_certificate_ids: ListOfRootCertificateIDs = field(name="ListOfRootCertificateIDs")
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class CertificateUpdateRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The new contract and its key; four of its elements are signed. Retry in days."""

    response_code: ResponseCode = field(name="ResponseCode")
    sa_provisioning_certificate_chain: CertificateChain = field(name="SAProvisioningCertificateChain")
    contract_signature_cert_chain: CertificateChain = field(name="ContractSignatureCertChain")
    contract_signature_encrypted_private_key: ContractSignatureEncryptedPrivateKey = field(
        name="ContractSignatureEncryptedPrivateKey"
    )
    dh_public_key: DiffieHellmanPublickey = field(name="DHpublickey")
    emaid: EMAID = field(name="eMAID")
    retry_counter: Short | None = field(name="RetryCounter", default=None)


class CertificateInstallationReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle asks for its contract certificate; signed with the provisioning key."""

    oem_provisioning_cert: Certificate = field(name="OEMProvisioningCert")
    list_of_root_certificate_ids: ListOfRootCertificateIDs = field(name="ListOfRootCertificateIDs")
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class CertificateInstallationRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The contract and its key; four of its elements are signed."""

    response_code: ResponseCode = field(name="ResponseCode")
    sa_provisioning_certificate_chain: CertificateChain = field(name="SAProvisioningCertificateChain")
    contract_signature_cert_chain: CertificateChain = field(name="ContractSignatureCertChain")
    contract_signature_encrypted_private_key: ContractSignatureEncryptedPrivateKey = field(
        name="ContractSignatureEncryptedPrivateKey"
    )
    dh_public_key: DiffieHellmanPublickey = field(name="DHpublickey")
    emaid: EMAID = field(name="eMAID")


ELEMENTS: Final = {
    each.__name__: each
    for each in (
        BodyElement,
        SessionSetupReq,
        SessionSetupRes,
        ServiceDiscoveryReq,
        ServiceDiscoveryRes,
        ServiceDetailReq,
        ServiceDetailRes,
        PaymentServiceSelectionReq,
        PaymentServiceSelectionRes,
        PaymentDetailsReq,
        PaymentDetailsRes,
        AuthorizationReq,
        AuthorizationRes,
        ChargeParameterDiscoveryReq,
        ChargeParameterDiscoveryRes,
        PowerDeliveryReq,
        PowerDeliveryRes,
        MeteringReceiptReq,
        MeteringReceiptRes,
        SessionStopReq,
        SessionStopRes,
        CertificateUpdateReq,
        CertificateUpdateRes,
        CertificateInstallationReq,
        CertificateInstallationRes,
    )
}
