"""Sleep of an EVSE: its electronics are turned off and on by the device's own commands (Q10)."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.io.runtime.supervision import spawn
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g_station.blocks.smart_charging.smart_charging import Sleep, SleepRefused

EVSE: Final = "{evse}"

Argv = Annotated[tuple[str, ...], Meta(min_length=1)]


class SleepConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Commands of the device, as lists of arguments without a shell. `{evse}` is the number of the EVSE. The
    electronics must be ready when `wake` has ended."""

    sleep: Argv
    """Turns off what an idle EVSE does not need; fails if not possible."""
    wake: Argv
    """Turns it on again; also run at the program's start."""
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 30.0
    """A command that takes longer is killed and counts as failed."""


class Sleeping:
    """Puts EVSEs to sleep and wakes them: one command at a time for each; the last request applies."""

    def __init__(
        self, config: SleepConfig, evses: int, notify: Callable[[Fact], None], observe: Callable[[Observe], None]
    ) -> None:
        self._config, self._evses, self._notify, self._observe = config, evses, notify, observe
        self._wanted: dict[int, bool] = {}
        self._running: dict[int, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Wake EVSEs that were asleep when the program ended."""
        for number in range(1, self._evses + 1):
            self.want(Sleep(evse_id=number, asleep=False))

    def want(self, command: Sleep) -> None:
        """Put an EVSE to sleep, or wake it."""
        number = command.evse_id
        self._wanted[number] = command.asleep
        task = self._running.get(number)
        if task is None or task.done():
            self._running[number] = spawn(self._follow(number), name="sleep")

    async def finished(self) -> None:
        """Wait until nothing is in progress."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def close(self) -> None:
        """Cancel what is in progress."""
        for task in self._running.values():
            task.cancel()
        await self.finished()

    async def _follow(self, number: int) -> None:
        done: bool | None = None
        while (wanted := self._wanted[number]) != done:
            error = await self._run(self._config.sleep if wanted else self._config.wake, number)
            done = wanted
            if not error:
                self._observe(Observe("hardware", "sleep", {"evse": number, "asleep": wanted}))
                continue
            self._observe(Observe("hardware", "sleep_failed", {"evse": number, "asleep": wanted, "error": error}))
            if wanted and self._wanted[number]:
                self._notify(SleepRefused(evse_id=number))

    async def _run(self, argv: tuple[str, ...], number: int) -> str:
        """Run a command; return its error, "" for success."""
        try:
            process = await asyncio.create_subprocess_exec(
                *(each.replace(EVSE, str(number)) for each in argv), stdin=asyncio.subprocess.DEVNULL
            )
        except OSError as error:
            return f"{argv[0]}: {error.strerror}"
        try:
            async with asyncio.timeout(self._config.timeout_s):
                code = await process.wait()
        except TimeoutError:
            return f"{argv[0]} did not finish within {self._config.timeout_s:g} s"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return f"{argv[0]} exited with code {code}" if code else ""
