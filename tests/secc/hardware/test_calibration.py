"""The calibrated voltmeter: what is read shifts by the offset exactly, and false over-voltage goes away (R40, R41)."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secc.hardware.calibration import CalibratedStage
from secc.hardware.config import HardwareConfig
from secc.session.config import SeccConfig
from secc.session.facts import SessionFacts
from secc.session.identity import Identity
from secc.session.journal import open_journal
from secc.session.stages import Authorized, Opened
from tests.safety.charger import FULL, T, charging, found
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import VoltmeterCalibrated
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.hardware.interfaces import OFF, Demand, OnFault, StageReport
from v2g.safety import Open


class Skewed:
    """A stage that regulates by a voltmeter which reads `error_mv` too much; `true_mv` is what a reference shows."""

    max_var = 7

    def __init__(self, error_mv: int) -> None:
        self.error_mv, self.true_mv, self.done = error_mv, 0, ""
        self._told: list[Callable[[StageReport], None]] = []

    @property
    def present(self) -> StageReport:
        return StageReport(voltage_mv=max(0, self.true_mv + self.error_mv), current_ma=1_000)

    def drive(self, demand: Demand) -> None:
        self.true_mv = max(0, demand.voltage_mv - self.error_mv) if demand.voltage_mv else 0
        for reported in self._told:
            reported(self.present)

    def react(self, var: int) -> None:
        self.done = f"react {var}"

    def cut(self) -> None:
        self.done = "cut"

    def on_report(self, callback: Callable[[StageReport], None]) -> None:
        self._told.append(callback)

    def on_fault(self, callback: OnFault) -> None:
        callback("module_lost", True)  # noqa: FBT003 - the interface


@pytest.mark.requirement("R40")
@given(error=st.integers(-10_000, 10_000), wanted=st.integers(60_000, 1_000_000))
def test_with_its_offset_a_skewed_stage_is_exact(error: int, wanted: int) -> None:
    skewed = Skewed(error)
    stage, reports = CalibratedStage(skewed, -error), []
    stage.on_report(reports.append)
    stage.drive(Demand(wanted, 5_000, 9_000))
    assert skewed.true_mv == wanted
    assert stage.present.voltage_mv == reports[-1].voltage_mv == wanted
    assert reports[-1].current_ma == 1_000
    stage.drive(OFF)
    assert skewed.true_mv == 0


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("offset", [-10_000, -1, 1, 10_000])
def test_readings_shift_by_exactly_the_offset(offset: int) -> None:
    skewed = Skewed(0)
    skewed.true_mv = 400_000
    assert CalibratedStage(skewed, offset).present.voltage_mv == 400_000 + offset
    skewed.true_mv = 0
    assert CalibratedStage(skewed, offset).present.voltage_mv == max(0, offset)


def test_no_less_than_nothing_is_driven() -> None:
    driven: list[Demand] = []
    skewed = Skewed(0)
    skewed.drive = driven.append  # type: ignore[method-assign]
    for wanted in (9_999, 10_000, 10_001):
        CalibratedStage(skewed, 10_000).drive(Demand(wanted, 1))
    assert [each.voltage_mv for each in driven] == [0, 0, 1]


def test_everything_else_passes() -> None:
    skewed, faults = Skewed(0), []
    stage = CalibratedStage(skewed, 5)
    stage.react(3)
    assert (skewed.done, stage.max_var) == ("react 3", 7)
    stage.cut()
    assert skewed.done == "cut"
    stage.on_fault(lambda word, active: faults.append((word, active)))
    assert faults == [("module_lost", True)]


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("offset", [-10_001, 10_001])
def test_an_offset_out_of_range_is_refused(offset: int) -> None:
    assert msgspec.convert({"voltmeter_offset_mv": 10_000}, HardwareConfig).voltmeter_offset_mv == 10_000
    with pytest.raises(msgspec.ValidationError, match="voltmeter_offset_mv"):
        msgspec.convert({"voltmeter_offset_mv": offset}, HardwareConfig)


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("offset", [0, -120])
def test_every_journal_names_the_calibration(offset: int) -> None:
    identity = Identity("CS", "M", b"certificate", offset)
    connection = SimpleNamespace(identity=identity, trust=SimpleNamespace(chain=(b"charger",)))
    context: Any = SimpleNamespace(config=SeccConfig(), connection=connection, facts=SessionFacts())
    opened = open_journal(context, Authorized(Opened(b"12345678", "EV"), None), "DC_BPT", "signed")
    journal, records = SessionJournal(), [each.record for each in opened]
    entries = verify_lines(b"".join(line for record in records for line in journal.record(record, 900_000)))
    found = [entry.data.offset_mv for entry in entries if isinstance(entry.data, VoltmeterCalibrated)]
    assert found == ([offset] if offset else [])


@pytest.mark.requirement("R41", "R132")
@pytest.mark.parametrize(
    ("error", "offset", "trips"), [(8_000, 0, True), (8_000, -8_000, False), (0, 0, False), (-8_000, 8_000, False)]
)
def test_over_voltage_protection_takes_the_calibrated_voltage(error: int, offset: int, trips: bool) -> None:
    """450 V are allowed: a voltmeter that reads 8 V too much trips at 450 V without its calibration."""
    skewed = Skewed(error)
    skewed.true_mv = FULL.voltage_mv
    monitor = charging()
    monitor.measured(CalibratedStage(skewed, offset).present.voltage_mv, 0, T + 1)
    assert found(monitor, 1.39) == []
    assert bool(found(monitor, 1.5) == [Open("over_voltage")]) is trips


@pytest.mark.requirement("R41", "R132")
def test_voltage_that_is_really_too_high_trips_with_calibration_too() -> None:
    skewed = Skewed(-8_000)
    skewed.true_mv = FULL.voltage_mv + 6_000  # it reads 2 V less than what is allowed
    monitor = charging()
    monitor.measured(CalibratedStage(skewed, 8_000).present.voltage_mv, 0, T + 1)
    assert found(monitor, 1.5) == [Open("over_voltage")]
