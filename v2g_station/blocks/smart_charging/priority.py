"""Priority charging: a driver requests the maximum power now (K21, K22)."""

from collections.abc import Mapping

from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages import smart_charging as ocpp
from v2g.ocpp.messages.base import Message
from v2g_station.blocks.connection.outbox import CsmsOutbox
from v2g_station.blocks.evse import Evse, Indicate
from v2g_station.blocks.smart_charging import profiles
from v2g_station.blocks.smart_charging.smart_charging import ChargingProfiles
from v2g_station.blocks.transactions.sessions import EvseSessions
from v2g_station.kernel.kernel import Handler, Kernel, status_info


class PriorityChargingRequested(Fact, frozen=True, kw_only=True):
    """A driver requests priority for a transaction, or cancels it, by a button or at the display."""

    evse_id: int
    active: bool


class PriorityCharging:
    """Priority of one station's transactions."""

    def __init__(
        self,
        kernel: Kernel,
        evses: Mapping[int, Evse],
        sessions: EvseSessions,
        smart_charging: ChargingProfiles,
        outbox: CsmsOutbox,
    ) -> None:
        self._k = kernel
        self._evses = evses
        self._sessions = sessions
        self._smart = smart_charging
        self._outbox = outbox
        self.answers: dict[str, Handler] = {"UsePriorityCharging": self._use}

    def _use(self, request: ocpp.UsePriorityChargingRequest) -> Message:
        """K21."""
        evse = self._sessions.find(request.transaction_id)
        if evse is None:
            return ocpp.UsePriorityChargingResponse(status="Rejected", status_info=status_info("TxNotFound"))
        if request.activate and not profiles.has_priority(self._smart.installed, evse.number):
            return ocpp.UsePriorityChargingResponse(status="NoProfile", status_info=status_info("NotFound"))
        self._set(request.transaction_id, active=request.activate)
        return ocpp.UsePriorityChargingResponse(status="Accepted")

    def requested(self, fact: PriorityChargingRequested) -> None:
        """K22."""
        evse = self._evses[fact.evse_id]
        if evse.record is None or (fact.active and not profiles.has_priority(self._smart.installed, evse.number)):
            self._k.do(Indicate(evse_id=evse.number, word="no_priority_charging"))  # K22.FR.01
            return
        self._set(evse.record.transaction_id, active=fact.active)

    def _set(self, transaction_id: str, *, active: bool) -> None:
        """Change the priority and report it; offline changes are reported later (K21.FR.05, .08, K22.FR.03, .05)."""
        if self._smart.where.set_priority(transaction_id, active=active):
            self._outbox.add(ocpp.NotifyPriorityChargingRequest(transaction_id=transaction_id, activated=active))
