"""Control of distributed energy resources (functional block R). 2.1 only.

Times are in s, power in W, voltage in V, frequency in Hz, unless a `unit` defines percentages. A lower `priority`
number wins.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, field

from v2g.ocpp.messages import base
from v2g.ocpp.messages.ev_charging import DERControl

DERUnit = Literal["Not_Applicable", "PctMaxW", "PctMaxVar", "PctWAvail", "PctVarAvail", "PctEffectiveV"]
PowerDuringCessation = Literal["Active", "Reactive"]


class DERCurvePoint(base.Datatype, frozen=True, kw_only=True):
    """A point of a curve, in the units of the control type for x and `y_unit` for y."""

    x: base.Decimal
    y: base.Decimal


class Hysteresis(base.Datatype, frozen=True, kw_only=True):
    """Where and how operation returns to normal: bounds in the curve's x unit, delay s, gradient %/s."""

    hysteresis_high: base.Decimal | None = None
    hysteresis_low: base.Decimal | None = None
    hysteresis_delay: base.Decimal | None = None
    hysteresis_gradient: base.Decimal | None = None


class ReactivePowerParams(base.Datatype, frozen=True, kw_only=True):
    """Reference voltage of a VoltVar curve: percent of nominal, and the time constant (s) of adjusting it."""

    v_ref: base.Decimal | None = None
    autonomous_v_ref_enable: bool | None = None
    autonomous_v_ref_time_constant: base.Decimal | None = None


class VoltageParams(base.Datatype, frozen=True, kw_only=True):
    """Over-voltage by the mean of ten minutes (percent of nominal, s), and the power that remains meanwhile."""

    hv10_min_mean_value: base.Decimal | None = None
    hv10_min_mean_trip_delay: base.Decimal | None = None
    power_during_cessation: PowerDuringCessation | None = None


class DERCurve(base.Datatype, frozen=True, kw_only=True):
    """A curve of up to ten points."""

    curve_data: Annotated[base.OneOrMore[DERCurvePoint], Meta(max_length=10)]
    hysteresis: Hysteresis | None = None
    priority: base.NonNegative
    reactive_power_params: ReactivePowerParams | None = None
    voltage_params: VoltageParams | None = None
    y_unit: DERUnit
    response_time: base.Decimal | None = None
    start_time: base.DateTime | None = None
    duration: base.Decimal | None = None


class EnterService(base.Datatype, frozen=True, kw_only=True):
    """When the resource may connect to the grid: voltage in percent of nominal, frequency Hz; delays and the time in
    full power is reached (`ramp_rate`), s."""

    priority: base.NonNegative
    high_voltage: base.Decimal
    low_voltage: base.Decimal
    high_freq: base.Decimal
    low_freq: base.Decimal
    delay: base.Decimal | None = None
    random_delay: base.Decimal | None = None
    ramp_rate: base.Decimal | None = None


class FixedPF(base.Datatype, frozen=True, kw_only=True):
    """A fixed power factor (0 to 1), under-excited (reactive power is absorbed) when `excitation`."""

    priority: base.NonNegative
    displacement: base.Decimal
    excitation: bool
    start_time: base.DateTime | None = None
    duration: base.Decimal | None = None


class FixedVar(base.Datatype, frozen=True, kw_only=True):
    """A fixed reactive power: `setpoint` from -100 to 100 percent of `unit`."""

    priority: base.NonNegative
    setpoint: base.Decimal
    unit: DERUnit
    start_time: base.DateTime | None = None
    duration: base.Decimal | None = None


class FreqDroop(base.Datatype, frozen=True, kw_only=True):
    """Power over frequency: dead band Hz, droop in Hz per 100 percent of power."""

    priority: base.NonNegative
    over_freq: base.Decimal
    under_freq: base.Decimal
    over_droop: base.Decimal
    under_droop: base.Decimal
    response_time: base.Decimal
    start_time: base.DateTime | None = None
    duration: base.Decimal | None = None


class Gradient(base.Datatype, frozen=True, kw_only=True):
    """Default ramp rates, %/s."""

    priority: base.NonNegative
    gradient: base.Decimal
    soft_gradient: base.Decimal


class LimitMaxDischarge(base.Datatype, frozen=True, kw_only=True):
    """A limit of discharging in percent of rated power, or the curve of when to trip above it."""

    priority: base.NonNegative
    pct_max_discharge_power: base.Decimal | None = None
    power_monitoring_must_trip: DERCurve | None = None
    start_time: base.DateTime | None = None
    duration: base.Decimal | None = None


DERControlStatus = Literal["Accepted", "Rejected", "NotSupported", "NotFound"]


MEMBERS: Final[Mapping[DERControl, str]] = {
    "EnterService": "enter_service",
    "FixedPFAbsorb": "fixed_pf_absorb",
    "FixedPFInject": "fixed_pf_inject",
    "FixedVar": "fixed_var",
    "FreqDroop": "freq_droop",
    "Gradients": "gradient",
    "LimitMaxDischarge": "limit_max_discharge",
}
"""Control type -> the member that contains it; all others are curves."""


class SetDERControlRequest(base.Message, frozen=True, kw_only=True):
    """CSMS sets a default or a scheduled control; exactly the member named by `control_type` is present (R04)."""

    is_default: bool
    control_id: base.String36
    control_type: DERControl
    curve: DERCurve | None = None
    enter_service: EnterService | None = None
    fixed_pf_absorb: FixedPF | None = field(default=None, name="fixedPFAbsorb")
    fixed_pf_inject: FixedPF | None = field(default=None, name="fixedPFInject")
    fixed_var: FixedVar | None = None
    freq_droop: FreqDroop | None = None
    gradient: Gradient | None = None
    limit_max_discharge: LimitMaxDischarge | None = None

    @property
    def member(self) -> str:
        """The one member that its type needs."""
        return MEMBERS.get(self.control_type, "curve")

    @property
    def fits(self) -> bool:
        """Whether it has that member, and no other."""
        return [each for each in ("curve", *MEMBERS.values()) if getattr(self, each) is not None] == [self.member]


SupersededIds = Annotated[base.OneOrMore[base.String36], Meta(max_length=24)]


class SetDERControlResponse(base.Message, frozen=True, kw_only=True):
    """Answer to SetDERControl: the controls that it superseded."""

    status: DERControlStatus
    status_info: base.StatusInfo | None = None
    superseded_ids: SupersededIds = ()


class GetDERControlRequest(base.Message, frozen=True, kw_only=True):
    """CSMS requests controls, sent as ReportDERControl (R04)."""

    request_id: base.Identifier
    is_default: bool | None = None
    control_type: DERControl | None = None
    control_id: base.String36 | None = None


class GetDERControlResponse(base.Message, frozen=True, kw_only=True):
    """Answer to GetDERControl."""

    status: DERControlStatus
    status_info: base.StatusInfo | None = None


class ClearDERControlRequest(base.Message, frozen=True, kw_only=True):
    """CSMS clears one control by its id, all of a type, or all default or scheduled ones (R04)."""

    is_default: bool
    control_type: DERControl | None = None
    control_id: base.String36 | None = None


class ClearDERControlResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ClearDERControl."""

    status: DERControlStatus
    status_info: base.StatusInfo | None = None


class DERCurveGet(base.Datatype, frozen=True, kw_only=True):
    """A curve that the station holds."""

    curve: DERCurve
    id: base.String36
    curve_type: DERControl
    is_default: bool
    is_superseded: bool


class EnterServiceGet(base.Datatype, frozen=True, kw_only=True):
    """An EnterService control that the station holds."""

    enter_service: EnterService
    id: base.String36


class FixedPFGet(base.Datatype, frozen=True, kw_only=True):
    """A fixed power factor that the station holds."""

    fixed_pf: FixedPF = field(name="fixedPF")
    id: base.String36
    is_default: bool
    is_superseded: bool


class FixedVarGet(base.Datatype, frozen=True, kw_only=True):
    """A fixed reactive power that the station holds."""

    fixed_var: FixedVar
    id: base.String36
    is_default: bool
    is_superseded: bool


class FreqDroopGet(base.Datatype, frozen=True, kw_only=True):
    """A frequency droop that the station holds."""

    freq_droop: FreqDroop
    id: base.String36
    is_default: bool
    is_superseded: bool


class GradientGet(base.Datatype, frozen=True, kw_only=True):
    """Ramp rates that the station holds."""

    gradient: Gradient
    id: base.String36


class LimitMaxDischargeGet(base.Datatype, frozen=True, kw_only=True):
    """A limit of discharging that the station holds."""

    id: base.String36
    is_default: bool
    is_superseded: bool
    limit_max_discharge: LimitMaxDischarge


class ReportDERControlRequest(base.Message, frozen=True, kw_only=True):
    """Station reports the controls requested by GetDERControl, in parts while `tbc` (R04)."""

    curve: Annotated[base.OneOrMore[DERCurveGet], Meta(max_length=24)] = ()
    enter_service: Annotated[base.OneOrMore[EnterServiceGet], Meta(max_length=24)] = ()
    fixed_pf_absorb: Annotated[base.OneOrMore[FixedPFGet], Meta(max_length=24)] = field(
        default=(), name="fixedPFAbsorb"
    )
    fixed_pf_inject: Annotated[base.OneOrMore[FixedPFGet], Meta(max_length=24)] = field(
        default=(), name="fixedPFInject"
    )
    fixed_var: Annotated[base.OneOrMore[FixedVarGet], Meta(max_length=24)] = ()
    freq_droop: Annotated[base.OneOrMore[FreqDroopGet], Meta(max_length=24)] = ()
    gradient: Annotated[base.OneOrMore[GradientGet], Meta(max_length=24)] = ()
    limit_max_discharge: Annotated[base.OneOrMore[LimitMaxDischargeGet], Meta(max_length=24)] = ()
    request_id: base.Identifier
    tbc: bool = False


class ReportDERControlResponse(base.Message, frozen=True, kw_only=True):
    """Answer to ReportDERControl."""


GridEventFault = Literal[
    "CurrentImbalance",
    "LocalEmergency",
    "LowInputPower",
    "OverCurrent",
    "OverFrequency",
    "OverVoltage",
    "PhaseRotation",
    "RemoteEmergency",
    "UnderFrequency",
    "UnderVoltage",
    "VoltageImbalance",
]


class NotifyDERAlarmRequest(base.Message, frozen=True, kw_only=True):
    """Station reports that a grid event activated a control, or has ended (R02)."""

    control_type: DERControl
    grid_event_fault: GridEventFault | None = None
    alarm_ended: bool | None = None
    timestamp: base.DateTime
    extra_info: Annotated[str, Meta(max_length=200)] | None = None


class NotifyDERAlarmResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyDERAlarm."""


class NotifyDERStartStopRequest(base.Message, frozen=True, kw_only=True):
    """Station reports that a scheduled control started or ended (R04)."""

    control_id: base.String36
    started: bool
    timestamp: base.DateTime
    superseded_ids: SupersededIds = ()


class NotifyDERStartStopResponse(base.Message, frozen=True, kw_only=True):
    """Answer to NotifyDERStartStop."""
