"""ISO 15118-2:2013 messages while AC or DC energy flows, or is about to."""

from typing import Final

from msgspec import field

from v2g.iso15118.d2.messages.common import BodyElement
from v2g.iso15118.d2.messages.data_types import SAID, EvseID, EVSEProcessing, MeterInfo, PhysicalValue, ResponseCode
from v2g.iso15118.d2.messages.parameters import AC_EVSEStatus, DC_EVSEStatus, DC_EVStatus
from v2g.iso15118.d2.schemas import ISO2_BODY

SCHEMA: Final = ISO2_BODY


class ChargingStatusReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The AC vehicle asks how charging goes; repeated as long as energy flows."""


class ChargingStatusRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The most current in A, the meter and the status of the charger."""

    response_code: ResponseCode = field(name="ResponseCode")
    evse_id: EvseID = field(name="EVSEID")
    sa_schedule_tuple_id: SAID = field(name="SAScheduleTupleID")
    evse_max_current: PhysicalValue | None = field(name="EVSEMaxCurrent", default=None)
    meter_info: MeterInfo | None = field(name="MeterInfo", default=None)
    receipt_required: bool | None = field(name="ReceiptRequired", default=None)
    ac_evse_status: AC_EVSEStatus = field(name="AC_EVSEStatus")


class CableCheckReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The DC vehicle asks for the insulation test of the cable; repeated until it is done."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")


class CableCheckRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """Whether the insulation test is done."""

    response_code: ResponseCode = field(name="ResponseCode")
    dc_evse_status: DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_processing: EVSEProcessing = field(name="EVSEProcessing")


class PreChargeReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The DC vehicle asks for a voltage near that of its battery, so that its contactor may close."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")
    ev_target_voltage: PhysicalValue = field(name="EVTargetVoltage")
    ev_target_current: PhysicalValue = field(name="EVTargetCurrent")


class PreChargeRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The voltage at the charger's output."""

    response_code: ResponseCode = field(name="ResponseCode")
    dc_evse_status: DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_present_voltage: PhysicalValue = field(name="EVSEPresentVoltage")


class CurrentDemandReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """Current and voltage that the DC vehicle wants; repeated as long as energy flows."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")
    ev_target_current: PhysicalValue = field(name="EVTargetCurrent")
    ev_maximum_voltage_limit: PhysicalValue | None = field(name="EVMaximumVoltageLimit", default=None)
    ev_maximum_current_limit: PhysicalValue | None = field(name="EVMaximumCurrentLimit", default=None)
    ev_maximum_power_limit: PhysicalValue | None = field(name="EVMaximumPowerLimit", default=None)
    bulk_charging_complete: bool | None = field(name="BulkChargingComplete", default=None)
    charging_complete: bool = field(name="ChargingComplete")
    remaining_time_to_full_soc: PhysicalValue | None = field(name="RemainingTimeToFullSoC", default=None)
    remaining_time_to_bulk_soc: PhysicalValue | None = field(name="RemainingTimeToBulkSoC", default=None)
    ev_target_voltage: PhysicalValue = field(name="EVTargetVoltage")


class CurrentDemandRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """What flows now, which limit is reached, and the meter."""

    response_code: ResponseCode = field(name="ResponseCode")
    dc_evse_status: DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_present_voltage: PhysicalValue = field(name="EVSEPresentVoltage")
    evse_present_current: PhysicalValue = field(name="EVSEPresentCurrent")
    evse_current_limit_achieved: bool = field(name="EVSECurrentLimitAchieved")
    evse_voltage_limit_achieved: bool = field(name="EVSEVoltageLimitAchieved")
    evse_power_limit_achieved: bool = field(name="EVSEPowerLimitAchieved")
    evse_maximum_voltage_limit: PhysicalValue | None = field(name="EVSEMaximumVoltageLimit", default=None)
    evse_maximum_current_limit: PhysicalValue | None = field(name="EVSEMaximumCurrentLimit", default=None)
    evse_maximum_power_limit: PhysicalValue | None = field(name="EVSEMaximumPowerLimit", default=None)
    evse_id: EvseID = field(name="EVSEID")
    sa_schedule_tuple_id: SAID = field(name="SAScheduleTupleID")
    meter_info: MeterInfo | None = field(name="MeterInfo", default=None)
    receipt_required: bool | None = field(name="ReceiptRequired", default=None)


class WeldingDetectionReq(BodyElement, frozen=True, kw_only=True, tag=True):
    """The DC vehicle checks that its contactors have opened."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")


class WeldingDetectionRes(BodyElement, frozen=True, kw_only=True, tag=True):
    """The voltage at the charger's output."""

    response_code: ResponseCode = field(name="ResponseCode")
    dc_evse_status: DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_present_voltage: PhysicalValue = field(name="EVSEPresentVoltage")


ELEMENTS: Final = {
    each.__name__: each
    for each in (
        ChargingStatusReq,
        ChargingStatusRes,
        CableCheckReq,
        CableCheckRes,
        PreChargeReq,
        PreChargeRes,
        CurrentDemandReq,
        CurrentDemandRes,
        WeldingDetectionReq,
        WeldingDetectionRes,
    )
}
