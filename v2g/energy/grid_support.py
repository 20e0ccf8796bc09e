"""What a grid code demands of an inverter: functions of voltage, frequency and power, in the sense of EN 50549. Pure.

Voltages V between phase and neutral, frequencies Hz, powers W and var of all phases together, times s. Reactive power
is positive where it is injected (over-excited), active power where it leaves the vehicle. A power factor (cos phi) has
the sign of its reactive power, too: -0.95 is 0.95 under-excited.

Slopes are percent of the reference power per Hz, ramps percent of it per minute: the units of ISO 15118-20 Amendment 1
are not public.
"""

import itertools
from collections.abc import Iterable
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

Volt = Annotated[float, Meta(ge=0, le=1000)]
Hertz = Annotated[float, Meta(ge=40, le=70)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]
WholeSeconds = Annotated[int, Meta(ge=0, le=65_535)]
Factor = Annotated[float, Meta(ge=-1, le=1)]
Number = Annotated[float, Meta(ge=-10_000_000, le=10_000_000)]
KFactor = Annotated[float, Meta(ge=0, le=10)]
MOST_DC: Final = 100.0
"""A, above which a limit of injected direct current is none."""
STEEPEST: Final = 1000.0
"""Percent of the reference power per Hz: all of it within 0.1 Hz."""
Reference = Literal["maximum", "momentary"]
"""The power that a slope refers to: the maximum of discharge, or that at the moment at which the function begins."""

Function = Literal[
    "over_frequency_watt",
    "under_frequency_watt",
    "volt_watt",
    "volt_var",
    "watt_var",
    "watt_cos_phi",
    "q_setpoint",
    "cos_phi_setpoint",
    "dc_injection",
    "zero_current",
    "over_ride_through",
    "under_ride_through",
]
FUNCTIONS: Final[tuple[Function, ...]] = get_args(Function)
"""The functions, by their fields in `GridSupport`."""
REACTIVE: Final[tuple[Function, ...]] = ("volt_var", "watt_var", "watt_cos_phi")
"""The curves of reactive power, of which an inverter follows one."""
SETPOINTS: Final = frozenset[Function]({"q_setpoint", "cos_phi_setpoint"})
"""What the grid operator sets in each charge loop."""


class SupportCurve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Reactive power or power factor by voltage or power: linear between its points, constant beyond them."""

    points: Annotated[tuple[tuple[Number, Number], ...], Meta(min_length=2, max_length=10)]
    """V or W, then var or the power factor."""
    lock_in: Number | None = None
    """The curve begins to act at this power, W (volt_var), or voltage, V (watt_cos_phi); none: always."""
    lock_out: Number | None = None
    """It ceases below this one; none: `lock_in`."""
    min_cos_phi: Annotated[float, Meta(ge=0, le=1)] | None = None
    """The least power factor, whatever the curve; none: no bound."""
    response_s: Seconds = 10.0
    """Time constant of the response."""
    delay_s: Seconds = 0.0
    """Intentional delay before it."""

    def __post_init__(self) -> None:
        """Reject a curve that goes back."""
        if not all(a[0] < b[0] for a, b in itertools.pairwise(self.points)):
            raise ValueError("points: the first numbers must rise")


class FrequencySupport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Active power by frequency (LFSM-O, LFSM-U)."""

    start_hz: Hertz
    """Where it begins."""
    stop_hz: Hertz
    """Beyond it the power stays as there."""
    slope: Annotated[float, Meta(gt=0, le=STEEPEST)] = 40.0
    """Percent of the reference power per Hz: 40 is a droop of 5 % at 50 Hz."""
    reference: Reference = "momentary"
    """The power that the slope refers to: the maximum of discharge, or that where the function begins."""
    delay_s: WholeSeconds = 0
    """Intentional delay of the control."""
    stop_delay_s: WholeSeconds = 0
    """Intentional delay beyond `stop_hz`."""
    hysteresis: bool = False
    """Whether the power returns only once the frequency is within `start_hz` again."""
    deactivation_s: WholeSeconds = 0
    """With hysteresis: for how long it has to be there."""
    return_band: tuple[Hertz, Hertz] | msgspec.UnsetType = msgspec.UNSET
    """With hysteresis: between which frequencies, within `start_hz` too, the power returns; none: that is enough.
    Messages to vehicles cannot say it."""
    ramp: WholeSeconds | None = None
    """Percent of the reference power per minute by which it returns; none: at once."""
    response_s: Seconds = 0.0
    """Time constant of the response."""


class VoltageSupport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Discharge by voltage: all of the reference power at `start_v`, nothing at `stop_v`."""

    start_v: Volt
    """Up to here all of the power may flow."""
    stop_v: Volt
    """From here on none."""
    reference: Reference = "maximum"
    """The power that falls between them: the maximum of discharge, or that where the function begins."""
    response_s: Seconds = 10.0
    """Time constant of the response."""
    delay_s: WholeSeconds = 0
    """Intentional delay before it."""

    def __post_init__(self) -> None:
        """Reject a range that falls."""
        if self.start_v >= self.stop_v:
            raise ValueError("start_v must be below stop_v")

    def share_at(self, volts: float) -> float:
        """Return the part of the reference power that a voltage leaves, from 0 to 1."""
        return max(0.0, min(1.0, (self.stop_v - volts) / (self.stop_v - self.start_v)))


class RideThrough(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Staying connected beyond a voltage, with reactive current by a k factor."""

    start_v: Volt
    """Where it begins."""
    stop_v: Volt | None = None
    """Beyond it no current flows."""
    recovery_v: Volt | None = None
    """It ends there; none: at `start_v`."""
    k_positive: KFactor = 0.0
    """Reactive current per deviation of voltage, each relative to its nominal value, above `start_v`."""
    k_negative: KFactor = 0.0
    """The same below."""
    response_s: Seconds = 0.0
    """Time constant of the response."""


class ZeroCurrentLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Voltages beyond which no current may flow."""

    over_v: Volt | None = None
    """None flows above it; none: no such limit."""
    under_v: Volt | None = None
    """None flows below it; none: no such limit."""
    over_recovery_v: Volt | None = None
    """Current may flow again from there; none: `over_v`."""
    under_recovery_v: Volt | None = None
    """The same below; none: `under_v`."""
    response_s: Seconds = 0.0
    """Time constant of the return."""

    def __post_init__(self) -> None:
        """Reject limits that exclude each other, or nothing."""
        if self.over_v is None and self.under_v is None:
            raise ValueError("zero_current needs over_v or under_v")
        if self.over_v is not None and self.under_v is not None and self.under_v >= self.over_v:
            raise ValueError("under_v must be below over_v")


class ReactiveSetpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Reactive power that the grid operator sets."""

    var: Number = 0.0
    """Of all phases, positive where it is injected."""
    response_s: Seconds = 10.0
    """Time constant of the response."""


class FactorSetpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Power factor that the grid operator sets."""

    cos_phi: Factor = 1.0
    """Negative: under-excited."""
    response_s: Seconds = 10.0
    """Time constant of the response."""


class GridSupport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The functions that are demanded, each with its values; one that is omitted is not."""

    over_frequency_watt: FrequencySupport | None = None
    """Less discharge above a frequency (LFSM-O)."""
    under_frequency_watt: FrequencySupport | None = None
    """Less charge below a frequency (LFSM-U)."""
    volt_watt: VoltageSupport | None = None
    """Less discharge above a voltage, P(U)."""
    volt_var: SupportCurve | None = None
    """Reactive power by voltage, Q(U). Of the three curves a vehicle is asked for one."""
    watt_var: SupportCurve | None = None
    """Reactive power by discharge, Q(P)."""
    watt_cos_phi: SupportCurve | None = None
    """Power factor by discharge, cos phi(P)."""
    q_setpoint: ReactiveSetpoint | None = None
    """Reactive power, sent in each charge loop."""
    cos_phi_setpoint: FactorSetpoint | None = None
    """Power factor, sent in each charge loop; a set reactive power precedes it."""
    dc_injection: Annotated[float, Meta(ge=0, le=MOST_DC)] | None = None
    """Maximum direct current that the inverter may inject, A."""
    zero_current: ZeroCurrentLimits | None = None
    """No current beyond voltages."""
    over_ride_through: RideThrough | None = None
    """Stay connected above a voltage."""
    under_ride_through: RideThrough | None = None
    """Stay connected below a voltage."""

    def __post_init__(self) -> None:
        """Reject functions in the wrong direction, and power factors beyond 1."""
        over, under = self.over_frequency_watt, self.under_frequency_watt
        if over is not None and over.start_hz >= over.stop_hz:
            raise ValueError("over_frequency_watt: start_hz must be below stop_hz")
        if under is not None and under.start_hz <= under.stop_hz:
            raise ValueError("under_frequency_watt: start_hz must be above stop_hz")
        if self.watt_cos_phi is not None and any(abs(y) > 1 for _, y in self.watt_cos_phi.points):
            raise ValueError("watt_cos_phi: a power factor is between 0 and 1, negative where under-excited")
        if self.volt_var is not None and any(x < 0 for x, _ in self.volt_var.points):
            raise ValueError("volt_var: a voltage is not negative")
        for name, each, sign in (("over", self.over_ride_through, 1), ("under", self.under_ride_through, -1)):
            if each is not None and each.stop_v is not None and (each.stop_v - each.start_v) * sign < 0:
                raise ValueError(f"{name}_ride_through: stop_v must be beyond start_v")

    @property
    def functions(self) -> frozenset[Function]:
        """The functions with values."""
        return frozenset(each for each in FUNCTIONS if getattr(self, each) is not None)

    def only(self, functions: Iterable[str]) -> "GridSupport":
        """Return these values without those of other functions."""
        kept = frozenset(functions)
        return msgspec.structs.replace(self, **dict.fromkeys(self.functions - kept))

    def overlaid(self, other: "GridSupport | None") -> "GridSupport":
        """Return these values where `other` has none; its curve of reactive power replaces those here."""
        if other is None:
            return self
        own = self.only(self.functions - set(REACTIVE)) if other.functions & set(REACTIVE) else self
        return msgspec.structs.replace(own, **{each: getattr(other, each) for each in other.functions})

    def scaled(self, *, volts: float, watts: float) -> "GridSupport":
        """Return values in V, W and var where these are in per unit of a voltage, and parts of a power."""
        factors = dict.fromkeys(_VOLTS, volts) | {"var": watts}

        def grown(each: msgspec.Struct) -> msgspec.Struct:
            own = {name: getattr(each, name) for name in each.__struct_fields__}
            return msgspec.structs.replace(
                each, **{name: own[name] * factor for name, factor in factors.items() if own.get(name) is not None}
            )

        plain = self.functions - {"dc_injection", *REACTIVE}
        found = {str(each): grown(getattr(self, each)) for each in plain}
        axes = {
            "volt_var": (volts, watts, watts),
            "watt_var": (watts, watts, volts),
            "watt_cos_phi": (watts, 1.0, volts),
        }
        for name, (x, y, lock) in axes.items():
            if (curve := getattr(self, name)) is not None:
                found[name] = msgspec.structs.replace(
                    curve,
                    points=tuple((a * x, b * y) for a, b in curve.points),
                    lock_in=None if curve.lock_in is None else curve.lock_in * lock,
                    lock_out=None if curve.lock_out is None else curve.lock_out * lock,
                )
        return msgspec.structs.replace(self, **found)

    def wrong_at(self, nominal_hz: float) -> str:
        """Return which frequency has no sense in a grid of this one, or empty; a grid of none proves nothing."""
        if not 45 <= nominal_hz <= 65:
            return ""
        over, under = self.over_frequency_watt, self.under_frequency_watt
        for each in (over, under):
            if each is not None and each.return_band and not each.return_band[0] < nominal_hz < each.return_band[1]:
                return f"return_band does not have {nominal_hz:g} Hz within it"
        if over is not None and not nominal_hz <= over.start_hz <= 1.1 * nominal_hz:
            return f"over_frequency_watt begins at {over.start_hz:g} Hz in a grid of {nominal_hz:g} Hz"
        if under is not None and not 0.9 * nominal_hz <= under.start_hz <= nominal_hz:
            return f"under_frequency_watt begins at {under.start_hz:g} Hz in a grid of {nominal_hz:g} Hz"
        return ""


_VOLTS: Final = (
    "start_v", "stop_v", "recovery_v", "over_v", "under_v", "over_recovery_v", "under_recovery_v",
)  # fmt: skip


def alternatives(functions: Iterable[Function]) -> tuple[frozenset[Function], ...]:
    """Return the sets of functions that an inverter can be asked for at once: one for each curve of reactive power."""
    demanded = frozenset(functions)
    rest, curves = demanded - frozenset(REACTIVE), [each for each in REACTIVE if each in demanded]
    return tuple(rest | {each} for each in curves) or (rest,)


def covers(functions: Iterable[str], demanded: Iterable[str]) -> bool:
    """Return whether an inverter of these functions may feed back where so many are demanded: each of them, of the
    curves of reactive power one. Set-points demand nothing: those that were not negotiated are not sent."""
    own, asked = frozenset(functions), frozenset(demanded) - SETPOINTS
    curves = asked & set(REACTIVE)
    return asked - curves <= own and (not curves or bool(curves & own))


NO_SUPPORT: Final = GridSupport()
