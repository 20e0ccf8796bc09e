"""Variables, reports and restarts (functional block B)."""

from functools import partial

from v2g.errors import OcppError
from v2g.ocpp.messages import provisioning as ocpp
from v2g.ocpp.messages.base import Message
from v2g.ocpp.times import format_time
from v2g_station.blocks.availability import CloseStation
from v2g_station.blocks.evse import Evse, Restart
from v2g_station.blocks.transactions.resumption import Resumption
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.device_model import ITEMS_PER_MESSAGE
from v2g_station.kernel.kernel import Answer, Handler, status_info

RESET_PATIENCE = 30.0
"""Seconds that a restart waits for the delivery of the last transaction events (B12.FR.05)."""


class StationProvisioning(FunctionalBlock):
    """Variables, reports and restarts of one station."""

    def __init__(
        self,
        shared: Shared,
        resumption: Resumption,
        close: CloseStation,
        *,
        managed: bool = False,
        can_reset: bool = True,
    ) -> None:
        super().__init__(shared)
        self._resumption = resumption
        self._managed = managed
        self._can_reset = can_reset
        self._close = close
        """Closes the station to new users."""
        self._scheduled = False
        """Whether the reset waits, or waited, for the end of transactions."""
        self._pending: set[int | None] = set()
        """The EVSEs whose restart is pending, None for the station's."""
        self.answers: dict[str, Handler] = {
            "GetVariables": self._get,
            "SetVariables": self._set,
            "GetBaseReport": self._base_report,
            "GetReport": self._report,
            "Reset": self._reset,
        }

    # -- variables

    def _get(self, request: ocpp.GetVariablesRequest) -> Message:
        """B06."""
        wanted = request.get_variable_data
        _limit(len(wanted))
        model, version = self._k.model, self._k.version
        return ocpp.GetVariablesResponse(get_variable_result=tuple(model.get(item, version) for item in wanted))

    def _set(self, request: ocpp.SetVariablesRequest) -> Message:
        """B05."""
        wanted = request.set_variable_data
        _limit(len(wanted))
        model, version = self._k.model, self._k.version
        return ocpp.SetVariablesResponse(set_variable_result=tuple(model.set(item, version) for item in wanted))

    # -- reports

    def _base_report(self, request: ocpp.GetBaseReportRequest) -> Message:
        """B07."""
        data = self._k.model.report(request.report_base, self._k.version)
        if not data:
            return ocpp.GetBaseReportResponse(status="EmptyResultSet")
        self._send_report(request.request_id, data)
        return ocpp.GetBaseReportResponse(status="Accepted")

    def _report(self, request: ocpp.GetReportRequest) -> Message:
        """B08."""
        wanted = [(item.component, item.variable) for item in request.component_variable]
        _limit(len(wanted))
        data = self._k.model.select(wanted, request.component_criteria, self._k.version)
        if not data:
            return ocpp.GetReportResponse(status="EmptyResultSet")  # B08.FR.15
        self._send_report(request.request_id, data)
        return ocpp.GetReportResponse(status="Accepted")

    def _send_report(self, request_id: int, data: tuple[ocpp.ReportData, ...]) -> None:
        parts = [data[i : i + ITEMS_PER_MESSAGE] for i in range(0, len(data), ITEMS_PER_MESSAGE)]
        now = format_time(self._k.utc_ms)
        requests = [
            ocpp.NotifyReportRequest(
                request_id=request_id, generated_at=now, report_data=part, seq_no=i, tbc=i + 1 < len(parts)
            )
            for i, part in enumerate(parts)
        ]
        self._k.after(f"report.{request_id}", 0, lambda: self._send_parts(requests))

    def _send_parts(self, requests: list[ocpp.NotifyReportRequest]) -> None:
        """Send a report, part by part; while Pending too, as the CSMS has asked for it (B02.FR.02)."""
        if not requests:
            return

        def answered(answer: Answer) -> None:
            if isinstance(answer, Message):
                self._send_parts(requests[1:])

        self._k.call(requests[0], answered, always=True)

    # -- restarts

    def _reset(self, request: ocpp.ResetRequest) -> Message:
        """B11, B12, B13."""
        if not self._can_reset:
            return ocpp.ResetResponse(status="Rejected", status_info=status_info("NotEnabled"))  # B11.FR.06
        if request.type == "ImmediateAndResume" and not self._resumption.possible:  # B13.FR.01
            return ocpp.ResetResponse(status="Rejected", status_info=status_info("UnsupportedParam"))
        evse_id = request.evse_id or None
        if evse_id is not None and evse_id not in self._evses:
            return ocpp.ResetResponse(status="Rejected", status_info=status_info("UnknownEvse"))
        if evse_id is not None and not self._k.model.flag(f"EVSE#{evse_id}.AllowReset"):
            return ocpp.ResetResponse(status="Rejected", status_info=status_info("NotEnabled"))  # B11.FR.09, B12.FR.09
        busy = [evse for evse in self._concerned(evse_id) if evse.record is not None]
        self._sessions.keeping = bool(busy) and request.type == "ImmediateAndResume"
        if self._managed:
            at_once = request.type != "OnIdle"
            self._close(closed=True)
            self._k.after("reset.begin", 0, partial(self._leave, evse_id, at_once=at_once))
            self._scheduled = bool(busy) and not at_once
            return ocpp.ResetResponse(status="Scheduled" if self._scheduled else "Accepted")
        self._pending.add(evse_id)
        self._scheduled = bool(busy) and request.type == "OnIdle"
        if self._scheduled:
            if evse_id is None:
                self._close(closed=True)  # B12.FR.07
            return ocpp.ResetResponse(status="Scheduled")  # B12.FR.01
        self._k.after("reset.begin", 0, partial(self._clear, evse_id))
        return ocpp.ResetResponse(status="Accepted")

    def _leave(self, evse_id: int | None, *, at_once: bool) -> None:
        """Restart a charger that manages transactions; it ends or interrupts them itself."""
        for evse in self._concerned(evse_id) if self._sessions.keeping else ():
            self._sessions.update(evse, "ResetCommand")  # B13.FR.04
        self._k.do(Restart(evse_id=evse_id, at_once=at_once, keep=self._sessions.keeping))

    def restarting(self) -> None:
        """Store for the next boot that a restart was commanded (B01.FR.01), and whether transactions resume."""
        self._k.keep_text("boot", "reason", "ScheduledReset" if self._scheduled else "RemoteReset")
        if self._sessions.keeping:
            self._k.keep_text("boot", "resume", "yes")

    def _concerned(self, evse_id: int | None) -> list[Evse]:
        return [evse for evse in self._evses.values() if evse_id in (None, evse.number)]

    def _clear(self, evse_id: int | None) -> None:
        """End transactions before a restart (B12.FR.04, .08), or interrupt them during it (B13.FR.04, .10, .20)."""
        keeping = self._sessions.keeping
        for evse in self._concerned(evse_id):
            if not keeping:
                self._sessions.end(evse, "ResetCommand", reason="ImmediateReset")
            elif evse.record is not None:
                self._sessions.update(evse, "ResetCommand")
                self._resumption.hold(evse)
        self._k.after(f"reset.patience.{evse_id}", RESET_PATIENCE, partial(self._restart, evse_id))
        self.idle()

    def idle(self) -> None:
        """Restart now what is to be restarted, if nothing prevents it."""
        for place in tuple(self._pending):
            if not self._sessions.keeping and any(evse.record is not None for evse in self._concerned(place)):
                continue
            if not len(self._outbox) or not self._k.online:
                self._restart(place)
            elif not self._k.planned(f"reset.patience.{place}"):
                self._k.after(f"reset.patience.{place}", RESET_PATIENCE, partial(self._restart, place))

    def _restart(self, evse_id: int | None) -> None:
        if evse_id not in self._pending:
            return
        self._pending.discard(evse_id)
        self._k.cancel(f"reset.patience.{evse_id}")
        if evse_id is None:
            self.restarting()
        self._k.do(Restart(evse_id=evse_id))
        for evse in self._concerned(evse_id):
            if evse.resuming:
                self._resumption.expect(evse, delayed=False)
        self._sessions.keeping = False


def _limit(items: int) -> None:
    if items > ITEMS_PER_MESSAGE:  # B05.FR.11, B06.FR.16, B08.FR.17
        raise OcppError(f"{items} items, at most {ITEMS_PER_MESSAGE}", answer="OccurrenceConstraintViolation")
