"""The reference vehicle of the test: it behaves correctly until a case begins, then executes the case.

It is a core without I/O (`v2g.iso15118.engine.session`): a shell runs it on a connection, and reads the
observation in `seen`.
"""

from typing import Any, Final

from v2g import exi
from v2g.errors import CodecError, RefusedError
from v2g.exi.declare import schema_of
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import LOOPS
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import EvseNotification
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.sequence import Asks, Says, State
from v2g.iso15118.engine.session import Command, Entropy, Fact, Send
from v2g.iso15118.engine.v2gtp import frame
from v2g_testkit.cases.case import CLOSING_S, Ask, Detour, Malformed, Nothing, Script, Seen, Silence
from v2g_testkit.cases.changes import CHANGES
from v2g_testkit.cases.known import Kit, Known
from v2g_testkit.cases.malformed import FORMS, MOST_S
from v2g_testkit.cases.requests import Requests
from v2g_testkit.cases.routes import next_hop

ANSWER_S: Final = 3.0
"""Time beyond a vehicle's time-out for which the tester waits, to observe late answers, s."""

POLL_S: Final = 0.1
"""Pause before a request is repeated because one side has not finished, s; also in the charge loop."""

LOOPED: Final = 2
"""Exchanges of the charge loop after which energy counts as flowing."""

NOTICE_S: Final = 30.0
"""Maximum wait for the charger's notice after its operator has ended the session, s."""

STOPPING_S: Final = 3.0
"""Tolerated energy after the last request, as seconds at the vehicle's power."""

PRE_CHARGE_S: Final = 3.0
"""Maximum wait for the pre-charge voltage, s."""

DEAD_V: Final = 60.0
"""Below this voltage a charger is assumed to have no power electronics, V."""

_CHARGING: Final = frozenset({"DC_CableCheckReq", "WPT_AlignmentCheckReq"})
_MOST_EXCHANGES: Final = 2000


class ShowPilot(Command, frozen=True):
    """Set the state of the control pilot; answered by `PilotShown`."""

    state: PilotState


class PilotShown(Fact, frozen=True):
    """The control pilot has the state, or is not measured."""


class EndAtCharger(Command, frozen=True):
    """End the session at the charger, as by its operator."""


class ReferenceVehicle(Session20):
    """Runs one script against a charger. `known` is the memory of earlier connections in the same case."""

    def __init__(self, script: Script, kit: Kit, known: Known, *, entropy: Entropy) -> None:
        super().__init__(entropy=entropy)
        self.seen = Seen(reached=False)
        self._script = script
        self._kit = kit
        self._known = known
        self.family = known.family
        self._requests = Requests(known, kit)
        self._pending: Any = None
        self._asked_at = self._answered_at = 0.0
        self._probing = False
        self._stimulus_at: float | None = None
        self._pilot = PilotState.B
        self._next: tuple[str, Asks, Says] | None = None
        self._pieces: list[bytes] = []
        self._pause = 0.0
        self._exchanges = 0
        self._since = 0.0
        self._detour, self._away = script.detour, False
        self._notified_at: float | None = None
        self._loops: list[tuple[float, int | None]] = []
        """Start of the charge loop's answers, and the meter's count, Wh."""
        self._counted: tuple[float, int, float] | None = None
        """Before the detour: time of the last meter reading, its count, and rate, Wh/s."""

    # -- hooks of the engine ------------------------------------------------------------------------------------

    def _on_start(self) -> None:
        if not self._script.resume:
            self._known.begin()
        self.session_id = self._known.session_id
        self._since = self._answered_at = self._time.now
        self._go()

    def _on_message(self, message: Any, payload_type: int) -> None:
        name = type(message).__name__
        if self._probing:
            self._judged(message, name)
            return
        request = self._pending
        if request is None:
            return  # an unexpected answer, or one of a side stream
        asked = type(request).__name__
        self._disarm("message")
        self._answered_at = self._time.now
        self.seen.times.append((asked, self._time.now - self._asked_at))
        if name != asked.removesuffix("Req") + "Res":
            self._trouble(f"{asked} was answered with {name}")
            return
        code = message.response_code.name
        if sequence.is_failed(message):
            if self._away and self._detour is not None and asked == self._detour.request:
                self._not_here(f"{asked} was answered {code} in {self.state.value}")
            else:
                self._trouble(f"{asked} was answered {code}")
            return
        self._pending = None
        self._hear(message)
        before, self.state = self.state, sequence.advance(self.state, request, message, self.chart)
        if self.state is State.ENDED and self._script.goal is not State.ENDED:
            self._trouble(f"{asked} was answered {code}, after which no valid sequence remains")
            return
        if before is not self.state:
            self._since = self._time.now
        elif getattr(request, "charge_progress", None) is cm.ChargeProgress.Standby:
            self._not_here(f"standby is not allowed: {code}")
            return
        if asked == "PowerDeliveryReq" and request.charge_progress is cm.ChargeProgress.Stop:
            self._show(PilotState.B, then=False)
        if self._away and self._detour is not None and asked == self._detour.request:
            rest_s, self._detour = self._detour.rest_s, None
            self._arm("pace", rest_s)
        elif before is self.state:
            self._arm("pace", POLL_S)
        else:
            self._go()

    def _on_discharge(self, payload: bytes) -> None:
        """Signed discharge was not requested."""

    def _on_broken(self, error: CodecError) -> None:
        self.seen.facts.append("sends an undecodable message")
        if self._probing:
            self._finish()
        else:
            self._trouble(f"the device sent an undecodable message: {error}")

    def _on_eof(self) -> None:
        if not self._probing:
            self._trouble("the device closed the connection" + self._awaited())
            return
        assert self._stimulus_at is not None
        self.seen.closed_s = self._time.now - self._stimulus_at
        self._finish()

    def _on_fact(self, fact: Fact) -> None:
        if isinstance(fact, PilotShown) and self._next is not None:
            name, asks, says = self._next
            self._next = None
            self._ask(name, asks, says)

    def _on_timer(self, name: str) -> None:
        match name:
            case "pace":
                self._go()
            case "piece":
                self._drip()
            case "message":
                self.seen.times.append((type(self._pending).__name__, self._time.now - self._asked_at))
                self._trouble(f"no answer to {type(self._pending).__name__}")
            case _:  # answer, end: the expected event has not come
                self._finish()

    def _on_abort(self, reason: str) -> None:
        self._trouble(reason)

    # -- on the way ---------------------------------------------------------------------------------------------

    def _go(self) -> None:
        """Make the next exchange on the way to the goal, or begin the case."""
        goal = self._script.goal if self._detour is None else self._detour.at
        looping = self.state in LOOPS and self._wants_to_loop()
        if self.state is goal and not looping:
            if self._detour is None:
                self._begin_probe()
            else:
                self._leave(self._detour)
            return
        if self._time.now - self._since > Timing().ongoing or self._exchanges > _MOST_EXCHANGES:
            self._trouble(f"the device stays in {self.state.value}")
            return
        if looping:
            hop = next_hop_in_loop(self.state)
        else:
            found = next_hop(self.chart, self.state, goal)
            if found is None:
                self.seen.state = self.state.value
                self._not_here(f"{goal.value} cannot be reached any more from {self.state.value}")
                return
            hop = (found[0], found[1].asks, found[1].says)
        if why := self._prepare(hop[0]):
            self._not_here(why)
            return
        if why := self._other_voltage(hop):
            self._trouble(why, at_fault=True)
            return
        wanted = self._pilot_for(*hop[:2])
        if wanted is not self._pilot:
            self._next = hop
            self._show(wanted, then=True)
            return
        self._ask(*hop)

    def _wants_to_loop(self) -> bool:
        detour = self._detour
        if detour is None or len(self._loops) < LOOPED:
            return len(self._loops) < LOOPED
        if not self._away:
            return self._time.now - self._loops[0][0] < detour.before_s
        if self._notified_at is None and self._time.now - self._since < NOTICE_S:
            return True
        if self._notified_at is None:
            self.seen.facts.append("gives no notice that it ends the session")
        elif self._time.now - self._notified_at < detour.rest_s:
            return True
        self._compare()
        self._detour = None
        return False

    # -- on a detour --------------------------------------------------------------------------------------------

    def _leave(self, detour: Detour) -> None:
        """Execute the script's detour."""
        if detour.before_s and (why := self._count()):
            self._not_here(why)
            return
        self._away, self._loops, self._since = True, self._loops[-1:], self._time.now
        if not detour.request:
            if not self._kit.stops:
                self._not_here("the session cannot be ended at the charger (give --stop)")
                return
            self._command(EndAtCharger())
            self._go()
            return
        self._loops = []
        try:
            request = CHANGES[detour.change](self._make(detour.request, detour.asks), self._requests)
        except RefusedError as error:
            self._not_here(str(error))
            return
        self._put_request(request)

    def _count(self) -> str:
        """Record the meter's rate; return why it is not observable, or nothing."""
        (began, first), (ended, last) = self._loops[0], self._loops[-1]
        if first is None or last is None:
            return "the charger does not report its meter"
        if last == first:
            return f"the meter does not advance in {ended - began:.0f} s: there is no load"
        self._counted = ended, last, (last - first) / (ended - began)
        return ""

    def _compare(self) -> None:
        """Record energy that flowed after the last request. A meter in Wh may be off by one."""
        if self._counted is None or self._known.energy_wh is None:
            return
        (at, before, rate), self._counted = self._counted, None
        drawn = self._known.energy_wh - before
        if drawn > rate * STOPPING_S + 1:
            self.seen.facts.append(f"energy flows without a request: {drawn} Wh in {self._time.now - at:.0f} s")

    def _prepare(self, name: str) -> str:
        """Make the choices for the next request; return why the device does not support them, or nothing."""
        known, script = self._known, self._script
        if name == "AuthorizationReq":
            return self._choose_payment()
        if (
            name == "ServiceDetailReq"
            and known.discovery is not None
            and not known.choose_service(script.bidirectional)
        ):
            way = {None: "", True: " that feeds back", False: " that only charges"}[script.bidirectional]
            return f"no energy service of {known.family.value}{way} is offered"
        if name == "ServiceSelectionReq" and known.detail is not None and not known.choose_set(script.scheduled):
            return f"no parameter set is {'Scheduled' if script.scheduled else 'Dynamic'}"
        return ""

    def _choose_payment(self) -> str:
        setup, (pay, _, contract) = self._known.setup, self._script.pay.partition(" ")
        if setup is None:
            return ""
        offered = [each.name for each in setup.authorization_services]
        pay = pay or self._kit.pay or ("PnC" if "PnC" in offered and "good" in self._kit.contracts else "EIM")
        if pay not in offered:
            return f"the charger does not offer {pay}"
        if pay == "PnC":
            self._requests.payer = self._kit.contracts.get(contract or "good")
            if self._requests.payer is None:
                return f"no contract {contract or 'good'!r} given"
        self._requests.pay = pay
        return ""

    def _pilot_for(self, name: str, asks: Asks) -> PilotState:
        if name in _CHARGING or (name == "PowerDeliveryReq" and asks is Asks.START):
            return PilotState.C
        return self._pilot

    def _other_voltage(self, hop: tuple[str, Asks, Says]) -> str:
        """Return why a vehicle must not close its contactor at the pre-charge voltage, or nothing."""
        known, kit = self._known, self._kit
        if hop[0] != "DC_PreChargeReq" or hop[2] is not Says.EV_FINISHED or not known.pre_charged:
            return ""
        if self._time.now - self._since < PRE_CHARGE_S or self._requests.voltage_there:
            return ""
        if kit.without_power and known.voltage < DEAD_V:
            return ""
        hint = " (use --without-power if it has no power electronics)" if known.voltage < DEAD_V else ""
        return f"{known.voltage:g} V after {PRE_CHARGE_S:g} s of pre-charge, {kit.voltage:g} V were requested{hint}"

    def _show(self, state: PilotState, *, then: bool) -> None:
        self._pilot = state
        self._command(ShowPilot(state))
        if not then:
            self._next = None

    def _ask(self, name: str, asks: Asks, says: Says) -> None:
        self._put_request(self._make(name, asks, says))

    def _put_request(self, request: Any) -> None:
        self._exchanges += 1
        self._pending, self._asked_at = request, self._time.now
        self._disarm("pace")
        self._send(request)
        self._arm("message", MESSAGES[type(request).__name__].timeout + ANSWER_S)

    def _make(self, name: str, asks: Asks = Asks.ANYTHING, says: Says = Says.ANYTHING) -> Any:
        self._requests.time = self._time.utc_ms // 1000
        if name == "DC_PreChargeReq" and says is Says.EV_FINISHED:
            says = Says.ANYTHING  # finished once the voltage is reached; without power electronics it never is
            self._requests.patient = self._time.now - self._since < PRE_CHARGE_S
        return self._requests.make(name, asks, says)

    def _hear(self, message: Any) -> None:
        known, name = self._known, type(message).__name__
        if name == "SessionSetupRes":
            if message.header.session_id in known.earlier_ids and not message.response_code.name.endswith("Joined"):
                self.seen.facts.append("gives a SessionID that it has given before")
            if not any(message.header.session_id):
                self.seen.facts.append("gives a SessionID of zeros")
            known.earlier_ids.append(message.header.session_id)
        elif name not in ("SupportedAppProtocolRes",) and message.header.session_id != known.session_id:
            self.seen.facts.append("answers with another SessionID")
        known.hear(message)
        self.session_id = known.session_id
        if name == "AuthorizationSetupRes":
            self._note_setup(message)
        known.pre_charged = name == "DC_PreChargeRes"
        if name.endswith("ChargeLoopRes"):
            self._loops.append((self._time.now, known.energy_wh))
            if self._detour is None:
                self._compare()
        status = getattr(message, "evse_status", None)
        if status is not None and status.evse_notification is EvseNotification.Terminate:
            self._notified_at = self._notified_at or self._time.now

    def _note_setup(self, setup: cm.AuthorizationSetupRes) -> None:
        """Record facts about the authorization methods (V2G20-1219, -1220, -697)."""
        mode = setup.pnc_as_res_authorization_mode
        if (cm.Authorization.PnC in setup.authorization_services) != (mode is not None):
            self.seen.facts.append("gives the authorization mode of a way that it does not offer")
        if mode is not None:
            if mode.gen_challenge in self._known.earlier_challenges:
                self.seen.facts.append("gives a challenge that it has given before")
            if not any(mode.gen_challenge):
                self.seen.facts.append("gives a challenge of zeros")
            self._known.earlier_challenges.append(mode.gen_challenge)

    # -- at the goal --------------------------------------------------------------------------------------------

    def _begin_probe(self) -> None:
        self.seen.reached, self.seen.state = True, self.state.value
        self._disarm("pace")
        do = self._script.do
        match do:
            case Nothing():
                self._rest()
            case Silence(seconds=seconds):
                self._probe_from(self._answered_at)
                self._arm("end", seconds)
            case Ask(request=name, change=change):
                self._put(name, change)
            case Malformed(form=form):
                self._spoil(form)

    def _rest(self) -> None:
        """Do nothing more; if the device must close, wait for it."""
        if self._script.expect.closes is None:
            self._finish()
            return
        self._probe_from(self._time.now)
        self._arm("end", CLOSING_S)

    def _put(self, name: str, change: str) -> None:
        if why := self._prepare(name):
            self._not_here(why)
            return
        try:
            request = CHANGES[change](self._make(name), self._requests)
        except RefusedError as error:
            self._not_here(str(error))
            return
        self.seen.request = name
        self._probe_from(self._time.now)
        self._pending = request
        self._send(request)
        self._arm("answer", MESSAGES[name].timeout + ANSWER_S if name in MESSAGES else 5.0)

    def _spoil(self, form: str) -> None:
        hop = next_hop_in_loop(self.state) if self.state in LOOPS else self._ordinary()
        if why := self._prepare(hop[0]):
            self._not_here(why)
            return
        request = self._make(*hop)
        payload_type = schema_of(type(request)).payload_type
        assert payload_type is not None
        self._pieces = list(FORMS[form](frame(payload_type, exi.encode(request))))
        self._pause = MOST_S / len(self._pieces)
        self.seen.request = hop[0]
        self._pending = request
        self._probe_from(self._time.now)
        self._drip()
        self._arm("answer", MESSAGES[hop[0]].timeout + ANSWER_S + MOST_S)

    def _ordinary(self) -> tuple[str, Asks, Says]:
        """Return a request that is in order here and not the last."""
        return next((name, edges[0].asks, edges[0].says) for name, edges in self.chart[self.state].items())

    def _drip(self) -> None:
        self._actions.append(Send(self._pieces.pop(0)))
        if self._pieces:
            self._arm("piece", self._pause)
        else:
            self._stimulus_at = self._time.now

    def _probe_from(self, now: float) -> None:
        self._probing, self._stimulus_at = True, now

    def _judged(self, message: Any, name: str) -> None:
        """Process the answer to the case's request, and observe whether the device closes."""
        if self.seen.answer or self._script.do == Nothing():
            self.seen.facts.append(f"sends {name} unasked")
            return
        assert self._stimulus_at is not None
        self.seen.answer, self.seen.code = name, message.response_code.name
        self.seen.answer_s = self._time.now - self._stimulus_at
        if isinstance(self._script.do, Silence):
            return
        if name == "SupportedAppProtocolRes" and message.schema_id is not None:
            self.seen.facts.append(f"SchemaID {message.schema_id}")
        if name != "SupportedAppProtocolRes" and type(self._pending).__name__ == name.removesuffix("Res") + "Req":
            if message.header.session_id != self._known.session_id and name != "SessionSetupRes":
                self.seen.facts.append("answers with another SessionID")
            if not sequence.is_failed(message):
                self._hear(message)
        if self.seen.code == "FAILED_PauseNotAllowed" and self._script.detour is None:
            self._not_here("the charger does not allow pauses")
            return
        self._disarm("answer")
        self._stimulus_at = self._time.now
        expect = self._script.expect
        if expect.closes is True or expect.open or sequence.is_failed(message):
            self._arm("end", CLOSING_S)
        else:
            self._arm("end", POLL_S)

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        self.seen.state = self.seen.state or self.state.value
        if self._pilot is not PilotState.B:
            self._show(PilotState.B, then=False)
        self._close("done")

    def _not_here(self, why: str) -> None:
        self.seen.absent = why
        self._finish()

    def _trouble(self, why: str, *, at_fault: bool = False) -> None:
        self.seen.at_fault = at_fault
        self.seen.reached, self.seen.trouble = False, f"{self._script.goal.value} was not reached: {why}"
        self._finish()

    def _awaited(self) -> str:
        return f", instead of answering {type(self._pending).__name__}" if self._pending is not None else ""


def next_hop_in_loop(state: State) -> tuple[str, Asks, Says]:
    """Return the request that continues a loop."""
    return f"{state.name.partition('_')[0]}_ChargeLoopReq", Asks.ANYTHING, Says.ANYTHING
