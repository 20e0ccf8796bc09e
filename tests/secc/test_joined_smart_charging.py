"""What a CSMS wants of power is what a session of ISO 15118-20 does: the station's core and the session's, in memory.

They are joined as the charger joins them: allowances through what is known of the grid, needs and plans back.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from secc.energy_manager.grid import SiteGrid
from secc.session import ports
from secc.session.config import ControlMode, EnergyService, SeccConfig, SignedDischargeConfig, services_of
from secc.session.needs import PROFILE_SET
from secc.session.terms import PriceTerms
from tests.secc.session.bench import Bench, number
from tests.secc.session.conftest import make_bench  # noqa: F401  # a fixture
from tests.station.bench import Bench as StationBench
from tests.station.profiles import profile, put, transaction
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule
from v2g.iso15118.engine.sequence import State
from v2g.ocpp.times import format_time
from v2g_station.blocks.smart_charging.ev_needs import plan_schedule
from v2g_station.blocks.smart_charging.external_limits import ExternalLimit
from v2g_station.blocks.smart_charging.high_level import (
    NeedsReported,
    OfferSchedules,
    PlanReported,
    RenegotiateServices,
)
from v2g_station.blocks.smart_charging.local_control import SetPower
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.smart_charging.smart_charging import AllowEnergyTransfer, AnnouncePrices, ProfileTaken
from v2g_station.kernel.layout import EvseLayout

Make = Callable[..., Bench]
V2X = EvseLayout(max_power_w=20_000, max_discharge_w=10_000)
UNSIGNED = SignedDischargeConfig(offered=False, required=False)
DC, DC_BPT = 2, 6


class Charger:
    """Both cores, and a vehicle that begins to charge. `mode` is its control mode, `service` what it selects."""

    def __init__(self, make: Make, *, mode: ControlMode = ControlMode.DYNAMIC, service: int = DC_BPT) -> None:
        variables = {"TxCtrlr.TxStartPoint": "EVConnected"}
        self.station = StationBench("2.1", evses=(V2X,), variables=variables)
        self.station.plug()
        self.station.present()
        self.grid = SiteGrid(charge_w=20_000, discharge_w=10_000)
        config = SeccConfig(
            services=(EnergyService.DC_BPT, EnergyService.DC),
            control_modes=(mode,),
            signed_discharge=UNSIGNED,
            prices=PriceTerms(from_back_end=True),
        )
        self.session = make(config, limits=self.grid.limits, tariff=None, setpoint=None, can_plan=True)
        self.session.selection = (service, 0, False)
        self.session.scheduled = mode is ControlMode.SCHEDULED
        self.seen = 0
        self.session.auto[ports.ReportChargingNeeds] = self._needs
        self.session.auto[ports.ReportChargingPlan] = self._plan
        self.session.auto.pop(ports.TransactionEnded, None)
        self.answer: ports.ChargingNeedsAnswered | None = None

    def _needs(self, command: ports.ReportChargingNeeds) -> Any:
        self.answer = None
        self.station.fact(NeedsReported(evse_id=1, needs=command.needs))
        self.carry_out()
        return self.answer

    def _plan(self, command: ports.ReportChargingPlan) -> None:
        schedule = plan_schedule(command.steps, command.duration_s)
        self.station.fact(PlanReported(evse_id=1, schedule=schedule, dynamic=command.dynamic))

    def carry_out(self) -> None:
        """What the station wants gets to the session, as `Charger` and `EvseController` pass it on."""
        wanted, self.station.commands[:] = list(self.station.commands), []
        for command in wanted:
            facts: Any = ()
            before = self.session.session.schedule_limits(self.session.utc_ms)
            match command:
                case ProfileLimits() as limits:
                    facts = self.grid.profiles(limits)
                case AnnouncePrices():
                    facts = self.grid.prices(command)
                case ProfileTaken():
                    facts = (command,)
                case SetPower(power_w=power_w):
                    facts = self.grid.local(power_w)
                case AllowEnergyTransfer(modes=modes):
                    facts = (ports.EnergyTransferAllowed(services_of(modes)),)
                case OfferSchedules():
                    self.answer = ports.ChargingNeedsAnswered(PROFILE_SET)
                case RenegotiateServices():
                    self.answer = ports.ChargingNeedsAnswered("Rejected")
            for fact in facts:
                self.session.fact(fact)
            if before and self.session.session.schedule_limits(self.session.utc_ms) != before:
                self.session.fact(ports.RenegotiationRequested())

    def csms(self, action: str, **fields: Any) -> Any:
        """The CSMS asks something of the station; the session receives it."""
        answer = self.station.ask(action, **fields)
        self.carry_out()
        return answer

    def own(self, period: dict[str, Any], **more: Any) -> None:
        """The CSMS sets a profile of the transaction."""
        periods = more.pop("periods", [{"startPeriod": 0} | period])
        more |= {"purpose": "TxProfile", "transactionId": transaction(self.station), "periods": periods}
        assert put(self.station, **more) == "Accepted"
        self.carry_out()

    def charge(self) -> None:
        """The vehicle begins; its needs are answered by a profile of 9 kW."""
        self.station.answers["NotifyEVChargingNeeds"] = self._profile_at_once
        self.session.reach(State.DC_CHARGE_LOOP)
        self.session.go("DC_ChargeLoopReq")
        self.station.flow()
        self.station.clear()

    def _profile_at_once(self, _: Any) -> dict[str, Any]:
        self.station.answers["NotifyEVChargingNeeds"] = {"status": "Accepted"}
        return {"status": "NoChargingProfile"}

    def loop(self, **mode: Any) -> Any:
        """One charge loop; return its response."""
        request = self.session.ask("DC_ChargeLoopReq")
        if mode:
            request = msgspec.structs.replace(request, cl_req_control_mode=self.session.loop_mode(**mode))
        return self.session.send(request)

    @property
    def power(self) -> tuple[int, int]:
        """What the hardware may do now: W into and out of the vehicle."""
        output = self.session.commands(ports.SetOutput)[-1]
        return output.charge_w, output.discharge_w


@pytest.fixture
def dynamic(make_bench: Make) -> Charger:  # noqa: F811
    """A dynamic vehicle that charges."""
    found = Charger(make_bench)
    found.charge()
    return found


@pytest.fixture
def scheduled(make_bench: Make) -> Charger:  # noqa: F811
    """A vehicle under a schedule that charges."""
    found = Charger(make_bench, mode=ControlMode.SCHEDULED)
    found.charge()
    return found


def test_priority_raises_what_the_vehicle_may_draw(dynamic: Charger) -> None:
    """K21, in the middle of a session."""
    dynamic.own({"limit": 6000.0})
    assert dynamic.power == (6000, 0)
    put(dynamic.station, 0, number=9, purpose="PriorityCharging", limit=15_000.0)
    dynamic.csms("UsePriorityCharging", transactionId=transaction(dynamic.station), activate=True)
    assert dynamic.power == (15_000, 0)
    limit = dynamic.loop().cl_res_control_mode.evse_maximum_charge_power
    assert limit.value * 10**limit.exponent == 15_000, "and the vehicle hears of it"
    dynamic.csms("UsePriorityCharging", transactionId=transaction(dynamic.station), activate=False)
    assert dynamic.power == (6000, 0)


def test_set_points_that_are_pushed_are_followed_at_once(dynamic: Charger) -> None:
    """Q04; and once nobody pushes any more the profile below holds (Q11, K28.FR.13)."""
    dynamic.own({"limit": 6000.0}, number=7)
    wanted = profile("TxProfile", transactionId=transaction(dynamic.station), chargingProfileKind="Dynamic",
                     stackLevel=1, schedule={"duration": 60},
                     periods=[{"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": 2000.0}])  # fmt: skip
    del wanted["chargingSchedule"][0]["startSchedule"]
    assert dynamic.csms("SetChargingProfile", evseId=1, chargingProfile=wanted)["status"] == "Accepted"
    assert dynamic.power == (2000, 0)
    dynamic.csms("UpdateDynamicSchedule", chargingProfileId=1, scheduleUpdate={"setpoint": -4000.0})
    assert dynamic.power == (0, 4000)
    dynamic.station.wait(61)
    dynamic.carry_out()
    assert dynamic.power == (6000, 0)


def test_an_energy_manager_leads_within_what_the_csms_allows(dynamic: Charger) -> None:
    """Q06: limits and set points of an external system, and local generation on top (K27)."""
    dynamic.own({"operationMode": "ExternalLimits", "limit": 8000.0, "dischargeLimit": -5000.0})
    dynamic.station.fact(ExternalLimit(source="SO", setpoint_w=-9000.0))
    dynamic.carry_out()
    assert dynamic.power == (0, 5000), "no more than the CSMS lets it"
    dynamic.station.fact(ExternalLimit(source="SO"))
    dynamic.own({"limit": 6000.0})
    dynamic.station.fact(ExternalLimit(source="EMS", generation=True, limit_w=3000.0))
    dynamic.carry_out()
    assert dynamic.power == (9000, 0)


def test_idle_and_offline_validity_reach_the_session(dynamic: Charger) -> None:
    """Q10, Q11."""
    dynamic.own({"operationMode": "Idle", "evseSleep": True})
    assert dynamic.power == (0, 0)
    dynamic.own({"limit": 5000.0})
    wish = {"operationMode": "CentralSetpoint", "setpoint": -3000.0}
    dynamic.own(wish, number=7, stackLevel=1, maxOfflineDuration=60)
    assert dynamic.power == (0, 3000)
    dynamic.station.drop()
    dynamic.station.wait(61)
    dynamic.carry_out()
    assert dynamic.power == (5000, 0)
    dynamic.station.back()
    dynamic.carry_out()
    assert dynamic.power == (0, 3000)


def test_needs_that_change_in_the_loop_reach_the_csms_and_its_answer_the_vehicle(dynamic: Charger) -> None:
    """K20, dynamic mode (TC_K_116)."""
    reported = len(dynamic.session.commands(ports.ReportChargingNeeds))
    dynamic.loop(departure_time=7100, ev_target_energy_request=number(29_000))
    dynamic.loop(departure_time=7090, ev_target_energy_request=number(28_000))
    reported = len(dynamic.session.commands(ports.ReportChargingNeeds))
    dynamic.station.clear()
    taken = {"target": 27_000, "maximum": 39_000, "minimum": -21_000}  # 1 kWh in the battery changes all of them
    dynamic.loop(departure_time=7090, **{f"ev_{name}_energy_request": number(wh) for name, wh in taken.items()})
    assert len(dynamic.session.commands(ports.ReportChargingNeeds)) == reported, "it has taken some: nothing new"
    dynamic.loop(departure_time=3000, ev_target_energy_request=number(35_000))
    needs = dynamic.station.expect("NotifyEVChargingNeeds")["chargingNeeds"]
    assert needs["v2xChargingParameters"]["evTargetEnergyRequest"] == 35_000
    assert needs["controlMode"] == "DynamicControl"
    dynamic.own({"limit": 14_000.0})
    assert dynamic.power == (14_000, 0)


def test_a_profile_makes_a_vehicle_under_a_schedule_agree_anew(scheduled: Charger) -> None:
    """K16: obeyed at once, then agreed on; the CSMS is not asked for what it has just decided (TC_K_113)."""
    assert scheduled.power[0] == 20_000
    scheduled.own({"limit": 7000.0})
    assert scheduled.power[0] == 7000, "K16.FR.11"
    assert scheduled.loop().evse_status.evse_notification.value == "ScheduleRenegotiation"
    session = scheduled.session
    scheduled.station.clear()
    session.send(session.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.ScheduleRenegotiation))
    response = session.go("ScheduleExchangeReq")
    scheduled.station.nothing("NotifyEVChargingNeeds")
    entries = response.scheduled_se_res_control_mode.schedule_tuple[0].charging_schedule.power_schedule
    (entry,) = entries.power_schedule_entries.power_schedule_entry
    assert entry.power.value * 10**entry.power.exponent == 7000
    session.send(session.ask("PowerDeliveryReq", ev_power_profile=session.profile(1, 5000)))
    plan = scheduled.station.expect("NotifyEVChargingSchedule", selectedChargingScheduleId=1)
    assert plan["chargingSchedule"]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 5000.0}]
    assert scheduled.loop().evse_status is None


def test_set_points_over_time_become_the_vehicles_schedule(scheduled: Charger) -> None:
    """Q03: in Scheduled mode the schedule goes to the vehicle."""
    from tests.station.bench import at

    periods = [
        {"startPeriod": 0, "operationMode": "CentralSetpoint", "setpoint": 5000.0},
        {"startPeriod": 1800, "operationMode": "CentralSetpoint", "setpoint": -4000.0},
    ]
    scheduled.station.utc_ms = scheduled.session.utc_ms
    scheduled.own({}, periods=periods, schedule={"startSchedule": at(scheduled.session.utc_ms)})
    assert scheduled.power == (5000, 0)
    session = scheduled.session
    session.send(session.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.ScheduleRenegotiation))
    first = session.go("ScheduleExchangeReq").scheduled_se_res_control_mode.schedule_tuple[0]

    def powers(schedule: Any) -> list[float]:
        found = schedule.power_schedule.power_schedule_entries.power_schedule_entry
        return [each.power.value * 10.0**each.power.exponent for each in found]

    assert powers(first.charging_schedule) == [5000, 0]
    assert powers(first.discharging_schedule) == [0, -4000]


@pytest.mark.requirement("R57")
def test_what_a_schedule_was_made_of_asks_for_no_other_one(scheduled: Charger) -> None:
    """K16: a period that begins as planned is no news to the vehicle; another profile is."""
    from tests.station.bench import at

    def asked() -> bool:
        return scheduled.loop().evse_status is not None

    scheduled.station.utc_ms = scheduled.session.utc_ms
    periods = [{"startPeriod": 0, "limit": 8000.0}, {"startPeriod": 60, "limit": 2000.0}]
    scheduled.own({}, periods=periods, schedule={"startSchedule": at(scheduled.session.utc_ms)})
    session = scheduled.session
    assert asked()
    session.send(session.ask("PowerDeliveryReq", charge_progress=cm.ChargeProgress.ScheduleRenegotiation))
    session.go("ScheduleExchangeReq")
    session.send(session.ask("PowerDeliveryReq", ev_power_profile=session.profile(1, 1_000)))
    session.move(session.now + 61)
    scheduled.station.wait(61)
    scheduled.carry_out()
    assert scheduled.power == (2000, 0)
    assert not asked()
    scheduled.own({"limit": 1900.0})
    assert asked()


@pytest.mark.requirement("R57")
def test_a_profile_that_the_vehicle_has_waited_for_asks_for_no_other_schedule(make_bench: Make) -> None:  # noqa: F811
    """K15: the schedule is made of it."""
    found = Charger(make_bench, mode=ControlMode.SCHEDULED)
    found.station.answers["NotifyEVChargingNeeds"] = {"status": "Processing"}
    session = found.session
    session.reach(State.SCHEDULE_EXCHANGE)
    session.post(session.ask("ScheduleExchangeReq"))
    found.own({"limit": 7000.0})
    session.go("DC_CableCheckReq", "DC_PreChargeReq")
    session.send(session.ask("PowerDeliveryReq", ev_power_profile=session.profile(1, 1_000)))
    session.go("DC_ChargeLoopReq")
    assert found.power == (7000, 0)
    assert found.loop().evse_status is None
    found.own({"limit": 6000.0})
    assert found.loop().evse_status is not None


def test_a_transfer_that_the_csms_rejects_is_another_services_turn(make_bench: Make) -> None:  # noqa: F811
    """Q01.FR.05 (TC_Q_130)."""
    found = Charger(make_bench)
    found.station.answers["NotifyEVChargingNeeds"] = {"status": "Rejected"}
    found.session.reach(State.DC_CHARGE_LOOP)
    assert found.loop().evse_status.evse_notification.value == "ServiceRenegotiation"
    needs = found.session.commands(ports.ReportChargingNeeds)[0].needs
    assert (needs.service, needs.available) == ("DC_BPT", ("DC_BPT", "DC"))


def test_a_transfer_that_the_csms_rejects_ends_a_session_without_another(make_bench: Make) -> None:  # noqa: F811
    """Q01.FR.06, K18.FR.23 (TC_Q_103)."""
    found = Charger(make_bench)
    config = SeccConfig(
        services=(EnergyService.DC_BPT,), control_modes=(ControlMode.DYNAMIC,), signed_discharge=UNSIGNED
    )
    session = make_bench(config, limits=found.grid.limits, tariff=None, can_plan=True)
    session.selection = (DC_BPT, 0, False)
    session.auto[ports.ReportChargingNeeds] = lambda _: ports.ChargingNeedsAnswered("Rejected")
    session.reach(State.SCHEDULE_EXCHANGE)
    assert session.go("ScheduleExchangeReq").response_code.name == "FAILED"
    (ended,) = session.commands(ports.TransactionEnded)
    assert ended.stopped_reason == "ReqEnergyTransferRejected"


def prices(found: Charger, *fees: int) -> dict[str, Any]:
    """Cents for each of the next hours, and a quarter of that for what is given back."""

    def rule(cents: int, start: int) -> dict[str, Any]:
        return {"energyFee": {"exponent": -2, "value": cents}, "powerRangeStart": {"exponent": 0, "value": start}}

    stacks = [{"duration": 3600, "priceRule": [rule(fee, 0), rule(fee // 4, -1)]} for fee in fees]
    return {
        "timeAnchor": format_time(found.session.utc_ms - 1_800_000), "priceScheduleID": 3, "currency": "EUR",
        "language": "eng", "priceAlgorithm": "urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power",
        "priceRuleStacks": stacks,
        "taxRules": [{"taxRuleID": 1, "taxRate": {"exponent": 0, "value": 19}, "appliesToEnergyFee": True,
                      "appliesToParkingFee": False, "appliesToOverstayFee": False,
                      "appliesToMinimumMaximumCost": True}],
    }  # fmt: skip


def fees(schedule: AbsolutePriceSchedule) -> list[tuple[int, int]]:
    """(seconds, cents) of a price schedule."""
    stacks = schedule.price_rule_stacks.price_rule_stack
    return [(each.duration, each.price_rule[0].energy_fee.value) for each in stacks]


@pytest.mark.parametrize("mode", list(ControlMode))
def test_prices_of_the_profile_are_what_the_vehicle_receives(make_bench: Make, mode: ControlMode) -> None:  # noqa: F811
    """K18.FR.20 and K19: the profile that the CSMS promised is waited for, and its prices go on."""
    found = Charger(make_bench, mode=mode)
    found.station.answers["NotifyEVChargingNeeds"] = {"status": "Accepted"}
    found.session.reach(State.SCHEDULE_EXCHANGE)
    found.session.post(found.session.ask("ScheduleExchangeReq"))
    needs = found.station.expect("NotifyEVChargingNeeds")
    assert needs["maxScheduleTuples"] == found.session.ask("ScheduleExchangeReq").maximum_supporting_points
    both = {"limit": 9000.0, "dischargeLimit": -5000.0, "operationMode": "ExternalSetpoint"}
    found.own(both, schedule={"absolutePriceSchedule": prices(found, 40, 20)})
    answer = found.session.responses[-1]
    assert answer.evse_processing.value == "Finished"
    if mode is ControlMode.DYNAMIC:
        reported = answer.dynamic_se_res_control_mode.absolute_price_schedule
    else:
        (first, *_) = answer.scheduled_se_res_control_mode.schedule_tuple
        reported = first.charging_schedule.absolute_price_schedule
        assert fees(first.discharging_schedule.absolute_price_schedule) == [(1800, 10), (3600, 5)]
        assert first.discharging_schedule.absolute_price_schedule.tax_rules is None
    assert fees(reported) == [(1800, 40), (3600, 20)], "the half hour that is over is left out"
    assert reported.time_anchor == found.session.utc_ms // 1000
    assert reported.tax_rules.tax_rule[0].tax_rate.value == 19


def test_other_prices_make_a_vehicle_under_a_schedule_agree_anew(scheduled: Charger) -> None:
    """K16: prices without other limits, in a profile that does not lead."""
    scheduled.own({"limit": 9000.0}, number=7, stackLevel=1)
    scheduled.session.go("DC_ChargeLoopReq")
    found = scheduled.csms("GetCompositeSchedule", evseId=1, duration=60)
    scheduled.own({"limit": 9500.0}, number=8, stackLevel=0, schedule={"absolutePriceSchedule": prices(scheduled, 30)})
    assert scheduled.csms("GetCompositeSchedule", evseId=1, duration=60) == found
    assert scheduled.session.session.facts.csms_prices is not None
    response = scheduled.session.send(scheduled.session.ask("DC_ChargeLoopReq"))
    assert response.evse_status.evse_notification.value == "ScheduleRenegotiation"


def test_prices_that_no_vehicle_could_receive_are_refused(dynamic: Charger) -> None:
    """K01: what cannot be passed on is not accepted."""
    wrong = prices(dynamic, 30) | {"minimumCost": {"exponent": 100, "value": 10**9}}
    more = {"purpose": "TxProfile", "transactionId": transaction(dynamic.station)}
    assert (
        put(
            dynamic.station,
            **more,
            periods=[{"startPeriod": 0, "limit": 1.0}],
            schedule={"absolutePriceSchedule": wrong},
        )
        == "Rejected"
    )
