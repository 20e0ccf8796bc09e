"""Rows of a database between two releases that today's tables would not hold as they are."""

import pytest
from sqlalchemy import text

from csms.db.store import Store, migrate
from tests.csms.db.older import PAYMENT

OLDER = """CREATE TABLE alerts (id INTEGER PRIMARY KEY, subject_kind VARCHAR(16) NOT NULL, subject VARCHAR(64) NOT NULL,
 kind VARCHAR(64) NOT NULL, severity VARCHAR(8) NOT NULL, raised_ms BIGINT NOT NULL, changed_ms BIGINT NOT NULL,
 cleared_ms BIGINT, count INTEGER NOT NULL, told VARCHAR(8) NOT NULL, escalated_ms BIGINT, acknowledged_ms BIGINT,
 acknowledged_by VARCHAR(128) NOT NULL, note VARCHAR(200) NOT NULL, evidence {blob} NOT NULL);
CREATE UNIQUE INDEX ix_alerts_subject_kind_subject_kind ON alerts (subject_kind, subject, kind);
CREATE INDEX ix_alerts_told ON alerts (told);
INSERT INTO alerts VALUES (1, 'station', 'CS1', 'offline', 'warning', 5, 6, NULL, 1, 'raised', 7, NULL, '', '', '{{}}'),
 (2, 'station', 'CS2', 'offline', 'warning', 8, 9, NULL, 1, '', NULL, NULL, '', '', '{{}}')"""


@pytest.mark.requirement("R136")
def test_alerts_of_an_older_database_stay(owner_url: str) -> None:
    store = Store(owner_url)
    migrate(store.engine)
    blob = "BYTEA" if store.engine.dialect.name == "postgresql" else "BLOB"
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE alerts")
        for statement in OLDER.format(blob=blob).split(";\n"):
            connection.exec_driver_sql(statement)
        connection.execute(text("UPDATE alembic_version SET version_num = '0043'"))
    migrate(store.engine)
    query = text("SELECT subject, announced, announced_ms, escalations, latest FROM alerts ORDER BY id")
    with store.engine.begin() as connection:
        assert list(map(tuple, connection.execute(query))) == [
            ("CS1", "raised", 5, 1, True), ("CS2", "", None, 0, True)
        ]  # fmt: skip
    store.close()


@pytest.mark.requirement("R136")
def test_of_two_payments_at_an_evse_the_later_is_released(owner_url: str) -> None:
    store = Store(owner_url)
    migrate(store.engine)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_direct_payments_beginning")
        for number, state in enumerate(("captured", "pending", "authorized"), 1):
            connection.exec_driver_sql(PAYMENT.format(id=number, state=state))
        connection.execute(text("UPDATE alembic_version SET version_num = '0086'"))
    migrate(store.engine)
    with store.engine.begin() as connection:
        states = connection.scalars(text("SELECT state FROM direct_payments ORDER BY id")).all()
        assert states == ["captured", "pending", "releasing"]
    store.close()
