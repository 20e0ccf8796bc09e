"""The energy transfer modes that a transaction may use (functional block Q)."""

from collections.abc import Callable, Sequence

import msgspec

from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.smart_charging import NotifyAllowedEnergyTransferRequest, NotifyAllowedEnergyTransferResponse
from v2g_station.blocks.transactions.sessions import EvseSessions
from v2g_station.kernel.kernel import Handler, Kernel, StationCommand, status_info


class AllowEnergyTransfer(StationCommand, frozen=True, kw_only=True):
    """Restrict a transaction to these modes (EnergyTransferModeEnum): let the vehicle select a service again."""

    evse_id: int
    transaction_id: str
    reference: str
    """The charger's reference of the transaction."""

    modes: tuple[str, ...]


class EnergyTransfers:
    """Allowed modes of one station. `serves` returns whether an EVSE has a service for any of some modes."""

    def __init__(self, kernel: Kernel, sessions: EvseSessions, serves: Callable[[int, Sequence[str]], bool]) -> None:
        self._k = kernel
        self._sessions = sessions
        self._serves = serves
        self.answers: dict[str, Handler] = {"NotifyAllowedEnergyTransfer": self._allowed}

    def _allowed(self, request: NotifyAllowedEnergyTransferRequest) -> Message:
        """Q02.FR.06."""
        evse = self._sessions.find(request.transaction_id)
        if evse is None or evse.record is None:
            return _rejected("TxNotFound")
        modes = tuple(request.allowed_energy_transfer)
        if not self._serves(evse.number, modes):
            return _rejected("UnsupportedRequest", "this EVSE has no energy service for any of these modes")
        record = evse.record
        if evse.authorization is not None:
            evse.authorization = msgspec.structs.replace(evse.authorization, energy_transfer=modes)
        self._k.do(
            AllowEnergyTransfer(
                evse_id=evse.number, transaction_id=record.transaction_id, reference=record.reference, modes=modes
            )
        )
        return NotifyAllowedEnergyTransferResponse(status="Accepted")


def _rejected(code: str, text: str = "") -> NotifyAllowedEnergyTransferResponse:
    return NotifyAllowedEnergyTransferResponse(status="Rejected", status_info=status_info(code, text))
