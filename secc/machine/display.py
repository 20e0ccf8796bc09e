"""What the CSMS wants people at the charger to read (functional block O): told as events, and given to a display.

Which messages are shown now, by priority, state, time and language, is the core's choice; those of the same priority
take turns here.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from secc.core.station.display import Show
from secc.machine.installer import Argv
from v2g.observe import Observe
from v2g.ocpp.messages.display import MessageInfo

COMMAND_S = 10.0
"""How long a display's command may take."""


class DisplayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where messages for people go, beside events and the live view: as one JSON object with `id`, `priority`,
    `format`, `language`, `content` and `extra` (the same in other words), or `{}` for none."""

    file: Path | None = None
    """Replaced whenever another message is to be read."""
    command: Argv | None = None
    """Run whenever another message is to be read; the object is its standard input."""
    turn_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    """How long each of several messages is shown."""


class Display:
    """Shows messages; `observe` is told of each that is shown from now on."""

    def __init__(self, config: DisplayConfig, observe: Callable[[Observe], None]) -> None:
        self._config, self._observe = config, observe
        self._turn: asyncio.TimerHandle | None = None
        self._order: itertools.cycle[MessageInfo] = itertools.cycle(())
        self._waiting: bytes | None = None
        self._running: asyncio.Task[None] | None = None

    def show(self, command: Show) -> None:
        """Show these in turn from now on; none is the charger's own picture."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._order = itertools.cycle(command.messages)
        if command.messages:
            self._next(many=len(command.messages) > 1)
        else:
            self._observe(Observe("display", "cleared"))
            self._put({})

    async def close(self) -> None:
        """Change nothing any more."""
        if self._turn is not None:
            self._turn.cancel()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

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
        self._put(
            {
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
        )
        if many:
            self._turn = asyncio.get_running_loop().call_later(self._config.turn_s, lambda: self._next(many=True))

    def _put(self, shown: dict[str, Any]) -> None:
        data = msgspec.json.encode(shown) + b"\n"
        if (file := self._config.file) is not None:
            part = file.with_name(f".{file.name}.part")
            try:
                part.write_bytes(data)
                part.replace(file)
            except OSError as error:
                self._observe(Observe("display", "failed", {"error": str(error)[:200]}))
        if self._config.command is not None:
            self._waiting = data  # a display that is slow gets the newest next
            if self._running is None or self._running.done():
                self._running = asyncio.get_running_loop().create_task(self._run(self._config.command))

    async def _run(self, argv: tuple[str, ...]) -> None:
        while self._waiting is not None:
            data, self._waiting = self._waiting, None
            try:
                await _give(argv, data)
            except (OSError, TimeoutError) as error:
                words = str(error) or f"{argv[0]} takes longer than {COMMAND_S:g} s"
                self._observe(Observe("display", "failed", {"error": words[:200]}))


async def _give(argv: tuple[str, ...], data: bytes) -> None:
    pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=none, stderr=none, start_new_session=True)
    try:
        async with asyncio.timeout(COMMAND_S):
            await process.communicate(data)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
    if process.returncode:
        raise OSError(f"{argv[0]} ended with {process.returncode}")
