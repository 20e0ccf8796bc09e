"""Limits of cost, energy, time and state of charge set by the CSMS or the driver for one transaction (E16, 2.1)."""

from collections.abc import Mapping
from typing import Final

import msgspec

from v2g.iso15118.engine.session import Fact
from v2g.observe import Callbacks
from v2g.ocpp.messages import transactions as ocpp
from v2g.ocpp.messages.base import Message
from v2g_station.blocks.cost.local_cost import LocalCosts, TariffCost
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.transaction_records import TransactionRecord
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Answer

POLL_S: Final = 5.0
"""Poll interval of energy and state of charge."""

_LIMITS: Final[Mapping[str, tuple[str, ocpp.TriggerReason, ocpp.Reason]]] = {
    "max_cost": ("maxCost", "CostLimitReached", "LocalOutOfCredit"),
    "max_energy": ("maxEnergy", "EnergyLimitReached", "EnergyLimitReached"),
    "max_time": ("maxTime", "TimeLimitReached", "TimeLimitReached"),
    "max_soc": ("maxSoC", "SoCLimitReached", "SOCLimitReached"),
}


class DriverLimit(Fact, frozen=True, kw_only=True):
    """The driver sets limits for the transaction."""

    evse_id: int
    limit: ocpp.TransactionLimit


class TransactionLimits(FunctionalBlock):
    """Monitors the limits of all transactions. `read` returns an EVSE's meter sample. A cost by the station's own
    tariff takes precedence over the CSMS's (E16.FR.16)."""

    def __init__(self, shared: Shared, local_costs: LocalCosts, tariff_cost: TariffCost) -> None:
        super().__init__(shared)
        self._limits: dict[int, ocpp.TransactionLimit] = {}
        self._by_csms: dict[int, ocpp.TransactionLimit] = {}
        self._bounds: dict[int, ocpp.TransactionLimit] = {}
        """The limits of payments, which no other limit exceeds."""
        self._begin: dict[int, int] = {}
        self._costs: dict[int, float] = {}
        self.on_cost: Final = Callbacks[Evse, float]()
        self._local_costs = local_costs
        tariff_cost.on_cost(self.cost)
        self._sessions.on_bound(self._bind)
        self._sessions.on_started(self._started)
        self._sessions.on_ended(self._ended)

    def driver(self, fact: DriverLimit) -> None:
        """Set the driver's limits, never above those of the CSMS (E16.FR.01, .04)."""
        evse = self._evses[fact.evse_id]
        if evse.record is None:
            return
        ours = _least(self._supported(fact.limit), self._by_csms.get(evse.number))
        ours = _least(ours, self._bounds.get(evse.number))
        self._set(evse, _over(self._limits.get(evse.number), ours))

    def extend(self, evse: Evse, max_cost: float) -> None:
        """Raise the limit with a payment's reserved amount, as far as the CSMS allows (C23.FR.02)."""
        self._bounds[evse.number] = _over(self._bounds.get(evse.number), ocpp.TransactionLimit(max_cost=max_cost))
        self.driver(DriverLimit(evse_id=evse.number, limit=ocpp.TransactionLimit(max_cost=max_cost)))
        self._keep(evse)

    def _bind(self, evse: Evse, bound: ocpp.TransactionLimit) -> None:
        self._bounds[evse.number] = bound
        self._limits[evse.number] = _over(self._limits.get(evse.number), bound)
        self._keep(evse)
        self._k.after(f"limits.{evse.number}", 0, lambda: self._poll(evse))  # after the event

    def event_answered(self, request: Message, answer: Answer) -> None:
        """Apply limits, or the transaction's cost, sent by the CSMS (E16.FR.03, .15)."""
        if not isinstance(request, ocpp.TransactionEventRequest) or not isinstance(
            answer, ocpp.TransactionEventResponse
        ):
            return
        evse = self._sessions.find(request.transaction_info.transaction_id)
        if evse is None:
            return
        if answer.transaction_limit is not None:
            wanted = self._supported(answer.transaction_limit)
            known = self._by_csms.get(evse.number)
            self._by_csms[evse.number] = _over(known, wanted)
            if wanted != ocpp.TransactionLimit():
                ours = _over(self._limits.get(evse.number), _least(wanted, self._bounds.get(evse.number)))
                self._set(evse, ours, confirm=self._by_csms[evse.number] != known)
        if answer.total_cost is not None:
            self.cost(evse, answer.total_cost)

    def cost(self, evse: Evse, total: float) -> None:
        """Handle the running cost of the transaction."""
        self._costs[evse.number] = total
        self.on_cost.tell(evse, total)
        self._poll(evse)

    def _supported(self, limit: ocpp.TransactionLimit) -> ocpp.TransactionLimit:
        """Return the limits that are supported (E16.FR.13)."""
        known = self._k.model.members("TxCtrlr.SupportedLimits")
        drop = {name: None for name, (word, _, _) in _LIMITS.items() if word not in known}
        return msgspec.structs.replace(limit, **drop)

    def _set(self, evse: Evse, limit: ocpp.TransactionLimit, *, confirm: bool = False) -> None:
        """Set the limits, and report them if changed, or if the CSMS waits for it (E16.FR.03)."""
        if limit == self._limits.get(evse.number) and not confirm:
            return
        self._limits[evse.number] = limit
        self._keep(evse)
        self._sessions.update(evse, "LimitSet", limit=limit)
        if evse.at_limit and self._exceeded(evse) is None:
            evse.at_limit = False
            self._sessions.let_flow(evse)  # E16.FR.14
        self._poll(evse)

    def _started(self, evse: Evse) -> None:
        self._forget(evse)  # those of one that is about to end there
        sample = self._read(evse.number)
        self._begin[evse.number] = sample.import_mwh if sample is not None else 0
        self.resumed(evse)

    def _keep(self, evse: Evse) -> None:
        if evse.record is not None:
            number = evse.number
            record = msgspec.structs.replace(
                evse.record,
                limit=self._limits.get(number),
                limit_by_csms=self._by_csms.get(number),
                limit_of_payment=self._bounds.get(number),
            )
            self._sessions.keep(evse, record)

    def resumed(self, evse: Evse) -> None:
        """Monitor the stored limits of a transaction, such as one from before an interruption (E17)."""
        record = evse.record
        if record is None:
            return
        for limits, limit in (
            (self._limits, record.limit),
            (self._by_csms, record.limit_by_csms),
            (self._bounds, record.limit_of_payment),
        ):
            if limit is not None:
                limits[evse.number] = limit
        begin = record.begin or record.last_sample
        self._begin.setdefault(evse.number, begin.import_mwh if begin is not None else 0)
        self._poll(evse)

    def _ended(self, evse: Evse, _: TransactionRecord) -> None:
        self._forget(evse)
        self.resumed(evse)  # those of the next, if that has begun already

    def _forget(self, evse: Evse) -> None:
        for by_evse in (self._limits, self._by_csms, self._bounds, self._begin, self._costs):
            by_evse.pop(evse.number, None)
        evse.at_limit = False
        self._k.cancel(f"limits.{evse.number}")

    def _poll(self, evse: Evse) -> None:
        """Check the limits; repeats while there are any (E16.FR.05, .06, .09, .10)."""
        name = f"limits.{evse.number}"
        self._k.cancel(name)
        if evse.number not in self._limits or evse.record is None or evse.at_limit:
            return
        found = self._exceeded(evse)
        if found is None:
            self._k.after(name, POLL_S, lambda: self._poll(evse))
            return
        evse.at_limit = True
        _, trigger, reason = _LIMITS[found]
        self._sessions.limit_reached(evse, trigger, reason)

    def _exceeded(self, evse: Evse) -> str | None:
        limit, record = self._limits[evse.number], evse.record
        if record is None:
            return None
        sample = self._read(evse.number)
        energy = (sample.import_mwh - self._begin.get(evse.number, 0)) / 1000 if sample is not None else 0.0
        local = self._local_costs.cost(evse)
        values: dict[str, float | None] = {
            "max_cost": self._costs.get(evse.number) if local is None else local,
            "max_energy": energy,
            "max_time": (self._k.utc_ms - record.started_ms) / 1000,
            "max_soc": sample.soc if sample is not None else None,
        }
        for name, value in values.items():
            bound = getattr(limit, name)
            if bound is not None and value is not None and value >= bound:
                return name
        return None


def _over(old: ocpp.TransactionLimit | None, new: ocpp.TransactionLimit) -> ocpp.TransactionLimit:
    """Return old limits updated by new ones: a limit can be changed, not removed (E16.FR.17)."""
    if old is None:
        return new
    fields = {name: getattr(new, name) for name in _LIMITS if getattr(new, name) is not None}
    return msgspec.structs.replace(old, **fields)


def _least(one: ocpp.TransactionLimit, two: ocpp.TransactionLimit | None) -> ocpp.TransactionLimit:
    """Return the lower of each limit that the first one sets."""
    if two is None:
        return one
    fields = {
        name: min(mine, theirs)
        for name in _LIMITS
        if (mine := getattr(one, name)) is not None and (theirs := getattr(two, name)) is not None
    }
    return msgspec.structs.replace(one, **fields)
