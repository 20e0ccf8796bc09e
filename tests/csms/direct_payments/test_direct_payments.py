"""Charging paid for from a driver's page: what is held is taken once or released, whatever fails in between."""

import asyncio
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
import pytest_asyncio

from csms.accounts.rules import Role
from csms.app import running
from csms.booking import held
from csms.config import look
from csms.db.store import Store
from csms.direct_payments import store as rows
from csms.direct_payments.work import DirectClient
from csms.drivers.work import evse_address
from csms.payments.config import DirectPaymentConfig, Payments
from csms.remote_control.work import AWAY_MS, SETTLED_MS
from csms.retention.store import delete_old
from csms.tariffs import store as tariffs
from pki_tools.tree import PkiTree
from tests.csms.api.support import serving
from tests.csms.charging import Charging
from tests.csms.console.support import Person, console, text_of
from tests.csms.direct_payments.paying import NAME, World, charged, paying
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Refused, ScriptedStation
from tests.csms.support import make_config
from v2g.energy.settlement.costing import Bill
from v2g.errors import ConfigError, RefusedError
from v2g.pki.keys import save_secret

START_MS = 600_000


@pytest_asyncio.fixture
async def world(backend: Start, tmp_path: Path) -> AsyncIterator[World]:
    async with paying(backend, tmp_path) as made:
        yield made


@pytest.mark.some(8)
@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize("lost", range(7))
@pytest.mark.requirement("R218")
@pytest.mark.some(3)
async def test_a_session_is_paid_once_whatever_answer_is_lost(world: World, version: str, lost: int) -> None:
    """`lost`: which answer of the provider never arrives; 6: none. After each step the program begins anew."""
    provider = world.provider
    station = await world.station(version)
    provider.lost = int(lost == 0)
    await world.begin()
    assert await world.steps(2) == "pending"
    assert provider.held == 0
    provider.approve()
    provider.down = int(lost == 1)
    assert await world.steps(3) == "starting"
    (asked,) = station.payloads("RequestStartTransaction")
    assert asked["idToken"]["type"] == ("DirectPayment" if version == "2.1" else "Central")
    assert (await station.call("Authorize", {"idToken": asked["idToken"]}))["idTokenInfo"]["status"] == "Accepted"
    assert provider.held == 30
    charging = await charged(world, station)
    assert await world.steps() == "running"
    await charging.unplugged()
    provider.lost, provider.down = int(lost in (2, 3)), int(lost in (4, 5))
    if lost in (3, 5):  # not that of the capture, but of the release
        provider.lost, provider.down = 0, 0
        await world.steps(2)
        provider.lost, provider.down = int(lost == 3), int(lost == 5)
    assert await world.steps() == "settled"
    assert provider.taken == 6, "10 kWh at 0.60 with tax"
    assert provider.held == 0
    assert len(provider.holds) == len(station.payloads("RequestStartTransaction")) == 1
    again = await station.call("Authorize", {"idToken": asked["idToken"]})
    assert again["idTokenInfo"]["status"] != "Accepted", "its payment is over"


async def paid_until_the_end(world: World, station: ScriptedStation | None = None) -> None:
    station = station or await world.station()
    await world.begin()
    world.provider.approve()
    await world.steps()
    charging = await charged(world, station)
    await world.steps()
    await charging.unplugged()


async def test_what_cannot_be_captured_is_released(world: World) -> None:
    await paid_until_the_end(world)
    world.provider.refused = "captures"
    assert await world.steps() == "released"
    assert world.provider.taken == world.provider.held == 0
    assert (await world.now()).captured_micro == 0
    assert "the hold is over" in (await world.now()).reason


async def test_what_was_captured_is_paid_although_the_rest_cannot_be_released(world: World) -> None:
    """Some providers release the rest of a hold by its capture."""
    await paid_until_the_end(world)
    world.provider.refused = "releases"
    assert await world.steps() == "settled"
    assert world.provider.taken == 6


async def test_what_the_provider_cannot_release_has_failed(world: World) -> None:
    await world.station()
    await world.begin()
    world.later(START_MS)
    world.provider.refused = "releases"
    assert await world.steps() == "failed"
    assert "the hold is over" in (await world.now()).reason


@pytest.mark.parametrize(("decision", "state", "taken"), [("released", "settled", 12), ("rejected", "released", 0)])
async def test_a_held_session_waits_for_a_person_and_then_is_paid_or_released(
    world: World, decision: Literal["released", "rejected"], state: str, taken: int
) -> None:
    """Money of a driver would be on hold for ever, and a session that was released would never be paid."""
    station = await world.station()
    await world.begin()
    world.provider.approve()
    await world.steps()
    charging = await charged(world, station)
    charging.wh = 0  # the meter began anew
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    world.later(3_600_000)
    charging.wh += 10_000
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    world.later(3_600_000)
    charging.wh += 10_000
    await charging.unplugged()
    await station_said(world, charging, 3_000_000, final=True)
    assert await world.steps() == "running"
    run, key = world.csms.services.store.run, (NAME, charging.id)
    await run(held.decide, *key, decision, "ada", "as the meter says", world.csms.clock.utc_ms())
    if decision == "released":
        await run(tariffs.release_cost, *key, world.csms.clock.utc_ms())
    assert await world.steps() == state
    assert (world.provider.taken, world.provider.held) == (taken, 0)


async def station_said(world: World, charging: Charging, micro: int, *, final: bool) -> None:
    """Leave the cost that a station has calculated: where its node is killed nobody has looked at the session yet."""
    bill, now_ms = Bill(currency="EUR", incl_tax=micro), world.csms.clock.utc_ms()
    about = NAME, charging.id, bill, "{}", now_ms
    await world.csms.services.store.run(tariffs.save_cost, *about, final=final, source="station")


@pytest.mark.parametrize(("micro", "state", "taken"), [(12_000_000, "settled", 12), (-2_000_000, "released", 0)])
async def test_what_a_station_calculated_is_taken_once_it_is_final(
    world: World, micro: int, state: str, taken: int
) -> None:
    station = await world.station()
    await world.begin()
    world.provider.approve()
    await world.steps()
    charging = await charged(world, station)
    await charging.unplugged()
    await station_said(world, charging, 3_000_000, final=False)
    assert await world.steps() == "running", "the session went on after that"
    await station_said(world, charging, micro, final=True)
    assert await world.steps() == state
    assert (world.provider.taken, world.provider.held) == (taken, 0)


def in_crowns(net: float, gross: float) -> dict[str, Any]:
    """Return a station's own calculation of a session in CZK."""
    total = {"currency": "CZK", "typeOfCost": "NormalCost", "total": {"exclTax": net, "inclTax": gross}}
    usage = {"energy": 10_000.0, "chargingTime": 3600, "idleTime": 0}
    return {"costDetails": {"totalCost": total, "totalUsage": usage}}


@pytest.mark.parametrize(("amount", "state"), [("4.2", "settled"), ("0", "released")])
async def test_an_operator_settles_what_has_a_cost_in_another_currency(world: World, amount: str, state: str) -> None:
    station = await world.station()
    await world.begin()
    world.provider.approve()
    await world.steps()
    charging = await charged(world, station)
    extra = in_crowns(100.0, 120.0)
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic", extra=extra)
    assert await world.steps() == "running"
    await charging.unplugged(extra=extra)
    assert await world.steps() == "held"
    assert (world.provider.taken, world.provider.held) == (0, 30)
    async with serving(world.csms) as ask:
        (listed,) = (await ask("GET", "/payments/direct?state=held", role=Role.BILLING)).json
        assert listed["reason"] == "the session costs 120.00 CZK"
        path = f"/payments/direct/{listed['id']}/settle"
        for wrong in ("30.01", "1.005"):
            too_much = {"amount": wrong, "note": "at 28.57"}
            assert (await ask("POST", path, too_much, role=Role.BILLING)).status == 400
        decision = {"amount": amount, "note": "at 28.57"}
        assert (await ask("POST", path, decision, role=Role.BILLING)).status == 200
        assert await world.steps() == state
        assert (await ask("POST", path, decision, role=Role.BILLING)).status == 409
    assert (world.provider.taken, world.provider.held) == (Decimal(amount), 0)


async def test_the_next_driver_may_pay_while_an_ended_session_is_settled(world: World) -> None:
    await paid_until_the_end(world)
    world.provider.down = 8
    assert await world.steps(3) == "capturing"
    world.provider.down = 0
    assert (await world.begin()).id == 2


async def first_charges(world: World, station: ScriptedStation) -> Charging:
    await world.begin()
    world.provider.approve()
    await world.steps(3)
    charging = await charged(world, station)
    await world.steps(1)
    return charging


async def test_a_second_payer_pays_for_no_session_of_the_first(world: World) -> None:
    """Both scan the code; the first is charging when the second one approves, and nothing is asked of the station."""
    station = await world.station()
    charging = await first_charges(world, station)
    second = await world.begin()
    world.provider.approve()
    await world.steps()
    assert (await world.now(second.id)).state == "released"
    assert len(station.payloads("RequestStartTransaction")) == 1
    await charging.unplugged()
    assert await world.steps() == "settled"
    assert (world.provider.taken, world.provider.held) == (6, 0)


async def test_a_station_that_links_two_starts_to_one_session_has_it_paid_once(world: World) -> None:
    station = await world.station()
    charging = await first_charges(world, station)
    await charging.unplugged()  # the connector is free, and its last reading is yet to be paid
    world.provider.down = 100
    await world.steps(2)
    world.provider.down = 0
    payment = await world.begin()
    world.provider.approve()
    await world.steps(3)
    number = station.payloads("RequestStartTransaction")[-1]["remoteStartId"]
    info = {"transactionId": charging.id, "remoteStartId": number}
    await charging.event("Updated", "RemoteStart", extra={"transactionInfo": info})
    world.later(START_MS)
    await world.steps()
    assert ((await world.now()).state, (await world.now(payment.id)).state) == ("settled", "released")
    assert (world.provider.taken, world.provider.held) == (6, 0)


@pytest.mark.parametrize(("amount", "currency"), [("30.50", "JPY"), ("1.005", "EUR")])
def test_an_amount_that_cannot_be_paid_is_refused(amount: str, currency: str, tmp_path: Path, pki: PkiTree) -> None:
    direct = DirectPaymentConfig(url="https://pay.example", secret_file=tmp_path, amount=amount, currency=currency)
    config = make_config(tmp_path, pki, payments=Payments(direct=direct))
    flaws = {place: why for place, why, _ in look(config)}
    assert "cannot be paid" in flaws["payments", "direct", "amount"]


async def test_a_declined_payment_starts_nothing(world: World) -> None:
    station = await world.station()
    await world.begin()
    world.provider.approve("ended", "the card has expired")
    assert await world.steps() == "failed"
    assert (await world.now()).reason == "the card has expired"
    assert station.payloads("RequestStartTransaction") == []
    await world.begin()
    assert len(world.provider.holds) == 2, "somebody else may pay now"


async def test_a_payment_that_the_provider_refuses_has_failed(world: World) -> None:
    await world.station()
    world.provider.refused = "authorizations"
    refused = await world.begin()
    assert (refused.state, "the hold is over" in refused.reason) == ("failed", True)
    asked = len(world.provider.requests)
    assert await world.steps() == "failed"
    assert len(world.provider.requests) == asked, "it is final"


async def test_a_payment_that_nobody_approves_ends_and_is_released(world: World) -> None:
    await world.station()
    await world.begin()
    with pytest.raises(RefusedError, match="somebody pays"):
        await world.begin()
    world.later(START_MS)
    assert await world.steps() == "released"
    assert world.provider.taken == world.provider.held == 0


async def test_a_vehicle_that_never_comes_costs_nothing(world: World) -> None:
    station = await world.station()
    await world.begin()
    world.provider.approve()
    await world.steps()
    world.later(START_MS - 1000)
    assert await world.steps() == "starting"
    world.later(1000)
    assert await world.steps() == "released"
    assert world.provider.taken == world.provider.held == 0
    token = station.payloads("RequestStartTransaction")[0]["idToken"]
    late = await station.call("Authorize", {"idToken": token})
    assert late["idTokenInfo"]["status"] != "Accepted", "a vehicle that comes later does not charge for nothing"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("Rejected", "the station answered Rejected"), ("error", "out of order"), ("offline", "is not connected")],
)
async def test_a_station_that_does_not_start_lets_all_be_released(world: World, answer: str, reason: str) -> None:
    station = await world.station(status="Rejected")
    if answer == "error":
        station.answers["RequestStartTransaction"] = Refused("InternalError", "out of order")
    await world.begin()
    world.provider.approve()
    if answer == "offline":
        await world.csms.leave(station)
        await world.steps()
        world.later(SETTLED_MS - 1000)
        await world.work.step()
        assert (await world.now()).state == "authorized", "it is waited for"
        world.later(1000)
        await world.work.step()
    assert await world.steps() == "released"
    assert reason in (await world.now()).reason
    assert world.provider.taken == world.provider.held == 0


@pytest.mark.parametrize("back", [False, True])
async def test_a_station_that_is_away_is_waited_for_however_long_the_program_runs(world: World, back: bool) -> None:
    station = await world.station()
    world.later(SETTLED_MS)
    await world.begin()
    world.provider.approve()
    await world.csms.leave(station)
    for ms in (0, 0, SETTLED_MS - 1000):
        world.later(ms)
        await world.work.step()
        assert (await world.now()).state == "authorized"
    world.later(1000)
    if back:
        await world.station()
    await world.work.step()
    assert (await world.now()).state == ("starting" if back else "releasing")


async def test_what_was_approved_long_before_the_program_runs_again_starts_nothing(world: World) -> None:
    """Its driver has left: another vehicle would charge for the money."""
    station = await world.station()
    await world.begin()
    world.provider.approve()
    assert await world.steps(1) == "authorized"
    world.later(START_MS)
    assert await world.steps() == "released"
    assert (await world.now()).reason == "it was not started in time"
    assert station.payloads("RequestStartTransaction") == []
    assert world.provider.held == 0


async def test_a_station_that_goes_away_after_the_start_may_still_report_its_session(world: World) -> None:
    station = await world.station()
    await world.begin()
    world.provider.approve()
    await world.steps()
    asked = station.payloads("RequestStartTransaction")[0]
    await world.csms.leave(station)
    world.later(AWAY_MS - 1000)
    await world.work.step()
    assert (await world.now()).state == "starting", "it may have begun"
    back = await world.station()
    world.later(SETTLED_MS - 1000)
    assert await world.steps() == "starting", "what it has kept is on the way, also to a program that has just begun"
    back.calls.append(("RequestStartTransaction", asked))
    charging = await charged(world, back)
    await charging.unplugged()
    assert await world.steps() == "settled"
    assert world.provider.taken == 6


async def test_a_session_that_names_its_token_alone_is_paid(world: World) -> None:
    """1.6 has no remoteStartId, and the bridge forgets it when the station is away before the vehicle comes."""
    station = await world.station("2.0.1")
    await world.begin()
    world.provider.approve()
    await world.steps()
    (asked,) = station.payloads("RequestStartTransaction")
    charging = Charging(world.csms, station)
    await charging.event("Started", "Authorized", context="Transaction.Begin", token=asked["idToken"], state="Charging")
    assert await world.steps() == "running"
    world.later(3_600_000)
    charging.wh += 10_000
    await charging.unplugged()
    assert await world.steps() == "settled"
    assert (world.provider.taken, world.provider.held) == (6, 0)


@pytest.mark.parametrize("wh", [50_000, 60_000])
async def test_a_session_ends_when_it_has_cost_what_is_held(world: World, wh: int) -> None:
    station = await world.station("2.0.1")
    await world.begin()
    world.provider.approve()
    await world.steps()
    charging = await charged(world, station, wh)
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    await world.steps(3)
    assert station.payloads("RequestStopTransaction") != []
    await charging.unplugged()
    assert await world.steps() == "settled"
    assert world.provider.held == 0
    assert world.provider.taken == 30, "never more than the driver has let us"


async def test_a_session_ends_as_soon_as_it_costs_something_in_another_currency(world: World) -> None:
    """Nobody knows the rate: 120 CZK are not more than 30 EUR, 30 KWD are."""
    station = await world.station()
    await world.begin()
    world.provider.approve()
    await world.steps()
    charging = await charged(world, station)
    await charging.event("Updated", "MeterValuePeriodic", extra=in_crowns(10.0, 12.0))
    assert await world.steps(3) == "running"
    assert station.payloads("RequestStopTransaction") != []


async def test_a_start_is_not_repeated_after_a_crash(world: World) -> None:
    station = await world.station()
    await world.begin()
    world.provider.approve()
    payment = await world.now()
    await world.csms.services.store.run(rows.save, payment, "authorized", 0, reference="A1")
    (payment,) = await world.csms.services.store.read(rows.open_payments)
    await world.csms.services.store.run(rows.save, payment, "starting", world.csms.clock.utc_ms())  # and killed
    assert await world.steps() == "starting"
    assert station.payloads("RequestStartTransaction") == []
    world.later(START_MS)
    assert await world.steps() == "released"


async def test_of_two_nodes_only_one_starts_a_session(world: World) -> None:
    """Each has read the payment before the other one stores its next state."""
    station = await world.station()
    await world.begin()
    world.provider.approve()
    await world.steps(1)
    read = await world.now()
    for _ in range(2):
        assert (await world.work.advance(read)).state == "starting"
    assert len(station.payloads("RequestStartTransaction")) == 1


@pytest.mark.requirement("R218")
async def test_a_driver_pays_by_the_page_of_the_plug(world: World) -> None:
    station = await world.station()
    about = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}
    await station.call("StatusNotification", about)
    path = f"/console{evse_address(world.csms.services, NAME, 1)}"
    async with console(world.csms) as ask:
        driver = Person(ask)
        page = await driver.get(path)
        assert "Pay here: 30.00 EUR in advance" in text_of(page)
        german = {"accept_language": "de"}
        for text in ("Hier bezahlen: 30,00 EUR im Voraus", "0,60 EUR/kWh"):
            assert text in text_of(await driver.get(path, **german))
        sent = await driver.send(f"{path}/pay")
        assert sent.status == 303
        place = sent.headers["location"]
        waiting = await driver.get(place)
        assert "Waiting for your payment In advance 30.00 EUR" in text_of(waiting)
        assert re.search(r'href="https://pay.example/A1"', waiting.body.decode())
        assert world.provider.holds["A1"]["return_url"].partition("://")[2].partition("/")[2] == place[1:]
        assert (await driver.send(f"{path}/pay")).status == 409
        assert (await driver.get(place[:-1] + ("a" if place[-1] != "a" else "b"))).status == 404
        world.provider.approve()
        await world.steps()
        approved = text_of(await driver.get(place))
        assert "Plug in the vehicle now" in approved
        assert "Held 30.00 EUR" in approved
        charging = await charged(world, station)
        await world.steps()
        assert "Charging is paid for." in text_of(await driver.get(place))
        await charging.unplugged()
        await world.steps()
        over = await driver.get(place)
        assert "Paid. The rest is released." in text_of(over)
        link = re.search(r'href="(/console/q/[^"]+/session/[^"]+)"', over.body.decode())
        assert link is not None
        assert "Receipt" in text_of(await driver.get(link[1]))
        for each in (place, link[1]):
            assert not re.search(r"\d\.\d", shown := text_of(await driver.get(each, **german))), shown
            assert "6,00 EUR" in shown


async def test_what_nobody_has_approved_was_never_held(world: World) -> None:
    station = await world.station()
    about = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}
    await station.call("StatusNotification", about)
    async with console(world.csms) as ask:
        driver = Person(ask)
        place = (await driver.send(f"/console{evse_address(world.csms.services, NAME, 1)}/pay")).headers["location"]
        world.later(START_MS)
        for count, state in ((1, "releasing"), (8, "released")):
            assert await world.steps(count) == state
            assert "In advance 30.00 EUR" in text_of(await driver.get(place))


async def test_of_two_nodes_only_one_asks_for_a_hold(store_url: str) -> None:
    """Each sees no payment at the plug, and stores its own: the database takes one of them."""
    nodes = Store(store_url), Store(store_url)
    about = "CS-1", 1, 30_000_000, "EUR", 1, str
    for _ in range(5):
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(node.run(rows.open_payment, *about)) for node in nodes for _ in range(5)]
        (opened,) = [found for each in asked if (found := each.result()) is not None]
        assert await nodes[0].read(rows.open_payments) == [opened]
        assert await nodes[1].run(rows.open_payment, "CS-1", 2, *about[2:]) is not None, "the next plug"
        for each in await nodes[1].read(rows.open_payments):
            assert await nodes[1].run(rows.save, each, "failed", 1)
    for node in nodes:
        node.close()


@pytest.mark.parametrize("over", [True, False])
async def test_old_payments_are_deleted_with_what_lets_their_tokens_charge(world: World, over: bool) -> None:
    station = await world.station()
    await paid_until_the_end(world, station)
    if over:
        assert await world.steps() == "settled"
    (asked,) = station.payloads("RequestStartTransaction")
    after_ms = world.csms.clock.utc_ms() + 1
    while await world.csms.services.store.run(delete_old, "transactions", after_ms):
        pass
    assert (await world.csms.services.store.read(rows.payment, 1) is None) is over
    if over:
        answer = await station.call("Authorize", {"idToken": asked["idToken"]})
        assert answer["idTokenInfo"]["status"] != "Accepted"


async def test_a_program_without_the_provider_of_open_payments_does_not_start(tmp_path: Path, pki: PkiTree) -> None:
    config = make_config(tmp_path, pki)
    async with running(config) as csms:
        opened = await csms.services.store.run(rows.open_payment, NAME, 1, 30_000_000, "EUR", 1, str)
        assert opened is not None
    with pytest.raises(ConfigError, match=r"payments\.direct is missing, and 1 payments") as refused:
        async with running(config):
            pass
    assert 'amount = "0"' in refused.value.hint
    secret = tmp_path / "secret"
    save_secret(secret, b"x")
    none = DirectPaymentConfig(url="http://127.0.0.1:9", secret_file=secret, amount="0", currency="EUR")
    async with running(msgspec.structs.replace(config, payments=Payments(direct=none))) as csms:
        assert await csms.services.store.run(rows.save, opened, "failed", 2)
    async with running(config):
        pass


async def test_with_an_amount_of_0_no_payment_begins_and_open_ones_end(backend: Start, tmp_path: Path) -> None:
    async with paying(backend, tmp_path, amount="0") as world:
        station = await world.station()
        await world.csms.services.store.run(rows.open_payment, NAME, 2, 30_000_000, "EUR", 1, str)
        about = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": 1, "connectorId": 1}
        await station.call("StatusNotification", about)
        path = f"/console{evse_address(world.csms.services, NAME, 1)}"
        async with console(world.csms) as ask:
            driver = Person(ask)
            page = text_of(await driver.get(path))
            assert "0.60 EUR/kWh" in page
            assert "Pay here" not in page
            assert (await driver.send(f"{path}/pay")).status == 409
        assert await world.steps() == "released"
        assert world.provider.held == 0


async def test_the_provider_is_asked_again_later(world: World) -> None:
    await world.station()
    world.provider.down = 3
    payment = await world.begin()
    assert payment.state == "requested"
    for _ in range(4):
        await world.work.step()
    assert (await world.now()).state == "pending"
    assert len(world.provider.holds) == 1
    assert [len(world.csms.events.named(name)) for name in ("provider_lost", "provider_back")] == [1, 1]
    assert await world.steps() == "pending"
    assert len(world.csms.events.named("provider_back")) == 1
    assert isinstance(world.csms.services[DirectClient], DirectClient)
