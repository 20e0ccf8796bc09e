"""Our station and our back end agree about payments: codes, limits, settlements, VAT numbers."""

from csms.payments import store as rows
from csms.payments import work as payments
from tests.csms.backend import Backend
from tests.csms.fixtures import backend, csms
from tests.csms.scripted_station import Payload, ScriptedStation
from tests.station.bench import Bench
from tests.station.till import Till
from tests.station.web_payments import code_of
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g_station.blocks.evse import StopButton
from v2g_station.blocks.payment.terminal import VatEntered
from v2g_station.blocks.web_payment import WebPaymentRequested

__all__ = ["backend", "csms"]

IDENTITY = "CS-V2G-0001"
TEMPLATE = "https://pay.example/{chargingstationid}/{evse}/{totp}/{version}"
ASKED = ("SetVariables", "NotifyWebPaymentStarted", "RequestStartTransaction")


async def joined(csms: Backend, found: Bench) -> ScriptedStation:
    """Let the back end's questions reach a station on the bench, at the same time of day."""
    found.utc_ms = csms.clock.utc_ms()
    found.wait(0)
    wire = await csms.booted(IDENTITY, version="2.1")
    for action in ASKED:
        wire.answers[action] = lambda payload, action=action: found.ask(action, payload)  # type: ignore[misc]
    return wire


async def reported(wire: ScriptedStation, found: Bench, *actions: str) -> list[Payload]:
    """Let the back end have what the station has sent; return its answers."""
    sent = [(action, payload) for action, payload in found.unread if action in actions]
    found.clear()
    return [await wire.call(*each) for each in sent]


async def test_a_code_that_the_station_shows_is_read_and_its_limit_is_set_by_the_back_end(csms: Backend) -> None:
    found = Bench("2.1", identity=IDENTITY, optional=("WebPaymentsCtrlr",))
    wire = await joined(csms, found)
    await payments.configure(csms.services, wire.id, TEMPLATE)
    found.fact(WebPaymentRequested(evse_id=2, limit=TransactionLimit(max_energy=5000.0)))
    found.plug(2)
    url = code_of(found, 2)
    assert url is not None
    scan = await payments.scan(csms.services, wire.id, url)
    assert code_of(found, 2) is None
    found.clear()
    started = await payments.web_payment_paid(csms.services, scan.payment_id, "psp-1")
    assert started.response.status == "Accepted"
    event = found.unread[-1][1]
    assert event["transactionInfo"]["transactionLimit"] == {"maxEnergy": 5000.0}
    (answer,) = await reported(wire, found, "TransactionEvent")
    assert answer["transactionLimit"] == {"maxEnergy": 5000.0}


async def test_what_a_terminal_settled_is_known_to_the_back_end(csms: Backend) -> None:
    till = Till(cost=3.5)
    found = till.open(identity=IDENTITY)
    wire = await joined(csms, found)
    found.plug()
    till.present(found)
    found.answers["VatNumberValidation"] = {"vatNumber": "NL123456789B01", "status": "Accepted"}
    found.fact(VatEntered(evse_id=1, number="NL123456789B01"))
    found.flow(wh=1000)
    found.fact(StopButton(evse_id=1))
    till.serve(found)
    answers = await reported(wire, found, "VatNumberValidation", "TransactionEvent", "NotifySettlement")
    assert {"status": "Accepted", "vatNumber": "NL123456789B01", "evseId": 1}.items() <= answers[1].items()
    (settled,) = await csms.services.store.run(rows.list_settlements)
    assert (settled["psp_ref"], settled["status"], settled["amount"]) == ("psp-000001", "Settled", "3.5")
