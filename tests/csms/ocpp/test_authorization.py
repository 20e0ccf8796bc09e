"""Functional block C, authorization, beyond the cases of the test lab."""

from typing import Any

from sqlalchemy import Connection, select

from csms.remote_control import work as remote_control
from csms.retention import store as retention
from csms.tokens import local_lists
from csms.tokens import store as tokens
from csms.tokens.rules import Allowance, Group, Place, Terms, Token, TokenEntry, normalise
from csms.transactions.tables import transactions
from csms.transactions.work import TransactionWatch
from tests.csms.backend import Backend
from tests.csms.charging import VALID, Charging
from tests.csms.customers import accepted
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload, ScriptedStation
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.transactions import TransactionLimit

CS = "CS-V2G-0001"
SECOND = {"idToken": "0A1B2C3E", "type": "ISO14443"}
FAMILY = Group(group_id="family")


def entry(token: Payload, status: Any = "Accepted", **terms: Any) -> TokenEntry:
    return TokenEntry(id_token=token["idToken"], type=token["type"], status=status, terms=Terms(**terms))


GROUPED = (entry(VALID, group_id="family"), entry(SECOND, group_id="family"))


async def authorize(station: ScriptedStation, token: Payload, **more: Any) -> Payload:
    """Return idTokenInfo of an Authorize."""
    answer = await station.call("Authorize", {"idToken": token, **more})
    info: Payload = answer["idTokenInfo"]
    return info


async def test_a_token_is_accepted_until_it_expires(backend: Start) -> None:
    async with backend(tokens=(entry(VALID, expires_ms=1_767_225_600_000),)) as csms:
        csms.clock.now_ms = 1_767_225_599_000
        station = await csms.booted()
        info = await authorize(station, VALID)
        assert info == {"status": "Accepted", "cacheExpiryDateTime": "2026-01-01T00:00:00Z"}
        csms.clock.advance(1)
        assert (await authorize(station, VALID))["status"] == "Expired"


async def test_a_transaction_that_began_with_a_button_goes_on(csms: Backend) -> None:
    """C02.FR.02: who needs no authorization is accepted, whatever is known of tokens."""
    charge = Charging(csms, await csms.booted())
    answer = await charge.event("Started", "CablePluggedIn", token={"idToken": "", "type": "NoAuthorization"})
    assert answer["idTokenInfo"] == {"status": "Accepted"}


async def test_a_wrong_key_code_is_invalid_and_none_is_in_events(backend: Start) -> None:
    """C04.FR.01, FR.04."""
    code = {"idToken": "4711", "type": "KeyCode"}
    async with backend(tokens=(entry(code),)) as csms:
        station = await csms.booted()
        found = [(await authorize(station, code | {"idToken": each}))["status"] for each in ("4711", "4712")]
        assert found == ["Accepted", "Invalid"]
        assert not any("471" in str(each.data) for each in csms.events.reported)


# -- groups


async def listed(csms: Backend) -> ScriptedStation:
    """A station with both tokens of the group in its local list."""
    station = await csms.booted()
    station.answers["GetLocalListVersion"] = {"versionNumber": 0}
    station.answers["SendLocalList"] = {"status": "Accepted"}
    await local_lists.synchronise(csms.services, CS)
    sent = [each for payload in station.payloads("SendLocalList") for each in payload["localAuthorizationList"]]
    groups = {each["idToken"]["idToken"]: each["idTokenInfo"]["groupIdToken"]["idToken"] for each in sent}
    assert groups[VALID["idToken"]] == groups[SECOND["idToken"]] == "family"
    return station


async def test_tokens_of_a_local_list_have_their_group(backend: Start) -> None:
    async with backend(tokens=GROUPED, token_groups=(FAMILY,)) as csms:
        charging = Charging(csms, await listed(csms))
        await charging.plugged()
        for trigger, token in (("Authorized", VALID), ("StopAuthorized", SECOND)):
            answer = await charging.event("Updated", trigger, token=token)
            assert answer["idTokenInfo"]["status"] == "Accepted"
            assert answer["idTokenInfo"]["groupIdToken"]["idToken"] == "family"
        await charging.unplugged()


def stored_answers(connection: Connection) -> list[str]:
    """Return what was answered about the tokens of transactions."""
    return list(connection.execute(select(transactions.c.answer)).scalars())


async def test_a_master_pass_stops_a_transaction_and_starts_none(backend: Start) -> None:
    """C16: also where the station says so with the end only."""
    group = Group(group_id="family", master_pass=True)
    async with backend(tokens=GROUPED, token_groups=(group,)) as csms:
        charging, found = Charging(csms, await csms.booted()), []
        for kind, trigger in (("Started", "Authorized"), ("Updated", "StopAuthorized"), ("Ended", "EVDeparted")):
            found.append((await charging.event(kind, trigger, token=VALID))["idTokenInfo"]["status"])
        assert found == ["Invalid", "Accepted", "Accepted"]
        assert await csms.services.store.read(stored_answers) == ["Invalid"], "what is booked depends on how it began"


# -- OCPP 2.1


async def give(csms: Backend, terms: Terms) -> None:
    await csms.services.store.run(tokens.put, Token(VALID["type"], VALID["idToken"], "Accepted", (), terms))


async def prepaid(csms: Backend, cost: str) -> None:
    """Give somebody a prepaid account with this balance."""
    terms = Terms(allowances=(Allowance(period="total", cost=cost),))
    await give(csms, terms)


async def test_a_prepaid_token_limits_the_cost_once(csms: Backend) -> None:
    """C17.FR.01, C17.FR.03."""
    csms.clock.now_ms = 1_767_225_600_000
    station = await csms.booted(version="2.1")
    await prepaid(csms, "12.50")
    assert await authorize(station, VALID) == {"status": "Accepted", "cacheExpiryDateTime": "2026-01-01T00:00:00Z"}
    charging = Charging(csms, station)
    first = await charging.event("Started", "Authorized", token=VALID)
    assert first["transactionLimit"] == {"maxCost": 12.5}
    second = await charging.event("Updated", "ChargingStateChanged", token=VALID)
    assert "transactionLimit" not in second


async def test_a_prepaid_token_lowers_the_limit_of_a_start_also_after_a_lost_answer(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    await prepaid(csms, "12.50")
    station.answers["RequestStartTransaction"] = {"status": "Accepted"}
    token, limit = IdToken(id_token=VALID["idToken"], type=VALID["type"]), TransactionLimit(max_energy=20_000.0)
    started = await remote_control.start(csms.services, station.id, token, evse_id=1, limit=limit)
    charging = Charging(csms, station)
    info = {"transactionId": charging.id, "remoteStartId": started.remote_start_id}
    for _ in range(2):
        csms.clock.now_ms = 1_767_225_600_000
        answer = await charging.event("Started", "RemoteStart", token=VALID, seq_no=0, extra={"transactionInfo": info})
        assert answer["transactionLimit"] == {"maxCost": 12.5, "maxEnergy": 20_000.0}


async def test_what_a_driver_has_left_is_kept_beside_an_operators_limit(csms: Backend) -> None:
    """Before 2.1 the back end looks after both."""
    station, watch = await csms.booted(), TransactionWatch(csms.services)
    await prepaid(csms, "12.50")
    station.answers["RequestStopTransaction"] = accepted
    charging = Charging(csms, station)
    await charging.plugged()
    await watch.limit(station.id, charging.id, TransactionLimit(max_energy=900.0))
    await charging.event("Updated", "Authorized", token=VALID)
    for wh, asked in ((899, 0), (1, 1)):
        charging.wh += wh
        await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
        await watch.look(station.id)
        assert len(station.payloads("RequestStopTransaction")) == asked


# -- beyond the cases


async def test_places_say_where_and_evses_say_at_what(backend: Start) -> None:
    places = (Place(CS, (2,)), Place("CS-ELSEWHERE"))
    async with backend(tokens=(entry(VALID, places=places), entry(SECOND, places=places[1:]))) as csms:
        station = await csms.booted()
        assert await authorize(station, VALID) == {"status": "Accepted", "evseId": [2]}
        assert (await authorize(station, SECOND))["status"] == "NotAtThisLocation"
        wrong = await Charging(csms, station, evse_id=1).event("Started", "Authorized", token=VALID)
        right = await Charging(csms, station, evse_id=2).event("Started", "Authorized", token=VALID)
        found = [each["idTokenInfo"]["status"] for each in (wrong, right)]
        assert found == ["NotAtThisLocation", "Accepted"]


async def test_what_the_driver_is_shown_and_how_long_it_is_remembered(backend: Start) -> None:
    terms = {"language1": "de", "message": "Willkommen", "priority": 3, "cache_s": 60}
    async with backend(tokens=(entry(VALID, **terms),)) as csms:
        csms.clock.now_ms = 0
        info = await authorize(await csms.booted(), VALID)
        assert info == {
            "status": "Accepted",
            "cacheExpiryDateTime": "1970-01-01T00:01:00Z",
            "chargingPriority": 3,
            "language1": "de",
            "personalMessage": {"format": "UTF8", "content": "Willkommen"},
        }


async def test_an_allowance_ends_with_what_it_allows_and_begins_anew_with_its_period(backend: Start) -> None:
    allowance = Allowance(period="day", energy_wh=600)
    group = Group(group_id="family", allowances=(allowance,))
    async with backend(tokens=GROUPED, token_groups=(group,)) as csms:
        csms.clock.now_ms = 1_767_261_600_000  # noon
        station = await csms.booted(version="2.1")
        charging = Charging(csms, station)
        answer = await charging.event("Started", "Authorized", token=VALID, context="Transaction.Begin")
        assert answer["transactionLimit"] == {"maxEnergy": 600}
        charging.wh += 700
        await charging.unplugged()
        for token in (VALID, SECOND):  # the group has used it up, whoever did
            assert (await authorize(station, token))["status"] == "NoCredit"
        csms.clock.advance(86400)
        assert (await authorize(station, SECOND))["status"] == "Accepted"


async def test_what_was_used_counts_on_when_its_transaction_is_no_longer_kept(csms: Backend) -> None:
    terms = Terms(allowances=(Allowance(period="total", energy_wh=600),))
    await give(csms, terms)
    station = await csms.booted()
    charging = Charging(csms, station)
    await charging.event("Started", "Authorized", token=VALID, context="Transaction.Begin")
    charging.wh += 700
    await charging.unplugged()
    assert (await authorize(station, VALID))["status"] == "NoCredit"
    later = csms.clock.utc_ms() + 1
    assert await csms.services.store.run(retention.delete_old, "transactions", later) > 0
    assert (await authorize(station, VALID))["status"] == "NoCredit"


async def test_one_at_a_time_and_blocks_take_effect_at_once(backend: Start) -> None:
    async with backend(tokens=(entry(VALID, one_at_a_time=True),)) as csms:
        station, other = await csms.booted(), await csms.booted("CS-V2G-0002")
        charging = Charging(csms, station)
        answer = await charging.event("Started", "Authorized", token=VALID)
        assert answer["idTokenInfo"]["status"] == "Accepted"
        again = await charging.event("Updated", "Authorized", token=VALID)
        assert again["idTokenInfo"]["status"] == "Accepted"
        assert (await authorize(other, VALID))["status"] == "ConcurrentTx"
        earlier = Charging(csms, other)
        answer = await earlier.event("Started", "Authorized", token=VALID, offline=True)
        assert answer["idTokenInfo"]["status"] == "Accepted", "it says nothing of now"
        await earlier.unplugged()
        await charging.unplugged()
        assert (await authorize(other, VALID))["status"] == "Accepted"
        assert await csms.services.store.run(tokens.set_status, VALID["type"], VALID["idToken"], "Blocked")
        assert (await authorize(other, VALID))["status"] == "Blocked"


async def test_a_blocked_group_blocks_its_members(backend: Start) -> None:
    async with backend(tokens=GROUPED) as csms:
        station = await csms.booted()
        await csms.services.store.run(tokens.put_group, Group(group_id="family", blocked=True))
        assert (await authorize(station, SECOND))["status"] == "Blocked"
        await csms.services.store.run(tokens.remove_group, "family")
        assert (await authorize(station, SECOND))["status"] == "Accepted"
        await csms.services.store.run(tokens.put, Token("KeyCode", normalise("KeyCode", " 12ab "), "Accepted"))
        assert (await authorize(station, {"idToken": "12ab", "type": "KeyCode"}))["status"] == "Accepted"
