"""Times after the year 9999, which former versions accepted, become its end; those before 1970 its begin.

Revision 0041.
"""

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

_LAST_MS = 253_402_300_799_999


def upgrade() -> None:
    """Rewrite the documents that have such a time: others are read as they are."""
    _rewrite("tokens", ("token_type", "id_token"), "terms", lambda terms: _bound(terms, "expires_ms"))
    _rewrite("campaigns", ("campaign_id",), "document", lambda plan: _bound(plan, "install_after_ms"))
    _rewrite("fleets", ("fleet_id",), "document", _forecast)


def _rewrite(table: str, key: tuple[str, ...], column: str, change: Callable[[dict[str, Any]], None]) -> None:
    rows = sa.table(table, *(sa.column(name) for name in (*key, column)))
    connection = op.get_bind()
    for row in connection.execute(sa.select(rows)).mappings().all():
        document = json.loads(row[column])
        change(document)
        if document != json.loads(row[column]):
            same = sa.and_(*(rows.c[name] == row[name] for name in key))
            text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
            connection.execute(sa.update(rows).where(same).values({column: text}))


def _bound(document: dict[str, Any], name: str) -> None:
    if document.get(name) is not None:
        document[name] = min(max(0, document[name]), _LAST_MS)


def _forecast(fleet: dict[str, Any]) -> None:
    """Leave out what is expected after the calendar's end: starts must rise."""
    if "forecast" in fleet:
        fleet["forecast"] = [each for each in fleet["forecast"] if each["start_ms"] <= _LAST_MS]
