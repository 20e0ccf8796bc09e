"""ISO 15118-2 sessions with external payment: what is asked, answered, metered and reported."""

from typing import Any

import pytest
from msgspec.structs import replace

from secc.session import ports
from secc.session.config import EnergyService
from secc.session.d2.session import Iso2
from secc.session.terms import ScheduleOffer, ScheduleRules
from tests.exi.streams import bits
from tests.secc.session.bench import make_tariff
from tests.secc.session.d2.bench import CONFIG, Iso2Bench, amperes, selected, volts, watts
from tests.secc.session.d2.conftest import MakeIso2
from tests.secc.session.message_bench import OTHER_MAKE, protocol
from tests.secc.session.shell import counter
from v2g import exi
from v2g.energy.limits import CABLE, MOST_W, OPERATOR, SITE, GridResponse, Limit, Setpoint
from v2g.energy.settlement.records import TariffSet
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.schedules import power_schedules
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.d20.messages.schedules import PriceLevelSchedule, PriceLevelScheduleEntry, PriceLevelScheduleEntryList
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType, frame
from v2g_station.blocks.smart_charging.smart_charging import AnnouncePrices

pytestmark = pytest.mark.requirement("R15")

MODES = types.EnergyTransferMode


def code(response: Any) -> str:
    return str(response.response_code.name)


def output(bench: Iso2Bench, kind: type = ports.SetOutput) -> Any:
    return bench.commands(kind)[-1]


def limited_by(bench: Iso2Bench) -> str:
    report = bench.commands(ports.ReportLimits)[-1]
    assert isinstance(report, ports.ReportLimits)
    return report.charge_limited_by


# -- up to the parameters ---------------------------------------------------------------------------------------------


def test_a_session_of_direct_current(dc: Iso2Bench) -> None:
    assert dc.go("SupportedAppProtocolReq").schema_id == 1
    setup = dc.go("SessionSetupReq")
    assert (code(setup), setup.evse_id) == ("OK_NewSessionEstablished", "DEV2GE00001")
    services = dc.go("ServiceDiscoveryReq")
    assert services.payment_option_list.payment_option == (types.PaymentOption.ExternalPayment,)
    assert services.charge_service.supported_energy_transfer_mode.energy_transfer_mode == (
        MODES.DC_extended,
        MODES.AC_three_phase_core,
        MODES.AC_single_phase_core,
    )
    assert code(dc.go("ServiceDetailReq")) == "OK"
    dc.go("PaymentServiceSelectionReq")
    assert dc.go("AuthorizationReq").evse_processing.value == "Finished"
    parameters = dc.go("ChargeParameterDiscoveryReq")
    (schedule,) = power_schedules(parameters.sa_schedules).values()
    assert (schedule.power_at(0), schedule.end_s) == (40_000, 7200)
    dc.go("CableCheckReq", "PreChargeReq")
    assert dc.go("PreChargeReq").evse_present_voltage == volts(400)
    assert code(dc.go("PowerDeliveryReq")) == "OK"
    dc.go("CurrentDemandReq")
    loop = dc.go("CurrentDemandReq")
    assert loop.evse_present_current == amperes(20)
    assert (loop.evse_id, loop.sa_schedule_tuple_id, loop.receipt_required) == ("DEV2GE00001", 1, False)
    assert (loop.meter_info.meter_id, loop.meter_info.meter_reading) == ("METER-0001", 0)
    assert code(dc.stop()) == "OK"
    dc.fact(ports.PilotChanged(PilotState.B))
    assert code(dc.go("WeldingDetectionReq")) == "OK"
    assert code(dc.go("SessionStopReq")) == "OK"
    dc.pass_time(2.0)
    assert dc.reason == "finished"
    assert dc.commands(ports.TransactionEnded)[0].stopped_reason == "StoppedByEV"
    assert [each.reason for each in dc.commands(ports.RecordMeter)] == ["begin", "direction", "direction", "stop"]


def test_a_session_of_alternating_current(ac: Iso2Bench) -> None:
    ac.fact(ports.PilotChanged(PilotState.B))
    ac.reach(State.CHARGE_PARAMETER_DISCOVERY)
    parameters = ac.go("ChargeParameterDiscoveryReq")
    assert parameters.evse_charge_parameter.evse_nominal_voltage == volts(230)
    assert parameters.evse_charge_parameter.evse_max_current == amperes(31.884), "22 kW of three phases"
    assert ac.go("PowerDeliveryReq") is None, "the pilot changes to C with the request"
    assert not ac.commands(ports.CloseContactors)
    ac.fact(ports.PilotChanged(PilotState.C))
    assert code(ac.responses[-1]) == "OK"
    status = ac.go("ChargingStatusReq")
    assert status.evse_max_current == amperes(16), "the vehicle's own"
    assert status.receipt_required is False
    assert output(ac, ports.SetAcOutput).charge_w == 11_040
    ac.fact(ports.GridChanged((Limit(source=SITE, charge_w=6_900, discharge_w=0, version=2),)))
    assert output(ac, ports.SetAcOutput).charge_w == 6_900
    assert ac.go("ChargingStatusReq").evse_max_current == amperes(10)
    assert code(ac.stop()) == "OK"
    ac.fact(ports.PilotChanged(PilotState.B))
    assert code(ac.go("SessionStopReq")) == "OK"
    assert not ac.session.powered


def test_an_ac_vehicle_that_stays_in_state_b_gets_no_power(ac: Iso2Bench) -> None:
    ac.fact(ports.PilotChanged(PilotState.B))
    ac.reach(State.POWER_DELIVERY)
    ac.go("PowerDeliveryReq")
    ac.pass_time(1.5)
    assert code(ac.responses[-1]) == "FAILED"
    assert not ac.commands(ports.CloseContactors)


def test_an_ac_vehicle_interrupts_by_its_pilot(ac: Iso2Bench) -> None:
    ac.reach(State.AC_CHARGE_LOOP)
    ac.fact(ports.PilotChanged(PilotState.B))
    assert not ac.reason
    assert output(ac, ports.SetAcOutput).charge_w == 0
    assert ac.go("ChargingStatusReq").evse_max_current == amperes(0)
    ac.fact(ports.PilotChanged(PilotState.C))
    ac.go("ChargingStatusReq")
    assert output(ac, ports.SetAcOutput).charge_w == 11_040


def test_a_session_that_begins_in_a_trip_of_the_grid_closes_when_it_is_over(ac: Iso2Bench) -> None:
    ac.fact(ports.GridResponseChanged(GridResponse(floor_w=0, ceiling_w=0, trip=True)))
    ac.reach(State.AC_CHARGE_LOOP)
    assert not ac.commands(ports.CloseContactors)
    assert ac.go("ChargingStatusReq").evse_max_current == amperes(0)
    ac.fact(ports.GridResponseChanged(GridResponse()))
    assert len(ac.commands(ports.CloseContactors)) == 1
    ac.go("ChargingStatusReq")
    assert output(ac, ports.SetAcOutput).charge_w == 11_040
    assert not ac.reason


def test_an_ac_vehicle_that_draws_too_much_is_disconnected(ac: Iso2Bench) -> None:
    ac.reach(State.AC_CHARGE_LOOP)
    ac.fact(ports.Measured(230_000, 60_000))
    began = ac.now
    while code(ac.go("ChargingStatusReq")) == "OK":
        ac.pass_time(1.0)
    rules = ac.config.profile
    assert ac.now - began == 3.0 >= (rules.fail_s - 5.0) / 4  # a large excess
    assert code(ac.responses[-1]) == "FAILED"
    assert ac.commands(ports.EmergencyOff)
    ac.pass_time(5.0)
    assert ac.reason == "power_not_obeyed"


@pytest.mark.parametrize(("fact", "reported"), [(None, "None"), (ports.StopRequested("remote"), "StopCharging")])
def test_the_status_of_alternating_current(ac: Iso2Bench, fact: Any, reported: str) -> None:
    ac.reach(State.AC_CHARGE_LOOP)
    if fact is not None:
        ac.fact(fact)
    status = ac.go("ChargingStatusReq").ac_evse_status
    assert (status.evse_notification.value, status.rcd) == (reported, False)


def test_the_power_of_a_vehicle_with_alternating_current_is_bounded(make_iso2: MakeIso2) -> None:
    """Of values as large as the message holds: 10 MW."""
    config = replace(CONFIG, ac_rating=replace(CONFIG.ac_rating, nominal_voltage_v=500))
    bench = make_iso2(config, alternating=True).reach(State.CHARGE_PARAMETER_DISCOVERY)
    parameters = bench.ac_parameters(ev_max_current=amperes(10_000), ev_max_voltage=volts(500))
    bench.send(bench.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=parameters))
    assert bench.session.vehicle is not None
    assert bench.session.vehicle.max_charge_w == 10_000_000


def test_the_customer_has_five_minutes(dc: Iso2Bench) -> None:
    del dc.auto[ports.AuthorizeExternally]
    dc.reach(State.AUTHORIZATION)
    began = dc.now
    while dc.now < began + 400 and code(dc.responses[-1]).startswith("OK"):
        dc.go("AuthorizationReq")
        dc.pass_time(5.0)
        if code(dc.responses[-1]) == "OK":
            assert dc.responses[-1].evse_processing.name == "Ongoing_WaitingForCustomerInteraction"
    assert 299 < dc.now - began < 311
    assert code(dc.responses[-1]) == "FAILED"


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"selected_payment_option": types.PaymentOption.Contract}, "FAILED_PaymentSelectionInvalid"),
        ({"selected_service_list": selected(77)}, "FAILED_NoChargeServiceSelected"),
        ({"selected_service_list": selected(1, 77)}, "FAILED_ServiceSelectionInvalid"),
    ],
)
def test_what_may_be_selected(dc: Iso2Bench, changes: dict[str, Any], answer: str) -> None:
    dc.reach(State.SERVICE_SELECTION)
    assert code(dc.send(dc.ask("PaymentServiceSelectionReq", **changes))) == answer


def test_details_of_a_service_that_was_not_offered(dc: Iso2Bench) -> None:
    dc.reach(State.SERVICE_SELECTION)
    assert code(dc.send(dc.ask("ServiceDetailReq", service_id=2))) == "FAILED_ServiceIDInvalid"


@pytest.mark.parametrize("mode", list(MODES))
def test_only_offered_modes_may_be_requested(dc: Iso2Bench, mode: types.EnergyTransferMode) -> None:
    dc.reach(State.CHARGE_PARAMETER_DISCOVERY)
    alternating = mode.value.startswith("AC")
    parameter = dc.ac_parameters() if alternating else dc.parameters()
    request = dc.ask("ChargeParameterDiscoveryReq", requested_energy_transfer_mode=mode, ev_charge_parameter=parameter)
    offered = mode in (MODES.DC_extended, MODES.AC_three_phase_core, MODES.AC_single_phase_core)
    assert code(dc.send(request)) == ("OK" if offered else "FAILED_WrongEnergyTransferMode")
    if offered:
        assert dc.session.state is (State.POWER_DELIVERY if alternating else State.DC_CABLE_CHECK)


@pytest.mark.parametrize("alternating", [False, True])
def test_parameters_of_the_other_kind_are_refused(make_iso2: MakeIso2, alternating: bool) -> None:
    bench = make_iso2(alternating=alternating).reach(State.CHARGE_PARAMETER_DISCOVERY)
    parameter = bench.parameters() if alternating else bench.ac_parameters()
    response = bench.send(bench.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=parameter))
    assert code(response) == "FAILED_WrongChargeParameter"


@pytest.mark.parametrize(
    "changes",
    [
        {"ev_max_current": amperes(-16)},
        {"ev_min_current": amperes(20)},
        {"ev_max_voltage": volts(-1)},
        {"ev_max_current": watts(16)},
    ],
)
def test_impossible_limits_of_alternating_current(ac: Iso2Bench, changes: dict[str, Any]) -> None:
    ac.reach(State.CHARGE_PARAMETER_DISCOVERY)
    request = ac.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=ac.ac_parameters(**changes))
    assert code(ac.send(request)) == "FAILED_WrongChargeParameter"


@pytest.mark.parametrize("alternating", [False, True])
def test_the_back_end_gets_the_vehicles_needs(make_iso2: MakeIso2, alternating: bool) -> None:
    bench = make_iso2(can_plan=True, alternating=alternating).reach(State.CHARGE_PARAMETER_DISCOVERY)
    bench.post(bench.ask("ChargeParameterDiscoveryReq"))
    (report,) = bench.commands(ports.ReportChargingNeeds)
    assert report.needs.service == ("AC" if alternating else "DC")
    assert report.needs.target_energy_wh == 20_000
    assert not alternating or (report.needs.control_mode, report.needs.available) == ("scheduled", ("AC",))
    assert report.needs.departure_ms == bench.utc_ms + 7_200_000
    assert report.needs.min_charge_w == (3 * 230 * 6 if alternating else 0)
    bench.pass_time(0.5)
    ongoing = bench.responses[-1]
    assert (ongoing.evse_processing.value, ongoing.sa_schedules) == ("Ongoing", None)
    bench.post(bench.ask("ChargeParameterDiscoveryReq"))
    bench.fact(ports.ChargingNeedsAnswered("NoChargingProfile"))
    assert bench.responses[-1].evse_processing.value == "Finished"


# -- schedules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("departure_s", [16_777_215, 2**32 - 1])
def test_a_departure_in_years_gets_as_many_days_as_a_schedule_may_have(dc: Iso2Bench, departure_s: int) -> None:
    dc.reach(State.CHARGE_PARAMETER_DISCOVERY)
    parameters = dc.parameters(departure_time=departure_s)
    request = dc.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=parameters, max_entries_sa_schedule_tuple=1024)
    (offered,) = dc.send(request).sa_schedules.sa_schedule_tuple
    last = offered.p_max_schedule.p_max_schedule_entry[-1].time_interval
    assert last.start + last.duration == 16_777_214


def test_without_a_departure_a_schedule_covers_a_day(dc: Iso2Bench) -> None:
    dc.reach(State.CHARGE_PARAMETER_DISCOVERY)
    request = dc.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=dc.parameters(departure_time=None))
    (schedule,) = power_schedules(dc.send(request).sa_schedules).values()
    assert schedule.end_s == 86_400


@pytest.mark.requirement("R57")
def test_the_limit_beside_a_schedule_is_its_highest(make_iso2: MakeIso2, subtests: pytest.Subtests) -> None:
    """Vehicles take it as the session's: one that came while little was allowed never got what was planned."""
    for alternating in (False, True):
        with subtests.test(alternating=alternating):
            bench = make_iso2(alternating=alternating)
            later = Limit(source=SITE, charge_w=20_700, discharge_w=0, valid_from_ms=bench.utc_ms + 3_600_000)
            now = Limit(source=SITE, charge_w=4_140, discharge_w=0, version=2)
            bench.fact(ports.GridChanged((now,), foreseen=(later,)))
            bench.reach(State.CHARGE_PARAMETER_DISCOVERY)
            response = bench.go("ChargeParameterDiscoveryReq")
            (schedule,) = power_schedules(response.sa_schedules).values()
            assert [schedule.power_at(at) for at in (0, 3_700)] == [4_140, 20_700]
            loop = bench.go(*bench.ways[State.AC_CHARGE_LOOP if alternating else State.DC_CHARGE_LOOP][6:])
            if alternating:
                assert response.evse_charge_parameter.evse_max_current == amperes(30)
                assert loop.evse_max_current == amperes(6)
            else:
                assert response.evse_charge_parameter.evse_maximum_power_limit == watts(20_700)
                assert loop.evse_maximum_power_limit == watts(4_140)


def test_the_operators_offers_are_tuples_and_prices_levels(make_iso2: MakeIso2) -> None:
    offers = (ScheduleOffer(), ScheduleOffer(power_percent=50), ScheduleOffer(cheapest=True))
    bench = make_iso2(replace(CONFIG, schedules=ScheduleRules(offers=offers)))
    bench.fact(ports.GridChanged((), make_tariff(bench.utc_ms)))
    bench.reach(State.CHARGE_PARAMETER_DISCOVERY)
    response = bench.send(bench.ask("ChargeParameterDiscoveryReq", max_entries_sa_schedule_tuple=12))
    offered = power_schedules(response.sa_schedules)
    assert {number: schedule.power_at(0) for number, schedule in offered.items()} == {1: 40_000, 2: 20_000}
    for each in response.sa_schedules.sa_schedule_tuple:
        tariff = each.sales_tariff
        entries = tariff.sales_tariff_entry
        assert len(entries) + len(each.p_max_schedule.p_max_schedule_entry) <= 12
        starts = [entry.time_interval.start for entry in entries]
        assert starts[0] == 0
        assert starts == sorted(set(starts))
        assert all(1 <= entry.e_price_level <= tariff.num_e_price_levels for entry in entries)
    bench.go("CableCheckReq", "PreChargeReq")
    bench.send(bench.ask("PowerDeliveryReq", sa_schedule_tuple_id=2))
    bench.send(bench.ask("CurrentDemandReq", ev_target_current=amperes(60), ev_maximum_power_limit=watts(40_000)))
    assert output(bench).charge_w == 20_000, "the chosen share"


def levels(anchor_s: int, *entries: tuple[int, int]) -> PriceLevelSchedule:
    made = tuple(PriceLevelScheduleEntry(duration=duration, price_level=level) for duration, level in entries)
    return PriceLevelSchedule(
        time_anchor=anchor_s,
        price_schedule_id=1,
        number_of_price_levels=5,
        price_level_schedule_entries=PriceLevelScheduleEntryList(price_level_schedule_entry=made),
    )


@pytest.mark.parametrize(("anchor_s", "holds"), [(-600, True), (-20_000, False), (600, False)])
def test_levels_that_the_csms_sent_come_before_the_tariff_while_they_hold(
    make_iso2: MakeIso2, anchor_s: int, holds: bool
) -> None:
    bench = make_iso2()
    bench.fact(ports.GridChanged((), make_tariff(bench.utc_ms)))
    bench.reach(State.CHARGE_PARAMETER_DISCOVERY)
    sent = levels(bench.utc_ms // 1000 + anchor_s, (1800, 2), (3600, 0), (7200, 4))
    bench.fact(AnnouncePrices(evse_id=1, prices=sent))
    (offered,) = bench.go("ChargeParameterDiscoveryReq").sa_schedules.sa_schedule_tuple
    entries = offered.sales_tariff.sales_tariff_entry
    found = [(each.time_interval.start, each.e_price_level) for each in entries]
    assert (found == [(0, 3), (1200, 1), (4800, 5)]) is holds
    assert any(each.consumption_cost for each in entries) is not holds, "levels are not prices"
    if holds:
        assert (offered.sales_tariff.num_e_price_levels, entries[-1].time_interval.duration) == (5, 2400), (
            "until the departure"
        )


def test_other_levels_ask_for_a_renegotiation(make_iso2: MakeIso2) -> None:
    bench = make_iso2()
    begin_s = bench.utc_ms // 1000
    bench.fact(AnnouncePrices(evse_id=1, prices=levels(begin_s, (86_400, 1))))
    bench.reach(State.DC_CHARGE_LOOP)
    bench.fact(AnnouncePrices(evse_id=1, prices=levels(begin_s - 5, (86_405, 1))))
    assert notification(bench) == "None"
    bench.fact(AnnouncePrices(evse_id=1, prices=levels(begin_s, (3600, 1), (82_800, 2))))
    assert notification(bench) == "ReNegotiation"


def test_a_tuple_that_was_not_offered(dc: Iso2Bench) -> None:
    dc.reach(State.DC_PRE_CHARGE_ONGOING)
    response = dc.send(dc.ask("PowerDeliveryReq", sa_schedule_tuple_id=7))
    assert code(response) == "FAILED_TariffSelectionInvalid"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("power_w", [40_000, 40_010])
def test_a_profile_is_within_the_schedule(make_iso2: MakeIso2, strict: bool, power_w: int) -> None:
    bench = make_iso2(replace(CONFIG, iso2=replace(CONFIG.iso2, strict=strict)))
    bench.evcc_id = OTHER_MAKE
    bench.reach(State.DC_PRE_CHARGE_ONGOING)
    entry = types.ProfileEntry(charging_profile_entry_start=0, charging_profile_entry_max_power=watts(power_w))
    response = bench.send(bench.ask("PowerDeliveryReq", charging_profile=types.ChargingProfile(profile_entry=(entry,))))
    too_much = power_w > 40_000
    assert code(response) == ("FAILED_ChargingProfileInvalid" if too_much and strict else "OK")
    assert ("charging_profile" in bench.quirks()) == (too_much and not strict)
    assert len(bench.commands(ports.ReportChargingPlan)) == (code(response) == "OK")


def test_a_profile_that_is_no_power_counts_as_none(dc: Iso2Bench) -> None:
    dc.reach(State.DC_PRE_CHARGE_ONGOING)
    entry = types.ProfileEntry(charging_profile_entry_start=0, charging_profile_entry_max_power=amperes(16))
    response = dc.send(dc.ask("PowerDeliveryReq", charging_profile=types.ChargingProfile(profile_entry=(entry,))))
    assert code(response) == "OK"
    assert "charging_profile" in dc.quirks()


@pytest.mark.parametrize(
    ("state", "name", "expected"),
    [
        (State.CHARGE_PARAMETER_DISCOVERY, "ChargeParameterDiscoveryReq", "FAILED_WrongChargeParameter"),
        (State.DC_PRE_CHARGE, "PreChargeReq", "FAILED"),
        (State.DC_CHARGE_LOOP, "CurrentDemandReq", "FAILED"),
    ],
)
def test_a_wrong_unit_is_refused_by_a_code_that_the_response_knows(
    dc: Iso2Bench, state: State, name: str, expected: str
) -> None:
    dc.reach(state)
    request = dc.ask(name)
    if name == "ChargeParameterDiscoveryReq":
        parameter = replace(request.ev_charge_parameter, ev_maximum_current_limit=watts(100))
        wrong = replace(request, ev_charge_parameter=parameter)
    else:
        wrong = replace(request, ev_target_voltage=amperes(400))
    assert code(dc.send(wrong)) == expected


def test_a_raised_limit_holds_for_a_vehicle_that_ignores_renegotiation(dc: Iso2Bench) -> None:
    dc.fact(ports.GridChanged((Limit(source=OPERATOR, charge_w=5_000, discharge_w=0, version=2),)))
    dc.reach(State.DC_CHARGE_LOOP)
    assert output(dc).charge_w == 5_000
    dc.fact(ports.GridChanged((Limit(source=OPERATOR, charge_w=15_000, discharge_w=0, version=3),)))
    assert output(dc).charge_w == 15_000


# -- renegotiation ----------------------------------------------------------------------------------------------------


def limit(bench: Iso2Bench, charge_w: int, version: int) -> None:
    """Change the site's limit, as an energy manager does."""
    bench.fact(ports.GridChanged((Limit(source=SITE, charge_w=charge_w, discharge_w=0, version=version),)))
    bench.fact(ports.RenegotiationRequested())


def notification(bench: Iso2Bench) -> str:
    response = bench.go("ChargingStatusReq" if bench.alternating else "CurrentDemandReq")
    status = response.ac_evse_status if bench.alternating else response.dc_evse_status
    return str(status.evse_notification.value)


def test_a_renegotiation_that_skips_the_cable_check_does_not_raise_the_tested_voltage(dc: Iso2Bench) -> None:
    dc.reach(State.SCHEDULE_RENEGOTIATION)
    tested_mv = dc.session.stage.parametrised.able.max_voltage_mv
    raised = dc.parameters(ev_maximum_voltage_limit=dc.volts(tested_mv // 1000 + 100))
    dc.send(dc.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=raised))
    assert dc.session.stage.parametrised.able.max_voltage_mv == tested_mv


def test_the_charger_asks_for_a_renegotiation(dc: Iso2Bench) -> None:
    dc.reach(State.DC_CHARGE_LOOP)
    assert dc.session.schedule_limits(dc.utc_ms)
    limit(dc, 8_000, 2)
    status = dc.go("CurrentDemandReq").dc_evse_status
    assert (status.evse_notification.value, status.notification_max_delay) == ("ReNegotiation", 60)
    dc.progress("Renegotiate")
    limit(dc, 9_000, 3)  # still in time for the parameters
    dc.go("ChargeParameterDiscoveryReq", "CableCheckReq", "PreChargeReq", "PowerDeliveryReq")
    assert notification(dc) == "None"


def test_what_changes_no_schedule_asks_for_nothing(make_iso2: MakeIso2, subtests: pytest.Subtests) -> None:
    """With direct current a renegotiation interrupts the energy."""
    for alternating in (False, True):
        with subtests.test(alternating=alternating):
            bench = make_iso2(alternating=alternating)
            bench.reach(State.CHARGE_PARAMETER_DISCOVERY)
            limit(bench, 15_000, 2)  # the first schedule has it already
            bench.go(*bench.ways[State.AC_CHARGE_LOOP if alternating else State.DC_CHARGE_LOOP][5:])
            bench.pass_time(1.5)
            assert notification(bench) == "None"
            limit(bench, 15_000, 3)
            assert notification(bench) == "None"
            bench.fact(AnnouncePrices(evse_id=1, prices=None))
            assert notification(bench) == "None"
            limit(bench, 14_999, 4)
            assert notification(bench) == "ReNegotiation"


def test_prices_ask_only_vehicles_that_got_some(make_iso2: MakeIso2, subtests: pytest.Subtests) -> None:
    for priced in (False, True):
        with subtests.test(priced=priced):
            bench = make_iso2(replace(CONFIG, offer_prices=priced))
            bench.fact(ports.GridChanged((), make_tariff(bench.utc_ms)))
            bench.reach(State.DC_CHARGE_LOOP)
            tariff = make_tariff(bench.utc_ms, version=2)
            slots = tuple(replace(each, import_price=each.import_price + 1) for each in tariff.slots)
            bench.fact(ports.GridChanged((), replace(tariff, slots=slots)))
            assert notification(bench) == ("ReNegotiation" if priced else "None")


def test_a_vehicle_that_ignores_a_renegotiation_is_named_once(dc: Iso2Bench) -> None:
    dc.reach(State.DC_CHARGE_LOOP)
    limit(dc, 8_000, 2)
    asked_at = dc.now
    while "renegotiation_ignored" not in dc.quirks():
        dc.pass_time(0.25)
        assert dc.now < asked_at + 61
        dc.go("CurrentDemandReq")
    assert dc.now >= asked_at + 60
    assert notification(dc) == "None"
    assert dc.quirks().count("renegotiation_ignored") == 1


def test_a_vehicle_that_stays_connected_in_a_renegotiation_is_named(dc: Iso2Bench) -> None:
    dc.reach(State.SCHEDULE_RENEGOTIATION)
    assert "renegotiation_ignored" not in dc.quirks()
    dc.go("ChargeParameterDiscoveryReq", "CableCheckReq", "PreChargeReq", "PowerDeliveryReq", "CurrentDemandReq")
    assert "renegotiation_ignored" in dc.quirks()


def test_direct_current_is_renegotiated_with_closed_contactors(dc: Iso2Bench) -> None:
    dc.reach(State.SCHEDULE_RENEGOTIATION)
    closings = len(dc.commands(ports.CloseContactors))
    assert (output(dc).current_ma, output(dc).charge_w) == (0, 0), "the vehicle may open its contactor"
    assert limited_by(dc) == "renegotiation"
    dc.fact(ports.GridChanged((Limit(source=SITE, charge_w=8_000, discharge_w=0, version=2),)))
    assert (output(dc).current_ma, output(dc).charge_w) == (0, 0)
    parameters = dc.send(
        dc.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=dc.parameters(ev_maximum_power_limit=watts(7_000)))
    )
    (schedule,) = power_schedules(parameters.sa_schedules).values()
    assert schedule.power_at(0) == 8_000
    assert dc.go("CableCheckReq").evse_processing.value == "Finished"
    assert len(dc.commands(ports.StartCableCheck)) == 1, "a connected battery is not tested"
    assert dc.go("PreChargeReq").evse_present_voltage == volts(400)
    assert code(dc.go("PowerDeliveryReq")) == "OK"
    dc.go("CurrentDemandReq")
    assert output(dc).charge_w == 7_000
    assert len(dc.commands(ports.CloseContactors)) == closings
    assert dc.records().count("SessionStarted") == 1


@pytest.mark.parametrize(("target_v", "voltage_v"), [(380, 380), (470, 450), (0, 420), (-5, 420)])
def test_the_pre_charge_of_a_renegotiation_follows_its_target(dc: Iso2Bench, target_v: int, voltage_v: int) -> None:
    """A vehicle that has opened its contactor closes it once the output has its battery's voltage, not that of the
    loop before, which is up to its maximum [V2G2-565], [V2G2-582]."""
    dc.reach(State.SCHEDULE_RENEGOTIATION)
    assert output(dc).voltage_mv == 420_000
    dc.go("ChargeParameterDiscoveryReq", "CableCheckReq")
    assert code(dc.send(dc.ask("PreChargeReq", ev_target_voltage=volts(target_v)))) == "OK"
    assert (output(dc).voltage_mv, output(dc).current_ma, output(dc).charge_w) == (voltage_v * 1000, 0, 0)
    assert code(dc.go("PowerDeliveryReq")) == "OK"
    dc.go("CurrentDemandReq")
    assert (output(dc).voltage_mv, output(dc).current_ma) == (420_000, 20_000)


def test_a_vehicle_may_open_its_contactor_for_a_renegotiation(dc: Iso2Bench) -> None:
    dc.fact(ports.PilotChanged(PilotState.C))
    dc.reach(State.SCHEDULE_RENEGOTIATION)
    dc.fact(ports.PilotChanged(PilotState.B))
    assert not dc.session.powered
    assert not dc.reason
    dc.go("ChargeParameterDiscoveryReq")
    dc.fact(ports.PilotChanged(PilotState.C))
    dc.go("CableCheckReq", "PreChargeReq", "PowerDeliveryReq", "CurrentDemandReq")
    assert len(dc.commands(ports.StartCableCheck)) == 2
    assert output(dc).charge_w == 20_000


@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize("asked", [False, True])
def test_the_csms_gets_the_needs_again_only_from_a_vehicle_that_asks(dc: Iso2Bench, asked: bool, opens: bool) -> None:
    """K16.FR.09, K17.FR.01: a CSMS that answers needs by a profile would get them for ever."""
    dc.fact(ports.PilotChanged(PilotState.C))
    dc.reach(State.DC_CHARGE_LOOP)
    if asked:
        limit(dc, 8_000, 2)
        assert notification(dc) == "ReNegotiation"
    dc.progress("Renegotiate")
    if opens:
        dc.fact(ports.PilotChanged(PilotState.B))
    dc.go("ChargeParameterDiscoveryReq")
    assert len(dc.commands(ports.ReportChargingNeeds)) == (1 if asked else 2)


def test_alternating_current_is_renegotiated_with_a_closed_contactor(ac: Iso2Bench) -> None:
    ac.reach(State.SCHEDULE_RENEGOTIATION)
    assert limited_by(ac) == "vehicle"
    request = ac.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=ac.ac_parameters(ev_max_current=amperes(10)))
    assert code(ac.send(request)) == "OK"
    assert code(ac.go("PowerDeliveryReq")) == "OK"
    ac.go("ChargingStatusReq")
    assert output(ac, ports.SetAcOutput).charge_w == 6_900
    assert len(ac.commands(ports.CloseContactors)) == 1


def test_the_kind_of_current_is_not_renegotiated(dc: Iso2Bench) -> None:
    dc.reach(State.SCHEDULE_RENEGOTIATION)
    request = dc.ask(
        "ChargeParameterDiscoveryReq",
        requested_energy_transfer_mode=MODES.AC_three_phase_core,
        ev_charge_parameter=dc.ac_parameters(),
    )
    assert code(dc.send(request)) == "FAILED_WrongEnergyTransferMode"
    assert not dc.session.powered


def test_a_renegotiation_before_energy_is_refused(dc: Iso2Bench) -> None:
    """V2G2-812."""
    dc.reach(State.DC_PRE_CHARGE_ONGOING)
    assert code(dc.progress("Renegotiate")) == "FAILED"


def test_power_ends_in_a_renegotiation_that_does_not_go_on(dc: Iso2Bench) -> None:
    dc.reach(State.SCHEDULE_RENEGOTIATION)
    dc.pass_time(2.1)
    assert output(dc).charge_w == 0
    assert limited_by(dc) == "renegotiation"
    dc.pass_time(58.0)
    assert dc.reason == "sequence_timeout"


# -- pause ------------------------------------------------------------------------------------------------------------


def paused(bench: Iso2Bench) -> ports.SaveSession:
    bench.reach(State.SESSION_STOP if bench.alternating else State.DC_WELDING_DETECTION)
    response = bench.send(bench.ask("SessionStopReq", charging_session=types.ChargingSession.Pause))
    assert code(response) == "OK"
    bench.pass_time(2.0)
    assert bench.reason == "paused"
    (saved,) = bench.commands(ports.SaveSession)
    assert isinstance(saved, ports.SaveSession)
    return saved


@pytest.mark.parametrize("alternating", [False, True])
def test_a_paused_session_is_joined_by_its_id(make_iso2: MakeIso2, alternating: bool) -> None:
    first = make_iso2(alternating=alternating)
    saved = paused(first)
    assert not first.commands(ports.TransactionEnded)
    assert not first.commands(ports.CloseJournal)
    second = make_iso2(alternating=alternating, paused=saved.paused)
    tariff = make_tariff(second.utc_ms)
    second.fact(ports.GridChanged((), tariff))
    second.go("SupportedAppProtocolReq")
    joined = second.send(second.ask("SessionSetupReq"), session_id=saved.paused.session_id)
    assert code(joined) == "OK_OldSessionJoined"
    assert second.session.session_id == saved.paused.session_id
    modes = second.go("ServiceDiscoveryReq").charge_service.supported_energy_transfer_mode.energy_transfer_mode
    assert all(mode.value.startswith("AC") == alternating for mode in modes)
    second.go("PaymentServiceSelectionReq")
    assert second.go("AuthorizationReq").evse_processing.value == "Finished"
    assert not second.commands(ports.AuthorizeExternally)
    assert not second.commands(ports.TransactionStarted)
    second.go("ChargeParameterDiscoveryReq")
    assert "SessionStarted" not in second.records()
    assert ports.Journal(TariffSet(tariff=tariff)) in second.commands(ports.Journal)
    second.go(*(("PowerDeliveryReq",) if alternating else ("CableCheckReq", "PreChargeReq", "PowerDeliveryReq")))
    second.go("stop", "SessionStopReq")
    assert second.commands(ports.TransactionEnded)


@pytest.mark.parametrize("session_id", [b"somebody", bytes(8)])
def test_another_id_gets_a_new_session(make_iso2: MakeIso2, session_id: bytes) -> None:
    saved = paused(make_iso2())
    bench = make_iso2(paused=saved.paused, entropy=counter(1000))
    bench.go("SupportedAppProtocolReq")
    assert code(bench.send(bench.ask("SessionSetupReq"), session_id=session_id)) == "OK_NewSessionEstablished"
    assert bench.session.session_id not in (saved.paused.session_id, session_id)
    assert bench.commands(ports.ForgetSession)


def test_a_session_of_another_edition_is_not_joined(make_iso2: MakeIso2) -> None:
    saved = paused(make_iso2())
    bench = make_iso2(paused=replace(saved.paused, vehicle=b"bound to a certificate"))
    bench.go("SupportedAppProtocolReq")
    response = bench.send(bench.ask("SessionSetupReq"), session_id=saved.paused.session_id)
    assert code(response) == "OK_NewSessionEstablished"


def test_a_session_that_was_stopped_is_not_paused(dc: Iso2Bench) -> None:
    dc.reach(State.DC_CHARGE_LOOP)
    dc.fact(ports.StopRequested("remote"))
    dc.go("stop")
    dc.send(dc.ask("SessionStopReq", charging_session=types.ChargingSession.Pause))
    assert not dc.commands(ports.SaveSession)
    assert dc.events("session_ended")
    assert not dc.events("session_paused")


@pytest.mark.requirement("R197")
@pytest.mark.parametrize("state", [State.SERVICE_DISCOVERY, State.AUTHORIZATION, State.CHARGE_PARAMETER_DISCOVERY])
@pytest.mark.parametrize("how", types.ChargingSession)
def test_a_vehicle_may_stop_power_before_the_charge_parameters(
    dc: Iso2Bench, state: State, how: types.ChargingSession
) -> None:
    """Recorded of a Hyundai Ioniq. What has not charged is ended, even if it asks for a pause."""
    dc.reach(state)
    assert code(dc.go("stop", "WeldingDetectionReq")) == "OK"
    assert code(dc.send(dc.ask("SessionStopReq", charging_session=how))) == "OK"
    dc.pass_time(2.0)
    assert dc.reason == "finished"
    assert dc.quirks() == ["early_power_stop"]
    assert not dc.commands(ports.SaveSession)
    assert dc.events("session_ended")


# -- which chargers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "served"),
    [
        ({}, True),
        ({"authorization": (Authorization.PnC,)}, True),
        ({"services": (EnergyService.DC_BPT,)}, True),
        ({"services": (EnergyService.WPT,)}, False),
    ],
)
def test_which_chargers_serve_it(changes: dict[str, Any], served: bool) -> None:
    assert Iso2().serves(protocol(ISO2.uri), replace(CONFIG, **changes)) is served


@pytest.mark.requirement("R15")
def test_a_vehicle_may_charge_again_after_a_stop(dc: Iso2Bench) -> None:
    """V2G2-601: other parameters, and all that follows, in the same session; not after a welding detection, -597."""
    dc.reach(State.DC_WELDING_DETECTION)
    tests = len(dc.commands(ports.StartCableCheck))
    again = dc.parameters(ev_maximum_power_limit=watts(7_000))
    assert code(dc.send(dc.ask("ChargeParameterDiscoveryReq", ev_charge_parameter=again))) == "OK"
    assert code(dc.go("CableCheckReq", "PreChargeReq", "PowerDeliveryReq", "CurrentDemandReq")) == "OK"
    assert len(dc.commands(ports.StartCableCheck)) == tests + 1
    assert dc.commands(ports.SetOutput)[-1].charge_w == 7_000
    assert [each.charging_state for each in dc.commands(ports.TransactionUpdated)] == [
        "Charging", "EVConnected", "Charging",
    ]  # fmt: skip
    assert dc.records().count("SessionStarted") == 1
    dc.go("stop", "WeldingDetectionReq")
    assert code(dc.go("ChargeParameterDiscoveryReq")) == "FAILED_SequenceError"


@pytest.mark.parametrize("state", [State.SERVICE_DISCOVERY, State.AUTHORIZATION])
def test_an_early_stop_is_no_way_around_the_authorisation(dc: Iso2Bench, state: State) -> None:
    dc.reach(state).stop()
    assert dc.session.state is State.DC_WELDING_DETECTION
    assert code(dc.go("ChargeParameterDiscoveryReq")) == "FAILED_SequenceError"


@pytest.mark.parametrize(("how", "reason"), [("Pause", "paused"), ("Terminate", "finished")])
def test_bytes_after_the_end_change_no_reason(dc: Iso2Bench, how: str, reason: str) -> None:
    """The data link of a paused vehicle is not matched anew because of them."""
    dc.reach(State.DC_WELDING_DETECTION)
    dc.send(dc.ask("SessionStopReq", charging_session=types.ChargingSession[how]))
    dc.raw(b"no frame of anybody's")
    assert dc.reason == reason
    assert not dc.session.powered


def alternating(bench: Iso2Bench, mode: str, **changes: Any) -> Any:
    """Return the answer to parameters of alternating current."""
    bench.reach(State.CHARGE_PARAMETER_DISCOVERY)
    parameter, kind = bench.ac_parameters(**changes), types.EnergyTransferMode
    return bench.send(
        bench.ask(
            "ChargeParameterDiscoveryReq",
            requested_energy_transfer_mode=kind[f"AC_{mode}_phase_core"],
            ev_charge_parameter=parameter,
        )
    )


@pytest.mark.parametrize(("mode", "charge_w"), [("single", 3_680), ("three", 11_040)])
def test_power_of_alternating_current_is_that_of_its_phases(ac: Iso2Bench, mode: str, charge_w: int) -> None:
    alternating(ac, mode)
    known = ac.session.vehicle
    assert known is not None
    assert (known.max_charge_w, known.max_voltage_mv, known.min_voltage_mv) == (charge_w, 230_000, 230_000)
    ac.fact(ports.GridChanged((Limit(source=SITE, charge_w=2_300, discharge_w=0, version=7),)))
    ac.go("PowerDeliveryReq")
    assert shown_a(ac.go("ChargingStatusReq").evse_max_current) == pytest.approx(2_300 / 690, abs=0.01)


def shown_a(current: Any) -> float:
    return float(current.value * 10**current.multiplier)


@pytest.mark.requirement("R192")
@pytest.mark.parametrize(
    ("limit", "most_a", "power_w"),
    [
        (None, 32, 7_360),
        (Limit(source=CABLE, charge_w=MOST_W, discharge_w=MOST_W, charge_ma=16_000, discharge_ma=16_000), 16, 3_680),
        (Limit(source=CABLE, charge_w=MOST_W, discharge_w=MOST_W, charge_ma=13_000, discharge_ma=13_000), 13, 2_990),
        (Limit(source=SITE, charge_w=4_140, discharge_w=0), 6, 1_380),
        (Limit(source=SITE, charge_w=3_680, discharge_w=0, charge_ma=16_000), 16, 3_680),
    ],
)
def test_a_vehicle_on_one_phase_gets_the_current_of_one_conductor(
    ac: Iso2Bench, limit: Limit | None, most_a: float, power_w: int
) -> None:
    """EVSEMaxCurrent is per phase, and the schedule that of the selected phases."""
    if limit is not None:
        ac.fact(ports.GridChanged((limit,)))
    response = alternating(ac, "single", ev_max_current=amperes(80))
    assert shown_a(response.evse_charge_parameter.evse_max_current) == most_a
    (entry,) = response.sa_schedules.sa_schedule_tuple[0].p_max_schedule.p_max_schedule_entry
    assert entry.p_max.value * 10**entry.p_max.multiplier == pytest.approx(power_w, abs=1)
    ac.go("PowerDeliveryReq")
    assert shown_a(ac.go("ChargingStatusReq").evse_max_current) == most_a
    output = ac.commands(ports.SetAcOutput)[-1]
    assert (output.charge_w, output.charge_ma, output.lines) == (power_w, most_a * 1000, 1)
    ac.fact(ports.Measured(207_000, 0))
    assert shown_a(ac.go("ChargingStatusReq").evse_max_current) == most_a, "at a low voltage the power falls alone"
    assert ac.commands(ports.SetAcOutput)[-1].charge_w == most_a * 207
    ac.fact(ports.SetpointChanged(Setpoint(power_w=1_035, source="csms")))
    assert shown_a(ac.go("ChargingStatusReq").evse_max_current) == 5


@pytest.mark.requirement("R192")
def test_a_vehicle_in_three_phase_mode_gets_the_current_of_the_one_phase_in_use(ac: Iso2Bench) -> None:
    ac.fact(ports.PhasesChanged(1))
    ac.fact(ports.GridChanged((Limit(source=SITE, charge_w=1_840, discharge_w=0, charge_ma=8_000, version=7),)))
    response = alternating(ac, "three")
    assert shown_a(response.evse_charge_parameter.evse_max_current) == 8
    ac.go("PowerDeliveryReq")
    assert shown_a(ac.go("ChargingStatusReq").evse_max_current) == 8
    assert ac.commands(ports.SetAcOutput)[-1].lines == 1


@pytest.mark.parametrize("field", ["ev_max_current", "ev_min_current", "e_amount"])
@pytest.mark.parametrize(("value", "code"), [(-1, "FAILED_WrongChargeParameter"), (0, "OK")])
def test_no_limit_of_alternating_current_is_negative(ac: Iso2Bench, field: str, value: int, code: str) -> None:
    changes = {"ev_min_current": amperes(0), field: replace(getattr(ac.ac_parameters(), field), value=value)}
    assert alternating(ac, "three", **changes).response_code.value == code


@pytest.mark.parametrize(("least", "code"), [(16, "OK"), (17, "FAILED_WrongChargeParameter")])
def test_the_least_current_is_at_most_the_greatest(ac: Iso2Bench, least: int, code: str) -> None:
    assert alternating(ac, "three", ev_min_current=amperes(least)).response_code.value == code


@pytest.mark.parametrize(("least", "code"), [(32, "OK"), (33, "FAILED_WrongChargeParameter")])
def test_the_least_current_is_at_most_the_chargers_rating(ac: Iso2Bench, least: int, code: str) -> None:
    """A vehicle that needs more current per line than this charger ever has cannot charge here, however small the
    present limit of the site is (V2G2-477)."""
    ac.fact(ports.GridChanged((Limit(source=SITE, charge_w=1_000, discharge_w=0, version=7),)))
    response = alternating(ac, "three", ev_min_current=amperes(least), ev_max_current=amperes(63))
    assert response.response_code.value == code


@pytest.mark.parametrize(
    ("most", "code"),
    [(0, "OK"), (100, "FAILED_WrongChargeParameter"), (220, "OK"), (230, "OK")],
)
def test_a_vehicle_bears_the_voltage_of_the_mains(ac: Iso2Bench, most: int, code: str) -> None:
    """Nominal voltages are compared, 230 V here: vehicles for 220 V are fit for it (V2G2-477). 0 is not stated."""
    assert alternating(ac, "three", ev_max_voltage=volts(most)).response_code.value == code


# -- values beyond the schema ----------------------------------------------------------------------------------------

RECORDED = bytes.fromhex("809802004080c1014181c21150000000018a1f0aa0c600")
"""PowerDeliveryReq (Start) of a vehicle that codes four phases in its profile; another charger charges it."""


@pytest.mark.requirement("R197")
def test_a_vehicle_that_codes_four_phases_is_charged(ac: Iso2Bench) -> None:
    ac.reach(State.POWER_DELIVERY)
    recorded: Any = body_of(decode_message(RECORDED, ISO2, handshake=False)[0])
    own = ac.ask("PowerDeliveryReq", charging_profile=recorded.charging_profile)
    (entry,) = recorded.charging_profile.profile_entry
    three = replace(entry, charging_profile_entry_max_number_of_phases_in_use=3)
    whole = replace(own, charging_profile=replace(own.charging_profile, profile_entry=(three,)))
    two = replace(entry, charging_profile_entry_max_number_of_phases_in_use=1)
    other = replace(own, charging_profile=replace(own.charging_profile, profile_entry=(two,)))
    octets, others = (bits(exi.encode(ac.wrapped(ac.session.session_id, each))) for each in (whole, other))
    at = next(place for place, (a, b) in enumerate(zip(octets, others, strict=True)) if a != b)
    assert octets[at : at + 2] == "10"
    stream = f"{octets[:at]}11{octets[at + 2 :]}"
    before = len(ac.responses)
    ac.raw(frame(PayloadType.SAP, bytes(int(stream[n : n + 8], 2) for n in range(0, len(stream), 8))))
    assert code(ac.responses[before]) == "OK"
    assert ac.session.state is State.AC_CHARGE_LOOP
    (beyond,) = ac.events("beyond_schema")
    assert str(beyond["path"]).endswith("/ChargingProfileEntryMaxNumberOfPhasesInUse")
    assert code(ac.go("ChargingStatusReq")) == "OK"


@pytest.mark.requirement("R197")
@pytest.mark.parametrize(
    ("state", "name", "field", "values", "refused"),
    [
        (
            State.CHARGE_PARAMETER_DISCOVERY,
            "ChargeParameterDiscoveryReq",
            "requested_energy_transfer_mode",
            (types.EnergyTransferMode.AC_single_phase_core, types.EnergyTransferMode.DC_combo_core),
            "FAILED_WrongEnergyTransferMode",
        ),
        (
            State.DC_PRE_CHARGE_ONGOING,
            "PowerDeliveryReq",
            "charge_progress",
            (types.ChargeProgress.Start, types.ChargeProgress.Stop),
            "FAILED",
        ),
    ],
)
def test_a_code_without_a_value_is_refused_where_it_decides(
    dc: Iso2Bench, state: State, name: str, field: str, values: tuple[Any, Any], refused: str
) -> None:
    """The codes of the two values differ in one bit, and the highest code has no value."""
    dc.reach(state)
    one, other = (bits(exi.encode(dc.wrapped(dc.session.session_id, dc.ask(name, **{field: e})))) for e in values)
    width = (len(type(values[0])) - 1).bit_length()
    members = list(type(values[0]))
    low = members.index(values[0])
    at = next(n for n in range(len(one)) if one[n : n + width] == f"{low:0{width}b}"
              and other[n : n + width] == f"{members.index(values[1]):0{width}b}" and one[:n] == other[:n])  # fmt: skip
    stream = one[:at] + "1" * width + one[at + width :]
    before = len(dc.responses)
    dc.raw(frame(PayloadType.SAP, bytes(int(stream[n : n + 8], 2) for n in range(0, len(stream), 8))))
    assert code(dc.responses[before]) == refused
    dc.pass_time(5.0)
    assert dc.reason == "unlisted_value"
    assert not dc.session.powered
