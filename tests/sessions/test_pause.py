"""Vehicle and charger joined in memory: pauses, standby, and services and needs that change on the way."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session import ports as ev
from evcc.session.contracts import Contract
from evcc.session.d20.stages import PowerStopping, RampingDown, Stopping
from evcc.session.settings import ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import EnergyService, SeccConfig
from tests.iso15118.d20.contracts import NOW, new_contract
from tests.sessions.joined import Joined, end_meanwhile, make_tariff, messages
from v2g import exi
from v2g.energy.limits import Setpoint
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.records import ServiceChanged, TariffSet
from v2g.iso15118.d20.messages.common_messages import ScheduleExchangeRes
from v2g.iso15118.d20.messages.dc import DC_ChargeLoopReq
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.d20.services import ServiceId
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame
from v2g.pki.keys import SoftwareKey
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

SERVICES = (EnergyService.AC_BPT, EnergyService.AC, EnergyService.DC_BPT, EnergyService.DC)
CHARGE = ProgramStep(do="charge", energy_wh=200)
DISCHARGE = ProgramStep(do="discharge", energy_wh=200)
REST = ProgramStep(do="wait", for_s=120, standby=True)

Join = Callable[..., Joined]


@pytest.fixture
def join(pki: PkiTree) -> Join:
    """Return a maker of joined pairs whose charger serves everything."""
    defaults = {"charger": SeccConfig(services=SERVICES), "vehicle": vehicle(CHARGE, DISCHARGE)}

    def make(**options: Any) -> Joined:
        return Joined(pki, time.time_ns() // 1_000_000, **(options if "before" in options else {**defaults, **options}))

    return make


def vehicle(*program: ProgramStep, service: str = "DC_BPT", mode: str = "dynamic") -> SessionConfig:
    return SessionConfig(
        program=program,
        services=ServiceConfig(energy=(service,), control_mode=(mode,)),  # type: ignore[arg-type]
    )


def either_way(*program: ProgramStep) -> SessionConfig:
    """Return a vehicle that gives energy back where it may, and else only charges."""
    return SessionConfig(program=program, services=ServiceConfig(energy=("DC_BPT", "DC"), control_mode=("dynamic",)))


def tell_vehicle(joined: Joined, fact: Any) -> None:
    joined.evcc.fact(fact, joined.now, joined.utc_ms)
    joined.settle()


def tell_charger(joined: Joined, fact: Any) -> None:
    joined.secc.fact(fact, joined.now, joined.utc_ms)
    joined.settle()


def charging(joined: Joined) -> Callable[[], bool]:
    return lambda: joined.plant.flow()[1] > 1_000


@pytest.mark.some(2)
@pytest.mark.parametrize("asks", ["vehicle", "charger"])
@pytest.mark.parametrize("service", ["DC_BPT", "AC_BPT"])
@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_a_paused_session_is_joined_and_ends_with_its_program_done_once(
    join: Join, asks: str, service: str, mode: str
) -> None:
    first = join(vehicle=vehicle(CHARGE, DISCHARGE, service=service, mode=mode))
    first.run(charging(first))
    if asks == "vehicle":
        tell_vehicle(first, ev.StopRequested("driver", pause=True))
    else:
        tell_charger(first, se.PauseRequested())
    first.run()
    assert (first.evcc_reason, first.secc_reason) == ("paused", "paused")
    assert first.plant.flow()[1] == 0
    second = join(before=first)
    second.complete()
    assert second.vehicle_saw("session", "joined")
    assert not second.charger_saw("authorization", "asked")
    battery = second.plant.battery.state
    assert 200_000 <= battery.charged_mwh < 215_000  # the program went on, it did not begin again
    assert 200_000 <= battery.discharged_mwh < 215_000
    assert second.imported_mwh() == pytest.approx(battery.charged_mwh, abs=1_500)
    assert second.exported_mwh() == pytest.approx(battery.discharged_mwh, abs=1_500)
    reported = second.vehicle_saw("metering", "reading")[-1]
    assert reported["charged_wh"] == pytest.approx(battery.charged_mwh / 1000, abs=3)  # of both parts (V2G20-902)


def test_what_has_flowed_is_signed_before_a_pause(join: Join) -> None:
    first = join(vehicle=vehicle(CHARGE, DISCHARGE, service="DC_BPT", mode="dynamic"))
    first.run(lambda: first.plant.battery.state.charged_mwh > 20_000)
    tell_charger(first, se.PauseRequested())
    first.run()
    assert (first.evcc_reason, first.secc_reason) == ("paused", "paused")
    (signed,) = first.charger_saw("metering", "confirmed")
    assert signed["charged_wh"] >= first.imported_mwh() // 1000 - 200
    assert [each["notification"] for each in first.charger_saw("loop", "notice")] == ["MeteringConfirmation", "Pause"]


def test_readings_after_a_pause_are_signed_by_the_contract_that_pays(pki: PkiTree) -> None:
    """The first of the vehicle's contracts was refused, another one pays."""
    names = {"DEV2GC0000000A": 300, "DEV2GC0000000B": 200}
    known = tuple(new_contract(pki, each, not_after=NOW + timedelta(days=days)) for each, days in names.items())
    contracts = tuple(Contract(each.chain, SoftwareKey(each.key)) for each in known)

    class Refusing(Joined):
        def obey_charger(self, command: Command) -> Fact | None:
            if isinstance(command, se.AuthorizeContract) and command.emaid == "DEV2GC0000000A":
                return se.AuthorizationDecided(command.attempt, AuthorizationStatus.REFUSED)
            return super().obey_charger(command)

    options: dict[str, Any] = {"charger": SeccConfig(services=SERVICES), "contracts": contracts}
    first = Refusing(pki, time.time_ns() // 1_000_000, vehicle=vehicle(CHARGE, service="DC"), **options)
    first.run(charging(first))
    tell_vehicle(first, ev.StopRequested("driver", pause=True))
    first.run()
    second = Refusing(pki, first.utc_ms, before=first, **options)
    second.run(charging(second))
    tell_charger(second, se.MeteringConfirmationRequested())
    second.complete()
    assert [each["emaid"] for each in second.charger_saw("metering", "confirmed")] == ["DEV2GC0000000B"]


def test_prices_that_changed_during_a_pause_are_in_the_journal(join: Join) -> None:
    first = join()
    first.run(charging(first))
    tell_charger(first, se.PauseRequested())
    first.run()
    second = join(before=first, tariff=make_tariff(first.utc_ms, compensation=100_000, version=2))
    second.run()
    assert second.vehicle_saw("session", "joined")
    reported = [entry.data for entry in verify_lines(b"".join(second.lines))]
    versions = [each.tariff.version for each in reported if isinstance(each, TariffSet)]
    resumed = next(place for place, each in enumerate(reported) if getattr(each, "reason", "") == "resumed")
    assert (versions, type(reported[resumed + 1])) == ([1, 2], TariffSet)


def test_another_vehicle_cannot_join(join: Join) -> None:
    first = join()
    first.run(charging(first))
    tell_vehicle(first, ev.StopRequested("driver", pause=True))
    first.run()
    second = join(before=first, vehicle_certificate=b"another vehicle")
    second.run()
    assert second.vehicle_saw("session", "established")
    assert second.charger_saw("authorization", "asked")
    assert [type(each) for each in second.secc_actions if isinstance(each, se.ForgetSession)]
    assert second.evcc_reason == "finished"


@pytest.mark.parametrize("service", ["DC_BPT", "AC"])
@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
def test_a_vehicle_rests_in_standby_and_goes_on(join: Join, service: str, mode: str) -> None:
    joined = join(vehicle=vehicle(CHARGE, REST, CHARGE, service=service, mode=mode))
    joined.complete()
    assert joined.vehicle_saw("power", "standby") == [{"refused": False}]
    assert len(joined.charger_saw("power", "standby")) == len(joined.charger_saw("power", "standby_left")) == 1
    assert 400_000 <= joined.plant.battery.state.charged_mwh < 430_000


def test_a_vehicle_that_may_not_rest_waits_in_the_loop(join: Join) -> None:
    joined = join(vehicle=vehicle(CHARGE, REST, CHARGE), charger=SeccConfig(standby=False))
    joined.run()
    assert joined.vehicle_saw("power", "standby") == [{"refused": True}]
    assert joined.evcc_reason == "finished"
    assert 400_000 <= joined.plant.battery.state.charged_mwh < 430_000


def test_the_charger_calls_a_resting_vehicle_and_it_comes(join: Join) -> None:
    joined = join(vehicle=vehicle(CHARGE, REST, CHARGE))
    joined.run(lambda: bool(joined.charger_saw("power", "standby")))
    tell_charger(joined, se.SetpointChanged(Setpoint(power_w=10_000, source="csms")))
    joined.run(lambda: bool(joined.charger_saw("power", "standby_left")))
    joined.run()
    assert joined.evcc_reason == "finished"
    assert len(joined.vehicle_saw("power", "standby")) == 1  # it waits on in the loop, as it was called


def test_a_vehicle_in_standby_can_pause(join: Join) -> None:
    first = join(vehicle=vehicle(CHARGE, REST, CHARGE))
    first.run(lambda: bool(first.vehicle_saw("power", "standby")))
    tell_vehicle(first, ev.StopRequested("driver", pause=True))
    first.run()
    assert first.evcc_reason == "paused"
    second = join(before=first)
    second.run()
    assert second.evcc_reason == "finished"
    assert 400_000 <= second.plant.battery.state.charged_mwh < 430_000


@pytest.mark.parametrize("asks", ["vehicle", "charger"])
def test_services_are_selected_anew_and_the_session_goes_on(join: Join, asks: str) -> None:
    joined = join()
    joined.run(charging(joined))
    if asks == "vehicle":
        tell_vehicle(joined, ev.StopRequested("driver", reselect=True))
    else:  # what the vehicle has is still allowed, another service no more
        tell_charger(joined, se.EnergyTransferAllowed(frozenset({ServiceId.DC_BPT})))
    joined.complete()
    assert len(joined.vehicle_saw("service", "selected")) == 2
    changed = [a.record for a in joined.secc_actions if isinstance(a, se.Journal)]
    assert [each.reason for each in changed if isinstance(each, ServiceChanged)] == ["selected", "renegotiated"]
    assert joined.records().count("SessionStarted") == 1
    assert joined.plant.battery.state.discharged_mwh >= 200_000


@pytest.mark.parametrize("beside", [False, True])
def test_a_new_schedule_may_ask_for_a_pause(join: Join, beside: bool) -> None:
    config = vehicle(CHARGE)
    joined = join(vehicle=replace(config, services=replace(config.services, renegotiate_beside=beside)))
    joined.run(charging(joined))
    stream = PayloadType.SCHEDULE_RENEGOTIATION if beside else PayloadType.COMMON

    def pausing(data: bytes) -> bytes:
        changed = b""
        for each in Framer().feed(data):
            message = exi.decode(each.payload, COMMON_MESSAGES) if each.payload_type == stream else None
            asks = isinstance(message, ScheduleExchangeRes)
            changed += frame(
                each.payload_type, exi.encode(replace(message, go_to_pause=True)) if asks else each.payload
            )
        return changed

    joined.wire_to_evcc = pausing
    tell_charger(joined, se.RenegotiationRequested())
    joined.run()
    assert (joined.evcc_reason, joined.secc_reason) == ("paused", "paused")


@pytest.mark.parametrize("resumed", [False, True])
def test_the_program_goes_on_with_other_services(join: Join, resumed: bool) -> None:
    joined = join()
    if resumed:
        joined.run(charging(joined))
        tell_vehicle(joined, ev.StopRequested("driver", pause=True))
        joined.run()
        joined = join(before=joined)
    joined.run(lambda: joined.plant.battery.state.discharged_mwh > 100_000)
    tell_vehicle(joined, ev.StopRequested("driver", reselect=True))
    joined.run()
    assert joined.evcc_reason == "finished"
    battery = joined.plant.battery.state
    assert 200_000 <= battery.charged_mwh < 215_000
    assert 200_000 <= battery.discharged_mwh < 215_000


def test_a_session_begins_with_charging_only_and_gives_back_once_the_back_end_allows_it(join: Join) -> None:
    """Q02: the vehicle would have taken DC_BPT; it may after NotifyAllowedEnergyTransfer (Q02.FR.06)."""
    joined = join(vehicle=either_way(CHARGE, DISCHARGE))
    joined.allowed_services = frozenset({ServiceId.DC})
    joined.run(charging(joined))
    tell_charger(joined, se.EnergyTransferAllowed(frozenset({ServiceId.DC, ServiceId.DC_BPT})))
    joined.complete()
    assert [each["service"] for each in joined.vehicle_saw("service", "selected")] == ["DC", "DC_BPT"]
    assert [each["services"] for each in joined.charger_saw("service", "offered")] == ["2", "2 6 61440"]
    assert joined.records().count("SessionStarted") == 1
    assert joined.plant.battery.state.discharged_mwh >= 200_000


def test_a_contract_that_covers_no_service_of_the_charger_ends_by_that_name(join: Join) -> None:
    joined = join(vehicle=either_way(CHARGE))
    joined.allowed_services = frozenset({ServiceId.AC})
    joined.run()
    assert joined.evcc_reason == "FAILED"
    assert joined.secc_reason == "energy_transfer_not_allowed"
    assert not joined.vehicle_saw("service", "selected")


def test_who_may_not_give_back_any_more_only_charges_from_then_on(join: Join) -> None:
    joined = join(vehicle=either_way(DISCHARGE, CHARGE))
    joined.run(lambda: joined.plant.flow()[1] < -1_000)
    tell_charger(joined, se.EnergyTransferAllowed(frozenset({ServiceId.DC})))
    joined.run()
    assert joined.evcc_reason == "finished"
    assert [each["service"] for each in joined.vehicle_saw("service", "selected")] == ["DC_BPT", "DC"]
    given = joined.plant.battery.state.discharged_mwh
    assert 0 < given < 200_000
    reported = joined.vehicle_saw("metering", "reading")[-1]
    assert reported["discharged_wh"] == pytest.approx(given / 1000, abs=3)  # of the whole session (V2G20-902)
    assert not joined.vehicle_saw("offer", "checkpoint_missing")  # only charging has none


def test_a_list_that_changes_nothing_on_offer_disturbs_nobody(join: Join) -> None:
    joined = join()
    joined.run(charging(joined))
    tell_charger(joined, se.EnergyTransferAllowed(frozenset(range(1, 12))))
    joined.run()
    assert joined.evcc_reason == "finished"
    assert len(joined.vehicle_saw("service", "selected")) == 1


def test_what_is_allowed_holds_beyond_a_pause(join: Join) -> None:
    first = join(vehicle=either_way(CHARGE, DISCHARGE))
    first.allowed_services = frozenset({ServiceId.DC})
    first.run(charging(first))
    tell_vehicle(first, ev.StopRequested("driver", pause=True))
    first.run()
    second = join(before=first)
    second.run(charging(second))
    tell_vehicle(second, ev.StopRequested("driver", reselect=True))
    second.run()
    assert [each["services"] for each in second.charger_saw("service", "offered")] == ["2"]


def test_new_needs_of_a_scheduled_vehicle_lead_to_a_new_schedule(join: Join) -> None:
    joined = join(vehicle=vehicle(CHARGE, mode="scheduled"))
    joined.run(charging(joined))
    tell_vehicle(joined, ev.NeedsChanged(departure_ms=joined.utc_ms + 3 * 3600_000, target_soc=90))
    joined.run()
    assert joined.evcc_reason == "finished"
    assert len(joined.vehicle_saw("schedule", "renegotiating")) == 1
    plans = [plan["departure_ms"] for plan in joined.charger_saw("schedule", "planned")]
    assert len(plans) == 2
    assert plans[1] < plans[0]


def test_new_needs_of_a_dynamic_vehicle_are_sent_in_the_loop(join: Join) -> None:
    joined = join(vehicle=vehicle(CHARGE, mode="dynamic"))
    joined.run(charging(joined))
    tell_vehicle(joined, ev.NeedsChanged(minimum_soc=75, target_soc=90))
    before = len(joined.evcc_actions)
    joined.run()
    shown = [each.display_parameters for each in messages(joined.evcc_actions[before:], DC_ChargeLoopReq)]
    assert {(each.minimum_soc, each.target_soc) for each in shown} == {(75, 90)}
    assert not joined.vehicle_saw("schedule", "renegotiating")
    assert joined.evcc_reason == "finished"


def test_the_charger_renegotiates_a_schedule(join: Join) -> None:
    joined = join(vehicle=vehicle(CHARGE, mode="scheduled"))
    joined.run(charging(joined))
    tell_charger(joined, se.RenegotiationRequested())
    joined.run()
    assert joined.evcc_reason == "finished"
    assert len(joined.vehicle_saw("schedule", "renegotiating")) == 1


@pytest.mark.some(1)
@pytest.mark.requirement("R12")
@pytest.mark.parametrize("service", ["DC_BPT", "AC_BPT"])
def test_a_charger_that_ends_the_session_meanwhile_is_not_asked_to_pause(join: Join, service: str) -> None:
    joined = join(vehicle=vehicle(CHARGE, ProgramStep(do="wait", for_s=600, pause=True), CHARGE, service=service))
    end_meanwhile(joined, RampingDown)
    assert (joined.evcc_reason, joined.secc_reason) == ("finished", "finished")


@pytest.mark.some(2)
@pytest.mark.parametrize("service", ["DC_BPT", "AC_BPT"])
@pytest.mark.parametrize("first", [ev.StopRequested("away", pause=True), ev.StopRequested("other", reselect=True)])
@pytest.mark.parametrize("late", [RampingDown, PowerStopping, Stopping])
def test_a_driver_still_ends_a_session_that_was_to_go_on(
    join: Join, service: str, first: ev.StopRequested, late: type
) -> None:
    joined = join(vehicle=vehicle(CHARGE, service=service))
    joined.run(charging(joined))
    asked: list[str] = []

    def stop_late(data: bytes) -> bytes:
        if isinstance(joined.evcc.stage, late) and not asked:
            asked.append("driver")
            joined.evcc.fact(ev.StopRequested("driver"), joined.now, joined.utc_ms)
        return data

    joined.wire_to_secc = stop_late
    tell_vehicle(joined, first)
    joined.run()
    assert asked
    assert joined.evcc_reason == "finished"
    assert joined.evcc.paused is None
    assert len(joined.vehicle_saw("service", "selected")) == 1
