"""Restart on request of the CSMS (B11 to B13): when no vehicle is served, or after ending all sessions."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from secc.evse.controller import EvseController
from v2g.io.runtime.supervision import spawn
from v2g.observe import Observe
from v2g_station.blocks.evse import Restart

COMMAND_S: Final = 60.0
"""Time limit of the command that restarts the device."""

AGAIN: Final = -1
"""Instead of an exit code: restart this program."""

_LOOK_S: Final = 0.5


class Restarting:
    """Waits until no EVSE serves a vehicle, then sets `due`. `expect` is called once that is certain."""

    def __init__(self, controllers: Sequence[EvseController], observe: Callable[[Observe], None]) -> None:
        self._controllers, self._observe = controllers, observe
        self.due = asyncio.Event()
        self._waiting: asyncio.Task[None] | None = None
        self._keep = False

    def ask(self, command: Restart, expect: Callable[[], None]) -> None:
        """Restart as soon as no vehicle is served; `at_once` ends sessions. With `keep` paused ones stay open (B13)."""
        self._observe(Observe("ocpp", "reset", {"at_once": command.at_once, "keep": command.keep}))
        self._keep = command.keep
        for controller in self._controllers:
            controller.fact(command)
        if self._waiting is None:
            self._waiting = spawn(self._wait(expect), name="reset")

    def close(self) -> None:
        """Cancel: the program ends anyway."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def _wait(self, expect: Callable[[], None]) -> None:
        while any(
            controller.busy or (controller.paused is not None and not self._keep) for controller in self._controllers
        ):
            await asyncio.sleep(_LOOK_S)
        for controller in self._controllers:
            await controller.settled()
        expect()
        self.due.set()


async def restart_device(command: Sequence[str], observe: Callable[[Observe], None]) -> int:
    """Run the command that restarts the device; return the exit code of this program, or AGAIN without a command."""
    if not command:
        return AGAIN
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
        async with asyncio.timeout(COMMAND_S):
            status = await process.wait()
    except (OSError, TimeoutError) as error:
        observe(Observe("ocpp", "restart_failed", {"error": str(error) or f"no end within {COMMAND_S:.0f} s"}))
        return AGAIN
    if status:
        observe(Observe("ocpp", "restart_failed", {"error": f"exit code {status}"}))
        return AGAIN
    return 0


def start_anew() -> int:
    """Replace this process with a fresh start of the program, with the same arguments and process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # this program
