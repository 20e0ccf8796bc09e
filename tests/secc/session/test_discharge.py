"""Signed discharge in the session: no live command, no watt; lower limits at once; journal before power."""

import msgspec
import pytest

from secc.session import ports
from secc.session.config import ControlMode, SeccConfig, SignedDischargeConfig
from secc.session.discharge import MAX_REJECTIONS
from tests.secc.session.bench import Bench, make_tariff, number
from tests.secc.session.conftest import MakeBench
from v2g.asn1.discharge import (
    DischargeCheckpoint,
    DischargeOffer,
    DischargeResult,
    MeterRegisters,
    PriceSlot,
    ResultStatus,
    decode_content,
    decode_signed,
    encode_content,
    encode_signed,
    signed_content,
)
from v2g.energy.discharge_gate import DischargeConfig, JournalHead
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import OPERATOR, SITE, Limit, Setpoint
from v2g.energy.settlement.records import (
    CheckpointAnswered,
    CheckpointIssued,
    CommandAccepted,
    CommandRejected,
    LimitChanged,
    TermsDecided,
    TermsOffered,
)
from v2g.energy.signed import sign_content
from v2g.energy.vehicle import Checkpointed
from v2g.iso15118.d20.messages.common_messages import ChargeProgress, ChargingSession
from v2g.iso15118.d20.messages.common_types import Processing
from v2g.iso15118.d20.prices import fraction
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Send
from v2g.observe import Observe

replace = msgspec.structs.replace


def output(bench: Bench) -> ports.SetOutput:
    return bench.commands(ports.SetOutput)[-1]  # type: ignore[no-any-return]


def newest(bench: Bench) -> object:
    return signed_content(bench.signed_frames[-1])


def operator(watts: int, version: int = 2, until_ms: int | None = None) -> ports.GridChanged:
    return ports.GridChanged(
        (Limit(source=OPERATOR, charge_w=40_000, discharge_w=watts, version=version, valid_until_ms=until_ms),)
    )


@pytest.fixture
def agreed(bench: Bench) -> Bench:
    """Return a bench in the loop whose vehicle accepted the offer and commanded nothing yet."""
    bench.reach(State.DC_CHARGE_LOOP)
    bench.decide()
    return bench


def test_the_offer_follows_the_schedule_and_says_what_limits_it(bench: Bench) -> None:
    bench.reach(State.SCHEDULE_EXCHANGE)
    assert not bench.signed_frames
    bench.go("ScheduleExchangeReq")
    offer = newest(bench)
    assert isinstance(offer, DischargeOffer)
    limits = offer.limits
    assert (limits.ev_w, limits.evse_w, limits.site_w, limits.operator_w) == (12_000, 50_000, 15_000, 10_000)
    assert (limits.max_discharge_w, limits.source, limits.operator_version) == (10_000, "operator", 1)
    assert (offer.session_id, offer.evse_id, offer.currency) == (bench.session.session_id, "DEV2GE00001", "EUR")
    sends = [n for n, each in enumerate(bench.actions) if isinstance(each, Send)]
    written = next(n for n, each in enumerate(bench.actions) if isinstance(each, ports.Journal)
                   and isinstance(each.record, TermsOffered))  # fmt: skip
    assert sends[-2] < written < sends[-1]  # after the response, and in the journal before it leaves


@pytest.mark.parametrize("selected", [(6, 0, False), (2, 0, False)])
def test_without_the_service_there_is_no_offer_and_commands_mean_nothing(
    bench: Bench, selected: tuple[int, int, bool]
) -> None:
    bench.selection = selected
    bench.reach(State.DC_CHARGE_LOOP)
    assert not bench.signed_frames
    bench.signed(b"\x30\x00")
    assert not bench.reason
    assert bench.events("message_ignored") == [{"size": 2}]
    assert output(bench).discharge_w == 0


@pytest.mark.parametrize("tariff", [None, "over"])
def test_without_a_price_there_is_no_offer_until_one_is_known(make_bench: MakeBench, tariff: str | None) -> None:
    bench = make_bench(tariff=None)
    if tariff:
        bench.fact(ports.GridChanged((), make_tariff(bench.utc_ms - 86_400_000, version=1)))
    bench.reach(State.DC_CHARGE_LOOP)
    assert not bench.signed_frames
    assert bench.events("not_possible")[0]["reason"] == ("no_price" if tariff else "no_tariff")
    bench.fact(ports.GridChanged((), make_tariff(bench.utc_ms, version=2)))
    assert isinstance(newest(bench), DischargeOffer)


@pytest.mark.requirement("R6", "R11")
def test_a_decision_is_written_down_with_its_latency(bench: Bench) -> None:
    bench.reach(State.DC_CABLE_CHECK)
    bench.pass_time(0.012)
    bench.decide()
    assert "TermsDecided" in bench.records()
    event = bench.events("decided")[0]
    assert (event["accepted"], event["max_discharge_w"], event["latency_ms"]) == (True, 10_000, 12.0)
    assert not bench.commands(ports.SetOutput)


def test_a_command_is_in_the_journal_before_power_follows_and_power_before_the_word(agreed: Bench) -> None:
    assert output(agreed).discharge_w == 0
    before = len(agreed.actions)
    result = agreed.command(8_000)
    assert (result.status, result.effective_w) == (ResultStatus.ACCEPTED, 8_000)
    kinds = [type(each.record) if isinstance(each, ports.Journal) else type(each) for each in agreed.actions[before:]]
    assert kinds.index(CommandAccepted) < kinds.index(ports.SetOutput) < kinds.index(Send)
    assert output(agreed) == ports.SetOutput(450_000, -40_000, 0, 8_000)
    mode = agreed.go("DC_ChargeLoopReq").cl_res_control_mode
    reported = (mode.evse_maximum_charge_power, mode.evse_maximum_discharge_power)
    assert [fraction(each) for each in reported] == [0, 8_000]
    current = agreed.responses[-1].evse_present_current
    assert fraction(current) == -20  # out of the vehicle


def test_more_than_the_limits_is_clamped(agreed: Bench) -> None:
    agreed.fact(operator(3_000))
    agreed.decide()
    assert agreed.command(9_000).effective_w == 3_000


def loop_until_offered(bench: Bench) -> None:
    """Let the vehicle loop until it has a new offer: that waits a second for the rest of a grid signal."""
    offers = len(bench.signed_frames)
    for _ in range(22):
        if len(bench.signed_frames) > offers:
            return
        bench.pass_time(0.05)
        bench.go("DC_ChargeLoopReq")
    raise AssertionError


def test_one_change_of_the_grid_is_one_offer_in_however_many_parts_it_comes(agreed: Bench) -> None:
    """Limits by charging profiles first, half a second apart, at last the prices and the operator's limit."""
    agreed.command(8_000)
    offers = len(agreed.signed_frames)
    site = Limit(source=SITE, charge_w=40_000, discharge_w=5_000, version=2)
    agreed.fact(ports.GridChanged((site,)))
    assert output(agreed).discharge_w == 5_000  # obeyed at once
    for _ in range(5):
        agreed.pass_time(0.1)
        agreed.go("DC_ChargeLoopReq")
    agreed.fact(operator(4_000))
    assert output(agreed).discharge_w == 4_000
    assert len(agreed.signed_frames) == offers
    limit = Limit(source=OPERATOR, charge_w=40_000, discharge_w=4_000, version=3)
    agreed.fact(ports.GridChanged((limit,), make_tariff(agreed.utc_ms, version=9)))
    assert len(agreed.signed_frames) == offers + 1
    agreed.decide()
    for _ in range(30):
        agreed.pass_time(0.1)
        agreed.go("DC_ChargeLoopReq")
    assert len(agreed.signed_frames) == offers + 1


@pytest.mark.requirement("R5", "R10")
def test_a_lower_limit_cuts_a_live_command_at_once_and_brings_a_new_offer(agreed: Bench) -> None:
    agreed.command(8_000)
    before, offers = len(agreed.actions), len(agreed.signed_frames)
    agreed.fact(operator(2_500))
    assert output(agreed).discharge_w == 2_500
    loop_until_offered(agreed)
    kinds = [type(each.record) if isinstance(each, ports.Journal) else type(each) for each in agreed.actions[before:]]
    assert kinds.index(ports.SetOutput) < kinds.index(LimitChanged) < kinds.index(TermsOffered)
    assert len(agreed.signed_frames) == offers + 1
    mode = agreed.go("DC_ChargeLoopReq").cl_res_control_mode
    assert fraction(mode.evse_maximum_discharge_power) == 2_500


def test_a_limit_that_rises_is_in_the_journal_before_power_rises(agreed: Bench) -> None:
    agreed.fact(operator(2_000))
    loop_until_offered(agreed)
    agreed.decide()
    agreed.command(2_000)
    before = len(agreed.actions)
    agreed.fact(operator(9_000, version=3))
    kinds = [type(each.record) if isinstance(each, ports.Journal) else type(each) for each in agreed.actions[before:]]
    assert LimitChanged in kinds
    assert output(agreed).discharge_w == 2_000  # the vehicle signed for no more
    loop_until_offered(agreed)
    agreed.decide()
    assert agreed.command(9_000).effective_w == 9_000


def test_a_limit_that_runs_out_permits_nothing_any_more(agreed: Bench) -> None:
    agreed.fact(operator(9_000, until_ms=agreed.utc_ms + 3_000))
    agreed.decide()
    agreed.command(8_000)
    agreed.pass_time(2.9)
    assert output(agreed).discharge_w == 8_000
    agreed.pass_time(0.2)
    assert output(agreed).discharge_w == 0
    assert agreed.records()[-2:] == ["LimitChanged", "TermsOffered"]


def test_the_vehicle_bears_less_and_gives_less(agreed: Bench) -> None:
    agreed.command(8_000)
    offers = len(agreed.signed_frames)
    mode = agreed.loop_mode(ev_maximum_discharge_power=number(1_000))
    agreed.send(agreed.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
    assert output(agreed).discharge_w == 1_000
    assert len(agreed.signed_frames) == offers  # its own limit is no news to the vehicle


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_a_command_that_ends_ends_its_power_at_that_moment(make_bench: MakeBench, scale: float) -> None:
    bench = make_bench(time_scale=scale).reach(State.DC_CHARGE_LOOP)
    bench.decide()
    bench.command(8_000)
    for _ in range(3):
        bench.pass_time(3.3 / scale)
        bench.go("DC_ChargeLoopReq")
    assert output(bench).discharge_w == 8_000
    bench.pass_time(0.11 / scale + 0.001)
    assert output(bench).discharge_w == 0
    assert output(bench).charge_w == 20_000
    assert said(bench, "command_expired") == [{}]


def test_a_renewed_command_goes_on_without_a_break(agreed: Bench) -> None:
    agreed.command(8_000)
    for _ in range(3):
        agreed.pass_time(4.0)
        agreed.go("DC_ChargeLoopReq")
        agreed.command(8_000)
    assert {each.discharge_w for each in agreed.commands(ports.SetOutput)[1:]} == {8_000}
    agreed.command(0)
    assert output(agreed).discharge_w == 0


def forged(bench: Bench) -> tuple[bytes, str]:
    assert bench.discharge is not None
    message = decode_signed(bench.discharge.command(8_000, bench.utc_ms))
    content = replace(decode_content(message.content), power_w=9_999)
    return encode_signed(replace(message, content=encode_content(content))), "bad_signature"


def foreign(bench: Bench) -> tuple[bytes, str]:
    assert bench.discharge is not None
    content = signed_content(bench.discharge.command(8_000, bench.utc_ms))
    return sign_content(content, bench.pki.key("vehicle"), b"\0" * 32), "unknown_signer"


def replayed(bench: Bench) -> tuple[bytes, str]:
    assert bench.discharge is not None
    payload = bench.discharge.command(0, bench.utc_ms)
    bench.signed(payload)
    return payload, "replayed"


def expired(bench: Bench) -> tuple[bytes, str]:
    assert bench.discharge is not None
    return bench.discharge.command(8_000, bench.utc_ms - 20_000), "expired"


def garbage(bench: Bench) -> tuple[bytes, str]:
    return b"\x30\x03\x02\x01", "malformed"


@pytest.mark.requirement("R26", "R27")
@pytest.mark.parametrize("make", [forged, foreign, replayed, expired, garbage])
def test_a_command_that_does_not_hold_moves_no_watt_and_is_written_down(agreed: Bench, make: object) -> None:
    payload, reason = make(agreed)  # type: ignore[operator]
    agreed.signed(payload)
    record = agreed.commands(ports.Journal)[-1].record
    assert isinstance(record, CommandRejected)
    assert record.reason == reason
    result = newest(agreed)
    assert isinstance(result, DischargeResult)
    assert (result.status.value, result.effective_w) == (reason, 0)
    assert all(each.discharge_w == 0 for each in agreed.commands(ports.SetOutput))
    assert agreed.events("command_rejected")[-1]["reason"] == reason
    assert not agreed.reason  # the session goes on


@pytest.mark.requirement("R11")
def test_a_vehicle_that_declines_charges_only(bench: Bench) -> None:
    bench.reach(State.DC_CHARGE_LOOP)
    bench.open_discharge(minimum=99_000)
    bench.decide()
    record = bench.commands(ports.Journal)[-1].record
    assert isinstance(record, TermsDecided)
    assert not record.accepted
    assert output(bench).charge_w == 20_000


def test_a_back_end_that_wants_no_discharge_is_obeyed(agreed: Bench) -> None:
    agreed.command(8_000)
    agreed.fact(ports.SetpointChanged(Setpoint(power_w=0, source="csms")))
    assert (output(agreed).charge_w, output(agreed).discharge_w) == (0, 0)
    agreed.fact(ports.SetpointChanged(Setpoint(power_w=-6_000, source="csms")))
    assert output(agreed).discharge_w == 6_000


def test_a_new_tariff_is_written_down_and_offered(agreed: Bench) -> None:
    offers = len(agreed.signed_frames)
    agreed.fact(ports.GridChanged((), make_tariff(agreed.utc_ms, version=7)))
    assert agreed.records()[-2:] == ["TariffSet", "TermsOffered"]
    assert len(agreed.signed_frames) == offers + 1


def test_an_offer_is_renewed_before_it_ends(make_bench: MakeBench) -> None:
    terms = DischargeConfig(offer_validity_ms=20_000)
    bench = make_bench(SeccConfig(signed_discharge=SignedDischargeConfig(terms=terms))).reach(State.DC_CHARGE_LOOP)
    bench.decide()
    for _ in range(5):
        bench.pass_time(3.5)
        bench.go("DC_ChargeLoopReq")
    assert len(bench.signed_frames) == 1
    bench.pass_time(1.0)
    assert len(bench.signed_frames) == 2
    bench.decide()
    assert bench.command(5_000).status is ResultStatus.ACCEPTED


def test_an_offer_is_renewed_when_the_clock_is_set_past_its_end(agreed: Bench) -> None:
    offer = newest(agreed)
    assert isinstance(offer, DischargeOffer)
    agreed.utc_ms = offer.valid_until_ms
    agreed.go("DC_ChargeLoopReq")
    agreed.pass_time(0.1)
    assert len(agreed.signed_frames) == 2
    agreed.decide()
    assert agreed.command(5_000).status is ResultStatus.ACCEPTED


def test_renegotiation_without_news_brings_no_new_offer(agreed: Bench) -> None:
    progress = ChargeProgress.ScheduleRenegotiation
    agreed.send(agreed.ask("PowerDeliveryReq", charge_progress=progress))
    agreed.go("ScheduleExchangeReq", "PowerDeliveryReq")
    assert len(agreed.signed_frames) == 1
    assert agreed.command(5_000).status is ResultStatus.ACCEPTED


def test_after_the_stop_nothing_is_accepted_any_more(agreed: Bench) -> None:
    agreed.command(8_000)
    agreed.send(agreed.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Stop))
    assert agreed.command(8_000).status is ResultStatus.STOPPED
    outputs = agreed.commands(ports.SetOutput)
    assert [each for each in agreed.actions if isinstance(each, ports.OpenContactors | ports.SetOutput)][
        -1
    ] not in outputs


def test_a_scheduled_vehicle_signs_too(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(control_modes=(ControlMode.SCHEDULED,)))
    bench.scheduled = True
    bench.reach(State.DC_CHARGE_LOOP)
    bench.decide()
    mode = bench.loop_mode(ev_target_current=number(-10))
    bench.send(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=mode))
    assert output(bench).discharge_w == 0
    bench.command(2_000)
    assert (output(bench).current_ma, output(bench).discharge_w) == (-10_000, 2_000)


def test_limits_and_prices_that_arrive_together_make_one_offer(agreed: Bench) -> None:
    offers = len(agreed.signed_frames)
    limit = Limit(source=OPERATOR, charge_w=40_000, discharge_w=4_000, version=2)
    agreed.fact(ports.GridChanged((limit,), make_tariff(agreed.utc_ms, version=9)))
    assert len(agreed.signed_frames) == offers + 1
    assert newest(agreed).limits.operator_w == 4_000  # type: ignore[attr-defined]


def test_terms_that_change_before_the_decision_go_into_the_next_offer(agreed: Bench) -> None:
    """One offer at a time, though limits are obeyed at once: the vehicle never decides on terms that are gone."""
    agreed.command(8_000)
    offers = len(agreed.signed_frames)
    agreed.fact(operator(6_000))
    loop_until_offered(agreed)
    agreed.fact(operator(2_000, version=3))
    assert output(agreed).discharge_w == 2_000
    assert len(agreed.signed_frames) == offers + 1
    agreed.decide()
    loop_until_offered(agreed)
    assert len(agreed.signed_frames) == offers + 2
    assert newest(agreed).limits.operator_w == 2_000  # type: ignore[attr-defined]
    agreed.decide()
    assert not agreed.events("command_rejected")


def test_a_vehicle_that_does_not_decide_holds_up_new_terms_for_half_a_second_only(agreed: Bench) -> None:
    agreed.fact(operator(6_000))
    loop_until_offered(agreed)
    offers = len(agreed.signed_frames)
    limit = Limit(source=OPERATOR, charge_w=40_000, discharge_w=2_000, version=3)
    agreed.fact(ports.GridChanged((limit,), make_tariff(agreed.utc_ms, version=9)))
    agreed.pass_time(0.44)
    assert len(agreed.signed_frames) == offers
    agreed.pass_time(0.07)
    assert len(agreed.signed_frames) == offers + 1


def test_the_next_offer_follows_a_decision_at_once(agreed: Bench) -> None:
    """And what waits for more of a signal then goes on waiting: for a second."""
    begin, offers = agreed.now, len(agreed.signed_frames)
    for version in (2, 3):
        limit = Limit(source=OPERATOR, charge_w=40_000, discharge_w=7_000 - version, version=version)
        agreed.fact(ports.GridChanged((limit,), make_tariff(agreed.utc_ms, version=version)))
    assert len(agreed.signed_frames) == offers + 1
    drive(agreed, begin + 0.2)
    agreed.decide()
    assert len(agreed.signed_frames) == offers + 2
    agreed.decide()
    assert len(agreed.signed_frames) == offers + 2
    agreed.fact(operator(5_000, version=4))
    drive(agreed, begin + 1.15)
    assert len(agreed.signed_frames) == offers + 2
    drive(agreed, begin + 1.25)
    assert len(agreed.signed_frames) == offers + 3


def test_a_clock_that_steps_back_does_not_lengthen_a_command(agreed: Bench) -> None:
    agreed.command(8_000)
    until, begin = agreed.commands(ports.Journal)[-1].record.until_ms, agreed.now
    validity_s = (until - agreed.utc_ms) / 1000
    stepped = False
    while agreed.now < begin + validity_s + 1:
        agreed.pass_time(0.25)
        agreed.go("DC_ChargeLoopReq")
        if not stepped and agreed.now > begin + validity_s / 2:
            agreed.utc_ms -= round(validity_s * 250)
            stepped = True
    assert agreed.utc_ms < until
    assert len(said(agreed, "command_expired")) == 1
    assert not agreed.reason
    assert output(agreed).discharge_w == 0


def test_the_journal_proves_a_session_whose_clock_stepped_back(agreed: Bench) -> None:
    """Entries are held at the latest time; commands have to be judged at the time that the entries bear."""
    agreed.utc_ms -= 600_000
    result = agreed.command(8_000)
    assert isinstance(result, DischargeResult)
    assert (result.status, result.effective_w) == (ResultStatus.EXPIRED, 0)


def said(bench: Bench, name: str) -> list[dict[str, object]]:
    """The data of events of this name about the offer."""
    events = [each for each in bench.actions if isinstance(each, Observe) and each.stage == "offer"]
    return [each.data for each in events if each.name == name]


def test_an_offer_is_reported_with_what_it_says(bench: Bench) -> None:
    """Limits of vehicle, charger, site and operator; the first of five quarter hours that its hour is part of."""
    bench.utc_ms = bench.utc_ms // 900_000 * 900_000 + 1
    bench.reach(State.DC_CHARGE_LOOP)
    offer = newest(bench)
    assert isinstance(offer, DischargeOffer)
    first = offer.prices[0]
    assert said(bench, "offered") == [
        {
            "offer_id": offer.offer_id.hex(),
            "max_discharge_w": 10_000, "ev_w": 12_000, "evse_w": 50_000, "site_w": 15_000, "operator_w": 10_000,
            "source": "operator", "currency": "EUR", "import_price": first.import_price,
            "export_compensation": first.export_compensation, "slots": 5,
        }
    ]  # fmt: skip
    assert (first.import_price, first.export_compensation) == (300_000, 250_000)


def test_the_latency_of_a_decision_is_in_ms_of_three_decimals(bench: Bench) -> None:
    bench.reach(State.DC_CABLE_CHECK)
    bench.pass_time(0.1234567)
    bench.decide()
    assert said(bench, "decided")[0]["latency_ms"] == 123.457


def test_a_decision_is_reported_with_what_it_says(bench: Bench) -> None:
    bench.reach(State.DC_CABLE_CHECK)
    bench.pass_time(0.0123)
    bench.decide()
    assert said(bench, "decided") == [
        {"accepted": True, "reason": "accepted", "max_discharge_w": 10_000, "minimum_soc": 30, "latency_ms": 12.3}
    ]


def test_a_command_is_reported_with_what_it_says(agreed: Bench) -> None:
    """It is valid for 10 s; one for more power than the limits has theirs."""
    agreed.command(8_000)
    agreed.fact(operator(3_000))
    agreed.move(agreed.now + 0.5)
    agreed.command(8_000)
    common = {"valid_ms": 10_000}
    assert said(agreed, "command_accepted") == [
        {"sequence": 1, "power_w": 8_000, "effective_w": 8_000, "status": "accepted", **common},
        {"sequence": 2, "power_w": 8_000, "effective_w": 3_000, "status": "clamped", **common},
    ]


def test_a_rejected_command_is_reported_with_what_is_wrong(agreed: Bench) -> None:
    agreed.signed(replayed(agreed)[0])
    assert said(agreed, "command_rejected") == [{"reason": "replayed", "detail": "sequence 1 was used", "sequence": 1}]


def test_why_nothing_is_offered_is_reported(make_bench: MakeBench) -> None:
    bench = make_bench(tariff=None)
    bench.reach(State.DC_CHARGE_LOOP)
    assert said(bench, "not_possible") == [{"reason": "no_tariff"}]


def test_an_offer_is_renewed_when_a_tenth_of_its_time_is_left(make_bench: MakeBench) -> None:
    """Of 20 s."""
    terms = DischargeConfig(offer_validity_ms=20_000)
    bench = make_bench(SeccConfig(signed_discharge=SignedDischargeConfig(terms=terms)))
    bench.reach(State.DC_CHARGE_LOOP)
    bench.decide()
    offer = newest(bench)
    assert isinstance(offer, DischargeOffer)
    assert offer.valid_until_ms - offer.issued_at_ms == 20_000
    for after_s, offers in ((17.99, 1), (18.01, 2)):
        while (left_s := after_s - (bench.utc_ms - offer.issued_at_ms) / 1000) > 0:
            bench.pass_time(min(3.5, left_s))
            bench.go("DC_ChargeLoopReq")
        assert len(bench.signed_frames) == offers


def drive(bench: Bench, until: float) -> None:
    """Loop until this time of the session's clock."""
    while bench.now < until - 1e-9:
        bench.pass_time(min(0.05, until - bench.now))
        bench.go("DC_ChargeLoopReq")


def test_the_rest_of_a_signal_is_waited_for_once(agreed: Bench) -> None:
    """A second from the first change on, however many follow; what came with prices does not shorten the next wait."""
    begin, offers = agreed.now, len(agreed.signed_frames)
    for version, after_s in enumerate((0, 0.4, 0.8), 2):
        drive(agreed, begin + after_s)
        agreed.fact(operator(9_000 - version, version=version))
    assert len(agreed.signed_frames) == offers
    drive(agreed, begin + 1.05)
    assert len(agreed.signed_frames) == offers + 1
    agreed.decide()
    begin = agreed.now
    agreed.fact(operator(6_000, version=5))
    drive(agreed, begin + 0.5)
    agreed.fact(ports.GridChanged((), make_tariff(agreed.utc_ms, version=9)))
    assert len(agreed.signed_frames) == offers + 2
    agreed.decide()
    drive(agreed, begin + 0.9)
    agreed.fact(operator(5_000, version=6))
    offers = len(agreed.signed_frames)
    drive(agreed, begin + 1.85)
    assert len(agreed.signed_frames) == offers
    drive(agreed, begin + 1.95)
    assert len(agreed.signed_frames) == offers + 1


def test_limits_that_change_where_nothing_is_offered_are_tried_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(tariff=None)
    bench.reach(State.DC_CHARGE_LOOP)
    bench.fact(operator(6_000))
    assert said(bench, "not_possible") == [{"reason": "no_tariff"}] * 2


def test_where_prices_end_the_last_offer_does_and_no_other_follows(make_bench: MakeBench) -> None:
    """Each is renewed when a tenth of its time is left, which is less each time."""
    bench = make_bench(tariff=None)
    slot = PriceSlot(bench.utc_ms - 840_000, 900_000, 300_000, 250_000)
    bench.fact(ports.GridChanged((), Tariff(currency="EUR", slots=(slot,), version=1, source="grid")))
    bench.reach(State.DC_CHARGE_LOOP)
    decided = 0
    while bench.utc_ms < slot.end_ms + 5_000:
        if len(bench.signed_frames) > decided:
            decided = len(bench.signed_frames)
            bench.decide()
        left_s = (slot.end_ms - bench.utc_ms) / 1000
        bench.pass_time(3.5 if left_s > 4 or left_s <= 0 else max(0.001, left_s / 5))
        bench.go("DC_ChargeLoopReq")
    offers = [each for each in map(signed_content, bench.signed_frames) if isinstance(each, DischargeOffer)]
    assert 2 <= len(offers) < 9
    assert {each.valid_until_ms for each in offers} == {slot.end_ms}
    assert said(bench, "not_possible") == [{"reason": "no_price"}]


HEAD = JournalHead(entries=12, head="ab" * 32, import_mwh=5_000_700, export_mwh=2_000_300)


def reading(bench: Bench, reason: str = "interval", head: JournalHead = HEAD) -> None:
    """A reading is durable in the journal."""
    bench.fact(ports.MeterRead(bench.utc_ms, head.import_mwh, head.export_mwh, reason=reason, journal=head))


def receipt(bench: Bench) -> None:
    """The vehicle answers the newest checkpoint."""
    assert bench.discharge is not None
    answered = bench.discharge.on_message(bench.signed_frames[-1], bench.utc_ms)
    assert isinstance(answered, Checkpointed)
    bench.signed(answered.reply)
    bench.discharge.stored(answered)


@pytest.fixture
def countersigning(bench: Bench) -> Bench:
    """Return a bench in the loop whose vehicle has accepted an offer of version 2, and took 0.7 Wh, gave 0.3 Wh."""
    bench.signed_set = 1
    bench.reach(State.DC_CHARGE_LOOP)
    bench.open_discharge(energy=lambda: (700, 300))
    bench.decide()
    return bench


@pytest.mark.requirement("R25", "R32")
def test_a_checkpoint_is_in_the_journal_before_it_is_sent(countersigning: Bench) -> None:
    bench = countersigning
    before = len(bench.actions)
    reading(bench)
    found = newest(bench)
    assert isinstance(found, DischargeCheckpoint)
    assert (found.number, found.entries, found.head.hex(), found.final) == (1, 12, "ab" * 32, False)
    assert (found.begin.import_mwh, found.begin.export_mwh) == (5_000_000, 2_000_000)
    assert (found.now.import_mwh, found.now.export_mwh) == (5_000_700, 2_000_300)
    done = bench.actions[before:]
    (written,) = (n for n, each in enumerate(done) if isinstance(each, ports.Journal))
    assert done[written].record == CheckpointIssued(number=1, payload=bench.signed_frames[-1])
    assert written < next(n for n, each in enumerate(done) if isinstance(each, Send))
    assert said(bench, "checkpoint_issued") == [{"number": 1, "entries": 12, "final": False}]


@pytest.mark.requirement("R25", "R32")
def test_receipts_are_written_down_and_the_last_one_is_named(countersigning: Bench) -> None:
    bench = countersigning
    for nth in (1, 2):
        reading(bench, head=replace(HEAD, entries=12 + nth))
        receipt(bench)
        record = bench.commands(ports.Journal)[-1].record
        assert isinstance(record, CheckpointAnswered)
        assert (record.number, record.status) == (nth, "countersigned")
    assert said(bench, "checkpoint_answered") == [{"number": nth, "status": "countersigned"} for nth in (1, 2)]
    assert bench.command(5_000).status is ResultStatus.ACCEPTED
    assert not said(bench, "command_rejected")


def test_after_power_has_stopped_a_checkpoint_is_the_last(countersigning: Bench) -> None:
    reading(countersigning, "stop")
    found = newest(countersigning)
    assert isinstance(found, DischargeCheckpoint)
    assert found.final
    assert said(countersigning, "checkpoint_issued")[-1]["final"] is True


def test_numbers_go_on_from_what_the_journal_has(make_bench: MakeBench) -> None:
    """Checkpoints of before a pause: the vehicle may name the one that it countersigned."""
    bench = make_bench()
    bench.signed_set = 1
    reading(bench, "start", replace(HEAD, checkpoint=4, countersigned=3))
    bench.reach(State.DC_CHARGE_LOOP)
    last = DischargeCheckpoint(
        session_id=bench.session.session_id, number=3, issued_at_ms=0, entries=1, head=b"x" * 32,
        begin=MeterRegisters(import_mwh=0, export_mwh=0), now=MeterRegisters(import_mwh=0, export_mwh=0), final=False,
    )  # fmt: skip
    bench.open_discharge(energy=lambda: (700, 300), last=last)
    bench.decide()
    assert bench.command(5_000).status is ResultStatus.ACCEPTED
    reading(bench, head=replace(HEAD, checkpoint=4, countersigned=3))
    found = newest(bench)
    assert isinstance(found, DischargeCheckpoint)
    assert found.number == 5


def test_what_was_countersigned_still_is_when_services_are_selected_again(countersigning: Bench) -> None:
    bench = countersigning
    reading(bench)
    receipt(bench)
    assert bench.discharge is not None
    last = bench.discharge.countersigned
    bench.send(bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Stop))
    bench.send(bench.ask("SessionStopReq", charging_session=ChargingSession.ServiceRenegotiation))
    bench.go("ServiceDiscoveryReq", "ServiceDetailReq", "ServiceSelectionReq", "DC_ChargeParameterDiscoveryReq")
    bench.go("ScheduleExchangeReq", "DC_CableCheckReq", "DC_PreChargeReq", "PowerDeliveryReq", "DC_ChargeLoopReq")
    bench.open_discharge(energy=lambda: (700, 300), last=last)
    bench.decide()
    assert bench.command(5_000).status is ResultStatus.ACCEPTED, "it names a checkpoint of before"


def test_version_1_has_no_checkpoints(agreed: Bench) -> None:
    frames, records = len(agreed.signed_frames), agreed.records()
    reading(agreed)
    assert (len(agreed.signed_frames), agreed.records()) == (frames, records)


def test_after_the_stop_no_timer_makes_an_offer(make_bench: MakeBench) -> None:
    """Neither that of a renewal, of a decision, of the rest of a signal, nor the end of a command."""
    terms = DischargeConfig(offer_validity_ms=20_000)
    bench = make_bench(SeccConfig(signed_discharge=SignedDischargeConfig(terms=terms))).reach(State.DC_CHARGE_LOOP)
    bench.decide()
    bench.command(8_000)
    bench.fact(operator(6_000))
    loop_until_offered(bench)
    bench.fact(operator(5_000, version=3))
    bench.send(bench.ask("PowerDeliveryReq", charge_progress=ChargeProgress.Stop))
    frames = len(bench.signed_frames)
    events = len(said(bench, "command_expired")), len(said(bench, "offered")), len(said(bench, "not_possible"))
    for _ in range(12):
        bench.pass_time(2.0)
        bench.send(bench.ask("DC_WeldingDetectionReq", ev_processing=Processing.Ongoing))
    assert not bench.reason
    assert len(bench.signed_frames) == frames
    assert events == (
        len(said(bench, "command_expired")),
        len(said(bench, "offered")),
        len(said(bench, "not_possible")),
    )


def test_a_vehicle_that_only_sends_rubbish_is_not_listened_to_for_ever(agreed: Bench) -> None:
    """Each rejection costs the charger a signature and a journal entry; the journal must not be filled that way."""
    agreed.command(8_000)
    for _ in range(MAX_REJECTIONS + 10):
        agreed.signed(b"\x30\x00")
    assert len(agreed.events("command_rejected")) == MAX_REJECTIONS
    assert said(agreed, "gave_up") == [{"rejections": 64}]
    assert output(agreed).discharge_w == 0
    assert not agreed.reason  # charging by the plain standard goes on
