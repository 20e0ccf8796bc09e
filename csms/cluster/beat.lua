-- Refresh a node's presence; remove those that stopped responding. ARGV[4] puts it among
-- those that want no frequent events, or takes it out. Returns whether it is new, the live nodes, and those.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local new = redis.call('ZADD', KEYS[1], now, ARGV[1])
local silent = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
if #silent > 0 then
  local dead = {}
  for _, node in ipairs(silent) do
    dead[node] = true
    redis.call('ZREM', KEYS[1], node)
    redis.call('SREM', KEYS[4], node)
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'n', node, 'k', 'gone')
  end
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if dead[string.match(all[i + 1], '^%S+')] then redis.call('HDEL', KEYS[2], all[i]) end
  end
end
if new == 1 then redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'n', ARGV[1], 'k', 'node') end
redis.call(ARGV[4], KEYS[4], ARGV[1])
return {new, redis.call('ZRANGE', KEYS[1], 0, -1), redis.call('SMEMBERS', KEYS[4])}
