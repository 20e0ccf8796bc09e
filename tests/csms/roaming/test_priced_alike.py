"""What partners compute by a published tariff is what a session costs here, whatever its plan."""

from decimal import Decimal
from typing import Any

import pytest

from tests.csms.charging import Charging
from tests.csms.fixtures import backend as backend
from tests.csms.roaming.peers import LOCATION
from tests.csms.roaming.registered import PLAN, TOKEN, UID, Roaming
from tests.csms.roaming.registered import roaming as roaming
from tests.csms.scripted_station import ScriptedStation
from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiCdr
from v2g.ocpi.records import judge_cdr
from v2g.ocpp.times import format_time

VAT = [{"kind": "VAT", "ppm": 190000}]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"reservation_fixed": {"rates": [{"price": "2.00"}], "taxes": VAT}},
        {"reservation_time": {"rates": [{"price": "0.10"}], "taxes": VAT}},
        {"least": {"incl_tax": "20.00"}},
        {"greatest": {"incl_tax": "3.00"}},
        {"least": {"excl_tax": "20.00"}},
        {"greatest": {"excl_tax": "3.00"}},
    ],
)
@pytest.mark.some(3)
async def test_a_cdr_costs_what_its_tariff_says(roaming: Roaming, more: dict[str, Any]) -> None:
    assert (await roaming.ask("POST", "/tariffs", {**PLAN, "id": "other", **more})).status == 201
    assert (await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "other"})).status < 300
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    station = await roaming.backend.booted()
    station.answers["ReserveNow"] = {"status": "Accepted"}
    until = format_time(roaming.backend.clock.utc_ms() + 7_200_000)
    reserve = {
        "response_url": f"{roaming.partner.url}/commands/result", "location_id": "Depot", "evse_uid": UID,
        "token": TOKEN, "expiry_date": until, "reservation_id": "R-1",
    }  # fmt: skip
    await roaming.ocpi("POST", "/cpo/2.2.1/commands/RESERVE_NOW", reserve)
    await roaming.partner.sent("POST", "/commands/result")
    roaming.backend.clock.advance(1000)
    cdr = await _charged(roaming, station, reserved=station.payloads("ReserveNow")[0]["id"])
    assert judge_cdr(cdr, {}, "Europe/Berlin", roaming.backend.clock.utc_ms()) == []
    assert cdr.remark is None


@pytest.mark.parametrize(
    ("more", "names", "remark"),
    [
        (  # the clock of UTC
            {"energy": {"rates": [{"price": "0.30", "when": {"from_minute": 0, "to_minute": 1439}}], "taxes": VAT}},
            ["ENERGY", "FLAT"],
            (
                "plan other has the clock of UTC, its location that of Europe/Berlin. Billed without taxes: "
                "fixed 1.000 times at 1.00, energy 10.000 kWh at 0.30"
            ),
        ),
        (  # charges with different taxes
            {"greatest": {"excl_tax": "3"}, "fixed": {"rates": [{"price": "1"}]}},
            ["ENERGY", "FLAT"],
            (
                "plan other: OCPI has no greatest price of charges with different taxes. Billed without taxes: "
                "fixed 1.000 times at 1.00, energy 4.000 kWh at 0.50"
            ),
        ),
        (  # two prices of one kind, which no tariff tells apart
            {"energy": {"rates": [{"price": "0.30", "when": {"max_charging_s": 1800}}, {"price": "0.60"}]}},
            [],
            (
                "plan other: OCPI has no condition max_charging_s. Billed without taxes: "
                "fixed 1.000 times at 1.00, energy 4.918 kWh at 0.30, energy 5.082 kWh at 0.60"
            ),
        ),
    ],
)
async def test_a_cdr_says_its_prices_where_ocpi_cannot_say_its_plan(
    roaming: Roaming, more: dict[str, Any], names: list[str], remark: str
) -> None:
    """Such a plan is not published, so its partner knows no tariff to compare the CDR with."""
    assert (await roaming.ask("POST", "/tariffs", {**PLAN, "id": "other", **more})).status == 201
    assert (await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "other"})).status < 300
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    station = await roaming.backend.booted()
    await station.call("Authorize", {"idToken": {"idToken": "04A1B2C3", "type": "ISO14443"}})
    cdr = await _charged(roaming, station)
    assert cdr.remark == remark
    parts = [part.type for tariff in cdr.tariffs for each in tariff.elements for part in each.price_components]
    assert sorted(parts) == names
    found = judge_cdr(cdr, {}, "Europe/Berlin", roaming.backend.clock.utc_ms())
    assert (found == []) == bool(names)


@pytest.mark.parametrize(
    ("taxes", "named"),
    [
        ([("GST", 50_000, 0), ("QST", 99_750, 0)], {"GST": "0.30", "QST": "0.60"}),
        ([("GST", 50_000, 0), ("PST", 100_000, 1)], {"GST": "0.30", "PST": "0.63"}),
        ([("vat", 190_000, 0)], {"VAT": "1.14"}),
    ],
)
async def test_a_cdr_has_taxes_by_their_names(
    roaming: Roaming, taxes: list[tuple[str, int, int]], named: dict[str, str]
) -> None:
    """As in Canada, where their names are required (Price of 2.3.0)."""
    listed = [{"kind": kind, "ppm": ppm, "stack": stack} for kind, ppm, stack in taxes]
    charges = {name: {**PLAN[name], "taxes": listed} for name in ("energy", "fixed")}
    assert (await roaming.ask("POST", "/tariffs", {**PLAN, "id": "other", **charges})).status == 201
    assert (await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "other"})).status < 300
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    station = await roaming.backend.booted()
    await station.call("Authorize", {"idToken": {"idToken": "04A1B2C3", "type": "ISO14443"}})
    cdr = await _charged(roaming, station)
    (shown,) = (await roaming.ocpi("GET", "/cpo/2.3.0/cdrs")).json["data"]
    for cost, net in ((shown["total_cost"], 6), (shown["total_energy_cost"], 5)):
        assert (cost["before_taxes"], [each["name"] for each in cost["taxes"]]) == (net, list(named))
    amounts = {each["name"]: Decimal(str(each["amount"])) for each in shown["total_cost"]["taxes"]}
    assert amounts == {name: Decimal(each) for name, each in named.items()}
    assert judge_cdr(cdr, {}, "Europe/Berlin", roaming.backend.clock.utc_ms()) == []


def _period(begun: str, **volumes: float) -> dict[str, Any]:
    dimensions = [{"type": kind, "volume": each} for kind, each in volumes.items()]
    return {"tariffId": "other", "startPeriod": begun, "dimensions": dimensions}


@pytest.mark.parametrize(("idle", "right"), [(0.66, True), (0.668, True), (0.7, False)])
async def test_a_cdr_has_the_periods_of_a_station_that_works_out_the_cost(
    roaming: Roaming, idle: float, right: bool
) -> None:
    """Its tariff is left out where it is not what the station has charged, but for the rounding of the periods."""
    plan = {**PLAN, "id": "other", "idle_time": {"rates": [{"price": "0.06"}], "taxes": VAT}}
    assert (await roaming.ask("POST", "/tariffs", plan)).status == 201
    assert (await roaming.ask("PUT", "/tariff-assignments", {"plan_id": "other"})).status < 300
    await roaming.ask("PUT", "/roaming/locations/Depot", LOCATION)
    await roaming.ocpi("PUT", "/cpo/2.2.1/tokens/NL/TNM/04A1B2C3", {**TOKEN, "whitelist": "ALWAYS"})
    station = await roaming.backend.booted(version="2.1")
    await station.call("Authorize", {"idToken": {"idToken": "04A1B2C3", "type": "ISO14443"}})
    begun_ms = roaming.backend.clock.utc_ms()
    prices = {"fixed": 1.0, "energy": 5.0, "idleTime": idle}
    net = sum(prices.values())
    details = {
        "chargingPeriods": [
            _period(format_time(begun_ms + 60_000), Energy=9999.5, ChargingTime=3000, MinPower=12_000, MaxPower=12_000),
            _period(format_time(begun_ms + 3_060_000), IdleTIme=660),
        ],
        "totalCost": {
            "currency": "EUR", "typeOfCost": "NormalCost", "total": {"exclTax": net, "inclTax": net * 1.19},
            **{kind: {"exclTax": each, "inclTax": each * 1.19, "taxRates": [{"type": "vat", "tax": 19}]}
               for kind, each in prices.items()},
        },
        "totalUsage": {"energy": 10_000, "chargingTime": 3000, "idleTime": 660},
    }  # fmt: skip
    cdr = await _charged(roaming, station, details=details)
    assert (judge_cdr(cdr, {}, "Europe/Berlin", roaming.backend.clock.utc_ms()) == []) == right
    names = ["other"] if right else []
    assert [each.id for each in cdr.tariffs] == names
    assert {each.tariff_id for each in cdr.charging_periods} == set(names or [None])
    volumes = [float(each.volume) for period in cdr.charging_periods for each in period.dimensions]
    assert volumes == [10, 0.8333, 12, 12, 0, 0.1833]
    assert (cdr.total_parking_time, cdr.total_time) == (Decimal("0.1833"), Decimal("1.0167"))
    assert cdr.total_parking_cost is not None
    assert cdr.total_parking_cost.before_taxes == Decimal(str(round(idle, 2)))


async def _charged(
    roaming: Roaming, station: ScriptedStation, reserved: int | None = None, details: object = None
) -> OcpiCdr:
    """Charge 10 kWh in an hour; return its CDR. `details`: how its station has worked out the cost."""
    charging, token = Charging(roaming.backend, station), {"idToken": "04A1B2C3", "type": "ISO14443"}
    await charging.event(
        "Started", "Authorized", state="Charging", token=token, context="Transaction.Begin",
        extra={} if reserved is None else {"reservationId": reserved},
    )  # fmt: skip
    charging.wh += 10_000
    for _ in range(60):
        roaming.backend.clock.advance(60)
    await charging.event(
        "Ended", "StopAuthorized", stopped="Local", token=token, context="Transaction.End",
        extra={} if details is None else {"costDetails": details},
    )  # fmt: skip
    await roaming.partner.sent("POST", "/cdrs")
    (cdr,) = (await roaming.ocpi("GET", "/cpo/2.3.0/cdrs")).json["data"]
    return wire.read(wire.decode(wire.encode(cdr)), OcpiCdr)
