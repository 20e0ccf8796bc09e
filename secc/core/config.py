"""What a charge point is and which choices it makes: the part of `secc`'s configuration that its core reads."""

import enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.grid.discharge import DischargeConfig
from v2g.iso15118.messages.common_messages import Authorization
from v2g.iso15118.services import ServiceId
from v2g.iso15118.timing import Timing

Watts = Annotated[int, Meta(ge=0, le=10_000_000)]
Volts = Annotated[int, Meta(ge=0, le=3000)]
Amperes = Annotated[int, Meta(ge=0, le=10_000)]

SIGNED_DISCHARGE_SERVICE: Final = 0xF000
"""Default id of our value-added service. Which range the standard leaves to vendors is not publicly known."""


class EnergyService(enum.IntEnum):
    """Energy services that this charger serves, by their id."""

    DC = ServiceId.DC
    DC_BPT = ServiceId.DC_BPT


class ControlMode(enum.IntEnum):
    """Who decides on power: the vehicle by a schedule, or the charger from loop to loop (values of Table 207)."""

    SCHEDULED = 1
    DYNAMIC = 2


class EvseRating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the power electronics can do, W, A and V at the DC output."""

    max_charge_power_w: Watts = 150_000
    min_charge_power_w: Watts = 0
    max_charge_current_a: Amperes = 300
    min_charge_current_a: Amperes = 0
    max_discharge_power_w: Watts = 50_000
    min_discharge_power_w: Watts = 0
    max_discharge_current_a: Amperes = 125
    min_discharge_current_a: Amperes = 0
    max_voltage_v: Volts = 920
    min_voltage_v: Volts = 150


class SignedDischarge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value-added service by which a vehicle signs for every watt it gives."""

    offered: bool = True
    required: bool = True
    """Whether a vehicle that does not select it may only charge."""
    service_id: Annotated[int, Meta(ge=1, le=65535)] = SIGNED_DISCHARGE_SERVICE
    terms: DischargeConfig = DischargeConfig()


class SeccConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The choices of one charge point."""

    evse_id: Annotated[str, Meta(min_length=7, max_length=255)] = "DEV2GE00001"
    rating: EvseRating = EvseRating()
    authorization: Annotated[tuple[Authorization, ...], Meta(min_length=1, max_length=2)] = (Authorization.PnC,)
    supported_providers: tuple[str, ...] = ()
    """Provider ids that are told to the vehicle; empty names none and excludes none."""
    services: Annotated[tuple[EnergyService, ...], Meta(min_length=1)] = (EnergyService.DC_BPT, EnergyService.DC)
    """Energy services in the order in which they are offered."""
    control_modes: Annotated[tuple[ControlMode, ...], Meta(min_length=1)] = (
        ControlMode.DYNAMIC,
        ControlMode.SCHEDULED,
    )
    """Control modes in the order of their parameter sets; some vehicles take the first set whatever it says."""
    connector: Annotated[int, Meta(ge=1, le=4)] = 2
    """Table 207: 1 Core, 2 Extended, 3 Dual2, 4 Dual4."""
    signed_discharge: SignedDischarge = SignedDischarge()
    offer_prices: bool = True
    """Send price schedules in ScheduleExchangeRes (V2G20-2176) when a tariff is known."""
    negative_discharge_limits: bool = False
    """Write discharge limits as negative numbers (Amendment 1) instead of positive ones (2022 edition)."""
    meter_info: bool = True
    """Include MeterInfo in the first charge-loop response even if nobody asks (V2G20-1833)."""
    metering_confirmation: bool = True
    """Ask for a signature under the meter's reading at the end of each interval (V2G20-1083). Some vehicles break off
    at a notification that they do not know."""
    reaction_ms: Annotated[int, Meta(ge=0, le=3_600_000)] = 2_000
    """How long the power electronics take to follow a lower limit, ms of (simulated) UTC; it stands in the journal."""
    loop_events: bool = True
    """Record one event a charge loop."""
    poll_hold_s: Annotated[float, Meta(ge=0, le=1.2)] = 0.5
    """How long a poll waits for news before it is answered Ongoing; saves polls on slow hardware."""
    timing: Timing = Timing()
