"""Connector states, their notification, and availability changes (functional block G, B04)."""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import msgspec

from v2g.observe import Callbacks
from v2g.ocpp.messages import availability as ocpp
from v2g.ocpp.messages.base import Message
from v2g.ocpp.times import format_time
from v2g_station.blocks.evse import Evse, EvseConnector, Fault, LockFailure
from v2g_station.blocks.reservation_book import ReservationBook
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Answer, Handler, StationCommand, is_refused, is_unreachable, status_info

Place = tuple[int, int]


class CloseStation(Protocol):
    """Closes a station to new users, or opens it again."""

    def __call__(self, *, closed: bool) -> None:
        """Close or open."""


class _Operative(msgspec.Struct, frozen=True):
    yes: bool


class Serve(StationCommand, frozen=True, kw_only=True):
    """Take an EVSE in or out of service, for the CSMS or because firmware is about to be installed.

    A running transaction continues to its end. Every EVSE starts in service.
    """

    evse_id: int
    operative: bool


class Availability(FunctionalBlock):
    """States of all connectors."""

    def __init__(self, shared: Shared, reservations: ReservationBook) -> None:
        super().__init__(shared)
        self._reservations = reservations
        self._inoperative = {key for key, value in self._k.stored("operative", _Operative).items() if not value.yes}
        self._reported: dict[Place, ocpp.ConnectorStatus] = {}
        self._answered: dict[Place, ocpp.ConnectorStatus] = {}
        """The last states whose report the CSMS has answered."""
        self._unreported: dict[Place, None] = {}
        self._closed_to_new: set[int] = set()
        self._sending: Place | None = None
        self.station_faults: set[str] = set()
        self._closed_for: set[str] = set()
        self.on_change: Final = Callbacks[int]()
        """Called with an EVSE whose state or availability changed."""
        self._open: dict[int, tuple[bool, bool]] = {}
        """Whether each EVSE was usable, and reserved."""
        self._shown: dict[Place, ocpp.ConnectorStatus] = {}
        """States set by the charger."""
        self.answers: dict[str, Handler] = {"ChangeAvailability": self._change}

    # -- states

    @property
    def closed(self) -> bool:
        """Whether new users are rejected, for any reason."""
        return bool(self._closed_for)

    def close(self, reason: str, *, closed: bool) -> None:
        """Close the station to new users for a reason, or end that reason: a pending firmware installation (L01.FR.07),
        a restart that waits for the last user to leave. Other reasons remain in force."""
        (self._closed_for.add if closed else self._closed_for.discard)(reason)
        self.refresh()

    def operative(self, evse_id: int = 0, connector_id: int = 0) -> bool:
        """Return whether a connector and the levels above it are in service; survives restarts (G03.FR.08)."""
        return not {"0.0", f"{evse_id}.0", f"{evse_id}.{connector_id}"} & self._inoperative

    def status(self, evse: Evse, connector: EvseConnector) -> ocpp.ConnectorStatus:
        """Return a connector's state."""
        if (out := self._out(evse, connector)) is not None:
            return out if self._shown.get((evse.number, connector.number)) != "Faulted" else "Faulted"
        shown = self._shown.get((evse.number, connector.number))
        if shown not in (None, "Available", "Occupied"):
            return shown
        reserved = self.is_reserved(evse)
        begun = evse.authorization is not None or (shown is not None and evse.record is not None)
        if connector.occupied and (begun or not reserved):  # G03.FR.09
            return "Occupied"
        return "Reserved" if reserved else "Available"

    def _out(self, evse: Evse, connector: EvseConnector) -> ocpp.ConnectorStatus | None:
        """Return the state that makes a connector unusable, or None."""
        if self.station_faults or evse.faults or connector.faults:
            return "Faulted"
        if evse.record is not None or self.operative(evse.number, connector.number):
            return "Unavailable" if self.closed and evse.record is None else None
        return "Unavailable"

    def usable(self, evse: Evse) -> bool:
        """Return whether an EVSE is usable by a new user."""
        return any(self._out(evse, connector) is None for connector in evse.connectors)

    def is_reserved(self, evse: Evse) -> bool:
        return self._reservations.is_reserved(evse, self.usable)

    def evse_status(self, evse: Evse) -> ocpp.ConnectorStatus:
        """Return an EVSE's state: that of its connectors, an occupied one first."""
        states = [self.status(evse, connector) for connector in evse.connectors]
        order: tuple[ocpp.ConnectorStatus, ...] = ("Occupied", "Reserved", "Available", "Unavailable", "Faulted")
        return next(state for state in order if state in states)

    def refresh(self) -> None:
        """Update all states, and report changes."""
        states: list[ocpp.ConnectorStatus] = []
        for evse in self._evses.values():
            open_ = self.usable(evse), self.is_reserved(evse)
            changed = self._open.get(evse.number) != open_
            self._open[evse.number] = open_
            for connector in evse.connectors:
                place = (evse.number, connector.number)
                state = self.status(evse, connector)
                changed = changed or self._reported.get(place) != state
                if self._reported.get(place) != state:
                    self._reported[place] = state
                    self._unreported[place] = None
                    self._k.put(f"Connector#{place[0]}.{place[1]}.AvailabilityState", state)
            states.append(self.evse_status(evse))
            self._k.put(f"EVSE#{evse.number}.AvailabilityState", states[-1])
            self._serve(evse)
            if changed:
                self.on_change.tell(evse.number)
        order: tuple[ocpp.ConnectorStatus, ...] = ("Available", "Reserved", "Occupied", "Unavailable", "Faulted")
        overall = next((state for state in order if state in states), "Available")
        self._k.put("ChargingStation.AvailabilityState", overall)

    def _serve(self, evse: Evse) -> None:
        """Command the hardware to accept or reject new users."""
        open_ = not self.closed and any(self.operative(evse.number, each.number) for each in evse.connectors)
        if open_ == (evse.number in self._closed_to_new):
            (self._closed_to_new.discard if open_ else self._closed_to_new.add)(evse.number)
            self._k.do(Serve(evse_id=evse.number, operative=open_))

    def show(self, place: Place, status: ocpp.ConnectorStatus) -> None:
        """Set a connector's state as known by the charger, unless it is out of service."""
        self._shown[place] = status
        connector = self._evses[place[0]].connector(place[1])
        if connector is not None and status in ("Available", "Occupied"):
            connector.vehicle_end = status == "Occupied"
            connector.station_end = connector.fixed_cable or connector.vehicle_end
        self.refresh()

    def fault(self, fact: Fault) -> None:
        """Handle the start or end of a fault."""
        evse = self._evses.get(fact.evse_id)
        connector = evse.connector(fact.connector_id) if evse is not None and fact.connector_id else None
        faults = connector.faults if connector else evse.faults if evse else self.station_faults
        if not fact.stops:
            return
        if fact.active:
            faults.add(fact.word)
        else:
            faults.discard(fact.word)
        self.refresh()

    def lock_failure(self, fact: LockFailure) -> None:
        """Report that a connector could not be locked, which prevents charging (G05)."""
        key = f"ConnectorPlugRetentionLock#{fact.evse_id}.{fact.connector_id}.Problem"
        self._k.put(key, "true")

    # -- notification

    def registered(self, offline_s: float) -> None:
        """Report all connectors after a long time offline, the changed ones after a short time (B04)."""
        if offline_s > self._k.model.number("OCPPCommCtrlr.OfflineThreshold"):
            self._unreported.update(dict.fromkeys(self._reported))
        else:
            changed = {place: None for place, state in self._reported.items() if self._answered.get(place) != state}
            self._unreported = changed

    def lost(self) -> None:
        """Forget the report on the way: without an answer it may not have arrived."""
        self._sending = None

    def pump(self) -> bool:
        """Send the next state; return whether it did."""
        if self._sending is not None or not self._unreported:
            return False
        place = next(iter(self._unreported))
        del self._unreported[place]
        self._sending = place
        self.notify(place, partial(self._taken, place, self._reported[place]))
        return True

    def notify(self, place: Place, then: Callable[[Answer], None] | None = None) -> None:
        """Send the state of a connector."""
        request = ocpp.StatusNotificationRequest(
            timestamp=format_time(self._k.utc_ms),
            connector_status=self._reported[place],
            evse_id=place[0],
            connector_id=place[1],
        )
        self._k.call(request, then, always=True)

    def _taken(self, place: Place, state: ocpp.ConnectorStatus, answer: Answer) -> None:
        if is_refused(answer):
            self._k.note("status_refused", reason=str(answer)[:200])
        if not is_unreachable(answer):
            self._answered[place] = state
        self._sending = None

    # -- availability changes

    def _change(self, request: ocpp.ChangeAvailabilityRequest) -> Message:
        """G03, G04."""
        evse_id = request.evse.id if request.evse else 0
        connector_id = (request.evse.connector_id or 0) if request.evse else 0
        evse = self._evses.get(evse_id)
        if evse_id and (evse is None or (connector_id and evse.connector(connector_id) is None)):
            return ocpp.ChangeAvailabilityResponse(status="Rejected", status_info=status_info("UnknownEvse"))
        key = f"{evse_id}.{connector_id}"
        operative = request.operational_status == "Operative"
        chosen = [evse] if evse is not None else list(self._evses.values())
        already = (key not in self._inoperative) == operative
        self._k.keep("operative", key, _Operative(operative))
        (self._inoperative.discard if operative else self._inoperative.add)(key)
        self._k.after("availability", 0, self.refresh)
        if already or operative or all(each.record is None for each in chosen):
            return ocpp.ChangeAvailabilityResponse(status="Accepted")  # G03.FR.03, G04.FR.04
        return ocpp.ChangeAvailabilityResponse(status="Scheduled")  # G03.FR.05, G04.FR.06
