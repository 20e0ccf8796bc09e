"""What a station shows follows from what has happened: to work it out anew at any time changes nothing."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.station.bench import FIXED, SOCKET, Bench, at
from tests.station.messages import message
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g_station.blocks.display import ShowMessages
from v2g_station.blocks.evse import Fault, StopButton
from v2g_station.blocks.web_payment import ShowQrCode, WebPaymentRequested

STEPS = 100
POINTS = ("PowerPathClosed", "Authorized", "EVConnected", "EnergyTransfer")
CODES = {
    "URLTemplate": "https://pay.example/{chargingstationid}/{evse}/{totp}/{version}",
    "SharedSecret": "a secret of both",
    "Enabled": "true",
}
STATES: tuple[dict[str, Any], ...] = (
    {},
    *({"state": state} for state in ("Charging", "Idle", "Unavailable", "Faulted")),
)


class Walk:
    """A station to which anything may happen, by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        points = {f"TxCtrlr.{name}": chance.choice(POINTS) for name in ("TxStartPoint", "TxStopPoint")}
        self.found = Bench("2.1", evses=(SOCKET, FIXED), optional=("WebPaymentsCtrlr",), variables=points)
        for name, value in CODES.items():
            self.found.set("WebPaymentsCtrlr", name, value)

    def step(self) -> None:
        """Let something happen."""
        found, chance, evse = self.found, self.chance, self.chance.choice((1, 2))
        token = {"idToken": chance.choice("AB"), "type": "ISO14443"}
        expires = at(found.utc_ms + 90_000)
        happenings: tuple[Callable[[], Any], ...] = (
            lambda: found.plug(evse),
            lambda: found.unplug(evse),
            lambda: found.present(chance.choice("AB"), chance.choice((1, 2, None))),
            lambda: found.flow(chance.choice(("Charging", "SuspendedEV", "SuspendedEVSE")), evse),
            lambda: found.fact(StopButton(evse_id=evse)),
            lambda: found.fact(Fault(evse_id=chance.choice((0, 1, 2)), word="x", active=chance.random() < 0.5)),
            lambda: found.fact(WebPaymentRequested(evse_id=evse, limit=TransactionLimit(max_energy=5.0))),
            lambda: self.ask("SetDisplayMessage", message=message(chance.randint(1, 5), **chance.choice(STATES))),
            lambda: self.ask("ClearDisplayMessage", id=chance.randint(1, 5)),
            lambda: self.ask("ReserveNow", id=chance.randint(1, 3), expiryDateTime=expires, idToken=token, evseId=evse),
            lambda: self.ask("CancelReservation", reservationId=chance.randint(1, 3)),
            lambda: self.ask("ChangeAvailability", operationalStatus="Operative", evse={"id": evse}),
            lambda: self.ask("ChangeAvailability", operationalStatus="Inoperative", evse={"id": evse}),
            lambda: self.ask("RequestStartTransaction", evseId=evse, remoteStartId=5, idToken=token),
            lambda: self.ask("NotifyWebPaymentStarted", evseId=chance.choice((0, evse)), timeout=40),
            lambda: found.drop() if found.connected else found.back(),
            lambda: found.power_loss(),
            lambda: found.wait(chance.choice((1, 20, 100, 400))),
        )
        chance.choice(happenings)()

    def ask(self, action: str, **fields: Any) -> None:
        """The CSMS asks for something, while it can."""
        if self.found.connected:
            self.found.ask(action, fields)

    def shown(self) -> list[object]:
        """Everything that was shown so far."""
        return [each for each in self.found.commands if isinstance(each, ShowMessages | ShowQrCode)]


@pytest.mark.parametrize("seed", range(16))
def test_what_is_shown_is_never_out_of_date(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(STEPS):
        walk.step()
        walk.found.wait(0.01)  # a code that ends with this millisecond has ended
        before = walk.shown()
        walk.found.station.display.refresh()
        walk.found.station.web_payments.refresh()
        walk.found.run(walk.found.station.tick(walk.found.moment))
        assert walk.shown() == before
