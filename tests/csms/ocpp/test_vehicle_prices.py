"""What vehicles receive of prices by their charging profiles (K15.FR.07, K17.FR.07, K18.FR.07, K19.FR.07)."""

from typing import Any

import msgspec
import pytest

from csms.config import Tariffs
from csms.device_model import store as device_model
from csms.sites import store as site_store
from csms.sites.rules import Place, Site
from csms.sites.work import Balancer
from csms.smart_charging import store as charging
from csms.smart_charging.rules import SHARE_PROFILE
from csms.smart_charging.work import SmartCharging
from csms.tariffs import store as tariffs
from csms.tariffs.work import TariffService
from tests.csms.backend import Backend
from tests.csms.charging import TOKENS, Charging
from tests.csms.fixtures import Start
from tests.csms.vehicle_needs import ACCEPTED, NEEDS, NEEDS_20, next_profile, tx_profiles
from v2g.energy.balancing import Node
from v2g.energy.price_plan import Charge, PricePlan, Rate, Tax, When
from v2g.units import decimals_of

NIGHT = When(from_minute=22 * 60, to_minute=6 * 60)


def plan(name: str, *rates: tuple[int, When]) -> PricePlan:
    found = tuple(Rate(price=decimals_of(price), when=when) for price, when in rates)
    charge = Charge(rates=found, taxes=(Tax(kind="vat", ppm=190_000),))
    return PricePlan(id=name, currency="EUR", zone="Europe/Berlin", energy=charge)


def cents(stack: Any) -> int:
    """What the first rule of a PriceRuleStack asks for a kWh."""
    fee = stack["priceRule"][0]["energyFee"]
    return round(fee["value"] * 10 ** (fee["exponent"] + 2))


async def reported(
    csms: Backend, version: Any, needs: dict[str, Any], *rates: tuple[int, When]
) -> tuple[Charging, Any]:
    """A vehicle sends its needs where only prices are known; return the schedule that its profile brings."""
    run, now_ms = csms.services.store.run, csms.clock.utc_ms()
    await run(tariffs.add_plan, plan("city", *rates), now_ms)
    await run(tariffs.assign, tariffs.Scope(), "city", now_ms)
    station = await csms.booted(version=version)
    station.answers |= {"SetChargingProfile": ACCEPTED, "CostUpdated": {}}
    charge = Charging(csms, station)
    await charge.authorized()
    await charge.plugged()
    assert (await station.call("NotifyEVChargingNeeds", needs))["status"] == "Accepted"
    return charge, (await next_profile(charge, 0))["chargingSchedule"][0]


async def test_prices_come_in_money_in_as_many_entries_as_the_vehicle_takes(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        charge, schedule = await reported(csms, "2.1", NEEDS_20, (250_000, NIGHT), (450_000, When()))
        prices = schedule["absolutePriceSchedule"]
        assert (prices["currency"], prices["taxRules"][0]["taxRate"]) == ("EUR", {"exponent": -3, "value": 19000})
        fees = [cents(each) for each in prices["priceRuleStacks"]]
        assert set(fees) == {25, 45}
        assert 2 <= len(fees) <= NEEDS_20["maxScheduleTuples"]
        assert schedule["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 11000.0}], "nothing else bounds it"
        assert "priceLevelSchedule" not in schedule
        # another plan for the transaction: its vehicle receives it
        await csms.services.store.run(tariffs.add_plan, plan("flat", (330_000, When())), 0)
        assert await TariffService(csms.services).change_transaction(charge.station.id, charge.id, "flat") == "Central"
        (stack,) = tx_profiles(charge)[-1]["chargingSchedule"][0]["absolutePriceSchedule"]["priceRuleStacks"]
        assert cents(stack) == 33
        # a share of a site brings them along
        site = Site(id="yard", nodes=(Node(id="main", limits=(20_000,) * 3),),
                    places=(Place(station_id=charge.station.id, evse_id=1, node="main", most_ma=32_000),))  # fmt: skip
        await csms.services.store.run(site_store.save_site, site, 0)
        await Balancer(csms.services).balance(site)
        shared = tx_profiles(charge)[-1]
        assert shared["id"] == SHARE_PROFILE + 1
        assert shared["chargingSchedule"][0]["absolutePriceSchedule"]["currency"] == "EUR"
        held = await csms.services.store.read(charging.profile, charge.station.id, SHARE_PROFILE + 1)
        assert held is not None
        bare = msgspec.structs.replace(
            held, charging_schedule=(msgspec.structs.replace(held.charging_schedule[0], absolute_price_schedule=None),)
        )
        # a dynamic share that was given before the vehicle sent its needs is set anew, to bring them
        key = {"component": "SmartChargingCtrlr", "component_instance": "", "evse_id": 0, "connector_id": 0,
               "variable": "SupportsDynamicProfiles", "variable_instance": "", "attribute": "Actual"}  # fmt: skip
        await csms.services.store.run(device_model.save, charge.station.id, [{**key, "value": "true", "value_ms": 0}])
        dynamic = msgspec.structs.replace(bare, charging_profile_kind="Dynamic")
        await csms.services.store.run(charging.save_profile, charge.station.id, 1, dynamic, charging.CSO, 0)
        before = len(tx_profiles(charge))
        assert await SmartCharging(csms.services).share(charge.station.id, 1, bare) == "Accepted"
        assert len(tx_profiles(charge)) == before + 1
        assert "absolutePriceSchedule" in tx_profiles(charge)[-1]["chargingSchedule"][0]
        charge.station.answers["UpdateDynamicSchedule"] = ACCEPTED
        assert await SmartCharging(csms.services).share(charge.station.id, 1, bare) == "Accepted"
        assert len(tx_profiles(charge)) == before + 1, "from then on the limit is enough"


async def test_what_money_cannot_say_comes_in_levels(backend: Start) -> None:
    blocks = ((200_000, When(max_energy_wh=20_000)), (250_000, NIGHT), (450_000, When()))
    async with backend(tokens=TOKENS) as csms:
        _, schedule = await reported(csms, "2.1", NEEDS_20, *blocks)
        assert "absolutePriceSchedule" not in schedule
        assert schedule["priceLevelSchedule"]["priceLevelScheduleEntries"][0]["priceLevel"] == 0


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_vehicles_of_the_older_edition_get_a_sales_tariff(backend: Start, version: Any) -> None:
    async with backend(tokens=TOKENS) as csms:
        _, schedule = await reported(csms, version, NEEDS, (250_000, NIGHT), (450_000, When()))
        entries = schedule["salesTariff"]["salesTariffEntry"]
        assert {each["ePriceLevel"] for each in entries} == {1, 2}
        assert "absolutePriceSchedule" not in schedule


@pytest.mark.parametrize(("version", "status"), [("2.0.1", "Rejected"), ("2.1", "NoChargingProfile")])
async def test_a_vehicle_that_sends_no_bounds_is_promised_no_profile(backend: Start, version: Any, status: str) -> None:
    """K15.FR.07: Accepted is a promise, and there is nothing that a profile with prices alone could say."""
    async with backend(tokens=TOKENS) as csms:
        run = csms.services.store.run
        await run(tariffs.add_plan, plan("city", (450_000, When())), 0)
        await run(tariffs.assign, tariffs.Scope(), "city", 0)
        charge = Charging(csms, await csms.booted(version=version))
        await charge.started()
        needs = {"evseId": 1, "chargingNeeds": {"requestedEnergyTransfer": "DC"}}
        assert (await charge.station.call("NotifyEVChargingNeeds", needs))["status"] == status


async def test_nobody_receives_prices_where_that_is_not_wanted(backend: Start) -> None:
    async with backend(tokens=TOKENS, tariffs=Tariffs(vehicle_prices="nothing")) as csms:
        run = csms.services.store.run
        await run(tariffs.add_plan, plan("city", (450_000, When())), 0)
        await run(tariffs.assign, tariffs.Scope(), "city", 0)
        charge = Charging(csms, await csms.booted(version="2.1"))
        await charge.started()
        assert (await charge.station.call("NotifyEVChargingNeeds", NEEDS_20))["status"] == "NoChargingProfile"
