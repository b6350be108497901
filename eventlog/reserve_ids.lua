-- Gives new ids before what has them is signed and appended: they are used by nobody else, or by nobody.
--
-- KEYS  1 meta    ARGV  log id, counter of new ids, how many, above which, below which
-- Answers  {'reserved', the first}  {'taken', up to which}  {'replaced', why}

local log_id, counter = ARGV[1], ARGV[2]
local how_many, above, below = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local known = redis.call('HMGET', KEYS[1], 'log_id', counter)
if not known[1] then return {'replaced', 'there is no log'} end
if known[1] ~= log_id then return {'replaced', 'the log is ' .. known[1]} end

-- As publish.lua gives them: the next of their counter; a count that is none begins above what is known.
local last_id, counted = above, tonumber((known[2] or ''):match('^%d+$') or '0')
if counted < 2 ^ 53 then last_id = math.max(counted, above) end
if last_id + how_many >= below then return {'taken', string.format('%.0f', math.max(last_id, below))} end
redis.call('HSET', KEYS[1], counter, string.format('%.0f', last_id + how_many))
return {'reserved', string.format('%.0f', last_id + 1)}
