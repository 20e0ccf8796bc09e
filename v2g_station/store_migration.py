"""Migrates a station's store from the first format, which had a table for each kind of document.

Open transactions, queued and rejected messages, profiles and availability are kept; variables set by the CSMS must be
set again.
"""

import sqlite3
from collections.abc import Iterator
from typing import Final

import msgspec

from v2g_station.blocks.connection.outbox import Entry, Refused

_NOTES: Final = {"station.boot_id": "boot_id", "station.running": "running"}
_OPERATIVE: Final = "station.operative."

Row = tuple[str, str, bytes]
"""Collection, key, body."""


def migrated(db: sqlite3.Connection) -> Iterator[Row]:
    """Yield the contents of the tables. The journal's table is the same in both formats. Raises sqlite3.Error."""
    for reference, record in db.execute("SELECT reference, record FROM transactions"):
        yield "managed", reference, record
    for number, group, body, attempts in db.execute("SELECT id, transaction_id, body, attempts FROM events"):
        entry = Entry(action="TransactionEvent", body=body, group=group, attempts=attempts)
        yield "outbox", f"{number:012d}", msgspec.json.encode(entry)
    for number, group, body, reason in db.execute("SELECT id, transaction_id, body, reason FROM refused"):
        entry = Entry(action="TransactionEvent", body=body, group=group)
        yield "refused", f"{number:012d}", msgspec.json.encode(Refused(entry=entry, reason=reason))
    for (body,) in db.execute("SELECT body FROM profiles"):
        identifier = msgspec.json.decode(body)["profile"]["id"]
        yield "profiles", str(identifier), body
    for key, value in db.execute("SELECT key, value FROM facts"):
        if key in _NOTES:
            yield "program", _NOTES[key], value.encode()
        elif key.startswith(_OPERATIVE):
            place = f"{key.removeprefix(_OPERATIVE)}.0"
            yield "operative", place, msgspec.json.encode({"yes": value == "yes"})


def drop(db: sqlite3.Connection) -> None:
    """Remove the tables of the first format."""
    for table in ("transactions", "events", "refused", "profiles", "facts"):
        db.execute(f"DROP TABLE {table}")
