"""Our vehicle at our charger, joined in memory: what one end says the other understands, and both end well.

The plant between them is arithmetic, so energy can be counted to the last mWh on both sides.
"""

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from evcc.session import ports as ev
from evcc.session.contracts import Contract
from evcc.session.ports import SAFE
from evcc.session.settings import AuthorizationConfig, DischargeConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import ControlMode, EnergyService, SeccConfig
from tests.sessions.joined import Joined, make_tariff
from tests.sessions.whole_session import assert_safe
from v2g.energy.limits import OPERATOR, Limit
from v2g.energy.settlement.records import VehicleDescribed
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine.session import Send
from v2g.iso15118.engine.v2gtp import HEADER_SIZE, PayloadType
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

CHARGE = ProgramStep(do="charge", energy_wh=200)
DISCHARGE = ProgramStep(do="discharge", energy_wh=300)
BOTH = SessionConfig(program=(CHARGE, DISCHARGE))

Join = Callable[..., Joined]


@pytest.fixture
def join(pki: PkiTree) -> Join:
    """Return a maker of joined pairs, at the real date because the certificates are."""
    return lambda **options: Joined(pki, time.time_ns() // 1_000_000, **{"vehicle": BOTH, **options})


@pytest.mark.requirement("R31")
def test_a_plug_and_charge_session_charges_discharges_and_ends_with_both_sides_agreeing(join: Join) -> None:
    joined = join()
    joined.complete()
    assert_safe(joined)
    battery = joined.plant.battery.state
    assert joined.imported_mwh() == pytest.approx(battery.charged_mwh, abs=1_000)
    assert joined.exported_mwh() == pytest.approx(battery.discharged_mwh, abs=1_000)
    assert 300_000 <= battery.discharged_mwh < 310_000
    assert joined.vehicle_saw("service", "selected") == [
        {"service": "DC_BPT", "control_mode": "Dynamic", "signed_discharge": True}
    ]
    reported = joined.vehicle_saw("metering", "reading")[-1]
    assert reported["discharged_wh"] == pytest.approx(300, abs=5)
    (ended,) = joined.vehicle_saw("session", "ended")
    assert ended["session_id"] == joined.evcc.session_id.hex()
    assert (ended["charged_mwh"], ended["discharged_mwh"]) == (battery.charged_mwh, battery.discharged_mwh)


def test_the_journal_holds_every_step_before_its_effect(join: Join) -> None:
    joined = join()
    joined.run()
    records = joined.records()
    order = ["SessionStarted", "ContractAuthorized", "TermsOffered", "TermsDecided", "CommandAccepted"]
    assert [records.index(each) for each in order] == sorted(records.index(each) for each in order)
    assert records.count("CommandAccepted") == len(joined.vehicle_saw("power", "command_signed"))
    assert "CommandRejected" not in records


@pytest.mark.requirement("R36")
def test_the_journal_has_the_batterys_capacity_as_the_vehicle_reported_it_once(join: Join) -> None:
    joined = join()
    joined.run()
    journal = [action.record for action in joined.secc_actions if isinstance(action, se.Journal)]
    reported = [each.battery_capacity_wh for each in journal if isinstance(each, VehicleDescribed)]
    assert reported == [None, joined.plant.battery.state.capacity_wh]


@pytest.mark.requirement("R8")
def test_plug_to_power_takes_little_time_of_the_protocol(join: Join) -> None:
    joined = join()
    joined.run(lambda: bool(joined.vehicle_saw("power", "started")))
    assert joined.now - 500.0 < 1.0


@pytest.mark.requirement("R6")
def test_an_offer_is_decided_at_once_and_both_ends_say_so(join: Join) -> None:
    joined = join()
    joined.run(lambda: bool(joined.charger_saw("offer", "decided")))
    (seen,) = joined.charger_saw("offer", "decided")
    assert seen["accepted"]
    assert seen["latency_ms"] < 500
    assert joined.vehicle_saw("offer", "decided")[0]["decision_ms"] < 500


def test_a_lower_export_limit_lowers_the_power_within_two_loops(join: Join) -> None:
    vehicle = SessionConfig(program=(ProgramStep(do="discharge", for_s=600),))
    joined = join(vehicle=vehicle)
    joined.run(lambda: joined.plant.flow()[1] < -20_000)
    for _ in range(20):
        joined.advance()
    assert -joined.plant.flow()[1] * joined.plant.flow()[0] // 10**6 == pytest.approx(8_000, rel=0.01)
    limit = Limit(source=OPERATOR, charge_w=22_000, discharge_w=3_000, version=2)
    joined.secc.fact(se.GridChanged((limit,)), joined.now, joined.utc_ms)
    joined.settle()
    for _ in range(8):
        joined.advance()
    assert -joined.plant.flow()[1] * joined.plant.flow()[0] // 10**6 == pytest.approx(3_000, rel=0.01)
    joined.run(lambda: joined.vehicle_saw("offer", "received")[-1]["max_discharge_w"] == 3_000)
    assert not joined.evcc.closed


def test_a_compensation_below_the_owners_wish_means_no_discharge(join: Join) -> None:

    vehicle = SessionConfig(program=(DISCHARGE,), discharge=DischargeConfig(minimum_compensation=Decimal("0.26")))
    joined = join(vehicle=vehicle)
    joined.run()
    assert joined.evcc_reason == "finished"
    assert not joined.charger_saw("offer", "decided")[0]["accepted"]
    assert joined.exported_mwh() == 0
    assert "CommandAccepted" not in joined.records()


@pytest.mark.requirement("R7")
def test_new_prices_are_offered_anew(join: Join) -> None:
    joined = join(vehicle=SessionConfig(program=(ProgramStep(do="discharge", for_s=300),)))
    joined.run(lambda: joined.plant.flow()[1] < 0)
    tariff = make_tariff(joined.utc_ms, compensation=50_000, version=2)
    joined.secc.fact(se.GridChanged((), tariff), joined.now, joined.utc_ms)
    joined.settle()
    assert joined.vehicle_saw("offer", "decided")[-1]["reason"] == "compensation_too_low"
    for _ in range(30):
        joined.advance()
    assert joined.plant.flow()[1] == 0


@pytest.mark.parametrize("mode", ["dynamic", "scheduled"])
@pytest.mark.parametrize("service", ["DC_BPT", "DC"])
def test_every_service_in_every_control_mode(join: Join, mode: Any, service: Any) -> None:
    steps = (CHARGE, DISCHARGE) if service == "DC_BPT" else (CHARGE,)
    vehicle = SessionConfig(program=steps, services=ServiceConfig(energy=(service,), control_mode=(mode,)))
    joined = join(vehicle=vehicle)
    joined.complete()
    assert joined.imported_mwh() >= 200_000
    assert (joined.exported_mwh() >= 290_000) == (service == "DC_BPT")
    assert_safe(joined)


def test_a_charger_that_offers_only_scheduled_first_is_understood(join: Join) -> None:
    charger = SeccConfig(control_modes=(ControlMode.SCHEDULED,), services=(EnergyService.DC_BPT,))
    joined = join(charger=charger)
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.exported_mwh() >= 290_000


def test_external_identification(join: Join) -> None:
    vehicle = SessionConfig(program=(CHARGE,), authorization=AuthorizationConfig(allow_eim=True))
    joined = join(vehicle=vehicle, charger=SeccConfig(authorization=(Authorization.EIM,)))
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.vehicle_saw("authorization", "granted")[0]["service"] == "EIM"


@pytest.mark.parametrize("status", [s for s in AuthorizationStatus if s is not AuthorizationStatus.ACCEPTED])
def test_a_refused_contract_gets_no_energy_and_the_vehicle_knows_why(join: Join, status: Any) -> None:
    joined = join(authorized=status)
    joined.run()
    assert joined.evcc_reason.startswith("WARNING")
    assert joined.secc_reason == "finished"
    assert joined.imported_mwh() == joined.exported_mwh() == 0
    assert_safe(joined)


def test_a_signature_by_another_key_is_not_believed(join: Join, pki: PkiTree) -> None:
    joined = join(contract=Contract(pki.chain("contract"), pki.key("vehicle")))
    joined.run()
    assert joined.evcc_reason == "FAILED_SignatureError"
    assert joined.secc_reason == "FAILED_SignatureError"
    assert_safe(joined)


def test_readings_are_confirmed_when_the_charger_asks(join: Join) -> None:
    joined = join()
    joined.run(lambda: joined.plant.flow()[1] < 0)
    joined.secc.fact(se.MeteringConfirmationRequested(), joined.now, joined.utc_ms)
    joined.settle()
    joined.run()
    assert joined.vehicle_saw("metering", "confirmed")
    assert joined.records().count("MeteringConfirmed") == 1
    assert joined.evcc_reason == "finished"


def test_the_operator_ends_the_session(join: Join) -> None:
    joined = join(vehicle=SessionConfig(program=(ProgramStep(do="charge", until_soc=90),)))
    joined.run(lambda: joined.plant.flow()[1] > 0)
    joined.secc.fact(se.StopRequested("remote"), joined.now, joined.utc_ms)
    joined.settle()
    joined.run(most_s=5)
    assert joined.evcc_reason == "finished"
    assert joined.vehicle_saw("stop", "stopping")[0]["cause"] == "evse_terminated"
    assert_safe(joined)


def test_schedules_are_renegotiated_in_mid_run(join: Join) -> None:
    joined = join()
    joined.run(lambda: joined.plant.flow()[1] > 0)
    joined.secc.fact(se.RenegotiationRequested(), joined.now, joined.utc_ms)
    joined.settle()
    joined.run()
    assert joined.vehicle_saw("schedule", "renegotiating")
    assert len(joined.vehicle_saw("schedule", "agreed")) == 2
    assert joined.evcc_reason == "finished"
    assert joined.exported_mwh() >= 300_000


def test_the_driver_ends_the_session(join: Join) -> None:
    joined = join()
    joined.run(lambda: joined.plant.flow()[1] < 0)
    joined.evcc.fact(ev.StopRequested("driver"), joined.now, joined.utc_ms)
    joined.settle()
    joined.complete(most_s=5)
    assert_safe(joined)


@pytest.mark.parametrize("direction", [1, -1])
def test_a_cut_link_leaves_both_ends_safe_within_their_timeouts(join: Join, direction: int) -> None:
    joined = join(vehicle=SessionConfig(program=(CHARGE, ProgramStep(do="discharge", for_s=6000))))
    joined.run(lambda: joined.plant.flow()[1] * direction > 0)
    joined.cut = True
    cut_at = joined.now
    joined.run(lambda: joined.evcc.closed, most_s=10)
    assert joined.evcc_reason == "message_timeout"
    assert joined.now - cut_at <= 0.75  # a pause of 0.1 s, a request, and 0.5 s of waiting
    assert not joined.plant.ev_closed
    joined.run(most_s=10)
    assert_safe(joined)


def test_a_charger_that_is_killed_leaves_the_vehicle_safe_at_once(join: Join) -> None:
    joined = join()
    joined.run(lambda: joined.plant.flow()[1] < 0)
    joined.evcc.receive_eof(joined.now, joined.utc_ms)
    joined.settle()
    assert joined.evcc_reason == "secc_vanished"
    kinds = tuple({type(each) for each in SAFE})
    assert [each for each in joined.evcc_actions if isinstance(each, kinds)][-len(SAFE) :] == list(SAFE)
    assert not joined.plant.ev_closed


def test_a_pulled_plug_ends_both_sides(join: Join) -> None:
    joined = join()
    joined.run(lambda: joined.plant.flow()[1] > 0)
    joined.evcc.fact(ev.PlugState(connected=False), joined.now, joined.utc_ms)
    joined.settle()
    joined.run(most_s=10)
    assert joined.evcc_reason == "unplugged"
    assert_safe(joined)


def test_bytes_may_arrive_one_at_a_time(join: Join) -> None:
    joined = join(vehicle=SessionConfig(program=(ProgramStep(do="charge", energy_wh=30), DISCHARGE)))
    for session in (joined.evcc, joined.secc):
        whole = session.receive

        def receive(data: bytes, now: float, utc_ms: int, whole: Any = whole) -> None:
            for n in range(len(data)):
                whole(data[n : n + 1], now, utc_ms)

        session.receive = receive  # type: ignore[method-assign]
    joined.run()
    assert joined.evcc_reason == "finished"


@pytest.mark.requirement("R26")
def test_a_replayed_command_moves_nothing(join: Join) -> None:
    """Somebody between the two repeats every signed frame of the vehicle; TLS would not let them."""
    joined = join(vehicle=SessionConfig(program=(DISCHARGE,)))

    def twice(data: bytes) -> bytes:
        signed = int.from_bytes(data[2:4], "big") == PayloadType.SIGNED_DISCHARGE
        return data * 2 if signed else data

    joined.wire_to_secc = twice
    joined.run()
    records = joined.records()
    assert records.count("CommandRejected") >= records.count("CommandAccepted") - 1 > 3
    assert joined.exported_mwh() == pytest.approx(joined.plant.battery.state.discharged_mwh, abs=1_000)
    rejected = joined.charger_saw("offer", "command_rejected")
    assert {each["reason"] for each in rejected} == {"replayed"}


@pytest.mark.requirement("R26")
def test_a_command_whose_watts_were_changed_moves_nothing(join: Join) -> None:
    joined = join(vehicle=SessionConfig(program=(ProgramStep(do="discharge", for_s=100),)))

    def flip(data: bytes) -> bytes:
        if int.from_bytes(data[2:4], "big") != PayloadType.SIGNED_DISCHARGE or not joined.charger_saw(
            "offer", "decided"
        ):
            return data
        broken = bytearray(data)
        broken[HEADER_SIZE + 60] ^= 1
        return bytes(broken)

    joined.wire_to_secc = flip
    joined.run()
    assert joined.exported_mwh() == 0
    assert "CommandAccepted" not in joined.records()
    assert "CommandRejected" in joined.records()


@pytest.mark.requirement("R26")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 40), st.booleans(), st.floats(0, 1, exclude_max=True))
@example(8, False, 0.423828125)  # noqa: FBT003  a limit of the charger becomes 0 W: nothing flows, and the step's time ends it
def test_one_flipped_bit_anywhere_breaks_no_end_and_frees_no_energy(
    join: Join, victim: int, to_secc: bool, position: float
) -> None:
    """Whatever single bit of whatever frame flips: no exception, both ends safe, no Wh without an accepted command."""
    steps = (ProgramStep(do="charge", energy_wh=20, for_s=60), ProgramStep(do="discharge", energy_wh=20, for_s=60))
    joined = join(vehicle=SessionConfig(program=steps))
    frames = iter(range(1_000_000))

    def flip(octets: bytes) -> bytes:
        if next(frames) != victim:
            return octets
        broken = bytearray(octets)
        bit = int(position * len(octets) * 8)
        broken[bit // 8] ^= 128 >> bit % 8
        return bytes(broken)

    if to_secc:
        joined.wire_to_secc = flip
    else:
        joined.wire_to_evcc = flip
    joined.run(most_s=300)
    assert_safe(joined)
    if "CommandAccepted" not in joined.records():
        assert joined.exported_mwh() == 0


def test_a_session_costs_little_work(join: Join) -> None:
    """Both cores together, whole session with 50 loops; the bound is ten times what it takes."""
    joined = join()
    began = time.process_time()
    joined.run()
    assert time.process_time() - began < 2.0
    assert sum(isinstance(action, Send) for action in joined.evcc_actions) > 50
