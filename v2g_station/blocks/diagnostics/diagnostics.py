"""Logs for the CSMS, security events, and stored customer data (N01, N09, N10, A04)."""

from collections.abc import Callable
from typing import Final

import msgspec

from v2g.hardware.faults import FAULTS
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages import diagnostics as ocpp
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import EVSE, Component, Message, Variable
from v2g.ocpp.messages.provisioning import ReportData
from v2g.ocpp.messages.security import SecurityEventNotificationRequest
from v2g.ocpp.times import format_time, parse_time
from v2g_station.blocks.authorization.cache import Cache
from v2g_station.blocks.authorization.local_list import LocalAuthorizationList
from v2g_station.blocks.diagnostics.monitoring import Monitors
from v2g_station.blocks.evse import Fault
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Handler, StationCommand, status_info

SCHEMES: Final = ("http://", "https://")
MAX_SECURITY_LOG: Final = 500
LOG_COLLECTION: Final = "log_upload"
CRITICAL: Final = frozenset({
    "FirmwareUpdated", "SettingSystemTime", "StartupOfTheDevice", "ResetOrReboot", "SecurityLogWasCleared",
    "MemoryExhaustion", "TamperDetectionActivated", "InvalidFirmwareSignature", "InvalidFirmwareSigningCertificate",
    "InvalidCsmsCertificate", "InvalidChargingStationCertificate", "DiscardedRenewedClientCertificate",
    "InvalidTLSVersion", "InvalidTLSCipherSuite", "MaintenanceLoginAccepted", "MaintenanceLoginFailed",
})  # fmt: skip
"""Security events reported to the CSMS (appendix 1); others are only logged."""


class UploadLog(StationCommand, frozen=True, kw_only=True):
    """Upload a log; `LogProgress` follows. `lines` is the security log, `variables` the device model for diagnostics;
    `retries` is None if the CSMS leaves them to the station."""

    request_id: int
    log_type: ocpp.LogType
    url: str
    filename: str
    oldest: str | None
    latest: str | None
    retries: int | None
    retry_interval_s: int
    lines: tuple[str, ...] = ()
    variables: tuple[ReportData, ...] = ()


class CancelUpload(StationCommand, frozen=True, kw_only=True):
    """Stop an upload."""

    request_id: int


class LogProgress(Fact, frozen=True, kw_only=True):
    """The progress of an upload; `Uploaded` and failures end it."""

    request_id: int
    status: ocpp.UploadLogStatus
    redirected: bool = False
    """Whether it failed because the server redirected it."""


class _LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    utc_ms: int
    type: str
    info: str = ""


class Diagnostics(FunctionalBlock):
    """Handles diagnostics requests of the CSMS."""

    def __init__(
        self,
        shared: Shared,
        monitors: Monitors,
        cache: Cache,
        local_list: LocalAuthorizationList,
        collected: Callable[[str | None, str | None], tuple[str, ...] | None],
    ) -> None:
        super().__init__(shared)
        self._monitors = monitors
        self._cache = cache
        self._list = local_list
        self._problems: dict[str, set[str]] = {}
        """The faults that each Problem is due to."""
        self._collected = collected
        self._uploading: int | None = None
        lost = self._k.stored_text(LOG_COLLECTION).get("request_id", "")
        self._lost = int(lost) if lost.isdecimal() else None
        """The upload that was running when the program last stopped."""
        self._log = self._k.stored("security_log", _LogEntry)
        self._next = int(max(self._log, default="0")) + 1
        self.answers: dict[str, Handler] = {"GetLog": self._get_log, "CustomerInformation": self._customer}
        self._k.on_clock_set.append(self._clock_set)

    def start(self) -> None:
        """Report an upload interrupted by the last stop of the program (N01.FR.10)."""
        if self._lost is not None:
            self._report("UploadFailure", self._lost)
            self._k.forget(LOG_COLLECTION, "request_id")

    # -- security events

    def security_event(self, type_: str, info: str = "") -> None:
        """Log a security event, and report it if it is critical (A04)."""
        key = f"{self._next:09d}"
        self._next += 1
        self._log[key] = entry = _LogEntry(utc_ms=self._k.utc_ms, type=type_, info=info[:255])
        self._k.keep("security_log", key, entry)
        while len(self._log) > MAX_SECURITY_LOG:
            oldest = next(iter(self._log))
            del self._log[oldest]
            self._k.forget("security_log", oldest, durable=False)
        if type_ in CRITICAL:
            self._outbox.add(
                SecurityEventNotificationRequest(
                    type=type_, timestamp=format_time(self._k.utc_ms), tech_info=info[:255] or None
                )
            )

    def _clock_set(self, by_ms: int) -> None:
        if abs(by_ms) > 1000 * self._k.model.number("ClockCtrlr.TimeAdjustmentReportingThreshold"):
            self.security_event("SettingSystemTime", f"by {by_ms / 1000:+.0f} s")

    # -- logs

    def _get_log(self, request: ocpp.GetLogRequest) -> Message:
        """N01."""
        url = request.log.remote_location
        if not url.startswith(SCHEMES):
            return ocpp.GetLogResponse(status="Rejected", status_info=status_info("InvalidURL"))
        # the lines of the log, None if it does not exist
        oldest, latest = request.log.oldest_timestamp, request.log.latest_timestamp
        if request.log_type == "DataCollectorLog":
            lines = self._collected(oldest, latest)
        else:
            begin = parse_time(oldest) if oldest else 0
            end = parse_time(latest) if latest else self._k.utc_ms
            lines = tuple(
                f"{format_time(entry.utc_ms)} {entry.type} {entry.info}".rstrip()
                for entry in self._log.values()
                if begin <= entry.utc_ms <= end
            )
        if lines is None:
            return ocpp.GetLogResponse(status="Rejected", status_info=status_info("NotEnabled"))  # N01.FR.05
        cancelled = self._uploading
        if cancelled is not None:
            self._k.do(CancelUpload(request_id=cancelled))
            self._k.after("log.cancelled", 0, lambda: self._report("AcceptedCanceled", cancelled))  # N01.FR.20
        self._uploading = request.request_id
        self._k.keep_text(LOG_COLLECTION, "request_id", str(request.request_id))
        identity = self._k.model.text("SecurityCtrlr.Identity")
        diagnostics = request.log_type == "DiagnosticsLog"
        filename = f"{identity}-{request.log_type}-{request.request_id}.{'tar.gz' if diagnostics else 'log'}"
        command = UploadLog(
            request_id=request.request_id,
            log_type=request.log_type,
            url=url,
            filename=filename,
            oldest=request.log.oldest_timestamp,
            latest=request.log.latest_timestamp,
            retries=request.retries,
            retry_interval_s=60 if request.retry_interval is None else request.retry_interval,
            lines=lines,
            variables=self._k.model.report("FullInventory", self._k.version) if diagnostics else (),
        )
        self._k.after("log.start", 0, lambda: self._k.do(command))
        return ocpp.GetLogResponse(
            status="AcceptedCanceled" if cancelled is not None else "Accepted", filename=filename
        )

    def progress(self, fact: LogProgress) -> None:
        """Handle the progress or end of an upload."""
        if fact.request_id != self._uploading:
            return
        self._report(fact.status, fact.request_id, redirected=fact.redirected)
        if fact.status != "Uploading":
            self._uploading = None
            self._k.forget(LOG_COLLECTION, "request_id")

    def trigger(self, _: EVSE | None) -> None:
        """Report the upload status at the CSMS's request (F06.FR.14, .15)."""
        self._report("Idle" if self._uploading is None else "Uploading", self._uploading)

    def _report(self, status: ocpp.UploadLogStatus, request_id: int | None, *, redirected: bool = False) -> None:
        why = status_info("RedirectNotAllowed") if redirected else None  # N01.FR.30
        message = ocpp.LogStatusNotificationRequest(status=status, request_id=request_id, status_info=why)
        if status in ("Idle", "Uploading"):
            self._k.call(message, always=True)
        else:
            self._outbox.add(message)  # an end is always reported, if later

    # -- hardware faults

    def fault(self, fact: Fault) -> None:
        """Report the start or end of a fault (N07)."""
        place = None
        if fact.evse_id:
            place = EVSE(id=fact.evse_id, connector_id=fact.connector_id)
        event = ocpp.EventData(
            event_id=self._monitors.next_event(),
            timestamp=format_time(self._k.utc_ms),
            trigger="Alerting" if fact.stops else "Delta",
            actual_value="true" if fact.active else "false",
            tech_code=fact.word[:50],
            tech_info=fact.info[:500] or None,
            cleared=not fact.active,
            component=Component(name=fact.component, evse=place),
            event_notification_type="HardWiredNotification",
            variable=Variable(name="Problem"),
        )
        self._monitors.send(event, 2 if fact.stops else 5)
        self.show_problem(fact.evse_id, fact.connector_id, fact.component, fact.word, active=fact.active)

    def show_problem(self, evse_id: int, connector_id: int | None, component: str, word: str, *, active: bool) -> None:
        """Show a fault that is reported in the Problem of its component, and of its connectors or the station."""
        keys = ["ChargingStation.Problem"]
        if evse_id:
            evse = self._evses.get(evse_id)
            numbers = [each.number for each in evse.connectors if connector_id in (None, each.number)] if evse else []
            names = dict.fromkeys((component, "Connector"))
            keys = [f"{name}#{evse_id}.{number}.Problem" for number in numbers for name in names]
        for key in filter(self._k.model.has, keys):
            words = self._problems.setdefault(key, set())
            (words.add if active else words.discard)(word)
            self._monitors.show_problem(key, str(bool(words)).lower())

    # -- customers

    def _customer(self, request: ocpp.CustomerInformationRequest) -> Message:
        """N09, N10."""
        named = [request.customer_certificate, request.id_token, request.customer_identifier]
        if sum(name is not None for name in named) != 1:
            return ocpp.CustomerInformationResponse(status="Invalid", status_info=status_info("InvalidValue"))
        if not (request.report or request.clear):  # N09.FR.07
            return ocpp.CustomerInformationResponse(status="Rejected", status_info=status_info("InvalidValue"))
        data = self._stored_data(request.id_token) if request.id_token is not None else []
        if request.clear and request.id_token is not None:
            self._cache.forget(request.id_token)
        text = "\n".join(data) if request.report else ""
        parts = [text[i : i + 512] for i in range(0, len(text), 512)] or [""]
        # N09.FR.05, N10.FR.02: an empty report too
        self._k.after("customer", 0, lambda: self._send_customer(request.request_id, parts))
        return ocpp.CustomerInformationResponse(status="Accepted")

    def _stored_data(self, id_token: IdToken) -> list[str]:
        """Return the data stored about an identifier, as readable text."""
        found = []
        if (known := self._cache.find(id_token, uses=False)) is not None:
            found.append(f"authorization cache: {known.status}, last used {format_time(known.used_ms)}")
        if (entry := self._list.find(id_token)) is not None:
            found.append(f"local authorization list: {entry.status}")
        found += [
            f"transaction {evse.record.transaction_id} since {format_time(evse.record.started_ms)}"
            for evse in self._evses.values()
            if evse.record is not None and evse.record.id_token.lower() == id_token.id_token.lower()
        ]
        return found

    def _send_customer(self, request_id: int, parts: list[str]) -> None:
        for number, part in enumerate(parts):
            self._k.call(
                ocpp.NotifyCustomerInformationRequest(
                    data=part,
                    tbc=number + 1 < len(parts),
                    seq_no=number,
                    generated_at=format_time(self._k.utc_ms),
                    request_id=request_id,
                )
            )


# -- Reports hardware faults to the CSMS as device model events (N07)


def problem_event(evse_id: int, problem: str, event_id: int, utc_ms: int, *, active: bool) -> ocpp.NotifyEventRequest:
    """Return the event for the start or end of a fault: `Problem` of the component, our name as its technical code."""
    fault, now = FAULTS[problem], format_time(utc_ms)
    event = ocpp.EventData(
        event_id=event_id,
        timestamp=now,
        trigger="Alerting" if fault.stops else "Delta",
        actual_value="true" if active else "false",
        tech_code=problem,
        tech_info=fault.sentence,
        cleared=not active,
        component=Component(name=fault.component, evse=EVSE(id=evse_id, connector_id=1)),
        event_notification_type="HardWiredNotification",
        variable=Variable(name="Problem"),
    )
    return ocpp.NotifyEventRequest(generated_at=now, seq_no=0, event_data=(event,))
