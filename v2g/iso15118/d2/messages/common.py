"""ISO 15118-2:2013 messages of AC and DC sessions, in the order in which a session uses them."""

from typing import Annotated, ClassVar, Final

from msgspec import field

from v2g.exi.declare import ATTRIBUTE, Element, Long, Ref, Short, UnsignedShort, global_elements
from v2g.iso15118.d2.messages import data_types
from v2g.iso15118.d2.schemas import ISO2_BODY
from v2g.iso15118.engine.older_types import ServiceID, SessionID

SCHEMA: Final = ISO2_BODY


class BodyElement(Element, frozen=True, kw_only=True, tag=True):
    """Head of everything that a body can hold (type BodyBaseType)."""

    abstract: ClassVar[bool] = True


class SessionSetupReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle opens a session or resumes a paused one."""

    evcc_id: data_types.EvccID


class SessionSetupRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger identifies itself; time in s since 1970 in UTC."""

    response_code: data_types.ResponseCode
    evse_id: data_types.EvseID
    evse_time_stamp: Long | None = None


class ServiceDiscoveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests the services on offer."""

    service_scope: data_types.ServiceScope | None = None
    service_category: data_types.ServiceCategory | None = None


class ServiceDiscoveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Payment options, the charging service and value-added services."""

    response_code: data_types.ResponseCode
    payment_option_list: data_types.PaymentOptionList
    charge_service: data_types.ChargeService
    service_list: data_types.ServiceList | None = None


class ServiceDetailReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests details of one service."""

    service_id: ServiceID


class ServiceDetailRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The variants of that service."""

    response_code: data_types.ResponseCode
    service_id: ServiceID
    service_parameter_list: data_types.ServiceParameterList | None = None


class PaymentServiceSelectionReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle selects payment option and services."""

    selected_payment_option: data_types.PaymentOption
    selected_service_list: data_types.SelectedServiceList


class PaymentServiceSelectionRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the selection is accepted."""

    response_code: data_types.ResponseCode


class PaymentDetailsReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle presents its contract."""

    emaid: data_types.ContractID = field(name="eMAID")
    contract_signature_cert_chain: data_types.CertificateChain


class PaymentDetailsRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """A challenge of 16 octets that the vehicle must sign."""

    response_code: data_types.ResponseCode
    gen_challenge: data_types.GenChallenge
    evse_time_stamp: Long


class AuthorizationReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The signed challenge, or nothing with external payment."""

    gen_challenge: data_types.GenChallenge | None = None
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class AuthorizationRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the vehicle is authorised; Ongoing while the operator decides."""

    response_code: data_types.ResponseCode
    evse_processing: data_types.EVSEProcessing


class ChargeParameterDiscoveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle's limits and needs."""

    max_entries_sa_schedule_tuple: UnsignedShort | None = None
    requested_energy_transfer_mode: data_types.EnergyTransferMode
    ev_charge_parameter: Annotated[
        data_types.EVChargeParameter | data_types.AC_EVChargeParameter | data_types.DC_EVChargeParameter,
        Ref(data_types.EVChargeParameter),
    ]


class ChargeParameterDiscoveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger's limits and schedules on offer."""

    response_code: data_types.ResponseCode
    evse_processing: data_types.EVSEProcessing
    sa_schedules: Annotated[data_types.SASchedules | data_types.SAScheduleList | None, Ref(data_types.SASchedules)] = (
        None
    )
    evse_charge_parameter: Annotated[
        data_types.EVSEChargeParameter | data_types.AC_EVSEChargeParameter | data_types.DC_EVSEChargeParameter,
        Ref(data_types.EVSEChargeParameter),
    ]


class PowerDeliveryReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle starts or stops the transfer of energy, or renegotiates."""

    charge_progress: data_types.ChargeProgress
    sa_schedule_tuple_id: data_types.SAID
    charging_profile: data_types.ChargingProfile | None = None
    ev_power_delivery_parameter: Annotated[
        data_types.EVPowerDeliveryParameter | data_types.DC_EVPowerDeliveryParameter | None,
        Ref(data_types.EVPowerDeliveryParameter),
    ] = None


class PowerDeliveryRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the charger accepts."""

    response_code: data_types.ResponseCode
    evse_status: Annotated[
        data_types.EVSEStatus | data_types.AC_EVSEStatus | data_types.DC_EVSEStatus, Ref(data_types.EVSEStatus)
    ]


class MeteringReceiptReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle confirms a meter reading by its signature."""

    session_id: SessionID
    sa_schedule_tuple_id: data_types.SAID | None = None
    meter_info: data_types.MeterInfo
    id: Annotated[str | None, ATTRIBUTE] = field(name="Id", default=None)


class MeteringReceiptRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the receipt is accepted."""

    response_code: data_types.ResponseCode
    evse_status: Annotated[
        data_types.EVSEStatus | data_types.AC_EVSEStatus | data_types.DC_EVSEStatus, Ref(data_types.EVSEStatus)
    ]


class SessionStopReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle ends or pauses the session."""

    charging_session: data_types.ChargingSession


class SessionStopRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The charger agrees."""

    response_code: data_types.ResponseCode


class CertificateUpdateReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests a new contract certificate; signed with the old contract key."""

    contract_signature_cert_chain: data_types.CertificateChain
    emaid: data_types.ContractID = field(name="eMAID")
    list_of_root_certificate_ids: data_types.ListOfRootCertificateIDs
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class CertificateUpdateRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The new contract and its key; four of its elements are signed. Retry in days."""

    response_code: data_types.ResponseCode
    sa_provisioning_certificate_chain: data_types.CertificateChain
    contract_signature_cert_chain: data_types.CertificateChain
    contract_signature_encrypted_private_key: data_types.ContractSignatureEncryptedPrivateKey
    dh_public_key: data_types.DiffieHellmanPublickey = field(name="DHpublickey")
    emaid: data_types.EMAID = field(name="eMAID")
    retry_counter: Short | None = None


class CertificateInstallationReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The vehicle requests its contract certificate; signed with the provisioning key."""

    oem_provisioning_cert: data_types.Certificate
    list_of_root_certificate_ids: data_types.ListOfRootCertificateIDs
    id: Annotated[str, ATTRIBUTE] = field(name="Id")


class CertificateInstallationRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The contract and its key; four of its elements are signed."""

    response_code: data_types.ResponseCode
    sa_provisioning_certificate_chain: data_types.CertificateChain
    contract_signature_cert_chain: data_types.CertificateChain
    contract_signature_encrypted_private_key: data_types.ContractSignatureEncryptedPrivateKey
    dh_public_key: data_types.DiffieHellmanPublickey = field(name="DHpublickey")
    emaid: data_types.EMAID = field(name="eMAID")


class ChargingStatusReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The AC vehicle requests the charging status; repeated while energy flows."""


class ChargingStatusRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The maximum current in A, the meter and the status of the charger."""

    response_code: data_types.ResponseCode
    evse_id: data_types.EvseID
    sa_schedule_tuple_id: data_types.SAID
    evse_max_current: data_types.PhysicalValue | None = None
    meter_info: data_types.MeterInfo | None = None
    receipt_required: bool | None = None
    ac_evse_status: data_types.AC_EVSEStatus = field(name="AC_EVSEStatus")


class CableCheckReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The DC vehicle requests the insulation test of the cable; repeated until it is done."""

    dc_ev_status: data_types.DC_EVStatus = field(name="DC_EVStatus")


class CableCheckRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the insulation test is done."""

    response_code: data_types.ResponseCode
    dc_evse_status: data_types.DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_processing: data_types.EVSEProcessing


class PreChargeReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The DC vehicle requests a voltage near that of its battery, so that its contactor may close."""

    dc_ev_status: data_types.DC_EVStatus = field(name="DC_EVStatus")
    ev_target_voltage: data_types.PhysicalValue
    ev_target_current: data_types.PhysicalValue


class PreChargeRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The voltage at the charger's output."""

    response_code: data_types.ResponseCode
    dc_evse_status: data_types.DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_present_voltage: data_types.PhysicalValue


class CurrentDemandReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """Requested current and voltage of the DC vehicle; repeated while energy flows."""

    dc_ev_status: data_types.DC_EVStatus = field(name="DC_EVStatus")
    ev_target_current: data_types.PhysicalValue
    ev_maximum_voltage_limit: data_types.PhysicalValue | None = None
    ev_maximum_current_limit: data_types.PhysicalValue | None = None
    ev_maximum_power_limit: data_types.PhysicalValue | None = None
    bulk_charging_complete: bool | None = None
    charging_complete: bool
    remaining_time_to_full_soc: data_types.PhysicalValue | None = field(name="RemainingTimeToFullSoC", default=None)
    remaining_time_to_bulk_soc: data_types.PhysicalValue | None = field(name="RemainingTimeToBulkSoC", default=None)
    ev_target_voltage: data_types.PhysicalValue


class CurrentDemandRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Present output, reached limits, and the meter."""

    response_code: data_types.ResponseCode
    dc_evse_status: data_types.DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_present_voltage: data_types.PhysicalValue
    evse_present_current: data_types.PhysicalValue
    evse_current_limit_achieved: bool
    evse_voltage_limit_achieved: bool
    evse_power_limit_achieved: bool
    evse_maximum_voltage_limit: data_types.PhysicalValue | None = None
    evse_maximum_current_limit: data_types.PhysicalValue | None = None
    evse_maximum_power_limit: data_types.PhysicalValue | None = None
    evse_id: data_types.EvseID
    sa_schedule_tuple_id: data_types.SAID
    meter_info: data_types.MeterInfo | None = None
    receipt_required: bool | None = None


class WeldingDetectionReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The DC vehicle checks that its contactors have opened."""

    dc_ev_status: data_types.DC_EVStatus = field(name="DC_EVStatus")


class WeldingDetectionRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The voltage at the charger's output."""

    response_code: data_types.ResponseCode
    dc_evse_status: data_types.DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_present_voltage: data_types.PhysicalValue


ELEMENTS: Final = global_elements(__name__)
