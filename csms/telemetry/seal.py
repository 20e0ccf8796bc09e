"""The seal of stored telemetry, and its keys, which the store key seals (R115).

Data keys are random, numbered, and themselves in the database, sealed by the store key; a new one is made on demand, or
when the newest is `telemetry.key_days` old. What is sealed begins with an octet that no JSON text has, then the number
of its key: so plain rows of earlier versions stay readable beside it.
"""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Callable, Iterable
from math import inf
from typing import Final, NoReturn

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, select, text

from csms.db.store import Store
from csms.db.store_key import StoreKey
from csms.telemetry.tables import telemetry_keys
from v2g.errors import SealedError, StoreError
from v2g.units import DAY_MS


class TelemetryKey(msgspec.Struct, frozen=True):
    """A key: its number, when it was made (UTC), and its sealed octets."""

    number: int
    made_ms: int
    sealed: str


def list_all(connection: Connection) -> list[TelemetryKey]:
    """Return all keys, the oldest first."""
    rows = connection.execute(select(telemetry_keys).order_by(telemetry_keys.c.number))
    return [TelemetryKey(row.number, row.made_ms, row.sealed) for row in rows]


def add(connection: Connection, key: TelemetryKey) -> None:
    """Store a key, unless another node was faster."""
    statement = "INSERT INTO telemetry_keys (number, made_ms, sealed) VALUES (:number, :made_ms, :sealed)"
    connection.execute(text(f"{statement} ON CONFLICT DO NOTHING"), msgspec.structs.asdict(key))


RENEW_S: Final = 30.0
"""Interval in which the age of the newest key is checked, and new keys of other processes are used."""

_OPTION: Final = "v2g_telemetry_seal"
_MARK: Final = b"\x01"
_HEAD: Final = 5  # the mark and the key's number
_NONCE: Final = 12
_KEY_BYTES: Final = 32


class TelemetrySeal:
    """Seals with the newest key, and opens with the one that a document names. For any thread.

    A nonce is a random number of this object and a count: none repeats, however many records a key seals.
    """

    def __init__(self, key: StoreKey | None = None, *, sealing: bool = True) -> None:
        """Without a key nothing is sealed or opened; without `sealing` new documents stay plain."""
        self._key, self._wanted = key, sealing
        self._ciphers: dict[int, AESGCM] = {}
        self._newest = 0
        self._process, self._count = secrets.token_bytes(6), itertools.count()

    @property
    def sealing(self) -> bool:
        return self._newest > 0

    def seal(self, document: bytes, *name: object) -> bytes:
        """Return a document sealed, which opens only under the same `name`."""
        if not self._newest:
            return document
        nonce = self._process + next(self._count).to_bytes(6, "big")
        head = _MARK + self._newest.to_bytes(_HEAD - 1, "big") + nonce
        return head + self._ciphers[self._newest].encrypt(nonce, document, _named(name))

    def open(self, connection: Connection, stored: bytes, *name: object) -> bytes:
        """Return what was sealed, or is plain. Raises SealedError for another store key, StoreError for damage."""
        if not stored.startswith(_MARK):
            return bytes(stored)
        number = int.from_bytes(stored[1:_HEAD], "big")
        if number not in self._ciphers:  # another node has made it
            self._learn(list_all(connection))
        cipher = self._ciphers.get(number)
        if cipher is None:
            raise SealedError(
                f"telemetry is sealed by key {number}, which store_key does not open",
                hint="restore the store_key that the back end had",
            )
        nonce, rest = stored[_HEAD : _HEAD + _NONCE], stored[_HEAD + _NONCE :]
        try:
            return cipher.decrypt(nonce, rest, _named(name))
        except (InvalidTag, ValueError):
            raise StoreError("a sealed document of telemetry is damaged", hint="check the disk") from None

    def find(self, connection: Connection, stored: bytes, *name: object) -> bytes | None:
        """As `open`, but None where the store key was lost: what it sealed must not stop all the rest."""
        with contextlib.suppress(SealedError):
            return self.open(connection, stored, *name)
        return None

    async def renew(self, store: Store, now_ms: int, key_days: int) -> None:
        """Make a key if the newest is too old, and use the newest. Raises StoreError."""
        await self._use_newest(store, now_ms - key_days * DAY_MS, now_ms)

    async def rotate(self, store: Store, now_ms: int) -> None:
        """Make a key and use it from now on; other processes do when they renew. Raises StoreError."""
        await self._use_newest(store, inf, now_ms)

    async def _use_newest(self, store: Store, oldest_ms: float, now_ms: int) -> None:
        if self._key is None:
            return
        if self._wanted:
            await store.run(_make, self._key, oldest_ms, now_ms)
        self._learn(await store.read(list_all))  # after the commit: what is sealed must not outlive its key
        if self._wanted:
            self._newest = max(self._ciphers)

    async def keep_renewed(self, store: Store, utc_ms: Callable[[], int], key_days: int) -> NoReturn:
        """Renew keys until cancelled. Raises StoreError."""
        while True:
            await asyncio.sleep(RENEW_S)
            await self.renew(store, utc_ms(), key_days)

    def _learn(self, keys: Iterable[TelemetryKey]) -> None:
        assert self._key is not None
        for each in keys:
            if each.number not in self._ciphers:
                with contextlib.suppress(StoreError):  # sealed by another store key
                    self._ciphers[each.number] = AESGCM(_opened(self._key, each))


def _make(connection: Connection, key: StoreKey, oldest_ms: float, now_ms: int) -> None:
    known = list_all(connection)
    with contextlib.suppress(StoreError, IndexError):
        _opened(key, known[-1])
        if known[-1].made_ms > oldest_ms:
            return
    number = known[-1].number + 1 if known else 1
    sealed = key.seal(secrets.token_hex(_KEY_BYTES), _purpose(number))
    add(connection, TelemetryKey(number, now_ms, sealed))


def _opened(key: StoreKey, stored: TelemetryKey) -> bytes:
    return bytes.fromhex(key.open(stored.sealed, _purpose(stored.number)))


def _purpose(number: int) -> str:
    return f"telemetry key {number}"


def _named(name: tuple[object, ...]) -> bytes:
    return "\0".join(map(str, name)).encode()


_PLAIN: Final = TelemetrySeal()


def seal_of(connection: Connection) -> TelemetrySeal:
    """Return what seals telemetry in this database; in one that was opened without a key nothing does."""
    found: TelemetrySeal = connection.get_execution_options().get(_OPTION, _PLAIN)
    return found


async def open_seal(store: Store, key: StoreKey, now_ms: int, key_days: int, *, sealing: bool) -> TelemetrySeal:
    """Let a store seal what vehicles report from now on, and open what is sealed. Raises StoreError."""
    seal = TelemetrySeal(key, sealing=sealing)
    await seal.renew(store, now_ms, key_days)
    store.set_option(_OPTION, seal)
    return seal
