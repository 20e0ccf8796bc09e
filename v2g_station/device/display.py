"""What drivers see at the charger: messages of the CSMS (functional block O), tariffs and costs (block I), QR codes for
payment (C25), results of their requests. Sent as events, and to a display.

The core chooses the current messages by priority, state, time and language; those of the same priority take turns here.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.config import Table
from v2g.hardware.interfaces import DriverDisplay
from v2g.io.hardware.driver import OnFailure, OpenSide, keep_open
from v2g.io.ota.installer import Argv
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.observe import Observe
from v2g.ocpp.messages.display import MessageInfo
from v2g.text import printable
from v2g.units import currency_digits
from v2g_station.blocks.cost.local_cost import ShowCost
from v2g_station.blocks.cost.tariffs import ShowTariff
from v2g_station.blocks.display import ShowMessages
from v2g_station.blocks.evse import NoticeWord
from v2g_station.blocks.web_payment import ShowQrCode

COMMAND_S: Final = 10.0
"""Time limit of a display's command."""

NOTICE_S: Final = 20.0
"""How long the result of a driver's request is displayed."""

FINAL_S: Final = 60.0
"""How long the cost of a transaction is displayed after its end."""


class DisplayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where to send messages for drivers, besides events and the live view: as one JSON object with `id`, `priority`,
    `format`, `language`, `content` and `extra` (the same text in other languages), or without these if there is no
    message; `qr_codes`, `prices` by EVSE and a `notice` for a driver, if any."""

    file: Path | None = None
    """Replaced on each new message."""
    command: Argv | None = None
    """Run on each new message; the object is its standard input."""
    driver: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    """Driver of a display: "escpos", or another one of `v2g hardware list`."""
    settings: Table | None = None
    """The driver's keys."""
    notices: dict[NoticeWord, Annotated[str, Meta(max_length=255)]] = {}
    """What drivers read about their requests, such as { rejected = "Karte nicht zugelassen" }: the `text` of a notice.
    Without one a line display shows its `word`. The message that the CSMS has for a refused token follows it."""
    draws_qr_codes: bool = False
    """The display shows the codes of `qr_codes`: drivers may pay on the web (C25)."""
    turn_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    """How long each of several messages is displayed."""


class _Newest:
    """Gives what is shown to a slow receiver: the newest next."""

    def __init__(self, give: Callable[[Mapping[str, object]], Awaitable[None]], failed: OnFailure) -> None:
        self._give, self._failed = give, failed
        self._waiting: Mapping[str, object] | None = None
        self._running: asyncio.Task[None] | None = None

    def put(self, shown: Mapping[str, object]) -> None:
        self._waiting = shown
        if self._running is None or self._running.done():
            self._running = spawn(self._run(), name="display")

    async def close(self) -> None:
        await cancel_tasks(self._running)

    async def _run(self) -> None:
        while self._waiting is not None:
            shown, self._waiting = self._waiting, None
            try:
                await self._give(shown)
            except (OSError, TimeoutError) as error:
                self._failed(str(error))


class StationDisplay:
    """Displays messages; `observe` gets each one that is displayed next. `panel` opens the display of a driver."""

    def __init__(
        self, config: DisplayConfig, observe: Callable[[Observe], None], *, panel: OpenSide[DriverDisplay] | None = None
    ) -> None:
        self._config, self._observe, self._open_panel = config, observe, panel
        self._panel: DriverDisplay | None = None
        self._panel_failure = ""
        self._keeping: asyncio.Task[None] | None = None
        self._to_panel = _Newest(self._draw, self._failed)
        self._to_command = _Newest(partial(_give, config.command or ()), self._failed)
        self._turn: asyncio.TimerHandle | None = None
        self._order: itertools.cycle[MessageInfo] = itertools.cycle(())
        self._shown: dict[str, object] = {}
        self._codes: dict[int, dict[str, object]] = {}
        self._tariffs: dict[int, str] = {}
        self._costs: dict[int, str] = {}
        self._ending: dict[int, asyncio.TimerHandle] = {}
        self._notice: dict[str, object] | None = None
        self._fading: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Open the display of a driver, and keep it open."""
        if self._open_panel is not None:
            run = keep_open(partial(self._opened, self._open_panel), self._use_panel, self._panel_lost)
            self._keeping = spawn(run, name="display driver")

    def show(self, command: ShowMessages) -> None:
        """Display these in turn; if empty, the charger's own screen."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._order = itertools.cycle(command.messages)
        if command.messages:
            self._next(many=len(command.messages) > 1)
        else:
            self._observe(Observe("display", "cleared"))
            self._shown = {}
            self._put()

    @property
    def draws_codes(self) -> bool:
        """Whether drivers see QR codes."""
        return self._config.draws_qr_codes

    def code(self, command: ShowQrCode) -> None:
        """Display or remove a QR code; EVSE 0 is the whole station."""
        known = self._codes.pop(command.evse_id, None) is not None
        if command.url is not None:
            code = {"evse": command.evse_id, "url": command.url, "quality": command.quality}
            self._codes[command.evse_id] = code
        if known is not (command.url is not None):  # its password changes all the time
            self._observe(Observe("display", "qr_code", {"evse": command.evse_id, "shown": not known}))
        self._put()

    def notice(self, evse_id: int | None, word: NoticeWord | Literal["receipt"], text: str = "") -> None:
        """Display the result of a driver's request for a while: the text of the configuration, then this one."""
        if word != "receipt":
            configured = self._config.notices.get(word, "")
            text = f"{configured or word}: {text}" if text else configured
        self._observe(Observe("display", "notice", {"evse": evse_id or 0, "word": word, "text": text[:255]}))
        self._notice = {"evse": evse_id or 0, "word": word, "text": text}
        if self._fading is not None:
            self._fading.cancel()
        self._fading = asyncio.get_running_loop().call_later(NOTICE_S, self._fade)
        self._put()

    def _fade(self) -> None:
        self._notice = None
        self._put()

    def tariff(self, command: ShowTariff) -> None:
        """Display a tariff at an EVSE, or none, until another one."""
        self._tariffs[command.evse_id] = command.text
        self._put()

    def cost(self, command: ShowCost) -> None:
        """Display the cost of an EVSE's transaction, the final one for a while (I02, I03, I05)."""
        if (evse_id := command.evse_id) is None:
            return
        if (timer := self._ending.pop(evse_id, None)) is not None:
            timer.cancel()
        total = (
            "" if command.total is None else f"{command.total:.{currency_digits(command.currency)}f} {command.currency}"
        )
        self._costs[evse_id] = ": ".join(filter(None, (total, command.text)))
        if command.final:
            self._observe(Observe("display", "cost", {"evse": evse_id, "text": self._costs[evse_id]}))
            self._ending[evse_id] = asyncio.get_running_loop().call_later(FINAL_S, self._paid, evse_id)
        self._put()

    def _paid(self, evse_id: int) -> None:
        del self._ending[evse_id], self._costs[evse_id]
        self._put()

    async def close(self) -> None:
        """Stop all changes."""
        for timer in (self._turn, self._fading, *self._ending.values()):
            if timer is not None:
                timer.cancel()
        await self._to_panel.close()
        await self._to_command.close()
        await cancel_tasks(self._keeping)

    def _next(self, *, many: bool) -> None:
        info = next(self._order)
        text = info.message
        self._observe(
            Observe(
                "display",
                "shown",
                {
                    "id": info.id,
                    "priority": info.priority,
                    "language": text.language or "",
                    "content": text.content[:255],
                },
            )
        )
        self._shown = {
            "id": info.id,
            "priority": info.priority,
            "format": text.format,
            "language": text.language,
            "content": text.content,
            "extra": [
                {"format": each.format, "language": each.language, "content": each.content}
                for each in info.message_extra
            ],
        }
        self._put()
        if many:
            self._turn = asyncio.get_running_loop().call_later(self._config.turn_s, lambda: self._next(many=True))

    def _content(self) -> Mapping[str, object]:
        shown = dict(self._shown)
        if self._codes:
            shown["qr_codes"] = [self._codes[number] for number in sorted(self._codes)]
        prices = (
            {"evse": number, "tariff": self._tariffs.get(number, ""), "cost": self._costs.get(number, "")}
            for number in sorted(self._tariffs.keys() | self._costs)
        )
        if priced := [each for each in prices if each["tariff"] or each["cost"]]:
            shown["prices"] = priced
        if self._notice is not None:
            shown["notice"] = self._notice
        return shown

    def _put(self) -> None:
        shown = self._content()
        if (file := self._config.file) is not None:
            part = file.with_name(f".{file.name}.part")
            try:
                part.write_bytes(msgspec.json.encode(shown) + b"\n")
                part.replace(file)
            except OSError as error:
                self._failed(str(error))
        if self._config.command is not None:
            self._to_command.put(shown)
        if self._panel is not None:
            self._to_panel.put(shown)

    def _failed(self, why: str) -> None:
        self._observe(Observe("display", "failed", {"error": printable(why)[:200]}))

    # -- the display of a driver

    def _opened(
        self, open_: OpenSide[DriverDisplay], failed: OnFailure
    ) -> contextlib.AbstractAsyncContextManager[DriverDisplay]:
        def fail(why: str) -> None:
            self._panel = None
            failed(why)

        return open_(fail)

    async def _draw(self, shown: Mapping[str, object]) -> None:
        if self._panel is not None:
            await self._panel.show(shown)
        if self._panel is not None:  # it has shown it, so that its next failure is news
            self._panel_failure = ""

    def _use_panel(self, panel: DriverDisplay, _: OnFailure) -> None:
        self._panel = panel
        self._to_panel.put(self._content())

    def _panel_lost(self, why: str) -> None:
        if why != self._panel_failure:
            self._failed(why)
        self._panel_failure = why


async def _give(argv: Argv, shown: Mapping[str, object]) -> None:
    pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=none, stderr=none, start_new_session=True)
    try:
        async with asyncio.timeout(COMMAND_S):
            await process.communicate(msgspec.json.encode(shown) + b"\n")
    except TimeoutError:
        raise TimeoutError(f"{argv[0]} did not finish within {COMMAND_S:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
    if process.returncode:
        raise OSError(f"{argv[0]} exited with code {process.returncode}")
