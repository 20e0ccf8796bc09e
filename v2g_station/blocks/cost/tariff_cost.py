"""Costs received from the CSMS, and their display (functional block I)."""

from collections.abc import Callable

from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.tariff_cost import CostUpdatedRequest, CostUpdatedResponse
from v2g.ocpp.messages.transactions import TransactionEventRequest, TransactionEventResponse
from v2g_station.blocks.cost.local_cost import LocalCosts, ShowCost
from v2g_station.blocks.evse import Evse
from v2g_station.blocks.transactions.sessions import EvseSessions
from v2g_station.kernel.kernel import Answer, Handler, Kernel


class TariffCost:
    """Costs of one station. Locally calculated ones take precedence over the CSMS's (E16.FR.16)."""

    def __init__(self, kernel: Kernel, sessions: EvseSessions, local_costs: LocalCosts) -> None:
        self._k = kernel
        self._sessions = sessions
        self.on_cost: list[Callable[[Evse, float], None]] = []
        self._local = local_costs
        self.answers: dict[str, Handler] = {"CostUpdated": self._updated}

    def _updated(self, request: CostUpdatedRequest) -> Message:
        """I02."""
        evse = self._sessions.find(request.transaction_id)
        if evse is not None and self._local.cost(evse) is None and self._k.model.flag("TariffCostCtrlr.Enabled[Cost]"):
            self._k.do(ShowCost(evse_id=evse.number, transaction_id=request.transaction_id, total=request.total_cost))
            for listener in self.on_cost:
                listener(evse, request.total_cost)
        return CostUpdatedResponse()

    def event_answered(self, request: Message, answer: Answer) -> None:
        """Display the cost from the response to an event (I02.FR.01, I03, I05)."""
        if not isinstance(request, TransactionEventRequest) or not isinstance(answer, TransactionEventResponse):
            return
        final = request.event_type == "Ended"
        text = answer.updated_personal_message.content if answer.updated_personal_message else ""
        total = answer.total_cost
        evse = self._sessions.find(request.transaction_info.transaction_id)
        if request.cost_details is not None or (evse is not None and self._local.cost(evse) is not None):
            total, final = None, False  # already displayed as calculated here
        elif total is None and final and self._k.model.flag("TariffCostCtrlr.Enabled[Cost]"):
            text = text or self._k.model.text("TariffCostCtrlr.TotalCostFallbackMessage")  # I05.FR.02
        if total is not None or text:
            self._k.do(
                ShowCost(
                    evse_id=request.evse.id if request.evse else None,
                    transaction_id=request.transaction_info.transaction_id,
                    total=total,
                    final=final,
                    text=text,
                )
            )
