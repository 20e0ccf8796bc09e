"""Latest states of vehicles in Redis: joined there by a script, so that no node makes a value older (R173).

One hash has each vehicle's state as JSON, one sorted set the rising position of its last change. Numbers that order
readings are compared as numbers and kept as the text that arrived: Redis's JSON would round large ones. Values are
sealed as in the database (`csms.telemetry.seal`), since Redis saves them on its disk; pseudonyms, names of signals,
numbers and times are plain. A plain value of an earlier version gives way to its sealed form.
"""

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Connection

from csms.db.store import Store
from csms.telemetry.seal import TelemetrySeal, seal_of
from csms.vehicles.rules import StateReading, VehicleState
from v2g import typed_json
from v2g.errors import TransportError

_JOIN: Final = (files("csms.telemetry") / "join.lua").read_text("utf-8")

_encode = msgspec.json.Encoder().encode
_decode = typed_json.decoder(dict[str, tuple[str, str, str, str]]).decode
_value = typed_json.decoder(float | str).decode

_SEALED: Final = "A"
"""First letter of a sealed value in base64, and of no value in JSON."""


class RedisStates:
    """StateExchange: states at the Redis server `url`, below `prefix`, sealed by keys that are in `store`."""

    def __init__(self, url: str, store: Store, seal: TelemetrySeal, prefix: str = "v2g:latest") -> None:
        self._store, self._seal = store, seal
        self._redis: Any = Redis.from_url(url, socket_connect_timeout=5.0, socket_timeout=5.0)
        self._keys = prefix, f"{prefix}:changed"

    async def put(self, states: Sequence[VehicleState]) -> None:
        if states:
            arguments = [part for each in states for part in (each.ev, _document(each, self._seal))]
            await self._do(self._redis.eval(_JOIN, 2, *self._keys, *arguments))

    async def changed(self, since: str) -> tuple[list[VehicleState], str]:
        try:
            if not since:
                found = await self._redis.hgetall(self._keys[0])
                newest = await self._redis.zrange(self._keys[1], -1, -1, withscores=True)
            else:
                changes = await self._redis.zrangebyscore(self._keys[1], f"({since}", "+inf", withscores=True)
                evs = [ev for ev, _at in changes]
                documents = await self._redis.hmget(self._keys[0], evs) if evs else []
                found = {ev: each for ev, each in zip(evs, documents, strict=True) if each is not None}
                newest = changes[-1:]
        except (RedisError, OSError) as error:
            raise TransportError(f"Redis: {error}", hint="is it running?") from None
        position = str(int(newest[0][1])) if newest else since
        return await self._store.read(_opened, found) if found else [], position

    async def erase(self, ev: str) -> None:
        await self._do(self._redis.hdel(self._keys[0], ev))
        await self._do(self._redis.zrem(self._keys[1], ev))

    async def close(self) -> None:
        await self._redis.aclose()

    async def _do(self, command: Any) -> None:
        try:
            await command
        except (RedisError, OSError) as error:
            raise TransportError(f"Redis: {error}", hint="is it running?") from None


def _document(state: VehicleState, seal: TelemetrySeal) -> bytes:
    readings = state.readings.items()
    return _encode(
        {
            name: (str(each.boot), str(each.seq), str(each.at_ms), _sealed(seal, state.ev, name, each))
            for name, each in readings
        }
    )


def _sealed(seal: TelemetrySeal, ev: str, name: str, reading: StateReading) -> str:
    value = _encode(reading.value)
    if not seal.sealing:
        return value.decode()
    return base64.b64encode(seal.seal(value, "latest", ev, name, reading.boot, reading.seq)).decode()


def _opened(connection: Connection, documents: Mapping[bytes, bytes]) -> list[VehicleState]:
    states = (_state(connection, ev.decode(), document) for ev, document in documents.items())
    return [each for each in states if each.readings]


def _state(connection: Connection, ev: str, document: bytes) -> VehicleState:
    """Return a state, without values that the store key does not open. Raises TransportError, StoreError."""
    seal, readings = seal_of(connection), dict[str, StateReading]()
    try:
        for name, (boot, seq, at_ms, text) in _decode(document).items():
            value: bytes | None = text.encode()
            if text.startswith(_SEALED):
                value = seal.find(connection, base64.b64decode(text), "latest", ev, name, int(boot), int(seq))
            if value is not None:
                readings[name] = StateReading(int(boot), int(seq), int(at_ms), _value(value))
    except ValueError as error:  # msgspec's error is one, too
        raise TransportError(f"Redis: the state of {ev!r} is not one: {error}") from None
    return VehicleState(ev, readings)
