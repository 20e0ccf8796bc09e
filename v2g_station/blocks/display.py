"""The back end's display messages: storage, and choice of the current one (functional block O).

What drivers read about their own requests, such as a refused card: `notices` in `v2g_station/device/display.py`.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from v2g.errors import OcppError
from v2g.ocpp.messages import display as ocpp
from v2g.ocpp.messages.base import Message
from v2g.ocpp.times import parse_time
from v2g.text import same_language
from v2g_station.blocks.availability import Availability
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.transaction_records import TransactionRecord
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Handler, StationCommand

MAX_MESSAGES: Final = 50
PER_MESSAGE: Final = 20
_RANK: Final[Mapping[str, int]] = {"AlwaysFront": 0, "InFront": 1, "NormalCycle": 2}


class ShowMessages(StationCommand, frozen=True, kw_only=True):
    """Display these messages: one, or several of the same priority in turn; if empty, the station's own screen."""

    messages: tuple[ocpp.MessageInfo, ...]


class DisplayMessages(FunctionalBlock):
    """The messages of one station."""

    def __init__(self, shared: Shared, availability: Availability, *, managed: bool = False) -> None:
        super().__init__(shared)
        self._all = {info.id: info for info in self._k.stored("display", ocpp.MessageInfo).values()}
        self._shown: tuple[ocpp.MessageInfo, ...] = ()
        self._availability, self._managed = availability, managed
        self._sessions.on_change(lambda _: self._changed())
        self._sessions.on_ended(self._transaction_ended)
        availability.on_change(lambda _: self._changed())
        self.answers: dict[str, Handler] = {
            "SetDisplayMessage": self._set,
            "GetDisplayMessages": self._get,
            "ClearDisplayMessage": self._clear,
        }
        self._measure()

    # -- the CSMS

    def _set(self, request: ocpp.SetDisplayMessageRequest) -> Message:
        """O01, O02, O06."""
        info = request.message
        status = self._refuse(info)
        if status != "Accepted":
            return ocpp.SetDisplayMessageResponse(status=status)
        if info.priority == "AlwaysFront":  # O01.FR.12: only one can always be in front
            for other in [m.id for m in self._all.values() if m.priority == "AlwaysFront" and m.id != info.id]:
                self._drop(other)
        self._all[info.id] = info
        self._k.keep("display", str(info.id), info)
        self._measure()
        self._changed()
        return ocpp.SetDisplayMessageResponse(status="Accepted")

    def _refuse(self, info: ocpp.MessageInfo) -> ocpp.DisplayMessageStatus:
        model = self._k.model
        for text in (info.start_date_time, info.end_date_time):
            if text is not None:
                parse_time(text)
        if not model.flag("DisplayMessageCtrlr.Enabled"):
            return "Rejected"
        if info.priority not in model.members("DisplayMessageCtrlr.SupportedPriorities"):
            return "NotSupportedPriority"
        if info.message.format not in model.members("DisplayMessageCtrlr.SupportedFormats"):
            return "NotSupportedMessageFormat"
        if info.state is not None and info.state not in model.members("DisplayMessageCtrlr.SupportedStates"):
            return "NotSupportedState"
        if self._k.version == "2.1":  # O01.FR.18
            known = (model.variable("DisplayMessageCtrlr.Language").values or "").split(",")
            for content in (info.message, *info.message_extra):
                if content.language and not any(same_language(content.language, each) for each in known):
                    return "LanguageNotSupported"
        if info.transaction_id is not None and not self._runs(info.transaction_id):
            return "UnknownTransaction"  # O02.FR.01
        return "Accepted" if info.id in self._all or len(self._all) < MAX_MESSAGES else "Rejected"

    def _runs(self, transaction_id: str) -> bool:
        return any(e.record is not None and e.record.transaction_id == transaction_id for e in self._evses.values())

    def _get(self, request: ocpp.GetDisplayMessagesRequest) -> Message:
        """O03, O04."""
        found = [
            info
            for info in self._all.values()
            if (not request.id or info.id in request.id)
            and request.priority in (None, info.priority)
            and request.state in (None, info.state)
        ]
        if not found:
            return ocpp.GetDisplayMessagesResponse(status="Unknown")
        parts = [found[i : i + PER_MESSAGE] for i in range(0, len(found), PER_MESSAGE)]
        for number, part in enumerate(parts):
            report = ocpp.NotifyDisplayMessagesRequest(
                request_id=request.request_id, message_info=tuple(part), tbc=number + 1 < len(parts)
            )
            self._k.after(f"display.{request.request_id}.{number:03d}", 0, partial(self._k.call, report))
        return ocpp.GetDisplayMessagesResponse(status="Accepted")

    def _clear(self, request: ocpp.ClearDisplayMessageRequest) -> Message:
        """O05."""
        if request.id not in self._all:
            return ocpp.ClearDisplayMessageResponse(status="Unknown")
        self._drop(request.id)
        self._changed()
        return ocpp.ClearDisplayMessageResponse(status="Accepted")

    # -- the current message

    def _changed(self) -> None:
        """Refresh after the current step."""
        if self._all or self._shown:
            self._k.after("display", 0, self.refresh)

    def refresh(self) -> None:
        """Choose the messages to display now, remove expired ones, and schedule the next change."""
        edges = [self._k.utc_ms + 86_400_000]
        showing: list[ocpp.MessageInfo] = []
        state = self._state()
        for info in list(self._all.values()):
            begin, end = _window(info)
            if end is not None and end <= self._k.utc_ms:
                self._drop(info.id)  # O01.FR.06
                continue
            edges += [edge for edge in (begin, end) if edge is not None and edge > self._k.utc_ms]
            if (begin is None or begin <= self._k.utc_ms) and info.state in (None, state):
                showing.append(info)
        best = min((_RANK[info.priority] for info in showing), default=0)
        chosen = tuple(info for info in showing if _RANK[info.priority] == best)
        drivers = [evse.authorization.languages for evse in self._evses.values() if evse.authorization is not None]
        readable = {info.id for languages in drivers if languages for info in _readable(chosen, (*languages, "en"))}
        chosen = tuple(info for info in chosen if info.id in readable) or chosen
        if chosen != self._shown:
            self._shown = chosen
            self._k.do(ShowMessages(messages=chosen))
        self._k.cancel("display")
        if self._all:
            self._k.at_utc("display", min(edges), self.refresh)

    def _state(self) -> ocpp.MessageState:
        """Return the station's state for the choice of messages."""
        states = {self._availability.evse_status(evse) for evse in self._evses.values()}
        if any(self._charges(evse) for evse in self._evses.values()):
            return "Charging"
        if states == {"Faulted"}:
            return "Faulted"
        return "Unavailable" if states <= {"Unavailable", "Faulted"} else "Idle"

    def _charges(self, evse: Evse) -> bool:
        """Return whether energy flows; if the charger manages transactions, by the transaction."""
        charging_managed = self._managed and evse.record is not None and evse.record.charging_state == "Charging"
        return charging_managed or evse.power == "Charging"

    def _transaction_ended(self, _: Evse, record: TransactionRecord) -> None:
        """Remove the messages of a transaction (O02.FR.02)."""
        for info in [each for each in self._all.values() if each.transaction_id == record.transaction_id]:
            self._drop(info.id)

    def _drop(self, number: int) -> None:
        del self._all[number]
        self._k.forget("display", str(number))
        self._measure()

    def _measure(self) -> None:
        self._k.put("DisplayMessageCtrlr.DisplayMessages", str(len(self._all)))


def _readable(messages: Iterable[ocpp.MessageInfo], languages: Iterable[str]) -> list[ocpp.MessageInfo]:
    """Return the messages in the first of some languages that one of them is in (C01.FR.08, .09, O01.FR.08, .09)."""
    found = (
        [
            info
            for info in messages
            if any(same_language(text.language, language) for text in (info.message, *info.message_extra))
        ]
        for language in languages
    )
    return next(filter(None, found), [])


def _window(info: ocpp.MessageInfo) -> tuple[int | None, int | None]:
    """Return the start and end of a message's display, ms since 1970."""
    try:
        begin = parse_time(info.start_date_time) if info.start_date_time else None
        end = parse_time(info.end_date_time) if info.end_date_time else None
    except OcppError:
        return None, None
    return begin, end
