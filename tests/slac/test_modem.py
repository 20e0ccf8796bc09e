"""The simulated modem does what matching sees of a real one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.slac import mme
from v2g.slac.mme import MmeFrame
from v2g.slac.modem import AttenuationConfig, FrameDelivery, SimulatedModem

_HOST, _MODEM, _PEV = bytes.fromhex("020000000101"), bytes.fromhex("060000000101"), bytes.fromhex("020000000201")


def _modem(*, measures: bool = True) -> SimulatedModem:
    config = AttenuationConfig(low_db=10, high_db=20, neighbours={"02:00:00:00:00:99": 30})
    return SimulatedModem(host_mac=_HOST, mac=_MODEM, measures=config if measures else None)


def _sound(source: bytes) -> bytes:
    return mme.encode(MmeFrame(mme.BROADCAST, source, mme.CmMnbcSoundInd(cnt=0, run_id=bytes(8), rnd=bytes(16))))


def test_a_key_is_confirmed_to_the_host_and_sent_to_the_line() -> None:
    for address in (mme.LOCAL_MODEM, mme.BROADCAST):
        frame = mme.encode(MmeFrame(address, _HOST, mme.CmSetKeyReq(nid=b"networK", nmk=bytes(16))))
        confirmed, beacon = _modem().from_host(frame)
        assert confirmed.to == "host"
        assert isinstance(mme.decode(confirmed.frame).message, mme.CmSetKeyCnf)
        assert beacon.to == "line"
        assert bytes(16) not in beacon.frame[17:33]


def test_sounds_are_measured_by_a_charger_only() -> None:
    deliveries = _modem().from_line(_sound(_PEV))
    assert [d.to for d in deliveries] == ["host", "host"]
    profile = mme.decode(deliveries[1].frame)
    assert profile.source == _MODEM
    assert isinstance(profile.message, mme.CmAttenProfileInd)
    assert (profile.message.pev_mac, profile.message.aag[0], profile.message.aag[57]) == (_PEV, 10, 20)
    neighbour = mme.decode(_modem().from_line(_sound(bytes.fromhex("020000000099")))[1].frame).message
    assert isinstance(neighbour, mme.CmAttenProfileInd)
    assert neighbour.aag[0] == 40
    assert len(_modem(measures=False).from_line(_sound(_PEV))) == 1


def test_frames_for_others_stay_on_the_line_and_other_traffic_passes() -> None:
    modem = _modem()
    assert modem.from_line(b"\x02\0\0\0\0\x77" + bytes(60)) == []
    ethernet = _HOST + _PEV + b"\x86\xdd" + bytes(50)
    assert modem.from_line(ethernet) == [FrameDelivery("host", ethernet)]
    solicitation = bytes.fromhex("3333ff000101") + ethernet[6:]
    assert modem.from_line(solicitation) == [FrameDelivery("host", solicitation)]
    assert modem.from_host(mme.LOCAL_MODEM + bytes(60)) == []


def test_a_link_is_two_modems_in_one_network_and_goes_with_the_key() -> None:
    a, b = _modem(), SimulatedModem(host_mac=_PEV, mac=b"\x06" + _PEV[1:], measures=None)

    def key(modem: SimulatedModem, other: SimulatedModem, host: bytes, nid: bytes) -> None:
        queue = modem.from_host(mme.encode(MmeFrame(mme.LOCAL_MODEM, host, mme.CmSetKeyReq(nid=nid, nmk=bytes(16)))))
        for delivery in queue:
            if delivery.to == "line":
                for answer in other.from_line(delivery.frame):
                    assert modem.from_line(answer.frame) == []

    key(a, b, _HOST, b"network")
    assert not a.link_up
    key(b, a, _PEV, b"network")
    assert a.link_up
    assert b.link_up
    ethernet = _HOST + _PEV + b"\x86\xdd" + bytes(50)
    assert b.from_host(ethernet) == [FrameDelivery("line", ethernet)]
    key(b, a, _PEV, b"another")
    assert b.from_host(ethernet) == [], "IP travels inside a network only"
    assert not a.link_up
    assert not b.link_up


@given(st.binary(max_size=200))
def test_garbage_from_either_side_does_not_matter(data: bytes) -> None:
    modem = _modem()
    for delivery in modem.from_host(data) + modem.from_line(data):
        assert delivery.frame == data or mme.decode(delivery.frame)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (250, 300), (20, 10)])
def test_profiles_are_58_bytes_whatever_is_configured(low: int, high: int) -> None:
    assert len(AttenuationConfig(low_db=low, high_db=high).profile(_PEV)) == 58
