"""Times that no calendar has, which former versions stored, are read after migration: their rows stay in use."""

import json

import pytest
from sqlalchemy import Connection, text

from csms.db.queries import campaigns, fleets, tokens
from csms.db.store import Store, migrate
from v2g.units import LAST_MS

IMAGE = {"location": "https://example.com/f", "signature": "AA", "signing_certificate": "-"}
NEVER = LAST_MS + 1


TOKEN = (
    "INSERT INTO tokens (token_type, id_token, status, energy_transfer, terms, source) "
    "VALUES ('Central', :name, 'Accepted', '[]', :document, 'api')"
)
CAMPAIGN = (
    "INSERT INTO campaigns (campaign_id, name, state, created_ms, updated_ms, document) "
    "VALUES (:name, 'c', 'Running', 1, 1, :document)"
)
FLEET = "INSERT INTO fleets (fleet_id, updated_ms, document) VALUES (:name, 1, :document)"


def _fleet(name: str, *starts_ms: int) -> dict[str, object]:
    return {"id": name, "forecast": [{"start_ms": each} for each in starts_ms]}


OLD: tuple[tuple[str, str | int, dict[str, object]], ...] = (
    (TOKEN, "A", {"expires_ms": NEVER, "language1": "de"}),
    (TOKEN, "B", {"expires_ms": LAST_MS}),
    (TOKEN, "C", {"expires_ms": -1}),
    (TOKEN, "D", {}),
    (CAMPAIGN, 1, {"image": IMAGE, "install_after_ms": 2**53}),
    (CAMPAIGN, 2, {"image": IMAGE, "install_after_ms": 1_800_000_000_000}),
    (CAMPAIGN, 3, {"image": IMAGE}),
    (FLEET, "depot", _fleet("depot", 5, LAST_MS, NEVER, 2**53 - 1)),
    (FLEET, "yard", _fleet("yard")),
)


@pytest.mark.requirement("R33")
def test_stored_times_after_the_calendar_are_its_end(owner_url: str) -> None:
    store = Store(owner_url)
    migrate(store.engine)

    def older(connection: Connection) -> None:
        for statement, name, document in OLD:
            connection.execute(text(statement), {"name": name, "document": json.dumps(document)})
        connection.execute(text("UPDATE alembic_version SET version_num = '0040'"))

    store.do(older)
    migrate(store.engine, "0041")
    found = {each.id_token: each.terms for each in store.do(tokens.list_all)}
    assert {name: terms.expires_ms for name, terms in found.items()} == {"A": LAST_MS, "B": LAST_MS, "C": 0, "D": None}
    assert found["A"].language1 == "de"
    plans = {each.campaign_id: each.plan.install_after_ms for each in store.do(campaigns.list_campaigns)}
    assert plans == {1: LAST_MS, 2: 1_800_000_000_000, 3: None}
    starts = {each.id: [one.start_ms for one in each.forecast] for each in store.do(fleets.every)}
    assert starts == {"depot": [5, LAST_MS], "yard": []}
    store.close()
