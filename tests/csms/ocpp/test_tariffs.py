"""Functional block I, tariff and cost, beyond the cases of the test lab."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from csms.background import background
from csms.config import Tariffs
from csms.remote_control import work as remote_control
from csms.reservations import work as reservations
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.tariffs import store as tariffs
from csms.tariffs.store import Scope
from csms.tariffs.work import CostAnnouncer, TariffService
from csms.tokens.rules import normalise
from csms.transactions import store as transactions
from tests.csms.api.support import serving
from tests.csms.backend import BOOT, Backend
from tests.csms.charging import TOKENS, VALID, Charging
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Refused, ScriptedStation
from v2g.energy.balancing import Node
from v2g.energy.price_plan import Charge, PricePlan, Rate, Tax, When
from v2g.energy.settlement.costing import Bill
from v2g.errors import OcppError, RefusedError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.tariff_cost import ChangeTransactionTariffRequest, ClearTariffsRequest, SetDefaultTariffRequest
from v2g.ocpp.routes import Version
from v2g.translate.details import cost_details
from v2g.translate.ocpp_tariffs import to_wire

VAT = (Tax(kind="vat", ppm=200_000),)
DAY = PricePlan(
    id="day-night",
    currency="EUR",
    energy=Charge(rates=(Rate(price="0.4", when=When(from_minute=480, to_minute=1080)), Rate(price="0.25")), taxes=VAT),
)
FLAT = PricePlan(id="flat", currency="EUR", energy=Charge(rates=(Rate(price="0.5"),), taxes=VAT))
NEW = PricePlan(id="new", currency="EUR", energy=Charge(rates=(Rate(price="1"),), taxes=VAT))


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end that knows a driver and some prices."""
    async with backend(tokens=TOKENS) as running:
        for plan in (DAY, FLAT, NEW):
            await running.services.store.run(tariffs.add_plan, plan, 0)
        yield running


async def assign(csms: Backend, plan: PricePlan, **scope: Any) -> None:
    await csms.services.store.run(tariffs.assign, Scope(**scope), plan.id, 0)


# -- 2.0.1


async def test_a_running_cost_is_told_when_it_changes(csms: Backend) -> None:
    await assign(csms, FLAT)
    station = await csms.booted()
    station.answers["CostUpdated"] = {}
    charging, announcer = Charging(csms, station), CostAnnouncer(csms.services)
    await charging.started()
    charging.wh += 2000
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    await announcer.tell_all()
    assert station.payloads("CostUpdated") == [{"totalCost": 1.2, "transactionId": charging.id}]
    await announcer.tell_all()  # nothing changed: nothing is sent
    assert len(station.payloads("CostUpdated")) == 1
    data = {"station": station.id, "transaction": charging.id, "cost": "1.20", "currency": "EUR"}
    assert [(each.stage, each.data) for each in csms.events.named("cost_updated")] == [("ocpp", data)]
    kept = await csms.services.store.run(tariffs.cost, station.id, charging.id)
    assert kept is not None
    assert (kept["source"], kept["final"], kept["incl_tax"]) == ("csms", False, 1_200_000)


@pytest.mark.parametrize(("code", "times"), [("NotSupported", 1), ("NotImplemented", 1), ("InternalError", 2)])
async def test_a_station_that_shows_no_costs_is_sent_none_again(csms: Backend, code: str, times: int) -> None:
    await assign(csms, FLAT)
    station = await csms.booted()
    station.answers["CostUpdated"] = Refused(code)
    charging, announcer = Charging(csms, station), CostAnnouncer(csms.services)
    await charging.started()
    for _ in range(2):
        charging.wh += 2000
        await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
        await announcer.announce(station.id, charging.id)
    assert len(station.payloads("CostUpdated")) == times
    assert {each.stage for each in csms.events.named("cost_update_failed")} == {"ocpp"}
    failed = [each.data for each in csms.events.named("cost_update_failed")]
    assert [(each["station"], each["transaction"]) for each in failed] == [(station.id, charging.id)] * times
    assert all(code in str(each["reason"]) for each in failed)


async def test_costs_are_sent_at_their_interval_to_stations_that_are_there(backend: Start) -> None:
    async with backend(tokens=TOKENS, tariffs=Tariffs(running_cost_interval_s=0.001)) as csms:
        unpriced = Charging(csms, await csms.booted("CS-V2G-0001"))
        await unpriced.started()
        await CostAnnouncer(csms.services).announce(unpriced.station.id, unpriced.id)
        assert not unpriced.station.payloads("CostUpdated"), "it has no price"
        await unpriced.unplugged()
        await csms.services.store.run(tariffs.add_plan, FLAT, 0)
        await assign(csms, FLAT)
        charging = Charging(csms, await csms.booted("CS-V2G-0002"))
        charging.station.answers["CostUpdated"] = {}
        await charging.started()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            announcer = group.create_task(CostAnnouncer(csms.services).run())
            for total in (1.2, 2.4):
                charging.wh += 2000
                await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
                while [each["totalCost"] for each in charging.station.payloads("CostUpdated")][-1:] != [total]:
                    await asyncio.sleep(0.001)
            announcer.cancel()
        await csms.leave(charging.station)
        charging.wh += 2000
        await CostAnnouncer(csms.services).announce(charging.station.id, charging.id)
        (failed,) = (each.data for each in csms.events.named("cost_update_failed"))
        assert (failed["station"], failed["transaction"]) == (charging.station.id, charging.id)


async def test_a_plan_by_a_clock_that_nobody_has_stops_nothing_and_is_named(csms: Backend) -> None:
    """Earlier versions took any text as a time zone; drivers saw its prices by UTC."""
    wrong = PricePlan(id="wrong", currency="EUR", zone="Mars/Olympus", energy=Charge(rates=(Rate(price="0.5"),)))
    await csms.services.store.run(tariffs.add_plan, wrong, 0)
    await assign(csms, FLAT)
    await assign(csms, wrong, station_id="CS-V2G-0001")
    costs = []
    for name in ("CS-V2G-0001", "CS-V2G-0002"):
        charging = Charging(csms, await csms.booted(name))
        charging.station.answers["CostUpdated"] = {}
        await charging.started()
        charging.wh += 2000
        await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
        await CostAnnouncer(csms.services).tell_all()
        costs.append([*(each["totalCost"] for each in charging.station.payloads("CostUpdated"))])
        costs.append([(await charging.unplugged())["totalCost"]])
    assert costs == [[1], [1], [1.2], [1.2]]
    async with background(csms.services), asyncio.timeout(60):
        while not (named := csms.events.named("plan_zone_unknown")):
            await asyncio.sleep(0.001)
    assert [(each.stage, each.data) for each in named] == [("ocpp", {"plan": "wrong", "zone": "Mars/Olympus"})]


async def test_the_answer_to_the_end_has_the_cost(csms: Backend) -> None:
    await assign(csms, FLAT)
    charging = Charging(csms, await csms.booted())
    await charging.post_session()  # 500 Wh
    answer = await charging.unplugged()
    assert answer["totalCost"] == 0.3


async def test_a_transaction_without_price_has_no_cost_and_a_free_one_costs_nothing(csms: Backend) -> None:
    station = await csms.booted()
    unpriced = Charging(csms, station)
    await unpriced.started()
    assert "totalCost" not in await unpriced.unplugged()
    free = PricePlan(id="free", currency="EUR", energy=Charge(rates=(Rate(price="0"),)))
    await csms.services.store.run(tariffs.add_plan, free, 0)
    await assign(csms, free)
    charging = Charging(csms, station)
    await charging.started()
    assert (await charging.unplugged())["totalCost"] == 0  # I03.FR.04


@pytest.mark.parametrize(
    ("kind", "wh", "cost"), [("DirectPayment", 0, 0), ("DirectPayment", 1, None), ("Central", 0, None)]
)
async def test_without_a_price_only_what_was_cancelled_before_its_energy_costs_nothing(
    csms: Backend, kind: str, wh: int, cost: int | None
) -> None:
    """C20.FR.03: a payment at a terminal is released."""
    charging = Charging(csms, await csms.booted(version="2.1"))
    token = {"idToken": "PSP-1", "type": kind}
    await charging.event("Started", "Authorized", token=token, state="EVConnected", context="Transaction.Begin")
    charging.wh += wh
    assert (await charging.unplugged()).get("totalCost") == cost


async def test_the_narrower_assignment_wins_and_the_driver_s_own_above_all(csms: Backend) -> None:
    token = {"token_type": VALID["type"], "id_token": normalise(VALID["type"], VALID["idToken"])}
    place = Scope(station_id="A", evse_id=1, **token)

    async def found() -> str | None:
        plan = await csms.services.store.run(tariffs.find_plan, place)
        return plan.id if plan else None

    assert await found() is None
    for plan, scope in ((DAY, {}), (FLAT, {"station_id": "A"}), (DAY, {"station_id": "A", "evse_id": 1}), (NEW, token)):
        await assign(csms, plan, **scope)
        assert await found() == plan.id
    with pytest.raises(RefusedError) as caught:
        await csms.services.store.run(tariffs.remove_plan, NEW.id)
    assert caught.value.reason == "plan_in_use"


# -- 2.1: stations that work out costs themselves


async def test_a_plan_becomes_a_tariff_with_conditions_first(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers["SetDefaultTariff"] = {"status": "Accepted"}
    assert await TariffService(csms.services).set_default(station.id, 0, DAY.id) == "Accepted"
    (request,) = station.payloads("SetDefaultTariff")
    assert request["evseId"] == 0
    first = request["tariff"]["energy"]["prices"][0]
    assert first == {"priceKwh": 0.4, "conditions": {"startTimeOfDay": "08:00", "endTimeOfDay": "18:00"}}


async def test_a_default_tariff_is_of_a_known_plan(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers["SetDefaultTariff"] = {"status": "Rejected"}
    assert await TariffService(csms.services).set_default(station.id, 1, DAY.id) == "Rejected"
    with pytest.raises(RefusedError) as caught:
        await TariffService(csms.services).set_default("CS-V2G-0001", 1, "nobody's")
    assert caught.value.reason == "unknown_plan"


async def test_a_station_that_leaves_costs_to_us_gets_none_of_it(csms: Backend) -> None:
    old = await csms.booted("CS-V2G-0002")
    assert await TariffService(csms.services).set_default(old.id, 0, DAY.id) == "Central"
    assert old.payloads("SetDefaultTariff") == []
    station = await csms.booted(version="2.1")
    station.answers["SetDefaultTariff"] = Refused("NotSupported")
    assert await TariffService(csms.services).set_default(station.id, 0, DAY.id) == "Central"
    station.answers["SetDefaultTariff"] = Refused("InternalError")
    with pytest.raises(OcppError):
        await TariffService(csms.services).set_default(station.id, 0, DAY.id)
    await csms.leave(station)
    with pytest.raises(RefusedError) as caught:
        await TariffService(csms.services).set_default(station.id, 0, DAY.id)
    assert caught.value.reason == "not_connected"


async def test_a_station_that_boots_gets_its_tariffs_again_and_no_other_is_asked(csms: Backend) -> None:
    """What it had may be lost: its memory was exchanged, or it was reset."""
    await assign(csms, FLAT)
    names = ("CS-V2G-0001", "CS-V2G-0002")
    booting, other = [Tariffed(await csms.join(each, "2.1")) for each in names]
    service = TariffService(csms.services)
    running = asyncio.create_task(service.run())
    await asyncio.sleep(0)
    for each in (booting, other, booting):
        each.there.clear()
        await each.station.call("BootNotification", BOOT)
        async with asyncio.timeout(60):
            while each.there != {1: "flat", 2: "flat"}:
                await asyncio.sleep(0.01)
    assert [len(each.station.payloads("SetDefaultTariff")) for each in (booting, other)] == [2, 1]
    assert [len(each.station.payloads("GetTariffs")) for each in (booting, other)] == [2, 1]
    running.cancel()
    await asyncio.wait([running])


async def test_default_tariffs_are_installed_after_the_boot(csms: Backend) -> None:
    await assign(csms, FLAT)
    await assign(csms, DAY, station_id="CS-V2G-0001", evse_id=1)
    await assign(csms, NEW, token_type="ISO14443", id_token="X")
    station = await csms.booted(version="2.1")
    station.answers["SetDefaultTariff"] = {"status": "Accepted"}
    station.answers["GetTariffs"] = {"status": "NoTariff"}
    await TariffService(csms.services).install_assigned(station.id)
    assert len(station.payloads("GetTariffs")) == 1
    installed = [(each["evseId"], each["tariff"]["tariffId"]) for each in station.payloads("SetDefaultTariff")]
    assert sorted(installed) == [(0, "flat"), (1, "day-night")]


async def places(csms: Backend, **evses: int) -> None:
    """Put EVSEs of stations at a site."""
    node = Node(id="main", limits=(63_000,) * 3)
    found = tuple(
        Place(station_id=each, evse_id=evse_id, node="main", most_ma=32_000) for each, evse_id in evses.items()
    )
    await csms.services.store.run(site_store.save_site, Site(id="north", nodes=(node,), places=found), 0)


class Tariffed:
    """A station that keeps default tariffs of two EVSEs, as its answers say."""

    def __init__(self, station: ScriptedStation) -> None:
        self.station, self.there = station, dict[int, str]()
        station.answers |= {"SetDefaultTariff": self.set, "GetTariffs": self.get, "ClearTariffs": self.clear}

    def set(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["tariff"]["tariffId"] in self.there.values():
            return {"status": "DuplicateTariffId"}
        for each in (request["evseId"],) if request["evseId"] else (1, 2):
            self.there[each] = request["tariff"]["tariffId"]
        return {"status": "Accepted"}

    def get(self, _request: object) -> dict[str, Any]:
        found = [
            {
                "tariffId": name,
                "tariffKind": "DefaultTariff",
                "evseIds": [e for e, of in self.there.items() if of == name],
            }
            for name in sorted(set(self.there.values()))
        ]
        return {"status": "Accepted", "tariffAssignments": found} if found else {"status": "NoTariff"}

    def clear(self, request: dict[str, Any]) -> dict[str, Any]:
        for each, name in list(self.there.items()):
            if request.get("evseId") in (None, each) and name in request.get("tariffIds", [name]):
                del self.there[each]
        return {"clearTariffsResult": [{"status": "Accepted"}]}


async def reported(station: ScriptedStation, *evses: int) -> None:
    for each in evses:
        about = {"timestamp": "2026-01-01T00:00:00Z", "connectorStatus": "Available", "evseId": each, "connectorId": 1}
        await station.call("StatusNotification", about)


async def test_a_site_s_tariff_reaches_its_stations_and_no_others(csms: Backend) -> None:
    await places(csms, **{"CS-V2G-0001": 1})
    await assign(csms, FLAT)
    await assign(csms, DAY, site_id="north")
    await assign(csms, NEW, group_id="taxis")
    service = TariffService(csms.services)
    inside, outside = [Tariffed(await csms.booted(each, version="2.1")) for each in ("CS-V2G-0001", "CS-V2G-0002")]
    for each in (inside, outside):
        await reported(each.station, 1, 2)
        await service.install_assigned(each.station.id)
    assert (inside.there, outside.there) == ({1: "day-night", 2: "flat"}, {1: "flat", 2: "flat"})
    before = len(inside.station.payloads("SetDefaultTariff"))
    await TariffService(csms.services).install_assigned(inside.station.id)
    assert len(inside.station.payloads("SetDefaultTariff")) == before, "what is there already is not sent again"
    await csms.services.store.run(tariffs.unassign, Scope(site_id="north"), 0)
    await service.install_assigned(inside.station.id)
    assert inside.there == {1: "flat", 2: "flat"}
    await csms.services.store.run(tariffs.unassign, Scope(), 0)
    await service.install_assigned(inside.station.id)
    assert inside.there == {}


async def test_a_station_that_has_reported_no_evse_yet_gets_its_tariff(csms: Backend) -> None:
    await assign(csms, FLAT)
    station = Tariffed(await csms.join("CS-V2G-0001", "2.1"))
    await TariffService(csms.services).install_assigned(station.station.id)
    assert station.there == {1: "flat", 2: "flat"}


async def test_a_changed_assignment_reaches_connected_stations_at_once(csms: Backend) -> None:
    station = Tariffed(await csms.booted(version="2.1"))
    await reported(station.station, 1, 2)
    service = TariffService(csms.services)
    running = asyncio.create_task(service.run())
    await asyncio.sleep(0)
    await places(csms)
    await assign(csms, DAY, site_id="north")
    place = {"station_id": station.station.id, "evse_id": 1, "node": "main", "most_ma": 32_000}
    site = {"id": "north", "nodes": [{"id": "main", "limits": [63_000] * 3}], "places": [place]}
    changes: tuple[tuple[str, dict[str, Any], dict[int, str]], ...] = (
        ("/tariff-assignments", {"plan_id": "flat"}, {1: "flat", 2: "flat"}),
        ("/tariff-assignments", {"plan_id": "new"}, {1: "new", 2: "new"}),
        ("/sites/north", site, {1: "day-night", 2: "new"}),
    )
    async with serving(csms) as ask:
        for path, body, expected in changes:
            assert (await ask("PUT", path, body)).status == 200
            async with asyncio.timeout(60):
                while station.there != expected:
                    await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])


async def test_a_station_of_2_0_1_shows_the_text_of_the_tariff(csms: Backend) -> None:
    text = msgspec.structs.replace(FLAT, id="text", description="0.50 EUR/kWh")
    await csms.services.store.run(tariffs.add_plan, text, 0)
    await assign(csms, text)
    station = await csms.booted()
    place = {"component": {"name": "TariffCostCtrlr"}, "variable": {"name": "TariffFallbackMessage"}}
    report = {**place, "variableAttribute": [{"value": "free"}]}
    about = {"requestId": 1, "generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0, "reportData": [report]}
    await station.call("NotifyReport", about)
    station.answers["SetVariables"] = {"setVariableResult": [{**place, "attributeStatus": "Accepted"}]}
    for _ in range(2):
        await TariffService(csms.services).install_assigned(station.id)
    (request,) = station.payloads("SetVariables")
    assert request["setVariableData"] == [{**place, "attributeValue": "0.50 EUR/kWh"}]


async def test_a_drivers_tariff_goes_before_that_of_the_place(csms: Backend) -> None:
    token = {"token_type": VALID["type"], "id_token": normalise(VALID["type"], VALID["idToken"])}
    await assign(csms, FLAT)
    await assign(csms, DAY, **token)
    station = await csms.booted(version="2.1")
    answer = await station.call("Authorize", {"idToken": VALID})
    assert answer["tariff"]["tariffId"] == "day-night"
    assert "validFrom" not in answer["tariff"]  # I08.FR.09
    for change in ({"id": "dated", "valid_from_ms": 1_000}, {"id": "both", "export": Charge(rates=(Rate(price="1"),))}):
        await csms.services.store.run(tariffs.add_plan, msgspec.structs.replace(NEW, **change), 0)
        await assign(csms, msgspec.structs.replace(NEW, **change), **token)
        told = (await station.call("Authorize", {"idToken": VALID})).get("tariff", {})
        assert told.get("tariffId") == ("dated" if change["id"] == "dated" else None), "not local: no tariff"
        assert "validFrom" not in told
    old = await csms.booted("CS-V2G-0002")
    assert "tariff" not in await old.call("Authorize", {"idToken": VALID})


async def test_a_cleared_tariff_is_no_longer_assigned(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    station.answers["SetDefaultTariff"] = {"status": "Accepted"}
    station.answers["ClearTariffs"] = {"clearTariffsResult": [{"tariffId": "day-night", "status": "Accepted"}]}
    station.answers["GetTariffs"] = {"status": "NoTariff"}
    service = TariffService(csms.services)
    await service.set_default(station.id, 1, DAY.id)
    response = await service.clear(station.id, tariff_ids=["day-night"])
    assert [each.status for each in response.clear_tariffs_result] == ["Accepted"]
    assert station.payloads("ClearTariffs") == [{"tariffIds": ["day-night"]}]
    assert await csms.services.store.run(tariffs.assignments) == []
    assert (await service.get(station.id)).status == "NoTariff"
    assert station.payloads("GetTariffs") == [{"evseId": 0}]


async def test_what_is_cleared_at_a_station_is_assigned_there_no_longer_and_elsewhere_it_is(csms: Backend) -> None:
    """I10. A driver's own tariff does not become the station's."""
    station = await csms.booted(version="2.1")
    station.answers["ClearTariffs"] = {"clearTariffsResult": [{"status": "Accepted"}]}
    here, driver = {"station_id": station.id}, {"token_type": "ISO14443", "id_token": "X"}
    others = [(Scope(), "flat"), (Scope(station_id="CS-2"), "day-night"), (Scope(**here, **driver), "day-night")]
    own = [(Scope(**here), "day-night"), (Scope(**here, evse_id=1), "flat"), (Scope(**here, evse_id=2), "day-night")]
    for scope, name in (*others, *own):
        await csms.services.store.run(tariffs.assign, scope, name, 0)
    service = TariffService(csms.services)

    async def left(**what: Any) -> set[tuple[Scope, str]]:
        await service.clear(station.id, **what)
        return set(await csms.services.store.run(tariffs.assignments)) - set(others)

    assert await left(evse_id=1, tariff_ids=["day-night"]) == set(own), "that EVSE has another"
    assert await left(evse_id=1) == {own[0], own[2]}
    assert await left(tariff_ids=["flat"]) == {own[0], own[2]}
    assert await left(evse_id=2, tariff_ids=["flat", "day-night"]) == {own[0]}
    assert await left() == set()
    assert set(await csms.services.store.run(tariffs.assignments)) == set(others)
    assert station.payloads("ClearTariffs")[1:3] == [{"evseId": 1}, {"tariffIds": ["flat"]}]


@pytest.mark.parametrize(("name", "left"), [("flat", {"flat"}), ("FLAT", {"flat"}), (None, {"flat", "day-night"})])
async def test_what_a_station_refuses_to_clear_stays_assigned(csms: Backend, name: str | None, left: set[str]) -> None:
    """It goes on calculating by that tariff. A result that names none is of all."""
    station = await csms.booted(version="2.1")
    refused = {"status": "Rejected"} if name is None else {"status": "Rejected", "tariffId": name}
    accepted = {"status": "NoTariff", "tariffId": "day-night"}
    station.answers["ClearTariffs"] = {"clearTariffsResult": [refused, accepted]}
    await assign(csms, FLAT, station_id=station.id, evse_id=1)
    await assign(csms, DAY, station_id=station.id, evse_id=2)
    await TariffService(csms.services).clear(station.id)
    assert {plan for _, plan in await csms.services.store.run(tariffs.assignments)} == left


async def test_an_operator_s_own_request_applies_here_when_the_station_accepts_it(csms: Backend) -> None:
    dated = msgspec.structs.replace(DAY, id="dated", valid_from_ms=1_000)
    await csms.services.store.run(tariffs.add_plan, dated, 0)
    charging, service = await local(csms), TariffService(csms.services)
    station, everywhere = charging.station, [(Scope(), "flat")]
    wrong = to_wire(msgspec.structs.replace(FLAT, id="new"))
    for tariff in (wrong, to_wire(msgspec.structs.replace(FLAT, id="unknown")), to_wire(dated, driver=True)):
        with pytest.raises(RefusedError) as caught:
            await service.send(station.id, SetDefaultTariffRequest(evse_id=1, tariff=tariff), 10)
        assert caught.value.reason == "unknown_plan"
    assert station.payloads("SetDefaultTariff") == []
    for status, assigned in (("Rejected", []), ("Accepted", [(Scope(station_id=station.id, evse_id=1), "dated")])):
        station.answers["SetDefaultTariff"] = {"status": status}
        said: Any = await service.send(station.id, SetDefaultTariffRequest(evse_id=1, tariff=to_wire(dated)), 10)
        assert said.status == status
        assert await csms.services.store.run(tariffs.assignments) == everywhere + assigned
    change = ChangeTransactionTariffRequest(tariff=to_wire(dated, driver=True), transaction_id=charging.id)
    for status, name in (("Rejected", "flat"), ("Accepted", "dated")):
        station.answers["ChangeTransactionTariff"] = {"status": status}
        said = await service.send(station.id, change, 10)
        assert said.status == status
        assert await plan_of(csms, charging) == name
    station.answers["ClearTariffs"] = {"clearTariffsResult": [{"status": "Accepted"}]}
    said = await service.send(station.id, ClearTariffsRequest(tariff_ids=("dated",)), 10)
    assert said.clear_tariffs_result[0].status == "Accepted"
    assert await csms.services.store.run(tariffs.assignments) == everywhere
    await charging.unplugged()
    for gone in (change, msgspec.structs.replace(change, transaction_id="unknown")):
        with pytest.raises(RefusedError) as caught:
            await service.send(station.id, gone, 10)
        assert caught.value.reason == "unknown_transaction"


async def plan_of(csms: Backend, charging: Charging) -> str:
    """The plan of a transaction from now on."""
    transaction = await csms.services.store.run(transactions.get, charging.station.id, charging.id)
    assert transaction is not None
    found = await csms.services.store.run(tariffs.plans_of, transaction)
    return found[-1][1].id


async def test_a_change_that_the_station_rejects_changes_nothing_here(csms: Backend) -> None:
    """I11. A driver tariff has no validFrom (I08.FR.09)."""
    dated = msgspec.structs.replace(NEW, id="dated", valid_from_ms=1_000)
    await csms.services.store.run(tariffs.add_plan, dated, 0)
    charging, service = await local(csms), TariffService(csms.services)
    for status, name in (("TooManyElements", "flat"), ("Accepted", "dated")):
        charging.station.answers["ChangeTransactionTariff"] = {"status": status}
        assert await service.change_transaction(charging.station.id, charging.id, "dated") == status
        assert await plan_of(csms, charging) == name
    assert all("validFrom" not in each["tariff"] for each in charging.station.payloads("ChangeTransactionTariff"))
    assert charging.station.payloads("CostUpdated") == [], "the station calculates it"


async def test_a_plan_that_pays_for_energy_fed_back_is_not_sent_as_a_default(csms: Backend) -> None:
    """The EVSE's costs are calculated here, so it must not keep the one of the others."""
    both = msgspec.structs.replace(NEW, id="both", export=Charge(rates=(Rate(price="0.2"),)))
    await csms.services.store.run(tariffs.add_plan, both, 0)
    station, service = Tariffed(await csms.booted(version="2.1")), TariffService(csms.services)
    await reported(station.station, 1, 2)
    assert await service.set_default(station.station.id, 2, "both") == "Central"
    assert station.station.payloads("SetDefaultTariff") == []
    events = [each.data for each in csms.events.named("default_tariff")]
    assert events == [{"station": station.station.id, "tariff": "both", "evse": 2, "status": "Central"}]
    assert {each.stage for each in csms.events.named("default_tariff")} == {"ocpp"}
    await assign(csms, FLAT)
    for _ in range(2):
        await service.install_assigned(station.station.id)
    assert station.there == {1: "flat"}
    assert station.station.payloads("ClearTariffs") == [{"evseId": 2}]
    await TariffService(csms.services).install_assigned(station.station.id)
    assert len(station.station.payloads("SetDefaultTariff")) == 1, "it is there, by the station's own word"


async def test_a_tariff_that_could_not_be_set_is_reported_and_tried_again(csms: Backend) -> None:
    await assign(csms, FLAT)
    station, service = await csms.booted(version="2.1"), TariffService(csms.services)
    station.answers |= {"GetTariffs": Refused("NotSupported"), "SetDefaultTariff": Refused("InternalError", "x" * 300)}
    for _ in range(2):
        await service.install_assigned(station.id)
    failed = [each.data for each in csms.events.named("default_tariff_not_set")]
    assert [each["station"] for each in failed] == [station.id] * 2
    assert {len(str(each["reason"])) for each in failed} == {200}
    station.answers["SetDefaultTariff"] = {"status": "Accepted"}
    for _ in range(2):
        await service.install_assigned(station.id)
    assert len(station.payloads("SetDefaultTariff")) == 3


@pytest.mark.parametrize(
    ("here", "there", "shown"),
    [("0.50 EUR/kWh", "0.50 EUR/kWh", "0.50 EUR/kWh"), ("x" * 300, "x" * 300, "x" * 255), ("a", "b", None),
     ("", "", None), ("a", None, None)],
)  # fmt: skip
async def test_a_text_is_shown_that_holds_for_all_evses(
    csms: Backend, here: str, there: str | None, shown: str | None
) -> None:
    """I04.FR.01. A variable has 255 characters at least for it."""
    station = await csms.booted()
    place = {"component": {"name": "TariffCostCtrlr"}, "variable": {"name": "TariffFallbackMessage"}}
    station.answers["SetVariables"] = {"setVariableResult": [{**place, "attributeStatus": "Accepted"}]}
    for evse_id, text in ((0, here), (1, here), (2, there)):
        if text is not None:
            plan = msgspec.structs.replace(FLAT, id=f"evse-{evse_id}", description=text)
            await csms.services.store.run(tariffs.add_plan, plan, 0)
            await assign(csms, plan, station_id=station.id, evse_id=evse_id)
    if there is None:  # no price for the others
        await csms.services.store.run(tariffs.unassign, Scope(station_id=station.id), 0)
    await reported(station, 1, 2)
    await TariffService(csms.services).install_assigned(station.id)
    assert station.payloads("SetVariables") == [], "it has not reported the variable"
    report = {**place, "variableAttribute": [{"value": "free"}]}
    about = {"requestId": 1, "generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0, "reportData": [report]}
    await station.call("NotifyReport", about)
    await TariffService(csms.services).install_assigned(station.id)
    sent = [each["attributeValue"] for one in station.payloads("SetVariables") for each in one["setVariableData"]]
    assert sent == ([] if shown is None else [shown])


async def test_a_station_of_2_1_that_leaves_costs_to_us_shows_the_text(csms: Backend) -> None:
    """I04.FR.01, I07.FR.01."""
    text = msgspec.structs.replace(FLAT, id="text", description="0.50 EUR/kWh")
    await csms.services.store.run(tariffs.add_plan, text, 0)
    await assign(csms, text)
    station = await csms.booted(version="2.1")
    place = {"component": {"name": "TariffCostCtrlr"}, "variable": {"name": "TariffFallbackMessage"}}
    report = {**place, "variableAttribute": [{"value": "free"}]}
    about = {"requestId": 1, "generatedAt": "2026-01-01T00:00:00Z", "seqNo": 0, "reportData": [report]}
    await station.call("NotifyReport", about)
    station.answers |= {
        "GetTariffs": Refused("NotSupported"), "SetDefaultTariff": Refused("NotSupported"),
        "SetVariables": {"setVariableResult": [{**place, "attributeStatus": "Accepted"}]},
    }  # fmt: skip
    await TariffService(csms.services).install_assigned(station.id)
    (request,) = station.payloads("SetVariables")
    assert request["setVariableData"] == [{**place, "attributeValue": "0.50 EUR/kWh"}]


async def local(csms: Backend) -> Charging:
    """A transaction whose station works out its cost itself."""
    await assign(csms, FLAT)
    charging = Charging(csms, await csms.booted(version="2.1"))
    await charging.authorized()
    await charging.event("Updated", "ChargingStateChanged", state="Charging", tariff="flat", context="Sample.Periodic")
    return charging


async def test_a_change_of_tariff_that_we_work_out_is_reported_at_once_and_holds_from_then_on(csms: Backend) -> None:
    await assign(csms, FLAT)
    station = await csms.booted()
    station.answers["CostUpdated"] = {}
    charging = Charging(csms, station)
    await charging.started()
    charging.wh += 1000
    await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic")
    service = TariffService(csms.services)
    assert await service.change_transaction(station.id, charging.id, NEW.id) == "Central"
    assert [each["totalCost"] for each in station.payloads("CostUpdated")] == [0.6]
    charging.wh += 1000
    assert (await charging.unplugged())["totalCost"] == 1.8
    dollars = PricePlan(id="usd", currency="USD", energy=FLAT.energy)
    await csms.services.store.run(tariffs.add_plan, dollars, 0)
    other = Charging(csms, station)
    await other.started()
    with pytest.raises(RefusedError) as caught:
        await service.change_transaction(station.id, other.id, "usd")
    assert caught.value.reason == "currency"


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_the_answer_to_the_next_event_describes_a_changed_tariff(csms: Backend, version: Version) -> None:
    """I06.FR.02, where the back end works costs out."""
    night = msgspec.structs.replace(NEW, id="night", description="Night: 1 EUR per kWh. " * 30)
    await csms.services.store.run(tariffs.add_plan, night, 0)
    await assign(csms, FLAT)
    station = await csms.booted(version=version)
    station.answers["CostUpdated"] = {}
    charging = Charging(csms, station)
    await charging.started()
    service = TariffService(csms.services)
    assert await service.change_transaction(station.id, charging.id, night.id) == "Central"
    answers = [await charging.event("Updated", "MeterValuePeriodic", context="Sample.Periodic") for _ in range(2)]
    answers.append(await charging.unplugged())
    said = {"format": "UTF8", "content": night.description[: 1024 if version == "2.1" else 512]}
    assert [each.get("updatedPersonalMessage") for each in answers] == [said, None, None]


async def test_the_cost_that_a_station_works_out_is_stored(csms: Backend) -> None:
    charging = await local(csms)
    bill = Bill(currency="EUR", excl_tax=2_000_000, incl_tax=2_400_000, energy_mwh=4_000_000)
    details = msgspec.json.decode(msgspec.json.encode(cost_details(bill)))
    assert "totalCost" not in await charging.event("Updated", "RunningCost", extra={"costDetails": details})
    charging.wh += 4000
    answer = await charging.event("Ended", "EVDeparted", context="Transaction.End", extra={"costDetails": details})
    assert answer["totalCost"] == 2.4
    kept = await csms.services.store.run(tariffs.cost, charging.station.id, charging.id)
    assert kept is not None
    assert (kept["source"], kept["final"], kept["incl_tax"]) == ("station", True, 2_400_000)
    await CostAnnouncer(csms.services).announce(charging.station.id, charging.id)
    assert charging.station.payloads("CostUpdated") == [], "the station knows it"
    assert kept["document"]["totalUsage"]["energy"] == 4000


async def test_the_cost_of_an_event_that_contradicts_a_stored_one_is_not_taken(csms: Backend) -> None:
    charging = await local(csms)
    costs = []
    for kind, micro in (("Updated", 2_000_000), ("Ended", 900_000_000)):
        details = cost_details(Bill(currency="EUR", excl_tax=micro, incl_tax=micro, energy_mwh=4_000_000))
        extra = {"costDetails": msgspec.json.decode(msgspec.json.encode(details))}
        answer = await charging.event(kind, "RunningCost", seq_no=3, extra=extra)
        kept = await csms.services.store.run(tariffs.cost, charging.station.id, charging.id)
        assert kept is not None
        costs.append((answer.get("totalCost"), kept["incl_tax"], kept["final"]))
    assert costs == [(None, 2_000_000, False)] * 2


async def test_a_cost_that_a_station_could_not_work_out_is_worked_out_here(csms: Backend) -> None:
    """I12.FR.14: what it has calculated is of a part, also where the event with that comes last."""
    charging = await local(csms)
    part = msgspec.json.decode(msgspec.json.encode(cost_details(Bill(currency="EUR", energy_mwh=1_000_000))))
    charging.seq_no += 1
    charging.wh += 4000
    extra = {"costDetails": part | {"failureToCalculate": True}}
    answer = await charging.event("Ended", "EVDeparted", context="Transaction.End", extra=extra)
    assert answer["totalCost"] == 2.4
    csms.clock.advance(-90)
    await charging.event("Updated", "RunningCost", seq_no=2, extra={"costDetails": part}, offline=True)
    kept = await csms.services.store.run(tariffs.cost, charging.station.id, charging.id)
    assert kept is not None
    assert (kept["source"], kept["final"], kept["incl_tax"]) == ("csms", True, 2_400_000)


async def test_a_driver_whom_the_station_has_not_asked_about_gets_the_own_tariff(csms: Backend) -> None:
    """I08, I11: only the answer to Authorize has it, which no remote start without AuthorizeRemoteStart gets."""
    await assign(csms, FLAT)
    station = await csms.booted(version="2.1")
    station.answers |= {"ChangeTransactionTariff": {"status": "Accepted"}, "SetDefaultTariff": {"status": "Accepted"}}
    station.answers["RequestStartTransaction"] = {"status": "Accepted"}
    await assign(csms, NEW, token_type=VALID["type"], id_token=VALID["idToken"])
    token = IdToken(id_token=VALID["idToken"], type=VALID["type"])
    async with background(csms.services), asyncio.timeout(60):
        await asyncio.sleep(0)  # it listens
        started = await remote_control.start(csms.services, station.id, token, evse_id=1)
        charging = Charging(csms, station)
        info = {"transactionId": charging.id, "remoteStartId": started.remote_start_id, "tariffId": FLAT.id}
        await charging.event("Started", "RemoteStart", token=VALID, extra={"transactionInfo": info})
        while not csms.events.named("driver_tariff"):
            await asyncio.sleep(0.001)
        other = Charging(csms, station, evse_id=2)  # its station has asked
        info = {"transactionId": other.id, "tariffId": NEW.id}
        await other.event("Started", "Authorized", token=VALID, extra={"transactionInfo": info})
        await other.unplugged()
    (sent,) = station.payloads("ChangeTransactionTariff")
    assert (sent["transactionId"], sent["tariff"]["tariffId"]) == (charging.id, NEW.id)
    assert station.payloads("GetTariffs") == [], "a remote start changes no default tariff"


async def test_a_drivers_plan_that_pays_for_energy_fed_back_is_worked_out_here(
    csms: Backend,
) -> None:
    both = msgspec.structs.replace(NEW, id="both", export=Charge(rates=(Rate(price="0.2"),)))
    await csms.services.store.run(tariffs.add_plan, both, 0)
    await assign(csms, both, token_type=VALID["type"], id_token=VALID["idToken"])
    charging = await local(csms)
    own = Bill(currency="EUR", excl_tax=2_000_000, incl_tax=2_400_000, energy_mwh=4_000_000)
    extra = {"costDetails": msgspec.json.decode(msgspec.json.encode(cost_details(own)))}
    charging.wh += 4000
    answer = await charging.event("Ended", "EVDeparted", context="Transaction.End", extra=extra)
    assert answer["totalCost"] == 4.8


async def test_a_cost_is_worked_out_here_once_a_plan_of_its_transaction_pays_for_energy_fed_back(csms: Backend) -> None:
    charging = await local(csms)
    both = msgspec.structs.replace(NEW, id="both", export=Charge(rates=(Rate(price="0.2"),)))
    run = csms.services.store.run
    await run(tariffs.add_plan, both, 0)
    transaction = await run(transactions.get, charging.station.id, charging.id)
    assert transaction is not None
    await run(tariffs.change_plan, transaction, both, csms.clock.utc_ms())
    own = cost_details(Bill(currency="EUR", excl_tax=2_000_000, incl_tax=2_400_000, energy_mwh=4_000_000))
    charging.wh += 4000
    extra = {"costDetails": msgspec.json.decode(msgspec.json.encode(own))}
    answer = await charging.event("Ended", "EVDeparted", context="Transaction.End", extra=extra)
    assert answer["totalCost"] == 4.8


async def test_vat_numbers_are_checked_by_their_form(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    good = await station.call("VatNumberValidation", {"vatNumber": "DE 123456789", "evseId": 1})
    assert (good["status"], good["evseId"], good["vatNumber"]) == ("Accepted", 1, "DE 123456789")
    wrong = await station.call("VatNumberValidation", {"vatNumber": "XX1"})
    assert (wrong["status"], wrong["statusInfo"]) == ("Rejected", {"reasonCode": "InvalidValue"})
    assert "statusInfo" not in good
    events = [(each.data["station"], each.data["fits"]) for each in csms.events.named("vat_number")]
    assert events == [(station.id, True), (station.id, False)]


@pytest.mark.parametrize(
    ("prices", "cost"), [({"fixed": "0.5", "time": "0.1"}, 1.5), ({"fixed": "0.5"}, 0.5), ({"time": "0.1"}, 1)]
)
async def test_a_reservation_is_paid_from_when_it_was_made(csms: Backend, prices: dict[str, str], cost: float) -> None:
    charges = {f"reservation_{name}": Charge(rates=(Rate(price=price),)) for name, price in prices.items()}
    plan = PricePlan(id="reserved", currency="EUR", **charges)
    await csms.services.store.run(tariffs.add_plan, plan, 0)
    await assign(csms, plan)
    station = await csms.booted()
    station.answers["ReserveNow"] = {"status": "Accepted"}
    token = IdToken(id_token=VALID["idToken"], type=VALID["type"])
    expires_ms = csms.clock.utc_ms() + 3_600_000
    asked = await reservations.reserve(csms.services, station.id, token, expires_ms, evse_id=1)
    csms.clock.advance(540)
    charging = Charging(csms, station)  # a minute later, at the start
    await charging.event("Started", "Authorized", token=VALID, extra={"reservationId": asked.reservation_id})
    answer = await charging.event("Ended", "StopAuthorized", stopped="Local")
    assert answer["totalCost"] == cost
