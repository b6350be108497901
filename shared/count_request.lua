-- Adds to a count that ends by itself.
--
-- KEYS  1 the count    ARGV  how many milliseconds it lives, how many to add
-- Answers  {the sum, how many milliseconds are left}

-- What goes neither into the AOF nor to a replica waits for no disk. fakeredis cannot do without.
if redis.set_repl then redis.set_repl(redis.REPL_NONE) end

local lives_ms, more = tonumber(ARGV[1]), ARGV[2]

local sum = redis.call('INCRBY', KEYS[1], more)
local left_ms = redis.call('PTTL', KEYS[1])
if left_ms < 0 then
    redis.call('PEXPIRE', KEYS[1], lives_ms)
    left_ms = lives_ms
end
return {sum, left_ms}
