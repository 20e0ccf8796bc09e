"""A character display, step by step, in simulated time: what is sent to it, when, and how fast."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.io.hardware.stepped_port import SteppedPort
from tests.secc.hardware.bare import run
from v2g.errors import TransportError
from v2g.hardware.line_display import octets, setup
from v2g.io.hardware.driver import DriverContext
from v2g.io.hardware.line_display import DRIVER, LineDisplay, LineDisplayConfig
from v2g.io.runtime.clock import Clock

LONG = {"content": "Half price until six, and nothing at night"}
PAGES = [octets(each, "cp850") for each in (("Half price until", "six, and nothing at"), ("night",))]
EMPTY = setup("cp850") + octets((), "cp850")


def play(
    monkeypatch: pytest.MonkeyPatch,
    scene: Callable[[SteppedPort, LineDisplay], Coroutine[Any, Any, None]],
    **config: Any,
) -> None:
    async def scenario() -> None:
        port = SteppedPort(monkeypatch, "line_display")
        display = LineDisplay(LineDisplayConfig(device="panel", **config))
        port.log.clear()
        await scene(port, display)

    run(scenario)


def test_a_display_is_empty_at_the_start_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each octet has ten bits, and is awaited: 11 octets take 11 ms at 9,600 bit/s."""

    async def scenario() -> None:
        port = SteppedPort(monkeypatch, "line_display")
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with DRIVER.open(LineDisplayConfig(device="panel"), DriverContext(clock=Clock())) as display:
            assert loop.time() - began == pytest.approx(len(EMPTY) * 10 / 9_600)
            assert port.log == [(0.0, 9_600), (0.0, EMPTY)]
            await display.show({"content": "Full"})
            port.log.clear()
        assert [each for _, each in port.log] == [EMPTY, "closed"]

    run(scenario)
    assert DRIVER.kind == "display"


def test_pages_of_a_long_text_take_turns_until_the_next_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(port: SteppedPort, display: LineDisplay) -> None:
        await display.show(LONG)
        await port.until(10.0)
        first, second = PAGES
        assert port.log == [(0.0, setup("cp850") + first), (3.0, second), (6.0, first), (9.0, second)]
        port.log.clear()
        await display.show({"content": "Full"})
        await port.until(60.0)
        assert port.log == [(10.0, setup("cp850") + octets(("Full",), "cp850"))]

    play(monkeypatch, scene)


def test_the_shape_of_the_display_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(port: SteppedPort, display: LineDisplay) -> None:
        await display.show({"content": "Zwölf Stück"})
        await port.until(1.5)
        pages = [octets((each,), "cp437") for each in ("Zwölf", "Stück")]
        assert port.log == [(0.0, setup("cp437") + pages[0]), (1.0, pages[1])]

    play(monkeypatch, scene, columns=8, rows=1, code_table="cp437", page_s=1.0)


@pytest.mark.parametrize("ends", [SteppedPort.unplug, SteppedPort.close])
def test_a_display_that_is_gone_is_sent_no_more_pages(
    monkeypatch: pytest.MonkeyPatch, ends: Callable[[SteppedPort], None]
) -> None:
    async def scene(port: SteppedPort, display: LineDisplay) -> None:
        failed: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        await display.show(LONG)
        ends(port)
        port.is_open = ends is SteppedPort.unplug  # plugged in again: it has lost its message
        port.log.clear()
        await port.until(10.0)
        assert (port.log, failed) == ([], [])
        port.is_open = False
        with pytest.raises(TransportError):
            await display.show(LONG)

    play(monkeypatch, scene)


def test_a_closed_display_takes_no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(port: SteppedPort, display: LineDisplay) -> None:
        await display.show(LONG)
        display.close()
        port.is_open = True
        await port.until(10.0)
        assert [each for _, each in port.log][1:] == ["closed"]

    play(monkeypatch, scene)


def test_a_display_that_is_lost_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        port = SteppedPort(monkeypatch, "line_display")
        async with DRIVER.open(LineDisplayConfig(device="panel"), DriverContext(clock=Clock())):
            port.is_open = False
        assert port.log[-1][1] == "closed"

    run(scenario)
