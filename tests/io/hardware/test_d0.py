"""A meter with an optical interface: telegrams on a cable of pseudo-terminals, unplugged, silent, and on request."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from secc.hardware.drivers import find, opened
from secc.hardware.meter_remote import RemoteMeter
from tests.hardware.meters.iec62056 import sent as readout
from tests.hardware.meters.sml import sent
from tests.io.conftest import PtyPair
from tests.io.hardware.d0 import telegram
from v2g.errors import TransportError
from v2g.hardware.interfaces import MeterValues
from v2g.hardware.meters.iec62056 import with_parity
from v2g.io.hardware.d0 import D0Config, D0Meter
from v2g.io.hardware.driver import DriverContext
from v2g.io.runtime.clock import Clock

CLOCK = Clock()


class Head:
    """The meter's end of the cable."""

    def __init__(self, **config: Any) -> None:
        self.cable = PtyPair()
        settings = {"device": self.cable.devices[0], "lost_s": 0.3} | config
        self.meter = D0Meter(msgspec.convert(settings, D0Config), CLOCK)
        self._port = os.open(self.cable.devices[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.received, self.echoes = b"", False
        asyncio.get_running_loop().add_reader(self._port, self._hear)

    def _hear(self) -> None:
        data = os.read(self._port, 512)
        self.received += data
        if self.echoes:
            self.send(data)

    def send(self, data: bytes) -> None:
        os.write(self._port, data)

    async def close(self) -> None:
        await self.meter.stop()
        asyncio.get_running_loop().remove_reader(self._port)
        os.close(self._port)
        self.cable.close()


@pytest_asyncio.fixture
async def heads() -> AsyncIterator[list[Head]]:
    found: list[Head] = []
    yield found
    for each in found:
        await each.close()


async def opened_head(head: Head, first: bytes) -> D0Meter:
    """Open the meter while it sends."""

    async def send() -> None:
        while True:
            head.send(first)
            await asyncio.sleep(0.02)

    sending = asyncio.create_task(send())
    await head.meter.open()
    sending.cancel()
    return head.meter


async def test_a_telegram_becomes_a_reading_and_a_broken_one_does_not(
    heads: list[Head], until: Callable[..., Any]
) -> None:
    heads.append(head := Head())
    meter = await opened_head(head, sent("dzg"))
    assert meter.values == MeterValues(450_091_899, 2_198_000, None, 353, line_w=(82, 27, 244))
    broken = bytearray(telegram(7))
    broken[40] ^= 1
    head.send(bytes(broken))
    await until(lambda: meter.errors == 1)
    assert meter.values.import_mwh == 450_091_899
    head.send(telegram(500_000, 3))
    await until(lambda: meter.values == MeterValues(500_000_000, 3_000))


async def test_a_reading_after_a_refresh_is_one_that_began_later(heads: list[Head]) -> None:
    """A telegram that was half sent when the contactor opened lacks the energy since then."""
    heads.append(head := Head(lost_s=5.0))
    meter = RemoteMeter("M", await opened_head(head, telegram(1)), lambda: 0.0)
    half = telegram(2)
    head.send(half[:30])
    await asyncio.sleep(0.05)
    waiting = asyncio.create_task(meter.refresh())
    await asyncio.sleep(0)
    head.send(half[30:])
    await asyncio.sleep(0.05)
    assert not waiting.done()
    head.send(telegram(3))
    await waiting
    assert meter.read(0).import_mwh == 3_000


async def test_a_silent_meter_is_a_fault_until_it_answers_again(heads: list[Head], until: Callable[..., Any]) -> None:
    heads.append(head := Head())
    meter = await opened_head(head, telegram(1))
    faults: list[tuple[str, bool]] = []
    meter.on_fault(lambda word, active: faults.append((word, active)))
    await until(lambda: faults == [("meter_lost", True)])
    assert meter.lost
    await meter.refresh()  # does not wait for ever
    head.send(telegram(1))
    await until(lambda: faults == [("meter_lost", True), ("meter_lost", False)])


async def test_a_head_that_was_unplugged_is_opened_again(
    heads: list[Head], until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("v2g.io.hardware.d0.REOPEN_S", 0.02)
    link = tmp_path / "head"
    heads.append(head := Head(device=str(link)))
    link.symlink_to(head.cable.devices[0])
    meter = await opened_head(head, telegram(1))
    link.unlink()
    head.cable.close()  # the port is gone
    await until(lambda: meter.lost)
    heads.append(other := Head())
    link.symlink_to(other.cable.devices[0])

    def read() -> bool:
        other.send(telegram(9))
        return meter.values.import_mwh == 9_000

    await until(read)
    assert not meter.lost


async def test_a_meter_that_sends_lines_with_parity_is_read(heads: list[Head]) -> None:
    heads.append(head := Head(protocol="iec62056"))
    meter = await opened_head(head, with_parity(readout("ebz_dd3")))
    assert meter.values == MeterValues(2_714_128_302, 1_206_000, None, 211, line_w=(158, 16, 38))


@pytest.mark.parametrize("echoes", [False, True])
async def test_a_meter_is_asked_for_its_readout(
    heads: list[Head], until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *, echoes: bool
) -> None:
    """Mode C: request, identification, acknowledgement with the speed, and the readout with its block check."""
    monkeypatch.setattr("v2g.io.hardware.d0.REACTION_S", 0.01)
    heads.append(head := Head(protocol="iec62056", request=True, lost_s=3.0))
    head.echoes = echoes
    identification, block = readout("iskra_mt174").split(b"\n", 1)
    opening = asyncio.create_task(head.meter.open())
    await until(lambda: head.received == with_parity(b"/?!\r\n"))
    head.send(with_parity(identification + b"\n"))
    await until(lambda: head.received.endswith(with_parity(b"\x06050\r\n")))
    await asyncio.sleep(0.3)  # the head changes its speed
    head.send(with_parity(block))
    await opening
    assert head.meter.values == MeterValues(502_853_000, 98_697_318_000)
    assert head.meter.errors == 0


async def test_the_driver_names_a_meter_that_sends_nothing(heads: list[Head], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2g.io.hardware.d0.START_S", 0.1)
    heads.append(head := Head())
    config = D0Config(device=head.cable.devices[0])
    assert find("meter", "d0").config is D0Config
    with pytest.raises(TransportError, match="no reading of the meter") as caught:
        async with opened("meter", "d0", config, DriverContext(clock=CLOCK)):
            pass
    assert "PIN" in caught.value.hint
