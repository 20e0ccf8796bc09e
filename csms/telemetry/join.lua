-- Joins the states of vehicles: of each reading the later one stays, by boot and sequence number.
local function sealed(reading) return string.sub(reading[4], 1, 1) == 'A' end
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
      local newer = not theirs or boot > tonumber(theirs[1])
      if not newer and boot == tonumber(theirs[1]) then
        newer = seq > tonumber(theirs[2])
        newer = newer or (seq == tonumber(theirs[2]) and sealed(mine) and not sealed(theirs))
      end
      if newer then
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
