"""What a back end has seen of a session, stored as if its station had reported it by OCPP."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection, insert, select

from csms.booking import store as reviews
from csms.booking.rules import Certificates
from csms.grid.tables import grid_signals
from csms.settlements.journals import JournalStore
from csms.stations.store import touch
from csms.tariffs import store as price_deliveries
from csms.transactions import store as transactions
from csms.transactions.events import EventArrival, add_events
from csms.transactions.rules import EXPORT_REGISTER, IMPORT_REGISTER, Event, Kind, Sample
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.journal import Entry, verify_lines
from v2g.energy.settlement.operator import tariff_digest
from v2g.energy.settlement.records import ContractAuthorized, TariffSet
from v2g.energy.settlement.session_journal import readings_of

if TYPE_CHECKING:
    from tests.csms.api.support import ApiClient

CONTRACT = b"the contract's certificate"
FINGERPRINT = hashlib.sha256(CONTRACT).hexdigest()
"""What a journal names that nobody's key has signed."""


async def delivered_whole(ask: "ApiClient", lines: Sequence[bytes], session: str = "0102030405060708") -> None:
    """Deliver a journal of the first station to a back end that has seen all of it."""
    services = ask.backend.services
    await services.store.run(witness, lines, "CS-V2G-0001", session)
    text = [line.decode().removesuffix("\n") for line in lines]
    await services[JournalStore].deliver(
        "CS-V2G-0001", {"stationId": "CS-V2G-0001", "sessionId": session, "lines": text}
    )


def witness(
    connection: Connection,
    lines: Sequence[bytes],
    station: str,
    session: str,
    *,
    transaction: str = "",
    evse_id: int = 1,
) -> None:
    """Store the transaction, the signal and the certificates by which a journal may be booked."""
    entries = verify_lines(b"".join(lines))
    contract = next((each.data for each in entries if isinstance(each.data, ContractAuthorized)), None)
    for each in entries:
        if isinstance(each.data, TariffSet):
            send(connection, station, each)
    if contract is not None:
        reviews.save_certificates(connection, station, session, Certificates(b"", CONTRACT, contract.emaid))
    report(
        connection,
        readings_of(entries),
        station,
        transaction or f"tx-{session}",
        emaid=None if contract is None else contract.emaid,
        evse_id=evse_id,
    )


def send(connection: Connection, station: str, entry: Entry, export_limit_w: int = 10_000) -> None:
    """Put the prices of an entry in force, as a grid signal that the station accepts would."""
    assert isinstance(entry.data, TariffSet)
    digest = tariff_digest(entry.data.tariff)
    price_deliveries.begin(connection, station, digest, entry.utc_ms - 1)
    price_deliveries.accept(connection, station, digest, entry.utc_ms)
    if connection.execute(select(grid_signals.c.version).where(grid_signals.c.tariff == digest)).first():
        return
    known = connection.execute(select(grid_signals.c.version).order_by(grid_signals.c.version)).scalars().all()
    connection.execute(
        insert(grid_signals).values(
            version=min(known, default=0) - 1,  # real ones go on from 1
            received_ms=entry.utc_ms - 1,
            received_from="test",
            document="",
            tariff=digest,
            export_limit_w=export_limit_w,
        )
    )


def report(
    connection: Connection,
    readings: Sequence[Registers],
    station: str,
    transaction: str,
    *,
    emaid: str | None = None,
    answer: str = "Accepted",
    ended: bool = True,
    evse_id: int = 1,
    ahead_ms: int = 0,
) -> None:
    """Store a transaction's events with these registers, and what was answered about its token.

    `ahead_ms`: by so much the station's clock is ahead.
    """
    last = len(readings) - 1
    arrivals = []
    for number, reading in enumerate(readings):
        kind: Kind = "Started" if number == 0 else "Ended" if number == last and ended else "Updated"
        event = Event(
            station_id=station,
            transaction_id=transaction,
            seq_no=number,
            kind=kind,
            at_ms=reading.utc_ms,
            trigger="MeterValuePeriodic",
            digest=f"{transaction}/{number}",
            evse_id=evse_id,
            id_token=emaid,
            token_type=None if emaid is None else "eMAID",
            samples=tuple(
                Sample(at_ms=reading.utc_ms, measurand=measurand, value=f"{mwh / 1000:.3f}", unit="Wh")
                for measurand, mwh in ((IMPORT_REGISTER, reading.import_mwh), (EXPORT_REGISTER, reading.export_mwh))
            ),
        )
        document = msgspec.json.encode({"eventType": kind, "transactionInfo": {"transactionId": transaction}})
        arrivals.append(EventArrival(event, document, reading.utc_ms - ahead_ms))
    touch(connection, station, "ocpp2.1", readings[0].utc_ms)
    add_events(connection, arrivals)
    if emaid is not None:
        transactions.save_answer(connection, station, transaction, answer)
