"""What one EVSE does with vehicles, a paused session, faults and requests of the back end: pure.

Feed every fact to `fact` and call `tick` at `deadline()`; then execute `actions()`, in order. Messages and the control
of power are the session's: the core begins sessions, ends them, and passes facts on to the one that runs.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from secc.evse import ports as evse
from secc.session import ports
from secc.session.basic_charging import Way
from secc.session.config import BasicChargingConfig, services_of
from secc.session.journal import STOPPED_REASONS
from secc.session.ports import Paused
from v2g.hardware.faults import FAULTS
from v2g.iec61851.pilot import HLC_DUTY, PilotState
from v2g.iso15118.engine.message_timing import SharedTiming
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Command, Fact
from v2g.observe import Observe
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.slac.shared import FAILURES
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.evse import Restart
from v2g_station.blocks.smart_charging.smart_charging import AllowEnergyTransfer
from v2g_station.blocks.transactions.managed import RemoteStopRequested


class EvseService(Enum):
    """Who is served."""

    FREE = "no vehicle is served"
    SESSION = "session of ISO 15118"
    BASIC = "basic charging"  # IEC 61851-1, by nominal duty


class Pause(Enum):
    """What is known of a paused session. Its journal and its transaction are open in every state but NONE."""

    NONE = "no paused session"
    SAVING = "session is being saved"
    UNWANTED = "session is being saved, then closed"
    KEPT = "session is kept"  # its vehicle may resume it


class LinkAvailability(Enum):
    """What the data link shows to vehicles."""

    AVAILABLE = "available"
    UNAVAILABLE = "pilot shows F"


Chart = Mapping[Enum, Mapping[str, Enum]]
"""State -> what happens there -> the next state; anything else leaves the state as it is."""

CHARTS: Final[Mapping[str, Chart]] = {
    "service": {
        EvseService.FREE: {"vehicle connects": EvseService.SESSION, "ISO 15118 is not possible": EvseService.BASIC},
        EvseService.SESSION: {"session ends": EvseService.FREE},
        EvseService.BASIC: {"session ends": EvseService.FREE},
    },
    "pause": {
        Pause.NONE: {"vehicle pauses": Pause.SAVING, "found at start": Pause.KEPT},
        Pause.SAVING: {"saved": Pause.KEPT, "cannot return": Pause.UNWANTED, "not saved": Pause.NONE},
        Pause.UNWANTED: {"saved": Pause.NONE, "not saved": Pause.NONE},
        Pause.KEPT: {"vehicle resumes": Pause.NONE, "cannot return": Pause.NONE},
    },
    "availability": {
        LinkAvailability.AVAILABLE: {"fault, or out of service": LinkAvailability.UNAVAILABLE},
        LinkAvailability.UNAVAILABLE: {"available again": LinkAvailability.AVAILABLE},
    },
}
"""The states of an EVSE: one of each chart at a time."""


RESET: Final = "reset"
"""Reason of sessions ended by a Reset of type Immediate."""

CONNECTION_LOST: Final = "connection_lost"
"""Reason of sessions whose connection has ended."""

GRACE_S: Final = 15.0
"""Time for a session to end gracefully after a Reset of type Immediate; then power is cut."""

SEEN_S: Final = 5.0
"""Time after a start for a paused vehicle to be detected at the plug, real seconds."""

ORDERLY: Final = frozenset({"finished", "paused", "unplugged", "shut_down", "cancelled"})
"""Ends of a session that need no basic charging."""


class EvseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the core needs of the configuration. `plug` is whether vehicles have one (not at a connection device)."""

    basic: BasicChargingConfig | None = None
    setup_s: float = SharedTiming().secc_communication_setup
    plug: bool
    pause_after_s: float | None = None
    pause_for_s: float | None = None
    time_scale: float = 1.0


class EvseCore:
    """One EVSE. `service`, `pause` and `availability` are its states; `paused` is the session that is kept or saved."""

    def __init__(self, settings: EvseSettings) -> None:
        self._settings = settings
        self.service, self.pause, self.availability = EvseService.FREE, Pause.NONE, LinkAvailability.AVAILABLE
        self.paused: Paused | None = None
        self.in_service = True
        """Whether new vehicles may use this EVSE; a running or paused session continues."""
        self._now, self._present = 0.0, evse.Present()
        self._actions: list[evse.Action] = []
        self._timers: dict[str, float] = {}
        self._started = self._link = self._leaving = False
        self._reference: str | None = None  # of the running transaction
        self._ending: tuple[str, str] | None = None  # why the running session is to end, for this program and for OCPP
        self._unwanted = ("", "")  # the same of the session that is being saved
        self._supply = evse.SupplyChanged(charge=True, discharge=True)
        self._pause_requested = False
        self._matching = False  # the vehicle has begun to match
        self._failed = 0  # sessions of this vehicle
        self._left = False  # the vehicle that basic charging serves

    # -- for the shell ------------------------------------------------------------------------------------------

    def fact(self, fact: Fact | Command, now: float, present: evse.Present) -> None:
        """Handle a fact, or a command of the running session that is about its pause or its transaction."""
        self._now, self._present = now, present
        self._on_fact(fact)
        self._show_availability()

    def tick(self, now: float, present: evse.Present) -> None:
        """Let due timers expire; harmless when there are none."""
        self._now, self._present = now, present
        for name, at in sorted(self._timers.items(), key=lambda each: each[1]):
            if at <= now and self._timers.get(name) == at:
                del self._timers[name]
                self._on_timer(name)
        self._show_availability()

    def deadline(self) -> float | None:
        """Return when `tick` must be called, in the clock of `now`, or None."""
        return min(self._timers.values(), default=None)

    def actions(self) -> list[evse.Action]:
        """Return the actions since the last call, in order."""
        actions, self._actions = self._actions, []
        return actions

    @property
    def busy(self) -> bool:
        """Whether a vehicle is being served."""
        return self.service is not EvseService.FREE

    @property
    def open(self) -> bool:
        """Whether a vehicle may begin, or resume a paused session."""
        return self.in_service or self.pause is Pause.KEPT

    @property
    def kept(self) -> Paused | None:
        """The session that a vehicle may resume."""
        return self.paused if self.pause is Pause.KEPT else None

    @property
    def refusal(self) -> Literal["", "occupied", "out_of_service"]:
        """Why a vehicle that connects now is rejected; empty: it is not."""
        if self.busy:
            return "occupied"
        return "" if self.open and not self._leaving else "out_of_service"

    def status(self, present: evse.Present) -> ConnectorStatus | None:
        """Return the connector's state; None if unknown."""
        if _at_fault(present):
            return "Faulted"
        if present.connected or (self.busy and not self._settings.plug):
            return "Occupied"
        # F is set by the charger and temporary
        return "Available" if present.pilot in (None, PilotState.A) else None

    # -- facts --------------------------------------------------------------------------------------------------

    def _on_fact(self, fact: Fact | Command) -> None:
        match fact:
            case ports.PilotChanged(state=state):
                self._pilot_changed(state)
            case evse.EvseFault(code=code, active=active):
                self._fault_changed(code, active=active)
            case evse.ServiceBegun(link=link):
                self._start(link=link)
            case evse.MatchingStarted():
                self._matching = True
            case evse.LinkUp():
                if not self.busy:
                    self._await_vehicle()
            case evse.LinkDown(reason=reason):
                if self.busy:
                    self._abort(reason)
                    return
                self._disarm("silence")
                if reason in FAILURES:
                    self._begin_basic("x1" if self._matching else "f", reason)
            case Serve(operative=operative):
                self.in_service = operative
                if operative:
                    self._consider()
            case evse.SupplyChanged():
                self._supply = fact
                self._watch_supply()
            case evse.VehicleConnected():
                if self.refusal:
                    return
                self._serve("vehicle connects")
                if self.pause is Pause.SAVING:  # so late that this vehicle cannot know of it
                    self._forget("not_resumed", "Other")
            case evse.VehicleServed(reason=reason, begun=begun):
                self._session_ended(reason, begun=begun)
            case ports.TransactionStarted(session_id=session_id):
                self._reference = session_id
            case RemoteStopRequested(reference=reference, cause=cause):
                self._stop(reference, cause)
            case Restart():
                self._reset(fact)
            case evse.ShutDown():
                self._leaving = True
                self._timers.clear()
                self._abort("shut_down")
            case _:
                self._on_pause(fact)

    def _on_timer(self, name: str) -> None:
        match name:
            case "seen":
                self._forget_absent()
            case "silence" if self._settings.basic is None:  # V2G2-714, -716
                timer, state = "V2G_SECC_CommunicationSetup_Timeout", State.SUPPORTED_APP_PROTOCOL.value
                self._observe("session", "timeout", {"timer": timer, "state": state})
                self._actions.append(evse.MoveLink("restart", "communication_setup_timeout"))
            case "silence":
                self._begin_basic("x1", "no_conversation")
            case "supply":
                self._pause_requested = True
                self._tell(ports.PauseRequested())
            case "reset":
                self._abort(RESET)

    def _start(self, *, link: bool) -> None:
        self._started, self._link = True, link
        if not link and self._settings.basic is None:
            self._actions.append(evse.SetDuty(HLC_DUTY))  # without matching nothing else requests digital communication
        if self.pause is Pause.KEPT:
            self._arm("seen", SEEN_S)
        self._consider()

    def _pilot_changed(self, state: PilotState) -> None:
        self._tell(ports.PilotChanged(state))
        if state is PilotState.A:
            self._forget_absent()
            self._matching, self._failed, self._left = False, 0, True
            self._disarm("silence")
        self._actions.append(evse.ShowStatus())
        self._consider()

    def _fault_changed(self, code: str, *, active: bool) -> None:
        """Record a hardware fault; the session is notified by the hardware."""
        fault = FAULTS[code]
        self._observe(
            "hardware",
            "fault_began" if active else "fault_ended",
            {"fault": code, "component": fault.component, "stops": fault.stops},
        )
        self._actions.append(evse.ShowStatus())
        if not active:
            self._consider()

    def _stop(self, reference: str, reason: str) -> None:
        stopped = STOPPED_REASONS.get(reason, "Remote")
        paused = self._paused_as(reference)
        if self._reference == reference and (paused is None or self.pause is not Pause.KEPT):
            self._end_running(reason, stopped)
        if paused is not None:
            self._forget(reason, stopped)

    def _end_running(self, reason: str, stopped: str) -> None:
        """Ask the running session to end; one whose pause is already on its way to the disk ends there."""
        if self.busy:
            self._tell(ports.StopRequested(reason))
            self._ending = (reason, stopped)

    def _reset(self, fact: Restart) -> None:
        if not fact.at_once:
            return
        self._leaving = True
        if fact.keep:
            self._tell(ports.StopRequested(RESET))
        else:
            self._end_running(RESET, "ImmediateReset")
            self._forget(RESET, "ImmediateReset")
        self._timers.setdefault("reset", self._now + GRACE_S)  # a repeated Reset postpones nothing

    # -- sessions -----------------------------------------------------------------------------------------------

    def _serve(self, event: str) -> None:
        self._go("service", event)
        self._pause_requested, self._ending = False, None
        self._disarm("silence")
        self._actions.append(evse.ShowStatus())

    def _await_vehicle(self) -> None:
        """Give a vehicle whose data link is up its time to connect."""
        basic = self._settings.basic
        self._arm("silence", self._settings.setup_s if basic is None else basic.timing.conversation_s)

    def _session_ended(self, reason: str, *, begun: bool) -> None:
        """Prepare the data link and the pilot for the next attempt, or charge without messages."""
        before = self.service
        self._go("service", "session ends")
        self._reference = None
        self._disarm("supply")
        self._actions.append(evse.ShowStatus())
        if before is EvseService.BASIC and self._left:
            self._consider()  # the next vehicle, which may have come while the last journal was being closed
        if before is not EvseService.SESSION:
            return
        self._forget_absent()
        again = not begun and reason == CONNECTION_LOST
        if not self._link or (not again and self._failed_too_often(reason)):
            return
        if reason == "finished" or not self._plugged or _at_fault(self._present) or not self.open:
            self._actions.append(evse.MoveLink("terminate"))
        elif reason == "paused":
            self._actions.append(evse.MoveLink("pause"))
            if self._pause_requested and not self._starved:
                self._actions.append(evse.MoveLink("wake_up"))  # energy came back while the vehicle was pausing
        elif again:
            self._await_vehicle()  # by the same link
        else:
            self._actions.append(evse.MoveLink("restart", reason))

    # -- basic charging: when a vehicle never matched, stopped responding, or failed repeatedly -----------------

    def _failed_too_often(self, reason: str) -> bool:
        basic = self._settings.basic
        if basic is None or reason in ORDERLY or not self._plugged:
            return False
        self._failed += 1
        return self._failed >= basic.conversations and self._begin_basic("x1", reason)

    def _consider(self) -> None:
        """Serve a connected vehicle without a data link to wait for."""
        if self._started and not self._link:
            self._begin_basic("at_once", "no_data_link")

    def _begin_basic(self, way: Way, reason: str) -> bool:
        """Begin, unless a vehicle is served, none is present, or hardware or back end forbid it."""
        present = self._present
        if self._settings.basic is None or self.refusal or not self.in_service or _at_fault(present):
            return False
        if not present.connected or not present.seated:
            return False
        self._left = False
        if self._link:
            self._actions.append(evse.MoveLink("hand_over"))
        self._observe("basic", "fallback", {"reason": reason, "way": way})
        self._forget("not_resumed", "Other")  # who has paused cannot be recognised without messages
        self._serve("ISO 15118 is not possible")
        self._actions.append(evse.BeginBasic(way))
        return True

    # -- the paused session -------------------------------------------------------------------------------------

    def _on_pause(self, fact: Fact | Command) -> None:
        match fact:
            case evse.PausedFound(paused=paused):
                self._replace_paused(paused, "found at start")
                self._observe("session", "kept", {"session_id": paused.session_id.hex()})
            case ports.SaveSession(paused=paused):
                self._replace_paused(paused, "vehicle pauses")
                self._actions.append(evse.StorePaused(paused))
                if self._ending is not None:
                    self._forget(*self._ending)
            case evse.PausedStored(session_id=session_id, error=error) if self._paused_as(session_id.hex()):
                self._stored(error)
            case AllowEnergyTransfer(reference=reference, modes=modes):
                self._allow(reference, services_of(modes))
            case ports.JoinSession() if self.kept is not None:
                self._reference = self.kept.session_id.hex()
                self._actions.append(evse.JoinPaused(self.kept.session_id))
                self._go("pause", "vehicle resumes")
            case ports.ForgetSession(reason=reason, stopped_reason=stopped):
                self._forget(reason, stopped)

    def _paused_as(self, reference: str) -> Paused | None:
        """Return the session that is kept or saved, if this is its transaction."""
        paused = self.paused
        return paused if paused is not None and paused.session_id.hex() == reference else None

    def _replace_paused(self, paused: Paused, event: str) -> None:
        """Take over a session; one that is still here ends: its vehicle has been replaced."""
        if self.paused is not None:
            reasons = self._unwanted if self.pause is Pause.UNWANTED else ("not_resumed", "Other")
            self._close_paused(*reasons, delete=False)
            self.pause = Pause.NONE
        self._go("pause", event)
        self.paused = paused

    def _stored(self, error: str) -> None:
        if error:
            self._observe("session", "not_kept", {"error": error})
        if self.pause is Pause.UNWANTED:
            self._close_paused(*self._unwanted)
        elif error and self.pause is Pause.SAVING:  # in KEPT it was a change; here nobody else would end the session
            self._close_paused("command_failed", "Other")
        self._go("pause", "not saved" if error else "saved")

    def _allow(self, reference: str, services: frozenset[int]) -> None:
        if (paused := self._paused_as(reference)) is not None and self.pause is not Pause.UNWANTED:
            self.paused = replace(paused, allowed=services)
            if self.kept is not None:
                self._tell(ports.PausedSessionChanged(self.kept))
            self._actions.append(evse.StorePaused(self.paused))
        elif self._reference == reference:
            self._tell(ports.EnergyTransferAllowed(services))

    def _forget_absent(self) -> None:
        """Close a paused session without a vehicle at the plug."""
        if self._present.pilot is PilotState.A and not self.busy:
            self._forget("unplugged", "EVDisconnected")

    def _forget(self, reason: str, stopped: str) -> None:
        """Close the session of a paused vehicle that will not return, as soon as it is stored. `stopped` is OCPP's."""
        if self.pause is Pause.SAVING:
            self._unwanted = (reason, stopped)
            self._actions.append(evse.ForgetPaused())
        elif self.pause is Pause.KEPT:
            self._close_paused(reason, stopped)
        self._go("pause", "cannot return")

    def _close_paused(self, reason: str, stopped: str, *, delete: bool = True) -> None:
        assert self.paused is not None
        self._disarm("seen")
        self._actions.append(evse.ForgetPaused())
        self._tell(ports.PausedSessionChanged(None))
        self._actions.append(evse.ClosePaused(self.paused.session_id, reason, stopped, delete))

    # -- vehicles without energy --------------------------------------------------------------------------------

    @property
    def _starved(self) -> bool:
        """Whether site and operator permit no energy; a vehicle of which nothing is known could feed back."""
        able = self._supply.bidirectional
        if able is None:
            able = self.kept is None or self.kept.service.bidirectional
        return not self._supply.charge and not (able and self._supply.discharge)

    def _watch_supply(self) -> None:
        """Request a pause when no energy is permitted: at once if forecast for long, else after a delay.

        A paused vehicle is woken when energy is permitted.
        """
        if not self._starved:
            self._disarm("supply")
            if self.kept is not None:
                self._actions.append(evse.MoveLink("wake_up"))
            return
        if self.service is not EvseService.SESSION:
            return
        # how long a vehicle may wait for energy before a pause is requested, s; None for ever
        again_in_s, long_s = self._supply.again_in_s, self._settings.pause_for_s
        lasts = long_s is not None and again_in_s is not None and again_in_s >= long_s
        patience = 0.0 if lasts else self._settings.pause_after_s
        if patience is not None:
            due = self._now + patience / self._settings.time_scale
            self._timers["supply"] = min(due, self._timers.get("supply", due))

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _plugged(self) -> bool:
        return self._present.pilot not in (None, PilotState.A)

    def _show_availability(self) -> None:
        """Show F while the charger is not available (IEC 61851-1), except for faults that the vehicle can clear."""
        if not self._link or self.busy:
            return  # a running session ends on its own
        unavailable = not self.open or any(FAULTS[code].shown_by_f for code in self._present.faults)
        if unavailable is not (self.availability is LinkAvailability.UNAVAILABLE):
            self._go("availability", "fault, or out of service" if unavailable else "available again")
            self._disarm("silence")  # afterwards the vehicle matches again
            self._actions.append(evse.MoveLink("hold" if unavailable else "release"))

    def _go(self, chart: Literal["service", "pause", "availability"], event: str) -> None:
        """Follow a chart."""
        state = getattr(self, chart)
        setattr(self, chart, CHARTS[chart][state].get(event, state))
        if self.pause is Pause.NONE:
            self.paused = None

    def _tell(self, fact: Fact) -> None:
        if self.busy:
            self._actions.append(evse.TellSession(fact))

    def _abort(self, reason: str) -> None:
        if self.busy:
            self._actions.append(evse.AbortSession(reason))

    def _observe(self, stage: str, name: str, data: dict[str, str | bool]) -> None:
        self._actions.append(Observe(stage, name, {**data}))

    def _arm(self, name: str, seconds: float) -> None:
        self._timers[name] = self._now + seconds

    def _disarm(self, *names: str) -> None:
        for name in names:
            self._timers.pop(name, None)


def _at_fault(present: evse.Present) -> bool:
    """Return whether the hardware forbids energy."""
    return any(FAULTS[code].stops for code in present.faults)
