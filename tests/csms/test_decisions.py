"""An operator's decision is in force before it is answered, on the node that has the station: two nodes, one database.

Each test acts on the connection as soon as the other node has answered, without letting anything else run.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from csms.admission import rules as passwords
from csms.admission.rules import SecurityProfile
from csms.cluster.bus import LocalBus, LocalHub
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient, serving
from tests.csms.api.watch import Watch
from tests.csms.backend import BOOT, Backend, running_backend
from tests.csms.charging import TOKENS, VALID, Charging
from tests.csms.scripted_station import Refused
from tests.csms.support import STATION, make_config


class Nodes(NamedTuple):
    """Where operators ask, and where the station is connected."""

    asked: ApiClient
    has: Backend
    hub: LocalHub


@pytest_asyncio.fixture
async def nodes(
    tmp_path: Path, pki: PkiTree, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Nodes]:
    """Two nodes with one database and one bus."""
    monkeypatch.setattr(passwords, "_COST", 16)
    config, hub = make_config(tmp_path, pki, tokens=TOKENS), LocalHub()
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    async with contextlib.AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(running_backend(config, empty_database, now_ms, LocalBus(name, hub)))
            for name in ("one", "two")
        ]
        yield Nodes(await stack.enter_async_context(serving(one)), two, hub)


@pytest.mark.parametrize("decision", ["Pending", "Rejected", "Accepted"])
async def test_a_boot_right_after_a_decision_follows_it(nodes: Nodes, decision: str) -> None:
    before = "Pending" if decision == "Accepted" else "Accepted"
    await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": before})
    station = await nodes.has.join(STATION)
    station.answers["TriggerMessage"] = {"status": "Rejected"}
    for _ in range(3):
        assert (await station.call("BootNotification", BOOT))["status"] == before
        assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": decision})).status == 200
        assert (await station.call("BootNotification", BOOT))["status"] == decision
        await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": before})


@pytest.mark.parametrize("steps", range(12))
async def test_a_boot_that_is_being_answered_follows_the_decision(nodes: Nodes, steps: int) -> None:
    """Its answer may be on its way already: then the station has to boot again."""
    await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Accepted"})
    station = await nodes.has.join(STATION)
    station.answers["TriggerMessage"] = {"status": "Rejected"}
    booting = asyncio.create_task(station.call("BootNotification", BOOT))
    for _ in range(steps * 5):
        await asyncio.sleep(0)
    assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Pending"})).status == 200
    if (await booting)["status"] == "Accepted":
        async with asyncio.timeout(5):
            while not station.payloads("TriggerMessage"):
                await asyncio.sleep(0)
        assert station.payloads("TriggerMessage") == [{"requestedMessage": "BootNotification"}]
    assert (await station.call("BootNotification", BOOT))["status"] == "Pending"


@pytest.mark.parametrize("steps", range(6))
async def test_a_station_that_connects_meanwhile_is_refused(nodes: Nodes, steps: int) -> None:
    await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Accepted"})
    joining = asyncio.create_task(nodes.has.join(STATION))
    for _ in range(steps * 3):
        await asyncio.sleep(0)
    assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Refused"})).status == 200
    await (await joining).ended()


async def test_nothing_is_taken_from_a_station_once_it_is_refused(nodes: Nodes) -> None:
    station = await nodes.has.booted(STATION)
    assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Refused"})).status == 200
    started = {"transactionId": "late", "chargingState": "Charging"}
    event = {
        "eventType": "Started", "triggerReason": "CablePluggedIn", "timestamp": "2026-01-01T00:00:00Z", "seqNo": 0,
        "transactionInfo": started,
    }  # fmt: skip
    station.push([2, "late", "TransactionEvent", event])
    await station.ended()
    assert (await nodes.asked("GET", "/transactions")).json == []
    assert nodes.has.services.connections.connected() == frozenset()


@pytest.mark.parametrize(("profile", "stays"), [(1, False), (2, True)])
async def test_a_connection_below_the_least_profile_ends(
    nodes: Nodes, profile: SecurityProfile, *, stays: bool
) -> None:
    station = await nodes.has.join(STATION, profile=profile)
    assert (await nodes.asked("PUT", f"/admissions/{STATION}/least-profile", {"least_profile": 2})).status == 200
    if stays:
        assert (await station.call("BootNotification", BOOT))["status"] == "Accepted"
    else:
        await station.ended()


async def test_a_station_that_has_to_boot_again_delivers_and_starts_nothing(nodes: Nodes) -> None:
    station = await nodes.has.booted(STATION)
    station.answers["TriggerMessage"] = {"status": "Rejected"}
    assert (await nodes.asked("PUT", f"/admissions/{STATION}", {"decision": "Pending"})).status == 200
    with pytest.raises(Refused, match="SecurityError"):
        await station.call("Heartbeat")
    order = {"evse_id": 1, "id_token": {"idToken": VALID["idToken"], "type": VALID["type"]}}
    answer = await nodes.asked("POST", f"/stations/{STATION}/transactions", order)
    assert (answer.status, answer.json["code"]) == (409, "not_accepted"), answer.json
    assert (await station.call("BootNotification", BOOT))["status"] == "Pending"


async def test_a_stream_of_a_token_that_is_revoked_shows_nothing_more(nodes: Nodes) -> None:
    """On the node that was not asked."""
    made = (await nodes.asked("POST", "/access/tokens", {"name": "wall", "role": "viewer"})).json
    async with serving(nodes.has) as there, Watch(there, "/events?kinds=campaign", token=made["secret"]) as stream:
        nodes.has.services.feed.publish("campaign", None, {"n": 1})
        assert (await stream.first("campaign")).data["data"] == {"n": 1}
        assert (await nodes.asked("DELETE", f"/access/tokens/{made['token']['token_id']}")).status == 204
        nodes.has.services.feed.publish("campaign", None, {"n": 2})
        async with asyncio.timeout(5):
            await stream.ended.wait()
        assert stream.left == []


async def test_tokens_and_limits_are_in_force_at_once(nodes: Nodes) -> None:
    station = await nodes.has.booted(STATION, version="2.1")
    charging = Charging(nodes.has, station)
    await charging.started()
    path = f"/transactions/{charging.id}/limit"
    assert (await nodes.asked("PUT", path, {"max_energy_wh": 5000})).status == 204
    answer = await charging.event("Updated", "MeterValuePeriodic", state="Charging", context="Sample.Periodic")
    assert answer["transactionLimit"] == {"maxEnergy": 5000}
    token = f"/tokens/{VALID['type']}/{VALID['idToken']}/status"
    assert (await nodes.asked("PUT", token, {"status": "Blocked"})).status == 200
    answer = await station.call("Authorize", {"idToken": VALID})
    assert answer["idTokenInfo"]["status"] == "Blocked"
    answer = await charging.event("Updated", "MeterValuePeriodic", token=VALID, context="Sample.Periodic")
    assert answer["idTokenInfo"]["status"] == "Blocked"


async def test_a_charging_profile_is_at_the_station_before_it_is_answered(nodes: Nodes) -> None:
    station = await nodes.has.booted(STATION)
    station.answers["SetChargingProfile"] = {"status": "Accepted"}
    period = {"startPeriod": 0, "limit": 1000.0}
    schedule = {"id": 1, "chargingRateUnit": "W", "chargingSchedulePeriod": [period]}
    profile = {
        "id": 77, "stackLevel": 7, "chargingProfilePurpose": "TxDefaultProfile", "chargingProfileKind": "Relative",
        "chargingSchedule": [schedule],
    }  # fmt: skip
    body = {"evse_id": 1, "profile": profile}
    answer = await nodes.asked("POST", f"/stations/{STATION}/charging-profiles", body)
    assert answer.status == 200, answer.json
    assert len(station.payloads("SetChargingProfile")) == 1
