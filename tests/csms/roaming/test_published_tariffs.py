"""What partners see of prices is what holds at a location, now."""

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, event, insert

from csms.alerts.rules import RULES
from csms.alerts.sources import observe
from csms.roaming import store as rows
from csms.roaming.work import keep_sweeping, sweep
from csms.tariffs.tables import price_plans
from tests.csms.fixtures import backend as backend
from tests.csms.roaming.peers import LOCATION
from tests.csms.roaming.registered import PLAN, Roaming
from tests.csms.roaming.registered import roaming as roaming
from v2g.ocpi.tariffs import tariff_id

NIGHT = {"energy": {"rates": [{"price": "0.20", "when": {"from_minute": 1320, "to_minute": 360}}, {"price": "0.50"}]}}


async def names(roaming: Roaming) -> Any:
    """Return the tariffs of the connector."""
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    found = (await roaming.ocpi("GET", "/cpo/2.3.0/locations/Depot")).json["data"]
    return found["evses"][0]["connectors"][0].get("tariff_ids", [])


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({**NIGHT, "zone": "Europe/Berlin"}, True),
        ({**NIGHT, "zone": "Europe/Paris"}, True),  # its clock is Berlin's
        (NIGHT, False),  # UTC, where nothing is said
        ({**NIGHT, "zone": "+01:00"}, False),  # half of the year
        ({"zone": "UTC"}, True),  # nothing by the clock
    ],
)
async def test_a_tariff_by_the_clock_is_shown_where_that_clock_is(
    roaming: Roaming, more: dict[str, Any], shown: bool
) -> None:
    """OCPI has clock times of the location: another zone's night would be published hours off."""
    assert (await roaming.ask("POST", "/tariffs", {**PLAN, "id": "other", **more})).status == 201
    assert (await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "other"})).status < 300
    assert await names(roaming) == (["other"] if shown else [])


async def test_a_location_is_looked_at_once_whatever_stations_it_has(roaming: Roaming) -> None:
    """Each minute it was published for each of its stations: with 250 of them that took minutes."""
    evses = [{**LOCATION["evses"][0], "station_id": f"CS-{number}"} for number in range(3)]
    assert (await roaming.ask("PUT", "/roaming/locations/Depot", {**LOCATION, "evses": evses})).status == 200
    services, found = roaming.backend.services, list[str]()

    def note(*args: Any) -> None:
        found.append(args[2])

    event.listen(services.store.engine, "before_cursor_execute", note)
    await sweep(services)
    event.remove(services.store.engine, "before_cursor_execute", note)
    assert sum("FROM connectors" in each for each in found) == 1


@pytest.mark.parametrize(
    "more",
    [
        NIGHT,  # the clock of UTC
        {"greatest": {"excl_tax": "9"}, "fixed": {"rates": [{"price": "1"}]}},  # charges with different taxes
    ],
)
async def test_a_price_that_partners_are_not_shown_is_an_alert(roaming: Roaming, more: dict[str, Any]) -> None:
    services = roaming.backend.services

    async def alerts() -> dict[str, float | None]:
        seen = await services.store.read(observe, services.clock.utc_ms(), RULES)
        return {each.subject: each.value for each in seen.values["price_unpublished"]}

    assert await names(roaming) == ["day"]
    assert await alerts() == {}
    assert (await roaming.ask("POST", "/tariffs", {**PLAN, "id": "other", **more})).status == 201
    assert (await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "other"})).status < 300
    await sweep(services)
    assert await names(roaming) == []
    assert await alerts() == {"CS-V2G-0001": 1}
    assert (await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "day"})).status < 300
    await sweep(services)
    assert await alerts() == {}


async def test_partners_learn_a_new_price_when_it_is_assigned_not_a_minute_later(roaming: Roaming) -> None:
    """Sessions that begin now are billed by it."""
    assert await names(roaming) == ["day"]
    keeping = asyncio.create_task(keep_sweeping(roaming.backend.services))
    try:
        assert (await roaming.ask("POST", "/tariffs", {**PLAN, "id": "next"})).status == 201
        assert (await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "next"})).status < 300
        async with asyncio.timeout(30):
            while True:
                found = (await roaming.ocpi("GET", "/cpo/2.3.0/locations/Depot")).json["data"]
                if found["evses"][0]["connectors"][0]["tariff_ids"] == ["next"]:
                    break
                await asyncio.sleep(0.05)
    finally:
        keeping.cancel()


async def test_a_tariff_follows_its_plan_when_that_is_removed_or_stored_anew(roaming: Roaming) -> None:
    assert await names(roaming) == ["day"]
    assert (await roaming.ask("POST", "/tariffs", {**PLAN, "id": "next"})).status == 201
    await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "next"})
    assert (await roaming.ask("DELETE", "/tariffs/day")).status == 204
    await sweep(roaming.backend.services)
    await roaming.partner.sent("DELETE", "/tariffs/DE/CPO/day")
    assert [each["id"] for each in (await roaming.ocpi("GET", "/cpo/2.3.0/tariffs")).json["data"]] == ["next"]
    dearer = {**PLAN, "fixed": {"rates": [{"price": "9.00"}]}}
    assert (await roaming.ask("POST", "/tariffs", dearer)).status == 201
    await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "day"})
    async with asyncio.timeout(60):
        while True:
            await sweep(roaming.backend.services)
            listed = (await roaming.ocpi("GET", "/cpo/2.3.0/tariffs")).json["data"]
            if "9" in str([each for each in listed if each["id"] == "day"]):
                break


async def test_after_a_start_tariffs_are_as_this_program_says_them(roaming: Roaming) -> None:
    """An earlier one may have said the same plan otherwise."""
    services = roaming.backend.services
    assert await names(roaming) == ["day"]

    def prices() -> Any:
        return roaming.ocpi("GET", "/cpo/2.3.0/tariffs")

    ours = (await prices()).json["data"][0]["elements"]

    def change(connection: Connection) -> None:
        kept = rows.find_object(connection, "", "tariffs", "day")
        assert kept is not None
        said = json.loads(kept.document)
        said["elements"][0]["price_components"][0]["price"] = 99
        rows.put_object(connection, replace(kept, document=json.dumps(said)))

    await services.store.run(change)
    for every in (False, True):
        await sweep(services, every=every)
        assert ((await prices()).json["data"][0]["elements"] == ours) is every


async def test_a_sweep_reads_only_plans_that_have_changed(roaming: Roaming) -> None:
    """An operator may have thousands: reading all of them each minute would keep what stations send waiting."""
    services = roaming.backend.services
    assert await names(roaming) == ["day"]
    other = {"plan_id": "other", "currency": "EUR", "created_ms": 1, "document": "unreadable"}
    await services.store.run(lambda connection: connection.execute(insert(price_plans).values(**other)))
    await sweep(services)
    assert await names(roaming) == ["day"]


async def test_plans_whose_ids_differ_in_case_are_one_for_partners_and_stations(roaming: Roaming) -> None:
    answer = await roaming.ask("POST", "/tariffs", {**PLAN, "id": "DAY"})
    assert (answer.status, answer.json["code"]) == (409, "plan_taken")
    assert tariff_id("day-export") != "day-export"  # what the plan `day` calls its tariff of energy fed back
