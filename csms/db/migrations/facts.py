"""The ledger of facts, as revision 0064 fills it.

What is booked lands on it as it is: what contradicts each other stays booked, and is listed.
"""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from csms.db.base import AnyRow
from csms.tokens.rules import CONTRACT, normalise
from v2g.typed_json import Fields

_STEP = 1000
_STATES = {None: "booked", "quarantined": "held", "released": "released", "rejected": "withdrawn"}
_TRANSACTIONS = sa.text(
    """
SELECT t.station_id, t.transaction_id, t.document, t.started_ms, total.end_ms, held.state, held.begin_ms,
       held.end_ms AS held_ms
FROM transactions t
JOIN transaction_totals total ON total.station_id = t.station_id AND total.transaction_id = t.transaction_id
LEFT JOIN held_transactions held ON held.station_id = t.station_id AND held.transaction_id = t.transaction_id
WHERE (t.station_id, t.transaction_id) > (:station_id, :last)
ORDER BY t.station_id, t.transaction_id LIMIT :most
"""
)
_JOURNALS = sa.text(
    """
SELECT review.station_id, review.session_id, review.transaction_id, review.state, review.begin_ms, review.end_ms,
       first.line, t.document
FROM journal_reviews review
JOIN journal_lines first ON first.station_id = review.station_id AND first.session_id = review.session_id
     AND first.sequence = 0
LEFT JOIN transactions t ON t.station_id = review.station_id AND t.transaction_id = review.transaction_id
WHERE review.state IN ('booked', 'released') AND (review.station_id, review.session_id) > (:station_id, :last)
ORDER BY review.station_id, review.session_id LIMIT :most
"""
)
_LINES = sa.text(
    "SELECT line FROM journal_lines WHERE station_id = :station_id AND session_id = :session_id ORDER BY sequence"
)
_STANDING = sa.text(
    "SELECT * FROM facts WHERE state IN ('booked', 'released') ORDER BY kind, key, source, from_ms, to_ms, source_id"
)
_MARK = sa.text(
    "UPDATE facts SET against_station = :station_id, against_source = :source, against_id = :source_id "
    "WHERE station_id = :its_station_id AND source = :its_source AND source_id = :its_source_id"
)


def fill(connection: sa.Connection, table: sa.Table) -> None:
    """Fill the table of what is booked, and mark what contradicts each other."""
    for query, facts_of in ((_TRANSACTIONS, _of_transactions), (_JOURNALS, _of_journals)):
        key = {"station_id": "", "last": ""}
        while rows := connection.execute(query, key | {"most": _STEP}).all():
            connection.execute(table.insert(), list(facts_of(connection, rows)))
            key = {"station_id": rows[-1][0], "last": rows[-1][1]}
    marks = list(_contradictions(connection))
    if marks:
        connection.execute(_MARK, marks)


def _contradictions(connection: sa.Connection) -> Iterator[Fields]:
    """Yield which booked sessions overlap, or have registers of, one before them of the same kind."""
    before: AnyRow | None = None
    for row in connection.execute(_STANDING):
        if before is not None and (before.kind, before.key, before.source) == (row.kind, row.key, row.source):
            overlap_ms = min(before.to_ms, row.to_ms) - row.from_ms
            if row.kind == "contract":
                other = (before.station_id, before.evse_id) != (row.station_id, row.evse_id)
                wrong = other and overlap_ms > 120_000
            else:
                wrong = overlap_ms > 60_000 or any(
                    left is not None and first is not None and left > first + 1_000 and (begun, first) != (0, 0)
                    for begun, left, first in (
                        (before.imports_from, before.imports_to, row.imports_from),
                        (before.exports_from, before.exports_to, row.exports_from),
                    )
                )
            if wrong and row.state != "released":
                names = ("station_id", "source", "source_id")
                yield {**{f"its_{name}": getattr(row, name) for name in names},
                       **{name: getattr(before, name) for name in names}}  # fmt: skip
        before = row


def _of_transactions(_connection: sa.Connection, rows: Sequence[AnyRow]) -> Iterator[Fields]:
    for row in rows:
        known = json.loads(row.document)
        token, kind = (_value(known, name) for name in ("id_token", "token_type"))
        from_ms = row.begin_ms if row.begin_ms is not None else row.started_ms or row.end_ms
        imports, exports = (_span(known, name) for name in ("import", "export"))
        yield from _facts(
            station_id=row.station_id,
            source="transaction",
            source_id=row.transaction_id,
            transaction_id=row.transaction_id,
            evse_id=known.get("evse_id") or 0,
            state=_STATES[row.state],
            span=(min(from_ms, row.end_ms), row.held_ms or row.end_ms),
            registers=(*imports, *exports),
            contract=token if kind == CONTRACT else None,
        )


def _of_journals(connection: sa.Connection, rows: Sequence[AnyRow]) -> Iterator[Fields]:
    for row in rows:
        begin = json.loads(row.line)["data"]
        contract, last = None, begin
        for line in connection.execute(_LINES, {"station_id": row.station_id, "session_id": row.session_id}).scalars():
            data = json.loads(line)["data"]
            if data["kind"] == "contract_authorized":
                contract = data["emaid"]
            elif data["kind"] == "meter_reading" and "missing" not in data.get("status", ()):
                last = data
        registers: list[int | None] = []
        for way in ("import", "export"):
            end = last.get(f"shown_{way}_mwh", last[f"{way}_mwh"])
            registers += (None, None) if "rollover_mwh" in begin else (begin[f"{way}_mwh"], end)
        yield from _facts(
            station_id=row.station_id,
            source="journal",
            source_id=row.session_id,
            transaction_id=row.transaction_id,
            evse_id=(json.loads(row.document).get("evse_id") or 0) if row.document else 0,
            state=row.state,
            span=(row.begin_ms, row.end_ms),
            registers=registers,
            contract=contract,
        )


def _facts(
    *, station_id: str, evse_id: int, span: tuple[int, int], registers: Sequence[int | None],
    contract: str | None, **values: object,
) -> Iterator[dict[str, object]]:  # fmt: skip
    names = ("imports_from", "imports_to", "exports_from", "exports_to")
    row = {
        **values, "station_id": station_id, "evse_id": evse_id, "from_ms": span[0], "to_ms": span[1],
        "landed_ms": span[1],
    }  # fmt: skip
    yield row | {"kind": "evse", "key": f"{station_id}/{evse_id}"} | dict(zip(names, registers, strict=True))
    if contract is not None:
        yield row | {"kind": "contract", "key": normalise(CONTRACT, contract)} | dict.fromkeys(names)


def _value(known: Fields, name: str) -> Any:
    return None if known.get(name) is None else known[name]["value"]


def _span(known: dict[str, object], name: str) -> tuple[int | None, int | None]:
    values = [_value(known, f"{name}_start_wh"), _value(known, f"{name}_wh")]
    first, last = (None if each is None else int(Decimal(each).scaleb(3)) for each in values)
    return (None, None) if first is None or last is None else (first, last)
