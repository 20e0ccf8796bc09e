"""A character display on a serial port."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.io.hardware.line_display import wired
from v2g.errors import TransportError
from v2g.io.hardware.driver import DriverContext
from v2g.io.hardware.line_display import DRIVER, LineDisplay, LineDisplayConfig
from v2g.io.runtime.clock import Clock


async def test_pages_of_a_long_text_take_turns_until_the_next_message(until: Callable[..., Any]) -> None:
    async with wired() as (cable, screen):
        config = LineDisplayConfig(device=cable.devices[0], baud_rate=115_200, page_s=0.5)
        async with DRIVER.open(config, DriverContext(clock=Clock())) as display:
            assert isinstance(display, LineDisplay)
            await display.show({"content": "Half price until six, and nothing at night"})
            for page in (
                ["Half price until", "six, and nothing at"],
                ["night", ""],
                ["Half price until", "six, and nothing at"],
            ):
                await until(lambda page=page: screen.text == page)
            await display.show({"content": "Full"})
            await until(lambda: screen.text == ["Full", ""])
        await until(lambda: screen.text == ["", ""])


async def test_a_display_whose_port_is_gone_is_reported_with_the_next_message(until: Callable[..., Any]) -> None:
    async with wired() as (cable, _):
        display = LineDisplay(LineDisplayConfig(device=cable.devices[0], baud_rate=115_200, page_s=0.5))
        await display.show({"content": "x" * 41})
        cable.close()

        async def shows() -> bool:
            with contextlib.suppress(TransportError):
                await display.show({"content": "Free"})
                return True
            return False

        async with asyncio.timeout(10):
            while await shows():
                pass
        with pytest.raises(TransportError, match="closed"):
            await display.show({})
        display.close()
