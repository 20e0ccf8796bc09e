"""What several tests of managed resumption use."""

from collections.abc import Callable

from tests.station.bench import Bench
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g_station.blocks.transaction_records import TransactionRecord
from v2g_station.blocks.transactions.managed import ManagedSessions


def begin(found: Bench, reference: str, emaid: str = "EMAID1") -> None:
    """A session begins."""
    lead(found, lambda sessions: sessions.rejoin(1, reference, emaid))
    if reference in records(found):
        return
    record = TransactionRecord(
        transaction_id=f"tx-{reference}", reference=reference, evse_id=1, connector_id=1, started_ms=found.utc_ms,
        id_token=emaid, id_token_type="eMAID" if emaid else "NoAuthorization", charging_state="Charging",
    )  # fmt: skip
    lead(found, lambda sessions: sessions.begin(record, trigger="Authorized", sample=found.read(1)))


def lead(found: Bench, work: Callable[[ManagedSessions], None]) -> None:
    """The charger does something with its transactions."""
    found.run(found.station.lead(work, found.moment))


def show(found: Bench, status: ConnectorStatus, evse_id: int = 1) -> None:
    """The charger shows a state."""
    found.run(found.station.show((evse_id, 1), status, found.moment))


def records(found: Bench) -> dict[str, TransactionRecord]:
    """Open transactions by reference."""
    return found.station.sessions.records  # type: ignore[attr-defined,no-any-return]
