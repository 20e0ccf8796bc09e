"""The part of the vehicle's configuration that its pure core reads. `evcc.config` adds files and interfaces.

Times that a program or a driver thinks in (departure, steps, validity) run on the clock that may be simulated;
the timers of the protocol always run in real seconds.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from v2g.iso15118.timing import Timing
from v2g.units import MICRO

Percent = Annotated[float, Meta(ge=0, le=100)]


class VehicleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who the vehicle is."""

    evcc_id: Annotated[
        str,
        Meta(min_length=1, max_length=255, description="EVCCID; equals the common name of the vehicle certificate"),
    ] = "WMIV1234567890ABCDEX"


class AuthorizationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the vehicle pays."""

    allow_eim: Annotated[
        bool, Meta(description="accept external identification (card, app) when plug and charge is not offered")
    ] = False
    prefer_eim: Annotated[
        bool, Meta(description="use external identification even when plug and charge is offered")
    ] = False


class ServiceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which services the vehicle takes, best first."""

    energy: Annotated[
        tuple[Literal["DC_BPT", "DC"], ...], Meta(min_length=1, description="energy transfer services, best first")
    ] = ("DC_BPT", "DC")
    control_mode: Annotated[
        tuple[Literal["dynamic", "scheduled"], ...], Meta(min_length=1, description="control modes, best first")
    ] = ("dynamic", "scheduled")
    signed_discharge: Annotated[bool, Meta(description="take the signed-discharge service when it is offered")] = True
    signed_discharge_id: Annotated[
        int, Meta(ge=1, le=65535, description="service id of signed discharge (vendor specific)")
    ] = 61440


class NeedsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the driver needs the battery for next."""

    departure_after_s: Annotated[
        int, Meta(ge=60, le=0xFFFFFFFF, description="departure, seconds after the session begins")
    ] = 8 * 3600
    target_soc: Annotated[Percent, Meta(description="charge wanted at departure, %")] = 80.0
    minimum_soc: Annotated[Percent, Meta(description="charge that has to be there whatever happens, %")] = 30.0

    def __post_init__(self) -> None:
        """Keep V2G20-1640: the minimum is not above the target."""
        if self.minimum_soc > self.target_soc:
            raise ValueError("needs.minimum_soc must not exceed needs.target_soc")


class DischargeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the vehicle gives energy back."""

    enabled: Annotated[bool, Meta(description="give energy back at all")] = True
    require_signed: Annotated[
        bool, Meta(description="give energy back only under terms that both sides signed (signed-discharge service)")
    ] = True
    minimum_soc: Annotated[Percent, Meta(description="charge that discharging leaves in the battery, %")] = 40.0
    minimum_compensation: Annotated[Decimal, Meta(description="least compensation, currency units per kWh")] = Decimal(
        "0.10"
    )
    currency: Annotated[str, Meta(min_length=3, max_length=3, description="currency of minimum_compensation")] = "EUR"
    max_power_w: Annotated[int, Meta(ge=0, le=1_000_000, description="highest discharging power, W")] = 10_000
    minimum_temperature_c: Annotated[float, Meta(description="do not discharge a colder battery, degrees C")] = 0.0
    maximum_temperature_c: Annotated[float, Meta(description="do not discharge a hotter battery, degrees C")] = 45.0
    departure_soc: Annotated[
        Percent | None,
        Meta(description="charge that recharging must still reach before departure, %; default: discharge.minimum_soc"),
    ] = None
    departure_reserve_s: Annotated[int, Meta(ge=0, description="seconds kept free before departure")] = 900
    command_validity_ms: Annotated[
        int, Meta(ge=100, le=86_400_000, description="how long a signed command holds, ms (of the simulated clock)")
    ] = 10_000
    command_renew_ms: Annotated[
        int, Meta(ge=50, le=86_400_000, description="a command is renewed when this much of its time is left, ms")
    ] = 5_000
    clock_skew_ms: Annotated[
        int, Meta(ge=0, le=86_400_000, description="how far the charger's clock may differ from ours, ms")
    ] = 2_000
    offer_wait_s: Annotated[
        float, Meta(ge=0, le=600, description="how long an announced offer is waited for in the charge loop, s")
    ] = 10.0
    overdraw_tolerance_w: Annotated[
        int, Meta(ge=0, description="discharging power above the agreed one that counts as measuring error, W")
    ] = 250
    overdraw_tolerance_s: Annotated[
        float, Meta(gt=0, le=10, description="how long more than the agreed power is borne, s")
    ] = 1.0

    @property
    def minimum_compensation_micro(self) -> int:
        """`minimum_compensation` in micro-units per kWh."""
        return int(self.minimum_compensation * MICRO)


class ProgramStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of the session: it ends as soon as one of its ends is reached, and the next one begins."""

    do: Annotated[Literal["charge", "discharge", "wait"], Meta(description="direction of energy")]
    until_soc: Annotated[Percent | None, Meta(description="ends at this charge, %")] = None
    energy_wh: Annotated[
        Annotated[int, Meta(gt=0)] | None, Meta(description="ends when the step has moved this much, Wh")
    ] = None
    for_s: Annotated[
        Annotated[int, Meta(gt=0)] | None, Meta(description="ends after this time, seconds of the simulated clock")
    ] = None
    power_w: Annotated[Annotated[int, Meta(gt=0)] | None, Meta(description="highest power of the step, W")] = None


class TimingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pace of the vehicle's own requests, in real seconds."""

    loop_pause_s: Annotated[
        float, Meta(ge=0, le=0.25, description="pause between a charge-loop answer and the next request (V2G20-1501)")
    ] = 0.1
    poll_pause_s: Annotated[
        float, Meta(ge=0, le=5, description="pause before a request is repeated after an answer of Ongoing")
    ] = 0.05
    contactor_s: Annotated[float, Meta(gt=0, le=10, description="longest time for the vehicle's contactor to move")] = (
        1.5
    )


class SessionConfig(msgspec.Struct, frozen=True):
    """All that the session core is told of the configuration."""

    vehicle: VehicleConfig = VehicleConfig()
    authorization: AuthorizationConfig = AuthorizationConfig()
    services: ServiceConfig = ServiceConfig()
    needs: NeedsConfig = NeedsConfig()
    discharge: DischargeConfig = DischargeConfig()
    program: tuple[ProgramStep, ...] = (ProgramStep(do="charge", until_soc=80.0), ProgramStep(do="discharge"))
    timing: TimingConfig = TimingConfig()
    timers: Timing = Timing()
