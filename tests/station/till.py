"""A payment terminal."""

from typing import Any

from tests.station.bench import Bench
from tests.station.charging import bench
from v2g_station.blocks.payment.terminal import CardPresented
from v2g_station.simulator.terminal import TERMINAL, SimulatedTerminal, TerminalFaults

PSP = "psp-000001"
PAID = {
    "idToken": PSP, "type": "DirectPayment",
    "additionalInfo": [
        {"type": "CardBin", "additionalIdToken": "411111"}, {"type": "CardLast4Digits", "additionalIdToken": "1111"},
    ],
}  # fmt: skip


class Till:
    """A station with a terminal that does what the station wants, and the CSMS that knows the cost at the end."""

    def __init__(self, start: str = "PowerPathClosed", cost: float | None = None, **faults: float) -> None:
        self.start, self.cost = start, cost
        nothing = {"declined": 0.0, "rejected": 0.0, "unreachable": 0.0, "silent": 0.0}
        self.terminal = SimulatedTerminal(lambda: 0.5, TerminalFaults(**(nothing | faults)))
        self.done = 0

    def open(self, **more: Any) -> Bench:
        """Return the station."""
        variables = {
            "PaymentCtrlr.PaymentDetails": "CardBin,CardLast4Digits", "PaymentCtrlr.AuthorizationAmount": "50",
            "PaymentCtrlr.Merchant[Name]": "Charge & Co",
        }  # fmt: skip
        found = bench(
            self.start, version="2.1", terminal=TERMINAL, variables=variables | more.pop("variables", {}), **more
        )
        if self.cost is not None:
            found.answers["TransactionEvent"] = lambda event: (
                {"totalCost": self.cost} if event["eventType"] == "Ended" else {}
            )
        return found

    def serve(self, found: Bench) -> None:
        """Let the terminal do what it was asked since the last time."""
        while self.done < len(found.commands):
            command = found.commands[self.done]
            self.done += 1
            for fact in list(self.terminal.command(command)):
                found.fact(fact)

    def present(self, found: Bench, evse_id: int | None = 1, card: str = "A") -> None:
        """Somebody holds a card to the terminal."""
        found.fact(CardPresented(evse_id=evse_id, card=card))
        self.serve(found)

    def state(self, psp_ref: str = PSP) -> str:
        """Return what has become of the money."""
        return self.terminal.reserved[psp_ref].state
