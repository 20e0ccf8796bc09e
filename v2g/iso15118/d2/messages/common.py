"""ISO 15118-2:2013 messages of AC and DC sessions, in the order in which a session uses them."""

from typing import Annotated, ClassVar, Final

from msgspec import field

from v2g.exi.declare import ATTRIBUTE, Element, Long, Ref, Short, UnsignedShort, global_elements
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
    ServiceList,
    ServiceParameterList,
    ServiceScope,
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
from v2g.iso15118.engine.older_types import ServiceID, SessionID

SCHEMA: Final = ISO2_BODY


class BodyElement(Element, frozen=True, kw_only=True, tag=True):
    """Head of everything that a body can hold (type BodyBaseType)."""

    abstract: ClassVar[bool] = True


class SessionSetupReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle opens a session or resumes a paused one."""

    evcc_id: EvccID


class SessionSetupRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger identifies itself; time in s since 1970 in UTC."""

    response_code: ResponseCode
    evse_id: EvseID
    evse_time_stamp: Long | None = None


class ServiceDiscoveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests the services on offer."""

    service_scope: ServiceScope | None = None
    service_category: ServiceCategory | None = None


class ServiceDiscoveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Payment options, the charging service and value-added services."""

    response_code: ResponseCode
    payment_option_list: PaymentOptionList
    charge_service: ChargeService
    service_list: ServiceList | None = None


class ServiceDetailReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests details of one service."""

    service_id: ServiceID


class ServiceDetailRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The variants of that service."""

    response_code: ResponseCode
    service_id: ServiceID
    service_parameter_list: ServiceParameterList | None = None


class PaymentServiceSelectionReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle selects payment option and services."""

    selected_payment_option: PaymentOption
    selected_service_list: SelectedServiceList


class PaymentServiceSelectionRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the selection is accepted."""

    response_code: ResponseCode


class PaymentDetailsReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle presents its contract."""

    emaid: ContractID = field(name="eMAID")
    contract_signature_cert_chain: CertificateChain


class PaymentDetailsRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """A challenge of 16 octets that the vehicle must sign."""

    response_code: ResponseCode
    gen_challenge: GenChallenge
    evse_time_stamp: Long


class AuthorizationReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The signed challenge, or nothing with external payment."""

    gen_challenge: GenChallenge | None = None
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class AuthorizationRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the vehicle is authorised; Ongoing while the operator decides."""

    response_code: ResponseCode
    evse_processing: EVSEProcessing


class ChargeParameterDiscoveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle's limits and needs."""

    max_entries_sa_schedule_tuple: UnsignedShort | None = None
    requested_energy_transfer_mode: EnergyTransferMode
    ev_charge_parameter: Annotated[
        EVChargeParameter | AC_EVChargeParameter | DC_EVChargeParameter, Ref(EVChargeParameter)
    ]


class ChargeParameterDiscoveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger's limits and schedules on offer."""

    response_code: ResponseCode
    evse_processing: EVSEProcessing
    sa_schedules: Annotated[SASchedules | SAScheduleList | None, Ref(SASchedules)] = None
    evse_charge_parameter: Annotated[
        EVSEChargeParameter | AC_EVSEChargeParameter | DC_EVSEChargeParameter, Ref(EVSEChargeParameter)
    ]


class PowerDeliveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle starts or stops the transfer of energy, or renegotiates."""

    charge_progress: ChargeProgress
    sa_schedule_tuple_id: SAID
    charging_profile: ChargingProfile | None = None
    ev_power_delivery_parameter: Annotated[
        EVPowerDeliveryParameter | DC_EVPowerDeliveryParameter | None, Ref(EVPowerDeliveryParameter)
    ] = None


class PowerDeliveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the charger accepts."""

    response_code: ResponseCode
    evse_status: Annotated[EVSEStatus | AC_EVSEStatus | DC_EVSEStatus, Ref(EVSEStatus)]


class MeteringReceiptReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle confirms a meter reading by its signature."""

    session_id: SessionID
    sa_schedule_tuple_id: SAID | None = None
    meter_info: MeterInfo
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class MeteringReceiptRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the receipt is accepted."""

    response_code: ResponseCode
    evse_status: Annotated[EVSEStatus | AC_EVSEStatus | DC_EVSEStatus, Ref(EVSEStatus)]


class SessionStopReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle ends or pauses the session."""

    charging_session: ChargingSession


class SessionStopRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger agrees."""

    response_code: ResponseCode


class CertificateUpdateReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests a new contract certificate; signed with the old contract key."""

    contract_signature_cert_chain: CertificateChain
    emaid: ContractID = field(name="eMAID")
    list_of_root_certificate_ids: ListOfRootCertificateIDs
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class CertificateUpdateRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The new contract and its key; four of its elements are signed. Retry in days."""

    response_code: ResponseCode
    sa_provisioning_certificate_chain: CertificateChain
    contract_signature_cert_chain: CertificateChain
    contract_signature_encrypted_private_key: ContractSignatureEncryptedPrivateKey
    dh_public_key: DiffieHellmanPublickey = field(name="DHpublickey")
    emaid: EMAID = field(name="eMAID")
    retry_counter: Short | None = None


class CertificateInstallationReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests its contract certificate; signed with the provisioning key."""

    oem_provisioning_cert: Certificate
    list_of_root_certificate_ids: ListOfRootCertificateIDs
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class CertificateInstallationRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The contract and its key; four of its elements are signed."""

    response_code: ResponseCode
    sa_provisioning_certificate_chain: CertificateChain
    contract_signature_cert_chain: CertificateChain
    contract_signature_encrypted_private_key: ContractSignatureEncryptedPrivateKey
    dh_public_key: DiffieHellmanPublickey = field(name="DHpublickey")
    emaid: EMAID = field(name="eMAID")


ELEMENTS: Final = global_elements(__name__)
