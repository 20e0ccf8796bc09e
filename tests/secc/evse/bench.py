"""The core of an EVSE with everything that its shell would do for it, which is judged after each step."""

from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from secc.evse.core import EvseCore, EvseService, EvseSettings, Pause
from secc.evse.ports import (
    AbortSession,
    Action,
    BeginBasic,
    ClosePaused,
    EvseFault,
    JoinPaused,
    LinkDown,
    MoveLink,
    PausedFound,
    PausedStored,
    Present,
    ServiceBegun,
    ShutDown,
    StorePaused,
    SupplyChanged,
    TellSession,
    VehicleConnected,
    VehicleServed,
)
from secc.session import ports
from secc.session.config import BasicChargingConfig, ControlMode, EnergyService
from secc.session.ports import Paused
from v2g.hardware.faults import FAULTS
from v2g.iec61851.pilot import PilotState
from v2g.observe import Observe
from v2g_station.blocks.availability import Serve
from v2g_station.blocks.smart_charging.smart_charging import AllowEnergyTransfer
from v2g_station.blocks.transactions.managed import RemoteStopRequested

ID: Final = (1).to_bytes(8)
"""Of the first session."""
NOTHING: Final = SupplyChanged(charge=False, discharge=False)
SETTINGS: Final = EvseSettings(basic=BasicChargingConfig(), plug=True, pause_after_s=60, pause_for_s=600)


def paused(number: int = 1, service: EnergyService = EnergyService.DC) -> Paused:
    """Return what is stored of a session, whose number is its id."""
    return Paused(
        session_id=number.to_bytes(8),
        vehicle=b"v",
        evcc_id="",
        contract=None,
        service=service,
        control_mode=ControlMode.DYNAMIC,
        signed_discharge=False,
        meter_begin=(0, 0),
    )


def allow(reference: str = ID.hex()) -> AllowEnergyTransfer:
    """Allow charging with alternating current, service 1, in a transaction."""
    return AllowEnergyTransfer(evse_id=1, transaction_id="", reference=reference, modes=("AC_three_phase",))


class EvseBench:
    """Feeds facts and time to a core; `actions` are those of the last step, without events (`events`)."""

    def __init__(self, settings: EvseSettings = SETTINGS, *, link: bool = True, started: bool = True) -> None:
        self.core, self.now = EvseCore(settings), 1000.0
        self.present = Present(PilotState.A, seated=True)
        self.actions: list[Action] = []
        self.events: list[Observe] = []
        self.running = ""  # which kind of session
        self.aborted = False
        self.held = False  # whether the link shows F
        self.saving: list[Paused] = []
        self.started, self.linked = False, link  # not any more after the program's end
        self.open: set[bytes] = set()
        """Journals of sessions that have paused."""
        if started:
            self.fact(ServiceBegun(link=link))

    # -- input

    def fact(self, *facts: Any) -> list[Action]:
        """Feed facts; return the actions that follow, without events."""
        self.actions, self.events = [], []
        for fact in facts:
            if isinstance(fact, PausedFound):
                self.open.add(fact.paused.session_id)
            self.started = (self.started or isinstance(fact, ServiceBegun)) and not isinstance(fact, ShutDown)
            self.core.fact(fact, self.now, self.present)
            self._perform()
        return self.actions

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass; return the actions of all timers."""
        self.actions, self.events = [], []
        end = self.now + seconds
        while (due := self.core.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.core.tick(self.now, self.present)
            again = self.core.deadline()
            assert again is None or again > self.now, "a timer that is due stays"
            self._perform()
        self.now = end
        self.core.tick(self.now, self.present)
        self._perform()
        return self.actions

    def pilot(self, letter: str, *, seated: bool = True) -> list[Action]:
        """Let the pilot show this state."""
        self.present = replace(self.present, pilot=PilotState(letter), seated=seated)
        return self.fact(ports.PilotChanged(PilotState(letter)))

    def fault(self, code: str, *, active: bool = True) -> list[Action]:
        """Let a fault begin or end."""
        faults = tuple(each for each in self.present.faults if each != code)
        self.present = replace(self.present, faults=(*faults, code) if active else faults)
        return self.fact(EvseFault(code, active))

    def connect(self) -> list[Action]:
        """Let a vehicle with messages connect, if it may."""
        return [] if self.core.refusal else self.fact(VehicleConnected())

    def transaction(self, number: int) -> list[Action]:
        """Let the running session begin its transaction."""
        return self.fact(ports.TransactionStarted(session_id=number.to_bytes(8).hex(), emaid=""))

    def save(self, number: int = 1, service: EnergyService = EnergyService.DC) -> list[Action]:
        """Let the running session begin to pause."""
        assert self.core.busy
        return self.fact(ports.SaveSession(paused(number, service)))

    def stored(self, error: str = "") -> list[Action]:
        """Let the disk do the oldest work that waits."""
        return self.fact(PausedStored(self.saving.pop(0).session_id, error))

    def end(self, reason: str, *, begun: bool = True) -> list[Action]:
        """Let the running session end, if it has begun, or else the connection."""
        self.running, self.aborted = "", False
        return self.fact(VehicleServed(reason, begun))

    def pause(self, number: int = 1, service: EnergyService = EnergyService.DC) -> list[Action]:
        """Let a vehicle charge, and pause."""
        if self.present.pilot is PilotState.A:
            self.pilot("B")
        self.connect()
        self.transaction(number)
        self.save(number, service)
        self.stored()
        return self.end("paused")

    # -- what the shell would do, and what must hold

    def _perform(self) -> None:
        for action in self.core.actions():
            self._one(action)
        self._judge()

    def _one(self, action: Action) -> None:
        (self.events if isinstance(action, Observe) else self.actions).append(action)  # type: ignore[arg-type]
        match action:
            case TellSession():
                assert self.core.busy
            case AbortSession():
                assert self.core.busy
                self.aborted = True
            case BeginBasic():
                assert not self.running
                assert self.present.connected
                assert self.present.seated
                assert not any(FAULTS[each].stops for each in self.present.faults)
                assert self.core.in_service
                self.running = "basic"
            case MoveLink(to="hold" | "release"):
                assert self.held is (action.to == "release")
                self.held = not self.held
            case StorePaused(paused=stored):
                self.saving.append(stored)
                self.open.add(stored.session_id)
            case JoinPaused(session_id=session_id) | ClosePaused(session_id=session_id):
                self.open.remove(session_id)  # one of both, and once
            case _:
                pass

    def _judge(self) -> None:
        core = self.core
        if core.service is EvseService.SESSION:
            self.running = "session"
        assert bool(self.running) is core.busy
        assert (core.service is EvseService.BASIC) is (self.running == "basic")
        assert (core.pause is Pause.NONE) is (core.paused is None)
        assert self.open == (set() if core.paused is None else {core.paused.session_id})
        if self.started and not core.busy and self.present.pilot is PilotState.A:
            assert core.kept is None or core.deadline() is not None, "a paused vehicle has left"


def kinds(actions: Iterable[Action]) -> list[str]:
    """Return the names of actions; of those of the link, where it is moved."""
    return [each.to if isinstance(each, MoveLink) else type(each).__name__ for each in actions]


# -- states of an EVSE


def plugged(settings: EvseSettings = SETTINGS, *, link: bool = True) -> EvseBench:
    """Return an EVSE with a vehicle at its plug."""
    bench = EvseBench(settings, link=link)
    bench.pilot("B")
    return bench


def served(settings: EvseSettings = SETTINGS, *, link: bool = True) -> EvseBench:
    """Return an EVSE whose vehicle has connected, and has a transaction."""
    bench = plugged(settings, link=link)
    bench.connect()
    bench.transaction(1)
    return bench


def basic() -> EvseBench:
    """Return an EVSE whose vehicle charges without messages."""
    bench = plugged()
    bench.fact(LinkDown("vehicle_silent"))
    return bench


def saving(settings: EvseSettings = SETTINGS) -> EvseBench:
    """Return an EVSE whose vehicle pauses, with the session on its way to the disk."""
    bench = served(settings)
    bench.save()
    return bench


def unwanted() -> EvseBench:
    """Return the same, after the back end has stopped it."""
    bench = saving()
    bench.fact(RemoteStopRequested(reference=ID.hex(), cause="deauthorized"))
    return bench


def kept(settings: EvseSettings = SETTINGS, *, link: bool = True) -> EvseBench:
    """Return an EVSE whose vehicle has paused."""
    bench = plugged(settings, link=link)
    bench.pause()
    return bench


def returned() -> EvseBench:
    """Return an EVSE whose vehicle has paused, and has connected again."""
    bench = kept()
    bench.connect()
    return bench


def late() -> EvseBench:
    """Return an EVSE whose session has ended while its pause was still on its way to the disk."""
    bench = saving(replace(SETTINGS, basic=None))
    bench.end("broke_down")
    return bench


def at_fault() -> EvseBench:
    """Return an EVSE that shows F."""
    bench = plugged()
    bench.fault("emergency_stop")
    return bench


def out_of_service() -> EvseBench:
    bench = plugged()
    bench.fact(Serve(evse_id=1, operative=False))
    return bench


def starving() -> EvseBench:
    """Return an EVSE with a session that waits for energy."""
    bench = served()
    bench.fact(replace(NOTHING, bidirectional=True))
    return bench
