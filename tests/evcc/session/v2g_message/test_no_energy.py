"""A charge without current: named in 30 s, with whose limit it is, and over after the configured time."""

from typing import Final

import pytest
from msgspec.structs import replace

from evcc.session.ports import PresentVoltage
from evcc.session.settings import ProgramStep, TimingConfig
from tests.evcc.session.d2.charger import AC, DC, Bench2
from tests.evcc.session.din.charger import DinBench
from tests.evcc.session.message_bench import SHORT, MessageBench

pytestmark = pytest.mark.requirement("R15")

MINUTE: Final = TimingConfig(no_energy_s=60, loop_pause_s=0.25)
DIN: Final = replace(SHORT, timing=MINUTE)


def made(edition: str) -> MessageBench:
    if edition == "din":
        return DinBench(DIN)
    return Bench2(replace(DC if edition == "2-dc" else AC, timing=MINUTE))


def in_loop(bench: MessageBench) -> None:
    loops = ("CurrentDemandReq", "ChargingStatusReq")
    bench.run(lambda: bool(bench.unanswered) and type(bench.unanswered[0]).__name__ in loops)


@pytest.mark.parametrize(("edition", "reason"), [("din", "finished"), ("2-dc", "paused"), ("2-ac", "paused")])
def test_a_charger_that_allows_nothing_is_left_after_the_time(edition: str, reason: str) -> None:
    bench = made(edition)
    bench.charger.max_power_w = 0
    if isinstance(bench, Bench2):
        bench.charger.ac_ma = 0
    in_loop(bench)
    began = bench.now
    bench.run()
    assert bench.closed == reason
    assert bench.now - began == pytest.approx(60, abs=2)
    (event,) = bench.seen("power", "no_energy")
    assert event["limited_by"] == "charger"
    assert event["advice"]
    assert bench.seen("stop", "stopping")[0]["cause"] == "no_energy"


@pytest.mark.parametrize("edition", ["din", "2-dc"])
def test_a_battery_that_takes_nothing_is_named_as_the_cause(edition: str) -> None:
    bench = made(edition)

    def report() -> None:
        bench.fact(replace(bench.model.state, max_charge_w=0, max_charge_ma=0))
        bench.fact(PresentVoltage(round(bench.charger.voltage * 1000)))

    bench.report = report  # type: ignore[method-assign]
    in_loop(bench)
    bench.run()
    assert bench.seen("power", "no_energy")[0]["limited_by"] == "vehicle"


@pytest.mark.parametrize("edition", ["din", "2-dc", "2-ac"])
def test_a_short_lack_of_energy_is_waited_for(edition: str) -> None:
    bench = made(edition)
    in_loop(bench)
    power, bench.limit_w = bench.limit_w, 0
    if isinstance(bench, Bench2):
        ac_ma, bench.charger.ac_ma = bench.charger.ac_ma, 0
    bench.run(lambda: bool(bench.seen("power", "no_energy")))
    bench.limit_w = power
    if isinstance(bench, Bench2):
        bench.charger.ac_ma = ac_ma
    bench.run()
    assert bench.closed == "finished"


def test_a_wait_of_the_program_is_no_lack() -> None:
    wait = ProgramStep(do="wait", for_s=90)
    bench = DinBench(replace(DIN, program=(wait, *DIN.program)))
    bench.run()
    assert bench.closed == "finished"
    assert not bench.seen("power", "no_energy")
