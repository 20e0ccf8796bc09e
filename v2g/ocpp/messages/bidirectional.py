"""Bidirectional power transfer (functional block Q). 2.1 only."""

from typing import Literal

from v2g.ocpp.messages.base import (
    DateTime,
    EnergyTransferMode,
    GenericStatus,
    Integer,
    Message,
    OneOrMore,
    StatusInfo,
    String36,
)


class AFRRSignalRequest(Message, frozen=True, kw_only=True):
    """CSMS forwards a frequency restoration signal, which the V2X signal-watt curve converts to W (Q07)."""

    timestamp: DateTime
    signal: Integer


class AFRRSignalResponse(Message, frozen=True, kw_only=True):
    """Answer to AFRRSignal."""

    status: GenericStatus
    status_info: StatusInfo | None = None


class NotifyAllowedEnergyTransferRequest(Message, frozen=True, kw_only=True):
    """CSMS sets the energy transfer modes allowed for a transaction (Q01, Q02)."""

    transaction_id: String36
    allowed_energy_transfer: OneOrMore[EnergyTransferMode]


NotifyAllowedEnergyTransferStatus = Literal["Accepted", "Rejected"]


class NotifyAllowedEnergyTransferResponse(Message, frozen=True, kw_only=True):
    """Answer to NotifyAllowedEnergyTransfer."""

    status: NotifyAllowedEnergyTransferStatus
    status_info: StatusInfo | None = None
