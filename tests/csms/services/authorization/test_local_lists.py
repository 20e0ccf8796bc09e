"""Functional block D, local authorization list, beyond the cases of the test lab."""

import asyncio

from csms.tokens import local_lists
from csms.tokens import store as tokens
from csms.tokens.local_lists import LocalListKeeper
from csms.tokens.rules import Token, TokenEntry, key_of
from tests.csms.backend import Backend
from tests.csms.customers import CUSTOMER, TOKENS, VALID, Start, accepted
from tests.csms.scripted_station import Payload, ScriptedStation
from tests.waiting import until
from v2g.ocpp.messages.authorization import AuthorizationData, IdToken, IdTokenInfo

SECOND = TokenEntry(id_token="11223344", type="ISO14443", energy_transfer=())


async def with_list(csms: Backend, version: int = 1, **answers: object) -> ScriptedStation:
    """Return a station that says to have a list of that version, and takes what is sent."""
    station = await csms.booted()
    held = {"versionNumber": version}

    def take(request: Payload) -> Payload:
        held["versionNumber"] = request["versionNumber"]
        return accepted

    station.answers |= {"GetLocalListVersion": lambda _: dict(held), "SendLocalList": take}
    return station


async def test_a_difference_has_the_next_version_and_what_is_put_and_removed(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        station = await with_list(csms)
        entry = AuthorizationData(id_token=CUSTOMER, id_token_info=IdTokenInfo(status="Accepted"))
        await local_lists.change(csms.services, station.id, put=[entry])
        await local_lists.change(csms.services, station.id, remove=[key_of(CUSTOMER)])
        put, removed = station.payloads("SendLocalList")
        assert {each["updateType"] for each in (put, removed)} == {"Differential"}
        assert (put["versionNumber"], removed["versionNumber"]) == (2, 3)
        assert put["localAuthorizationList"] == [{"idToken": VALID, "idTokenInfo": accepted}]
        assert removed["localAuthorizationList"] == [{"idToken": VALID}]


async def test_a_list_is_kept_as_the_token_store_has_it(backend: Start) -> None:
    async with backend(tokens=(*TOKENS, SECOND)) as csms:
        station = await with_list(csms, version=0)
        first = await local_lists.synchronise(csms.services, station.id)
        assert (first.entries, first.status) == (2, "Accepted")
        assert await local_lists.synchronise(csms.services, station.id) == first
        known = await csms.services.store.run(tokens.list_all)
        kept = [token for token in known if token.id_token != SECOND.id_token]
        await csms.services.store.run(tokens.replace_configured, kept)
        after = await local_lists.synchronise(csms.services, station.id)
        assert after.entries == 1
        kinds = [(each["updateType"], each["versionNumber"]) for each in station.payloads("SendLocalList")]
        assert kinds == [("Full", 1), ("Differential", 2)]


async def test_a_list_follows_the_tokens_by_itself(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        station, other = await with_list(csms), await csms.booted("CS-V2G-0002")
        keeper = asyncio.create_task(LocalListKeeper(csms.services, settle_s=0).run())
        await local_lists.replace(csms.services, station.id)
        await asyncio.sleep(0)
        await csms.services.store.run(tokens.put, Token("ISO14443", SECOND.id_token, "Accepted"))
        csms.services.feed.publish("token_put", None, {})
        await until(lambda: csms.events.named("local_list"))
        kinds = [each["updateType"] for each in station.payloads("SendLocalList")]
        assert kinds == ["Full", "Differential"]
        assert other.calls == []
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def test_a_station_that_refuses_a_difference_gets_the_whole_list(backend: Start) -> None:
    """D01.FR.03."""
    async with backend(tokens=TOKENS) as csms:
        station = await with_list(csms)
        station.answers["SendLocalList"] = lambda request: {
            "status": "Accepted" if request["updateType"] == "Full" else "VersionMismatch"
        }
        result = await local_lists.change(csms.services, station.id, remove=[("ISO14443", "GONE")])
        assert result.status == "Accepted"
        assert [each["updateType"] for each in station.payloads("SendLocalList")] == ["Differential", "Full"]


async def test_a_long_list_goes_in_messages_as_long_as_the_station_takes(backend: Start) -> None:
    """D01.FR.11, D01.FR.15."""
    many = tuple(TokenEntry(id_token=f"{number:08X}", type="ISO14443", energy_transfer=()) for number in range(60))
    async with backend(tokens=many) as csms:
        station = await with_list(csms, version=0)
        station.answers["GetVariables"] = lambda request: {
            "getVariableResult": [
                {**request["getVariableData"][0], "attributeStatus": "Accepted", "attributeValue": "25"}
            ]
        }
        result = await local_lists.replace(csms.services, station.id)
        assert (result.version, result.entries) == (3, 60)
        sent = station.payloads("SendLocalList")
        assert [len(each["localAuthorizationList"]) for each in sent] == [25, 25, 10]
        assert [each["updateType"] for each in sent] == ["Full", "Differential", "Differential"]


async def test_whoever_is_forgotten_leaves_the_list(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        station = await with_list(csms)
        assert await local_lists.forget(csms.services, station.id, CUSTOMER) is None
        await local_lists.replace(csms.services, station.id)
        stranger = IdToken(id_token="FFFF", type="ISO14443")
        assert await local_lists.forget(csms.services, station.id, stranger) is None
        lower = IdToken(id_token=VALID["idToken"].lower(), type="ISO14443")
        result = await local_lists.forget(csms.services, station.id, lower)
        assert result is not None
        assert result.entries == 0
