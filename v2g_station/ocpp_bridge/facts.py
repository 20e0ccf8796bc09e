"""What `v2g ocpp-bridge` keeps in a SQLite file: transactions of 1.6, and what it has to know of each station."""

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from v2g import typed_json
from v2g.errors import StoreError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.smart_charging import ClearChargingProfileRequest, SetChargingProfileRequest
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g.ocpp.times import parse_time
from v2g.ocpp.v16 import bridge
from v2g.ocpp.v16.to_station import is_cleared

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS transactions (
  number INTEGER PRIMARY KEY AUTOINCREMENT, station TEXT NOT NULL, start TEXT NOT NULL, connector INTEGER NOT NULL,
  begun_ms INTEGER NOT NULL, next_seq INTEGER NOT NULL DEFAULT 0, active INTEGER NOT NULL DEFAULT 1,
  state TEXT NOT NULL DEFAULT 'EVConnected', said TEXT NOT NULL DEFAULT '', UNIQUE (station, start))
"""
_KEPT: Final = """
CREATE TABLE IF NOT EXISTS kept (
  station TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
  PRIMARY KEY (station, kind, name)) WITHOUT ROWID
"""
_PROFILE: Final = "profile"
Changes = Mapping[tuple[str, str], bytes | None]
"""(kind, name) of what is kept of a station -> its value, None where it is forgotten."""

_CARD: Final = re.compile(r"(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{14}|[0-9A-Fa-f]{20})\Z")
_CONTRACT: Final = re.compile(r"[A-Za-z]{2}-?[0-9A-Za-z]{3}-?C?[0-9A-Za-z]{8,9}(?:-?[0-9A-Za-z])?\Z")


class BridgeFacts:
    """What is known of transactions, in a SQLite file. Raises StoreError."""

    def __init__(self, path: Path, now_ms: int) -> None:
        self._lock = asyncio.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(_KEPT)
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'transactions'").fetchone():
                self._db.execute(_TABLES)
                # another file, should this one be lost, counts from another number
                self._db.execute("INSERT INTO sqlite_sequence VALUES ('transactions', ?)", (now_ms // 1000,))
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from None

    async def _run(self, sql: str, *values: object) -> list[Any]:
        return await self._work(lambda: self._db.execute(sql, values).fetchall())

    async def _work(self, work: Callable[[], list[object]]) -> list[object]:
        def caught() -> list[object]:
            try:
                return work()
            except sqlite3.Error as error:
                raise StoreError(str(error)) from None

        async with self._lock:
            return await asyncio.to_thread(caught)

    async def kept(self, station: str) -> list[tuple[str, str, bytes]]:
        """Return what is kept of a station: kind, name, value."""
        return await self._run("SELECT kind, name, value FROM kept WHERE station = ?", station)

    async def keep(self, station: str, changes: Changes) -> None:
        """Keep, or forget, together."""

        def work() -> list[Any]:
            self._db.execute("BEGIN")
            try:
                for (kind, name), value in changes.items():
                    if value is None:
                        self._db.execute(
                            "DELETE FROM kept WHERE (station, kind, name) = (?, ?, ?)", (station, kind, name)
                        )
                    else:
                        self._db.execute(
                            "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", (station, kind, name, value)
                        )
                self._db.execute("COMMIT")
            except sqlite3.Error:
                self._db.execute("ROLLBACK")
                raise
            return []

        if changes:
            await self._work(work)

    async def find(self, station: str, question: bridge.Question) -> Any:
        """Answer a question of the bridge."""
        match question:
            case bridge.NumberOf(connector_id=connector, timestamp=at, timed=timed):
                digest = hashlib.sha256(msgspec.json.encode(question)).hexdigest()
                begun = ("INSERT INTO transactions (station, start, connector, begun_ms) VALUES (?, ?, ?, ?)"
                         " ON CONFLICT DO NOTHING")  # fmt: skip
                if not timed:
                    over = "UPDATE transactions SET start = number WHERE station = ? AND start = ? AND NOT active"
                    await self._run(over, station, digest)
                await self._run(begun, station, digest, connector, parse_time(at) if timed else 0)
                return (await self._numbered("station = ? AND start = ?", station, digest))[0]
            case bridge.TransactionOf(number=number):
                return next(iter(await self._numbered("station = ? AND number = ?", station, number)), None)
            case bridge.OngoingAt(at_ms=at_ms):
                return await self._numbered("station = ? AND active AND next_seq AND begun_ms <= ?", station, at_ms)
            case bridge.IsStored(event=event):
                same = "SELECT 1 FROM transactions WHERE number = ? AND said = ?"
                return bool(await self._run(same, int(event.transaction_info.transaction_id), _said(event)))
            case bridge.TypeOf(id_tag=id_tag):
                return "ISO14443" if _CARD.match(id_tag) else "eMAID" if _CONTRACT.match(id_tag) else "Central"
            case bridge.TokenOf() | bridge.RemoteOf() | bridge.EventOf():  # known while the bridge runs, or confirmed
                return None
            case bridge.HeldProfiles():
                kept = await self.kept(station)
                return tuple(typed_json.decode(value, bridge.Held) for kind, _, value in kept if kind == _PROFILE)
        raise TypeError(question)

    async def _numbered(self, where: str, *values: object) -> tuple[bridge.Numbered, ...]:
        columns = "number, connector, next_seq, active, state"
        rows = await self._run(f"SELECT {columns} FROM transactions WHERE {where} ORDER BY number", *values)  # noqa: S608
        return tuple(
            bridge.Numbered(
                number=number, connector_id=connector, next_seq=seq, active=bool(active), charging_state=state
            )
            for number, connector, seq, active, state in rows
        )

    async def note_profiles(self, station: str, request: Message) -> None:
        """Keep what a station has accepted of profiles."""
        if isinstance(request, SetChargingProfileRequest):
            held = bridge.Held(request.evse_id, request.charging_profile)
            await self.keep(station, {(_PROFILE, str(held.profile.id)): msgspec.json.encode(held)})
        elif isinstance(request, ClearChargingProfileRequest):
            held_here: tuple[bridge.Held, ...] = await self.find(station, bridge.HeldProfiles())
            gone = [each for each in held_here if is_cleared(request, each)]
            await self.keep(station, {(_PROFILE, str(each.profile.id)): None for each in gone})

    async def note(self, event: TransactionEventRequest) -> None:
        """Keep that the back end has confirmed an event."""
        info = event.transaction_info
        if info.transaction_id.isdecimal():
            active, state = event.event_type != "Ended", info.charging_state or "EVConnected"
            said = "CASE WHEN ? THEN ? ELSE said END"
            kept = f"UPDATE transactions SET next_seq = ?, active = ?, state = ?, said = {said} WHERE number = ?"  # noqa: S608
            values = (event.seq_no + 1, active, state, bool(event.meter_value), _said(event), int(info.transaction_id))
            await self._run(kept, *values)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _said(event: TransactionEventRequest) -> str:
    about = (event.timestamp, event.trigger_reason, event.meter_value)
    return hashlib.sha256(msgspec.json.encode(about)).hexdigest()
