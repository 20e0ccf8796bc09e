"""The durable state of a charging station in one SQLite file: the core's documents and queued journal lines.

Every change is one committed transaction, so that a kill at any moment loses nothing that was reported as stored and
repeats no sequence number. It is synced to disk, except where a power failure only causes something to be sent twice.
An unreadable file is set aside, and the station starts with an empty one instead of failing. With `RecordKeys` what is
stored is sealed (R145); plain entries are read as well, and sealed when they change.
"""

import contextlib
import glob
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from v2g import typed_json
from v2g.errors import SealedError, StoreError, VerificationError
from v2g.io.storage.journal_file import sync_directory
from v2g.io.storage.record_keys import RecordKeys, is_sealed, open_line, seal_line
from v2g_station.blocks.connection.outbox import QueuedMessage, RefusedMessage
from v2g_station.kernel.kernel import Keep

# -- Migrates a station's store from the first format, which had a table for each kind of document. Open transactions,
# queued and rejected messages, profiles and availability are kept; variables set by the CSMS must be set again.

_NOTES: Final = {"station.boot_id": "boot_id", "station.running": "running"}
_OPERATIVE: Final = "station.operative."

Row = tuple[str, str, bytes]
"""Collection, key, body."""


def migrated(db: sqlite3.Connection) -> Iterator[Row]:
    """Yield the contents of the tables. The journal's table is the same in both formats. Raises sqlite3.Error."""
    for reference, record in db.execute("SELECT reference, record FROM transactions"):
        yield "managed", reference, record
    for number, group, body, attempts in db.execute("SELECT id, transaction_id, body, attempts FROM events"):
        entry = QueuedMessage(action="TransactionEvent", body=body, group=group, attempts=attempts)
        yield "outbox", f"{number:012d}", msgspec.json.encode(entry)
    for number, group, body, reason in db.execute("SELECT id, transaction_id, body, reason FROM refused"):
        entry = QueuedMessage(action="TransactionEvent", body=body, group=group)
        yield "refused", f"{number:012d}", msgspec.json.encode(RefusedMessage(entry=entry, reason=reason))
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


_log = logging.getLogger(__name__)

_VERSION: Final = 2
_COPY_S: Final = 7 * 86_400
"""How long a copy in an older format is kept for a program that comes back."""
_KEPT: Final = """
CREATE TABLE kept (drawer TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL,
                   PRIMARY KEY (drawer, key)) WITHOUT ROWID
"""
_JOURNAL: Final = """
CREATE TABLE journal (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, line TEXT NOT NULL)
"""


_SEALED: Final = b"\0"
"""Begins a sealed document; no document of the core begins so."""

_TAKEN: Final = "journal_taken"
"""The collection with the number of lines accepted by the CSMS, by session."""


_QUEUE: Final = "INSERT INTO journal (session_id, line) VALUES (?, ?)"


class _Line(msgspec.Struct):
    sequence: int


class JournalSigners(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The chains (DER, leaf first) of those that sign a session's messages; `contract` is empty without one."""

    charger: tuple[bytes, ...]
    contract: tuple[bytes, ...]

    def line(self) -> str:
        """Return it as a line to be queued before those of the session's journal."""
        return msgspec.json.encode(self).decode()


class QueuedLines(msgspec.Struct, frozen=True):
    """Consecutive queued journal lines of one session; `last_id` is the last line's.

    Or, with `signers`, none yet: the session's certificates come first.
    """

    last_id: int
    session_id: str
    lines: tuple[str, ...]
    signers: JournalSigners | None = None


class StationStore:
    """The file. One process may open it at a time, and one thread use it; disk errors are StoreError.

    What `keys` sealed and they do not open is a StoreError, too: SealedError if the key is missing.
    """

    def __init__(self, path: Path, keys: RecordKeys | None = None) -> None:
        self._path = path
        self._keys = keys
        self._unkept: dict[tuple[str, str], Keep] = {}
        self.commits = 0
        """Number of changes synced to disk."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                # set an unreadable file aside for later analysis, and start with an empty one
                self._db.close()
                number = next(n for n in range(1, 10_000) if not self._path.with_suffix(f".broken-{n}").exists())
                _log.error("%s is unreadable (%s) and was set aside as .broken-%d", self._path, error, number)
                self._path.rename(self._path.with_suffix(f".broken-{number}"))
                for suffix in ("-wal", "-shm"):
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
                self._path.touch(mode=0o600)
                self._open()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"{path}: {error}", hint="can this user write it, and does no other process use it?"
            ) from None

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None, timeout=2.0, check_same_thread=False)
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION and self._copy(_VERSION).exists():
            # take the copy that a newer program has made: what that one stored since is set aside as `.newer`
            self._db.close()
            newer = self._path.with_name(f"{self._path.name}.newer")
            newer.unlink(missing_ok=True)
            os.link(self._path, newer)
            self._copy(_VERSION).replace(self._path)  # at no moment is there no file
            sync_directory(self._path.parent)
            _log.error("%s had format %d: continues with that of before, the other is %s", self._path, version, newer)
            self._open()
            return
        if 0 < version < _VERSION:
            # keep the file as it is, for the older program, if this one does not stay
            copy = self._copy(version)
            part = copy.with_name(f"{copy.name}.part")
            part.unlink(missing_ok=True)
            part.touch(mode=0o600)
            self._db.execute("VACUUM INTO ?", (str(part),))
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(copy)
            sync_directory(copy.parent)
        # no update goes back to these copies any more
        for copy in self._path.parent.glob(f"{glob.escape(self._path.name)}.format-*"):
            if time.time() - copy.stat().st_mtime > _COPY_S:
                copy.unlink(missing_ok=True)
        with self._change():
            self._prepare()

    # -- updates of the program that go back (R133, R135)

    def _copy(self, version: int) -> Path:
        """Return where the file is kept as it was in an older format."""
        return self._path.with_name(f"{self._path.name}.format-{version}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- the core's documents

    def saved(self) -> dict[str, dict[str, bytes]]:
        """Return all documents of the core."""
        found: dict[str, dict[str, bytes]] = {}
        for collection, key, body in self._rows("SELECT drawer, key, body FROM kept WHERE drawer != ?", (_TAKEN,)):
            found.setdefault(collection, {})[key] = self._opened(f"{collection}/{key}", body)
        return found

    def keep(self, changes: Iterable[Keep]) -> None:
        """Carry out changes, all or none, with those that failed before: the core goes on from them, and a restart
        would repeat what they have ended."""
        self._unkept |= {(each.collection, each.key): each for each in changes}
        with self._change(durable=any(each.durable for each in self._unkept.values())):
            for each in self._unkept.values():
                self._put(each)
        self._unkept.clear()

    def _put(self, change: Keep) -> None:
        if change.body is None:
            self._db.execute("DELETE FROM kept WHERE drawer = ? AND key = ?", (change.collection, change.key))
        else:
            self._db.execute(
                "INSERT INTO kept VALUES (?, ?, ?) ON CONFLICT (drawer, key) DO UPDATE SET body = excluded.body",
                (change.collection, change.key, self._sealed(f"{change.collection}/{change.key}", change.body)),
            )

    # -- journal copies

    def add_line(self, session_id: str, line: str) -> None:
        """Queue a line that the journal's own file holds; after a power failure the whole journal is queued again."""
        with self._change(durable=False):
            self._db.execute(_QUEUE, (session_id, self._sealed_line(session_id, line)))

    def replace_lines(self, session_id: str, lines: Iterable[str]) -> None:
        """Queue a whole journal, replacing its lines still in the queue."""
        with self._change():
            self._db.execute("DELETE FROM journal WHERE session_id = ?", (session_id,))
            self._db.executemany(_QUEUE, ((session_id, self._sealed_line(session_id, line)) for line in lines))

    def next_lines(self, limit: int, max_characters: int) -> QueuedLines | None:
        """Return the oldest lines: of one session, at most `limit`, at least one."""
        rows = self._rows("SELECT id, session_id, line FROM journal ORDER BY id LIMIT ?", (limit,))
        lines: list[str] = []
        last_id = size = 0
        for identifier, session_id, stored in rows:
            line = stored if not is_sealed(stored.encode()) else self._open_line(session_id, stored.encode()).decode()
            signers = _signers(line)
            if signers is not None and not lines:
                return QueuedLines(identifier, session_id, (), signers)
            size += len(line)
            if lines and (session_id != rows[0][1] or size > max_characters or signers is not None):
                break
            lines.append(line)
            last_id = identifier
        return QueuedLines(last_id, rows[0][1], tuple(lines)) if lines else None

    def lines_over(self, lines: QueuedLines, *, accepted: bool) -> None:
        """Remove lines that the CSMS has accepted or rejected; should they come back, the CSMS recognises them."""
        with self._change(durable=False):
            self._db.execute("DELETE FROM journal WHERE id <= ?", (lines.last_id,))
            if accepted and lines.lines:
                rows = self._rows("SELECT body FROM kept WHERE drawer = ? AND key = ?", (_TAKEN, lines.session_id))
                count = int(self._opened(f"{_TAKEN}/{lines.session_id}", rows[0][0])) if rows else 0
                for line in lines.lines:
                    count += _sequence(line) == count
                self._put(Keep(_TAKEN, lines.session_id, str(count).encode()))

    def taken(self) -> dict[str, int]:
        """Return how many lines of each session's journal the CSMS has accepted, from the first one without a gap."""
        rows = self._rows("SELECT key, body FROM kept WHERE drawer = ?", (_TAKEN,))
        return {key: int(self._opened(f"{_TAKEN}/{key}", body)) for key, body in rows}

    def forget_taken(self, sessions: Iterable[str]) -> None:
        """Forget the accepted counts of these sessions, which are no longer needed."""
        with self._change(durable=False):
            for session_id in sessions:
                self._put(Keep(_TAKEN, session_id, None))

    def waiting(self) -> int:
        """Return the number of queued lines."""
        return int(self._rows("SELECT COUNT(*) FROM journal")[0][0])

    # -- sealing

    def _sealed(self, name: str, body: bytes) -> bytes:
        return body if self._keys is None else _SEALED + seal_line(self._keys, body, name)

    def _opened(self, name: str, body: bytes) -> bytes:
        return body if not body.startswith(_SEALED) else self._open_line(name, body.removeprefix(_SEALED))

    def _sealed_line(self, session_id: str, line: str) -> str:
        return line if self._keys is None else seal_line(self._keys, line.encode(), session_id).decode()

    def _open_line(self, name: str, line: bytes) -> bytes:
        if self._keys is None:
            raise SealedError(f"{self._path} is sealed", hint="set journal_keys to the file of its keys")
        try:
            return open_line(self._keys, line.removesuffix(b"\n"), name)
        except VerificationError as error:
            raise StoreError(f"{self._path}: {error}", hint=error.hint) from None

    def _prepare(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == _VERSION:
            return
        if version > _VERSION:
            raise StoreError(
                f"{self._path} has format {version}, this program reads {_VERSION}",
                hint="a newer program wrote it: install that one, or move the file away once its queue is delivered",
            )
        self._db.execute(_KEPT)
        if version == 0:
            self._db.execute(_JOURNAL)
        else:
            self._db.executemany("INSERT INTO kept VALUES (?, ?, ?)", list(migrated(self._db)))
            drop(self._db)
            _log.info("%s was migrated from format %d to %d", self._path, version, _VERSION)
        self._db.execute(f"PRAGMA user_version={_VERSION}")

    @contextlib.contextmanager
    def _change(self, *, durable: bool = True) -> Iterator[None]:
        """Commit the changes made inside. Without `durable` they survive a kill, but perhaps not a power failure."""
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
            self.commits += durable
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self._path}: {error}") from None

    def _rows(self, statement: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from None


def _signers(line: str) -> JournalSigners | None:
    """Return the certificates in a queued line, None for a line of a journal."""
    try:
        return typed_json.decode(line.encode(), JournalSigners) if line.startswith('{"charger":') else None
    except msgspec.MsgspecError:
        return None


def _sequence(line: str) -> int:
    """Return the index of a journal line in its journal, -1 if it is not a journal line."""
    try:
        return typed_json.decode(line.encode(), _Line).sequence
    except msgspec.MsgspecError:
        return -1
