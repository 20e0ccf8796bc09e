"""Reservations of EVSEs (functional block H)."""

from v2g.ocpp.messages import reservation as ocpp
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import Message
from v2g.ocpp.times import parse_time
from v2g_station.blocks.availability import Availability
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.identifiers import is_same_group, same
from v2g_station.blocks.reservation_book import Reservation, ReservationBook
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Handler, status_info


class Reservations(FunctionalBlock):
    """All reservations of a station."""

    def __init__(self, shared: Shared, book: ReservationBook, availability: Availability) -> None:
        super().__init__(shared)
        self._availability = availability
        self._book = book
        self._used: dict[int, Reservation] = {}
        """EVSE -> the reservation that was used there last: its transaction may begin later."""
        self.answers: dict[str, Handler] = {"ReserveNow": self._reserve, "CancelReservation": self._cancel}
        availability.on_change(self._evse_changed)
        self._sessions.on_change(lambda _: self._show())

    def start(self) -> None:
        """Restore reservations made before the last restart (B11)."""
        for item in list(self._book.all.values()):
            self._watch(item)

    # -- use

    def usable(self, evse: Evse, id_token: IdToken, group: str | None) -> tuple[bool, int | None]:
        """Return whether an identifier may use an EVSE, and by which reservation (H03)."""
        if not self._availability.usable(evse):
            return False, None
        held = self._book.all.values()
        here = [item for item in held if item.evse_id == evse.number]  # one of any EVSE has another one then
        own = next((item for item in here or held if self._is_for(item, evse, id_token, group)), None)
        if own is not None:
            return True, own.id
        return not self._availability.is_reserved(evse), None

    def made_ms(self, reservation_id: int | None) -> int | None:
        """Return when a reservation was made (I12.FR.07), None if unknown."""
        known = (*self._book.all.values(), *self._used.values())
        return next((each.made_ms for each in known if each.id == reservation_id), None)

    def used(self, evse: Evse) -> None:
        """Mark a reservation as used (H03.FR.09): by an authorization, or by a transaction that the charger manages."""
        by = evse.authorization or evse.record
        number = None if by is None else by.reservation_id
        if number is not None and number in self._book.all:
            self._used[evse.number] = self._book.all[number]
            self._forget(number)

    def unused(self, evse: Evse) -> None:
        """Say that no transaction followed a reservation that was used (H03.FR.11): the CSMS still counts it."""
        number = None if evse.authorization is None else evse.authorization.reservation_id
        if number is not None and self._k.version == "2.1":
            self._say(number, "NoTransaction")

    def _is_for(self, item: Reservation, evse: Evse, id_token: IdToken, group: str | None) -> bool:
        place = item.evse_id == evse.number or (item.evse_id is None and self._book.has(evse, item.connector_type))
        return place and (same(item.id_token, id_token) or is_same_group(item.group, group))

    # -- the CSMS

    def _reserve(self, request: ocpp.ReserveNowRequest) -> Message:
        """H01."""
        expires = parse_time(request.expiry_date_time)
        model = self._k.model
        if not model.flag("ReservationCtrlr.Enabled"):  # H01.FR.01
            return ocpp.ReserveNowResponse(status="Rejected", status_info=status_info("NotEnabled"))
        if expires <= self._k.utc_ms:
            return ocpp.ReserveNowResponse(status="Rejected", status_info=status_info("InvalidValue", "in the past"))
        if request.evse_id is None and not model.flag("ReservationCtrlr.NonEvseSpecific"):  # H01.FR.19
            return ocpp.ReserveNowResponse(status="Rejected", status_info=status_info("NotEnabled"))
        if request.evse_id is not None and request.evse_id not in self._evses:
            return ocpp.ReserveNowResponse(status="Rejected", status_info=status_info("UnknownEvse"))
        old = self._book.all.pop(request.id, None)  # H01.FR.02
        status = self._possible(request)
        if status != "Accepted":
            if old is not None:
                self._book.all[old.id] = old
            return ocpp.ReserveNowResponse(status=status)
        group = request.group_id_token.id_token if request.group_id_token else None
        item = Reservation(
            id=request.id,
            expires_ms=expires,
            id_token=request.id_token,
            group=group,
            evse_id=request.evse_id or None,
            connector_type=request.connector_type,
            made_ms=self._k.utc_ms,
        )
        self._book.all[item.id] = item
        self._k.keep("reservations", str(item.id), item)
        self._watch(item)
        self._k.after("availability", 0, self._availability.refresh)
        return ocpp.ReserveNowResponse(status="Accepted")

    def _possible(self, request: ocpp.ReserveNowRequest) -> ocpp.ReserveNowStatus:
        """Return whether an EVSE can be reserved, or the reason for a rejection (H01.FR.11, .12, .14)."""
        if request.evse_id:
            targets = [self._evses[request.evse_id]]
        else:
            targets = [evse for evse in self._evses.values() if self._book.has(evse, request.connector_type)]
        if not targets:
            return "Rejected"
        states = {self._availability.evse_status(evse) for evse in targets}
        if any(self._availability.evse_status(evse) == "Available" and evse.free for evse in targets):
            return "Accepted"
        if states == {"Faulted"}:
            return "Faulted"
        if states == {"Unavailable"}:
            return "Unavailable"
        return "Occupied"

    def _cancel(self, request: ocpp.CancelReservationRequest) -> Message:
        """H02."""
        if request.reservation_id not in self._book.all:
            return ocpp.CancelReservationResponse(status="Rejected", status_info=status_info("InvalidValue"))
        self._k.after("reservation.cancel", 0, lambda: self._forget(request.reservation_id))
        return ocpp.CancelReservationResponse(status="Accepted")

    # -- ends

    def _watch(self, item: Reservation) -> None:
        self._k.at_utc(f"reservation.{item.id}", item.expires_ms, lambda: self._expire(item.id))

    def _expire(self, reservation_id: int) -> None:
        if reservation_id in self._book.all:
            self._end(reservation_id, "Expired")  # H04.FR.01

    def _show(self) -> None:
        """Show whether an EVSE is still reserved once its driver is authorized, or has not come (G03.FR.09)."""
        if self._book.all:
            self._availability.refresh()

    def _evse_changed(self, evse_id: int) -> None:
        """Remove reservations that can no longer be met once an EVSE is faulted or unavailable (H01.FR.16, .17)."""
        evse = self._evses[evse_id]
        if self._availability.evse_status(evse) in ("Faulted", "Unavailable"):
            for item in [item for item in self._book.all.values() if item.evse_id == evse_id]:
                self._end(item.id, "Removed")

    def _end(self, reservation_id: int, status: ocpp.ReservationUpdateStatus) -> None:
        self._say(reservation_id, status)
        self._forget(reservation_id)

    def _say(self, reservation_id: int, status: ocpp.ReservationUpdateStatus) -> None:
        update = ocpp.ReservationStatusUpdateRequest(reservation_id=reservation_id, reservation_update_status=status)
        self._outbox.add(update)

    def _forget(self, reservation_id: int) -> None:
        if self._book.all.pop(reservation_id, None) is None:
            return
        self._k.forget("reservations", str(reservation_id))
        self._k.cancel(f"reservation.{reservation_id}")
        self._availability.refresh()
