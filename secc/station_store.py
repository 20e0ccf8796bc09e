"""What a charging station must not forget, in one SQLite file: open transactions, messages not yet delivered,
charging profiles and device model values.

Every change is one committed transaction, so that a kill at any moment loses nothing that was reported as stored and
repeats no sequence number. The disk is told to keep it, except where a power cut only brings back what is told twice.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from v2g.errors import StoreError
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g.ocpp.profiles import Installed
from v2g.ocpp.transactions import TransactionRecord

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE transactions (id TEXT PRIMARY KEY, reference TEXT NOT NULL UNIQUE, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, transaction_id TEXT NOT NULL, body BLOB NOT NULL,
                     attempts INTEGER NOT NULL DEFAULT 0);
CREATE TABLE refused (id INTEGER PRIMARY KEY, transaction_id TEXT NOT NULL, body BLOB NOT NULL, reason TEXT NOT NULL);
CREATE TABLE journal (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, line TEXT NOT NULL);
CREATE TABLE profiles (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class QueuedEvent(msgspec.Struct, frozen=True):
    """A TransactionEvent that waits. `attempts` is how often the CSMS failed to process it."""

    id: int
    request: TransactionEventRequest
    attempts: int


class QueuedLines(msgspec.Struct, frozen=True):
    """Consecutive journal lines of one session that wait; `last_id` is the last line's."""

    last_id: int
    session_id: str
    lines: tuple[str, ...]


class StationStore:
    """The file. One process may have it open at a time; errors of the disk are StoreError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=2.0)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            with self._change():
                self._prepare()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{path}: {error}", hint="is another process using it?") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- transactions and their events

    def record_event(self, record: TransactionRecord, request: TransactionEventRequest) -> None:
        """Keep a transaction's new state and queue its event; an Ended event closes the transaction."""
        identifier = record.transaction_id
        with self._change():
            if request.event_type == "Ended":
                self._db.execute("DELETE FROM transactions WHERE id = ?", (identifier,))
            else:
                self._db.execute(
                    "INSERT INTO transactions VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
                    (identifier, record.reference, msgspec.json.encode(record)),
                )
            self._db.execute(
                "INSERT INTO events (transaction_id, body) VALUES (?, ?)", (identifier, msgspec.json.encode(request))
            )

    def transactions(self) -> tuple[TransactionRecord, ...]:
        """Return the open transactions, oldest first."""
        rows = self._rows("SELECT record FROM transactions")
        records = [msgspec.json.decode(row[0], type=TransactionRecord) for row in rows]
        return tuple(sorted(records, key=lambda record: record.started_ms))

    def next_event(self) -> QueuedEvent | None:
        """Return the event that has waited longest."""
        for identifier, body, attempts in self._rows("SELECT id, body, attempts FROM events ORDER BY id LIMIT 1"):
            return QueuedEvent(identifier, msgspec.json.decode(body, type=TransactionEventRequest), attempts)
        return None

    def delivered(self, event: QueuedEvent) -> None:
        """Forget an event that the CSMS has answered; one that comes back is told again and known there."""
        with self._change(durable=False):
            self._db.execute("DELETE FROM events WHERE id = ?", (event.id,))

    def failed(self, event: QueuedEvent) -> int:
        """Count a failure of the CSMS to process an event; return how many it were in all."""
        with self._change():
            self._db.execute("UPDATE events SET attempts = attempts + 1 WHERE id = ?", (event.id,))
        return event.attempts + 1

    def refuse(self, event: QueuedEvent, reason: str) -> None:
        """Give an event up for delivery (E13.FR.04); it stays in the file for whoever settles by hand."""
        with self._change():
            self._db.execute(
                "INSERT INTO refused SELECT id, transaction_id, body, ? FROM events WHERE id = ?", (reason, event.id)
            )
            self._db.execute("DELETE FROM events WHERE id = ?", (event.id,))

    def queued(self) -> Mapping[str, int]:
        """Return how many events wait, by transaction id."""
        return dict(self._rows("SELECT transaction_id, COUNT(*) FROM events GROUP BY transaction_id"))

    # -- journal copies

    def add_line(self, session_id: str, line: str) -> None:
        """Queue a line that the journal's own file already holds; after a power cut the whole journal is restated."""
        with self._change(durable=False):
            self._db.execute("INSERT INTO journal (session_id, line) VALUES (?, ?)", (session_id, line))

    def replace_lines(self, session_id: str, lines: Iterable[str]) -> None:
        """Queue a whole journal in place of what still waits of it."""
        with self._change():
            self._db.execute("DELETE FROM journal WHERE session_id = ?", (session_id,))
            self._db.executemany(
                "INSERT INTO journal (session_id, line) VALUES (?, ?)", ((session_id, line) for line in lines)
            )

    def next_lines(self, limit: int, max_characters: int) -> QueuedLines | None:
        """Return the lines that have waited longest: of one session, at most `limit`, at least one."""
        rows = self._rows("SELECT id, session_id, line FROM journal ORDER BY id LIMIT ?", (limit,))
        lines: list[str] = []
        last_id = size = 0
        for identifier, session_id, line in rows:
            size += len(line)
            if lines and (session_id != rows[0][1] or size > max_characters):
                break
            lines.append(line)
            last_id = identifier
        return QueuedLines(last_id, rows[0][1], tuple(lines)) if lines else None

    def lines_delivered(self, lines: QueuedLines) -> None:
        """Forget lines that the CSMS has; lines that come back are told again and known there."""
        with self._change(durable=False):
            self._db.execute("DELETE FROM journal WHERE id <= ?", (lines.last_id,))

    def waiting(self) -> int:
        """Return how many events and lines wait."""
        rows = self._rows("SELECT (SELECT COUNT(*) FROM events) + (SELECT COUNT(*) FROM journal)")
        count: int = rows[0][0]
        return count

    # -- profiles and values

    def profiles(self) -> tuple[Installed, ...]:
        """Return the charging profiles in the order in which they were set."""
        rows = self._rows("SELECT body FROM profiles ORDER BY id")
        return tuple(msgspec.json.decode(row[0], type=Installed) for row in rows)

    def keep_profiles(self, profiles: tuple[Installed, ...]) -> None:
        """Replace all profiles."""
        with self._change():
            self._db.execute("DELETE FROM profiles")
            rows = [(number, msgspec.json.encode(profile)) for number, profile in enumerate(profiles)]
            self._db.executemany("INSERT INTO profiles VALUES (?, ?)", rows)

    def facts(self) -> dict[str, str]:
        """Return everything kept by `keep_fact`."""
        return dict(self._rows("SELECT key, value FROM facts"))

    def keep_fact(self, key: str, value: str) -> None:
        """Keep a text under a key."""
        with self._change():
            self._db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                             (key, value))  # fmt: skip

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version={_VERSION}")
        elif version != _VERSION:
            raise StoreError(f"{self._path} has format {version}, this program reads {_VERSION}")

    @contextlib.contextmanager
    def _change(self, *, durable: bool = True) -> Iterator[None]:
        """Commit what happens inside. Without `durable` it survives a kill, and a power cut may undo it."""
        try:
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from None

    def _rows(self, statement: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from None
