"""A station of 2.0.1 behind a back end of 1.6: what the mirror wants to know of it, from what the station has said."""

from collections.abc import Iterable
from typing import Final

import msgspec

from v2g import typed_json
from v2g.errors import OcppError
from v2g.ocpp.messages import provisioning as ocpp
from v2g.ocpp.messages.availability import ConnectorStatus, StatusNotificationRequest
from v2g.ocpp.messages.base import Component, Message, Variable
from v2g.ocpp.messages.diagnostics import NotifyEventRequest
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse
from v2g.ocpp.v16.bridge import Question
from v2g.ocpp.v16.configuration import MOST, MOST_CONNECTORS
from v2g.ocpp.v16.mirror import Mirror, NumberedHere, StateOf
from v2g_station.ocpp_bridge.facts import Changes

_MOST: Final = {place: key for key, place in MOST.items()}
_NUMBER, _EVSE, _LIMIT, _ENDED = "number", "evse", "most", "ended"
"""Kinds of what is kept: transactions with their numbers, states, limits, and the last that ended at an EVSE."""


class _Evse(msgspec.Struct):
    status: dict[int, ConnectorStatus] = {}
    state: str = ""


class StationBehind:
    """One station, over all its connections. `kept`: kind, name and value of what is stored of it."""

    def __init__(self, kept: Iterable[tuple[str, str, bytes]]) -> None:
        stored: dict[str, NumberedHere] = {}
        self._changes: dict[tuple[str, str], bytes | None] = {}
        self._evses: dict[int, _Evse] = {}
        self._ended: dict[str, str] = {}
        most: dict[str, int] = {}
        for kind, name, value in kept:
            if kind == _NUMBER:
                stored[name] = typed_json.decode(value, NumberedHere)
            elif kind == _EVSE:
                self._evses[int(name)] = typed_json.decode(value, _Evse)
            elif kind == _LIMIT:
                most[name] = int(value)
            elif kind == _ENDED:
                self._ended[name] = value.decode()
        self._most = most
        self.mirror: Final = Mirror(max(self._evses, default=0), most, stored, self._number)
        for number, evse in self._evses.items():
            self.mirror.statuses.update({(number, connector): found for connector, found in evse.status.items()})

    def changes(self) -> Changes:
        """Return what has to be kept since the last time, before the answer."""
        changes, self._changes = self._changes, {}
        return changes

    def not_kept(self, changes: Changes) -> None:
        """Take back changes that could not be kept."""
        self._changes = {**changes, **self._changes}

    def report_wanted(self, request_id: int) -> ocpp.GetReportRequest | None:
        """Return what asks a station for its limits, None where they are known."""
        missing = [place for place, key in _MOST.items() if key not in self._most]
        if not missing:
            return None
        return ocpp.GetReportRequest(request_id=request_id, component_variable=tuple(map(_component_variable, missing)))

    def hear(self, request: Message) -> Message | None:
        """Note what a station says; return the answer where the back end has it already, or is not asked.

        Raises OcppError for numbers of EVSEs and connectors that no station has."""
        match request:
            case StatusNotificationRequest(evse_id=number, connector_id=connector) if number:
                if connector > MOST_CONNECTORS:
                    raise OcppError(f"no connector above {MOST_CONNECTORS}", answer="PropertyConstraintViolation")
                self._evse(number).status[connector] = request.connector_status
                self._keep_evse(number)
                self.mirror.connectors = max(self._evses)
            case NotifyEventRequest():
                for each in request.event_data:
                    self._evse(each.component.evse.id if each.component.evse else 0)
            case ocpp.NotifyReportRequest():
                self._read(request)
                return ocpp.NotifyReportResponse()
            case ocpp.BootNotificationRequest():
                self._most.clear()  # its firmware may be another
            case TransactionEventRequest():
                name = request.transaction_info.transaction_id
                if name in self._ended.values():  # the answer to its end was lost
                    return TransactionEventResponse()
                self._note(request, name)
        return None

    def ended(self, request: Message) -> None:
        """Note that the back end knows of the end of a transaction, if this is one."""
        if isinstance(request, TransactionEventRequest) and request.event_type == "Ended":
            name = request.transaction_info.transaction_id
            where = str(request.evse.id if request.evse else 0)
            self._ended[where] = name
            self._changes[_ENDED, where] = name.encode()

    def find(self, question: Question) -> object:
        """Answer a question of the mirror; None to those of a station's own memory, which only it has."""
        if not isinstance(question, StateOf):
            return None
        if question.evse_id:
            return self._evses.get(question.evse_id, _Evse()).state
        states = {status for evse in self._evses.values() for status in evse.status.values()}
        return next(iter(states)) if len(states) == 1 else "Available"

    def _note(self, request: TransactionEventRequest, name: str) -> None:
        known = self.mirror.transactions.get(name)
        number = request.evse.id if request.evse else 0 if known is None else known.connector_id
        evse, state = self._evse(number), request.transaction_info.charging_state
        new = "" if request.event_type == "Ended" else evse.state if state is None else state
        if number and new != evse.state:
            evse.state = new
            self._keep_evse(number)

    def _evse(self, number: int) -> _Evse:
        return self._evses.setdefault(number, _Evse(status={})) if number else _Evse()

    def _keep_evse(self, number: int) -> None:
        self._changes[_EVSE, str(number)] = msgspec.json.encode(self._evses[number])

    def _number(self, transaction_id: str, found: NumberedHere | None) -> None:
        self._changes[_NUMBER, transaction_id] = None if found is None else msgspec.json.encode(found)

    def _read(self, request: ocpp.NotifyReportRequest) -> None:
        for each in request.report_data:
            instance = f"[{each.variable.instance}]" if each.variable.instance else ""
            key = _MOST.get(f"{each.component.name}.{each.variable.name}{instance}")
            limits = each.variable_characteristics
            if key is not None and limits is not None and limits.max_limit is not None:
                self._most[key] = int(limits.max_limit)
                self._changes[_LIMIT, key] = b"%d" % self._most[key]


def _component_variable(place: str) -> ocpp.ComponentVariable:
    component, _, variable = place.partition(".")
    name, _, instance = variable.rstrip("]").partition("[")
    return ocpp.ComponentVariable(
        component=Component(name=component), variable=Variable(name=name, instance=instance or None)
    )
