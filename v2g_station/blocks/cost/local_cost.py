"""The cost of transactions by the station's tariffs: calculated, displayed, sent with their events (I11, I12, 2.1).

Each event of a transaction passes through `event`: the first one after authorization sets its tariff, all update its
cost, some carry it. In between the meter is polled every `Interval[Tariff]` seconds. The tally is stored with the
event, in one step, so that a power failure loses neither.
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from v2g.energy.price_plan import PricePlan
from v2g.errors import OcppError, RefusedError
from v2g.observe import Callbacks
from v2g.ocpp.messages import tariff_cost as ocpp
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.tariff_cost import CostUpdatedRequest, CostUpdatedResponse
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse
from v2g.translate.ocpp_tariffs import money
from v2g_station.blocks.cost.priced import Priced, PricedTerms, priced_from_now
from v2g_station.blocks.cost.tariffs import NOT_ENABLED, PROBLEM, StationTariffs, description
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.transaction_records import MeterSample, TransactionRecord
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Answer, Handler, Moment, StationCommand

POLL_S: Final = 5.0
"""Poll interval of meters if the CSMS asks for the shortest (I12.FR.32)."""

_SLACK_S: Final = 0.05
"""Lets another event that is due at the same time carry the running cost (I12.FR.03)."""


class ShowCost(StationCommand, frozen=True, kw_only=True):
    """Display the running or final cost of a driver's transaction. `evse_id` is None once another one began there."""

    evse_id: int | None
    transaction_id: str
    total: float | None
    currency: str = ""
    final: bool = False
    text: str = ""


class LocalCosts(FunctionalBlock):
    """Prices the transactions of one station, which are `priced`. `read` returns an EVSE's meter sample; if the charger
    manages the transactions (`managed`), it comes with each event. `reserved` returns when a reservation was made."""

    def __init__(
        self,
        shared: Shared,
        tariffs: StationTariffs,
        priced: dict[str, Priced],
        *,
        reserved: Callable[[int | None], int | None],
        managed: bool,
    ) -> None:
        super().__init__(shared)
        self._tariffs = tariffs
        self._managed = managed
        self.on_cost: Final = Callbacks[Evse, float]()
        self._reserved = reserved
        self._all = priced
        self._unpriced = set(self._k.stored_text("unpriced"))
        """Transactions that have no tariff here until they end: the CSMS prices them."""
        self.answers: dict[str, Handler] = {"ChangeTransactionTariff": self._change}
        self._sessions.on_event.append(self.event)
        self._sessions.on_ended(self._ended)

    def start(self) -> None:
        """Remove prices without a transaction, and resume the others, and their display."""
        for name, found in list(self._all.items()):
            evse = self._sessions.find(name)
            if evse is None:
                self._forget(name)
            else:
                self._tariffs.show_own(evse.number, found.terms.plan.id, found.terms.text)
                self._plan(evse, name)
        for name in [each for each in self._unpriced if self._sessions.find(each) is None]:
            self._unmark(name)

    # -- queries

    def cost(self, evse: Evse) -> float | None:
        """Return the current cost of an EVSE's transaction, with taxes; None if it is not calculated here."""
        found = self._all.get(evse.record.transaction_id) if evse.record is not None else None
        if found is None or found.failure() or not self._tariffs.enabled:
            return None
        self._advance(evse, found, self._poll_cost(evse))
        return money(found.bill().incl_tax)

    # -- events

    def event(self, evse: Evse, record: TransactionRecord, request: TransactionEventRequest) -> TransactionEventRequest:
        """Return an event of a transaction, with its tariff or cost if required."""
        name, ended = record.transaction_id, request.event_type == "Ended"
        found = self._all.get(name)
        sample = record.last_sample if self._managed else self._read(evse.number)
        info = request.transaction_info
        if found is not None:
            self._advance(evse, found, sample)
        elif not ended and (found := self._begin(evse, record, sample)) is not None:
            info = msgspec.structs.replace(info, tariff_id=found.terms.plan.id)  # I07.FR.32, I08.FR.22
        if found is None:
            return request
        if request.trigger_reason == "TariffChanged":
            info = msgspec.structs.replace(info, tariff_id=found.terms.plan.id)  # I11.FR.07
        found.flows(charging=record.charging_state == "Charging")
        details = self._details(found, request)
        if details is not None:
            found.reported_at = self._k.now
        if ended:
            self._show(evse, found, final=True)
            self._forget(name)
        else:
            self._k.keep("costs", name, found.state)
            self._plan(evse, name)
        return msgspec.structs.replace(request, transaction_info=info, cost_details=details)

    def _begin(self, evse: Evse, record: TransactionRecord, sample: MeterSample | None) -> Priced | None:
        """Set the tariff of a transaction: the driver's own, else the default one (I07.FR.14, I08.FR.04)."""
        # the paying identifier, None before authorization
        if self._managed:
            id_token = IdToken(id_token=record.id_token, type=record.id_token_type) if record.authorized else None
        else:
            id_token = evse.authorization.id_token if evse.authorization is not None else None
        name, allowed = record.transaction_id, self._tariffs.enabled and self._k.version != "2.0.1"
        if id_token is None or not allowed or name in self._unpriced:
            return None
        driver = self._tariffs.driver(id_token)
        tariff = driver.tariff if driver is not None else self._tariffs.default(evse.number)
        if tariff is None:
            if driver is not None:
                self._unpriced.add(name)
                self._k.keep_text("unpriced", name, "")
            return None
        try:
            plan = self._tariffs.plan(tariff)
        except RefusedError as error:  # the clock's zone has changed since it was installed
            self._tariffs.problem(error.reason)
            return None
        found = self._price(evse, record, id_token, plan, sample, own=driver is not None, fees=True)
        self._show_tariff(evse, found, tariff)
        return found

    def _price(
        self,
        evse: Evse,
        record: TransactionRecord,
        id_token: IdToken,
        plan: PricePlan,
        sample: MeterSample | None,
        *,
        own: bool,
        fees: bool,
    ) -> Priced:
        """Price a transaction from now on."""
        kind: Literal["AC", "DC"] = "AC" if self._k.layout.evses[evse.number - 1].phases else "DC"
        plans = ((self._k.utc_ms, plan),)
        found = priced_from_now(
            record,
            PricedTerms(evse_id=evse.number, id_token=id_token, own=own, plans=plans, evse_kind=kind),
            self._moment,
            sample,
            self._amperes(evse, sample),
            reserved_ms=self._reserved(record.reservation_id),
            fees=fees,
            scale=self._k.scale,
        )
        self._all[found.name] = found
        return found

    @property
    def _moment(self) -> Moment:
        return Moment(self._k.now, self._k.utc_ms)

    def _show_tariff(self, evse: Evse, found: Priced, tariff: ocpp.Tariff) -> None:
        """Store the terms of a transaction, and display them."""
        text = description(tariff, evse.authorization.languages if evse.authorization is not None else ())
        found.terms = msgspec.structs.replace(found.terms, text=text)
        self._k.keep("terms", found.name, found.terms)  # and `event` its cost
        self._tariffs.show_own(evse.number, tariff.tariff_id, text)

    def _details(self, found: Priced, request: TransactionEventRequest) -> ocpp.CostDetails | None:
        """Return the cost details that an event must carry (I12.FR.01, .02)."""
        model = self._k.model
        ended = request.event_type == "Ended"
        due = request.event_type == "Started" or request.trigger_reason == "RunningCost"
        due = due or self._k.now - found.reported_at >= model.number("TariffCostCtrlr.Interval[Cost]")
        if not self._tariffs.enabled or not (ended or (due and model.flag("TariffCostCtrlr.Enabled[RunningCost]"))):
            return None
        if not found.failure():
            if ended:
                self._tariffs.problem("")  # I12.FR.43
        elif not model.flag(PROBLEM):
            self._tariffs.problem("InternalError")  # I12.FR.18
        return found.details(ended=ended)

    def _forget(self, name: str) -> None:
        self._all.pop(name, None)
        self._k.forget("terms", name)
        self._k.forget("costs", name)
        for timer in ("poll", "report"):
            self._k.cancel(f"cost.{timer}.{name}")

    def _unmark(self, name: str) -> None:
        if name in self._unpriced:
            self._unpriced.remove(name)
            self._k.forget("unpriced", name)

    def _ended(self, evse: Evse, record: TransactionRecord) -> None:
        self._unmark(record.transaction_id)
        if evse.record is None:  # else the next one has shown its own
            self._tariffs.show_default(evse.number)
        self._tariffs.let_go(IdToken(id_token=record.id_token, type=record.id_token_type))

    # -- tariff changes

    def _change(self, request: ocpp.ChangeTransactionTariffRequest) -> Message:
        """I11."""
        if not self._tariffs.enabled:  # I11.FR.01
            raise OcppError(NOT_ENABLED, answer="NotSupported")
        tariff, name = msgspec.structs.replace(request.tariff, valid_from=None), request.transaction_id
        status, info = self._tariffs.refuse(tariff)
        if status in ("TooManyElements", "ConditionNotSupported"):
            return ocpp.ChangeTransactionTariffResponse(status=status, status_info=info)
        if self._sessions.find(name) is None:
            return ocpp.ChangeTransactionTariffResponse(status="TxNotFound")
        if status != "Accepted":
            return ocpp.ChangeTransactionTariffResponse(status="Rejected", status_info=info)
        found = self._all.get(name)
        if found is not None and found.terms.plan.currency != tariff.currency:
            return ocpp.ChangeTransactionTariffResponse(status="NoCurrencyChange")
        plan = self._tariffs.plan(tariff)
        self._k.after(f"tariff.change.{name}", 0, lambda: self._switch(name, tariff, plan))  # I11.FR.07
        return ocpp.ChangeTransactionTariffResponse(status="Accepted")

    def _switch(self, name: str, tariff: ocpp.Tariff, plan: PricePlan) -> None:
        """Switch a transaction to another tariff from now on (I11.FR.07, .08)."""
        evse = self._sessions.find(name)
        if evse is None or evse.record is None:
            return
        record, found, sample = evse.record, self._all.get(name), self._poll_cost(evse)
        if found is None:  # the time before is free, and so are the fees
            id_token = IdToken(id_token=record.id_token, type=record.id_token_type)
            found = self._price(evse, record, id_token, plan, sample, own=True, fees=False)
        else:
            self._advance(evse, found, sample)
            found.change(plan)
        self._show_tariff(evse, found, tariff)
        self._sessions.update(evse, "TariffChanged")

    # -- time and meter

    def _plan(self, evse: Evse, name: str) -> None:
        """Schedule the next poll, and report the running cost when due."""
        number = self._k.model.number
        if not self._k.planned(f"cost.poll.{name}"):
            interval = number("TariffCostCtrlr.Interval[Tariff]") or POLL_S
            self._k.after(f"cost.poll.{name}", interval, lambda: self._poll(evse, name))
        found = self._all[name]
        rest = found.reported_at + number("TariffCostCtrlr.Interval[Cost]") - self._k.now
        self._k.after(f"cost.report.{name}", max(0.0, rest) + _SLACK_S, lambda: self._report(evse, name))

    def _poll(self, evse: Evse, name: str) -> None:
        found = self._all[name]
        self._advance(evse, found, self._poll_cost(evse))
        self._show(evse, found)
        self._plan(evse, name)

    def _report(self, evse: Evse, name: str) -> None:
        """Send an event for the cost alone (I12.FR.03), if the recipient supports it."""
        wanted = self._tariffs.enabled and self._k.model.flag("TariffCostCtrlr.Enabled[RunningCost]")
        if wanted and self._k.online and self._k.version != "2.0.1":
            self._sessions.update(evse, "RunningCost")
        else:
            self._all[name].reported_at = self._k.now
            self._plan(evse, name)

    def _poll_cost(self, evse: Evse) -> MeterSample | None:
        """Return the meter sample; None while several transactions share an EVSE: the energy cannot be attributed."""
        if sum(each.terms.evse_id == evse.number for each in self._all.values()) > 1:
            return None
        return self._read(evse.number)

    def _advance(self, evse: Evse, found: Priced, sample: MeterSample | None) -> None:
        if found.advance(self._moment, sample, self._amperes(evse, sample)):
            self._k.keep("terms", found.name, found.terms)

    def _amperes(self, evse: Evse, sample: MeterSample | None) -> int:
        """Return the current over all phases in whole A."""
        phases = self._k.layout.evses[evse.number - 1].phases
        each = sample.current_a if sample is not None and sample.current_a is not None else 0.0
        return int(each * ((evse.phases or phases) if phases else 1))

    def _show(self, evse: Evse, found: Priced, *, final: bool = False) -> None:
        """Display the cost when it has changed."""
        cost = found.bill(ended=final).incl_tax
        if self._tariffs.enabled and not found.failure() and (final or cost != found.shown):
            found.shown = cost
            self.on_cost.tell(evse, money(cost))
            self._k.do(
                ShowCost(
                    evse_id=evse.number,
                    transaction_id=found.name,
                    total=money(cost),
                    currency=found.terms.plan.currency,
                    final=final,
                )
            )


class TariffCost(FunctionalBlock):
    """Costs of one station. Locally calculated ones take precedence over the CSMS's (E16.FR.16)."""

    def __init__(self, shared: Shared, local_costs: LocalCosts) -> None:
        super().__init__(shared)
        self.on_cost: Final = Callbacks[Evse, float]()
        self._local = local_costs
        self._latest: dict[int, str] = {}
        """EVSE -> its present or last transaction."""
        self.answers: dict[str, Handler] = {"CostUpdated": self._updated}
        self._sessions.on_event.append(self._event)  # after that of `local_costs`

    def _updated(self, request: CostUpdatedRequest) -> Message:
        """I02."""
        evse = self._sessions.find(request.transaction_id)
        if evse is not None and self._local.cost(evse) is None and self._k.model.flag("TariffCostCtrlr.Enabled[Cost]"):
            self._show(request.transaction_id, request.total_cost)
            self.on_cost.tell(evse, request.total_cost)
        return CostUpdatedResponse()

    @property
    def _fallback(self) -> str:
        """The text for a driver whose total cost is not known (I05.FR.02)."""
        enabled = self._k.model.flag("TariffCostCtrlr.Enabled[Cost]")
        return self._k.model.text("TariffCostCtrlr.TotalCostFallbackMessage") if enabled else ""

    def _event(
        self, evse: Evse, record: TransactionRecord, request: TransactionEventRequest
    ) -> TransactionEventRequest:
        """Display the fallback at the end of a transaction whose cost only the CSMS knows, if it cannot be asked."""
        self._latest[evse.number] = record.transaction_id
        if request.event_type == "Ended" and request.offline and request.cost_details is None and self._fallback:
            self._show(record.transaction_id, None, final=True, text=self._fallback)
        return request

    def _show(self, name: str, total: float | None, *, final: bool = False, text: str = "") -> None:
        """Display a cost of the CSMS, which is in the station's currency."""
        self._k.do(
            ShowCost(
                evse_id=next((evse_id for evse_id, latest in self._latest.items() if latest == name), None),
                transaction_id=name,
                total=total,
                currency=self._k.model.text("TariffCostCtrlr.Currency"),
                final=final,
                text=text,
            )
        )

    def event_answered(self, request: Message, answer: Answer) -> None:
        """Display the cost from the response to an event (I02.FR.01, I03, I05)."""
        if not isinstance(request, TransactionEventRequest) or not isinstance(answer, TransactionEventResponse):
            return
        final = request.event_type == "Ended"
        text = answer.updated_personal_message.content if answer.updated_personal_message else ""
        total = answer.total_cost
        evse = self._sessions.find(request.transaction_info.transaction_id)
        details = request.cost_details
        known = details is not None and not details.failure_to_calculate
        if known or (evse is not None and self._local.cost(evse) is not None):
            total, final = None, False  # already displayed as calculated here
        elif total is None and final and not request.offline:
            text = text or self._fallback
        if total is not None or text:
            self._show(request.transaction_info.transaction_id, total, final=final, text=text)
