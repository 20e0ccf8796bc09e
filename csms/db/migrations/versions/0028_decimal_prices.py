"""Prices of plans, fleets and allowances as decimal text, no longer as integer micro-units.

Revision 0028.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rewrite the documents."""
    _rewrite("price_plans", ("plan_id",), "document", _plan)
    _rewrite("fleets", ("fleet_id",), "document", _fleet)
    _rewrite("token_groups", ("group_id",), "document", _allowances)
    _rewrite("tokens", ("token_type", "id_token"), "terms", _allowances)


def _rewrite(table: str, key: tuple[str, ...], column: str, change: Callable[[dict[str, Any]], None]) -> None:
    rows = sa.table(table, *(sa.column(name) for name in (*key, column)))
    connection = op.get_bind()
    for row in connection.execute(sa.select(rows)).mappings().all():
        document = json.loads(row[column])
        change(document)
        same = sa.and_(*(rows.c[name] == row[name] for name in key))
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        connection.execute(sa.update(rows).where(same).values({column: text}))


def _plan(plan: dict[str, Any]) -> None:
    for charge in plan.values():
        if isinstance(charge, dict):  # rates of a kind, or a bound
            for rate in charge.get("rates", ()):
                rate["price"] = _decimals(rate["price"])
            for name in {"excl_tax", "incl_tax"} & charge.keys():
                charge[name] = _decimals(charge[name])


def _fleet(fleet: dict[str, Any]) -> None:
    if "battery_micro_per_kwh" in fleet:
        fleet["battery_price_per_kwh"] = _decimals(fleet.pop("battery_micro_per_kwh"))


def _allowances(holder: dict[str, Any]) -> None:
    for allowance in holder.get("allowances", ()):
        if "cost" in allowance:
            allowance["cost"] = _decimals(allowance["cost"])


def _decimals(micro: int | None) -> str | None:
    return None if micro is None else f"{(Decimal(micro) / 10**6).normalize():f}"
