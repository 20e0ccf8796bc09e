"""Which transfer of energy a transaction may use (functional block Q)."""

from collections.abc import Callable, Sequence

from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.bidirectional import NotifyAllowedEnergyTransferRequest, NotifyAllowedEnergyTransferResponse
from v2g_station.blocks.transactions.sessions import Sessions
from v2g_station.kernel.kernel import Command, Handler, Kernel, status_info


class AllowEnergyTransfer(Command, frozen=True, kw_only=True):
    """From now on a transaction may use these modes (EnergyTransferModeEnum): let the vehicle select anew."""

    transaction_id: str
    modes: tuple[str, ...]


class EnergyTransfers:
    """Allowed modes of one station. `serves` says whether an EVSE has a service for any of some modes."""

    def __init__(self, kernel: Kernel, sessions: Sessions) -> None:
        self._k = kernel
        self._sessions = sessions
        self.serves: Callable[[int, Sequence[str]], bool] = lambda _evse, _modes: False
        self.answers: dict[str, Handler] = {"NotifyAllowedEnergyTransfer": self._allowed}

    def _allowed(self, request: NotifyAllowedEnergyTransferRequest) -> Message:
        """Q02.FR.06."""
        evse = self._sessions.find(request.transaction_id)
        refused = None
        if evse is None:
            refused = status_info("TxNotFound")
        elif not self.serves(evse.number, request.allowed_energy_transfer):
            refused = status_info("UnsupportedRequest", "no energy service of this EVSE is among them")
        if refused is not None:
            return NotifyAllowedEnergyTransferResponse(status="Rejected", status_info=refused)
        self._k.do(
            AllowEnergyTransfer(transaction_id=request.transaction_id, modes=tuple(request.allowed_energy_transfer))
        )
        return NotifyAllowedEnergyTransferResponse(status="Accepted")
