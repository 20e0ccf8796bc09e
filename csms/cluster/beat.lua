-- Refresh a node's presence; remove those that stopped responding. Returns whether it is new, and the live nodes.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local new = redis.call('ZADD', KEYS[1], now, ARGV[1])
local silent = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
if #silent > 0 then
  local dead = {}
  for _, node in ipairs(silent) do
    dead[node] = true
    redis.call('ZREM', KEYS[1], node)
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'n', node, 'k', 'gone')
  end
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if dead[string.match(all[i + 1], '^%S+')] then redis.call('HDEL', KEYS[2], all[i]) end
  end
end
if new == 1 then redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'n', ARGV[1], 'k', 'node') end
return {new, redis.call('ZRANGE', KEYS[1], 0, -1)}
