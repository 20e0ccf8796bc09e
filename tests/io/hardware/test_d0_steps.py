"""A meter with an optical interface, step by step, in simulated time: what is sent to its head, when, and how fast."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from tests.hardware.meters.iec62056 import sent as readout
from tests.io.hardware.d0 import telegram
from tests.io.hardware.stepped_port import SteppedPort
from tests.virtual_time import in_simulated_time
from v2g.errors import TransportError
from v2g.hardware.interfaces import MeterValues
from v2g.hardware.meters.iec62056 import with_parity
from v2g.io.hardware.d0 import DRIVER, D0Config, D0Meter
from v2g.io.runtime.clock import Clock

REQUEST = with_parity(b"/?!\r\n")
IDENTIFICATION, BLOCK = readout("iskra_mt174").split(b"\n", 1)
ISKRA = MeterValues(502_853_000, 98_697_318_000)


class Head(SteppedPort):
    """The head of a meter, which may be unplugged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
        super().__init__(monkeypatch, "d0")
        self.faults: list[tuple[float, bool]] = []
        self.meter = D0Meter(msgspec.convert({"device": "head"} | config, D0Config), Clock())
        self.meter.on_fault(lambda _word, active: self.faults.append((self.now, active)))

    def later(self, at: float, data: bytes) -> None:
        """Have the meter send this then."""
        self._loop.call_at(self._began + at, lambda: self.send(data))


def play(monkeypatch: pytest.MonkeyPatch, scene: Callable[[Head], Coroutine[Any, Any, None]], **config: Any) -> None:
    async def scenario() -> None:
        head = Head(monkeypatch, **config)
        await scene(head)
        await head.meter.stop()

    in_simulated_time(scenario())


def test_telegrams_are_read_at_their_speed_until_the_meter_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(head: Head) -> None:
        head.later(1.0, telegram(5, 3))
        await head.meter.open()
        assert head.now == 1.0
        assert head.meter.values == MeterValues(5_000, 3_000)
        assert head.log == [(0.0, 9_600)]
        await head.until(11.2)
        assert head.faults == [(11.0, True)]
        head.send(telegram(6, 3))
        assert head.faults == [(11.0, True), (11.2, False)]
        await head.meter.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await head.meter.stop()
        await head.until(20.0)
        assert head.log == [(0.0, 9_600), (11.2, "closed")]

    play(monkeypatch, scene)


def test_a_telegram_is_as_old_as_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(head: Head) -> None:
        head.later(1.0, telegram(5))
        await head.meter.open()
        head.later(2.0, telegram(6)[:30])
        await head.until(2.5)
        waiting = asyncio.create_task(head.meter.refresh())
        head.later(3.0, telegram(6)[30:])
        await head.until(3.5)
        assert (head.meter.values.import_mwh, waiting.done()) == (6_000, False)
        head.later(4.0, telegram(7))
        await waiting
        assert head.now == 4.0

    play(monkeypatch, scene)


@pytest.mark.parametrize(
    ("config", "data", "said"),
    [
        ({}, bytes(each ^ (at == 40) for at, each in enumerate(telegram(9))), "a telegram was broken"),
        ({"protocol": "iec62056", "parity": False}, b"/ABC5X\r\n\r\n1.8.0(none*kWh)\r\n!\r\n", "1.8.0 is none"),
    ],
)
def test_what_cannot_be_read_is_no_reading(
    config: dict[str, Any], data: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(head: Head) -> None:
        head.later(1.0, data)
        with pytest.raises(TransportError, match=f"the meter on head: {said}") as caught:
            await head.meter.open()
        assert "PIN" in caught.value.hint
        assert head.now == 20.0
        assert head.meter.errors == 1
        assert head.log[-1] == (20.0, "closed")

    play(monkeypatch, scene, **config)


def test_a_head_that_was_unplugged_is_opened_again_and_halves_are_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(head: Head) -> None:
        head.later(0.9, telegram(5))
        await head.meter.open()
        head.send(telegram(6)[:30])
        head.missing = True
        head.unplug()
        await head.until(2.2)
        assert head.log == [(0.0, 19_200)]
        assert (head.meter.errors, head.meter.failure) == (3, "there is no head")
        head.missing = False
        await head.until(2.6)
        assert head.log == [(0.0, 19_200), (2.5, 19_200)]
        head.send(telegram(6)[30:])
        assert head.meter.values.import_mwh == 5_000
        head.send(telegram(7))
        assert head.meter.values.import_mwh == 7_000

    play(monkeypatch, scene, baud_rate=19_200)


@pytest.mark.parametrize("parity", [True, False])
def test_a_meter_is_asked_answered_and_read_at_its_speed_again_and_again(
    parity: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def line(text: bytes) -> bytes:
        return with_parity(text) if parity else text

    async def scene(head: Head) -> None:
        head.later(0.22, line(IDENTIFICATION + b"\n"))
        head.later(1.0, line(BLOCK))
        await head.meter.open()
        assert (head.now, head.meter.values) == (1.0, ISKRA)
        await head.until(1.62)
        asked = [300, line(b"/?!\r\n")]
        assert head.log == [
            (0.0, 300),
            *((0.0, each) for each in ("closed", *asked)),
            (0.55, line(b"\x06050\r\n")),
            (0.75, "closed"),
            (0.75, 9_600),
            *((1.5, each) for each in ("closed", *asked)),
        ]
        head.send(line(IDENTIFICATION + b"\n"))
        await head.until(2.5)
        assert head.log[-3:] == [(1.95, line(b"\x06050\r\n")), (2.15, "closed"), (2.15, 9_600)]
        await head.until(3.6)
        assert len(head.log) == 13  # it waits for the second readout, although there was one

    play(monkeypatch, scene, protocol="iec62056", request=True, parity=parity)


def test_a_meter_that_needs_no_answer_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(head: Head) -> None:
        head.later(0.22, with_parity(b"/ISKxMT174\r\n"))
        head.later(1.0, with_parity(BLOCK))
        await head.meter.open()
        assert head.meter.values == ISKRA
        assert head.log == [(0.0, 300), (0.0, "closed"), (0.0, 300), (0.0, REQUEST)]

    play(monkeypatch, scene, protocol="iec62056", request=True)


@pytest.mark.parametrize(
    ("first", "said", "again_s"),
    [(b"", "it does not answer", 3.5), (b"/12\r\n", "the meter's first line is no identification", 0.75)],
)
def test_a_meter_is_asked_again_where_it_does_not_answer_or_wrong(
    first: bytes, said: str, again_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(head: Head) -> None:
        head.later(0.22, with_parity(first))
        opening = asyncio.create_task(head.meter.open())
        await head.until(again_s + 0.1)
        assert (head.meter.errors, head.meter.failure) == (1, said)
        assert head.log[-3:] == [(again_s, "closed"), (again_s, 300), (again_s, REQUEST)]
        head.later(again_s + 0.2, with_parity(IDENTIFICATION + b"\n"))
        head.later(again_s + 1.0, with_parity(BLOCK))
        await opening

    play(monkeypatch, scene, protocol="iec62056", request=True, lost_s=3.0)


def test_a_head_that_was_unplugged_before_the_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(head: Head) -> None:
        head.later(0.22, with_parity(IDENTIFICATION + b"\n"))
        opening = asyncio.create_task(head.meter.open())
        await head.until(0.3)
        head.unplug()
        await head.until(0.6)
        assert (head.meter.errors, head.meter.failure) == (1, "the head was unplugged")
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)

    play(monkeypatch, scene, protocol="iec62056", request=True)


def test_a_meter_may_count_no_export_or_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(head: Head) -> None:
        head.later(1.0, telegram(5, 3))
        await head.meter.open()
        found.append(head.meter.values)

    found: list[MeterValues] = []
    play(monkeypatch, scene, export=False)
    play(monkeypatch, scene, swap=True)
    assert found == [MeterValues(5_000, 0), MeterValues(3_000, 5_000)]


def test_the_limits_of_its_configuration() -> None:
    assert msgspec.convert({"device": "x"}, D0Config) == D0Config(
        device="x",
        protocol="sml",
        baud_rate=9_600,
        parity=True,
        request=False,
        export=True,
        rollover_kwh=None,
        swap=False,
        lost_s=10.0,
    )
    for known in ({"baud_rate": 300}, {"baud_rate": 1_000_000}, {"rollover_kwh": 1}, {"rollover_kwh": 10**9}):
        assert msgspec.to_builtins(msgspec.convert({"device": "x"} | known, D0Config)).items() >= known.items()
    assert msgspec.convert({"device": "x", "lost_s": 120}, D0Config).lost_s == 120
    for key, value in (
        ("baud_rate", 299),
        ("baud_rate", 1_000_001),
        ("rollover_kwh", 0),
        ("rollover_kwh", 10**9 + 1),
        ("lost_s", 0),
        ("lost_s", 120.1),
        ("device", ""),
        ("protocol", "dlms"),
        ("speed", 300),
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"device": "x", key: value}, D0Config)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"request": True}, 'needs protocol = "iec62056"'), ({"swap": True, "export": False}, "needs export = true")],
)
def test_what_no_meter_is_like_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert({"device": "x"} | settings, D0Config)


def test_the_driver_is_one_of_a_meter() -> None:
    assert DRIVER.kind == "meter"
