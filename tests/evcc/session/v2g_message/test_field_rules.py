"""What real chargers did while real vehicles went on, and what our vehicle does about it: nothing ends its session."""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from evcc.session.ports import CloseContactor
from evcc.session.settings import SessionConfig
from tests.evcc.session.d2.charger import DC, Bench2
from tests.evcc.session.din.charger import DinBench
from tests.evcc.session.message_bench import SHORT, MessageBench
from v2g.iso15118.d2 import timing as d2_timing
from v2g.iso15118.din import timing as din_timing
from v2g.iso15118.engine.message_timing import SLOW_PRE_CHARGE_S
from v2g.iso15118.engine.physical_values import Rounding, milliamperes

pytestmark = pytest.mark.requirement("R197")

BENCHES: Final[dict[str, Callable[[SessionConfig], MessageBench]]] = {
    "din": DinBench,
    "2": lambda config: Bench2(replace(config, authorization=DC.authorization, services=DC.services)),
}
EDITIONS: Final = pytest.mark.parametrize("edition", BENCHES)
STRICT: Final = replace(
    SHORT,
    timers_2=d2_timing.Timing(tolerate_slow_chargers=False),
    timers_din=din_timing.Timing(tolerate_slow_chargers=False),
)
DEMAND: Final = "CurrentDemandReq"


def quirks(bench: MessageBench) -> list[str]:
    return [each["quirk"] for each in bench.seen("session", "quirk_tolerated")]


def falling(bench: MessageBench, begin_v: float, end_v: float, seconds: float) -> None:
    """From the first PreChargeReq on the output falls to `end_v`, whatever the vehicle asks for, and stays there."""
    bench.run_to("PreChargeReq")
    began = bench.now

    def step() -> None:
        if bench.unanswered and type(bench.unanswered[0]).__name__ != "PreChargeReq":
            bench.charger.ongoing.clear()
            MessageBench.step(bench)
            return
        bench.charger.ongoing["PreChargeReq"] = 1
        passed = min(1.0, (bench.now - began) / seconds)
        bench.charger.voltage = begin_v + (end_v - begin_v) * passed
        MessageBench.step(bench)

    bench.step = step  # type: ignore[method-assign]


@EDITIONS
def test_an_output_that_falls_from_the_cable_checks_voltage_is_waited_for(edition: str) -> None:
    """Nothing above the battery's voltage ends the session before the contactor closes."""
    bench = BENCHES[edition](SHORT)
    battery_v = bench.model.state.voltage_mv / 1000
    assert bench.model.state.max_voltage_mv * 1.1 < 900_000
    falling(bench, 900.0, battery_v, 5.0)
    bench.run()
    assert bench.closed == "finished"
    assert CloseContactor() in bench.commands
    assert quirks(bench) == []


@EDITIONS
def test_a_slow_fall_gets_more_time_than_the_text_only_while_it_moves(edition: str) -> None:
    battery_v = BENCHES[edition](SHORT).model.state.voltage_mv / 1000
    rows = (
        (SHORT, battery_v, 12.0, "finished", 0.0),
        (SHORT, 900.0, 12.0, "pre_charge_timeout", 7.0),  # it does not move
        (SHORT, battery_v + 50, 8.5, "pre_charge_timeout", 10.5),  # it moves, and stops
        (SHORT, battery_v, 60.0, "pre_charge_timeout", SLOW_PRE_CHARGE_S),
        (STRICT, battery_v, 12.0, "pre_charge_timeout", 7.0),
    )
    for config, end_v, seconds, reason, after_s in rows:
        bench = BENCHES[edition](config)
        falling(bench, 900.0, end_v, seconds)
        began = bench.now
        bench.run(lambda bench=bench: CloseContactor() in bench.commands)  # type: ignore[misc]
        assert bench.closed == ("" if reason == "finished" else reason)
        if after_s:
            assert bench.now - began == pytest.approx(after_s, abs=1.1)
        assert ("slow_pre_charge" in quirks(bench)) == (bench.now - began > 7.2)


@EDITIONS
def test_an_output_that_falls_past_the_battery_first_is_waited_for(edition: str) -> None:
    """It is discharged after the cable check, and rises again."""
    bench = BENCHES[edition](SHORT)
    battery_v = bench.model.state.voltage_mv / 1000
    falling(bench, battery_v - 30, 0.0, 5.0)
    began = bench.now
    bench.run(lambda: bench.now >= began + 5.0)
    falling(bench, 0.0, battery_v, 5.0)
    bench.run()
    assert (bench.closed, quirks(bench)) == ("finished", ["slow_pre_charge"])
    assert CloseContactor() in bench.commands


@EDITIONS
def test_a_report_of_the_pre_charge_says_nothing_of_the_closed_circuit(edition: str) -> None:
    """The inlet has the battery's voltage first, the charger's report lags behind."""
    bench = BENCHES[edition](SHORT)
    bench.run_to("PreChargeReq")
    bench.charger.ongoing["PreChargeReq"] = 3
    bench.charger.voltage = 900.0
    bench.step()
    bench.charger.voltage = bench.model.state.voltage_mv / 1000
    bench.run()
    assert bench.closed == "finished"


def limited(edition: str, tolerance_a: int | None) -> MessageBench:
    """Return a vehicle in the loop of a charger that offers 50 W, gives 10 A, and declares this tolerance."""
    bench = BENCHES[edition](SHORT)
    bench.charger.max_power_w = 50
    values, limits = bench.charger.values, bench.charger.limits
    declared = None if tolerance_a is None else values.current(tolerance_a * 1000, Rounding.DOWN)
    bench.charger.limits = lambda: {**limits(), "evse_current_regulation_tolerance": declared}  # type: ignore[method-assign]
    bench.run_to(DEMAND)

    def drive() -> None:
        bench.charger.voltage, bench.charger.current = bench.model.state.voltage_mv / 1000, 10.0

    bench.drive = drive  # type: ignore[method-assign]
    until = bench.now + 10
    bench.run(lambda: bench.now > until)
    return bench


@EDITIONS
@pytest.mark.parametrize(
    ("tolerance_a", "closed"), [(None, "power_not_obeyed"), (2, "power_not_obeyed"), (9, ""), (10, "")]
)
def test_a_declared_tolerance_of_the_current_counts(edition: str, tolerance_a: int | None, closed: str) -> None:
    bench = limited(edition, tolerance_a)
    assert bench.closed == closed
    assert milliamperes(bench.requests[-2].ev_target_current) < 200


@EDITIONS
def test_no_declaration_covers_a_charger_that_gives_what_it_likes(edition: str) -> None:
    bench = BENCHES[edition](SHORT)
    values, limits = bench.charger.values, bench.charger.limits
    wide = values.current(500_000, Rounding.DOWN)
    bench.charger.limits = lambda: {**limits(), "evse_current_regulation_tolerance": wide}  # type: ignore[method-assign]
    bench.charger.max_power_w = 50
    bench.run_to(DEMAND)

    def drive() -> None:
        bench.charger.voltage, bench.charger.current = bench.model.state.voltage_mv / 1000, 12.0

    bench.drive = drive  # type: ignore[method-assign]
    bench.run()
    assert bench.closed == "power_not_obeyed"


@EDITIONS
@pytest.mark.parametrize(("seconds", "closed"), [(3.0, ""), (4.9, ""), (5.1, "message_timeout")])
def test_a_late_answer_keeps_the_current_of_the_request_before(edition: str, seconds: float, closed: str) -> None:
    """A vehicle that asks for less goes on as long as it waits: the charger has not heard it."""
    bench = BENCHES[edition](SHORT)
    bench.run_to(DEMAND)
    while not bench.charger.current:
        bench.step()
    bench.run_to(DEMAND)
    bench.charger.max_power_w = 5_000
    offered = bench.charger.values.power(5_000, Rounding.DOWN)
    bench.altered(evse_maximum_power_limit=offered)
    bench.run_to(DEMAND)  # it asks for less
    before = bench.charger.current
    assert milliamperes(bench.requests[-1].ev_target_current) < before * 500
    bench.pass_time(seconds)
    assert bench.closed == closed
    if not closed:
        bench.limit_w = 5_000
        bench.altered(evse_maximum_power_limit=offered)
        bench.charger.current = 12.0
        bench.battery()
        bench.run_to(DEMAND)
        assert "slow_current_demand" in quirks(bench)


@EDITIONS
def test_once_answered_a_charger_has_to_follow(edition: str) -> None:
    bench = BENCHES[edition](SHORT)
    bench.run_to(DEMAND)
    while not bench.charger.current:
        bench.step()
    held = bench.charger.current
    offered = bench.charger.values.power(5_000, Rounding.DOWN)

    def step() -> None:
        if bench.unanswered and type(bench.unanswered[0]).__name__ == DEMAND:
            bench.charger.current = held
            bench.battery()
            bench.altered(evse_maximum_power_limit=offered)
        else:
            bench.wait()

    bench.step = step  # type: ignore[method-assign]
    bench.run()
    assert bench.closed == "power_not_obeyed"
