"""A vehicle that is charged by the duty cycle alone: it obeys in time, and never draws more than it may."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcc.policy.battery import Battery, BatteryConfig
from evcc.session import ports
from evcc.session.basic_charging import BasicVehicle
from evcc.session.settings import BasicConfig, OnBoardChargerConfig, ProgramStep
from v2g.iec61851.pilot import STANDARD, DutyReading, PilotState

BATTERY = Battery(BatteryConfig(soc=50.0), at_ms=0).state
OFF, NONE = DutyReading("off"), DutyReading("no_charging")


def amperes(value: float) -> DutyReading:
    return DutyReading("current", value)


class Desk:
    """A vehicle, its time, and what it asked for."""

    def __init__(self, program: ProgramStep | None = None, **basic: Any) -> None:
        self.now = 0.0
        self.commands: list[Any] = []
        self.session = BasicVehicle(
            BasicConfig(**basic),
            OnBoardChargerConfig(max_charge_w=11_000, min_charge_w=1_380),
            program or ProgramStep(do="charge", until_soc=80.0),
            duty=amperes(16),
            battery=BATTERY,
            entropy=bytes,
        )
        self.session.start(0.0, 0)
        self.take()

    def take(self) -> None:
        self.commands += self.session.actions()

    def fact(self, fact: Any) -> None:
        self.session.fact(fact, self.now, int(self.now * 1000))
        self.take()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (at := self.session.deadline()) is not None and at <= end:
            self.now = at
            self.session.tick(self.now, int(self.now * 1000))
            self.take()
        self.now = end

    @property
    def power_w(self) -> int:
        return next((c.power_w for c in reversed(self.commands) if isinstance(c, ports.SetAcPower)), 0)

    @property
    def shown(self) -> PilotState:
        states = [c.state for c in self.commands if isinstance(c, ports.SetCpState)]
        return states[-1] if states else PilotState.B


def charging() -> Desk:
    desk = Desk()
    desk.fact(ports.PresentVoltage(230_000, lines=3))
    return desk


def test_it_shows_c_draws_when_there_is_a_voltage_and_follows_the_duty_cycle() -> None:
    desk = Desk()
    assert (desk.shown, desk.power_w) == (PilotState.C, 0)
    desk.fact(ports.PresentVoltage(230_000, lines=3))
    assert desk.power_w == 11_000  # 16 A on three phases are a little more than its charger can
    desk.fact(ports.DutyRead(amperes(10)))
    assert desk.power_w == 6_900
    desk.fact(ports.DutyRead(amperes(6)))
    assert desk.power_w == 4_140
    desk.fact(ports.DutyRead(amperes(32)))
    assert desk.power_w == 11_000


def test_it_shows_d_where_its_battery_needs_air() -> None:
    assert Desk(ventilation=True).shown is PilotState.D


def test_x1_stops_the_current_at_once_and_shows_b_within_three_seconds() -> None:
    desk = charging()
    desk.fact(ports.DutyRead(OFF))
    assert (desk.power_w, desk.shown) == (0, PilotState.C)
    desk.run(STANDARD.obey_off_s)
    assert desk.shown is PilotState.B
    desk.fact(ports.DutyRead(amperes(16)))
    assert desk.shown is PilotState.C


def test_a_charger_that_is_gone_for_good_ends_it() -> None:
    desk = charging()
    desk.fact(ports.DutyRead(NONE))
    desk.run(29.0)
    assert not desk.session.closed
    desk.fact(ports.DutyRead(OFF))  # F, then X1: not another 30 s
    desk.run(1.5)
    assert desk.session.closed
    assert desk.session.reason == "pilot_lost"
    assert (desk.power_w, desk.shown) == (0, PilotState.B)


@pytest.mark.parametrize(
    ("program", "battery"),
    [
        (ProgramStep(do="charge", until_soc=80.0), {"soc": 80.0}),
        (ProgramStep(do="charge"), {"soc": 100.0}),
        (ProgramStep(do="charge", energy_wh=500), {"charged_mwh": 500_000}),
    ],
)
def test_it_ends_when_the_battery_has_what_was_wanted(program: ProgramStep, battery: dict[str, Any]) -> None:
    desk = Desk(program)
    desk.fact(ports.PresentVoltage(230_000, lines=3))
    desk.fact(BATTERY)
    assert not desk.session.closed
    desk.fact(msgspec.structs.replace(BATTERY, **battery))
    assert desk.session.reason == "finished"
    assert (desk.power_w, desk.shown) == (0, PilotState.B)


def test_a_battery_with_a_fault_is_not_charged() -> None:
    desk = charging()
    assert desk.power_w == 11_000
    desk.fact(msgspec.structs.replace(BATTERY, fault="battery_insulation"))
    assert desk.session.reason == "battery_insulation"
    assert (desk.power_w, desk.shown) == (0, PilotState.B)


def test_time_and_power_of_the_program_are_kept() -> None:
    desk = Desk(ProgramStep(do="charge", for_s=60, power_w=3_000))
    desk.fact(ports.PresentVoltage(230_000, lines=3))
    assert desk.power_w == 3_000
    desk.run(59)
    desk.fact(BATTERY)
    assert not desk.session.closed
    desk.run(2)
    desk.fact(BATTERY)
    assert desk.session.reason == "finished"


Facts = st.one_of(
    st.sampled_from((OFF, NONE, DutyReading("digital"), DutyReading("error"))).map(ports.DutyRead),
    st.floats(6, 80).map(lambda a: ports.DutyRead(amperes(a))),
    st.sampled_from((0, 230_000, 115_000)).map(ports.PresentVoltage),
    st.integers(0, 50_000).map(lambda w: msgspec.structs.replace(BATTERY, max_charge_w=w)),
)


@given(st.lists(st.tuples(Facts, st.floats(0, 10)), max_size=30))
def test_it_never_draws_more_than_charger_battery_and_cable_allow(steps: list[tuple[Any, float]]) -> None:
    desk, allowed_a, voltage_mv, battery_w = Desk(), 16.0, 0, BATTERY.max_charge_w
    for fact, seconds in steps:
        match fact:
            case ports.DutyRead(reading=reading):
                allowed_a = reading.max_current_a if reading.meaning == "current" else 0.0
            case ports.PresentVoltage():
                voltage_mv = fact.voltage_mv
            case ports.BatteryState():
                battery_w = fact.max_charge_w
        desk.fact(fact)
        assert 0 <= desk.power_w <= min(allowed_a * 3 * voltage_mv / 1000, battery_w, 11_000) + 1
        desk.run(seconds)
        if allowed_a == 0 and seconds >= STANDARD.obey_off_s:
            assert desk.shown is PilotState.B


def test_a_driver_who_ends_it_leaves_the_vehicle_in_b_without_a_fault() -> None:
    desk = Desk()
    desk.fact(ports.PresentVoltage(230_000, lines=3))
    assert desk.power_w > 0
    desk.fact(ports.StopRequested("interrupted"))
    assert desk.power_w == 0
    assert [c.state for c in desk.commands if isinstance(c, ports.SetCpState)][-1] is PilotState.B
    assert desk.session.reason == "finished"
