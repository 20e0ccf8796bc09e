"""A simulated payment terminal with its provider, and their faults.

Pure: `chance()` returns numbers from 0 to 1.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.payment import terminal
from v2g_station.kernel.kernel import StationCommand
from v2g_station.kernel.layout import TerminalLayout

Share = Annotated[float, Meta(ge=0, le=1)]

DETAILS: Final = (
    ("SessionRef", "S-17"),
    ("PaymentBrand", "Visa"),
    ("ReadingMethod", "Contactless"),
    ("CardBin", "411111"),
    ("CardLast4Digits", "1111"),
    ("CardExpiryDate", "2030/12"),
)
TERMINAL: Final = TerminalLayout(
    details=tuple(name for name, _ in DETAILS),
    incremental=True,
    terminal_id="T-1",
    provider="Simulated",
    vendor="v2g-engine",
    model="Simulated",
)


class TerminalFaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults of a payment terminal, as shares of its commands."""

    declined: Share = 0.02
    """Share of cards and of increases that the provider declines."""
    rejected: Share = 0.0
    """Share of settlements that the provider rejects."""
    unreachable: Share = 0.01
    """Share of requests for which the provider is unreachable."""
    silent: Share = 0.0
    """Share of commands that the terminal never answers."""


class CardReservation(msgspec.Struct, kw_only=True):
    """The provider's record of a payment; `rejected`: it refused to settle it."""

    amount: Decimal
    state: Literal["reserved", "taken", "released"] = "reserved"
    rejected: bool = False
    taken: Decimal = Decimal(0)


class SimulatedTerminal:
    """A terminal and its provider; `reserved` contains all payments by reference."""

    def __init__(self, chance: Callable[[], float], faults: TerminalFaults, *, name: str = "psp") -> None:
        self._chance = chance
        self.faults = faults
        self._name = name
        self.reserved: dict[str, CardReservation] = {}

    def command(self, command: StationCommand) -> Iterator[Fact]:
        """Carry out a command; yield the facts that follow."""
        if not isinstance(
            command,
            terminal.AuthorizeCard | terminal.IncreaseAuthorization | terminal.SettlePayment | terminal.CancelPayment,
        ):
            return
        if self._happens(self.faults.silent):
            return
        reached = not self._happens(self.faults.unreachable)
        match command:
            case terminal.AuthorizeCard():
                yield self._authorize(command, reached=reached)
            case terminal.IncreaseAuthorization(psp_ref=psp_ref, amount=amount):
                fine = reached and psp_ref in self.reserved and not self._happens(self.faults.declined)
                if fine:
                    self.reserved[psp_ref].amount = amount
                yield terminal.AuthorizationIncreased(psp_ref=psp_ref, approved=fine)
            case terminal.SettlePayment():
                yield self._settle(command, reached=reached)
            case terminal.CancelPayment(psp_ref=psp_ref):
                if reached and psp_ref in self.reserved:
                    self.reserved[psp_ref].state = "released"
                yield terminal.PaymentReleased(psp_ref=psp_ref, done=reached)

    def _authorize(self, command: terminal.AuthorizeCard, *, reached: bool) -> Fact:
        if not reached or self._happens(self.faults.declined):
            return terminal.CardRefused(evse_id=command.evse_id, reason="declined" if reached else "no answer")
        psp_ref = f"{self._name}-{len(self.reserved) + 1:06d}"
        self.reserved[psp_ref] = CardReservation(amount=command.amount)
        return terminal.CardAuthorized(evse_id=command.evse_id, psp_ref=psp_ref, card=command.card, details=DETAILS)

    def _settle(self, command: terminal.SettlePayment, *, reached: bool) -> Fact:
        found = self.reserved.get(command.psp_ref)
        if found is None:
            return terminal.PaymentSettled(psp_ref=command.psp_ref, status="Failed", info="unknown payment")
        if found.state == "reserved":
            if not reached:
                return terminal.PaymentSettled(psp_ref=command.psp_ref, status="Failed", info="no answer")
            found.rejected = found.rejected or self._happens(self.faults.rejected)
            if found.rejected:  # for good: a command that was repeated gets the same answer
                return terminal.PaymentSettled(psp_ref=command.psp_ref, status="Rejected", info="declined")
            found.state, found.taken = "taken", command.amount
        receipt = f"R-{command.psp_ref}"
        url = f"https://receipts.example/{receipt}"
        return terminal.PaymentSettled(psp_ref=command.psp_ref, status="Settled", receipt_id=receipt, receipt_url=url)

    def _happens(self, share: float) -> bool:
        return share > 0 and self._chance() < share


def ending(usual: TerminalFaults, status: Literal["Settled", "Failed", "Rejected"]) -> TerminalFaults:
    """Return the faults with which all settlements end like this; Settled: the usual ones."""
    match status:
        case "Failed":
            return msgspec.structs.replace(usual, unreachable=1.0)
        case "Rejected":
            return msgspec.structs.replace(usual, rejected=1.0)
    return usual
