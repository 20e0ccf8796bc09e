"""Payments (C18 to C25) and battery swapping (S): CSMS cases of OCPP 2.1, by the use cases that they name."""

import asyncio

import pytest
from sqlalchemy import update

from csms.accounts.rules import Role
from csms.db import leases
from csms.display import work as display
from csms.payments import store as rows
from csms.payments import work as payments
from csms.payments.config import Payments
from csms.remote_control import work as remote_control
from csms.transactions.work import TransactionWatch
from tests.csms.api.support import serving
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.customers import CUSTOMER, TOKENS, VALID, Start, accepted, request_of
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.csms.support import run_periodic
from v2g.errors import RefusedError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import MessageContent
from v2g.ocpp.messages.display import MessageInfo
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.ocpp.web_payment import QrCode, totp

SETTLED = {
    "pspRef": "psp-1", "transactionId": "tx-1", "status": "Settled", "settlementAmount": 12.34,
    "settlementTime": "2026-01-01T00:00:00Z",
}  # fmt: skip


PAID = {"idToken": "psp-1", "type": "DirectPayment"}
TERMINALS = Payments(terminals=True, receipt_url="https://pay.example/receipts/{receipt_id}")


async def at_a_terminal(csms: Backend) -> Charging:
    """Return a transaction that somebody paid for at the station's terminal."""
    charging = Charging(csms, await csms.booted(version="2.1"))
    assert (await charging.station.call("Authorize", {"idToken": PAID}))["idTokenInfo"]["status"] == "Accepted"
    answer = await charging.event("Started", "Authorized", token=PAID)
    assert answer["idTokenInfo"]["status"] == "Accepted"
    return charging


async def charged(charging: Charging) -> Payload:
    """Charge and leave; return the answer to the last event."""
    await charging.plugged()
    await charging.started()
    charging.wh += 5000
    return await charging.unplugged()


def settlement(charging: Charging, status: str = "Settled") -> Payload:
    """Return what the terminal settled."""
    return {**SETTLED, "transactionId": charging.id, "status": status}


async def test_vat_numbers_are_judged_by_their_form(csms: Backend) -> None:
    """C18.FR.09, C18.FR.10."""
    station = await csms.booted(version="2.1")
    good = await station.call("VatNumberValidation", {"vatNumber": "DE136695976", "evseId": 1})
    assert (good["status"], good["vatNumber"], good["evseId"]) == ("Accepted", "DE136695976", 1)
    bad = await station.call("VatNumberValidation", {"vatNumber": "DE1"})
    assert bad["status"] == "Rejected"
    assert "evseId" not in bad


async def test_what_is_due_is_told_and_its_receipt_shown(backend: Start) -> None:
    """C21.FR.05, C25.FR.41: what is due is reported to the provider's side, whose receipt is shown."""
    async with backend(payments=TERMINALS) as csms:
        charging = await at_a_terminal(csms)
        await charged(charging)
        (due,) = csms.events.named("payment_due")
        assert (due.data["psp_ref"], due.data["transaction"]) == ("psp-1", charging.id)
        charging.station.answers["SetDisplayMessage"] = accepted
        content = MessageContent(format="QRCODE", content="https://pay.example/receipts/1")
        info = MessageInfo(id=0, priority="InFront", message=content)
        await display.show(csms.services, charging.station.id, info)
        (shown,) = charging.station.payloads("SetDisplayMessage")
        assert shown["message"]["message"]["content"] == "https://pay.example/receipts/1"


async def test_a_settlement_has_one_receipt(backend: Start) -> None:
    """C21.FR.03."""
    async with backend(payments=TERMINALS) as csms:
        charging = await at_a_terminal(csms)
        await charged(charging)
        first = await charging.station.call("NotifySettlement", settlement(charging))
        assert first["receiptUrl"] == f"https://pay.example/receipts/{first['receiptId']}"
        assert len(first["receiptId"]) == 32, "nobody guesses another one"
        assert await charging.station.call("NotifySettlement", settlement(charging)) == first
        said = [each.name for each in csms.events.reported if each.name.startswith("payment_settled")]
        assert said == ["payment_settled", "payment_settled_again"]


@pytest.mark.parametrize("own", [{"receiptId": "R1"}, {"receiptUrl": "https://t.example/R1"}])
async def test_a_receipt_of_the_terminal_is_the_only_one(backend: Start, own: Payload) -> None:
    """C21.FR.04."""
    async with backend(payments=TERMINALS) as csms:
        charging = await at_a_terminal(csms)
        await charged(charging)
        assert await charging.station.call("NotifySettlement", settlement(charging) | own) == {}
        (kept,) = await csms.services.store.run(rows.list_settlements, charging.station.id)
        assert kept["receipt_id"] == own.get("receiptId", "")


@pytest.mark.parametrize("status", ["Failed", "Rejected"])
async def test_a_settlement_that_came_to_nothing_is_stored_and_has_no_receipt(backend: Start, status: str) -> None:
    """C22.FR.01, C22.FR.02."""
    async with backend(payments=TERMINALS) as csms:
        charging = await at_a_terminal(csms)
        await charged(charging)
        assert await charging.station.call("NotifySettlement", settlement(charging, status)) == {}
        (kept,) = await csms.services.store.run(rows.list_settlements, charging.station.id)
        assert (kept["status"], kept["transaction_id"]) == (status, charging.id)


async def kiosk(csms: Backend) -> Charging:
    """Return a transaction that was paid for at a terminal beside the station (C24.FR.01, C24.FR.02)."""
    charging = Charging(csms, await csms.booted(version="2.1"))
    charging.station.answers["RequestStartTransaction"] = accepted
    token = IdToken(id_token="psp-1", type="DirectPayment")
    limit = TransactionLimit(max_cost=20.0)
    started = await remote_control.start(csms.services, charging.station.id, token, evse_id=1, limit=limit)
    (sent,) = charging.station.payloads("RequestStartTransaction")
    assert (sent["evseId"], sent["idToken"]) == (1, PAID)
    info = {"transactionId": charging.id, "remoteStartId": started.remote_start_id}
    answer = await charging.event("Started", "RemoteStart", token=PAID, extra={"transactionInfo": info})
    assert answer["transactionLimit"] == {"maxCost": 20.0}
    assert answer["idTokenInfo"]["status"] == "Accepted"
    return charging


async def test_what_is_due_at_a_kiosk_is_told(csms: Backend) -> None:
    """C24.FR.10."""
    charging = await kiosk(csms)
    await charged(charging)
    (due,) = csms.events.named("payment_due")
    assert due.data["psp_ref"] == "psp-1"


@pytest.mark.parametrize("end", ["closed", "repeated"])
async def test_what_is_due_at_a_kiosk_is_told_also_where_the_end_is_lost(csms: Backend, end: str) -> None:
    charging = await kiosk(csms)
    await charging.plugged()
    await charging.started()
    charging.wh += 100
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    if end == "closed":  # the station forgot it
        await TransactionWatch(csms.services).close(charging.station.id, charging.id, "operator")
        assert len(csms.events.named("payment_due")) == 1
        return
    now_ms = csms.clock.now_ms
    for number in (1, 2):  # its answer was lost, maybe since this program was killed before it told
        csms.clock.now_ms = now_ms
        charging.seq_no = 10
        await charging.event("Ended", "EVDeparted", seq_no=10, context="Transaction.End")
        assert len(csms.events.named("payment_due")) == number


@pytest.mark.requirement("R194")
async def test_what_is_held_is_due_at_a_kiosk_once_it_is_released(csms: Backend) -> None:
    charging = await kiosk(csms)
    await charging.plugged()
    await charging.started()
    charging.wh += 5_000_000
    await charging.unplugged()
    assert csms.events.named("payment_due") == []
    async with serving(csms) as ask:
        for _ in range(2):
            note = {"note": "looked at it"}
            path = f"/books/quarantine/{charging.id}/release"
            assert (await ask("POST", path, note, role=Role.BILLING)).status == 200
            (due,) = csms.events.named("payment_due")
            assert due.data["psp_ref"] == "psp-1"


async def test_what_a_station_worked_out_is_due_at_a_kiosk(csms: Backend) -> None:
    """C24.FR.10; the station shows the cost (I12)."""
    charging = await kiosk(csms)
    await charging.plugged()
    await charging.started()
    charging.wh += 5000
    total = {"currency": "EUR", "typeOfCost": "NormalCost", "total": {"exclTax": 2.0, "inclTax": 2.5}}
    usage = {"energy": 5000.0, "chargingTime": 60, "idleTime": 0}
    answer = await charging.unplugged(extra={"costDetails": {"totalCost": total, "totalUsage": usage}})
    assert answer["totalCost"] == 2.5
    assert len(csms.events.named("payment_due")) == 1


async def test_whoever_says_to_have_paid_is_believed_where_there_is_a_terminal_only(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    assert (await station.call("Authorize", {"idToken": PAID}))["idTokenInfo"]["status"] == "Unknown"


async def test_a_settlement_is_kept_once_however_often_it_is_sent(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    assert await station.call("NotifySettlement", SETTLED) == {}
    assert await station.call("NotifySettlement", SETTLED) == {}
    failed = {**SETTLED, "status": "Failed", "settlementTime": "2026-01-01T00:01:00Z"}
    assert await station.call("NotifySettlement", failed) == {}
    assert await csms.services.store.run(rows.list_settlements, "CS-V2G-0002") == []
    kept = await csms.services.store.run(rows.list_settlements, station.id)
    assert sorted((each["status"], each["amount"]) for each in kept) == [("Failed", "12.34"), ("Settled", "12.34")]
    assert await station.call("NotifySettlement", SETTLED | {"pspRef": "psp-2"}) == {}
    other = await csms.booted("CS-V2G-0002", version="2.1")
    assert await other.call("NotifySettlement", SETTLED) == {}
    kept = await csms.services.store.run(rows.list_settlements)
    assert sorted((each["station_id"], each["psp_ref"]) for each in kept) == [
        (station.id, "psp-1"), (station.id, "psp-1"), (station.id, "psp-2"), (other.id, "psp-1"),
    ]  # fmt: skip


async def test_a_payment_on_the_web_starts_a_transaction_with_its_limit(csms: Backend) -> None:
    """C25.FR.21, C25.FR.23, C25.FR.24."""
    station = await csms.booted(version="2.1")
    station.answers |= {"NotifyWebPaymentStarted": {}, "RequestStartTransaction": accepted}
    number = await payments.web_payment_started(csms.services, station.id, 1, 120)
    assert station.payloads("NotifyWebPaymentStarted") == [{"evseId": 1, "timeout": 120}]
    started = await payments.web_payment_paid(csms.services, number, "psp-1", TransactionLimit(max_cost=20.0))
    sent = station.payloads("RequestStartTransaction")[0]
    assert (sent["evseId"], sent["idToken"]) == (1, {"idToken": "psp-1", "type": "DirectPayment"})
    charging = Charging(csms, station)
    info = {"transactionId": charging.id, "remoteStartId": started.remote_start_id}
    answer = await charging.event("Started", "RemoteStart", extra={"transactionInfo": info})
    assert answer["transactionLimit"] == {"maxCost": 20.0}
    assert await payments.web_payment_paid(csms.services, number, "psp-1") == started
    with pytest.raises(RefusedError, match="no pending payment"):
        await payments.web_payment_paid(csms.services, number, "psp-2")
    assert len(station.payloads("RequestStartTransaction")) == 1


TEMPLATE = "https://pay.example/{chargingstationid}/{evse}/{totp}/{version}"


async def with_codes(csms: Backend, *, reboots: bool = False, refused: str = "") -> tuple[ScriptedStation, QrCode]:
    """Return a station that shows codes unless it refuses a variable, and how it makes them."""
    station = await csms.booted(version="2.1")
    variables: dict[str, str] = {}

    def take(request: Payload) -> Payload:
        for each in request["setVariableData"]:
            variables[each["variable"]["name"]] = each["attributeValue"]
        status = "RebootRequired" if reboots else "Accepted"
        return {
            "setVariableResult": [
                {
                    "attributeStatus": "Rejected" if each["variable"]["name"] == refused else status,
                    "component": each["component"],
                    "variable": each["variable"],
                }
                for each in request["setVariableData"]
            ]
        }

    station.answers |= {"SetVariables": take, "NotifyWebPaymentStarted": {}, "RequestStartTransaction": accepted}
    results = await payments.configure(csms.services, station.id, TEMPLATE)
    assert {each.variable.name for each in results} == set(variables)
    assert (variables["TOTPVersion"], variables["Enabled"]) == ("v1", "true")
    assert variables["SharedSecret"] not in str(csms.events.reported)
    return station, QrCode(
        template=variables["URLTemplate"],
        shared_secret=variables["SharedSecret"],
        validity_s=int(variables["ValidityTime"]),
        length=int(variables["Length"]),
    )


@pytest.mark.parametrize("reboots", [False, True])
async def test_a_qr_code_is_paid_once_and_limits_the_transaction(csms: Backend, reboots: bool) -> None:
    """C25.FR.07, C25.FR.09, C25.FR.20 to .24, C25.FR.40, C25.FR.59."""
    station, code = await with_codes(csms, reboots=reboots)
    url = f"https://pay.example/{station.id}/2/{totp(code, csms.clock.utc_ms())}/v1?maxenergy=5000"
    scan = await payments.scan(csms.services, station.id, url)
    assert station.payloads("NotifyWebPaymentStarted") == [{"evseId": 2, "timeout": 300}]
    with pytest.raises(RefusedError, match="already") as caught:
        await payments.scan(csms.services, station.id, url)
    assert caught.value.reason == "under_way"
    await payments.scan(csms.services, station.id, url.replace("/2/", "/1/"))  # another plug is free
    started = await payments.web_payment_paid(csms.services, scan.payment_id, "psp-1")
    charging = Charging(csms, station)
    info = {"transactionId": charging.id, "remoteStartId": started.remote_start_id}
    token = {"idToken": "psp-1", "type": "DirectPayment"}
    answer = await charging.event("Started", "RemoteStart", extra={"transactionInfo": info}, token=token)
    assert answer["transactionLimit"] == {"maxEnergy": 5000.0}
    await charging.event("Ended", "EVDeparted", stopped="EVDisconnected")
    (due,) = csms.events.named("payment_due")
    assert due.data["psp_ref"] == "psp-1"


async def test_an_address_without_an_evse_is_of_the_only_one(csms: Backend) -> None:
    station, _ = await with_codes(csms)
    await payments.stick(csms.services, station.id, "https://pay.example/s/{chargingstationid}")
    await payments.scan(csms.services, station.id, f"https://pay.example/s/{station.id}")
    assert station.payloads("NotifyWebPaymentStarted") == [{"evseId": 1, "timeout": 300}]


async def test_a_station_shows_no_codes_without_their_password(csms: Backend) -> None:
    """C25.FR.01: anybody could copy them."""
    station = await csms.booted(version="2.1")
    with pytest.raises(RefusedError) as caught:
        await payments.configure(csms.services, station.id, "https://pay.example/{chargingstationid}/{evse}")
    assert caught.value.reason == "template"
    assert station.payloads("SetVariables") == []


async def test_codes_that_a_station_does_not_show_are_not_read(csms: Backend) -> None:
    station, code = await with_codes(csms, refused="SharedSecret")
    shown = f"https://pay.example/{station.id}/1/{totp(code, csms.clock.utc_ms())}/v1"
    with pytest.raises(RefusedError, match="has no QR codes"):
        await payments.scan(csms.services, station.id, shown)


async def test_a_sticker_names_no_one_time_password(csms: Backend) -> None:
    with pytest.raises(RefusedError) as caught:
        await payments.stick(csms.services, "CS-V2G-0001", TEMPLATE)
    assert caught.value.reason == "template"


async def test_a_sticker_has_no_one_time_password(csms: Backend) -> None:
    """C25, second scenario: a sticker has no one-time password; one that is shown is none of it."""
    station, code = await with_codes(csms)
    await payments.stick(csms.services, station.id, "https://pay.example/s/{chargingstationid}/{evse}")
    scan = await payments.scan(csms.services, station.id, f"https://pay.example/s/{station.id}/1")
    assert station.payloads("NotifyWebPaymentStarted") == [{"evseId": 1, "timeout": 300}]
    started = await payments.web_payment_paid(csms.services, scan.payment_id, "psp-1")
    assert started.response.status == "Accepted"
    shown = f"https://pay.example/{station.id}/1/{totp(code, csms.clock.utc_ms())}/v1"
    for url in (shown, "https://pay.example/s/CS-V2G-0002/1"):
        with pytest.raises(RefusedError):
            await payments.scan(csms.services, station.id, url)


async def test_a_qr_code_of_other_parameters_is_refused(csms: Backend) -> None:
    """C25.FR.09."""
    station, code = await with_codes(csms)
    now = totp(code, csms.clock.utc_ms())
    for url in (
        f"https://pay.example/CS-V2G-0002/1/{now}/v1",
        f"https://pay.example/{station.id}/{now}/v1",
        f"https://pay.example/{station.id}/one/{now}/v1",
        f"https://pay.example/{station.id}/1/{now}/v2",
    ):
        with pytest.raises(RefusedError):
            await payments.scan(csms.services, station.id, url)
    assert station.payloads("NotifyWebPaymentStarted") == []


async def test_a_qr_code_expires(csms: Backend) -> None:
    """C25.FR.08."""
    station, code = await with_codes(csms)
    good = f"https://pay.example/{station.id}/1/{totp(code, csms.clock.utc_ms())}/v1"
    csms.clock.advance(120)
    for url in (good, f"https://pay.example/{station.id}/1/00000000/v1"):
        with pytest.raises(RefusedError, match="expired") as caught:
            await payments.scan(csms.services, station.id, url)
        assert caught.value.reason == "totp"
    assert [each.data["evse"] for each in csms.events.named("qr_code_refused")] == [1, 1]
    with pytest.raises(RefusedError, match="has no QR codes") as caught:
        await payments.scan(csms.services, "CS-V2G-0002", good)
    assert caught.value.reason == "no_codes"
    assert station.payloads("NotifyWebPaymentStarted") == []


async def test_a_payment_that_is_reported_twice_at_once_starts_one_transaction(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers |= {"NotifyWebPaymentStarted": {}, "RequestStartTransaction": accepted}
    number = await payments.web_payment_started(csms.services, station.id, 1, 120)
    paid = [payments.web_payment_paid(csms.services, number, "psp-1") for _ in range(2)]
    answers = await asyncio.gather(*paid, return_exceptions=True)
    assert len([each for each in answers if not isinstance(each, BaseException)]) >= 1
    assert len(station.payloads("RequestStartTransaction")) == 1


@pytest.mark.requirement("R218")
async def test_a_payment_whose_start_the_station_refuses_has_that_answer_however_often_it_is_reported(
    csms: Backend,
) -> None:
    """A provider whose answer was lost is not to look for a payment that it knows."""
    station = await csms.booted(version="2.1")
    station.answers |= {"NotifyWebPaymentStarted": {}, "RequestStartTransaction": {"status": "Rejected"}}
    number = await payments.web_payment_started(csms.services, station.id, 1, 120)
    refused = await payments.web_payment_paid(csms.services, number, "psp-1")
    assert refused.response.status == "Rejected"
    assert await payments.web_payment_paid(csms.services, number, "psp-1") == refused
    with pytest.raises(RefusedError, match="no pending payment"):
        await payments.web_payment_paid(csms.services, number, "psp-2")
    assert len(station.payloads("RequestStartTransaction")) == 1
    csms.clock.advance(600)
    await run_periodic(csms.services)
    assert csms.events.named("payment_unused") == [], "the provider has its answer"


async def test_a_payment_for_a_station_that_is_away_for_a_moment_can_be_reported_again(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers |= {"NotifyWebPaymentStarted": {}, "RequestStartTransaction": accepted}
    number = await payments.web_payment_started(csms.services, station.id, 1, 120)
    await csms.leave(station)
    with pytest.raises(RefusedError, match="not connected"):
        await payments.web_payment_paid(csms.services, number, "psp-1")
    station = await csms.join(station.id, "2.1")
    station.answers |= {"RequestStartTransaction": accepted}
    assert (await payments.web_payment_paid(csms.services, number, "psp-1")).response.status == "Accepted"


async def paid_as_the_node_ends(csms: Backend, station: ScriptedStation) -> None:
    """Leave what is stored where a node is killed between a payment and its remote start."""
    number = await payments.web_payment_started(csms.services, station.id, 1, 120)
    about = number, "psp-1", TransactionLimit(max_cost=20.0), csms.clock.utc_ms()
    assert await csms.services.store.run(rows.pay, *about) is not None


@pytest.mark.requirement("R218")
async def test_a_payment_whose_node_ended_before_the_start_is_started_once(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers |= {"NotifyWebPaymentStarted": {}, "RequestStartTransaction": accepted}
    await paid_as_the_node_ends(csms, station)
    alive_s = csms.services.config.ocpp.call_timeout_s + 10
    for seconds in (0, alive_s - 1):
        csms.clock.advance(seconds)
        await run_periodic(csms.services)
        assert not station.payloads("RequestStartTransaction"), "its node may be alive"
    with pytest.raises(RefusedError, match="is being started") as caught:  # its provider got no answer, and repeats it
        await payments.web_payment_paid(csms.services, 1, "psp-1")
    assert caught.value.reason == "under_way"
    for seconds in (1, 60, 60):
        csms.clock.advance(seconds)
        await asyncio.gather(run_periodic(csms.services), run_periodic(csms.services))
    (sent,) = station.payloads("RequestStartTransaction")
    charging = Charging(csms, station)
    info = {"transactionId": charging.id, "remoteStartId": sent["remoteStartId"]}
    answer = await charging.event("Started", "RemoteStart", extra={"transactionInfo": info}, token=PAID)
    assert answer["transactionLimit"] == {"maxCost": 20.0}
    csms.clock.advance(86_400)
    await run_periodic(csms.services)
    assert csms.events.named("payment_unused") == []


@pytest.mark.requirement("R218")
@pytest.mark.parametrize("ended", [False, True], ids=["started", "node ended"])
async def test_a_payment_without_a_vehicle_is_said_to_be_unused_once(csms: Backend, ended: bool) -> None:
    station = await csms.booted(version="2.1")
    station.answers |= {"NotifyWebPaymentStarted": {}, "RequestStartTransaction": accepted}
    if ended:
        station.answers["RequestStartTransaction"] = {"status": "Rejected"}  # it may have begun: it is awaited
        await paid_as_the_node_ends(csms, station)
        csms.clock.advance(60)
        await run_periodic(csms.services)
        assert len(station.payloads("RequestStartTransaction")) == 1
    else:
        number = await payments.web_payment_started(csms.services, station.id, 1, 120)
        await payments.web_payment_paid(csms.services, number, "psp-1")
    csms.clock.advance(500)
    await run_periodic(csms.services)
    assert csms.events.named("payment_unused") == []
    csms.clock.advance(100)
    for _ in range(2):
        await asyncio.gather(run_periodic(csms.services), run_periodic(csms.services))
    (unused,) = csms.events.named("payment_unused")
    assert (unused.stage, unused.data) == ("ocpp", unused.data | {"payment": 1, "psp_ref": "psp-1", "evse": 1})
    assert (await station.call("Authorize", {"idToken": PAID}))["idTokenInfo"]["status"] == "Unknown"


async def test_a_payment_that_an_earlier_version_left_without_a_remote_start_is_given_back(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers |= {"NotifyWebPaymentStarted": {}}
    number = await payments.web_payment_started(csms.services, station.id, 1, 120)
    paid = update(rows.web_payments).values(state="Paid")
    await csms.services.store.run(lambda connection: connection.execute(paid) and None)
    for seconds in (599, 1):
        assert csms.events.named("payment_unused") == []
        csms.clock.advance(seconds)
        await run_periodic(csms.services)
    (unused,) = csms.events.named("payment_unused")
    assert (unused.data["payment"], unused.data["psp_ref"]) == (number, "")
    assert station.payloads("RequestStartTransaction") == []


async def test_a_payment_whose_session_begins_as_it_is_given_back_is_not(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers |= {"NotifyWebPaymentStarted": {}, "RequestStartTransaction": accepted}
    number = await payments.web_payment_started(csms.services, station.id, 1, 120)
    started = await payments.web_payment_paid(csms.services, number, "psp-1")
    (read,) = await csms.services.store.read(rows.awaited, 0)
    charging = Charging(csms, station)
    info = {"transactionId": charging.id, "remoteStartId": started.remote_start_id}
    await charging.event("Started", "RemoteStart", extra={"transactionInfo": info}, token=PAID)
    assert not await csms.services.store.run(rows.give_back, read)
    assert await payments.web_payment_paid(csms.services, number, "psp-1") == started


async def test_one_node_looks_after_payments(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers |= {"NotifyWebPaymentStarted": {}, "RequestStartTransaction": accepted}
    number = await payments.web_payment_started(csms.services, station.id, 1, 120)
    await payments.web_payment_paid(csms.services, number, "psp-1")
    csms.clock.advance(600)
    now_ms = csms.clock.utc_ms()
    assert await csms.services.store.run(leases.take, "web payments", "other node", now_ms, now_ms + 15_000)
    await run_periodic(csms.services)
    assert csms.events.named("payment_unused") == []
    csms.clock.advance(15)
    await run_periodic(csms.services)
    assert len(csms.events.named("payment_unused")) == 1


async def test_a_payment_that_takes_too_long_is_over(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers["NotifyWebPaymentStarted"] = {}
    number = await payments.web_payment_started(csms.services, station.id, 1, 120)
    csms.clock.advance(120)
    await run_periodic(csms.services)
    with pytest.raises(RefusedError, match="no pending payment"):
        await payments.web_payment_paid(csms.services, number, "psp-1")


@pytest.mark.requirement("R43")
async def test_tc_s_102_csms_swap_not_enough_batteries(backend: Start) -> None:
    """S02.FR.04."""
    async with backend(tokens=TOKENS) as csms:
        station = await csms.booted(version="2.1")
        none = {"status": "Rejected", "statusInfo": {"reasonCode": "NoBatteryAvailable"}}
        station.answers["RequestBatterySwap"] = none
        asked = await payments.request_battery_swap(csms.services, station.id, CUSTOMER)
        assert station.payloads("RequestBatterySwap") == [{"idToken": VALID, "requestId": asked.request_id}]
        noted = await request_of(csms, asked.request_id)
        assert (noted["answer"], noted["detail"]) == ("Rejected", "NoBatteryAvailable")


@pytest.mark.requirement("R43")
async def test_tc_s_103_csms_swap(backend: Start) -> None:
    """S02.FR.01 to .03, S03.FR.01."""
    async with backend(tokens=TOKENS) as csms:
        station = await csms.booted(version="2.1")
        station.answers["RequestBatterySwap"] = accepted
        asked = await payments.request_battery_swap(csms.services, station.id, CUSTOMER)
        battery = {"evseId": 2, "serialNumber": "B-1", "soC": 12.5, "soH": 98.0}
        for event in ("BatteryIn", "BatteryOut"):
            swap = {"batteryData": [battery], "eventType": event, "idToken": VALID, "requestId": asked.request_id}
            for _ in range(2):  # the first answer was lost
                assert await station.call("BatterySwap", swap) == {}
        swaps = await csms.services.store.run(rows.list_swaps, None, 10, station.id, asked.request_id)
        assert [each["event"] for each in swaps] == ["BatteryIn", "BatteryOut"]
        about = {"request_id": asked.request_id, "batteries": "B-1"}
        assert [each.data for each in csms.events.named("battery_swap")] == [
            each.data | about | {"change": change}
            for each, change in zip(csms.events.named("battery_swap"), ("BatteryIn", "BatteryOut"), strict=True)
        ]
        with pytest.raises(Refused, match="PropertyConstraintViolation"):
            await station.call("BatterySwap", swap | {"batteryData": [battery | {"evseId": 2**31}]})
        with pytest.raises(RefusedError, match="Unknown") as caught:
            await payments.request_battery_swap(csms.services, station.id, IdToken(id_token="X", type="Central"))
        assert caught.value.reason == "unauthorized"
        assert len(station.payloads("RequestBatterySwap")) == 1
