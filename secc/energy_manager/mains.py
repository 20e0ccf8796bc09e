"""The contactor between the charger's power electronics and the mains, which a trip of grid protection opens (R209)."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from v2g.errors import TransportError
from v2g.io.hardware.gpio import GpiodLines, GpioLine
from v2g.observe import Observe

LOOK_S: Final = 0.1
"""Interval of looking at the feedback."""
FAILED: Final = "charger_failed"


class MainsContactorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A contactor at a GPIO line (extra `gpio`), for all EVSEs; what controls the power electronics is supplied from
    before it, and what measures the grid is there, too: behind it nothing would show that power may return."""

    output: GpioLine
    """Active while it is to be closed, so that it opens without the program."""
    feedback: GpioLine | None = None
    """Active while it is closed; none: as commanded."""
    move_s: Annotated[float, Meta(gt=0, le=5)] = 0.5
    """Time for it to move, s."""


class Disconnected(Protocol):
    """What is behind it: the hardware of an EVSE."""

    @property
    def faults(self) -> tuple[str, ...]:
        """Codes of active faults."""

    def fault(self, word: str, active: bool) -> None:
        """A fault begins or ends."""


class MainsContactor:
    """Open while any EVSE is tripped; see `Cut`. It begins open. Call `look` when that changes, and every LOOK_S."""

    def __init__(
        self,
        config: MainsContactorConfig,
        behind: Sequence[Disconnected],
        tripped: Callable[[], bool],
        observe: Callable[[Observe], None],
    ) -> None:
        """Raises TransportError, ConfigError without the extra `gpio`."""
        inputs = {} if config.feedback is None else {"feedback": config.feedback}
        self._lines = GpiodLines({"output": config.output}, inputs)
        self._config, self._behind, self._tripped, self._observe = config, behind, tripped, observe
        self._now = asyncio.get_running_loop().time
        self._commanded = self._cut = False
        self._moved_at, self._problem = self._now(), ""

    def cut(self) -> None:
        """See Cut: it stays open until the EVSEs have passed their test."""
        self._cut = True
        self._lines.write("output", active=False)

    def look(self) -> None:
        """Open or close it, as it is to be. One that does not open, or cannot be commanded, leaves no energy."""
        if self._cut and not self._commanded:
            self._cut = any(FAILED in each.faults for each in self._behind)
        closed = not self._tripped() and not self._cut
        if closed is not self._commanded:
            self._commanded, self._moved_at = closed, self._now()
            self._command()
            self._observe(Observe("power", "mains_contactor", {"state": "closed" if closed else "open"}))
        try:
            shown = self._lines.read()["feedback"] if self._config.feedback is not None else closed
        except TransportError as error:
            self._fail(str(error), FAILED)
            return
        if shown is not closed and self._now() >= self._moved_at + self._config.move_s:
            self._fail("it does not close" if closed else "it does not open", "" if closed else "contactor_welded")
            self._write()  # again: it may not have been possible before
        elif self._problem:
            self._command()

    async def run(self) -> None:
        """Look at it, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def close(self) -> None:
        """Open it, and release the lines."""
        self._commanded = False
        self._command()
        self._lines.close()

    def _command(self) -> None:
        if why := self._write():
            self._fail(why, FAILED)
        else:
            self._problem = ""

    def _write(self) -> str:
        """Command it; return why that was not possible."""
        try:
            self._lines.write("output", active=self._commanded and not self._cut)
        except TransportError as error:
            return str(error)
        return ""

    def _fail(self, why: str, word: str) -> None:
        if why != self._problem:
            self._problem = why
            self._observe(Observe("power", "mains_contactor_failed", {"reason": why[:200]}))
            for each in self._behind if word else ():
                each.fault(word, active=True)
