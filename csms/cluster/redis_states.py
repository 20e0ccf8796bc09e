"""Latest states of vehicles in Redis: joined there by a script, so that no node makes a value older (R173).

One hash has each vehicle's state as JSON, one sorted set the rising position of its last change. Numbers that order
readings are compared as numbers and kept as the text that arrived: Redis's JSON would round large ones. Vehicles'
pseudonyms and positions are in Redis as they are in the database: protect both alike.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from csms.domain.diagnostics.vehicle_state import Reading, VehicleState
from v2g import typed_json
from v2g.errors import TransportError

_JOIN: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
if last[2] and now <= tonumber(last[2]) then now = tonumber(last[2]) + 1 end
for i = 1, #ARGV, 2 do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  local new = cjson.decode(ARGV[i + 1])
  local changed = not known
  if known then
    known = cjson.decode(known)
    for name, mine in pairs(new) do
      local theirs = known[name]
      local boot, seq = tonumber(mine[1]), tonumber(mine[2])
      if not theirs or boot > tonumber(theirs[1]) or (boot == tonumber(theirs[1]) and seq > tonumber(theirs[2])) then
        known[name] = mine
        changed = true
      end
    end
  else
    known = new
  end
  if changed then
    redis.call('HSET', KEYS[1], ARGV[i], cjson.encode(known))
    redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[i])
  end
end
"""

_encode = msgspec.json.Encoder().encode
_decode = typed_json.decoder(dict[str, tuple[str, str, str, str]]).decode
_value = typed_json.decoder(float | str).decode


class RedisStates:
    """States at the Redis server `url`, below `prefix`."""

    def __init__(self, url: str, prefix: str = "v2g:latest") -> None:
        self._redis: Any = Redis.from_url(url, socket_connect_timeout=5.0, socket_timeout=5.0)
        self._keys = prefix, f"{prefix}:changed"

    async def put(self, states: Sequence[VehicleState]) -> None:
        """See StateExchange."""
        if states:
            arguments = [part for each in states for part in (each.ev, _document(each))]
            await self._do(self._redis.eval(_JOIN, 2, *self._keys, *arguments))

    async def changed(self, since: str) -> tuple[list[VehicleState], str]:
        """See StateExchange."""
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
        return [_state(ev.decode(), document) for ev, document in found.items()], position

    async def erase(self, ev: str) -> None:
        """See StateExchange."""
        await self._do(self._redis.hdel(self._keys[0], ev))
        await self._do(self._redis.zrem(self._keys[1], ev))

    async def close(self) -> None:
        """See StateExchange."""
        await self._redis.aclose()

    async def _do(self, command: Any) -> None:
        try:
            await command
        except (RedisError, OSError) as error:
            raise TransportError(f"Redis: {error}", hint="is it running?") from None


def _document(state: VehicleState) -> bytes:
    readings = state.readings.items()
    return _encode(
        {
            name: (str(each.boot), str(each.seq), str(each.at_ms), _encode(each.value).decode())
            for name, each in readings
        }
    )


def _state(ev: str, document: bytes) -> VehicleState:
    try:
        found = _decode(document)
        readings = {
            name: Reading(int(boot), int(seq), int(at_ms), _value(value))
            for name, (boot, seq, at_ms, value) in found.items()
        }
    except ValueError as error:  # msgspec's error is one, too
        raise TransportError(f"Redis: the state of {ev!r} is not one: {error}") from None
    return VehicleState(ev, readings)
