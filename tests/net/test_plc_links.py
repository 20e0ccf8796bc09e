"""One suite for all powerline backends: loopback, raw Ethernet (needs root) and serial."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.net.conftest import PtyPair
from v2g.errors import ConfigError, TransportError
from v2g.net.medium import Channel, Medium
from v2g.net.plc.link import PlcConfig, PlcLink, open_link, parse_mac
from v2g.slac import mme
from v2g.slac.mme import MmeFrame

Pair = tuple[PlcLink, PlcLink]


def _configs(request: pytest.FixtureRequest, devices: list[str]) -> tuple[PlcConfig, PlcConfig]:
    simulated = request.node.callspec.params["ports"][1]
    match request.node.callspec.params["ports"][0]:
        case "loopback":
            return PlcConfig(mac="02:00:00:00:00:01"), PlcConfig()
        case "raw":
            one, two = request.getfixturevalue("veth")
            return (
                PlcConfig(backend="raw", interface=one, simulated_modem=simulated),
                PlcConfig(backend="raw", interface=two, simulated_modem=simulated),
            )
        case _:
            return (
                PlcConfig(backend="serial", device=devices[0], simulated_modem=simulated),
                PlcConfig(backend="serial", device=devices[1], simulated_modem=simulated),
            )


@pytest_asyncio.fixture
async def ports(
    request: pytest.FixtureRequest, charger_medium: Medium, vehicle_medium: Medium, until
) -> AsyncIterator[Pair]:
    serial = PtyPair()
    charger, vehicle = _configs(request, serial.devices)
    await until(lambda: charger_medium.peers)
    pair = (
        open_link(charger, role="evse", medium=charger_medium),
        open_link(vehicle, role="ev", medium=vehicle_medium),
    )
    yield pair
    for link in pair:
        link.close()
        link.close()
    serial.close()


plain = pytest.mark.parametrize("ports", [("raw", False), ("serial", False), ("loopback", True)], indirect=True)
with_modem = pytest.mark.parametrize("ports", [("loopback", True), ("raw", True), ("serial", True)], indirect=True)


def _heard(link: PlcLink) -> list[bytes]:
    """Return a list that fills with the HomePlug frames that `link` receives."""
    frames: list[bytes] = []
    link.on_frame(lambda frame: frames.append(frame) if frame[12:14] == b"\x88\xe1" else None)
    return frames


def _frame(destination: bytes, source: bytes, run: int = 0) -> bytes:
    return mme.encode(MmeFrame(destination, source, mme.CmSlacParmReq(run_id=run.to_bytes(8, "big"))))


@plain
async def test_frames_cross_in_order_unchanged_and_are_not_echoed(ports: Pair, until: Callable) -> None:
    charger, vehicle = ports
    at_charger, at_vehicle = _heard(charger), _heard(vehicle)
    sent = [_frame(mme.BROADCAST, vehicle.mac, number) for number in range(30)]
    for frame in sent:
        vehicle.send(frame)
    await until(lambda: len(at_charger) == 30)
    assert at_charger == sent
    longest = (charger.mac + vehicle.mac + b"\x88\xe1").ljust(1514, b"\x5a")
    vehicle.send(longest)
    charger.send(_frame(vehicle.mac, charger.mac, 99))
    await until(lambda: len(at_charger) == 31 and at_vehicle)
    assert at_charger[-1] == longest
    assert at_vehicle == [_frame(vehicle.mac, charger.mac, 99)]
    assert charger.mac != vehicle.mac
    assert len(charger.mac) == 6


@with_modem
async def test_a_simulated_modem_takes_keys_measures_and_forms_a_link(ports: Pair, until: Callable) -> None:
    charger, vehicle = ports
    at_charger, at_vehicle = _heard(charger), _heard(vehicle)

    def kinds(frames: list[bytes]) -> list[type[mme.Mme]]:
        return [type(mme.decode(frame).message) for frame in frames]

    for link in (charger, vehicle):
        key = mme.CmSetKeyReq(nid=b"network", nmk=bytes(16))
        link.send(mme.encode(MmeFrame(mme.LOCAL_MODEM, link.mac, key)))
    assert kinds(at_charger) == kinds(at_vehicle) == [mme.CmSetKeyCnf]

    def up(link: PlcLink, frames: list[bytes]) -> bool:
        link.send(mme.encode(MmeFrame(mme.LOCAL_MODEM, link.mac, mme.VsPlLinkStatusReq())))
        return mme.decode(frames[-1]).message == mme.VsPlLinkStatusCnf(link_status=1)

    await until(lambda: up(charger, at_charger) and up(vehicle, at_vehicle))
    at_charger.clear()
    sound = mme.CmMnbcSoundInd(cnt=0, run_id=bytes(8), rnd=bytes(16))
    vehicle.send(mme.encode(MmeFrame(mme.BROADCAST, vehicle.mac, sound)))
    await until(lambda: len(at_charger) == 2)
    assert kinds(at_charger) == [mme.CmMnbcSoundInd, mme.CmAttenProfileInd]


async def test_a_port_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="medium"):
        open_link(PlcConfig(), role="ev")
    with pytest.raises(ConfigError, match="interface"):
        open_link(PlcConfig(backend="raw"), role="ev")
    with pytest.raises(ConfigError, match="port"):
        open_link(PlcConfig(backend="serial"), role="ev")
    with pytest.raises(TransportError, match="not-there"):
        open_link(PlcConfig(backend="serial", device=str(tmp_path / "not-there")), role="ev")
    with pytest.raises(TransportError):  # missing for root, not permitted for others
        open_link(PlcConfig(backend="raw", interface="not-there"), role="ev")
    for text in ("", "02:00", "zz:00:00:00:00:01", "01:00:00:00:00:01"):
        with pytest.raises(ConfigError, match="no address"):
            parse_mac(text)


async def test_a_serial_port_that_goes_away_is_told_when_sending(until: Callable) -> None:
    pair = PtyPair()
    link = open_link(PlcConfig(backend="serial", device=pair.devices[0]), role="ev")
    pair.close()

    def gone() -> bool:
        try:
            link.send(bytes(60))
        except TransportError:
            return True
        return False

    await until(gone)


async def test_noise_on_the_medium_is_for_the_modem_to_drop(
    charger_medium: Medium, vehicle_medium: Medium, until
) -> None:
    await until(lambda: vehicle_medium.peers and charger_medium.peers)
    link = open_link(PlcConfig(), role="evse", medium=charger_medium)
    frames: list[bytes] = []
    link.on_frame(frames.append)
    for payload in (b"", b"x", os.urandom(200), _frame(mme.BROADCAST, b"\x02" * 6)):
        vehicle_medium.send(Channel.PLC, payload)
    await until(lambda: frames)
    assert frames == [_frame(mme.BROADCAST, b"\x02" * 6)]
    link.close()
    vehicle_medium.send(Channel.PLC, _frame(mme.BROADCAST, b"\x02" * 6))
    await asyncio.sleep(0)
