"""The paused session of an EVSE: stored across restarts, resumed by its vehicle, or closed when that is impossible."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from secc.evse.paused_session_store import PausedSessionFile
from secc.evse.visit import Visit
from secc.session import ports
from secc.session.paused import Paused
from v2g.errors import StoreError, V2GError
from v2g.observe import Observe

if TYPE_CHECKING:
    from secc.evse.controller import EvseController


class Pauses:
    """The open session of a paused vehicle: `paused_visit`, None when there is none."""

    def __init__(self, controller: "EvseController") -> None:
        self._controller = controller
        self._file = PausedSessionFile(controller.config.data_dir, controller.archive.keys)
        self.paused_visit: Visit | None = None
        self._keeping = False
        self._unwanted: tuple[str, str] | None = None
        """Why a session being stored is to be discarded."""

    def recover(self) -> None:
        """Settle journals of a killed process; a paused session stays paused."""
        self.paused_visit = self._reopen()
        keep = self.paused_visit.session_id if self.paused_visit is not None else ""
        restate = (
            self._controller.station.restate_journal
            if self._controller.station is not None
            else lambda _session, _lines: None
        )
        self._controller.archive.recover(self._controller.meter, restate, keep=keep)
        if self.paused_visit is not None:
            self._controller.observe(Observe("session", "kept", {"session_id": keep}))

    def _reopen(self) -> Visit | None:
        visit = None
        try:
            paused = self._file.load()
            if paused is not None and self._known(paused.session_id.hex()):
                visit = Visit(self._controller, self._controller.transport.credentials[0])
                visit = visit if visit.reopen(paused.session_id.hex()) else None
        except V2GError as error:
            self._controller.observe(Observe("session", "not_kept", {"error": str(error)}))
            visit = None
        else:
            if visit is not None:
                visit.paused = paused
        if visit is None:
            self._file.remove()
        return visit

    def _known(self, session_id: str) -> bool:
        return self._controller.station is None or self._controller.station.transaction_id(session_id) is not None

    def keep(self, visit: Visit, paused: Paused) -> "asyncio.Future[None]":
        """Store a session that pauses; it is durable when the future is done, or that has the StoreError."""

        def saved() -> None:
            visit.paused, self.paused_visit, self._keeping = paused, visit, False
            if self._unwanted is not None:
                self.forget(*self._unwanted)

        self._keeping, self._unwanted = True, None
        return self._controller.disk.do(partial(self._file.save, paused), saved)

    def allow(self, services: frozenset[int]) -> None:
        """The vehicle may use these energy services when it resumes."""
        assert self.paused_visit is not None
        assert self.paused_visit.paused is not None
        self.paused_visit.paused = replace(self.paused_visit.paused, allowed=services)
        self._controller.tell(ports.PausedSessionChanged(self.paused_visit.paused))
        asked = self._controller.disk.do(partial(self._file.save, self.paused_visit.paused), _nothing)
        asked.add_done_callback(self._changed)

    def _changed(self, asked: "asyncio.Future[None]") -> None:
        if not asked.cancelled() and (error := asked.exception()) is not None:
            self._controller.observe(Observe("session", "not_kept", {"error": str(error)}))

    def rejoin(self) -> "tuple[Visit, asyncio.Future[None]]":
        """The vehicle resumes: return its session, which is no longer stored once the future is done."""
        assert self.paused_visit is not None
        visit, self.paused_visit = self.paused_visit, None
        return visit, self._controller.disk.do(self._file.remove, _nothing)

    def forget(self, reason: str, stopped: str) -> "asyncio.Task[None] | None":
        """Close the session of a paused vehicle that will not return. `stopped` is OCPP's reason.

        The next vehicle waits for the returned task.
        """
        visit, self.paused_visit = self.paused_visit, None
        if self._keeping:
            self._unwanted = (reason, stopped)
        self._controller.safety.forget_paused()
        self._controller.tell(ports.PausedSessionChanged(None))
        return None if visit is None else self._controller.later(self._close(visit, reason, stopped))

    async def _close(self, visit: Visit, reason: str, stopped: str) -> None:
        try:
            await self._controller.disk.do(self._file.remove, _nothing)
            await visit.end(reason)
            await self._controller.report(ports.ForgetSession(visit.session_id, reason, stopped))
        except StoreError as error:
            self._controller.observe(Observe("metering", "books_failed", {"error": str(error)}))
        self._controller.observe(
            Observe("session", "session_ended", {"reason": reason, "session_id": visit.session_id})
        )


def _nothing() -> None:
    """Have no result."""
