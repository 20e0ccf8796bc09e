"""A charge without energy: the charger names whose limit it is after 30 s, and ends it after the configured time."""

import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session import ports
from secc.session.basic_charging import Phase
from secc.session.config import EnergyService, NoEnergy, SeccConfig
from tests.secc.session.basic_charging import ACCEPTED, C, Desk
from tests.secc.session.bench import Bench, number
from tests.secc.session.d2.bench import CONFIG, Iso2Bench
from tests.secc.session.din.bench import CONFIG as DIN
from tests.secc.session.din.bench import DinBench
from v2g.energy.limits import OPERATOR, SITE, Limit, Setpoint
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.engine.sequence import State

pytestmark = pytest.mark.requirement("R15", "R24")

SHORT: Final = NoEnergy(vehicle_s=60, charger_s=90)
NOTHING: Final = ports.GridChanged((Limit(source=SITE, charge_w=0, discharge_w=0, version=7),))
AGAIN: Final = ports.GridChanged((Limit(source=SITE, charge_w=20_000, discharge_w=0, version=8),))
EVERY: Final = ("din", "2-dc", "2-ac", "20-dc", "20-ac")


class Charging:
    """A vehicle in the charge loop, in any edition."""

    def __init__(self, kind: str, pki: PkiTree, rules: NoEnergy = SHORT) -> None:
        now = time.time_ns() // 1_000_000
        self.name = "CurrentDemandReq"
        self.bench: Any
        match kind:
            case "din":
                self.bench = DinBench(pki, now, replace(DIN, no_energy=rules))
            case "2-dc" | "2-ac":
                self.bench = Iso2Bench(pki, now, replace(CONFIG, no_energy=rules), alternating=kind == "2-ac")
            case _:
                service = {"20-dc": EnergyService.DC, "20-ac": EnergyService.AC}.get(kind, EnergyService.DC_BPT)
                config = SeccConfig(services=(service,), no_energy=rules)
                self.bench = Bench(pki, now, config, pilot=PilotState.C)
                self.bench.selection = (int(service), 0, service is EnergyService.DC_BPT)
        alternating = kind.endswith("ac")
        if alternating:
            self.name = "ChargingStatusReq" if kind == "2-ac" else "AC_ChargeLoopReq"
        elif kind.startswith("20"):
            self.name = "DC_ChargeLoopReq"
        self.bench.reach(State.AC_CHARGE_LOOP if alternating else State.DC_CHARGE_LOOP)

    def loop(self, seconds: float, **changes: Any) -> None:
        """Repeat the request for so long, or until the charger refuses or closes."""
        end = self.bench.now + seconds
        while self.bench.now < end and not self.bench.reason:
            self.bench.send(self.bench.ask(self.name, **changes))
            self.bench.pass_time(1.5)

    @property
    def named(self) -> list[str]:
        return [each["limited_by"] for each in self.bench.events("no_energy")]

    @property
    def asked_to_end(self) -> bool:
        return "Terminate" in [each["notification"] for each in self.bench.events("notice")]


def wants_nothing(charging: Charging) -> dict[str, Any]:
    bench = charging.bench
    if isinstance(bench, Bench):
        return {"cl_req_control_mode": bench.loop_mode(ev_maximum_charge_power=number(0))}
    return {"ev_target_current": bench.amperes(0)}


@pytest.mark.parametrize("kind", ["din", "2-dc", "20-dc"])
def test_a_vehicle_that_asks_for_nothing_is_named_and_asked_to_end(kind: str, pki: PkiTree) -> None:
    charging = Charging(kind, pki)
    nothing = wants_nothing(charging)
    charging.loop(28, **nothing)
    assert charging.named == []
    charging.loop(4, **nothing)
    (event,) = charging.bench.events("no_energy")
    assert event["limited_by"] == "vehicle"
    assert event["advice"]
    charging.loop(24, **nothing)
    assert not charging.asked_to_end
    charging.loop(6, **nothing)
    assert charging.asked_to_end
    charging.loop(64, **nothing)
    assert charging.bench.reason == "no_energy"
    assert charging.named == ["vehicle"]
    assert charging.bench.commands(ports.TransactionEnded)[-1].stopped_reason == "Timeout"


def test_a_limit_below_the_least_that_a_vehicle_can_draw_withholds_energy(pki: PkiTree) -> None:
    """460 W of each of three phases."""
    charging = Charging("20-ac", pki)
    charging.bench.fact(ports.Measured(230_000, 0))
    for charge_w, version, named in ((1_380, 7, []), (1_379, 8, ["site"])):
        charging.bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=charge_w, discharge_w=0, version=version),)))
        charging.loop(32)
        assert charging.named == named


@pytest.mark.parametrize("kind", EVERY)
def test_a_limit_of_the_charger_is_named_and_waited_for_longer(kind: str, pki: PkiTree) -> None:
    charging = Charging(kind, pki)
    charging.bench.fact(ports.Measured(400_000 if charging.name != "ChargingStatusReq" else 230_000, 0))
    charging.bench.fact(NOTHING)
    charging.loop(32)
    assert charging.named == ["site"]
    assert "site" in charging.bench.events("no_energy")[0]["advice"]
    charging.loop(52)
    assert not charging.asked_to_end
    charging.loop(10)
    assert charging.asked_to_end
    charging.loop(64)
    assert charging.bench.reason == "no_energy"


def test_a_vehicle_that_could_feed_back_but_wants_to_charge_waits_for_charge(pki: PkiTree) -> None:
    """The site permits to feed back, which nobody has signed: its limit of the draw is the one to be raised."""
    charging = Charging("20-dc-bpt", pki)
    charging.bench.fact(ports.Measured(400_000, 0))
    charging.bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=0, discharge_w=9_000, version=7),)))
    charging.loop(32)
    assert charging.named == ["site"]
    assert charging.bench.commands(ports.TransactionUpdated)[-1].charging_state == "SuspendedEVSE"


def states(charging: Charging) -> list[str]:
    return [each.charging_state for each in charging.bench.commands(ports.TransactionUpdated)]


@pytest.mark.parametrize("kind", EVERY)
def test_the_csms_knows_when_a_limit_of_its_side_withholds_the_energy(kind: str, pki: PkiTree) -> None:
    """E02: the transaction says Charging again before energy flows."""
    charging = Charging(kind, pki)
    charging.loop(1)
    charging.bench.fact(ports.Measured(230_000 if charging.name == "ChargingStatusReq" else 400_000, 0))
    charging.bench.fact(NOTHING)
    charging.loop(28)
    assert states(charging) == ["Charging"]
    charging.loop(4)
    assert states(charging) == ["Charging", "SuspendedEVSE"]
    charging.loop(8)
    before = len(charging.bench.actions)
    charging.bench.fact(AGAIN)
    charging.loop(3)
    assert states(charging) == ["Charging", "SuspendedEVSE", "Charging"]
    after = [type(each) for each in charging.bench.actions[before:]]
    outputs = {ports.SetOutput, ports.SetAcOutput}.intersection(after)
    assert all(after.index(ports.TransactionUpdated) < after.index(each) for each in outputs)
    assert outputs


@pytest.mark.parametrize("kind", EVERY)
def test_the_csms_knows_that_nothing_is_offered_to_a_vehicle_that_ignores_a_stop(kind: str, pki: PkiTree) -> None:
    """ChargingStateEnumType: SuspendedEVSE, as the EVSE offers no energy; at once, and once."""
    charging = Charging(kind, pki)
    charging.loop(1)
    charging.bench.fact(ports.StopRequested("remote"))
    assert states(charging) == ["Charging", "SuspendedEVSE"]
    charging.loop(40)
    charging.bench.fact(AGAIN)
    charging.loop(10)
    assert states(charging) == ["Charging", "SuspendedEVSE"]


@pytest.mark.parametrize("kind", ["din", "2-dc", "20-dc"])
def test_the_csms_knows_when_the_vehicle_takes_none(kind: str, pki: PkiTree) -> None:
    charging = Charging(kind, pki)
    charging.loop(32, **wants_nothing(charging))
    assert states(charging) == ["Charging", "SuspendedEV"]
    charging.bench.fact(NOTHING)
    charging.loop(4, **wants_nothing(charging))
    assert states(charging) == ["Charging", "SuspendedEV"], "nothing flows in between"
    charging.bench.fact(AGAIN)
    charging.loop(3)
    assert states(charging) == ["Charging", "SuspendedEV", "Charging"]


@pytest.mark.parametrize("kind", EVERY)
def test_without_a_time_it_waits_for_ever(kind: str, pki: PkiTree) -> None:
    charging = Charging(kind, pki, NoEnergy(vehicle_s=None, charger_s=None))
    charging.bench.fact(NOTHING)
    charging.loop(150)
    assert charging.named == ["site"]
    assert not charging.asked_to_end


@pytest.mark.parametrize("kind", ["din", "2-dc", "20-dc"])
def test_energy_between_begins_the_time_anew(kind: str, pki: PkiTree) -> None:
    charging = Charging(kind, pki)
    nothing = wants_nothing(charging)
    for _ in range(3):
        charging.loop(40, **nothing)
        charging.loop(3)
    assert charging.named == ["vehicle"] * 3
    assert not charging.asked_to_end


@pytest.mark.parametrize("kind", ["din", "2-dc"])
def test_each_side_has_its_own_time(kind: str, pki: PkiTree) -> None:
    charging = Charging(kind, pki)
    nothing = wants_nothing(charging)
    charging.loop(45, **nothing)
    charging.bench.fact(NOTHING)
    charging.loop(45, **nothing)
    assert charging.named == ["vehicle", "site"]
    charging.bench.fact(AGAIN)
    charging.loop(45, **nothing)
    assert not charging.asked_to_end


@pytest.mark.parametrize("kind", EVERY)
def test_a_set_point_of_nothing_is_an_order_that_the_csms_sees(kind: str, pki: PkiTree) -> None:
    """The EVSE offers no energy for so long (SuspendedEVSE), which is no failure and ends nothing."""
    charging = Charging(kind, pki)
    charging.loop(1)
    charging.bench.fact(ports.Measured(230_000 if kind.endswith("ac") else 400_000, 0))
    charging.bench.fact(ports.SetpointChanged(Setpoint(power_w=0, source="csms")))
    charging.loop(28)
    assert states(charging) == ["Charging"]
    charging.loop(122)
    assert states(charging) == ["Charging", "SuspendedEVSE"]
    assert charging.named == []
    assert not charging.asked_to_end
    charging.bench.fact(ports.SetpointChanged(Setpoint(power_w=9_000, source="csms")))
    charging.loop(3)
    assert states(charging) == ["Charging", "SuspendedEVSE", "Charging"]


def test_a_limit_that_remains_when_an_order_ends_is_waited_for_from_then_on(pki: PkiTree) -> None:
    charging = Charging("20-dc", pki)
    charging.bench.fact(ports.Measured(400_000, 0))
    charging.bench.fact(NOTHING)
    charging.bench.fact(ports.SetpointChanged(Setpoint(power_w=0, source="csms")))
    charging.loop(120)
    charging.bench.fact(ports.SetpointChanged(None))
    charging.loop(28)
    assert charging.named == []
    charging.loop(4)
    assert charging.named == ["site"]
    assert states(charging) == ["Charging", "SuspendedEVSE"]


def test_a_full_bidirectional_vehicle_waits_for_a_discharge(pki: PkiTree) -> None:
    """It permits discharge, which nobody has signed: the charger's side withholds energy."""
    charging = Charging("20-bpt", pki)
    charging.bench.fact(ports.GridChanged((Limit(source=OPERATOR, charge_w=40_000, discharge_w=20_000, version=5),)))
    charging.loop(80, **wants_nothing(charging))
    assert charging.named == ["signature"]
    assert not charging.asked_to_end


def test_an_ac_vehicle_that_takes_nothing_though_it_may_is_full(pki: PkiTree) -> None:
    charging = Charging("2-ac", pki)
    charging.bench.fact(ports.Measured(230_000, 0))
    charging.loop(150)
    assert charging.named == []
    assert not charging.asked_to_end


def basic(rules: NoEnergy) -> Desk:
    desk = Desk(no_energy=rules)
    desk.charging()
    desk.fact(NOTHING)
    desk.fact(ports.ContactorState(closed=False))
    return desk


def test_basic_charging_that_is_held_ends_after_the_time_of_the_charger() -> None:
    desk = basic(SHORT)
    desk.run(31)
    assert desk.session.phase is Phase.HELD
    assert [each.data["limited_by"] for each in desk.seen("no_energy")] == ["site"]
    desk.run(55)
    assert not desk.of(ports.TransactionEnded)
    desk.run(10)
    assert [each.stopped_reason for each in desk.of(ports.TransactionEnded)] == ["Timeout"]
    assert desk.session.phase is Phase.ENDED


@pytest.mark.parametrize("ends", [lambda desk: desk.fact(AGAIN), lambda desk: desk.fact(ports.StopRequested("remote"))])
def test_basic_charging_goes_on_when_energy_is_permitted_again(ends: Callable[[Desk], Any]) -> None:
    desk = basic(SHORT)
    desk.run(80)
    ends(desk)
    desk.run(300)
    assert "no_energy" not in [each.reason for each in desk.of(ports.CloseJournal)]


def test_basic_charging_does_not_end_a_vehicle_that_stays_in_b() -> None:
    desk = Desk(no_energy=SHORT)
    desk.fact(ACCEPTED)
    desk.run(1_000)
    assert not desk.seen("no_energy")
    assert not desk.of(ports.TransactionEnded)
    desk.pilot(C)
    assert desk.of(ports.CloseContactors)
