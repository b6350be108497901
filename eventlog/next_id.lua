-- The next ids of a counter, above every id the caller knows; answers the first, false where there is no log to count for.
--
-- KEYS  1 meta    ARGV  log id, counter field, largest id known, how many

if redis.call('HGET', KEYS[1], 'log_id') ~= ARGV[1] then return false end
local counted = redis.call('HGET', KEYS[1], ARGV[2])
if counted and not (counted:match('^%d+$') and tonumber(counted) < 2 ^ 53) then
  redis.call('HDEL', KEYS[1], ARGV[2]) -- not a count: what the caller knows is the better start
end
local count = tonumber(ARGV[4])
local last = redis.call('HINCRBY', KEYS[1], ARGV[2], count)
local missing = tonumber(ARGV[3]) + count - last
if missing > 0 then last = redis.call('HINCRBY', KEYS[1], ARGV[2], missing) end
return last - count + 1
