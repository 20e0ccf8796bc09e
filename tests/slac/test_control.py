"""How the own modem is spoken to: one command at a time, by its make, and asked for the link in each way there is."""

from itertools import pairwise

import pytest

from tests.slac.benches import EV, EVSE, EVSE_MODEM, STRANGER, EvBench, EvseBench
from tests.slac.conftest import Line, Station
from v2g.slac import mme, vendor
from v2g.slac.control import ModemConfig, ModemVendor
from v2g.slac.ev import EvSlacConfig, EvState
from v2g.slac.evse import EvseSlacConfig, EvseSlacState
from v2g.slac.host import nid_of
from v2g.slac.layout import Mme
from v2g.slac.modem import SimulatedModem
from v2g.slac.shared import STANDARD, LinkLost, Matched, MatchingFailed, RestartPilot


def _keys(messages: list[Mme]) -> list[bytes]:
    return [message.nid for message in messages if isinstance(message, mme.CmSetKeyReq)]


def test_a_second_key_waits_for_the_answer_to_the_first() -> None:
    """A modem that gets two at once takes neither for sure."""
    bench = EvseBench().reach(EvseSlacState.JOINING)
    bench.core.disconnect(bench.now)
    (first,) = _keys(bench.take())
    bench.core.connect(bench.now)
    bench.characterize()
    bench.core.error("session_failed", bench.now)
    assert _keys(bench.take()) == [], "the key under way is not answered yet"
    (second,) = _keys(bench.key_taken())
    assert second != first
    assert bench.match() == [], "nobody is told a key that the modem does not have"
    bench.key_taken()
    bench.characterize()
    confirmation, *_ = bench.match()
    assert confirmation.nid == second


def test_only_the_last_of_several_waiting_keys_is_given() -> None:
    bench = EvseBench().reach(EvseSlacState.MATCHED)
    for _ in range(3):
        bench.core.error("again", bench.now)
    assert len(_keys(bench.take())) == 1
    assert len(_keys(bench.key_taken())) == 1
    assert _keys(bench.key_taken()) == []


def test_a_question_does_not_hold_up_a_key() -> None:
    bench = EvBench().reach(EvState.MATCHED)
    assert bench.wait(STANDARD.matched_poll_s) == [vendor.VsPlLinkStatusReq()]
    bench.core.leave(bench.now)
    assert len(_keys(bench.take())) == 1


def test_a_key_that_a_qualcomm_modem_did_not_apply_is_given_again_then_taken_as_it_is() -> None:
    bench = EvBench(EvSlacConfig(modem=ModemConfig(vendor="qualcomm")))
    bench.choose()
    assert len(_keys(bench.confirm())) == 1
    for _ in range(STANDARD.match_retries):
        assert bench.key_taken(0) == []
        assert len(_keys(bench.wait(STANDARD.key_retry_s))) == 1
    assert bench.key_taken(0) == [vendor.VsPlLinkStatusReq()], "the link decides"
    assert bench.core.state is EvState.JOINING


@pytest.mark.parametrize("make", ["lumissil", "other"])
def test_what_other_makes_say_of_a_key_is_not_known_and_not_judged(make) -> None:
    for result in (0, 1):
        bench = EvBench(EvSlacConfig(modem=ModemConfig(vendor=make)))
        bench.choose()
        bench.confirm()
        bench.key_taken(result)
        assert bench.core.state is EvState.JOINING


def test_a_restart_after_the_key_is_waited_for() -> None:
    bench = EvseBench(EvseSlacConfig(modem=ModemConfig(vendor="qualcomm", reset_after_key=True)))
    assert bench.wait(STANDARD.reset_pause_s) == [vendor.VsRsDevReq()]
    bench.tell(vendor.VsSwVerCnf(device_id=34, length=0, version=b""), source=EVSE_MODEM)
    bench.core.disconnect(bench.now)
    bench.core.connect(bench.now)
    bench.characterize()
    assert bench.match()
    bench.core.disconnect(bench.now)
    (key,) = bench.take()
    assert isinstance(key, mme.CmSetKeyReq)
    bench.key_taken()
    assert bench.wait(STANDARD.reset_pause_s) == [vendor.VsRsDevReq()]
    assert bench.wait(2.0) == [vendor.VsSwVerReq()] * 2, "asked until it is there again"
    bench.core.connect(bench.now)
    bench.characterize()
    assert bench.match() == [], "it may have forgotten what it had"
    bench.tell(vendor.VsSwVerCnf(device_id=34, length=0, version=b""), source=EVSE_MODEM)
    assert bench.match()


def test_a_modem_that_does_not_come_back_is_silent() -> None:
    bench = EvBench(EvSlacConfig(modem=ModemConfig(vendor="lumissil", reset_after_key=True)))
    bench.choose()
    bench.confirm()
    bench.key_taken()
    messages = bench.wait(STANDARD.reset_pause_s + STANDARD.modem_restart_s + 1)
    assert [type(m) for m in messages[:2]] == [vendor.NscmResetDeviceReq, vendor.NscmGetVersionReq]
    assert [o.data["reason"] for o in bench.others if getattr(o, "name", "") == "attempt_failed"] == ["modem_silent"]


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({vendor.VsOpAttributesReq}, ModemVendor.QUALCOMM),
        ({vendor.NscmGetVersionReq}, ModemVendor.LUMISSIL),
        (set(), ModemVendor.UNKNOWN),
    ],
)
def test_the_make_is_found_out_by_who_answers(answers, found) -> None:
    bench = EvBench()
    modem = SimulatedModem(
        host_mac=EV, mac=bench.modem, measures=None, make="lumissil" if found is ModemVendor.LUMISSIL else "qualcomm"
    )
    bench.core.leave(bench.now)
    bench.core.prepare(bench.now)
    asked = []
    waiting = bench.take()
    while waiting:
        question = waiting.pop(0)
        asked.append(type(question))
        if type(question) in answers:
            for delivery in modem.from_host(mme.encode(mme.MmeFrame(mme.LOCAL_MODEM, EV, question))):
                bench.core.receive(delivery.frame, bench.now)
        waiting += bench.take() + bench.wait(STANDARD.detection_s)
    assert bench.core.modem.vendor is found
    assert asked == [vendor.VsOpAttributesReq, vendor.NscmGetVersionReq][: 1 if found is ModemVendor.QUALCOMM else 2]
    assert bench.core.deadline() is None


WAYS = ["auto", "network_info", "network_statistics", "count"]


@pytest.mark.parametrize("make", ["qualcomm", "lumissil", "other"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_sees_the_link_come_and_go(line: Line, way, make) -> None:
    if make != "qualcomm" and way in ("network_info", "count"):
        pytest.skip("these are Qualcomm's messages")
    config = ModemConfig(link_detection=way)
    evse_station, _ = line.evse(config=EvseSlacConfig(modem=config), make=make)
    ev_station, ev = line.ev(config=EvSlacConfig(modem=config), make=make)
    line.plug(ev_station, evse_station)
    line.run(5.0)
    assert ev_station.of(Matched) == evse_station.of(Matched) != []
    ev.leave(line.now)
    line.cables.clear()
    line.run(line.now + 5.0)
    assert evse_station.of(LinkLost, RestartPilot) == [LinkLost(), RestartPilot("link_lost")]


@pytest.mark.parametrize("way", WAYS)
def test_a_modem_that_says_nothing_any_more_has_no_link(line: Line, way) -> None:
    _, ev_station = _matched(line, ModemConfig(link_detection=way))
    ev_station.modem_answers = False
    ev_station.core.receive = lambda frame, now: None  # type: ignore[method-assign]
    line.run(line.now + STANDARD.link_status_response_s + 2)
    assert ev_station.of(LinkLost) == [LinkLost()]


def test_a_modem_at_the_other_end_that_dies_is_noticed(line: Line) -> None:
    """Not by a message: it is just not there any more."""
    evse_station, ev_station = _matched(line, ModemConfig())
    line.stations.remove(ev_station)
    line.run(line.now + 15)
    assert evse_station.of(LinkLost) == [LinkLost()]


def _matched(line: Line, config: ModemConfig) -> tuple[Station, Station]:
    evse_station, _ = line.evse(config=EvseSlacConfig(modem=config))
    ev_station, _ = line.ev(config=EvSlacConfig(modem=config))
    line.plug(ev_station, evse_station)
    line.run(5.0)
    assert ev_station.of(Matched)
    return evse_station, ev_station


def test_one_missed_answer_to_a_broadcast_is_no_lost_link(line: Line) -> None:
    evse_station, ev_station = _matched(line, ModemConfig(link_detection="count"))
    left = [2]

    def lose(message: Mme) -> bool:
        left[0] -= isinstance(message, vendor.VsSwVerCnf)
        return isinstance(message, vendor.VsSwVerCnf) and left[0] >= 0

    line.lose = lose
    line.run(line.now + 10)
    assert left[0] < 0
    assert evse_station.of(LinkLost) == ev_station.of(LinkLost) == []


def test_an_answer_about_another_network_is_no_link() -> None:
    bench = EvBench(EvSlacConfig(modem=ModemConfig(link_detection="network_info")))
    bench.choose()
    bench.confirm()
    assert bench.key_taken() == [vendor.VsNwInfoReq()]
    station = vendor.PlcStation(mac=STRANGER, tei=2, bda=EVSE, tx=1, rx=1)
    for nid, stations in ((b"another", (station,)), (b"network", ())):
        network = vendor.PlcNetwork(
            nid=nid, snid=1, tei=1, role=0, cco_mac=STRANGER, cco_tei=1, num_stas=len(stations), stations=stations
        )
        bench.tell(vendor.VsNwInfoCnf(num_avlns=1, networks=(network,)), source=bench.modem)
        assert bench.core.state is EvState.JOINING
    right = vendor.PlcNetwork(
        nid=b"network", snid=1, tei=1, role=0, cco_mac=STRANGER, cco_tei=1, num_stas=1, stations=(station,)
    )
    bench.tell(vendor.VsNwInfoCnf(num_avlns=1, networks=(right,)), source=bench.modem)
    assert bench.core.state is EvState.MATCHED


def test_polls_keep_their_intervals(line: Line) -> None:
    _matched(line, ModemConfig())
    line.sent.clear()
    line.run(line.now + 10)
    at = [
        when for when, frame in line.sent if frame.source == EV and isinstance(frame.message, vendor.VsPlLinkStatusReq)
    ]
    assert len(at) == 10
    assert all(later - earlier == pytest.approx(STANDARD.matched_poll_s) for earlier, later in pairwise(at))


def test_while_joining_the_first_questions_follow_each_other_faster(line: Line) -> None:
    evse_station, _ = line.evse()
    ev_station, _ = line.ev()
    line.lose = lambda message: isinstance(message, vendor.SimBeaconInd)  # so that no link comes up
    line.plug(ev_station, evse_station)
    line.run(2.0)
    for mac in (EV, EVSE):
        at = [when for when, f in line.sent if f.source == mac and isinstance(f.message, vendor.VsPlLinkStatusReq)]
        gaps = [later - earlier for earlier, later in pairwise(at)]
        assert gaps[:4] == pytest.approx([0.01, 0.02, 0.04, 0.08])
        assert gaps[4:] == pytest.approx([STANDARD.join_poll_s] * len(gaps[4:]))
        assert len(gaps) > 10


def test_the_network_that_is_left_cannot_be_returned_to(line: Line) -> None:
    """TP_match_leave: within a second the modem has a key that nobody else has."""
    evse_station, ev_station = _matched(line, ModemConfig())
    (matched,) = ev_station.of(Matched)
    assert isinstance(matched, Matched)
    ev_station.core.leave(line.now)
    line.run(line.now + 1.0)
    assert ev_station.modem.nid not in (None, matched.nid)
    assert ev_station.modem.nid == nid_of(ev_station.core.modem.key[1])
    assert not evse_station.modem.link_up


def test_a_modem_that_never_answers_a_key_is_a_named_failure_of_the_charger() -> None:
    bench = EvseBench().reach(EvseSlacState.JOINING)
    bench.core.disconnect(bench.now)
    assert len(_keys(bench.take())) == 1
    assert len(_keys(bench.wait(10.0))) == STANDARD.match_retries
    assert bench.others[-1] == MatchingFailed("modem_silent")
    bench.core.connect(bench.now)
    assert len(_keys(bench.take())) == 1, "tried again with the next vehicle"
