"""DIN 70121:2012 messages of AC and DC sessions, in the order in which a session uses them."""

from typing import Annotated, Final

from msgspec import field

from v2g.exi.declare import ATTRIBUTE, Long, Ref, Short, global_elements
from v2g.iso15118.din.messages.base import BodyElement
from v2g.iso15118.din.messages.data_types import (
    SAID,
    Certificate,
    CertificateChain,
    ContractID,
    DhParams,
    EvccID,
    EVRequestedEnergyTransferType,
    EvseID,
    EVSEProcessing,
    GenChallenge,
    ListOfRootCertificateIDs,
    MeterInfo,
    PaymentOption,
    PaymentOptions,
    PrivateKey,
    ResponseCode,
    SelectedServiceList,
    ServiceCategory,
    ServiceCharge,
    ServiceParameterList,
    ServiceScope,
    ServiceTagList,
)
from v2g.iso15118.din.messages.parameters import (
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
from v2g.iso15118.din.messages.tariffs import SAScheduleList, SASchedules
from v2g.iso15118.din.schemas import DIN_BODY
from v2g.iso15118.engine.older_types import ServiceID, SessionID

SCHEMA: Final = DIN_BODY


class SessionSetupReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle opens a session or resumes a paused one."""

    evcc_id: EvccID


class SessionSetupRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger identifies itself; time in s since 1970 in UTC."""

    response_code: ResponseCode
    evse_id: EvseID
    date_time_now: Long | None = None


class ServiceDiscoveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests the services on offer."""

    service_scope: ServiceScope | None = None
    service_category: ServiceCategory | None = None


class ServiceDiscoveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Payment options, the charging service and value-added services."""

    response_code: ResponseCode
    payment_options: PaymentOptions
    charge_service: ServiceCharge
    service_list: ServiceTagList | None = None


class ServiceDetailReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests details of one service."""

    service_id: ServiceID


class ServiceDetailRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The variants of that service."""

    response_code: ResponseCode
    service_id: ServiceID
    service_parameter_list: ServiceParameterList | None = None


class ServicePaymentSelectionReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle selects payment option and services."""

    selected_payment_option: PaymentOption
    selected_service_list: SelectedServiceList


class ServicePaymentSelectionRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the selection is accepted."""

    response_code: ResponseCode


class PaymentDetailsReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle presents its contract."""

    contract_id: ContractID
    contract_signature_cert_chain: CertificateChain


class PaymentDetailsRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """A challenge that the vehicle must sign."""

    response_code: ResponseCode
    gen_challenge: GenChallenge
    date_time_now: Long


class ContractAuthenticationReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The signed challenge, or nothing with external payment."""

    gen_challenge: GenChallenge | None = None
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class ContractAuthenticationRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the vehicle is authorised; Ongoing while the operator decides."""

    response_code: ResponseCode
    evse_processing: EVSEProcessing


class ChargeParameterDiscoveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle's limits and needs."""

    ev_requested_energy_transfer_type: EVRequestedEnergyTransferType
    ev_charge_parameter: Annotated[
        EVChargeParameter | AC_EVChargeParameter | DC_EVChargeParameter, Ref(EVChargeParameter)
    ]


class ChargeParameterDiscoveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger's limits and schedules on offer."""

    response_code: ResponseCode
    evse_processing: EVSEProcessing
    sa_schedules: Annotated[SASchedules | SAScheduleList, Ref(SASchedules)]
    evse_charge_parameter: Annotated[
        EVSEChargeParameter | AC_EVSEChargeParameter | DC_EVSEChargeParameter, Ref(EVSEChargeParameter)
    ]


class PowerDeliveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle starts or stops the transfer of energy."""

    ready_to_charge_state: bool
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
    ac_evse_status: AC_EVSEStatus = field(name="AC_EVSEStatus")


class SessionStopReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle ends the session (type SessionStopType)."""


class SessionStopRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger agrees."""

    response_code: ResponseCode


class CertificateUpdateReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests a new contract certificate."""

    contract_signature_cert_chain: CertificateChain
    contract_id: ContractID
    list_of_root_certificate_ids: ListOfRootCertificateIDs
    dh_params: DhParams
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class CertificateUpdateRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The new contract and its key; retry in days."""

    response_code: ResponseCode
    contract_signature_cert_chain: CertificateChain
    contract_signature_encrypted_private_key: PrivateKey
    dh_params: DhParams
    contract_id: ContractID
    retry_counter: Short
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class CertificateInstallationReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests its contract certificate."""

    oem_provisioning_cert: Certificate
    list_of_root_certificate_ids: ListOfRootCertificateIDs
    dh_params: DhParams
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class CertificateInstallationRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The contract and its key."""

    response_code: ResponseCode
    contract_signature_cert_chain: CertificateChain
    contract_signature_encrypted_private_key: PrivateKey
    dh_params: DhParams
    contract_id: ContractID
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


ELEMENTS: Final = global_elements(__name__)
