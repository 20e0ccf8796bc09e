"""What each ended transaction comes to: kept with it, so that reports of all transactions read no documents."""

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection

from csms.booking import held, ledger
from csms.booking.plausibility import JudgedUsage
from csms.db.bulk import delete_rows, upsert_rows
from csms.tokens.rules import normalise
from csms.transactions.rules import Transaction
from csms.transactions.tables import held_transactions, transaction_totals


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """When a transaction ended, or was closed (ms, UTC), how long it was, whose it was, and its energy (mWh).

    `token`: type and id as in paths of the API; `token` and `tariff` are empty without one, `evse_id` 0.
    """

    station_id: str
    transaction_id: str
    end_ms: int
    duration_ms: int
    evse_id: int
    token: str
    tariff: str
    import_mwh: int
    export_mwh: int


def save(connection: Connection, changed: Iterable[Transaction], now_ms: int) -> None:
    """Judge ended transactions and store their totals; one that continues after it was closed has none.

    Their events are stored before. Those that are held have totals, which no report adds up before they are released.
    """
    rows: dict[tuple[str, str], dict[str, object]] = {}
    queue = list(changed)
    for each in queue:
        if each.active:
            ledger.withdraw(connection, each.station_id, "transaction", each.transaction_id)
            for table in (transaction_totals, held_transactions):
                delete_rows(connection, table, station_id=each.station_id, transaction_id=each.transaction_id)
        else:
            judged = held.review(connection, each, now_ms)
            rows[each.station_id, each.transaction_id] = msgspec.structs.asdict(_totals(each, judged))
            if any(found.reason == "elsewhere" for found in judged.findings):
                queue += held.doubted(connection, (each.station_id, "transaction", each.transaction_id))
    if rows:
        upsert_rows(connection, transaction_totals, list(rows.values()))


def _totals(found: Transaction, judged: JudgedUsage) -> Totals:
    end_ms = found.closed_ms if found.ended_ms is None else found.ended_ms if judged.timed else judged.usage.end_ms
    start_ms = found.started_ms if judged.timed else judged.usage.start_ms
    assert end_ms is not None, "it is not active"
    return Totals(
        station_id=found.station_id,
        transaction_id=found.transaction_id,
        end_ms=end_ms,
        duration_ms=0 if start_ms is None else max(0, end_ms - start_ms),
        evse_id=found.evse_id or 0,
        token=_token(found),
        tariff="" if found.tariff_id is None else found.tariff_id.value,
        import_mwh=judged.import_mwh,
        export_mwh=judged.export_mwh,
    )


def _token(found: Transaction) -> str:
    if found.id_token is None:
        return ""
    kind = "" if found.token_type is None else found.token_type.value
    return f"{kind}/{normalise(kind, found.id_token.value)}"
