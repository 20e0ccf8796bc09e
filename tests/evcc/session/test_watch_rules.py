"""Each rule that a vehicle watches, by itself: its bound, its time, and what resets it."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from evcc.session import watch as rules
from evcc.session.ports import (
    BatteryState,
    CloseContactor,
    ContactorState,
    OpenContactor,
    PresentVoltage,
    Reported,
    SetPowerLimits,
)
from evcc.session.watch import Watch
from tests.together import together

STEP_MS = 50
BATTERY = BatteryState(
    at_ms=0,
    soc=50.0,
    capacity_wh=60_000,
    energy_wh=30_000,
    voltage_mv=400_000,
    current_ma=0,
    temperature_c=25.0,
    max_voltage_mv=450_000,
    min_voltage_mv=300_000,
    max_charge_ma=100_000,
    max_discharge_ma=50_000,
    max_charge_w=40_000,
    max_discharge_w=20_000,
)


class Car:
    """Watches with a contactor that has closed and limits that bound nothing, every 50 ms."""

    def __init__(self, **battery: Any) -> None:
        self.watch, self.ms = Watch(BATTERY, sensor_s=1.0, contactor_s=0.5), 1_000_000
        self.inlet = PresentVoltage(400_000)
        self.set(**battery)
        self.watch.command(CloseContactor(), self.now)
        self.watch.take_contactor(ContactorState(closed=True))
        self.watch.command(SetPowerLimits(1_000_000, 0), self.now)
        self.watch.begin(self.now)

    @property
    def now(self) -> float:
        return self.ms / 1000

    def set(self, **battery: Any) -> None:
        """The battery reports this from now on."""
        self.battery = msgspec.structs.replace(getattr(self, "battery", BATTERY), **battery)

    def open(self) -> None:
        """Open the contactor."""
        self.watch.command(OpenContactor(), self.now)
        self.watch.take_contactor(ContactorState(closed=False))

    def look(self, *, powered: bool = True, ending: bool = False) -> str:
        """Look once, with all sensors."""
        self.watch.take_battery(msgspec.structs.replace(self.battery, at_ms=self.ms), self.now)
        self.watch.take_inlet(self.inlet, self.now)
        return self.watch.look(self.now, powered=powered, ending=ending)

    def found(self, seconds: float = 3.0, look: Callable[[], str] | None = None) -> tuple[str, int]:
        """Look until something is found; return what, and after how many ms. Empty and 0 if nothing is."""
        began = self.ms
        while self.ms <= began + seconds * 1000:
            if said := (look or self.look)():
                return said, self.ms - began
            self.ms += STEP_MS
        return "", 0


NOTHING = ("", 0)


def reports_voltage(car: Car, voltage_mv: int) -> None:
    car.set(voltage_mv=voltage_mv)


def has_voltage(car: Car, voltage_mv: int) -> None:
    car.inlet = PresentVoltage(voltage_mv)


def says_voltage(car: Car, voltage_mv: int) -> None:
    car.watch.command(Reported(voltage_mv, 0), car.now)


VOLTAGES = (reports_voltage, has_voltage, says_voltage)


def reports_current(car: Car, current_ma: int) -> None:
    car.set(current_ma=current_ma)


def has_current(car: Car, current_ma: int) -> None:
    car.inlet = PresentVoltage(400_000, current_ma)


def says_current(car: Car, current_ma: int) -> None:
    car.watch.command(Reported(400_000, current_ma), car.now)


@pytest.mark.parametrize("there", VOLTAGES)
@pytest.mark.parametrize(
    ("most_mv", "voltage_mv", "found"),
    [
        (450_000, 455_000, NOTHING),
        (450_000, 455_001, ("over_voltage", 400)),
        (450_000, 495_000, ("over_voltage", 400)),
        (450_000, 495_001, ("over_voltage", 0)),
        (600_000, 606_000, NOTHING),
        (600_000, 606_001, ("over_voltage", 400)),
    ],
)
def test_voltage_beyond_the_batterys(
    there: Callable[[Car, int], None], most_mv: int, voltage_mv: int, found: tuple[str, int]
) -> None:
    car = Car(max_voltage_mv=most_mv)
    there(car, voltage_mv)
    assert car.found() == found


@pytest.mark.parametrize(
    ("there", "found"), [(reports_voltage, ("over_voltage", 0)), *((x, NOTHING) for x in VOLTAGES[1:])]
)
def test_beyond_an_open_contactor_only_the_batterys_own_voltage_counts(
    there: Callable[[Car, int], None], found: tuple[str, int]
) -> None:
    car = Car()
    car.open()
    there(car, 600_000)
    assert car.found() == found


@pytest.mark.parametrize(
    ("there", "most_ma", "least_ma"),
    [(reports_current, 110_000, -57_500), (has_current, 106_000, -53_500), (says_current, 106_000, -53_500)],
)
def test_current_beyond_the_batterys(there: Callable[[Car, int], None], most_ma: int, least_ma: int) -> None:
    for current_ma, found in (
        (most_ma, NOTHING),
        (most_ma + 1, ("over_current", 1_000)),
        (600_000, ("over_current", 250)),
        (least_ma, NOTHING),
        (least_ma - 1, ("over_current", 1_000)),
        (-600_000, ("over_current", 250)),
    ):
        car = Car()
        there(car, current_ma)
        assert car.found() == found, current_ma


@pytest.mark.parametrize("there", [has_current, says_current])
def test_beyond_an_open_contactor_no_current_is_the_batterys(there: Callable[[Car, int], None]) -> None:
    car = Car()
    car.open()
    there(car, 200_000)
    assert car.found() == NOTHING


@pytest.mark.parametrize("there", [reports_current, has_current, says_current])
@pytest.mark.parametrize("current_ma", [100_000, -50_000])
def test_a_lower_limit_of_the_battery_is_followed_in_its_time(
    there: Callable[[Car, int], None], current_ma: int
) -> None:
    car = Car()
    there(car, current_ma)
    assert car.found(0.5) == NOTHING
    car.set(max_charge_ma=0, max_discharge_ma=0)
    what, after_ms = car.found()
    assert what == "over_current"
    assert 1_000 <= after_ms <= 1_000 + STEP_MS


@pytest.mark.parametrize("there", [has_current, says_current])
def test_current_beyond_the_request(there: Callable[[Car, int], None]) -> None:
    for current_ma, found in (
        (84_000, NOTHING),  # 80 A, and 5 %
        (85_000, NOTHING),  # and the sensor
        (85_001, ("power_not_obeyed", 1_000)),
        (99_999, ("power_not_obeyed", 300)),
    ):
        car = Car()
        car.watch.command(SetPowerLimits(32_000, 0), car.now)
        car.watch.begin(car.now)
        there(car, current_ma)
        assert car.found() == found, current_ma


def test_an_old_report_does_not_count_once_nothing_is_requested() -> None:
    car = Car()
    says_current(car, 80_000)
    car.watch.command(SetPowerLimits(0, 0), car.now)
    assert car.found() == NOTHING


@pytest.mark.parametrize(("current_ma", "found"), [(2_626_000, NOTHING), (2_626_001, ("power_not_obeyed", 1_000))])
def test_a_request_is_a_power_at_the_inlets_voltage(current_ma: int, found: tuple[str, int]) -> None:
    """1 MW at 400 V are 2,500 A; 5 % and 1 A are tolerated."""
    car = Car(max_charge_ma=10_000_000)
    has_current(car, current_ma)
    assert car.found() == found


def test_a_lower_request_is_followed_in_its_time() -> None:
    car = Car()
    car.watch.command(SetPowerLimits(40_000, 0), car.now)
    has_current(car, 100_000)
    assert car.found(0.5) == NOTHING
    car.watch.command(SetPowerLimits(0, 0), car.now)
    what, after_ms = car.found()
    assert what == "power_not_obeyed"
    assert 2_000 <= after_ms <= 2_000 + STEP_MS


@pytest.mark.parametrize("awaits", [True, False])
def test_until_its_answer_the_request_before_may_be_followed(awaits: bool) -> None:
    """80 A were requested and answered; 40 A follow, and are answered or not."""
    car = Car()
    car.watch.command(SetPowerLimits(32_000, 0), car.now)
    car.watch.exchange(awaits=False)
    car.watch.command(SetPowerLimits(16_000, 0), car.now)
    car.watch.exchange(awaits=True)
    car.watch.exchange(awaits=awaits)
    car.watch.begin(car.now)
    has_current(car, 80_000)
    assert (car.found() == NOTHING) is awaits


def test_without_voltage_a_request_has_no_current() -> None:
    car = Car()
    car.inlet = PresentVoltage(0)
    assert car.found() == NOTHING


def test_before_the_first_request_nothing_is_wanted() -> None:
    watch = Watch(BATTERY, sensor_s=1.0, contactor_s=0.5)
    assert watch.limits == SetPowerLimits(0, 0)
    assert watch.inlet == PresentVoltage(0)
    assert not watch.contactor_closed
    assert watch.battery == BATTERY


@pytest.mark.parametrize(
    "wrong",
    [
        lambda car: reports_voltage(car, 460_000),
        lambda car: reports_current(car, 600_000),
        lambda car: has_current(car, 200_000),
        lambda car: says_current(car, 200_000),
    ],
)
def test_what_was_wrong_counts_anew_from_the_next_request_of_voltage(wrong: Callable[[Car], None]) -> None:
    car = Car()
    wrong(car)
    assert car.found(0.15) == NOTHING
    car.watch.begin(car.now)
    after_ms = car.found()[1]
    again = Car()
    wrong(again)
    assert after_ms == again.found()[1] > 0


# -- contactor


def test_a_contactor_that_is_closed_without_a_command_is_welded() -> None:
    watch = Watch(BATTERY, sensor_s=1.0, contactor_s=0.5)
    watch.take_contactor(ContactorState(closed=True))
    assert watch.look(1.0, powered=False, ending=False) == "contactor_welded"


def test_a_contactor_has_its_time_to_open() -> None:
    car = Car()
    assert car.look() == ""
    car.watch.command(OpenContactor(), car.now)
    assert car.found(look=lambda: car.look(powered=False)) == ("contactor_welded", 500)
    car.watch.take_contactor(ContactorState(closed=False))
    assert car.look(powered=False) == ""
    car.watch.command(OpenContactor(), car.now)
    car.watch.take_contactor(ContactorState(closed=True))
    assert car.look(powered=False) == ""  # anew


def test_a_contactor_that_has_opened_has_no_time_to_be_closed() -> None:
    car = Car()
    car.open()
    assert car.look() == ""
    car.watch.take_contactor(ContactorState(closed=True))
    assert car.look() == "contactor_welded"


def test_a_contactor_that_opens_by_itself_has_dropped() -> None:
    car = Car()
    assert car.look() == ""
    car.watch.take_contactor(ContactorState(closed=False))
    assert car.look() == "contactor_dropped"
    car.watch.take_contactor(ContactorState(closed=False))
    assert car.look() == "contactor_dropped"
    car.watch.command(OpenContactor(), car.now)
    assert car.look() == ""


def test_a_contactor_has_dropped_only_where_it_had_closed_as_commanded() -> None:
    watch = Watch(BATTERY, sensor_s=1.0, contactor_s=0.5)
    for closed in (True, False):
        watch.take_contactor(ContactorState(closed=closed))
    watch.command(CloseContactor(), 1.0)
    assert watch.look(1.0, powered=False, ending=False) == ""
    watch.take_contactor(ContactorState(closed=False))
    assert watch.look(1.0, powered=False, ending=False) == ""


# -- sensors


def without(car: Car, silent: str) -> Callable[[], str]:
    """Return a look at a vehicle of which one sensor reports nothing."""

    def look() -> str:
        if silent == "inlet":
            car.watch.take_battery(msgspec.structs.replace(BATTERY, at_ms=car.ms), car.now)
        else:
            car.watch.take_inlet(car.inlet, car.now)
        return car.watch.look(car.now, powered=True, ending=False)

    return look


@pytest.mark.parametrize("silent", ["battery", "inlet"])
def test_a_sensor_without_a_report_is_silent_after_its_time_and_a_second_look(silent: str) -> None:
    car = Car()
    assert car.found(look=without(car, silent)) == (f"{silent}_silent", 1_000 + STEP_MS + 200)


def test_silence_counts_only_once_voltage_is_requested() -> None:
    watch = Watch(BATTERY, sensor_s=1.0, contactor_s=0.5)
    for now in (1.0, 5.0, 9.0):
        assert watch.look(now, powered=True, ending=False) == ""
    watch.begin(10.0)
    assert watch.look(11.0, powered=True, ending=False) == ""


def test_what_was_reported_before_the_request_counts() -> None:
    car = Car()
    assert car.look() == ""
    car.ms += 5_000
    car.watch.begin(car.now)
    assert car.found(look=lambda: car.watch.look(car.now, powered=True, ending=False)) == ("battery_silent", 200)


@pytest.mark.parametrize("silent", ["battery", "inlet"])
def test_silence_counts_anew_from_the_next_request(silent: str) -> None:
    car = Car()
    assert car.look() == ""
    car.ms += 1_100
    assert car.found(0.15, without(car, silent)) == NOTHING
    car.watch.begin(car.now)
    assert car.found(look=without(car, silent)) == (f"{silent}_silent", 200)


def test_the_same_report_again_is_none() -> None:
    watch = Watch(BATTERY, sensor_s=1.0, contactor_s=0.5)
    assert not watch.fresh(1.0)
    watch.take_inlet(PresentVoltage(0), 1.0)
    assert not watch.fresh(1.0)
    watch.take_battery(BATTERY, 1.0)
    assert watch.fresh(1.0)
    assert watch.fresh(1.5)
    assert not watch.fresh(1.501)
    watch.take_inlet(PresentVoltage(0), 2.0)
    watch.take_battery(BATTERY, 2.0)
    assert not watch.fresh(2.0)
    watch.take_battery(msgspec.structs.replace(BATTERY, at_ms=1), 2.0)
    assert watch.fresh(2.0)
    watch.take_battery(msgspec.structs.replace(BATTERY, at_ms=2), 3.0)
    assert not watch.fresh(3.0)


@pytest.mark.parametrize("at_ms", [0, 1])
def test_the_first_report_counts(at_ms: int) -> None:
    watch = Watch(BATTERY, sensor_s=1.0, contactor_s=0.5)
    watch.take_inlet(PresentVoltage(0), 1.0)
    watch.take_battery(msgspec.structs.replace(BATTERY, at_ms=at_ms), 1.0)
    assert watch.fresh(1.0)


# -- voltage without a request


@pytest.mark.parametrize(("voltage_mv", "found"), [(60_000, NOTHING), (60_001, ("voltage_not_asked_for", 1_000))])
def test_voltage_without_a_request(voltage_mv: int, found: tuple[str, int]) -> None:
    car = Car()
    car.open()
    has_voltage(car, voltage_mv)
    assert car.found(look=lambda: car.look(powered=False)) == found
    assert car.found(1.5, look=lambda: car.look(powered=True)) == NOTHING


@pytest.mark.parametrize(("powered", "ending"), [(True, False), (False, True), (True, True)])
def test_voltage_may_remain_for_a_time_after_it_was_requested(powered: bool, ending: bool) -> None:
    car = Car()
    car.open()
    assert car.look(powered=powered, ending=ending) == ""
    assert car.found(8.0, look=lambda: car.look(powered=False)) == ("voltage_not_asked_for", 5_000 + STEP_MS + 1_000)


def test_while_the_output_is_switched_off_nothing_of_it_is_found() -> None:
    car = Car()
    has_voltage(car, 500_000)
    assert car.found(look=lambda: car.look(powered=False, ending=True)) == NOTHING


# -- what leaves the vehicle


@together(
    ("leaving_w", "allowed_w", "tolerance_w", "found_ms"),
    [
        (110, 10, 100, None),
        (111, 10, 100, 2_000),
        (11, 10, 0, None),
        (12, 10, 0, 1_000),
        (10_000, 0, 100, 500),
        (-(10**8), 0, 100, None),
    ],
)
def test_more_than_agreed_leaves_the_vehicle(
    leaving_w: int, allowed_w: int, tolerance_w: int, found_ms: int | None
) -> None:
    watch = Watch(BATTERY, sensor_s=1.0, contactor_s=0.5)
    found = [
        ms
        for ms in range(0, 5_000, STEP_MS)
        if watch.overdrawn(leaving_w, allowed_w, tolerance_w, seconds=2.0, now=ms / 1000)
    ]
    assert (found[0] if found else None) == found_ms


def test_a_lower_agreement_is_followed_for_three_quarters_of_the_time() -> None:
    watch = Watch(BATTERY, sensor_s=1.0, contactor_s=0.5)
    assert not watch.overdrawn(10_000, 10_000, 100, seconds=4.0, now=9.9)
    found = [
        ms for ms in range(0, 8_000, STEP_MS) if watch.overdrawn(10_000, 0, 100, seconds=4.0, now=10.0 + ms / 1000)
    ]
    assert 4_000 <= found[0] <= 4_000 + 2 * STEP_MS


LEAST_V, MOST_V = "evse_minimum_voltage", "evse_maximum_voltage"
LEAST_A, MOST_A = "evse_minimum_current", "evse_maximum_current"
LEAST_OUT, MOST_OUT = "evse_minimum_discharge_current", "evse_maximum_discharge_current"


@pytest.mark.parametrize(
    ("limits", "cause", "field", "error"),
    [
        ({MOST_A: -1}, "evse_limit_negative", MOST_A, rules.INCOMPATIBLE),
        ({MOST_V: 0}, "evse_limits_contradict", MOST_V, rules.WRONG_VOLTAGE),
        ({LEAST_A: 2, MOST_A: 1}, "evse_limits_contradict", LEAST_A, rules.INCOMPATIBLE),
        ({LEAST_OUT: -2, MOST_OUT: 1}, "evse_limits_contradict", LEAST_OUT, rules.INCOMPATIBLE),
    ],
)
def test_limits_that_cannot_be_right(limits: dict[str, int], cause: str, field: str, error: str) -> None:
    assert rules.limits(limits) == rules.Implausible(cause, field, limits[field], error)


@together(
    "limits",
    [
        {},
        {LEAST_V: 0, MOST_V: 1},
        {LEAST_A: 1, MOST_A: 1},
        {LEAST_A: 1, MOST_A: 0},  # a pause
        {MOST_A: 0},
        {LEAST_OUT: -1, MOST_OUT: 1},
        {LEAST_OUT: 1, MOST_OUT: -2},
    ],
)
def test_limits_that_can_be_right(limits: dict[str, int]) -> None:
    assert rules.limits(limits) is None


VOLTAGE, CURRENT = "evse_present_voltage", "evse_present_current"
OUTSIDE_MV, OUTSIDE_MA = "evse_voltage_out_of_range", "evse_current_out_of_range"


@together(
    ("mv", "ma", "most_mv", "found"),
    [
        (-5_000, -5_000, None, None),
        (-5_001, None, None, (OUTSIDE_MV, VOLTAGE, -5_001, rules.WRONG_VOLTAGE)),
        (0, -5_001, None, (OUTSIDE_MA, CURRENT, -5_001, rules.WRONG_CURRENT)),
        (0, None, 400_000, None),
        (440_000, None, 400_000, None),
        (440_001, None, 400_000, (OUTSIDE_MV, VOLTAGE, 440_001, rules.WRONG_VOLTAGE)),
        (440_001, None, None, None),
        (440_001, None, 0, (OUTSIDE_MV, VOLTAGE, 440_001, rules.WRONG_VOLTAGE)),
    ],
)
def test_what_flows_has_its_range(mv: int, ma: int | None, most_mv: int | None, found: tuple[Any, ...] | None) -> None:
    current = None if ma is None else (CURRENT, ma)
    judged = rules.present(voltage=(VOLTAGE, mv), current=current, max_voltage_mv=most_mv)
    assert judged == (None if found is None else rules.Implausible(*found))


def test_times_of_a_vehicle() -> None:
    """It looks more often than any of its times."""
    assert rules.LOOK_S == 0.25
    assert min(rules.OVER_VOLTAGE_S, rules.BEARS_S, rules.FOLLOW_S, rules.EXCESS_S, rules.UNASKED_S) > rules.LOOK_S
