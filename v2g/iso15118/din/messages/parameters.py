"""DIN 70121:2012 data types: status, limits and needs of vehicles and chargers."""

from enum import Enum
from typing import Annotated, ClassVar, Final

from msgspec import Meta, field

from v2g.exi.declare import Element, UnsignedInt, global_elements
from v2g.iso15118.din.messages.data_types import SAID, PhysicalValue, PMax
from v2g.iso15118.din.schemas import DIN_DATA_TYPES
from v2g.iso15118.engine.older_types import DC_EVErrorCode as DC_EVErrorCode
from v2g.iso15118.engine.older_types import DC_EVSEStatusCode as DC_EVSEStatusCode
from v2g.iso15118.engine.older_types import EVSENotification as EVSENotification
from v2g.iso15118.engine.older_types import PercentValue

SCHEMA: Final = DIN_DATA_TYPES


class IsolationLevel(Enum):
    """Insulation of the charger's output (isolationLevelType)."""

    Invalid = "Invalid"
    Valid = "Valid"
    Warning = "Warning"
    Fault = "Fault"


class EVSEStatus(Element, frozen=True, kw_only=True, tag=True):
    """Head of the status of AC and DC chargers."""

    abstract: ClassVar[bool] = True


class AC_EVSEStatus(EVSEStatus, frozen=True, kw_only=True, tag=True):
    """Status of an AC charger, with its switch and residual current device; delay in s."""

    power_switch_closed: bool
    rcd: bool
    notification_max_delay: UnsignedInt
    evse_notification: EVSENotification


class EVStatus(Element, frozen=True, kw_only=True):
    """Head of the status of vehicles; no message uses it."""

    abstract: ClassVar[bool] = True


class DC_EVSEStatus(EVSEStatus, frozen=True, kw_only=True, tag=True):
    """Status of a DC charger; delay in s."""

    evse_isolation_status: IsolationLevel | None = None
    evse_status_code: DC_EVSEStatusCode
    notification_max_delay: UnsignedInt
    evse_notification: EVSENotification


class DC_EVStatus(EVStatus, frozen=True, kw_only=True):
    """Readiness, lock, heating, fault and state of charge (%) of a vehicle."""

    ev_ready: bool
    ev_cabin_conditioning: bool | None = None
    ev_ress_conditioning: bool | None = None
    ev_error_code: DC_EVErrorCode
    ev_ress_soc: PercentValue


class EVChargeParameter(Element, frozen=True, kw_only=True, tag=True):
    """Head of the needs of AC and DC vehicles."""

    abstract: ClassVar[bool] = True


class AC_EVChargeParameter(EVChargeParameter, frozen=True, kw_only=True, tag=True):
    """Departure in s from now, energy in Wh, voltage in V and currents in A of an AC vehicle."""

    departure_time: UnsignedInt
    e_amount: PhysicalValue
    ev_max_voltage: PhysicalValue
    ev_max_current: PhysicalValue
    ev_min_current: PhysicalValue


class DC_EVChargeParameter(EVChargeParameter, frozen=True, kw_only=True, tag=True):
    """Limits of current, power and voltage, and energies of a DC vehicle."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")
    ev_maximum_current_limit: PhysicalValue
    ev_maximum_power_limit: PhysicalValue | None = None
    ev_maximum_voltage_limit: PhysicalValue
    ev_energy_capacity: PhysicalValue | None = None
    ev_energy_request: PhysicalValue | None = None
    full_soc: PercentValue | None = None
    bulk_soc: PercentValue | None = None


class EVSEChargeParameter(Element, frozen=True, kw_only=True, tag=True):
    """Head of the limits of AC and DC chargers."""

    abstract: ClassVar[bool] = True


class AC_EVSEChargeParameter(EVSEChargeParameter, frozen=True, kw_only=True, tag=True):
    """Voltage in V and currents in A of an AC charger."""

    ac_evse_status: AC_EVSEStatus = field(name="AC_EVSEStatus")
    evse_max_voltage: PhysicalValue
    evse_max_current: PhysicalValue
    evse_min_current: PhysicalValue


class DC_EVSEChargeParameter(EVSEChargeParameter, frozen=True, kw_only=True, tag=True):
    """Limits of current, power and voltage of a DC charger."""

    dc_evse_status: DC_EVSEStatus = field(name="DC_EVSEStatus")
    evse_maximum_current_limit: PhysicalValue
    evse_maximum_power_limit: PhysicalValue | None = None
    evse_maximum_voltage_limit: PhysicalValue
    evse_minimum_current_limit: PhysicalValue
    evse_minimum_voltage_limit: PhysicalValue
    evse_current_regulation_tolerance: PhysicalValue | None = None
    evse_peak_current_ripple: PhysicalValue
    evse_energy_to_be_delivered: PhysicalValue | None = None


class EVPowerDeliveryParameter(Element, frozen=True, kw_only=True, tag=True):
    """Head of the vehicle's data at power switching; only the DC one exists."""

    abstract: ClassVar[bool] = True


class DC_EVPowerDeliveryParameter(EVPowerDeliveryParameter, frozen=True, kw_only=True, tag=True):
    """Status of a DC vehicle at power switching."""

    dc_ev_status: DC_EVStatus = field(name="DC_EVStatus")
    bulk_charging_complete: bool | None = None
    charging_complete: bool


class ProfileEntry(Element, frozen=True, kw_only=True):
    """Power in W from a start in s."""

    charging_profile_entry_start: UnsignedInt
    charging_profile_entry_max_power: PMax


class ChargingProfile(Element, frozen=True, kw_only=True):
    """Planned power of the vehicle over time."""

    sa_schedule_tuple_id: SAID
    profile_entry: Annotated[tuple[ProfileEntry, ...], Meta(min_length=1)]


ELEMENTS: Final = global_elements(__name__, EVStatus, DC_EVStatus)
