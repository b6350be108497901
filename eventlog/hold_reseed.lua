-- Holds the place of the one run that writes a log back, for a while at a time.
--
-- KEYS  1 the place    ARGV  the run's token, for how many ms, '1' to leave it instead
--
-- Answers  {'held'}  {'other', since when by the clock of Redis in ms, for how many ms it is held still}

local place, token, lease_ms = KEYS[1], ARGV[1], ARGV[2]
local holder, since = (redis.call('GET', place) or ''):match('^(%S+) (%d+)$')
if holder and holder ~= token then return {'other', since, redis.call('PTTL', place)} end
if ARGV[3] == '1' then
  redis.call('DEL', place)
  return {'held'}
end
local time = redis.call('TIME')
since = since or time[1] .. string.format('%03d', math.floor(tonumber(time[2]) / 1000))
redis.call('SET', place, token .. ' ' .. since, 'PX', lease_ms)
return {'held'}
