"""Campaigns of a database before revision 0044 go on as they were planned."""

import json

import pytest
from sqlalchemy import text

from csms.db.store import Store, migrate
from csms.firmware import store as campaigns
from csms.firmware.rules import assign, step

PLAN = {"image": {"location": "https://example.com/f"}, "cohorts": [0.5, 1.0], "max_failure_rate": 0.2}
CAMPAIGN = (
    "INSERT INTO campaigns (campaign_id, name, state, created_ms, updated_ms, document) "
    "VALUES (1, 'c', 'Running', 1, 1, :document)"
)
MEMBER = (
    "INSERT INTO campaign_members (campaign_id, station_id, cohort, state, attempts, not_before_ms, updated_ms) "
    "VALUES (1, :station, :cohort, :state, 1, 0, 5)"
)


@pytest.mark.requirement("R136")
def test_a_campaign_of_an_older_database_goes_on(owner_url: str) -> None:
    store = Store(owner_url)
    migrate(store.engine)
    with store.engine.begin() as connection:  # as it was before
        for name in ("begun_ms", "installed_ms", "forced", "back"):
            connection.execute(text(f"ALTER TABLE campaign_members DROP COLUMN {name}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0043'"))
        connection.execute(text(CAMPAIGN), {"document": json.dumps(PLAN)})
        for station, cohort, state in (("A", 0, "Installed"), ("B", 1, "Waiting"), ("C", 1, "Waiting")):
            connection.execute(text(MEMBER), {"station": station, "cohort": cohort, "state": state})
    migrate(store.engine)
    found = store.do(campaigns.find, 1)
    assert found is not None
    plan = found.plan
    assert (plan.daily, plan.window, plan.watch_s, plan.rollback, plan.max_failure_rate) == (1.0, None, 0, None, 0.2)
    members = store.do(campaigns.members, 1)
    assert [(each.station_id, each.state, each.updated_ms) for each in members] == [
        ("A", "Installed", 5),
        ("B", "Waiting", 5),
        ("C", "Waiting", 5),
    ]
    assert {(each.begun_ms, each.installed_ms, each.forced, each.back) for each in members} == {(0, 0, False, False)}
    assert step(plan, members, {"A", "B", "C"}, 10).start == ("B", "C")
    store.do(campaigns.add_members, 1, assign(["D"], plan, "1"))
    store.close()
