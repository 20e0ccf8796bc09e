"""Meter values (functional block J)."""

from typing import Annotated, Literal

from v2g.ocpp.messages import base

Location = Annotated[Literal["Body", "Cable", "EV", "Inlet", "Outlet", "Upstream"], base.since_21("Upstream")]
Measurand = Annotated[
    Literal[
        "Current.Export",
        "Current.Export.Offered",
        "Current.Export.Minimum",
        "Current.Import",
        "Current.Import.Offered",
        "Current.Import.Minimum",
        "Current.Offered",
        "Display.PresentSOC",
        "Display.MinimumSOC",
        "Display.TargetSOC",
        "Display.MaximumSOC",
        "Display.RemainingTimeToMinimumSOC",
        "Display.RemainingTimeToTargetSOC",
        "Display.RemainingTimeToMaximumSOC",
        "Display.ChargingComplete",
        "Display.BatteryEnergyCapacity",
        "Display.InletHot",
        "Energy.Active.Export.Interval",
        "Energy.Active.Export.Register",
        "Energy.Active.Import.Interval",
        "Energy.Active.Import.Register",
        "Energy.Active.Import.CableLoss",
        "Energy.Active.Import.LocalGeneration.Register",
        "Energy.Active.Net",
        "Energy.Active.Setpoint.Interval",
        "Energy.Apparent.Export",
        "Energy.Apparent.Import",
        "Energy.Apparent.Net",
        "Energy.Reactive.Export.Interval",
        "Energy.Reactive.Export.Register",
        "Energy.Reactive.Import.Interval",
        "Energy.Reactive.Import.Register",
        "Energy.Reactive.Net",
        "EnergyRequest.Target",
        "EnergyRequest.Minimum",
        "EnergyRequest.Maximum",
        "EnergyRequest.Minimum.V2X",
        "EnergyRequest.Maximum.V2X",
        "EnergyRequest.Bulk",
        "Frequency",
        "Power.Active.Export",
        "Power.Active.Import",
        "Power.Active.Setpoint",
        "Power.Active.Residual",
        "Power.Export.Minimum",
        "Power.Export.Offered",
        "Power.Factor",
        "Power.Import.Offered",
        "Power.Import.Minimum",
        "Power.Offered",
        "Power.Reactive.Export",
        "Power.Reactive.Import",
        "SoC",
        "Voltage",
        "Voltage.Minimum",
        "Voltage.Maximum",
    ],
    base.since_21(
        "Current.Export.Offered",
        "Current.Export.Minimum",
        "Current.Import.Offered",
        "Current.Import.Minimum",
        "Display.PresentSOC",
        "Display.MinimumSOC",
        "Display.TargetSOC",
        "Display.MaximumSOC",
        "Display.RemainingTimeToMinimumSOC",
        "Display.RemainingTimeToTargetSOC",
        "Display.RemainingTimeToMaximumSOC",
        "Display.ChargingComplete",
        "Display.BatteryEnergyCapacity",
        "Display.InletHot",
        "Energy.Active.Import.CableLoss",
        "Energy.Active.Import.LocalGeneration.Register",
        "Energy.Active.Setpoint.Interval",
        "EnergyRequest.Target",
        "EnergyRequest.Minimum",
        "EnergyRequest.Maximum",
        "EnergyRequest.Minimum.V2X",
        "EnergyRequest.Maximum.V2X",
        "EnergyRequest.Bulk",
        "Power.Active.Setpoint",
        "Power.Active.Residual",
        "Power.Export.Minimum",
        "Power.Export.Offered",
        "Power.Import.Offered",
        "Power.Import.Minimum",
        "Voltage.Minimum",
        "Voltage.Maximum",
    ),
]
Phase = Literal["L1", "L2", "L3", "N", "L1-N", "L2-N", "L3-N", "L1-L2", "L2-L3", "L3-L1"]
ReadingContext = Literal[
    "Interruption.Begin",
    "Interruption.End",
    "Other",
    "Sample.Clock",
    "Sample.Periodic",
    "Transaction.Begin",
    "Transaction.End",
    "Trigger",
]


class SignedMeterValue(base.Datatype, frozen=True, kw_only=True):
    """A meter reading with the meter's signature, such as OCMF, in base64. 2.0.1 requires every field."""

    signed_meter_data: Annotated[str, base.text(32768, v201=2500)]
    signing_method: Annotated[base.String50 | None, base.REQUIRED_201] = None
    encoding_method: base.String50
    public_key: Annotated[base.String2500 | None, base.REQUIRED_201] = None


class UnitOfMeasure(base.Datatype, frozen=True, kw_only=True):
    """Unit of a value, which is multiplied by ten to the `multiplier`."""

    unit: base.String20 = "Wh"
    multiplier: base.Exponent = 0


class SampledValue(base.Datatype, frozen=True, kw_only=True):
    """One measured value; by default the import register in Wh, sampled periodically, at the outlet."""

    value: base.Decimal
    measurand: Measurand | None = None
    context: ReadingContext | None = None
    phase: Phase | None = None
    location: Location | None = None
    signed_meter_value: SignedMeterValue | None = None
    unit_of_measure: UnitOfMeasure | None = None


class MeterValue(base.Datatype, frozen=True, kw_only=True):
    """Values measured at one time."""

    sampled_value: base.OneOrMore[SampledValue]
    timestamp: base.DateTime


class MeterValuesRequest(base.Message, frozen=True, kw_only=True):
    """Station reports meter values outside a transaction (J01)."""

    evse_id: base.NonNegative
    meter_value: base.OneOrMore[MeterValue]


class MeterValuesResponse(base.Message, frozen=True, kw_only=True):
    """Answer to MeterValues."""
