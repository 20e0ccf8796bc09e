"""What contactor, pilot and voltage stop, whatever edition is spoken (IEC 61851-1, IEC 61851-23 CC.6.2)."""

import pytest

from secc.session import ports
from secc.session.guard import LOWERED, OutputGuard, OutputUse
from tests.together import together
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.message_timing import SessionTime


def powered() -> tuple[OutputGuard, SessionTime]:
    time = SessionTime()
    guard = OutputGuard(time)
    guard.commanded(ports.CloseContactors())
    return guard, time


@pytest.mark.parametrize(
    "command", [ports.StartCableCheck(500_000), ports.CloseContactors(), ports.CheckAlignment(8_000, 20)]
)
def test_voltage_may_be_there_from_the_first_command_that_asks_for_it_to_the_emergency_stop(command: object) -> None:
    guard = OutputGuard(SessionTime())
    guard.commanded(command)
    assert guard.powered
    guard.commanded(ports.OpenContactors())
    assert guard.powered, "until they report to be open"
    guard.commanded(ports.EmergencyOff("remote"))
    assert not guard.powered


@together(
    ("use", "closed", "why", "wrong"),
    [
        (OutputUse.CLOSING, True, "", ""),
        (OutputUse.CLOSING, False, "", ""),
        (OutputUse.CHARGING, True, "", ""),
        (OutputUse.CHARGING, False, "", "contactor_dropped"),
        (OutputUse.CHARGING, False, "pilot_b", "pilot_b"),
        (OutputUse.HELD, False, "", ""),
        (OutputUse.HELD, True, "", "contactor_welded"),
        (OutputUse.OPENING, True, "", ""),
        (OutputUse.OPENING, False, "", ""),
    ],
)
def test_a_contactor_that_is_not_where_it_should_be_is_a_fault(
    use: OutputUse, closed: bool, why: str, wrong: str
) -> None:
    guard, _ = powered()
    assert guard.contactor(ports.ContactorState(closed=closed, why=why), use) == wrong
    assert guard.powered is (use is not OutputUse.OPENING or closed)


def test_a_contactor_that_closes_without_a_command_is_welded() -> None:
    guard = OutputGuard(SessionTime())
    assert guard.contactor(ports.ContactorState(closed=True), OutputUse.NONE) == "contactor_welded"
    guard.contactor(ports.ContactorState(closed=True), OutputUse.OPENING)
    assert not guard.powered


@together("state", list(PilotState))
def test_power_needs_a_pilot_in_c_or_d(state: PilotState) -> None:
    guard, _ = powered()
    ends = {PilotState.A: "unplugged", PilotState.B: "vehicle_not_ready", PilotState.C: "", PilotState.D: ""}
    assert guard.pilot(state, OutputUse.CHARGING) == ends.get(state, "pilot_lost")
    unpowered = "unplugged" if state is PilotState.A else ""
    assert guard.pilot(state, OutputUse.OPENING) == unpowered
    assert OutputGuard(SessionTime()).pilot(state, OutputUse.CHARGING) == unpowered


def test_a_tenth_too_much_voltage_is_cut_at_once_and_a_little_too_much_after_400_ms() -> None:
    guard, time = powered()
    time.now = 10.0
    assert not guard.over_voltage(405_000, 400_000), "regulated that well"
    assert "over_voltage" not in time.timers
    assert guard.over_voltage(405_001, 400_000) is False
    time.now = 10.3
    assert not guard.over_voltage(440_000, 400_000)
    assert time.timers["over_voltage"] == pytest.approx(10.4), "counted from the first moment"
    assert guard.over_voltage(440_001, 400_000)
    assert not guard.over_voltage(400_000, 400_000)
    assert "over_voltage" not in time.timers
    assert guard.over_voltage(900_000, None) is False, "nothing is known of the vehicle"
    assert guard.over_voltage(6_000, 0), "it bears none"


def test_too_much_voltage_is_the_vehicles_if_it_has_lowered_its_maximum() -> None:
    guard, _ = powered()
    for voltage_mv, most_mv, reason in (
        (400_000, 450_000, ""),
        (400_000, 390_000, LOWERED),
        (400_000, 300_000, LOWERED),
        (455_000, 300_000, LOWERED),
        (455_001, 300_000, "over_voltage"),  # it did not bear that before either
        (300_000, 300_000, "over_voltage"),
        (400_000, 290_000, "over_voltage"),
    ):
        guard.over_voltage(voltage_mv, most_mv)
        assert guard.excess == reason, (voltage_mv, most_mv)


def test_a_percent_of_a_high_voltage_is_more_than_five_volts() -> None:
    guard, time = powered()
    guard.over_voltage(808_000, 800_000)
    assert "over_voltage" not in time.timers
    guard.over_voltage(808_001, 800_000)
    assert "over_voltage" in time.timers


def test_voltage_that_nobody_asked_for_is_the_hardwares() -> None:
    time = SessionTime()
    assert not OutputGuard(time).over_voltage(900_000, 400_000)
    assert "over_voltage" not in time.timers
