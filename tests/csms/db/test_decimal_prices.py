"""Prices that were stored as micro-units are decimal text after migration, and worth the same."""

import json

import msgspec
import pytest
from sqlalchemy import Connection, text

from csms.db.queries import fleets, tariffs, tokens
from csms.db.store import Store, migrate

PLAN = {
    "id": "city",
    "currency": "EUR",
    "energy": {
        "rates": [{"price": 350_000, "when": {"min_idle_s": 9}}, {"price": -1}],
        "taxes": [{"kind": "v", "ppm": 7}],
    },
    "fixed": {"rates": [{"price": 0}]},
    "least": {"excl_tax": 1_500_000},
    "greatest": {"incl_tax": 80_000_000},
}
FLEET = {"id": "depot", "battery_micro_per_kwh": 123_450_000}
TERMS = {"allowances": [{"period": "day", "energy_wh": 5, "cost": 12_500_000}, {"period": "month", "energy_wh": 7}]}
GROUP = {"group_id": "g", "allowances": [{"period": "total", "cost": 1}]}

OLD = {
    "INSERT INTO price_plans (plan_id, currency, created_ms, document) VALUES ('city', 'EUR', 1, :document)": PLAN,
    "INSERT INTO fleets (fleet_id, updated_ms, document) VALUES ('depot', 1, :document)": FLEET,
    "INSERT INTO token_groups (group_id, document) VALUES ('g', :document)": GROUP,
    "INSERT INTO tokens (token_type, id_token, status, energy_transfer, terms, source) "
    "VALUES ('Central', 'A', 'Accepted', '[]', :document, 'api')": TERMS,
}


@pytest.mark.requirement("R33")
def test_stored_prices_stay_what_they_were(owner_url: str) -> None:
    store = Store(owner_url)
    migrate(store.engine)

    def older(connection: Connection) -> None:
        for statement, document in OLD.items():
            connection.execute(text(statement), {"document": json.dumps(document)})
        connection.execute(text("UPDATE alembic_version SET version_num = '0027'"))

    store.do(older)
    migrate(store.engine, "0028")
    plan = msgspec.to_builtins(store.do(tariffs.plan, "city"))
    assert [each["price"] for each in plan["energy"]["rates"]] == ["0.35", "-0.000001"]
    assert plan["fixed"]["rates"] == ({"price": "0"},)
    assert (plan["least"], plan["greatest"]) == ({"excl_tax": "1.5"}, {"incl_tax": "80"})
    assert msgspec.to_builtins(store.do(fleets.get, "depot"))["battery_price_per_kwh"] == "123.45"
    assert msgspec.to_builtins(store.do(tokens.find_group, "g"))["allowances"][0]["cost"] == "0.000001"
    terms = msgspec.to_builtins(store.do(tokens.find, "Central", "A"))["terms"]
    assert [each["cost"] for each in terms["allowances"]] == ["12.5", None]
    store.close()
