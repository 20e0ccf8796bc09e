"""Amplitude maps: each side answers; who is asked to send one waits for the answer before the link is ready."""

import pytest

from tests.slac.benches import QUALCOMM, EvBench, EvseBench
from tests.slac.conftest import Line
from v2g.slac import mme
from v2g.slac.ev import EvSlacConfig, EvState
from v2g.slac.evse import EvseSlacConfig, EvseSlacState
from v2g.slac.shared import STANDARD, Matched

CARRIERS = 1155


@pytest.mark.parametrize("both", [True, False])
def test_the_link_is_ready_when_the_maps_are_exchanged(line: Line, both) -> None:
    evse_station, _ = line.evse(config=EvseSlacConfig(amplitude_map_carriers=CARRIERS * both))
    ev_station, _ = line.ev(config=EvSlacConfig(amplitude_map_carriers=CARRIERS))
    line.plug(ev_station, evse_station)
    line.run(5.0)
    assert ev_station.of(Matched) == evse_station.of(Matched) != []
    assert line.count(mme.CmAmpMapReq) == line.count(mme.CmAmpMapCnf) == 1 + both
    (request, *_) = [frame.message for _, frame in line.sent if isinstance(frame.message, mme.CmAmpMapReq)]
    assert (request.amlen, request.amplitudes) == (CARRIERS, b"\xff" * 578)


@pytest.mark.parametrize("role", ["ev", "evse"])
def test_a_map_without_an_answer_is_repeated_and_then_done_without(role) -> None:
    bench: EvBench | EvseBench
    if role == "ev":
        bench = EvBench(EvSlacConfig(amplitude_map_carriers=4, modem=QUALCOMM)).reach(EvState.JOINING)
    else:
        bench = EvseBench(EvseSlacConfig(amplitude_map_carriers=4, modem=QUALCOMM)).reach(EvseSlacState.JOINING)
    (request,) = bench.link(up=True)
    assert request == mme.CmAmpMapReq(amlen=4, amplitudes=b"\xff\xff")
    bench.link(up=True)  # asked again meanwhile: nothing new
    repeats = [m for m in bench.wait(3 * STANDARD.amp_map_response_s) if isinstance(m, mme.CmAmpMapReq)]
    assert repeats == [request] * STANDARD.match_retries
    assert isinstance(bench.others[-1], Matched)
    answers = [o.data["answer"] for o in bench.others if getattr(o, "name", "") == "amplitude_map_sent"]
    assert answers == ["none"]


def test_only_the_peer_s_answer_counts() -> None:
    bench = EvBench(EvSlacConfig(amplitude_map_carriers=4, modem=QUALCOMM)).reach(EvState.JOINING)
    bench.link(up=True)
    bench.tell(mme.CmAmpMapCnf(result=0), source=bench.modem)
    assert bench.core.state is EvState.JOINING
    bench.tell(mme.CmAmpMapCnf(result=1))
    assert bench.core.state is EvState.MATCHED
