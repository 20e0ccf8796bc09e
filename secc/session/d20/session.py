"""The charge point's side of an ISO 15118-20 session: what it adds to `secc.session.session.ChargerSession`.

Its own are side streams, signed discharge, the selection of services, connection devices and coils.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from msgspec.structs import replace

from secc.session import needs, ports
from secc.session.config import EnergyService, SeccConfig, offered
from secc.session.d20 import (  # noqa: F401 - their handlers register themselves
    ac,
    acdp,
    authorization,
    delivery,
    installation,
    loop,
    parameters,
    renegotiation,
    service,
    setup,
    stages,
    wpt,
)
from secc.session.d20.loop import is_unsigned
from secc.session.d20.refusal import brings_power, fault_code, is_request, refusal
from secc.session.d20.safety import Iso20Requests
from secc.session.d20.scheduling import exchange
from secc.session.discharge import SignedDischarge
from secc.session.edition import SessionStart
from secc.session.facts import SessionFacts
from secc.session.pacing import RequestPace
from secc.session.ports import Paused
from secc.session.request_context import NOTICES, Handler, Wait
from secc.session.request_context import Step as CommonStep
from secc.session.session import ChargerSession
from secc.session.stages import Charging, Finished, Planned, Stopped, Stopping
from v2g.asn1.discharge import DischargeLimits
from v2g.energy.discharge_gate import JournalHead
from v2g.energy.grid_support import NO_SUPPORT, SETPOINTS, Function, GridSupport, covers
from v2g.errors import CodecError, Iso15118Error
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import FETCHING, PARALLEL, SIDE_CHARTS, Family, side_stream_runs
from v2g.iso15118.d20.messages.common_messages import PowerDeliveryReq
from v2g.iso15118.d20.messages.common_types import Dynamic_CLReqControlMode, Processing, V2GRequest
from v2g.iso15118.d20.schemas import AC_DER_SAE
from v2g.iso15118.d20.services import DER_SCHEMAS
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.app_protocol import AppProtocol
from v2g.iso15118.engine.message_timing import SessionTime
from v2g.iso15118.engine.sequence import Chart, State
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Observe
from v2g.safety import Request

# -- Message exchanges on side streams of a charge point's session, each with its own payload type
#
# State, timers and pending request of the main stream stay unchanged.


class SideStreams:
    """The state of each side stream. The timer of an open exchange is `side:` with its payload type.

    `patience_s` is how long the vehicle may take to continue an exchange, s.
    """

    def __init__(self, time: SessionTime, patience_s: float) -> None:
        self._time, self._patience_s = time, patience_s
        self._states: dict[int, State] = {}

    def accepts(self, request: Element, stream: PayloadType, main: State) -> bool:
        """Return whether the request is in order on its stream, given the state of the main stream."""
        in_order = side_stream_runs(stream, main) and sequence.accepts(self.state(stream), request, SIDE_CHARTS[stream])
        return in_order and type(request).__name__ in stages.SIDE_HANDLERS.get(stream, {})

    def handler(
        self, request: Element, stream: PayloadType
    ) -> Handler[Any, Any, stages.RequestContext, CommonStep | Wait]:
        """Return the handler of an accepted request."""
        return stages.SIDE_HANDLERS[stream][type(request).__name__]

    def advance(self, request: Element, response: Element, stream: PayloadType) -> None:
        """Advance the state, and wait for the next request unless the exchange is complete."""
        state = sequence.advance(self.state(stream), request, response, SIDE_CHARTS[stream])
        self._states[stream] = state
        if state is State.SIDE_IDLE:
            self._time.disarm(f"side:{stream}")
        else:
            self._time.arm(f"side:{stream}", self._patience_s)

    def drop(self, stream: PayloadType) -> None:
        """Reset this stream."""
        self._states.pop(stream, None)

    def state(self, stream: PayloadType) -> State:
        """Return the state of the exchange."""
        return self._states.get(stream, State.SIDE_IDLE)


class SeccSession(ChargerSession, Session20):
    """One session of a charge point: see `ChargerSession`."""

    handlers = stages.HANDLERS
    parameters = frozenset(f"{kind}_ChargeParameterDiscoveryReq" for kind in ("AC", "DC", "WPT"))
    notifications: ClassVar = frozenset(NOTICES)

    def __init__(self, start: SessionStart) -> None:
        timing = start.config.timing
        super().__init__(start, timing, _pace(timing))
        self._stage = stages.Fresh()
        self._sides = SideStreams(self._time, timing.secc_sequence)
        self._discharge: SignedDischarge | None = None
        self._countersigned = 0
        """Number of the last countersigned checkpoint, in earlier parts of the session."""
        self._parking = stages.Parking()
        self._ready = True
        self._grid_event = False
        self._running: object = None

    @property
    def _chart(self) -> Chart:
        return self.chart

    @property
    def _kind(self) -> Family:
        return self.family

    def request_context(self, *, waited: bool) -> stages.RequestContext:
        return stages.RequestContext(
            **self._common_context(waited=waited),
            header=self._header(),
            signed_w=self._discharge.signed_w(self._time.utc_ms) if self._discharge else 0,
            parking=self._parking,
            ready=self._ready,
            running=self._running,
        )

    # -- requests -----------------------------------------------------------------------------------------------

    def _receive_frame(self, payload_type: int, payload: bytes) -> None:
        """Accept a CertificateInstallationReq that -2 era vehicles frame like the handshake."""
        misframed = payload_type == PayloadType.SAP and self._connection.trust.interop and self.state in FETCHING
        super()._receive_frame(PayloadType.COMMON if misframed else payload_type, payload)

    def _on_message(self, message: Element, payload_type: int) -> None:
        beside = payload_type in SIDE_CHARTS
        if self._doomed and is_request(message):
            self._close_doomed(message, payload_type if beside else None)
        if isinstance(self._stage, Finished):
            return  # the session was ended by messages; no response is due any more
        if not is_request(message):
            self._on_broken(CodecError(f"{type(message).__name__} has no place on stream {payload_type:#06x}"))
        elif beside:
            self._on_side_request(message, PayloadType(payload_type))
        else:
            header = getattr(message, "header", None)
            self._on_request(message, same_session=header is not None and header.session_id == self.session_id)

    def _on_step(self, request: Element, step: CommonStep, before: State) -> None:
        if isinstance(step.stage, stages.Fresh) and step.stage.family is not None:
            self.family = step.stage.family
            self._limits.rate(self.family)
        selected = self._selected()
        if selected is not None:
            self.der = DER_SCHEMAS.get(selected.service)
        if isinstance(step, stages.Step):
            self._parking = step.parking or self._parking
        if isinstance(step.stage, Charging):
            self._running = step.stage.running
        self._note_grid_event(begun=bool(getattr(step.stage, "grid_event", 0)))

    def _note_grid_event(self, *, begun: bool) -> None:
        """Report the edges of a vehicle's grid events; one ends with its loop."""
        if begun is not self._grid_event:
            self._grid_event = begun
            self._perform((ports.ReportGridEvent(begun),))

    def _send_step(self, step: CommonStep) -> None:
        self._send(step.response, encoded=step.exi)

    def _on_answered(self, request: Element, before: State) -> None:
        if before in PARALLEL and self.state not in PARALLEL:
            self._sides.drop(PayloadType.SCHEDULE_RENEGOTIATION)
            if self._discharge is not None:
                self._discharge.stop()
        if self.state in (State.SERVICE_DISCOVERY, State.SERVICE_DETAIL) and self._discharge is not None:
            self._countersigned = self._discharge.countersigned
            self._discharge = None  # services are selected again
        if type(request).__name__ == "ScheduleExchangeReq":
            self._begin_discharge()
        selected = self._selected() if type(request).__name__ == "ServiceSelectionReq" else None
        if selected is not None and self.der is not None and self._lacks(selected.functions):
            self._reselect()  # something is demanded since the details
        self._report(request)

    @property
    def _bounds_voltage(self) -> bool:
        aligning = isinstance(self._stage, Planned) and bool(self._stage.coil_ma)
        return aligning or super()._bounds_voltage

    def _report(self, request: Element) -> None:
        """Report the vehicle's plan and present needs to the back end (K16.FR.05, K18.FR.10, K20.FR.01)."""
        if not isinstance(self._stage, Charging):
            return
        if isinstance(request, PowerDeliveryReq):
            plan = exchange.planned_power(request)
            self._perform(() if plan is None else (plan,))
            return
        mode = getattr(request, "cl_req_control_mode", None)
        if isinstance(mode, Dynamic_CLReqControlMode) and self._needs.known is not None:
            needs = exchange.renewed(mode, self._needs.known, self._time.utc_ms)
            self._perform(() if needs is None else (ports.ReportChargingNeeds(needs),))

    def _refuse(self, request: Element, code: str, stream: int | None = None) -> None:
        self._send(refusal(request, code, self._header(), self._config), stream)

    def _fault_code(self, request: Element, fault: str) -> str:
        return fault_code(request, fault)

    def _brings_power(self, request: Element) -> bool:
        return brings_power(request)

    def _on_side_request(self, request: Element, stream: PayloadType) -> None:
        """Answer a request on a side stream; state, timers and pending request of the main stream stay unchanged."""
        assert isinstance(request, V2GRequest), "side streams have no handshake"
        name = type(request).__name__
        if request.header.session_id != self.session_id:  # V2G20-460
            self._fail(request, "FAILED_UnknownSession", f"{name} of another session", stream=stream)
            return
        if not self._sides.accepts(request, stream, self.state):  # V2G20-459
            self._fail(request, "FAILED_SequenceError", f"{name} beside state {self.state.value}", stream=stream)
            return
        try:
            step = self._sides.handler(request, stream)(request, self._stage, self.request_context(waited=True))
        except Iso15118Error as error:
            self._fail(request, error.answer, str(error), error.reason, stream=stream)
            return
        self._stage = step.stage
        self._perform(step.commands)
        assert isinstance(step, stages.Step), "handlers never wait on a side stream"
        self._notices.followed(step.followed)
        self._parking = step.parking or self._parking
        if step.ready is not None:
            self._ready = step.ready
            self._perform(self._follow())
        self._sides.advance(request, step.response, stream)
        self._send(step.response, stream)
        if sequence.is_failed(step.response):
            self._end(sequence.code_of(step.response))
            return
        if isinstance(request, PowerDeliveryReq) and request.ev_processing is Processing.Finished:
            self._take_vehicle_limits()
            self._begin_discharge()

    # -- facts --------------------------------------------------------------------------------------------------

    def _take(self, fact: Fact, before: SessionFacts) -> None:
        match fact:
            case ports.DeviceChanged():
                self._take_device(before.device, fact.device)
            case ports.MeterRead(journal=JournalHead() as journal):
                self._countersigned = max(self._countersigned, journal.countersigned)
                if fact.reason in ("interval", "stop"):  # a quarter hour may also end when power has stopped (R33)
                    stopped = isinstance(self._stage, Stopped | stages.Disconnecting | Finished)
                    self._issue_checkpoint(journal, final=stopped or fact.reason == "stop")
            case ports.EnergyTransferAllowed():
                seen = isinstance(self._stage, stages.Discovered) or self._selected() is not None
                if seen and self._offered(self._facts.allowed) != self._offered(before.allowed):
                    self._reselect()  # Q02.FR.06
            case ports.GridSupportChanged():
                if self._given(before.grid_support) != self._given(fact.support):
                    self._reselect()
            case ports.PauseRequested():
                if self._config.pause:
                    self._ask_pause()
            case ports.SetpointChanged():
                called = bool(fact.setpoint and fact.setpoint.power_w)
                rested = not (self._limits.setpoint and self._limits.setpoint.power_w)
                super()._take(fact, before)
                if called and rested and isinstance(self._stage, Charging) and self._stage.standby:
                    self._notify("ExitStandby")
            case _:
                super()._take(fact, before)

    def _needs_answered(self, fact: ports.ChargingNeedsAnswered) -> None:
        """Plan by the back end's answer. A rejection selects another service, or ends the session (Q01.FR.05, .06)."""
        selected = self._selected()
        if fact.status == needs.REJECTED and selected is not None and self._config.service_renegotiation:
            others = [each for each in self._offered(self._facts.allowed) if each != selected.service]
            if others:
                self._facts = replace(self._facts, allowed=frozenset(int(each) for each in others))
                self._reselect()
                fact = ports.ChargingNeedsAnswered("")  # until then plan without it
        super()._needs_answered(fact)

    def _given(self, support: GridSupport | None) -> GridSupport:
        """Return the operator's values that a vehicle gets by selecting AC DER: those of curves, which cannot change in
        the loop (those of SAE could), and of set-points without its selection, which the loop does not have."""
        selected = self._selected()
        if support is None or selected is None or self.der is None:
            return NO_SUPPORT
        sent = frozenset[Function]() if self.der is AC_DER_SAE else SETPOINTS & selected.functions
        return support.only(support.functions - sent)

    def _offered(self, allowed: frozenset[int] | None) -> tuple[EnergyService, ...]:
        return offered(self._config.offers(self.family), allowed)

    def _take_device(self, before: ports.Device, device: ports.Device) -> None:
        """Follow the primary or connection device; a fault of it stops power at once."""
        if device.trouble and not before.trouble:
            self._observe("power", "device_trouble", trouble=device.trouble)
            self._arm("trouble", self._config.wpt.trouble_s)
        elif not device.trouble:
            self._disarm("trouble")
        if device.trouble != before.trouble:
            self._perform(self._follow())
        if self.family is Family.ACDP and before.connected and not device.connected and self._guard.powered:
            self._on_abort("device_disconnected")

    @property
    def _follows_pilot(self) -> bool:
        """There is no pilot, or not connected yet."""
        return self.family is not Family.WPT and (self.family is not Family.ACDP or self._guard.powered)

    # -- notifications to the vehicle -------------------------------------------------------------------------

    def _ask_pause(self) -> None:
        """Request a pause, and before it a signature of the meter reading: a paused vehicle signs nothing."""
        if self._config.metering_confirmation and self._contract() and is_unsigned(self._stage, self._facts):
            if "MeteringConfirmation" not in self._notices:
                self._notify("MeteringConfirmation")
            self._notices.sign_first(self._time.now)
        self._notify("Pause")

    def _reselect(self) -> None:
        """Ask the vehicle to select services again (V2G20-1477)."""
        if self._config.service_renegotiation:
            self._notify("ServiceRenegotiation")

    # -- the end ------------------------------------------------------------------------------------------------

    def _on_joined(self, paused: Paused) -> None:
        stale = int(paused.service) in DER_SCHEMAS and self._lacks(paused.functions)
        if stale or (paused.allowed is not None and int(paused.service) not in paused.allowed):
            self._reselect()

    def _lacks(self, functions: frozenset[Function]) -> bool:
        """Return whether a selection of AC DER lacks functions that are demanded now."""
        demanded = self.request_context(waited=False).grid_support.functions
        return not covers(functions, demanded) or not SETPOINTS & demanded <= functions

    def _on_leaving(self) -> None:
        if self.state is not State.PAUSED and self.family is Family.ACDP and self._facts.device.mechanical != "Home":
            self._perform((ports.MoveDevice(to_vehicle=False),))
        if self._discharge is not None:
            self._discharge.stop()
        self._note_grid_event(begun=False)

    def _on_timer(self, name: str) -> None:
        match name:
            case "trouble":
                self._terminate(wpt.TROUBLES.get(self._facts.device.trouble, self._facts.device.trouble))
            case "discharge":
                self._perform(self._discharge.expire() if self._discharge is not None else ())
                self._perform(self._follow())
            case "offer":
                self._renew_offer(due=True)
            case "decision" | "terms":
                self._renew_offer()
            case "limits":
                super()._on_timer(name)
                self._renew_offer()
            case side if side.startswith("side:"):
                # drop an exchange that the vehicle does not continue: energy flows by the earlier agreement
                stream = PayloadType(int(side.partition(":")[2]))
                self._sides.drop(stream)
                if isinstance(self._stage, Charging):
                    self._stage = replace(self._stage, beside=None)
                self._observe("session", "side_stream_dropped", stream=stream.name)
            case _:
                super()._on_timer(name)

    # -- limits and signed discharge ----------------------------------------------------------------------------

    def _on_limits(self, limits: DischargeLimits) -> None:
        if self._discharge is not None:
            self._discharge.set_limits(limits)

    def _follow(self) -> tuple[Command | Observe, ...]:
        """Return the commands for the present limits, set points and signatures."""
        stage = self._stage
        if isinstance(stage, Planned) and stage.coil_ma:
            self._stage, commands = wpt.aligned(stage, self.request_context(waited=False))
            return commands
        return super()._follow()

    def _on_grid(self, *, limits: bool, tariff: bool) -> None:
        """Make one offer of new limits and prices."""
        if tariff or (limits and not (self._discharge is not None and self._discharge.await_rest())):
            self._renew_offer()

    def _begin_discharge(self) -> None:
        """Make the first offer, once the vehicle has selected the service and its needs are known."""
        selected = self._selected()
        if selected is None or not (selected.signed_discharge and selected.bidirectional):
            return
        if self._discharge is None:
            assert selected.contract is not None, "the service is offered to contracts only"
            self._discharge = SignedDischarge(
                self._config,
                self._connection.trust,
                self._entropy,
                self._time,
                session_id=selected.session_id,
                contract=selected.contract,
                checkpoints=selected.checkpoints,
                countersigned=self._countersigned,
            )
            self._discharge.set_limits(self._limits.discharge(self._time.utc_ms))
        self._renew_offer()

    def _renew_offer(self, *, due: bool = False) -> None:
        """Make a new offer of discharge if the terms have changed, or the offer is due for renewal.

        Limits are applied at once, whatever was offered.
        """
        discharge = self._discharge
        if discharge is None or isinstance(self._stage, Stopping | Stopped | Finished):
            return
        limits = self._limits.discharge(self._time.utc_ms)
        payload, commands = discharge.renew(limits, self._facts.tariff, due=due)
        self._perform(commands)
        if payload is not None:
            self._send_discharge(payload)

    def _issue_checkpoint(self, journal: JournalHead, *, final: bool) -> None:
        """Send the vehicle a head of the journal to countersign, if it selected a version with checkpoints."""
        if self._discharge is None or self._journal.settled:
            return
        payload, commands = self._discharge.checkpoint(journal, self._facts.meter_begin, final=final)
        self._perform(commands)
        if payload is not None:
            self._send_discharge(payload)

    def _on_discharge(self, payload: bytes) -> None:
        if self._discharge is None or self._journal.settled:
            self._observe("offer", "message_ignored", size=len(payload))
            return
        reply, commands = self._discharge.receive(payload)
        self._perform(commands)  # into the journal before power follows
        self._perform(self._follow())
        if reply is not None:
            self._send_discharge(reply)
        if self._discharge.awaits_decision:
            self._renew_offer()


def _pace(timing: Timing) -> RequestPace:
    silence_s = timing.secc_sequence_loop + timing.secc_loop_tolerance  # V2G20-1502
    return RequestPace(
        messages=MESSAGES,
        loops=dict.fromkeys(("AC_ChargeLoopReq", "DC_ChargeLoopReq", "WPT_ChargeLoopReq"), silence_s),
        loop_sequence=silence_s,  # V2G20-441
        loop_performance=timing.evcc_loop_performance,
        ongoing=timing.ongoing,
        ongoing_performance=timing.ongoing_performance,
    )


# -- ISO 15118-20 as served by a charger: see `secc.session.edition.Edition`


class Iso20:
    """See Edition."""

    session = SeccSession

    def serves(self, protocol: AppProtocol, config: SeccConfig) -> bool:
        return setup.serves(protocol, config)

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Element, int], Request]:
        return Iso20Requests(config, interop=interop).read
