"""Vehicle and charger joined in memory, with conversations beside the main stream and services beside energy."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session import ports as ev
from evcc.session.settings import ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import EnergyService, ParkingSpace, SeccConfig
from tests.sessions.joined import Joined
from v2g.energy.settlement.records import MeteringConfirmed
from v2g.exi.codec import encode
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import MeteringConfirmationRes, PowerDeliveryRes, ScheduleExchangeRes
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.messages.schedules import Dynamic_SEResControlMode
from v2g.iso15118.d20.session import decode_payload
from v2g.iso15118.engine.session import Send
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame

CHARGE = ProgramStep(do="charge", energy_wh=400)
CHARGER = SeccConfig(
    services=(EnergyService.AC_BPT, EnergyService.AC, EnergyService.DC_BPT, EnergyService.DC),
    parking=ParkingSpace(space=3, device_location=400),
    internet=("https-443",),
    mobility_needs=(1, 2),
)

Join = Callable[..., Joined]


@pytest.fixture
def join(pki: PkiTree) -> Join:
    """Return a maker of joined pairs; keywords are settings of the vehicle's services."""

    def make(**services: Any) -> Joined:
        vehicle = SessionConfig(program=(CHARGE,), services=ServiceConfig(**services))
        return Joined(pki, time.time_ns() // 1_000_000, vehicle=vehicle, charger=CHARGER)

    return make


def streams(actions: list[Any]) -> list[int]:
    """The payload types of everything sent, in order."""
    framer, found = Framer(), []
    for action in actions:
        if isinstance(action, Send):
            found += [each.payload_type for each in framer.feed(action.data)]
    return found


@pytest.mark.parametrize("service", ["DC_BPT", "AC"])
@pytest.mark.parametrize("asks", ["vehicle", "charger"])
def test_a_schedule_is_renegotiated_without_an_interruption(join: Join, service: str, asks: str) -> None:
    joined = join(energy=(service,), control_mode=("scheduled",), renegotiate_beside=True)
    joined.run(lambda: joined.plant.flow()[1] > 1_000)
    if asks == "charger":
        joined.secc.fact(se.RenegotiationRequested(), joined.now, joined.utc_ms)
    else:
        joined.evcc.fact(ev.NeedsChanged(departure_ms=joined.utc_ms + 7200_000), joined.now, joined.utc_ms)
    joined.settle()
    while not joined.vehicle_saw("schedule", "renegotiated_beside"):
        joined.advance()
        assert joined.plant.flow()[1] > 1_000  # energy flows on
    joined.complete()
    assert streams(joined.evcc_actions).count(PayloadType.SCHEDULE_RENEGOTIATION) >= 2
    assert streams(joined.secc_actions).count(PayloadType.SCHEDULE_RENEGOTIATION) >= 2
    assert len(joined.charger_saw("schedule", "renegotiated_beside")) == 1
    assert not joined.vehicle_saw("schedule", "renegotiating")
    assert len(joined.charger_saw("schedule", "planned")) == 2


def test_needs_that_the_charger_sets_beside_the_loop_are_followed(join: Join) -> None:
    joined = join(
        energy=("DC_BPT",), control_mode=("dynamic",), mobility_needs=("secc", "evcc"), renegotiate_beside=True
    )
    joined.run(lambda: joined.plant.flow()[1] > 1_000)

    def sooner(data: bytes) -> bytes:
        (only,) = Framer().feed(data)
        if only.payload_type == PayloadType.SCHEDULE_RENEGOTIATION:
            response, _ = decode_payload(only.payload_type, only.payload, Family.DC)
            if isinstance(response, ScheduleExchangeRes):
                mode = Dynamic_SEResControlMode(departure_time=1800, minimum_soc=40, target_soc=72)
                response = replace(response, dynamic_se_res_control_mode=mode)
                return frame(only.payload_type, encode(response))
        return data

    joined.wire_to_evcc = sooner
    joined.secc.fact(se.RenegotiationRequested(), joined.now, joined.utc_ms)
    joined.run()
    assert joined.vehicle_saw("schedule", "needs_changed")[-1] == {"target_soc": 72, "minimum_soc": 40}
    assert joined.evcc_reason == "finished"


def kept(held: list[bytes], kind: type) -> Callable[[bytes], bytes]:
    """A wire that keeps responses of this kind back."""

    def wire(data: bytes) -> bytes:
        (only,) = Framer().feed(data)
        if only.payload_type not in (PayloadType.COMMON, PayloadType.SCHEDULE_RENEGOTIATION):
            return data
        if not isinstance(decode_payload(only.payload_type, only.payload, Family.DC)[0], kind):
            return data
        held.append(data)
        return b""

    return wire


def replan(joined: Joined, hours: int) -> None:
    """The vehicle's driver leaves in so many hours."""
    joined.evcc.fact(ev.NeedsChanged(departure_ms=joined.utc_ms + hours * 3600_000), joined.now, joined.utc_ms)
    joined.settle()


def test_needs_that_change_during_a_renegotiation_lead_to_the_next(join: Join) -> None:
    joined = join(energy=("DC_BPT",), control_mode=("scheduled",), renegotiate_beside=True)
    joined.run(lambda: joined.plant.flow()[1] > 1_000)
    held: list[bytes] = []
    joined.wire_to_evcc = kept(held, ScheduleExchangeRes)
    replan(joined, hours=2)
    joined.run(lambda: bool(held))
    replan(joined, hours=1)
    joined.wire_to_evcc = lambda data: data
    joined.deliver(joined.evcc, held.pop())
    joined.settle()
    joined.run()
    assert joined.evcc_reason == "finished"
    assert len(joined.charger_saw("schedule", "renegotiated_beside")) == 2
    assert joined.charger_saw("schedule", "planned")[-1] != joined.charger_saw("schedule", "planned")[-2]


def test_a_schedule_agreed_between_two_exchanges_of_the_loop_is_followed(join: Join) -> None:
    """The charger accepts it while the vehicle signs a reading on its main stream."""
    joined = join(energy=("DC_BPT",), control_mode=("scheduled",), renegotiate_beside=True, confirm_beside=False)
    joined.run(lambda: joined.plant.flow()[1] > 1_000)
    before, accepted, confirmed = joined.evcc.stage.plan.schedule, list[bytes](), list[bytes]()
    joined.wire_to_evcc = kept(accepted, PowerDeliveryRes)
    replan(joined, hours=2)
    joined.run(lambda: bool(accepted))
    joined.wire_to_evcc = kept(confirmed, MeteringConfirmationRes)
    joined.secc.fact(se.MeteringConfirmationRequested(), joined.now, joined.utc_ms)
    joined.run(lambda: bool(confirmed))
    joined.wire_to_evcc = lambda data: data
    for data in (*accepted, *confirmed):
        joined.deliver(joined.evcc, data)
    joined.settle()
    assert joined.vehicle_saw("metering", "confirmed")
    assert joined.evcc.stage.plan.schedule != before


def test_a_vehicle_that_has_left_the_loop_asks_no_more_for_a_schedule(join: Join) -> None:
    """A charger that needs longer for it would refuse the request as out of order."""
    joined = join(energy=("DC_BPT",), control_mode=("scheduled",), renegotiate_beside=True)
    joined.run(lambda: joined.plant.flow()[1] > 1_000)
    ongoing: list[bytes] = []

    def slow(data: bytes) -> bytes:
        (only,) = Framer().feed(data)
        if only.payload_type == PayloadType.SCHEDULE_RENEGOTIATION:
            response, _ = decode_payload(only.payload_type, only.payload, Family.DC)
            assert isinstance(response, ScheduleExchangeRes)
            data = frame(only.payload_type, encode(replace(response, evse_processing=Processing.Ongoing)))
            ongoing.append(data)
        return data

    def again(data: bytes) -> bytes:
        (only,) = Framer().feed(data)
        if only.payload_type != PayloadType.SCHEDULE_RENEGOTIATION or joined.charger_saw("stop", "power_stopped"):
            return data
        joined.deliver(joined.evcc, ongoing[0])
        return b""

    joined.wire_to_evcc = slow
    replan(joined, hours=2)
    joined.wire_to_evcc, joined.wire_to_secc = lambda data: data, again
    joined.advance(0.2)
    joined.evcc.fact(ev.StopRequested("driver"), joined.now, joined.utc_ms)
    joined.complete()


@pytest.mark.parametrize(("beside", "stream"), [(True, PayloadType.METERING_CONFIRMATION), (False, PayloadType.COMMON)])
def test_readings_are_signed_beside_the_loop_or_between_two(join: Join, beside: bool, stream: PayloadType) -> None:
    joined = join(confirm_beside=beside)
    joined.run(lambda: joined.plant.flow()[1] > 1_000)
    joined.secc.fact(se.MeteringConfirmationRequested(), joined.now, joined.utc_ms)
    joined.run()
    assert joined.evcc_reason == "finished"
    entries = [action.record for action in joined.secc_actions if isinstance(action, se.Journal)]
    (entry,) = [each for each in entries if isinstance(each, MeteringConfirmed)]
    assert entry.payload
    assert len(joined.vehicle_saw("metering", "confirmed")) == len(joined.charger_saw("metering", "confirmed")) == 1
    assert (PayloadType.METERING_CONFIRMATION in streams(joined.evcc_actions)) is beside
    assert stream in streams(joined.evcc_actions)


def test_a_charger_that_answers_nothing_beside_is_left(join: Join) -> None:
    joined = join()
    joined.run(lambda: joined.plant.flow()[1] > 1_000)

    def swallow(data: bytes) -> bytes:
        (only,) = Framer().feed(data)
        return b"" if only.payload_type == PayloadType.METERING_CONFIRMATION else data

    joined.wire_to_secc = swallow
    joined.secc.fact(se.MeteringConfirmationRequested(), joined.now, joined.utc_ms)
    asked = joined.now
    joined.run()
    assert joined.evcc_reason == "message_timeout"
    assert 2.0 <= joined.now - asked < 3.0


def test_an_answer_beside_that_nobody_awaits_ends_the_session(join: Join) -> None:
    joined = join()
    joined.run(lambda: joined.plant.flow()[1] > 1_000)
    doubled: list[bytes] = []

    def double(data: bytes) -> bytes:
        (only,) = Framer().feed(data)
        if only.payload_type != PayloadType.METERING_CONFIRMATION:
            return data
        doubled.append(data)
        return data + data

    joined.wire_to_evcc = double
    joined.secc.fact(se.MeteringConfirmationRequested(), joined.now, joined.utc_ms)
    joined.run()
    assert len(doubled) == 1
    assert joined.evcc_reason == "unexpected_message"


@pytest.mark.parametrize("service", ["DC_BPT", "AC"])
def test_a_vehicle_is_guided_in_charges_and_is_let_out(join: Join, service: str) -> None:
    joined = join(energy=(service,), parking="MVGuideManual", internet=True)
    joined.complete()
    ahead = [each["distance"] for each in joined.charger_saw("parking", "check_in")]
    assert ahead == [None, 250, 100, -50]
    assert joined.charger_saw("parking", "check_in")[-1]["status"] == "Completed"
    assert [each["answer"] for each in joined.charger_saw("parking", "check_out")][-1] == "Completed"
    assert joined.vehicle_saw("parking", "left") == [{"free": True}]


def test_a_vehicle_that_has_paused_in_its_space_is_let_out(join: Join, pki: PkiTree) -> None:
    first = join(energy=("DC",), parking="Manual")
    first.run(lambda: first.plant.flow()[1] > 1_000)
    first.evcc.fact(ev.StopRequested("driver", pause=True), first.now, first.utc_ms)
    first.run()
    assert first.evcc_reason == "paused"
    assert not first.charger_saw("parking", "check_out")
    second = Joined(pki, 0, before=first)
    second.complete()
    assert second.vehicle_saw("session", "joined")
    assert second.vehicle_saw("parking", "left") == [{"free": True}]
    assert second.charger_saw("parking", "check_out")[-1]["answer"] == "Completed"


def test_a_vehicle_without_parking_is_not_asked_about_it(join: Join) -> None:
    joined = join()
    joined.run()
    assert not joined.charger_saw("parking", "check_in")
    assert joined.evcc_reason == "finished"
