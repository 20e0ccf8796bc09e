"""The context of charging profiles: transactions and their priority, local time, units, time offline."""

from collections.abc import Callable, Mapping

from v2g.errors import OcppError
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.charging_profiles import ChargingRateUnit
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.smart_charging.profile_times import Around, OpenTransaction
from v2g_station.kernel.kernel import Kernel, status_info
from v2g_station.kernel.local_time import known_zone, local_time, parse_offset


class ProfileContext:
    """The context of one station's profiles; `changed` is called when it changes."""

    def __init__(self, kernel: Kernel, evses: Mapping[int, Evse], changed: Callable[[], None]) -> None:
        self._k = kernel
        self._evses = evses
        self._changed = changed
        self._priority = set(kernel.stored_text("priority"))
        model = kernel.model
        for name in ("TimeZone", "TimeOffset", "TimeOffset[NextTransition]"):
            model.checks[f"clockctrlr.{name.lower()}"] = _check_zone if name == "TimeZone" else _check_offset
        for name in ("TimeZone", "TimeOffset", "TimeOffset[NextTransition]", "NextTimeOffsetTransitionDateTime"):
            model.after[f"clockctrlr.{name.lower()}"] = lambda _: changed()
        model.after["smartchargingctrlr.setpointpriority"] = lambda _: changed()
        alternating = any(evse.phases for evse in kernel.layout.evses)
        self.units: tuple[ChargingRateUnit, ...] = ("W", "A") if alternating else ("W",)
        kernel.put("SmartChargingCtrlr.RateUnit", ",".join(self.units))

    def set_priority(self, transaction_id: str, *, active: bool) -> bool:
        """Set a transaction's priority; return whether that is a change (K21, K22)."""
        if active == (transaction_id in self._priority):
            return False
        if active:
            self._priority.add(transaction_id)
            self._k.keep_text("priority", transaction_id, "yes")
        else:
            self.forget(transaction_id)
        self._changed()
        return True

    def forget(self, transaction_id: str) -> None:
        """Remove an ended transaction and its priority."""
        if transaction_id in self._priority:
            self._priority.discard(transaction_id)
            self._k.forget("priority", transaction_id)

    def open(self) -> tuple[OpenTransaction, ...]:
        """Return all transactions."""
        return tuple(t for evse in self._evses.values() if (t := self._transaction(evse)) is not None)

    def _transaction(self, evse: Evse | None) -> OpenTransaction | None:
        record = evse.record if evse is not None else None
        if evse is None or record is None:
            return None
        return OpenTransaction(
            record.transaction_id,
            evse.number,
            record.started_ms,
            priority=record.transaction_id in self._priority,
            soc=record.last_sample.soc if record.last_sample is not None else None,
        )

    def at(self, evse_id: int, *, sharers: int | None = None) -> Around:
        """Return the context of profiles at an EVSE, or at the station (0)."""
        evse = self._evses.get(evse_id)
        model = self._k.model
        layout = self._k.layout
        own = layout.evses[evse_id - 1].phases if evse is not None else max(each.phases for each in layout.evses)
        phases = own or layout.supply_phases
        return Around(
            evse_id=evse_id,
            transaction=self._transaction(evse),
            sharers=max(1, len(self.open())) if sharers is None else sharers,
            offline_since_ms=self._k.offline_since_ms,
            local=local_time(model),
            volts=layout.evses[evse_id - 1].line_v if evse is not None else layout.evses[0].line_v,
            phases=min(phases, evse.phases or phases) if evse is not None else phases,
            lines=own,
            csms_first=model.text("SmartChargingCtrlr.SetpointPriority") == "CSMS",
        )


def _check_zone(name: str) -> StatusInfo | None:
    return None if not name or known_zone(name) else status_info("InvalidValue", "not a time zone of the IANA database")


def _check_offset(text: str) -> StatusInfo | None:
    try:
        parse_offset(text)
    except OcppError:
        return status_info("InvalidValue", "an offset must be +hh:mm or -hh:mm")
    return None
