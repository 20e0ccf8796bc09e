"""DIN 70121:2012 messages while AC or DC energy flows, or is about to."""

from typing import Final

from msgspec import field

from v2g.exi.declare import global_elements
from v2g.iso15118.din.messages.base import BodyElement
from v2g.iso15118.din.messages.data_types import SAID, EvseID, EVSEProcessing, MeterInfo, PhysicalValue, ResponseCode
from v2g.iso15118.din.messages.parameters import AC_EVSEStatus, DC_EVSEStatus, DC_EVStatus
from v2g.iso15118.din.schemas import DIN_BODY

SCHEMA: Final = DIN_BODY


class ChargingStatusReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The AC vehicle requests the charging status; repeated while energy flows."""


class ChargingStatusRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The maximum current in A, the meter and the status of the charger."""

    response_code: ResponseCode
    evse_id: EvseID
    sa_schedule_tuple_id: SAID
    evse_max_current: PhysicalValue | None = None
    meter_info: MeterInfo | None = None
    receipt_required: bool
    ac_evse_status: AC_EVSEStatus = field(name="AC_EVSEStatus")


class CableCheckReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The DC vehicle requests the insulation test of the cable; repeated until it is done."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")


class CableCheckRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the insulation test is done."""

    response_code: ResponseCode
    dc_evse_status: DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_processing: EVSEProcessing


class PreChargeReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The DC vehicle requests a voltage near that of its battery, so that its contactor may close."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")
    ev_target_voltage: PhysicalValue
    ev_target_current: PhysicalValue


class PreChargeRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The voltage at the charger's output."""

    response_code: ResponseCode
    dc_evse_status: DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_present_voltage: PhysicalValue


class CurrentDemandReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """Requested current and voltage of the DC vehicle; repeated while energy flows."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")
    ev_target_current: PhysicalValue
    ev_maximum_voltage_limit: PhysicalValue | None = None
    ev_maximum_current_limit: PhysicalValue | None = None
    ev_maximum_power_limit: PhysicalValue | None = None
    bulk_charging_complete: bool | None = None
    charging_complete: bool
    remaining_time_to_full_soc: PhysicalValue | None = field(name="RemainingTimeToFullSoC", default=None)
    remaining_time_to_bulk_soc: PhysicalValue | None = field(name="RemainingTimeToBulkSoC", default=None)
    ev_target_voltage: PhysicalValue


class CurrentDemandRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Present output, reached limits, and the meter."""

    response_code: ResponseCode
    dc_evse_status: DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_present_voltage: PhysicalValue
    evse_present_current: PhysicalValue
    evse_current_limit_achieved: bool
    evse_voltage_limit_achieved: bool
    evse_power_limit_achieved: bool
    evse_maximum_voltage_limit: PhysicalValue | None = None
    evse_maximum_current_limit: PhysicalValue | None = None
    evse_maximum_power_limit: PhysicalValue | None = None


class WeldingDetectionReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The DC vehicle checks that its contactors have opened."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")


class WeldingDetectionRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The voltage at the charger's output."""

    response_code: ResponseCode
    dc_evse_status: DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_present_voltage: PhysicalValue


ELEMENTS: Final = global_elements(__name__)
