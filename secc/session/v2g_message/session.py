"""The charger's session in ISO 15118-2 and DIN 70121: headers, quirks, failures and status codes that they share."""

from abc import abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import ClassVar, Final

import msgspec
from msgspec import structs

from secc.session import ports
from secc.session.config import DinConfig, Iso2Config, SeccConfig
from secc.session.edition import SessionStart
from secc.session.guard import LOWERED, STATE_B
from secc.session.pacing import RequestPace
from secc.session.ports import Paused
from secc.session.request_context import Step as CommonStep
from secc.session.session import CONTACTOR, ChargerSession
from secc.session.stages import Charging, Finished, Opened
from secc.session.v2g_message.request_context import MessageSet, RequestContext, Step
from v2g.errors import CodecError
from v2g.exi.declare import Element
from v2g.iso15118.d2.timing import Timing as Timing2
from v2g.iso15118.din.timing import Timing as TimingDin
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import dc_status, quirks, sequence
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq, SupportedAppProtocolRes
from v2g.iso15118.engine.dc_status import Phase, Stop
from v2g.iso15118.engine.power_schedule import PowerSchedule
from v2g.iso15118.engine.response_codes import has_place
from v2g.iso15118.engine.sequence import Chart, State
from v2g.iso15118.engine.v2g_message import Header, MessageSession, body_of, is_request, is_same_session


def negative_response(
    request: Element,
    code: str,
    *,
    codes: type[Enum],
    elements: Mapping[str, type[Element]],
    values: Mapping[str, object],
) -> Element:
    """Return the negative response to `request`; `code` is a value of the edition's `codes`.

    `elements` are the edition's messages by name, `values` those of every mandatory field besides ResponseCode and
    ServiceID. The handshake has one negative response, whatever the code.
    """
    if isinstance(request, app.SupportedAppProtocolReq):
        return app.SupportedAppProtocolRes(response_code=app.ResponseCode.Failed_NoNegotiation)
    response = elements[type(request).__name__.removesuffix("Req") + "Res"]
    known = {**values, "response_code": codes(code), "service_id": getattr(request, "service_id", 0)}
    return response(**{field.name: known[field.name] for field in msgspec.structs.fields(response) if field.required})


_CLOSED_AT_ONCE: Final = frozenset({"FAILED_SequenceError", "FAILED_UnknownSession"})
"""Codes after which TCP is closed directly; after any other one a vehicle may still end the session."""
_ENERGISING: Final = frozenset({"CableCheckReq", "PreChargeReq"})
_EARLY: Final = {"SessionStopReq": quirks.EARLY_SESSION_STOP, "PowerDeliveryReq": quirks.EARLY_POWER_STOP}
_STOPS: Final = {"emergency_stop": Stop.EMERGENCY, LOWERED: Stop.REQUESTED, STATE_B: Stop.REQUESTED}
"""Reason for the end -> Stop; all others are requests, or faults of the charger."""


class V2gMessageSession(ChargerSession, MessageSession):
    """One session of a charge point in an edition of V2G_Message; energy never flows back."""

    parameters = frozenset({"ChargeParameterDiscoveryReq"})
    messages: ClassVar[MessageSet]
    """The edition's responses."""

    bidirectional = False

    def __init__(self, start: SessionStart) -> None:
        settings = self._settings(start.config)
        timing = settings.timing
        super().__init__(start, timing, _pace(timing))
        self._limits_s, self._strict = timing, settings.strict
        self._evcc_id = ""
        self._joined = False
        self._failed = ""
        """Why the session is over, after a negative response."""

    # -- what an edition adds -----------------------------------------------------------------------------------

    @staticmethod
    @abstractmethod
    def _settings(config: SeccConfig) -> Iso2Config | DinConfig:
        """Return the edition's settings."""

    @property
    @abstractmethod
    def _strict_chart(self) -> Chart:
        """The chart without what vehicles in the field do beyond it."""

    @abstractmethod
    def _refusal(self, request: Element, code: str) -> Element:
        """Return the negative response to a request."""

    @abstractmethod
    def _plan(self, request: Element) -> PowerSchedule | None:
        """Return the vehicle's plan in a PowerDeliveryReq, if it sends one."""

    @abstractmethod
    def _starts(self, request: Element) -> bool:
        """Return whether a PowerDeliveryReq starts the transfer of energy."""

    # -- context ------------------------------------------------------------------------------------------------

    @property
    def _chart(self) -> Chart:
        newest = self.newest.message
        early = _EARLY.get(type(body_of(newest)).__name__) if newest is not None else None
        return self.chart if early is None or self._tolerates(early) else self._strict_chart

    def _tolerates(self, quirk: quirks.Quirk) -> bool:
        """Return whether a quirk of this vehicle is tolerated."""
        return quirks.tolerates(quirk, self._evcc_id, strict=self._strict, own=self._config.vehicle_quirks)

    @property
    def _stop(self) -> Stop | None:
        if not self._stopping:
            return None
        return _STOPS.get(self._stop_reason, Stop.REQUESTED)

    def request_context(self, *, waited: bool) -> RequestContext:
        return RequestContext(
            **self._common_context(waited=waited),
            messages=self.messages,
            stop=self._stop,
            signs_last=self._notices.is_open("MeteringConfirmation", self._time.now),
            strict=not self._tolerates(quirks.CHARGING_PROFILE),
            pilot_s=self._limits_s.secc_cp_state,
            ongoing_s=self._limits_s.secc_ongoing_performance,
            joined=self._paused if self._joined else None,
            signature=getattr(getattr(self.newest.message, "header", None), "signature", None),
            asked_session=self._foreign_id,
        )

    @property
    def _linger_s(self) -> float:
        return self._limits_s.secc_linger

    def _on_start(self) -> None:
        self._rate()
        self._arm("setup", self._limits_s.secc_communication_setup)
        super()._on_start()

    def _rate(self) -> None:
        """Set the rating of the present kind of energy transfer, which never flows back."""
        self._limits.rate(self._kind, returns=False)

    def _on_joined(self, paused: Paused) -> None:
        self._joined = True

    # -- requests -----------------------------------------------------------------------------------------------

    def _on_body(self, body: Element, header: Header | None) -> None:
        if isinstance(self._stage, Finished):
            # after a negative response a vehicle may still end the session; anything else closes the connection
            if self._doomed and not self._failed and is_request(body):
                self._close_doomed(body)
            if not self._failed or not is_request(body):
                return
            if type(body).__name__ == "SessionStopReq":
                self._send_body(self.messages.response("SessionStopRes"))
            else:
                self._refuse(body, "FAILED_SequenceError")
            self._close(self._failed)
        elif not is_request(body):
            self._on_broken(CodecError(f"{type(body).__name__} is no request"))
        else:
            self._on_request(body, same_session=self._names_session(header))

    def _names_session(self, header: Header | None) -> bool:
        if header is None or not is_same_session(self.session_id, header.session_id):
            return False
        if header.session_id != self.session_id:
            self._tolerate(quirks.SESSION_ID_LENGTH)
        return True

    def _on_step(self, request: Element, step: CommonStep, before: State) -> None:
        if before is State.SESSION_SETUP:
            self._disarm("setup")
            self._evcc_id = step.stage.evcc_id if isinstance(step.stage, Opened) else ""
        early = _EARLY.get(type(request).__name__)
        if early is not None and not sequence.accepts(before, request, self._strict_chart):
            self._tolerate(early)
        for quirk in step.quirks if isinstance(step, Step) else ():
            self._tolerate(quirk)

    def _on_answered(self, request: Element, before: State) -> None:
        """Report the plan of a vehicle that begins or continues to charge to the back end (K16.FR.05)."""
        stage = self._stage
        if type(request).__name__ != "PowerDeliveryReq" or not isinstance(stage, Charging) or not self._starts(request):
            return
        plan = self._plan(request)
        if plan is not None:
            duration_s = (stage.planned.plan.tuples[0].charge[-1].end_ms - self._time.utc_ms) // 1000
            steps = tuple((each.start_s, each.power_w) for each in plan.steps)
            self._perform((ports.ReportChargingPlan(steps, max(1, duration_s), dynamic=False),))

    def _on_timer(self, name: str) -> None:
        if name != "setup":
            super()._on_timer(name)
            return
        self._observe("session", "timeout", timer="V2G_SECC_CommunicationSetup_Timeout", state=self.state.value)
        self._on_abort("communication_setup_timeout")

    def _send_step(self, step: CommonStep) -> None:
        if isinstance(step.response, SupportedAppProtocolRes):
            self._send(step.response)
        elif step.exi:
            self._send(self._wrapped(step.response, None), encoded=step.exi)
        else:
            self._send_body(step.response, step.signature if isinstance(step, Step) else None)

    def _refuse(self, request: Element, code: str, stream: int | None = None) -> None:
        response = self._refusal(request, code)
        if isinstance(request, SupportedAppProtocolReq):
            self._send(response)
            return
        reason = self._doomed or (self._stop_reason if self._stopping else "")
        stop = _STOPS.get(reason, Stop.MALFUNCTION) if self._doomed else self._stop
        status = self.messages.dc_status(dc_status.status(Phase.STOPPED, isolation="Invalid", stop=stop), 0)
        kind = type(status)
        fields = [each for each in ("dc_evse_status", "evse_status") if isinstance(getattr(response, each, None), kind)]
        self._send_body(structs.replace(response, **dict.fromkeys(fields, status)))

    def _fail(self, request: Element, code: str, why: str, reason: str = "", *, stream: int | None = None) -> None:
        """Answer by FAILED where a code is not foreseen, as that of a wrong unit after the charge parameters."""
        foreseen = has_place(type(request).__name__.replace("Req", "Res"), code, self.messages.uses)
        super()._fail(request, code if foreseen else "FAILED", why, reason or code, stream=stream)

    def _fail_after(self, code: str, reason: str) -> None:
        if code in _CLOSED_AT_ONCE or self.state is State.SUPPORTED_APP_PROTOCOL:
            self._end(reason or code)
            return
        self._settle(reason or code)
        self._pending, self._stage, self._failed = None, Finished(), reason or code
        self._time.timers.clear()
        self._arm("close", self._linger_s)

    @property
    def _finished(self) -> str:
        return self._failed or super()._finished

    def _fault_code(self, request: Element, fault: str) -> str:
        if type(request).__name__ != "PowerDeliveryReq":
            return "FAILED"
        return "FAILED_ContactorError" if fault in CONTACTOR else "FAILED_PowerDeliveryNotApplied"

    def _brings_power(self, request: Element) -> bool:
        name = type(request).__name__
        return name in _ENERGISING or (name == "PowerDeliveryReq" and self._starts(request))


def _pace(timing: Timing2 | TimingDin) -> RequestPace:
    return RequestPace(
        messages=timing.messages,
        loops={"CurrentDemandReq": timing.secc_loop_silence, "ChargingStatusReq": timing.secc_sequence},
        loop_sequence=timing.secc_sequence,
        loop_performance=timing.evcc_sequence_performance,
        ongoing=timing.secc_sequence,  # vehicles of these editions have no Ongoing
        ongoing_performance=timing.secc_ongoing_performance,
    )
