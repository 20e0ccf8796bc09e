"""Calibration of the output's voltmeter against a reference: an offset of all readings and targets (R40, R41)."""

from collections.abc import Callable

from msgspec.structs import replace

from v2g.hardware.interfaces import Demand, OnFault, PowerStage, StageReport


class CalibratedStage:
    """A power stage whose voltmeter reads `offset_mv` too little. See PowerStage: everything, safety channel and
    over-voltage protection included, gets the calibrated voltage, and the stage regulates by its own.
    """

    def __init__(self, stage: PowerStage, offset_mv: int) -> None:
        self._stage, self._offset_mv = stage, offset_mv

    @property
    def present(self) -> StageReport:
        return self._calibrated(self._stage.present)

    @property
    def max_var(self) -> int:
        return self._stage.max_var

    def drive(self, demand: Demand) -> None:
        """See PowerStage; off stays off."""
        wanted_mv = max(0, demand.voltage_mv - self._offset_mv) if demand.voltage_mv else 0
        self._stage.drive(replace(demand, voltage_mv=wanted_mv))

    def react(self, var: int) -> None:
        self._stage.react(var)

    def cut(self) -> None:
        """See Cut."""
        self._stage.cut()

    def on_report(self, callback: Callable[[StageReport], None]) -> None:
        self._stage.on_report(lambda report: callback(self._calibrated(report)))

    def on_fault(self, callback: OnFault) -> None:
        self._stage.on_fault(callback)

    def _calibrated(self, report: StageReport) -> StageReport:
        return replace(report, voltage_mv=max(0, report.voltage_mv + self._offset_mv))
