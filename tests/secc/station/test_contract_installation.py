"""A station asks its CSMS for a vehicle's contract (M01), judged by the package `ocpp`, and never keeps a vehicle
waiting for nothing."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.secc.backend import Backend
from tests.secc.station.station import Fixture, csms
from v2g.iso15118.d20.installation import SCHEMA_VERSION
from v2g_station.blocks.security.certificates import UNREACHABLE, ContractAnswer, ContractRequest
from v2g_station.station import StationCore

__all__ = ["csms"]

ACTION = "Get15118EVCertificate"
REQUEST = ContractRequest(schema=SCHEMA_VERSION, exi=bytes(range(256)) * 8, maximum=3, emaids=("DEV2GC00000001",))
RESPONSE = bytes(range(255, -1, -1)) * 20


def answered(**fields: Any) -> dict[str, Any]:
    return {"exi_response": base64.b64encode(RESPONSE).decode(), **fields}


@pytest.fixture
async def fixture(csms: Backend, tmp_path: Path) -> Fixture:
    return Fixture(tmp_path, csms.port, installation_timeout=3.0, message_timeout=1.0)


async def test_request_and_response_pass_through_unchanged(csms: Backend, fixture: Fixture) -> None:
    """TC_M_26_CS."""
    new = csms.versions == ["ocpp2.1"]
    csms.answers[ACTION] = answered(remaining_contracts=2) if new else answered()
    async with fixture.running() as station:
        outcome = await station.requests.fetch_contract(REQUEST)
    assert outcome == ContractAnswer(status="answered", exi=RESPONSE, remaining=2 if new else None)
    (asked,) = csms.all(ACTION)
    assert asked["action"] == "Install"
    assert asked["iso15118_schema_version"] == "urn:iso:std:iso:15118:-20:CommonMessages"
    assert base64.b64decode(asked["exi_request"]) == REQUEST.exi
    wishes = {key: value for key, value in asked.items() if key.startswith(("maximum", "prioritized"))}
    assert list(wishes.values()) == ([3, ["DEV2GC00000001"]] if new else [])


async def test_a_csms_that_fails_is_taken_at_its_word(csms: Backend, fixture: Fixture) -> None:
    """TC_M_27_CS."""
    csms.answers[ACTION] = {"status": "Failed", "exi_response": ""}
    async with fixture.running() as station:
        assert await station.requests.fetch_contract(REQUEST) == ContractAnswer(status="failed")
        csms.answers[ACTION] = answered(status="Failed")
        assert await station.requests.fetch_contract(REQUEST) == ContractAnswer(status="failed", exi=RESPONSE)
    assert len(csms.all(ACTION)) == 2


@pytest.mark.parametrize("text", ["", "not base64!", "AAA"])
async def test_an_answer_without_a_response_in_it_is_a_failure(csms: Backend, fixture: Fixture, text: str) -> None:
    csms.answers[ACTION] = {"exi_response": text}
    async with fixture.running() as station:
        assert (await station.requests.fetch_contract(REQUEST)).status == "failed"


async def test_a_csms_that_stumbles_is_asked_again(csms: Backend, fixture: Fixture) -> None:
    csms.answers[ACTION] = answered()
    csms.refuse[ACTION] = 1
    async with fixture.running() as station:
        assert (await station.requests.fetch_contract(REQUEST)).status == "answered"
    assert len(csms.all(ACTION)) == 2


async def test_a_lost_connection_is_waited_for(csms: Backend, fixture: Fixture) -> None:
    csms.answers[ACTION] = answered()
    csms.silent.add(ACTION)
    async with fixture.running() as station:
        asking = asyncio.create_task(station.requests.fetch_contract(REQUEST))
        await csms.wait(ACTION)
        await csms.stop()
        csms.silent.clear()
        await csms.start()
        assert (await asking).status == "answered"
    assert csms.connections == 2


async def test_a_csms_that_says_nothing_is_given_up_in_time(csms: Backend, tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, csms.port, installation_timeout=0.3, message_timeout=5.0)
    csms.silent.add(ACTION)
    async with fixture.running() as station, asyncio.timeout(3):
        assert await station.requests.fetch_contract(REQUEST) == UNREACHABLE


async def test_a_contract_is_fetched_only_while_its_vehicle_waits(
    csms: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And holds up what comes after it no longer."""
    call, given = StationCore.call, list[Any]()

    def spied(*args: Any, timeout: float | None = None) -> Any:
        given.append(timeout)
        return call(*args, timeout=timeout)

    monkeypatch.setattr(StationCore, "call", spied)
    fixture = Fixture(tmp_path, csms.port, installation_timeout=50.0, message_timeout=30.0)
    csms.silent.add(ACTION)
    async with fixture.running() as station, asyncio.timeout(20):
        assert await station.requests.fetch_contract(replace(REQUEST, within_s=0.2)) == UNREACHABLE
    assert len(csms.all(ACTION)) == 1
    assert given == [pytest.approx(0.2, abs=0.1)]


async def test_without_a_csms_there_is_no_contract(tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, 9, installation_timeout=0.2)
    async with fixture.running() as station, asyncio.timeout(3):
        assert await station.requests.fetch_contract(REQUEST) == UNREACHABLE


async def test_what_does_not_fit_the_version_is_not_sent(csms: Backend, fixture: Fixture) -> None:
    """exiRequest: 5600 characters in 2.0.1, 11000 in 2.1."""
    csms.answers[ACTION] = answered()
    fits = (5600 if csms.versions == ["ocpp2.0.1"] else 11_000) // 4 * 3
    async with fixture.running() as station:
        for length, status in ((fits, "answered"), (fits + 3, "failed")):
            request = ContractRequest(schema=SCHEMA_VERSION, exi=bytes(length), maximum=1)
            assert (await station.requests.fetch_contract(request)).status == status
    assert len(csms.all(ACTION)) == 1


async def test_the_charger_is_notified_when_there_is_somebody_to_ask(csms: Backend, tmp_path: Path) -> None:
    fixture = Fixture(tmp_path, csms.port)
    reported = fixture.charger.reachable
    async with fixture.running():
        await fixture.until(lambda: reported == [True])
        await csms.stop()
        await fixture.until(lambda: reported == [True, False])
        await csms.start()
        await fixture.until(lambda: reported == [True, False, True])


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
@pytest.mark.parametrize(("update", "action"), [(False, "Install"), (True, "Update")])
def test_requests_of_the_older_edition_have_no_number_of_contracts(version: Any, update: bool, action: str) -> None:
    request = ContractRequest(schema="urn:iso:15118:2:2013:MsgDef", exi=b"request", update=update)
    message = request.message(version)
    assert (message.iso15118_schema_version, message.action) == (request.schema, action)
    assert message.maximum_contract_certificate_chains is None
