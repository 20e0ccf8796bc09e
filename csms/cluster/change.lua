-- ARGV: node, limit of the stream, kind, station, version. A release only ends the node's own claim; a renewed
-- claim ("again") does not take a station from another live node.
local held = redis.call('HGET', KEYS[2], ARGV[4])
local holder = held and string.match(held, '^%S+')
if ARGV[3] == 'release' then
  if holder == ARGV[1] then redis.call('HDEL', KEYS[2], ARGV[4]) end
elseif ARGV[3] == 'claim' or not holder or holder == ARGV[1] or not redis.call('ZSCORE', KEYS[1], holder) then
  redis.call('HSET', KEYS[2], ARGV[4], ARGV[1] .. ' ' .. ARGV[5])
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'n', ARGV[1], 'k', 'claim', 's', ARGV[4],
  'c', redis.call('HGET', KEYS[2], ARGV[4]) or '', 'own', '1')
