"""Tokens that are taken back by the API are taken back everywhere, also where stations decide by themselves."""

import asyncio

import pytest

from csms.tokens import local_lists
from csms.tokens.local_lists import LocalListKeeper
from tests.csms.api.support import ApiClient
from tests.csms.scripted_station import Payload
from tests.waiting import until

CARD, MEMBER = "/tokens/ISO14443/04A1B2C3", "/tokens/ISO14443/04A1B2C4"


@pytest.mark.parametrize(
    ("path", "change"), [(CARD, {"idToken": {"idToken": "04A1B2C3", "type": "ISO14443"}}), ("/token-groups/f", None)]
)
async def test_local_lists_follow_what_is_deleted(ask: ApiClient, path: str, change: Payload | None) -> None:
    """A card that was deleted would charge for ever at stations that are offline, or use their list first (D01)."""
    station, held = await ask.backend.booted(), {"versionNumber": 0}

    def take(request: Payload) -> Payload:
        held["versionNumber"] = request["versionNumber"]
        return {"status": "Accepted"}

    station.answers |= {"GetLocalListVersion": lambda _: dict(held), "SendLocalList": take}
    assert (await ask("PUT", "/token-groups", {"group_id": "f", "blocked": True})).status == 200
    assert (await ask("PUT", CARD, {})).status == 200
    assert (await ask("PUT", MEMBER, {"terms": {"group_id": "f"}})).status == 200
    await local_lists.replace(ask.backend.services, station.id)
    async with asyncio.TaskGroup() as tasks:
        keeper = tasks.create_task(LocalListKeeper(ask.backend.services, settle_s=0).run())
        await asyncio.sleep(0)
        assert (await ask("DELETE", path)).status == 204
        await until(lambda: len(station.payloads("SendLocalList")) >= 2)
        keeper.cancel()
    (entry,) = station.payloads("SendLocalList")[-1]["localAuthorizationList"]
    assert entry == change or (change is None and entry["idTokenInfo"]["status"] == "Accepted")
