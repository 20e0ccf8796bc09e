"""ISO 15118-20 CommonMessages: the messages of every session, in the order in which a session uses them.

Certificates are in v2g.iso15118.d20.messages.certificates; schedules, prices and the control modes of ScheduleExchange
and PowerDelivery in v2g.iso15118.d20.messages.schedules.
"""

from enum import Enum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi import declare
from v2g.iso15118.d20.messages import certificates, schedules
from v2g.iso15118.d20.messages.common_types import (
    Description,
    EVSEStatus,
    Identifier,
    ListOfRootCertificateIDs,
    MeterInfo,
    Name,
    NumericID,
    Processing,
    RationalNumber,
    Receipt,
    SessionID,
    V2GRequest,
    V2GResponse,
)
from v2g.iso15118.d20.schemas import COMMON_MESSAGES

SCHEMA: Final = COMMON_MESSAGES

GenChallenge: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
ServiceID: TypeAlias = declare.UnsignedShort
MaxSupportingPointsScheduleTuple: TypeAlias = Annotated[int, Meta(ge=12, le=1024)]


class SessionSetupReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle opens a session (SessionID all zero) or resumes a paused one."""

    evcc_id: Identifier


class SessionSetupRes(V2GResponse, frozen=True, kw_only=True):
    """The charger identifies itself and the session."""

    evse_id: Identifier


class Authorization(Enum):
    """Authorisation method: external means or Plug & Charge (authorizationType)."""

    EIM = "EIM"
    PnC = "PnC"


class SupportedProvidersList(declare.Element, frozen=True, kw_only=True):
    """Mobility operators whose contracts the charger accepts."""

    provider_id: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=128)]


class PnC_ASResAuthorizationMode(declare.Element, frozen=True, kw_only=True):
    """A challenge of 16 octets that the vehicle must sign."""

    gen_challenge: GenChallenge
    supported_providers: SupportedProvidersList | None = None


class EIM_ASResAuthorizationMode(declare.Element, frozen=True, kw_only=True):
    """External identification needs no data."""


class AuthorizationSetupReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle requests the authorisation methods."""


class AuthorizationSetupRes(V2GResponse, frozen=True, kw_only=True):
    """Authorisation methods, and whether contracts can be installed."""

    authorization_services: Annotated[tuple[Authorization, ...], Meta(min_length=1, max_length=2)]
    certificate_installation_service: bool
    eim_as_res_authorization_mode: Annotated[
        EIM_ASResAuthorizationMode | None, declare.Choice("authorization_mode")
    ] = field(name="EIM_ASResAuthorizationMode", default=None)
    pnc_as_res_authorization_mode: Annotated[
        PnC_ASResAuthorizationMode | None, declare.Choice("authorization_mode")
    ] = field(name="PnC_ASResAuthorizationMode", default=None)


class PnC_AReqAuthorizationMode(declare.Element, frozen=True, kw_only=True):
    """The challenge and the contract chain; the element that the contract key signs."""

    gen_challenge: GenChallenge
    contract_certificate_chain: certificates.ContractCertificateChain
    id: Annotated[str, declare.ATTRIBUTE] = field(name="Id")


class EIM_AReqAuthorizationMode(declare.Element, frozen=True, kw_only=True):
    """External identification needs no data."""


class AuthorizationReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle chooses a method and, for Plug & Charge, proves its contract."""

    selected_authorization_service: Authorization
    eim_a_req_authorization_mode: Annotated[EIM_AReqAuthorizationMode | None, declare.Choice("authorization_mode")] = (
        field(name="EIM_AReqAuthorizationMode", default=None)
    )
    pnc_a_req_authorization_mode: Annotated[PnC_AReqAuthorizationMode | None, declare.Choice("authorization_mode")] = (
        field(name="PnC_AReqAuthorizationMode", default=None)
    )


class AuthorizationRes(V2GResponse, frozen=True, kw_only=True):
    """Whether the vehicle is authorised; Ongoing while the operator decides."""

    evse_processing: Processing


class ServiceIDList(declare.Element, frozen=True, kw_only=True):
    """Services that the vehicle supports."""

    service_id: Annotated[tuple[ServiceID, ...], Meta(min_length=1, max_length=16)]


class Service(declare.Element, frozen=True, kw_only=True):
    """A service and whether it is free of charge."""

    service_id: ServiceID
    free_service: bool


class ServiceList(declare.Element, frozen=True, kw_only=True):
    """Services on offer."""

    service: Annotated[tuple[Service, ...], Meta(min_length=1, max_length=8)]


class SelectedService(declare.Element, frozen=True, kw_only=True):
    """A service with one of its parameter sets."""

    service_id: ServiceID
    parameter_set_id: ServiceID


class SelectedServiceList(declare.Element, frozen=True, kw_only=True):
    """Value-added services selected by the vehicle."""

    selected_service: Annotated[tuple[SelectedService, ...], Meta(min_length=1, max_length=16)]


class Parameter(declare.Element, frozen=True, kw_only=True):
    """A named value of one of six types."""

    bool_value: Annotated[bool | None, declare.Choice("value")] = field(name="boolValue", default=None)
    byte_value: Annotated[declare.Byte | None, declare.Choice("value")] = field(name="byteValue", default=None)
    short_value: Annotated[declare.Short | None, declare.Choice("value")] = field(name="shortValue", default=None)
    int_value: Annotated[declare.Int | None, declare.Choice("value")] = field(name="intValue", default=None)
    rational_number: Annotated[RationalNumber | None, declare.Choice("value")] = field(
        name="rationalNumber", default=None
    )
    finite_string: Annotated[Name | None, declare.Choice("value")] = field(name="finiteString", default=None)
    name: Annotated[Name, declare.ATTRIBUTE]


class ParameterSet(declare.Element, frozen=True, kw_only=True):
    """One variant of a service."""

    parameter_set_id: ServiceID
    parameter: Annotated[tuple[Parameter, ...], Meta(min_length=1, max_length=32)]


class ServiceParameterList(declare.Element, frozen=True, kw_only=True):
    """All variants of a service."""

    parameter_set: Annotated[tuple[ParameterSet, ...], Meta(min_length=1, max_length=32)]


class ServiceDiscoveryReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle requests the services on offer."""

    supported_service_ids: ServiceIDList | None = None


class ServiceDiscoveryRes(V2GResponse, frozen=True, kw_only=True):
    """Energy transfer services and value-added services."""

    service_renegotiation_supported: bool
    energy_transfer_service_list: ServiceList
    vas_list: ServiceList | None = None


class ServiceDetailReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle requests details of one service."""

    service_id: ServiceID


class ServiceDetailRes(V2GResponse, frozen=True, kw_only=True):
    """The variants of that service."""

    service_id: ServiceID
    service_parameter_list: ServiceParameterList


class ServiceSelectionReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle selects one energy transfer service and any number of value-added ones."""

    selected_energy_transfer_service: SelectedService
    selected_vas_list: SelectedServiceList | None = None


class ServiceSelectionRes(V2GResponse, frozen=True, kw_only=True):
    """Whether the selection is accepted."""


class ScheduleExchangeReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle's needs; repeated until the charger has finished planning."""

    maximum_supporting_points: MaxSupportingPointsScheduleTuple
    dynamic_se_req_control_mode: Annotated[
        schedules.Dynamic_SEReqControlMode | None, declare.Choice("control_mode")
    ] = field(name="Dynamic_SEReqControlMode", default=None)
    scheduled_se_req_control_mode: Annotated[
        schedules.Scheduled_SEReqControlMode | None, declare.Choice("control_mode")
    ] = field(name="Scheduled_SEReqControlMode", default=None)


class ScheduleExchangeRes(V2GResponse, frozen=True, kw_only=True):
    """Schedules or goals; with GoToPause the vehicle may sleep meanwhile."""

    evse_processing: Processing
    go_to_pause: bool | None = None
    dynamic_se_res_control_mode: Annotated[
        schedules.Dynamic_SEResControlMode | None, declare.Choice("control_mode")
    ] = field(name="Dynamic_SEResControlMode", default=None)
    scheduled_se_res_control_mode: Annotated[
        schedules.Scheduled_SEResControlMode | None, declare.Choice("control_mode")
    ] = field(name="Scheduled_SEResControlMode", default=None)


class ChargeProgress(Enum):
    """Requested change of power (chargeProgressType)."""

    Start = "Start"
    Stop = "Stop"
    Standby = "Standby"
    ScheduleRenegotiation = "ScheduleRenegotiation"


class ChannelSelection(Enum):
    """Direction of energy (channelSelectionType)."""

    Charge = "Charge"
    Discharge = "Discharge"


class PowerDeliveryReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle starts, stops or suspends the transfer of energy."""

    ev_processing: Processing
    charge_progress: ChargeProgress
    ev_power_profile: schedules.EVPowerProfile | None = None
    bpt_channel_selection: ChannelSelection | None = field(name="BPT_ChannelSelection", default=None)


class PowerDeliveryRes(V2GResponse, frozen=True, kw_only=True):
    """Whether the charger accepts."""

    evse_status: EVSEStatus | None = None


class Scheduled_SMDTControlMode(declare.Element, frozen=True, kw_only=True):
    """The schedule in force before."""

    selected_schedule_tuple_id: NumericID


class Dynamic_SMDTControlMode(declare.Element, frozen=True, kw_only=True):
    """There was no schedule in force."""


class SignedMeteringData(declare.Element, frozen=True, kw_only=True):
    """Readings that the vehicle signs with its contract key."""

    session_id: SessionID
    meter_info: MeterInfo
    receipt: Receipt | None = None
    dynamic_smdt_control_mode: Annotated[Dynamic_SMDTControlMode | None, declare.Choice("control_mode")] = field(
        name="Dynamic_SMDTControlMode", default=None
    )
    scheduled_smdt_control_mode: Annotated[Scheduled_SMDTControlMode | None, declare.Choice("control_mode")] = field(
        name="Scheduled_SMDTControlMode", default=None
    )
    id: Annotated[str, declare.ATTRIBUTE] = field(name="Id")


class MeteringConfirmationReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle confirms meter readings by its signature."""

    signed_metering_data: SignedMeteringData


class MeteringConfirmationRes(V2GResponse, frozen=True, kw_only=True):
    """Whether the confirmation is accepted."""


class ChargingSession(Enum):
    """How a session ends (chargingSessionType)."""

    Pause = "Pause"
    Terminate = "Terminate"
    ServiceRenegotiation = "ServiceRenegotiation"


class SessionStopReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle ends or pauses the session."""

    charging_session: ChargingSession
    ev_termination_code: Name | None = None
    ev_termination_explanation: Description | None = None


class SessionStopRes(V2GResponse, frozen=True, kw_only=True):
    """The charger agrees."""


class CertificateInstallationReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle requests its contract certificates; signed with the provisioning key."""

    oem_provisioning_certificate_chain: certificates.SignedCertificateChain
    list_of_root_certificate_ids: ListOfRootCertificateIDs
    maximum_contract_certificate_chains: declare.UnsignedByte
    prioritized_emaids: certificates.EMAIDList | None = field(name="PrioritizedEMAIDs", default=None)


class CertificateInstallationRes(V2GResponse, frozen=True, kw_only=True):
    """One contract certificate, and how many remain to be requested."""

    evse_processing: Processing
    cps_certificate_chain: certificates.CertificateChain
    signed_installation_data: certificates.SignedInstallationData
    remaining_contract_certificate_chains: declare.UnsignedByte


class EvCheckInStatus(Enum):
    """Progress of driving in (evCheckInStatusType)."""

    CheckIn = "CheckIn"
    Processing = "Processing"
    Completed = "Completed"


class EvCheckOutStatus(Enum):
    """Progress of driving out (evCheckOutStatusType)."""

    CheckOut = "CheckOut"
    Processing = "Processing"
    Completed = "Completed"


class EvseCheckOutStatus(Enum):
    """Whether the vehicle may drive out (evseCheckOutStatusType)."""

    Scheduled = "Scheduled"
    Completed = "Completed"


class ParkingMethod(Enum):
    """Who controls the vehicle while parking (parkingMethodType)."""

    AutoParking = "AutoParking"
    MVGuideManual = "MVGuideManual"
    Manual = "Manual"


class TargetPosition(declare.Element, frozen=True, kw_only=True):
    """The vehicle's target position; declared by the schema, used by no message."""

    target_offset_x: declare.UnsignedShort
    target_offset_y: declare.UnsignedShort


class VehicleCheckInReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle's position while it drives in."""

    ev_check_in_status: EvCheckInStatus
    parking_method: ParkingMethod
    vehicle_frame: declare.Short | None = None
    device_offset: declare.Short | None = None
    vehicle_travel: declare.Short | None = None


class VehicleCheckInRes(V2GResponse, frozen=True, kw_only=True):
    """The vehicle's target."""

    parking_space: declare.Short | None = None
    device_location: declare.Short | None = None
    target_distance: declare.Short | None = None


class VehicleCheckOutReq(V2GRequest, frozen=True, kw_only=True):
    """The vehicle requests to leave at a time (s since 1970 in UTC)."""

    ev_check_out_status: EvCheckOutStatus
    check_out_time: declare.UnsignedLong


class VehicleCheckOutRes(V2GResponse, frozen=True, kw_only=True):
    """The permitted time."""

    evse_check_out_status: EvseCheckOutStatus


ELEMENTS: Final = declare.global_elements(__name__, SignedMeteringData)
