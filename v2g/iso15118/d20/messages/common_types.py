"""ISO 15118-20 CommonTypes: header, common quantities, metering and the bases that messages extend."""

from enum import Enum
from typing import Annotated, ClassVar, Final, TypeAlias

from msgspec import Meta, field

from v2g.exi.declare import HEX, Byte, Element, Ref, Short, UnsignedInt, UnsignedLong, UnsignedShort
from v2g.iso15118.d20.schemas import COMMON_TYPES
from v2g.iso15118.engine.xmldsig import Signature, X509IssuerSerial

SCHEMA: Final = COMMON_TYPES

NumericID: TypeAlias = Annotated[int, Meta(ge=1, le=2**32 - 1)]
SessionID: TypeAlias = Annotated[bytes, Meta(min_length=8, max_length=8), HEX]
PercentValue: TypeAlias = Annotated[int, Meta(ge=0, le=100)]
Identifier: TypeAlias = Annotated[str, Meta(max_length=255)]
Name: TypeAlias = Annotated[str, Meta(max_length=80)]
Description: TypeAlias = Annotated[str, Meta(max_length=160)]
MeterID: TypeAlias = Annotated[str, Meta(max_length=32)]
MeterSignature: TypeAlias = Annotated[bytes, Meta(max_length=64)]


class Processing(Enum):
    """Whether a long-running step is done (processingType)."""

    Finished = "Finished"
    Ongoing = "Ongoing"
    Ongoing_WaitingForCustomerInteraction = "Ongoing_WaitingForCustomerInteraction"


class EvseNotification(Enum):
    """The charger's request to the vehicle (evseNotificationType)."""

    Pause = "Pause"
    ExitStandby = "ExitStandby"
    Terminate = "Terminate"
    ScheduleRenegotiation = "ScheduleRenegotiation"
    ServiceRenegotiation = "ServiceRenegotiation"
    MeteringConfirmation = "MeteringConfirmation"


class ResponseCode(Enum):
    """Result in a response (responseCodeType)."""

    OK = "OK"
    OK_CertificateExpiresSoon = "OK_CertificateExpiresSoon"
    OK_NewSessionEstablished = "OK_NewSessionEstablished"
    OK_OldSessionJoined = "OK_OldSessionJoined"
    OK_PowerToleranceConfirmed = "OK_PowerToleranceConfirmed"
    WARNING_AuthorizationSelectionInvalid = "WARNING_AuthorizationSelectionInvalid"
    WARNING_CertificateExpired = "WARNING_CertificateExpired"
    WARNING_CertificateNotYetValid = "WARNING_CertificateNotYetValid"
    WARNING_CertificateRevoked = "WARNING_CertificateRevoked"
    WARNING_CertificateValidationError = "WARNING_CertificateValidationError"
    WARNING_ChallengeInvalid = "WARNING_ChallengeInvalid"
    WARNING_EIMAuthorizationFailure = "WARNING_EIMAuthorizationFailure"
    WARNING_eMSPUnknown = "WARNING_eMSPUnknown"
    WARNING_EVPowerProfileViolation = "WARNING_EVPowerProfileViolation"
    WARNING_GeneralPnCAuthorizationError = "WARNING_GeneralPnCAuthorizationError"
    WARNING_NoCertificateAvailable = "WARNING_NoCertificateAvailable"
    WARNING_NoContractMatchingPCIDFound = "WARNING_NoContractMatchingPCIDFound"
    WARNING_PowerToleranceNotConfirmed = "WARNING_PowerToleranceNotConfirmed"
    WARNING_ScheduleRenegotiationFailed = "WARNING_ScheduleRenegotiationFailed"
    WARNING_StandbyNotAllowed = "WARNING_StandbyNotAllowed"
    WARNING_WPT = "WARNING_WPT"
    FAILED = "FAILED"
    FAILED_AssociationError = "FAILED_AssociationError"
    FAILED_ContactorError = "FAILED_ContactorError"
    FAILED_EVPowerProfileInvalid = "FAILED_EVPowerProfileInvalid"
    FAILED_EVPowerProfileViolation = "FAILED_EVPowerProfileViolation"
    FAILED_MeteringSignatureNotValid = "FAILED_MeteringSignatureNotValid"
    FAILED_NoEnergyTransferServiceSelected = "FAILED_NoEnergyTransferServiceSelected"
    FAILED_NoServiceRenegotiationSupported = "FAILED_NoServiceRenegotiationSupported"
    FAILED_PauseNotAllowed = "FAILED_PauseNotAllowed"
    FAILED_PowerDeliveryNotApplied = "FAILED_PowerDeliveryNotApplied"
    FAILED_PowerToleranceNotConfirmed = "FAILED_PowerToleranceNotConfirmed"
    FAILED_ScheduleRenegotiation = "FAILED_ScheduleRenegotiation"
    FAILED_ScheduleSelectionInvalid = "FAILED_ScheduleSelectionInvalid"
    FAILED_SequenceError = "FAILED_SequenceError"
    FAILED_ServiceIDInvalid = "FAILED_ServiceIDInvalid"
    FAILED_ServiceSelectionInvalid = "FAILED_ServiceSelectionInvalid"
    FAILED_SignatureError = "FAILED_SignatureError"
    FAILED_UnknownSession = "FAILED_UnknownSession"
    FAILED_WrongChargeParameter = "FAILED_WrongChargeParameter"


class RationalNumber(Element, frozen=True, kw_only=True):
    """The number Value x 10^Exponent, in the SI unit of its element."""

    exponent: Byte
    value: Short = field(name="Value")


class DisplayParameters(Element, frozen=True, kw_only=True):
    """Battery data for displays: states of charge in %, times in s, capacity in Wh."""

    present_soc: PercentValue | None = None
    minimum_soc: PercentValue | None = None
    target_soc: PercentValue | None = None
    maximum_soc: PercentValue | None = None
    remaining_time_to_minimum_soc: UnsignedInt | None = None
    remaining_time_to_target_soc: UnsignedInt | None = None
    remaining_time_to_maximum_soc: UnsignedInt | None = None
    charging_complete: bool | None = None
    battery_energy_capacity: RationalNumber | None = None
    inlet_hot: bool | None = None


class EVSEStatus(Element, frozen=True, kw_only=True):
    """The charger's request, and its delay in s."""

    notification_max_delay: UnsignedShort
    evse_notification: EvseNotification


class MeterInfo(Element, frozen=True, kw_only=True):
    """Readings of the meter: energy in Wh, reactive energy in VARh, time in s since 1970 in UTC."""

    meter_id: MeterID
    charged_energy_reading_wh: UnsignedLong
    bpt_discharged_energy_reading_wh: UnsignedLong | None = field(name="BPT_DischargedEnergyReadingWh", default=None)
    capacitive_energy_reading_varh: UnsignedLong | None = field(name="CapacitiveEnergyReadingVARh", default=None)
    bpt_inductive_energy_reading_varh: UnsignedLong | None = field(name="BPT_InductiveEnergyReadingVARh", default=None)
    meter_signature: MeterSignature | None = None
    meter_status: Short | None = None
    meter_timestamp: UnsignedLong | None = None


class DetailedCost(Element, frozen=True, kw_only=True):
    """An amount of money and its price per unit."""

    amount: RationalNumber
    cost_per_unit: RationalNumber


class DetailedTax(Element, frozen=True, kw_only=True):
    """The amount due to one tax rule."""

    tax_rule_id: NumericID
    amount: RationalNumber


class Receipt(Element, frozen=True, kw_only=True):
    """Costs so far, in the currency of the price schedule; TimeAnchor in s since 1970 in UTC."""

    time_anchor: UnsignedLong
    energy_costs: DetailedCost | None = None
    occupancy_costs: DetailedCost | None = None
    additional_services_costs: DetailedCost | None = None
    overstay_costs: DetailedCost | None = None
    tax_costs: Annotated[tuple[DetailedTax, ...], Meta(max_length=10)] = ()


class ListOfRootCertificateIDs(Element, frozen=True, kw_only=True):
    """Root certificates that the vehicle trusts, by issuer and serial number."""

    root_certificate_id: Annotated[tuple[X509IssuerSerial, ...], Meta(min_length=1, max_length=20)]


class MessageHeader(Element, frozen=True, kw_only=True):
    """Session, time (s since 1970 in UTC) and, where the message carries a signed element, its signature."""

    session_id: SessionID
    time_stamp: UnsignedLong
    signature: Annotated[Signature | None, Ref(Signature)] = None


class V2GMessage(Element, frozen=True, kw_only=True):
    """Base of every message."""

    abstract: ClassVar[bool] = True
    header: MessageHeader


class V2GRequest(V2GMessage, frozen=True, kw_only=True):
    """Base of the vehicle's messages."""

    abstract: ClassVar[bool] = True


class V2GResponse(V2GMessage, frozen=True, kw_only=True):
    """Base of the charger's messages."""

    abstract: ClassVar[bool] = True
    response_code: ResponseCode


class ChargeParameterDiscoveryReq(V2GRequest, frozen=True, kw_only=True):
    """Head of the charge parameter discovery requests."""

    abstract: ClassVar[bool] = True


class ChargeParameterDiscoveryRes(V2GResponse, frozen=True, kw_only=True):
    """Head of the charge parameter discovery responses."""

    abstract: ClassVar[bool] = True


class ChargeLoopReq(V2GRequest, frozen=True, kw_only=True):
    """Common part of the charge loop requests of all energy transfer modes."""

    abstract: ClassVar[bool] = True
    display_parameters: DisplayParameters | None = None
    meter_info_requested: bool


class ChargeLoopRes(V2GResponse, frozen=True, kw_only=True):
    """Common part of the charge loop responses of all energy transfer modes."""

    abstract: ClassVar[bool] = True
    evse_status: EVSEStatus | None = None
    meter_info: MeterInfo | None = None
    receipt: Receipt | None = None


class CLReqControlMode(Element, frozen=True, kw_only=True, tag=True):
    """Head of the control modes of charge loop requests.

    No valid message contains the head itself, but it has an event code and other codecs accept it. It can be decoded,
    so that the fault can be reported to the peer.
    """

    abstract: ClassVar[bool] = True


class CLResControlMode(Element, frozen=True, kw_only=True, tag=True):
    """Head of the control modes of charge loop responses.

    No valid message contains the head itself, but it has an event code and other codecs accept it. It can be decoded,
    so that the fault can be reported to the peer.
    """

    abstract: ClassVar[bool] = True


class Scheduled_CLReqControlMode(CLReqControlMode, frozen=True, kw_only=True):
    """The vehicle follows a schedule; energy requests in Wh."""

    abstract: ClassVar[bool] = True
    ev_target_energy_request: RationalNumber | None = None
    ev_maximum_energy_request: RationalNumber | None = None
    ev_minimum_energy_request: RationalNumber | None = None


class Scheduled_CLResControlMode(CLResControlMode, frozen=True, kw_only=True):
    """The charger follows a schedule."""

    abstract: ClassVar[bool] = True


class Dynamic_CLReqControlMode(CLReqControlMode, frozen=True, kw_only=True):
    """The charger decides; the vehicle states its needs: departure in s from now, energies in Wh."""

    abstract: ClassVar[bool] = True
    departure_time: UnsignedInt | None = None
    ev_target_energy_request: RationalNumber
    ev_maximum_energy_request: RationalNumber
    ev_minimum_energy_request: RationalNumber


class Dynamic_CLResControlMode(CLResControlMode, frozen=True, kw_only=True):
    """The charger decides; it repeats its goals."""

    abstract: ClassVar[bool] = True
    departure_time: UnsignedInt | None = None
    minimum_soc: PercentValue | None = None
    target_soc: PercentValue | None = None
    ack_max_delay: UnsignedShort | None = None


ELEMENTS: Final = {each.__name__: each for each in (CLReqControlMode, CLResControlMode)}
